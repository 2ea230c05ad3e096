"""How the records of a file lie: named by their indexes, or as the operator says with `--records`. Pure.

=============  =====================================================================================
`names`        the file names indexes itself: JSON keys, INI and TOML sections, a column or key `index`
`row`          row n of a table behind its header is index n
`line`         line n is index n
`item`         item n of the list is index n; also of several lists side by side
`section`      section n of an INI file, or member n of an object, is index n
`column:NAME`  the column NAME (or, without a header, the column with that number) holds the index
`none`         shared data: no record at all
=============  =====================================================================================
"""

from __future__ import annotations

import json
import re
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from functools import cached_property
from typing import Any, Protocol

from parburn.config import rows, tables
from parburn.config.files import ConfigFile
from parburn.config.rows import Lines, Numbered
from parburn.errors import UsageError

NAMES, NONE, COLUMN = "names", "none", "column:"
FORMS = ("row", "line", "item", "section", "column:NAME", NONE)
_DEFAULTS = "DEFAULT"  # the section of an INI file that all others share
_NO_SECTION = "\0"  # makes configparser take it for a section like the others
_SECTION = re.compile(rb"\s*(?:[#;][^\n]*\n\s*)*\[[^\[\]\n]+\]\s*\n")


class Records(Protocol):
    """The records of one file in one form."""

    @property
    def last(self) -> int:
        """The highest index that may have a record; 0 when there is none."""

    @property
    def count(self) -> int:
        """How many records there are."""

    def next_after(self, index: int) -> int | None:
        """Return the lowest index above `index` that may have a record; None behind the last one."""

    def get(self, index: int) -> Any:
        """Return what the file says for an index, as parsed data; None when it says nothing."""

    def where(self, index: int) -> str:
        """Return the place of a record, as `:2` for its line or ` item 1`, to follow the file's name."""

    def beside(self) -> Any:
        """Return the parsed data that belong to no record; None when there are none."""


def _next_place(index: int, last: int) -> int | None:
    """Return the next index where each place is one."""
    return max(index + 1, 1) if index < last else None


def _next_number(numbers: Sequence[int], index: int) -> int | None:
    """Return the next index of those that are named, in their order."""
    at = bisect_right(numbers, index)
    return numbers[at] if at < len(numbers) else None


# Parsed data ------------------------------------------------------------------------------------------


class InTables:
    """Records under keys that name their index; those of several tables are put together."""

    def __init__(self, value: Any, found: list[tables.Table]) -> None:
        self._value, self._tables = value, found

    @property
    def last(self) -> int:
        """The highest index that a key names."""
        return max(max(table.indexes(), default=0) for table in self._tables)

    @cached_property
    def _numbers(self) -> list[int]:
        """All indexes in their order; made only where some are left out."""
        return sorted({index for table in self._tables for index in table.indexes()})

    def next_after(self, index: int) -> int | None:
        """Return the next index that a key names."""
        return _next_number(self._numbers, index)

    @property
    def count(self) -> int:
        """How many keys name an index, in the table with most of them."""
        return max(table.named for table in self._tables)

    def get(self, index: int) -> Any:
        """Return the entry of an index; of several tables, by their paths, those that have it."""
        if len(self._tables) == 1:
            table = self._tables[0]
            if table.keys is None and not table.width:
                return table.entries.get(f"{table.text}{index}")
            return table.get(index)
        found = {"/".join(table.path): table.get(index) for table in self._tables}
        return {name: value for name, value in found.items() if value is not None} or None

    def where(self, index: int) -> str:
        """Return the key of a record: ` '0001'`."""
        keys = (table.key(index) for table in self._tables)
        return f" {next((key for key in keys if key is not None), index)!r}"

    def beside(self) -> Any:
        """Return the file's data without the records."""
        return _without(self._value, {table.path: table for table in self._tables}, ())


def _without(value: Any, found: dict[tuple[str, ...], tables.Table], path: tuple[str, ...]) -> Any:
    if path in found:
        return found[path].beside()
    if type(value) is dict and any(known[: len(path)] == path for known in found):
        return {key: _without(inner, found, (*path, key)) for key, inner in value.items()}
    return value


