"""A station's job file: TOML to a `StationJob`, each mistake with its line. Opens no port, compiles no script.

Paths are relative to the file. A key that is not known is an error: a word that is mistyped must not become a
default.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Callable, Iterator, Mapping
from hashlib import sha256
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final, NamedTuple, cast

from parburn.chips.registry import chip_names
from parburn.errors import UsageError
from parburn.job import (
    AFTER_MODES,
    BAUD_RANGE,
    BEFORE_MODES,
    LONGEST_NAME,
    After,
    Before,
    Job,
    TableOption,
    check_values,
)
from parburn.nearest import did_you_mean
from parburn.printable import is_printable, printable
from parburn.run.checked_job import CheckedJob, check_job

SCHEMA: Final = 1
WORD_KEYS: Final = ("pass", "retry", "wrong_board", "red_bin", "leave_in", "socket_off", "put_it_back")
LONGEST_WORD: Final = 60  # characters; the sentence `put_it_back` may have LONGEST_SENTENCE
LONGEST_SENTENCE: Final = 200
# Sections that a later version will have: nobody is to believe that they work.
NOT_YET: Final = (
    "delivery", "deliveries", "sink", "sinks", "hooks", "outbox", "gate", "page", "web", "metrics", "scanner",
    "scan", "golden", "labels",
)  # fmt: skip
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
    ledger: Path | None = None
    bounds: Bounds = Bounds()
    stop: StopRules = StopRules()
    retries: int = Job(()).connect_attempts  # of a connection only
    first_article: int = 1  # so many boards burn alone after an arming
    target: int | None = None  # boards that are wanted, for the head of the screen
    rework: bool = False  # a unit that passed under another arming goes through this one
    words: Mapping[str, str] = MappingProxyType({})  # by WORD_KEYS; those that are missing stay English
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
            f"{printable(str(station.path))}: the range of indexes has no end, and no config file has records",
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

    def _value(self, data: Mapping[str, Any], key: str, kind: _Kind) -> Any:
        value = data[key]
        where = f"[{self.section}] {key}" if self.section else key
        try:
            return kind.read(self, value)
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
            connect_attempts=found.get("retries", Job(()).connect_attempts),
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
            words=MappingProxyType(parts["words"]),
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


# Kinds of values --------------------------------------------------------------------------------------


class _Kind(NamedTuple):
    """A kind of value: how it is told, and what reads it. A ValueError without a text means: not of it."""

    told: str
    read: Callable[[_Reader, Any], Any]


def _number(lowest: int, highest: int) -> _Kind:
    def read(_: _Reader, value: Any) -> int:
        if type(value) is not int or not lowest <= value <= highest:
            raise ValueError
        return value

    return _Kind(f"a whole number from {lowest} to {highest}", read)


def _measure(lowest: float, highest: float) -> _Kind:
    def read(_: _Reader, value: Any) -> float:
        if type(value) not in (int, float) or not lowest <= value <= highest:  # also refuses nan
            raise ValueError
        return float(value)

    return _Kind(f"a number from {lowest:g} to {highest:g}", read)


def _text(longest: int) -> _Kind:
    def read(_: _Reader, value: Any) -> str:
        if not isinstance(value, str) or not value.strip() or len(value) > longest:
            raise ValueError
        if not value.isprintable() or not is_printable(value):
            raise ValueError("it has characters that cannot be shown")
        return value

    return _Kind(f"a text of at most {longest} characters", read)


def _choice(choices: tuple[str, ...]) -> _Kind:
    def read(_: _Reader, value: Any) -> str:
        if not isinstance(value, str) or value.replace("_", "-") not in choices:
            near = did_you_mean(value, choices) if isinstance(value, str) else ""
            raise ValueError(f"it must be one of {', '.join(choices)}" + (f"; {near}" if near else ""))
        return value.replace("_", "-")

    return _Kind(f"one of {', '.join(choices)}", read)


def _flag(_: _Reader, value: Any) -> bool:
    if not isinstance(value, bool):
        raise ValueError
    return value


def _texts(value: Any, *, empty: bool = True) -> list[str]:
    values = [value] if isinstance(value, str) else value
    if not isinstance(values, list) or not all(isinstance(one, str) and one for one in values):
        raise ValueError
    if not (values or empty):
        raise ValueError
    return values


def _path(reader: _Reader, text: str) -> Path:
    """Return a path, relative to the job file's folder, as it is opened."""
    if "\0" in text:
        raise ValueError(f"{text!r} is no path")
    return reader.folder / Path(text).expanduser()


def _file(reader: _Reader, text: str) -> Path:
    path = _path(reader, text)
    try:
        if path.is_dir():
            raise ValueError(f"{text} is a folder")
        if not path.exists():
            raise ValueError(f"there is no file {text} (looked for {path})")
        with path.open("rb"):
            return path
    except OSError as error:
        raise ValueError(f"{text} cannot be read: {error.strerror or error}") from error


def _one_file(reader: _Reader, value: Any) -> Path:
    if not isinstance(value, str) or not value:
        raise ValueError
    return _file(reader, value)


def _some_files(*, empty: bool) -> Callable[[_Reader, Any], tuple[Path, ...]]:
    def read(reader: _Reader, value: Any) -> tuple[Path, ...]:
        return tuple(_file(reader, one) for one in _texts(value, empty=empty))

    return read


