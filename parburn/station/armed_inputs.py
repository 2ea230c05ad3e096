"""All that an arming is made from, as digests of files and records as they are now. Writes nothing."""

from __future__ import annotations

import contextlib
import hmac
from collections.abc import Mapping
from hashlib import sha256
from pathlib import Path
from typing import Final, NamedTuple

from parburn import __version__
from parburn.errors import UsageError
from parburn.printable import printable
from parburn.run.checked_job import CheckedJob
from parburn.station.job_file import StationJob

MACHINE_ID: Final = "/etc/machine-id"
RECORD_CHARS: Final = 16  # of a digest, in hex


class LedgerFacts(NamedTuple):
    """What an arming is bound to. `key` is the ledger's key for digests, which stands in no other file."""

    uuid: str
    key: bytes
    place: str = ""

    def __repr__(self) -> str:  # without the key
        return f"LedgerFacts({self.uuid}, {self.place})"


class ArmedInputs(NamedTuple):
    """All that an arming was made from, as digests. `records` has RECORD_CHARS a record, from `first` on.

    `files` are by what they are (`job`, `slots`, `script NAME`, `table NAME`), named as in the job file.
    `shared` is what config files say for all records, by file. `machine` tells the machine from others: a
    folder that is copied together with its ledger would begin again at the same index there.
    """

    ledger: str
    parburn: str
    files: Mapping[str, str]
    shared: Mapping[str, str]
    first: int
    last: int
    records: str
    machine: str = ""  # empty: not known

    def record(self, index: int) -> str:
        """Return the digest of one record."""
        at = (index - self.first) * RECORD_CHARS
        return self.records[at : at + RECORD_CHARS]


def inputs_of(station: StationJob, checked: CheckedJob, ledger: LedgerFacts) -> ArmedInputs:
    """Return the digests of all files and records as they are now.

    Args:
        station: The job file.
        checked: Its job with a last index, as `check_station_job` gives it.
        ledger: The ledger that it works with.

    Raises:
        UsageError: the slots file cannot be read, or the last line of a config file has no end.
    """
    refuse_unfinished(checked)
    first, last = checked.job.index_first, checked.job.index_last
    assert last is not None, "check_station_job has given the range an end"
    files = {"job": station.digest}
    if station.slots is not None:
        files["slots"] = _digest_of(station.slots)
    for kind, found in (("script", checked.scripts.digests), ("table", checked.tables.digests)):
        files |= {f"{kind} {_relative(name, station.path.parent)}": one for name, one in found.items()}
    config = checked.config
    records = "".join(short_digest(config.entries(n).encode(), ledger.key) for n in range(first, last + 1))
    shared = {name: short_digest(digest.encode(), ledger.key) for name, digest in config.shared.items()}
    records = records if config.has_records else ""
    return ArmedInputs(
        ledger.uuid, __version__, files, shared, first, last, records, _this_machine(ledger.key)
    )


def _this_machine(key: bytes) -> str:
    """Return what tells this machine from others; empty where the system has no such thing."""
    with contextlib.suppress(OSError):
        found = Path(MACHINE_ID).read_bytes().strip()
        return short_digest(b"machine " + found, key) if found else ""
    return ""


def refuse_unfinished(checked: CheckedJob) -> None:
    """Refuse a file of lines whose last line has no end: somebody is writing it, or it was cut.

    Raises:
        UsageError: there is one.
    """
    for file in checked.config.files:
        if not file.is_json and file.content and not file.content.endswith((b"\n", b"\r")):
            raise UsageError(
                f"the last line of {printable(str(file.path))} has no end: it may have been cut, or somebody "
                "is writing it",
                hint="See that the file is whole, and end its last line.",
            )


def short_digest(data: bytes, key: bytes) -> str:
    """Return a digest under the ledger's key, of RECORD_CHARS."""
    return hmac.digest(key, b"record " + data, "sha256").hex()[:RECORD_CHARS]


def digests_in(text: str) -> list[str]:
    """Return digests that were written one behind the other."""
    return [text[at : at + RECORD_CHARS] for at in range(0, len(text), RECORD_CHARS)]


def _relative(name: str, folder: Path) -> str:
    """Return a name of a file as the job file has it: a folder that is moved as a whole stays armed."""
    with contextlib.suppress(ValueError):
        name = str(Path(name).relative_to(folder))
    return name.encode("utf-8", "backslashreplace").decode()


def _digest_of(path: Path) -> str:
    try:
        return sha256(path.read_bytes()).hexdigest()
    except OSError as error:
        raise UsageError(
            f"{printable(str(path))} cannot be read: {error.strerror or error}", hint="Check its rights."
        ) from error