class InLists:
    """Item n of each list is a part of the record of index n."""

    def __init__(self, value: Any, found: dict[str, list[Any]]) -> None:
        self._value, self._lists = value, found

    @property
    def last(self) -> int:
        """The length of the longest list."""
        return max(map(len, self._lists.values()), default=0)

    def next_after(self, index: int) -> int | None:
        """Return the next place."""
        return _next_place(index, self.last)

    @property
    def count(self) -> int:
        """The length of the longest list."""
        return self.last

    def get(self, index: int) -> Any:
        """Return item `index` of the list; of several lists, by their names, those that are so long."""
        found = {name: one[index - 1] for name, one in self._lists.items() if 1 <= index <= len(one)}
        return (next(iter(found.values()), None) if len(self._lists) == 1 else found) or None

    def where(self, index: int) -> str:
        """Return the number of the item: ` item 1`."""
        return f" item {index}"

    def beside(self) -> Any:
        """Return what stands beside the lists; None when the file is one list."""
        if type(self._value) is list:
            return None
        return {key: None if key in self._lists else inner for key, inner in self._value.items()}


class InMembers:
    """Member n of an object, or section n of an INI file, in the order of the file."""

    def __init__(self, value: dict[str, Any], beside: Any = None) -> None:
        self._names, self._value, self._beside = list(value), value, beside

    @property
    def last(self) -> int:
        """How many members there are."""
        return len(self._names)

    def next_after(self, index: int) -> int | None:
        """Return the next place."""
        return _next_place(index, self.last)

    @property
    def count(self) -> int:
        """How many members there are."""
        return len(self._names)

    def get(self, index: int) -> Any:
        """Return the member at this place, under its name; None when there is none."""
        if not 1 <= index <= len(self._names):
            return None
        name = self._names[index - 1]
        return {name: self._value[name]}

    def where(self, index: int) -> str:
        """Return the name of the member: ` section 'a'`."""
        return f" section {self._names[index - 1]!r}"

    def beside(self) -> Any:
        """Return what all sections of an INI file share."""
        return self._beside


# Rows and lines ---------------------------------------------------------------------------------------


class InRows:
    """Rows of a table, lines of a text, lines of JSON: by their place, or by the index that each names.

    `kind` is `row`, `line` or `json`; `numbered` tells the place of each index where rows name theirs, and
    `column` is the one that does so.
    """

    def __init__(
        self,
        lines: Lines,
        *,
        kind: str,
        header: list[str] | None = None,
        delimiter: str = ",",
        numbered: Numbered | None = None,
        column: int | None = None,
    ) -> None:
        self._lines, self._kind, self._delimiter = lines, kind, delimiter
        self._header, self._numbered, self._column = header or [], numbered, column
        self._skipped = 1 if header else 0

    @property
    def last(self) -> int:
        """The highest index that is named, else the number of rows."""
        if self._numbered is not None:
            return self._numbers[-1] if (self._numbers) else 0
        return len(self._lines) - self._skipped

    def next_after(self, index: int) -> int | None:
        """Return the next index that is named, else the next place."""
        if self._numbered is not None:
            return _next_number(self._numbers, index)
        return _next_place(index, self.last)

    @property
    def count(self) -> int:
        """How many rows there are, without the header."""
        return len(self._lines) - self._skipped if self._numbered is None else len(self._numbers)

    @property
    def _numbers(self) -> Any:
        assert self._numbered is not None
        return self._numbered.numbers

    def get(self, index: int) -> Any:
        """Return the row of an index, without the index itself: by the names of the header, or as a list."""
        place = self._place(index)
        if place is None:
            return None
        text = self._lines.text(place)
        if self._kind == "json":
            return self._object(text)
        if self._kind == "line":
            return rows.words_of(text) or None
        return self._row(text)

    def _object(self, text: str) -> Any:
        found = json.loads(text) if text.strip() else None
        if self._numbered is not None and isinstance(found, dict):
            found = {key: value for key, value in found.items() if key != rows.INDEX}
        return found

    def _row(self, text: str) -> Any:
        cells = rows.cells_of(text, self._delimiter)
        if self._header and len(cells) <= len(self._header):
            found = dict(zip(self._header, cells, strict=False))
            if self._column is not None:
                found.pop(self._header[self._column], None)
            return found if any(found.values()) else None
        if self._column is not None:
            del cells[self._column : self._column + 1]
        return cells if any(cells) else None

    def _place(self, index: int) -> int | None:
        if self._numbered is not None:
            return self._numbered.place(index)
        place = index - 1 + self._skipped
        return place if self._skipped <= place < len(self._lines) else None

    def where(self, index: int) -> str:
        """Return the line of a record, as an editor counts it: `:2`."""
        place = self._place(index)
        return "" if place is None else f":{self._lines.line(place)}"

    def beside(self) -> Any:
        """Return None: all rows are records."""
        return None


# Which form -------------------------------------------------------------------------------------------


