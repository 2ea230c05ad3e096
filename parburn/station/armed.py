"""What an engineer has armed: the value, its file JOB.armed, and what has changed since. Rehearses nothing.

The file is JSON, written whole or not at all, readable for all: of records and keys it holds digests only,
keyed by the ledger. Who may write it is for the rights of the file.
"""

from __future__ import annotations

import json
import os
import secrets
from collections.abc import Iterator, Mapping
from hashlib import sha256
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final, NamedTuple

from parburn.errors import UsageError
from parburn.ledger.file_location import sync_folder
from parburn.printable import printable
from parburn.run.checked_job import CheckedJob
from parburn.station.armed_inputs import ArmedInputs, digests_in
from parburn.station.template import PlanTemplate
from parburn.station.template_rows import template_digest, template_from, template_rows

SCHEMA: Final = 1
RIGHTS: Final = 0o644
SHOWN_RECORDS: Final = 3
_SAID: Final = ("name", "digest", "at", "operator", "station")
_NONE_OF_OURS: Final = (KeyError, TypeError, ValueError, AttributeError, IndexError, RecursionError)


class Arming(NamedTuple):
    """A job as it was armed. `digest` tells armings apart by what they burn; `at` is UTC, ISO 8601.

    `values` are digests of what its units must not share, by name: those of records that come later must be
    others.
    """

    name: str
    digest: str
    at: str
    operator: str
    station: str
    inputs: ArmedInputs
    template: PlanTemplate
    values: Mapping[str, frozenset[str]] = MappingProxyType({})

    def __repr__(self) -> str:
        return f"Arming({self.name!r}, {self.digest[:12]}, {self.at})"

    @property
    def ledger_uuid(self) -> str:
        """The ledger that it is bound to."""
        return self.inputs.ledger

    @property
    def first(self) -> int:
        """The first index that may be burned."""
        return self.inputs.first

    @property
    def last(self) -> int:
        """The last index that may be burned: records behind it are not rehearsed."""
        return self.inputs.last

    @property
    def when(self) -> str:
        """When and by whom, for a sentence."""
        return f"on {self.at[:16].replace('T', ' ')} by {printable(self.operator)}"


def arming_digest(checked: CheckedJob, template: PlanTemplate) -> str:
    """Return what tells this arming from others: all that matters for what is burned, and no date."""
    job = checked.job
    parts = [job.batch, checked.scripts.digest, checked.tables.digest, template_digest(template)]
    return sha256(json.dumps([*parts, sorted(job.same), sorted(job.unique)]).encode()).hexdigest()


# What has changed -------------------------------------------------------------------------------------


def compare(arming: Arming, now: ArmedInputs) -> list[str]:
    """Return what is not as it was armed, as sentences; empty where the station may start.

    Records that were added at the end are none of it: see `extends`.
    """
    return [*_other_ledger(arming, now), *_other_files(arming, now), *_other_records(arming, now)]


def _other_ledger(arming: Arming, now: ArmedInputs) -> Iterator[str]:
    armed = arming.inputs
    if now.ledger != armed.ledger:
        yield (
            f"the ledger is another one ({now.ledger}) than the job was armed with {arming.when} "
            f"({armed.ledger}): it does not know which indexes that one has given out"
        )
    elif armed.machine and now.machine and armed.machine != now.machine:
        yield (
            f"the job was armed on another machine, {arming.when}: a copy of its ledger does not know which "
            "indexes that machine has given out since"
        )
    if _release(now.parburn) != _release(armed.parburn):
        yield f"the job was armed with parburn {armed.parburn}, and this is {now.parburn}"


def _other_files(arming: Arming, now: ArmedInputs) -> Iterator[str]:
    before, after = arming.inputs.files, now.files
    for name in dict.fromkeys((*before, *after)):
        told = _told(name)
        if name not in after:
            yield f"{told} is not in the job any more, which was armed {arming.when}"
        elif name not in before:
            yield f"{told} was not in the job when it was armed {arming.when}"
        elif before[name] != after[name]:
            yield f"{told} was changed since the job was armed {arming.when}"
    shared, shared_now = arming.inputs.shared, now.shared
    for name in dict.fromkeys((*shared, *shared_now)):
        if shared.get(name) != shared_now.get(name):
            told = f"what {printable(name)} says for all records"
            yield f"{told} was changed since the job was armed {arming.when}"


def _told(name: str) -> str:
    plain = {"job": "the job file", "slots": "the slots file"}
    return plain.get(name) or printable(name.partition(" ")[2])