def _new_path(reader: _Reader, value: Any) -> Path:
    if not isinstance(value, str) or not value:
        raise ValueError
    if "://" in value:
        raise ValueError("a ledger is a file on this machine")
    path = _path(reader, value)
    if path.is_dir():
        raise ValueError(f"{value} is a folder")
    return path


def _chips(_: _Reader, value: Any) -> tuple[str, ...]:
    found = {}
    for text in _texts(value, empty=False):
        name = _chip(text)
        found[name] = None
    return tuple(found)


def _chip(text: str) -> str:
    plain = {name: name for name in chip_names()}
    wanted = text.strip().lower().replace("-", "").replace("_", "")
    if wanted not in plain:
        near = did_you_mean(wanted, plain)
        raise ValueError(f"there is no chip {text!r}; {near or 'known are ' + ', '.join(plain)}")
    return plain[wanted]


def _tables(reader: _Reader, value: Any) -> tuple[TableOption, ...]:
    return tuple(_table(reader, text) for text in _texts(value))


def _table(reader: _Reader, text: str) -> TableOption:
    head, equals, tail = text.partition("=")
    if not equals or _path(reader, text).exists():  # a file's name may hold '=' itself
        return TableOption(None, _file(reader, text))
    return TableOption(_chip(head), _file(reader, tail))


def _index(_: _Reader, value: Any) -> tuple[int, int | None]:
    text = str(value) if type(value) is int else value
    found = re.fullmatch(r"(\d{1,12})(?:-(\d{1,12}))?", text, re.ASCII) if isinstance(text, str) else None
    if found is None:
        raise ValueError
    first, last = int(found[1]), int(found[2]) if found[2] else None
    if first < 1:
        raise ValueError("indexes begin at 1")
    if last is not None and last < first:
        raise ValueError("the range ends before it begins")
    return first, last


def _baud(_: _Reader, value: Any) -> int | None:
    if value == "auto":
        return None
    if type(value) is not int or value not in BAUD_RANGE:
        raise ValueError
    return value


def _records(_: _Reader, value: Any) -> tuple[str, ...]:
    if isinstance(value, dict):
        if not all(isinstance(form, str) and form for form in value.values()):
            raise ValueError
        return tuple(f"{name}={form}" for name, form in value.items())
    found = _texts(value)
    if not all("=" in one for one in found):
        raise ValueError
    return tuple(found)


def _names(*, joined: bool) -> Callable[[_Reader, Any], tuple[str, ...]]:
    def read(_: _Reader, value: Any) -> tuple[str, ...]:
        found = _texts(value)
        for text in found:
            if not text.isprintable() or " " in text or "" in text.split("+"):
                raise ValueError(f"{text!r} names no value")
            if "+" in text and not joined:
                raise ValueError(f"{text}: one name each")
        return tuple(dict.fromkeys(found))

    return read


_FILES: Final = 'a list of files, as ["burn.py"]'
TOP: Final[Mapping[str, _Kind]] = {
    "schema": _number(1, 1_000_000),
    "name": _text(LONGEST_NAME),
    "scripts": _Kind(_FILES, _some_files(empty=False)),
    "configfiles": _Kind(_FILES, _some_files(empty=True)),
    "chips": _Kind('a list of chips, as ["esp32c3"]', _chips),
    "index": _Kind('a range as "1-1000"', _index),
    "records": _Kind('a list as ["ids.csv=lines"]', _records),
    "tables": _Kind('a list of tables, as ["esp32c3=fields.csv"]', _tables),
    "slots": _Kind("the slots file", _one_file),
    "before": _choice(BEFORE_MODES),
    "after": _choice(AFTER_MODES),
    "baud": _Kind(f'a rate from {BAUD_RANGE[0]} to {BAUD_RANGE[-1]}, or "auto"', _baud),
    "max_burning": _number(1, 1024),
    "script_timeout": _measure(0.001, 86400.0 * 7),
    "retries": _number(1, 100),
    "first_article": _number(0, 1000),
    "target": _number(1, 1_000_000_000),
    "rework": _Kind("true or false", _flag),
    "same": _Kind("a list of names of fields", _names(joined=False)),
    "unique": _Kind("a list of names of fields", _names(joined=True)),
}
SECTIONS: Final[Mapping[str, Mapping[str, _Kind]]] = {
    "bounds": {
        "debounce_ms": _number(0, 10_000),
        "look_ms": _number(10, 10_000),
        "open_ms": _number(10, 10_000),
        "replug_s": _measure(0.0, 60.0),
    },
    "stop": {
        "consecutive_failures": _number(0, 1000),
        "yield_below": _measure(0.0, 100.0),
        "insertions": _number(0, 1_000_000_000),
        "same_script_error_on": _number(0, 1000),
    },
    "ledger": {"path": _Kind("the ledger's file", _new_path)},
    "words": {key: _text(LONGEST_SENTENCE if key == "put_it_back" else LONGEST_WORD) for key in WORD_KEYS},
}


def known_keys() -> Iterator[str]:
    """Yield every key that a job file may have, those of sections as `section.key`."""
    yield from TOP
    for section, keys in SECTIONS.items():
        for key in keys:
            yield f"{section}.{key}"