def named_records(file: ConfigFile) -> Records | None:
    """Return the records of a file that names its indexes; None when it does not.

    Raises:
        UsageError: one index stands in it twice, or what should be an index is none.
    """
    name = file.path.name
    data = data_of(file)
    if data is not None:
        return _named_data(file, data)
    lines = _objects(file)
    if lines is not None:
        numbered = rows.numbered_objects(name, lines)
        return None if numbered is None else InRows(lines, kind="json", numbered=numbered)
    first, second = _two_lines(file)
    delimiter = rows.delimiter_of(first)
    header = rows.header_of(first, second) if delimiter else []
    folded = [cell.casefold() for cell in header]
    return _by_column(file, header, folded.index(rows.INDEX), delimiter) if rows.INDEX in folded else None


def declared_records(file: ConfigFile, form: str) -> Records | None:
    """Return the records of a file in a form that was declared; None for shared data.

    Args:
        form: one of `FORMS`, with the column's name in it, or `names`.

    Raises:
        UsageError: the file has no such form.
    """
    if form == NONE:
        return None
    if form == NAMES:
        return named_records(file)
    if form.startswith(COLUMN):
        return _declared_column(file, form.removeprefix(COLUMN))
    data, objects = data_of(file), _objects(file)
    if form == "line" and not file.is_json:
        return _lines(file) if objects is None else InRows(objects, kind="json")
    if form in ("row", "item") and objects is not None:
        return InRows(objects, kind="json")
    if form == "row" and data is None:
        return _rows(file)
    if form == "item" and data is not None:
        found = _lists(data)
        if found:
            return InLists(data, found)
    if form == "section" and type(data) is dict and data:
        shared = None if file.is_json else data.get(_DEFAULTS)
        own = {name: value for name, value in data.items() if shared is None or name != _DEFAULTS}
        return InMembers(own, shared)
    raise UsageError(
        f"{file.path} has no records of the form {form}",
        hint=f"It can be read as {' or '.join(fitting(file))}. Nothing was opened.",
    )


def fitting(file: ConfigFile) -> list[str]:
    """Return the forms that fit a file, the likeliest first."""
    data = data_of(file)
    if data is not None:
        found = ["item"] if _lists(data) else []
        if not found and type(data) is dict and data:
            found = ["section"]
        return [*found, NONE]
    if _objects(file) is not None:
        return ["item", NONE]
    first, second = _two_lines(file)
    if first.startswith("-----BEGIN "):
        return [NONE]
    table = file.path.suffix.lower() in (".csv", ".tsv") or rows.delimiter_of(first) != ""
    if not table:
        return ["line", NONE]
    return ["row", "column:NAME", NONE] if rows.header_of(first, second) else ["row", NONE]


def _named_data(file: ConfigFile, data: Any) -> Records | None:
    if type(data) is list:
        return _named_items(file, data)
    try:
        found = tables.find_tables(data, plain=file.content.isascii())
    except tables.DoubledIndex as twice:
        if file.is_json:
            tables.refuse_doubled_keys(file.path.name, file.text)
        raise _doubled_sections(file, twice.index, twice.keys) from twice
    if not found:
        return None
    if file.is_json and tables.keys_may_be_doubled(file.content, data):
        tables.refuse_doubled_keys(file.path.name, file.text)
    return InTables(data, found)


def _named_items(file: ConfigFile, data: list[Any]) -> Records | None:
    """Return the records of a list whose items all have a key `index`; None for any other list."""
    if not data or not all(type(item) is dict and rows.INDEX in item for item in data):
        return None
    entries: dict[int, tuple[str, Any]] = {}
    for place, item in enumerate(data, 1):
        number = str(item[rows.INDEX])
        if isinstance(item[rows.INDEX], (bool, float)) or not number.isdecimal():
            return None
        if int(number) in entries:
            raise UsageError(
                f"index {int(number)} stands twice in {file.path.name}: {entries[int(number)][0]} and item "
                f"{place}",
                hint="Which of the two is meant? Leave one of them. Nothing was opened.",
            )
        rest = {key: value for key, value in item.items() if key != rows.INDEX}
        entries[int(number)] = f"item {place}", rest
    keys = {index: str(index) for index in entries}
    values = {str(index): rest for index, (_place, rest) in entries.items()}
    return InTables(None, [tables.Table((), values, keys=keys, named=len(keys))])


def _doubled_sections(file: ConfigFile, index: int, keys: tuple[str, str]) -> UsageError:
    places = [f"[{key}]" for key in keys]
    lines = [
        number
        for number, line in enumerate(file.text.splitlines(), 1)
        if "".join(line.split()) in ["".join(place.split()) for place in places]
    ]
    if len(lines) >= 2:
        return tables.doubled(file.path.name, index, lines[0], lines[1])
    return UsageError(
        f"index {index} stands twice in {file.path.name}: as {keys[0]} and as {keys[1]}",
        hint="Which of the two is meant? Leave one of them. Nothing was opened.",
    )


