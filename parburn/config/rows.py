"""Rows and lines of a text, found by their places without keeping a Python object for each.

Ten million lines are two arrays of numbers beside the file's bytes. A row is parsed when it is asked for.
"""

from __future__ import annotations

import csv
import io
import json
import re
from array import array
from bisect import bisect_left
from collections.abc import Iterator, Sequence
from itertools import accumulate
from typing import Any

from parburn.config.tables import DIGITS_AT_MOST, doubled
from parburn.errors import UsageError

INDEX = "index"  # the name of a column, or of a key in JSON Lines, that names the index
_BLANK = re.compile(rb"\n[ \t\r,;]*\n")
_HEX = re.compile(r"(?:[0-9A-Fa-f]{2}[:.-]?){4,}")
_SPLIT = re.compile(r"[,;\t ]+")
_DELIMITERS = ",;\t"


def delimiter_of(line: str) -> str:
    """Return the character between the cells of a line; empty when there is one cell."""
    outside = re.sub(r'"[^"]*"', "", line)
    found = max(_DELIMITERS, key=outside.count)
    return found if found in outside else ""


def header_of(first: str, second: str) -> list[str]:
    """Return the names in a first line; empty when it is a row like the second.

    Names begin with a letter, hold few digits, are no MACs and are not written like the row below them.
    """
    delimiter = delimiter_of(first) or ","
    names = cells_of(first, delimiter)
    if [name.casefold() for name in names].count(INDEX) == 1:
        return names
    alike = [re.sub("[0-9]+", "0", cell) for cell in cells_of(second, delimiter)]
    named = all(map(_is_name, names)) and len(set(names)) == len(names)
    return names if named and alike != [re.sub("[0-9]+", "0", name) for name in names] else []


def _is_name(text: str) -> bool:
    digits = sum(map(str.isdigit, text))
    return text[:1].isalpha() and digits < 4 and 2 * digits <= len(text) and not _HEX.fullmatch(text)


def cells_of(line: str, delimiter: str) -> list[str]:
    """Return the cells of one row, which may hold line ends within quotes."""
    try:
        row = next(csv.reader(io.StringIO(line, newline=""), delimiter=delimiter), [])
    except csv.Error:  # a cell beyond csv's limit, or a stray line end
        row = line.split(delimiter)
    return [cell.strip() for cell in row]


def line_of(content: bytes, start: int) -> int:
    """Return the number of the line that begins at byte `start`, from 1."""
    return content.count(b"\n", 0, start) + 1


class Lines:
    """The lines or rows of a text, by their place from 0. `quoted`: a row may span lines within quotes."""

    def __init__(self, content: bytes, *, quoted: bool = False, delimiter: str = ",") -> None:
        if b"\r" in content and content.count(b"\r") != content.count(b"\r\n"):
            content = content.replace(b"\r\n", b"\n").replace(b"\r", b"\n")  # as text files are read
        self.content = content
        end = len(content)
        while end and content[end - 1 : end].isspace():
            end -= 1
        if quoted and b'"' in content:
            self._starts = array("Q", _row_starts(content, delimiter))
        else:
            self._starts = array("Q", [0])
            self._starts.extend(accumulate(map(len, io.BytesIO(content))))
        while self._starts and self._starts[-1] >= end:
            self._starts.pop()

    def __len__(self) -> int:
        """Without what is blank at the end."""
        return len(self._starts)

    def text(self, place: int) -> str:
        """Return a line or row, without its line end."""
        start = self._starts[place]
        end = self._starts[place + 1] if place + 1 < len(self._starts) else len(self.content)
        return self.content[start:end].decode().rstrip("\r\n")

    def line(self, place: int) -> int:
        """Return the number of the line at a place, as an editor shows it."""
        return line_of(self.content, self._starts[place])

    def raw(self) -> Iterator[bytes]:
        """Yield all of them in order, undecoded and with their line ends."""
        last = len(self._starts) - 1
        for place, start in enumerate(self._starts):
            yield self.content[start : self._starts[place + 1] if place < last else len(self.content)]


def _row_starts(content: bytes, delimiter: str) -> Iterator[int]:
    """Where the rows of a table with quoted cells begin."""
    taken = 0

    def lines() -> Iterator[str]:
        nonlocal taken
        for line in io.BytesIO(content):
            taken += len(line)
            yield line.decode()

    reader = csv.reader(lines(), delimiter=delimiter)
    while True:
        start = taken
        try:
            next(reader)
        except StopIteration:
            return
        except csv.Error:  # csv has taken the line all the same
            pass
        yield start


