"""The witness stays the ledger's owner's: an engineer who arms by sudo must not lock the station out."""

from __future__ import annotations

import os
from pathlib import Path

from parburn.ledger.file_location import witness_path
from parburn.ledger.witness import Witness, read_witness, write_witness


def test_root_gives_the_witness_to_the_owner_of_the_ledger(tmp_path: Path) -> None:
    ledger = tmp_path / "ledger.sqlite3"
    ledger.write_bytes(b"")
    if os.geteuid() == 0:
        os.chown(ledger, 12345, 12346)
    one = Witness("ab", 3, "cd")
    write_witness(ledger, one)
    found, owner = witness_path(ledger).stat(), ledger.stat()
    assert (found.st_uid, found.st_gid) == (owner.st_uid, owner.st_gid)
    assert found.st_mode & 0o777 == 0o600
    assert read_witness(ledger) == one
