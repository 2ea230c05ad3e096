"""What the keys of a job file may hold: one row a key. A ValueError says why a value is none."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final, NamedTuple

from parburn.chips.registry import chip_names
from parburn.errors import UsageError
from parburn.job import AFTER_MODES, BAUD_RANGE, BEFORE_MODES, LONGEST_NAME, TableOption
from parburn.ledger_place import Place, is_address, parse_address
from parburn.nearest import did_you_mean
from parburn.printable import is_printable

WORD_KEYS: Final = ("pass", "retry", "wrong_board", "red_bin", "leave_in", "socket_off", "put_it_back")
BELL_KEYS: Final = WORD_KEYS[:-1]
LONGEST_WORD: Final = 60  # characters; the sentence `put_it_back` may have LONGEST_SENTENCE
LONGEST_SENTENCE: Final = 200


class Kind(NamedTuple):
    """A kind of value: how it is told, and what reads it. A ValueError without a text means: not of it.

    `read` gets the folder of the job file, to which paths are relative, and the value.
    """

    told: str
    read: Callable[[Path, Any], Any]


def _number(lowest: int, highest: int) -> Kind:
    def read(_: Path, value: Any) -> int:
        if type(value) is not int or not lowest <= value <= highest:
            raise ValueError
        return value

    return Kind(f"a whole number from {lowest} to {highest}", read)


def _measure(lowest: float, highest: float) -> Kind:
    def read(_: Path, value: Any) -> float:
        if type(value) not in (int, float) or not lowest <= value <= highest:  # also refuses nan
            raise ValueError
        return float(value)

    return Kind(f"a number from {lowest:g} to {highest:g}", read)


def _text(longest: int) -> Kind:
    def read(_: Path, value: Any) -> str:
        if not isinstance(value, str) or not value.strip() or len(value) > longest:
            raise ValueError
        if not value.isprintable() or not is_printable(value):
            raise ValueError("it has characters that cannot be shown")
        return value

    return Kind(f"a text of at most {longest} characters", read)


def _choice(choices: tuple[str, ...]) -> Kind:
    def read(_: Path, value: Any) -> str:
        if not isinstance(value, str) or value.replace("_", "-") not in choices:
            near = did_you_mean(value, choices) if isinstance(value, str) else ""
            raise ValueError(f"it must be one of {', '.join(choices)}" + (f"; {near}" if near else ""))
        return value.replace("_", "-")

    return Kind(f"one of {', '.join(choices)}", read)


def _flag(_: Path, value: Any) -> bool:
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


def _path(folder: Path, text: str) -> Path:
    """Return a path, relative to the job file's folder, as it is opened."""
    if "\0" in text:
        raise ValueError(f"{text!r} is no path")
    return folder / Path(text).expanduser()


def _file(folder: Path, text: str) -> Path:
    path = _path(folder, text)
    try:
        if path.is_dir():
            raise ValueError(f"{text} is a folder")
        if not path.exists():
            raise ValueError(f"there is no file {text} (looked for {path})")
        with path.open("rb"):
            return path
    except OSError as error:
        raise ValueError(f"{text} cannot be read: {error.strerror or error}") from error


def _one_file(folder: Path, value: Any) -> Path:
    if not isinstance(value, str) or not value:
        raise ValueError
    return _file(folder, value)


def _some_files(*, empty: bool) -> Callable[[Path, Any], tuple[Path, ...]]:
    def read(folder: Path, value: Any) -> tuple[Path, ...]:
        return tuple(_file(folder, one) for one in _texts(value, empty=empty))

    return read


def _ledger(folder: Path, value: Any) -> Place:
    if not isinstance(value, str) or not value:
        raise ValueError
    if is_address(value):
        try:
            return parse_address(value)
        except UsageError as error:
            raise ValueError(f"{error} {error.hint}") from None
    if "://" in value:
        raise ValueError("a ledger is a file on this machine, or a pool: postgresql://...")
    path = _path(folder, value)
    if path.is_dir():
        raise ValueError(f"{value} is a folder")
    return path


