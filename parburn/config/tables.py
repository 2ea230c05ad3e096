"""Parsed data that name indexes by their keys: `1`, `0001`, `dev0001`, at any level. Pure.

An object is a *table* when its keys are numbers, or one common text with a number behind it. What lies beside
its indexes, and beside the tables, is shared data. A key that is a MAC (12 or 16 hex digits) is no index.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from parburn.errors import UsageError

DIGITS_AT_MOST = 9  # of an index
_DEEPEST = 20  # levels that are searched for tables
_KEY = re.compile(r"(?P<text>.*?)(?P<number>[0-9]{1,9})", re.DOTALL)
_NOT_HEX = re.compile(r"[:.\-]")
_MAC = re.compile(r"[0-9A-Fa-f]{12}|[0-9A-Fa-f]{16}")
_TOKENS = re.compile(r'"(?:[^"\\]|\\.)*"(?P<key>\s*:)?|[{}\n]', re.DOTALL)


class Table(NamedTuple):
    """One object whose keys name indexes, each by a common text and a number.

    `width` is how many digits all numbers have (0: as many as they need); without `keys` each key is made
    from its index.
    """

    path: tuple[str, ...]
    entries: Mapping[str, Any]
    text: str = ""
    width: int = 0
    keys: Mapping[int, str] | None = None
    named: int = 0  # how many keys name an index

    def key(self, index: int) -> str | None:
        """Return the key of an index; it need not be there."""
        return f"{self.text}{index:0{self.width}d}" if self.keys is None else self.keys.get(index)

    def get(self, index: int) -> Any:
        """Return what stands under an index, or None."""
        key = self.key(index)
        return None if key is None else self.entries.get(key)

    def indexes(self) -> Iterator[int]:
        """Yield all indexes that are named, in the order of the file."""
        if self.keys is not None:
            yield from self.keys
            return
        start = len(self.text)
        for key in self.entries:
            if key.startswith(self.text) and key[start:].isdecimal() and key[start:].isascii():
                yield int(key[start:])

    def beside(self) -> dict[str, Any]:
        """Return the entries that name no index."""
        if self.named == len(self.entries):
            return {}
        own = set(self.keys.values()) if self.keys is not None else {self.key(n) for n in self.indexes()}
        return {key: value for key, value in self.entries.items() if key not in own}


def index_in(key: str) -> tuple[str, int] | None:
    """Return the text and the number of a key that may name an index; None for any other key."""
    found = _KEY.fullmatch(key)
    if found is None or found["text"][-1:].isdecimal() or _MAC.fullmatch(_NOT_HEX.sub("", key)):
        return None
    return found["text"], int(found["number"])


def find_tables(value: Any, *, plain: bool, path: tuple[str, ...] = ()) -> list[Table]:
    """Return the tables in parsed data, from the outside in: nothing is searched within a record.

    Args:
        plain: the file is ASCII alone, so that a digit is one of ten.

    Raises:
        DoubledIndex: one object names an index twice, as `1` and `01`.
    """
    if type(value) is not dict or not value or len(path) > _DEEPEST:
        return []
    own, sure = _table(value, path, plain=plain)
    if own is not None and sure:
        return [own]
    below = [
        table
        for key, inner in value.items()
        if type(inner) is dict
        for table in find_tables(inner, plain=plain, path=(*path, key))
    ]
    return below or ([own] if own is not None else [])


def _table(value: Mapping[str, Any], path: tuple[str, ...], *, plain: bool) -> tuple[Table | None, bool]:
    """Return an object as a table, and whether that is sure: a single key alone may make it one by chance."""
    if plain and min(value) >= "1":  # no key begins with 0: each number is written in one way
        others = len(value) - sum(map(str.isdecimal, value))
        if others < len(value) and max(map(len, value)) <= DIGITS_AT_MOST:
            return Table(path, value, named=len(value) - others), True
    uniform = _uniform(value, path)
    if uniform is not None:
        return uniform, True
    families: dict[str, dict[int, str]] = {}
    for key in value:
        found = index_in(key)
        if found is not None:
            text, number = found
            keys = families.setdefault(text, {})
            if number in keys:
                raise DoubledIndex(number, (keys[number], key))
            keys[number] = key
    common = _common(families)
    if common is None:
        return None, False
    keys = families[common]
    return Table(path, value, common, keys=keys, named=len(keys)), not common or len(keys) > 1


def _uniform(value: Mapping[str, Any], path: tuple[str, ...]) -> Table | None:
    """Return the table of keys that are one text and equally many digits: none of them needs to be kept."""
    first = index_in(next(iter(value)))
    if first is None or len(value) < 2:
        return None
    text = first[0]
    lengths = set(map(len, value))
    width = lengths.pop() - len(text)
    if lengths or not 0 < width <= DIGITS_AT_MOST or not all(key.startswith(text) for key in value):
        return None
    start = len(text)
    numbers = [key[start:] for key in value]
    if not all(map(str.isdecimal, numbers)) or not all(map(str.isascii, numbers)):
        return None
    return Table(path, value, text, width, named=len(value))


def _common(families: Mapping[str, Mapping[int, str]]) -> str | None:
    """Return the text whose numbers are indexes: "", else the only one, else the only one with several."""
    if "" in families:
        return ""
    if len(families) == 1:
        return next(iter(families))
    several = [text for text, keys in families.items() if len(keys) > 1]
    return several[0] if len(several) == 1 else None


class DoubledIndex(Exception):
    """One index under two keys of one object, as `1` and `01`; who knows the file makes a sentence of it."""

    def __init__(self, index: int, keys: tuple[str, str]) -> None:
        super().__init__(index, keys)
        self.index = index
        self.keys = keys


def keys_may_be_doubled(content: bytes, value: Any) -> bool:
    """Tell whether JSON text may hold a key twice in one object, of which a parser keeps the last only.

    Counting is fast and never says no wrongly: each key stands before a colon.
    """
    return content.translate(None, b" \t\r\n").count(b'":') != _count_keys(value)


def _count_keys(value: Any) -> int:
    pending, count = [value], 0
    while pending:
        one = pending.pop()
        if type(one) is dict:
            count += len(one)
            one = one.values()
        elif type(one) is not list:
            continue
        kinds = set(map(type, one))
        if dict in kinds or list in kinds:
            pending += [inner for inner in one if type(inner) in (dict, list)]
    return count


def refuse_doubled_keys(name: str, text: str) -> None:
    """Look through JSON text for an index that one object names twice.

    Raises:
        UsageError: there is one; it names both lines.
    """
    line, open_objects = 1, list[dict[tuple[str, int], int]]()
    for token in _TOKENS.finditer(text):
        word = token[0]
        if word == "{":
            open_objects.append({})
        elif word == "}":
            del open_objects[-1:]
        elif token["key"] is not None and open_objects:
            key = json.loads(word[: -len(token["key"])], strict=False)
            found = index_in(key)
            if found is not None and found in open_objects[-1]:
                raise doubled(name, found[1], open_objects[-1][found], line)
            if found is not None:
                open_objects[-1][found] = line
        line += word.count("\n")


def doubled(name: str, index: int, first: int, second: int) -> UsageError:
    """Return the error for one index that stands twice in a file."""
    where = (
        f"{name}:{first} and {name}:{second}" if first != second else f"{name}:{first}, twice in that line"
    )
    return UsageError(
        f"index {index} stands twice in {name}: {where}",
        hint="Which of the two is meant? Leave one of them. Nothing was opened.",
    )