def _declared_column(file: ConfigFile, name: str) -> Records:
    first, second = _two_lines(file)
    delimiter = rows.delimiter_of(first) or ","
    cells = rows.cells_of(first, delimiter)
    header = rows.header_of(first, second) or (cells if name in cells and not name.isdecimal() else [])
    if data_of(file) is None and _objects(file) is None:
        if name in header:
            return _by_column(file, header, header.index(name), delimiter)
        if not header and name.isdecimal() and 1 <= int(name) <= len(cells):
            return _by_column(file, [], int(name) - 1, delimiter)
    known = f"It has {', '.join(header)}" if header else f"It has {len(cells)} columns and no header"
    raise UsageError(f"{file.path} has no column {name!r}", hint=f"{known}. Nothing was opened.")


def _by_column(file: ConfigFile, header: list[str], column: int, delimiter: str) -> Records:
    lines = Lines(file.content, quoted=True, delimiter=delimiter)
    numbered = rows.numbered_rows(file.path.name, lines, column, delimiter, header=bool(header))
    return InRows(lines, kind="row", header=header, delimiter=delimiter, numbered=numbered, column=column)


def _rows(file: ConfigFile) -> Records:
    first, second = _two_lines(file)
    delimiter = rows.delimiter_of(first) or ","
    lines = Lines(file.content, quoted=True, delimiter=delimiter)
    rows.refuse_blank_rows(file.path.name, lines)
    return InRows(lines, kind="row", header=rows.header_of(first, second), delimiter=delimiter)


def _lines(file: ConfigFile) -> Records:
    return InRows(Lines(file.content), kind="line")


def _two_lines(file: ConfigFile) -> tuple[str, str]:
    """Return the first two lines that are not blank; empty where there are none."""
    lines = (line for line in _lines_at_the_start(file.content) if line.strip())
    return next(lines, ""), next(lines, "")


def _lines_at_the_start(content: bytes) -> Iterator[str]:
    start = content[:65536]
    return iter(start.decode(errors="ignore").splitlines())


def _lists(data: Any) -> dict[str, list[Any]]:
    """Return the lists that hold a file's items: itself, or those of its outermost level that has any."""
    if type(data) is list:
        return {"": data} if data else {}
    level: list[tuple[str, Any]] = [("", data)]
    while level:
        found = {name: value for name, value in level if type(value) is list and value}
        if found:
            return found
        level = [
            (f"{name}/{key}" if name else key, inner)
            for name, value in level
            if type(value) is dict
            for key, inner in value.items()
        ]
    return {}


# What kind of file --------------------------------------------------------------------------------------


def data_of(file: ConfigFile) -> Any:
    """Return the parsed data of a JSON, TOML or INI file; None for any other.

    Raises:
        UsageError: a section of an INI file that names an index is there twice.
    """
    if file.is_json:
        return file.value
    if "_data" not in file.__dict__:
        file.__dict__["_data"] = _parsed(file)
    return file.__dict__["_data"]


def _parsed(file: ConfigFile) -> Any:
    suffix = file.path.suffix.lower()
    if suffix == ".toml":
        import tomllib

        try:
            return tomllib.loads(file.text)
        except (ValueError, RecursionError):
            return None
    if suffix not in (".csv", ".tsv", ".jsonl", ".ndjson") and _SECTION.match(file.content):
        return _ini(file)
    return None


def _ini(file: ConfigFile) -> Any:
    import configparser

    parser = configparser.RawConfigParser(allow_no_value=True, default_section=_NO_SECTION)
    try:
        parser.read_string(file.text)
    except configparser.DuplicateSectionError as error:
        found = tables.index_in(error.section)
        if found is None:
            return None
        raise _doubled_sections(file, found[1], (error.section, error.section)) from error
    except (configparser.Error, ValueError, AttributeError):  # the last: a line goes on behind a bare name
        return None
    return {name: dict(parser.items(name)) for name in parser.sections()}


def _objects(file: ConfigFile) -> Lines | None:
    """Return the lines of JSON Lines; None for any other file."""
    if file.is_json or file.content[:4096].lstrip()[:1] != b"{":
        return None
    if "_objects" not in file.__dict__:
        file.__dict__["_objects"] = _json_lines(file)
    found: Lines | None = file.__dict__["_objects"]
    return found


def _json_lines(file: ConfigFile) -> Lines | None:
    lines = Lines(file.content)
    try:
        for line in lines.raw():
            if line.strip() and type(json.loads(line)) is not dict:
                return None
    except (ValueError, RecursionError):
        return None
    return lines