def _chips(_: Path, value: Any) -> tuple[str, ...]:
    return tuple(dict.fromkeys(_chip(text) for text in _texts(value, empty=False)))


def _chip(text: str) -> str:
    plain = {name: name for name in chip_names()}
    wanted = text.strip().lower().replace("-", "").replace("_", "")
    if wanted not in plain:
        near = did_you_mean(wanted, plain)
        raise ValueError(f"there is no chip {text!r}; {near or 'known are ' + ', '.join(plain)}")
    return plain[wanted]


def _tables(folder: Path, value: Any) -> tuple[TableOption, ...]:
    return tuple(_table(folder, text) for text in _texts(value))


def _table(folder: Path, text: str) -> TableOption:
    head, equals, tail = text.partition("=")
    if not equals or _path(folder, text).exists():  # a file's name may hold '=' itself
        return TableOption(None, _file(folder, text))
    return TableOption(_chip(head), _file(folder, tail))


def _index(_: Path, value: Any) -> tuple[int, int | None]:
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


def _baud(_: Path, value: Any) -> int | None:
    if value == "auto":
        return None
    if type(value) is not int or value not in BAUD_RANGE:
        raise ValueError
    return value


def _records(_: Path, value: Any) -> tuple[str, ...]:
    if isinstance(value, dict):
        if not all(isinstance(form, str) and form for form in value.values()):
            raise ValueError
        return tuple(f"{name}={form}" for name, form in value.items())
    found = _texts(value)
    if not all("=" in one for one in found):
        raise ValueError
    return tuple(found)


def _names(*, joined: bool) -> Callable[[Path, Any], tuple[str, ...]]:
    def read(_: Path, value: Any) -> tuple[str, ...]:
        found = _texts(value)
        for text in found:
            if not text.isprintable() or " " in text or "" in text.split("+"):
                raise ValueError(f"{text!r} names no value")
            if "+" in text and not joined:
                raise ValueError(f"{text}: one name each")
        return tuple(dict.fromkeys(found))

    return read


def _bells(_: Path, value: Any) -> tuple[str, ...]:
    found = tuple(dict.fromkeys(_texts(value)))
    for text in found:
        if text not in BELL_KEYS:
            near = did_you_mean(text, BELL_KEYS)
            raise ValueError(f"{text!r} is no word; {near or 'known are ' + ', '.join(BELL_KEYS)}")
    return found


_FILES: Final = 'a list of files, as ["burn.py"]'
TOP: Final[Mapping[str, Kind]] = {
    "schema": _number(1, 1_000_000),
    "name": _text(LONGEST_NAME),
    "scripts": Kind(_FILES, _some_files(empty=False)),
    "configfiles": Kind(_FILES, _some_files(empty=True)),
    "chips": Kind('a list of chips, as ["CHIP"]', _chips),
    "index": Kind('a range as "1-1000"', _index),
    "records": Kind('a list as ["ids.csv=row"]', _records),
    "tables": Kind('a list of tables, as ["CHIP=fields.csv"]', _tables),
    "slots": Kind("the slots file", _one_file),
    "before": _choice(BEFORE_MODES),
    "after": _choice(AFTER_MODES),
    "baud": Kind(f'a rate from {BAUD_RANGE[0]} to {BAUD_RANGE[-1]}, or "auto"', _baud),
    "max_burning": _number(1, 1024),
    "script_timeout": _measure(0.001, 86400.0 * 7),
    "retries": _number(1, 100),
    "first_article": _number(0, 1000),
    "target": _number(1, 1_000_000_000),
    "rework": Kind("true or false", _flag),
    "bells": Kind('a list of words that ring the bell, as ["red_bin"]', _bells),
    "same": Kind("a list of names of fields", _names(joined=False)),
    "unique": Kind("a list of names of fields", _names(joined=True)),
}
SECTIONS: Final[Mapping[str, Mapping[str, Kind]]] = {
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
    "ledger": {"path": Kind("the ledger's file, or the address of a pool", _ledger)},
    "words": {key: _text(LONGEST_SENTENCE if key == "put_it_back" else LONGEST_WORD) for key in WORD_KEYS},
}
