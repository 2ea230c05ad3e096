"""The small file beside a ledger that remembers which ledger it was and how far it had come.

A ledger file that was lost, put back from a backup, or swapped for another one would hand out indexes that
chips carry already. The witness sees it: the ledger must have the same uuid, and at the witness's sequence
the same head of its chain. The witness may lag behind the ledger (it is replaced after a commit), never lead.
It does not know SQLite.
"""

from __future__ import annotations

import json
import os
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from parburn.errors import LedgerUnusable
from parburn.ledger.file_location import sync_folder, witness_path


class Witness(NamedTuple):
    """Which ledger, how many history entries, and the SHA-256 of the last of them (hex)."""

    uuid: str
    sequence: int
    head: str


def _adopt(ledger: Path) -> str:
    return (
        f"Put the right files back, or if this is meant: parburn ledger adopt --ledger {ledger} --why REASON"
    )


def read_witness(ledger: Path) -> Witness | None:
    """Return the witness of a ledger, or None when there is none.

    Raises:
        LedgerUnusable: it cannot be read or is damaged.
    """
    path = witness_path(ledger)
    try:
        record = json.loads(path.read_text(encoding="ascii"))
        witness = Witness(uuid=record["uuid"], sequence=record["sequence"], head=record["head"])
    except FileNotFoundError:
        return None
    except OSError as error:
        raise LedgerUnusable(f"The ledger's witness {path} cannot be read: {error.strerror}.") from error
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise LedgerUnusable(f"The ledger's witness {path} is damaged.", hint=_adopt(ledger)) from error
    if not (
        isinstance(witness.uuid, str) and isinstance(witness.head, str) and type(witness.sequence) is int
    ):
        raise LedgerUnusable(f"The ledger's witness {path} is damaged.", hint=_adopt(ledger))
    return witness


def write_witness(ledger: Path, witness: Witness) -> None:
    """Replace the witness in one step that survives a power cut.

    Raises:
        OSError: it cannot be written.
    """
    path = witness_path(ledger)
    descriptor, name = tempfile.mkstemp(prefix=path.name + ".", dir=path.parent)  # mode 0600
    try:
        with os.fdopen(descriptor, "w", encoding="ascii") as file:
            _give_as(ledger, descriptor)
            file.write(json.dumps(witness._asdict()) + "\n")
            file.flush()
            os.fsync(file.fileno())
        Path(name).replace(path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise
    sync_folder(path.parent)


def _give_as(ledger: Path, descriptor: int) -> None:
    """Give a file to the owner of the ledger: an engineer who arms by sudo must not lock the station out."""
    if os.geteuid() == 0:
        with suppress(OSError):  # a file system without owners
            owner = ledger.stat()
            os.fchown(descriptor, owner.st_uid, owner.st_gid)


def missing_ledger(ledger: Path, witness: Witness) -> LedgerUnusable:
    """Return the refusal for a witness whose ledger is gone."""
    return LedgerUnusable(
        f"The ledger {ledger} is missing. Its witness says that there was one, {witness.uuid}, "
        f"with {witness.sequence} entries: the indexes that it had given out are not known.",
        hint="Put the file back, or if it is lost for good: "
        f"parburn ledger init --ledger {ledger} --why REASON",
    )


def check_witness(
    ledger: Path, witness: Witness | None, *, uuid: str, sequence: int, head_at_witness: str | None
) -> None:
    """Compare a ledger with its witness.

    Args:
        ledger: The ledger's file.
        witness: None where there is none.
        uuid: The ledger's own name.
        sequence: The number of the ledger's last entry.
        head_at_witness: The hash of its entry with the witness's number; None if it has no such entry.

    Raises:
        LedgerUnusable: missing witness of a ledger in use, or a foreign, older or changed ledger.
    """
    if witness is None:
        if sequence > 1:  # entry 1 is its making; power may have failed before the witness was written
            raise LedgerUnusable(
                f"The witness of the ledger {ledger} is missing: this may be an older copy.",
                hint=_adopt(ledger),
            )
        return
    if witness.uuid != uuid:
        raise LedgerUnusable(
            f"The ledger {ledger} is another one ({uuid}) than its witness knows ({witness.uuid}).",
            hint=_adopt(ledger),
        )
    if sequence < witness.sequence:
        raise LedgerUnusable(
            f"The ledger {ledger} is older than its witness: {witness.sequence - sequence} of "
            f"{witness.sequence} entries are missing, and with them the indexes that they gave out.",
            hint=_adopt(ledger),
        )
    if head_at_witness != witness.head:
        raise LedgerUnusable(
            f"The ledger {ledger} has another history than its witness at entry {witness.sequence}.",
            hint=f"See what differs with: parburn ledger verify. {_adopt(ledger)}",
        )