def _other_records(arming: Arming, now: ArmedInputs) -> Iterator[str]:
    armed = arming.inputs
    if now.first != armed.first:
        yield f"the first index is {now.first}, and the job was armed {arming.when} from {armed.first} on"
    if now.last < armed.last:
        yield f"the last index is {now.last}, and the job was armed {arming.when} until {armed.last}"
    both = range(max(armed.first, now.first), min(armed.last, now.last) + 1)
    changed = [index for index in both if armed.record(index) != now.record(index)]
    if changed:
        few = ", ".join(map(str, changed[:SHOWN_RECORDS]))
        more = f" and {len(changed) - SHOWN_RECORDS} more" if len(changed) > SHOWN_RECORDS else ""
        many = "s" if len(changed) > 1 else ""
        verb = "were" if len(changed) > 1 else "was"
        yield f"the record{many} of index {few}{more} {verb} changed since the job was armed {arming.when}"


def extends(arming: Arming, now: ArmedInputs) -> bool:
    """Tell whether records were added at the end, and nothing else is otherwise."""
    return now.last > arming.last and bool(now.records) and not compare(arming, now)


def warnings(arming: Arming, now: ArmedInputs) -> list[str]:
    """Return what is worth an amber mark, and no refusal."""
    was, is_now = arming.inputs.parburn, now.parburn
    if was != is_now and _release(was) == _release(is_now):
        return [f"the job was armed with parburn {was}, and this is {is_now}"]
    return []


def _release(version: str) -> tuple[str, ...]:
    """Return a version without its last number: patches only mend."""
    return tuple(version.split("+")[0].split(".")[:2])


# The file ---------------------------------------------------------------------------------------------


def armed_path(job_file: Path) -> Path:
    """Return where a job's arming stands."""
    return job_file.with_suffix(".armed")


def write_armed(path: Path, arming: Arming) -> None:
    """Write an arming, whole or not at all.

    Raises:
        UsageError: it cannot be written; what was there is as it was.
    """
    inputs = arming.inputs
    data = {
        "schema": SCHEMA,
        **{name: getattr(arming, name) for name in _SAID},
        "inputs": {**inputs._asdict(), "files": dict(inputs.files), "shared": dict(inputs.shared)},
        "template": template_rows(arming.template),
        "values": {name: "".join(sorted(some)) for name, some in arming.values.items()},
    }
    data["check"] = _check_of(data)
    text = json.dumps(data, indent=1) + "\n"
    scratch = path.with_name(f".{path.name}.new-{secrets.token_hex(4)}")
    try:
        try:
            _write_durably(scratch, text.encode())
            scratch.rename(path)
        finally:
            scratch.unlink(missing_ok=True)
        sync_folder(path.parent)
    except OSError as error:
        raise UsageError(
            f"{printable(str(path))} cannot be written: {error.strerror or error}",
            hint="Nothing was armed: see to the rights and the room of the folder.",
        ) from error


def _write_durably(path: Path, data: bytes) -> None:
    descriptor = os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC, RIGHTS)
    with os.fdopen(descriptor, "wb") as file:
        os.fchmod(descriptor, RIGHTS)
        file.write(data)
        file.flush()
        os.fsync(descriptor)


def _check_of(data: Mapping[str, Any]) -> str:
    """Return a digest of the file's content: an edit by hand, or a file that was cut, shows."""
    rest = {name: value for name, value in data.items() if name != "check"}
    return sha256(json.dumps(rest, sort_keys=True).encode()).hexdigest()


def read_armed(path: Path) -> Arming:
    """Read an arming.

    Raises:
        UsageError: there is none, it is damaged or was changed, or it is of another version.
    """
    shown = printable(str(path))
    try:
        text = path.read_bytes()
    except FileNotFoundError as error:
        raise UsageError(
            f"the job is not armed: there is no {shown}",
            hint=f"An engineer arms it: parburn arm {printable(path.stem)}.toml --operator NAME",
        ) from error
    except OSError as error:
        raise UsageError(
            f"{shown} cannot be read: {error.strerror or error}", hint="See its rights."
        ) from error
    again = "An engineer arms the job anew."
    try:
        data = json.loads(text)
        schema = data["schema"]
        if schema != SCHEMA:
            raise UsageError(f"{shown} is of a version that is not known (schema {schema!r})", hint=again)
        if data["check"] != _check_of(data):
            raise UsageError(f"{shown} was changed since it was written", hint=again)
        inputs = ArmedInputs(**data["inputs"])
        said = {name: str(data[name]) for name in _SAID}
        values = {name: frozenset(digests_in(text)) for name, text in data["values"].items()}
        return Arming(inputs=inputs, template=template_from(data["template"]), values=values, **said)
    except _NONE_OF_OURS as error:
        raise UsageError(f"{shown} is damaged: it is no arming", hint=again) from error