class Numbered:
    """Which place holds which index, where each row says its own. Both arrays are in order of the index."""

    def __init__(self, numbers: array[int], places: array[int]) -> None:
        if any(map(int.__ge__, numbers, numbers[1:])):  # not in order
            pairs = sorted(number << 32 | place for number, place in zip(numbers, places, strict=True))
            numbers = array("I", (pair >> 32 for pair in pairs))
            places = array("I", (pair & 0xFFFFFFFF for pair in pairs))
        self.numbers, self.places = numbers, places

    def find_doubled(self) -> tuple[int, int, int] | None:
        """Return an index that is there twice, with both places."""
        for at, pair in enumerate(zip(self.numbers, self.numbers[1:], strict=False)):
            if pair[0] == pair[1]:
                return pair[0], self.places[at], self.places[at + 1]
        return None

    def place(self, index: int) -> int | None:
        """Return the place of the row of an index."""
        at = bisect_left(self.numbers, index)
        return self.places[at] if at < len(self.numbers) and self.numbers[at] == index else None


def numbered_rows(name: str, lines: Lines, column: int, delimiter: str, *, header: bool) -> Numbered:
    """Read the column that names the index of each row.

    Args:
        column: its number, from 0.

    Raises:
        UsageError: an index is there twice, or a cell is no index; it names the lines.
    """
    numbers, places = array("I"), array("I")
    part, simple = delimiter.encode(), b'"' not in lines.content
    for place, row in enumerate(lines.raw()):
        if place == 0 and header:
            continue
        cells: Sequence[Any] = row.split(part, column + 1) if simple else cells_of(row.decode(), delimiter)
        cell = cells[column].strip() if column < len(cells) else b""
        if cell.isdigit() and cell.isascii() and len(cell) <= DIGITS_AT_MOST:
            numbers.append(int(cell))
            places.append(place)
        elif cell or row.strip(b' \t\r\n,;"'):
            text = cell if isinstance(cell, str) else cell.decode()
            raise UsageError(
                f"{name}:{lines.line(place)}: {text[:20]!r} is not an index",
                hint="The column of the index holds whole numbers only. Nothing was opened.",
            )
    return _checked(name, lines, Numbered(numbers, places))


def numbered_objects(name: str, lines: Lines) -> Numbered | None:
    """Read the key `index` of JSON Lines; None when none has it.

    Raises:
        UsageError: an index is there twice, or only some lines have one; it names the lines.
    """
    numbers, places = array("I"), array("I")
    for place, line in enumerate(lines.raw()):
        row = json.loads(line) if line.strip() else None
        number = row.get(INDEX) if isinstance(row, dict) else None
        text = "" if number is None or isinstance(number, (bool, float)) else str(number)
        if text.isdecimal() and text.isascii() and len(text) <= DIGITS_AT_MOST:
            numbers.append(int(text))
            places.append(place)
        elif number is not None or (numbers and row):
            raise UsageError(
                f"{name}:{lines.line(place)}: no whole number under {INDEX!r}",
                hint="Each line names its index, or none does. Nothing was opened.",
            )
        elif row and not numbers:
            return None
    return _checked(name, lines, Numbered(numbers, places))


def _checked(name: str, lines: Lines, found: Numbered) -> Numbered:
    twice = found.find_doubled()
    if twice is not None:
        index, first, second = twice
        raise doubled(name, index, lines.line(first), lines.line(second))
    return found


def refuse_blank_rows(name: str, lines: Lines) -> None:
    """Refuse a table with rows that are wholly empty: one csv reader counts them, the other does not.

    Raises:
        UsageError: it has such a row.
    """
    if _BLANK.search(lines.content) is None:
        return
    for place in range(len(lines)):
        if not lines.text(place).strip():
            raise UsageError(
                f"{name}:{lines.line(place)}: an empty line between rows; csv.DictReader leaves it out, "
                "csv.reader counts it",
                hint="Leave the row's separators in it, or take the line out before the first burn.",
            )


def words_of(line: str) -> list[str]:
    """Return the words and cells that stand in a line."""
    return [word for word in _SPLIT.split(line.strip()) if word]
