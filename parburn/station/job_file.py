"""A station's job file: TOML to a `StationJob`, each mistake with its line. Opens no port, runs no script.

Paths are relative to the file. A key that is not known is an error: a word that is mistyped must not become a
default.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator, Mapping
from hashlib import sha256
from pathlib import Path
from typing import Any, Final, NamedTuple, cast

from parburn.errors import UsageError
from parburn.job import After, Before, Job, check_values
from parburn.ledger_place import Place
from parburn.nearest import did_you_mean
from parburn.printable import printable
from parburn.run.checked_job import CheckedJob, check_job
from parburn.station.job_values import SECTIONS, TOP, Kind
from parburn.station.words import ENGLISH, Word, Words
from parburn.transport.reset import CLASSIC

SCHEMA: Final = 1
# Sections that a later version will have: nobody is to believe that they work.
NOT_YET: Final = (
    "delivery", "deliveries", "sink", "sinks", "hooks", "outbox", "gate", "page", "web", "metrics", "scanner",
    "scan", "golden", "labels",
)  # fmt: skip
RETRIES: Final = len(CLASSIC)  # of a connection: one for each way to reset
NOT_IN_THIS_VERSION: Final = "not in this version"


class Bounds(NamedTuple):
    """How long a socket waits, in seconds."""

    debounce_s: float = 0.2  # a node that came must stay so long before it is opened
    look_s: float = 0.2  # between two looks at a folder
    open_s: float = 0.3  # how long opening a port may hold the lines
    replug_s: float = 5.0  # how long a board that we reset may be away


class StopRules(NamedTuple):
    """When a socket is locked, a mark becomes amber, or the station halts. 0 turns a rule off."""

    consecutive_failures: int = 3  # of a socket's own kind: it is locked
    yield_below: float = 0.0  # per cent: amber
    insertions: int = 0  # of a socket, since when it is amber
    same_script_error_on: int = 3  # boards in a row: the station halts


class StationJob(NamedTuple):
    """What a job file says. `job` has no ports, and asks for no confirmation: arming stands for it.

    `slots` and `ledger` are None where the file names none. `digest` is SHA-256 of the file.
    """

    path: Path
    name: str
    chips: tuple[str, ...]
    job: Job
    slots: Path | None = None
    ledger: Place | None = None
    bounds: Bounds = Bounds()
    stop: StopRules = StopRules()
    retries: int = RETRIES
    first_article: int = 1  # so many boards burn alone after an arming
    target: int | None = None  # boards that are wanted, for the head of the screen
    rework: bool = False  # a unit that passed under another arming goes through this one
    words: Words = ENGLISH
    bells: tuple[Word, ...] = ()  # that ring the terminal's bell
    digest: str = ""


def load_job_file(path: Path) -> StationJob:
    """Read a job file.

    Raises:
        UsageError: it cannot be read, is no TOML, has an unknown key, a value that is none, or names a file
            that is not there. The sentence begins with file and line.
    """
    try:
        content = path.read_bytes()
        text = content.decode()
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "it is not UTF-8"
        raise UsageError(
            f"the job file {printable(str(path))} cannot be read: {reason}",
            hint="Name the TOML file of the job.",
        ) from error
    try:
        data = tomllib.loads(text)
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        line = re.search(r"at line (\d+)", str(error))
        at = f":{line[1]}" if line else ""
        said = printable(re.sub(r" \(at .*\)$", "", str(error))) or "nested too deeply"
        raise UsageError(
            f"{printable(str(path))}{at}: not valid TOML: {said}", hint="Mend the file; nothing was opened."
        ) from error
    return _Reader(path, text).read(data, sha256(content).hexdigest())


def check_station_job(station: StationJob) -> CheckedJob:
    """Return the job as a run takes it: files read, scripts compiled, and the range of indexes with its end.

    Where the file gives no last index it is that of the last record.

    Raises:
        UsageError: the range has no end, or what `check_job` raises.
    """
    checked = check_job(station.job)
    if checked.config.undeclared:
        raise checked.config.undeclared_error()
    job = checked.job
    if job.index_last is not None:
        return checked
    last = checked.config.last if checked.config.has_records else 0
    if not last:
        raise UsageError(
            f"{printable(str(station.path))}: the indexes have no end, and no config file has records",
            hint='Write it as index = "1-1000".',
        )
    if last < job.index_first:
        raise UsageError(
            f"{printable(str(station.path))}: no record is left: {checked.config.counts()}, and index begins "
            f"at {job.index_first}",
            hint="Add the records, or mend index.",
        )
    return checked._replace(job=job._replace(index_last=last))


class _Reader:
    """Reads one file; knows where its keys stand."""

    def __init__(self, path: Path, text: str) -> None:
        self.path = path
        self.folder = path.parent
        self.lines = _lines_of_keys(text)
        self.section = ""

    # Errors -------------------------------------------------------------------------------------------

    def wrong(self, key: str, said: str, hint: str = "") -> UsageError:
        """Return the error that a key's value is."""
        line = self.lines.get((self.section, key)) or self.lines.get((key, "")) or self.lines.get(("", key))
        if line is None and self.section:
            line = self.lines.get((self.section, "")) or self.lines.get(("", self.section))
        place = f"{printable(str(self.path))}:{line}" if line else printable(str(self.path))
        return UsageError(
            f"{place}: {printable(said)}", hint=printable(hint) or "Mend the job file; nothing was opened."
        )

    # The whole ----------------------------------------------------------------------------------------

    def read(self, data: dict[str, Any], digest: str) -> StationJob:
        """Return what the file says."""
        schema = data.get("schema")
        if type(schema) is not int:
            raise self.wrong("schema", "the job file does not say its schema", f"Write: schema = {SCHEMA}")
        if schema != SCHEMA:
            hint = f"This version of parburn knows schema {SCHEMA}: use the version that the file is for."
            raise self.wrong("schema", f"schema {schema} is not known", hint)
        self._known(data, (*TOP, *SECTIONS))
        found = {name: self._value(data, name, TOP[name]) for name in TOP if name in data}
        parts = {name: self._part(data, name) for name in SECTIONS}
        for name in ("name", "scripts", "chips"):
            if name not in found:
                raise self.wrong(name, f"the job has no {name}", f"Add the line: {name} = ...")
        return self._job(found, parts, digest)

    def _part(self, data: Mapping[str, Any], name: str) -> dict[str, Any]:
        """Return the values of a section."""
        part = data.get(name, {})
        if not isinstance(part, dict):
            raise self.wrong(name, f"{name} is a section", f"Write [{name}] and its keys below it.")
        self.section = name
        self._known(part, SECTIONS[name])
        found = {key: self._value(part, key, SECTIONS[name][key]) for key in part}
        self.section = ""
        return found

    def _known(self, data: Mapping[str, Any], known: Mapping[str, Any] | tuple[str, ...]) -> None:
        for key in data:
            if key in known:
                continue
            where = f"[{self.section}] {key}" if self.section else key
            if not self.section and key in NOT_YET:
                raise self.wrong(key, f"[{key}] is {NOT_IN_THIS_VERSION} of parburn", "Take the section out.")
            near = did_you_mean(key, known)
            hint = near[:1].upper() + near[1:] if near else f"Known are {', '.join(sorted(known))}."
            raise self.wrong(key, f"{where} is not known", hint)

    def _value(self, data: Mapping[str, Any], key: str, kind: Kind) -> Any:
        value = data[key]
        where = f"[{self.section}] {key}" if self.section else key
        try:
            return kind.read(self.folder, value)
        except ValueError as error:
            said = str(error)
            raise self.wrong(key, f"{where}: {said}" if said else f"{where} must be {kind.told}") from None

    def _job(self, found: dict[str, Any], parts: dict[str, dict[str, Any]], digest: str) -> StationJob:
        first, last = found.get("index", (1, None))
        job = Job(
            ports=(),
            scripts=found["scripts"],
            config_files=found.get("configfiles", ()),
            index_first=first,
            index_last=last,
            do_not_confirm=True,
            chip=",".join(found["chips"]),
            baud=found.get("baud", 115200),
            before=cast(Before, found.get("before", "default-reset")),
            after=cast(After, found.get("after", "no-reset")),
            tables=found.get("tables", ()),
            ledger=parts["ledger"].get("path"),
            batch=found["name"],
            connect_attempts=found.get("retries", RETRIES),
            max_burning=found.get("max_burning"),
            script_timeout_s=found.get("script_timeout", Job(()).script_timeout_s),
            records=found.get("records", ()),
            same=found.get("same", ()),
            unique=found.get("unique", ()),
        )
        check_values(job, named=lambda field: {"batch": "name", "index_first": "index"}.get(field, field))
        bounds = {
            key.replace("_ms", "_s"): value / 1000 if key.endswith("_ms") else float(value)
            for key, value in parts["bounds"].items()
        }
        return StationJob(
            path=self.path,
            name=found["name"],
            chips=found["chips"],
            job=job,
            slots=found.get("slots"),
            ledger=job.ledger,
            bounds=Bounds(**bounds),
            stop=StopRules(**parts["stop"]),
            retries=job.connect_attempts,
            first_article=found.get("first_article", 1),
            target=found.get("target"),
            rework=found.get("rework", False),
            words=Words.of(parts["words"]),
            bells=tuple(Word(key.upper().replace("_", " ")) for key in found.get("bells", ())),
            digest=digest,
        )


_KEY: Final = re.compile(r"""\s*(?:"([^"]+)"|'([^']+)'|([A-Za-z0-9_-]+))\s*(?:=|\.)""")
_SECTION: Final = re.compile(r"""\s*\[\[?\s*["']?([^"'\]]+?)["']?\s*\]""")


def _lines_of_keys(text: str) -> dict[tuple[str, str], int]:
    """Return the line of each (section, key), and of each section as (section, "")."""
    found: dict[tuple[str, str], int] = {}
    section = ""
    for number, line in enumerate(text.splitlines(), start=1):
        head = _SECTION.match(line)
        key = _KEY.match(line)
        if head is not None:
            section = head[1].split(".")[0].strip()
            found.setdefault((section, ""), number)
        elif key is not None:
            found.setdefault((section, key[1] or key[2] or key[3]), number)
    return found


def known_keys() -> Iterator[str]:
    """Yield every key that a job file may have, those of sections as `section.key`."""
    yield from TOP
    for section, keys in SECTIONS.items():
        for key in keys:
            yield f"{section}.{key}"
