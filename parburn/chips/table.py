"""Reads eFuse field tables (CSV): the built-in ones and those of --extend-efuse-table. Never touches a chip.

Both are written in the dialect of ESP-IDF's `esp_efuse_table.csv`::

    # name, block, bit_start, bit_count, [alternative names] description
    UNIQUE_ID,  EFUSE_BLK3, 0,  64, [UID SERIAL] Number of this unit
    LINE_DATA,  EFUSE_BLK3, 64, 16, Filled in by the line
    LINE_DATA.STATION, EFUSE_BLK3, 64, 4, Part of LINE_DATA; it is called LINE_DATA_STATION
    TRIM,       EFUSE_BLK3, 80,  4, Low bits  (a row without a name goes on with the one before:
        ,       EFUSE_BLK3, 90,  4, High bits  the parts are called TRIM_0 and TRIM_1)

The block may be a plain number, an empty bit_start means behind the row before, and bit_count may be
MAX_BLK_LEN. What follows the fifth column is ignored. A cell may stand in quotes, and a row of nothing but
commas is none: spreadsheets write both. Fields under one dotted parent may have the same bits, or bits of one
another (`WR_DIS.MAC` and `WR_DIS.BLK1` are one bit); those of other fields are never shared. How many bits a
field has decides what it is:
one bit is a bool, more than 32 in whole bytes are bytes (and a MAC or a part of it always is), anything
else is a number.

The built-in tables have eight columns more, all of which may be empty::

    name, block, bit_start, bit_count, description,
        wr_dis, rd_dis, codec, category, shown_when, meanings, sources, value_map

wr_dis is a bit of WR_DIS, rd_dis bits of RD_DIS with a space between. codec and category (empty: config)
are those of `chips.model.Field`. shown_when names a condition of the chip row; a leading `!` makes the
field non-existent where it does not hold, without it the field can still be asked for by name. meanings
is `0=Disable|1=Enable`. A composed field has no bit_start but sources: `NAME@shift` for a whole field,
`NAME.24:8@shift` for its 8 bits from bit 24 on, `0x3FF6607C.31:1@shift` for a bit of a register. A field
with both a bit_start and sources has its low bits in its own place and the rest elsewhere. value_map is
`3=2 7=3`. A cell with a comma is quoted.
"""

from __future__ import annotations

import csv
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import NamedTuple, NoReturn

from parburn.chips.model import Block, Chip, Codec, Field, FieldKind, Source
from parburn.chips.validate import validate
from parburn.errors import ChipDataError

BLOCK_BITS = 256  # what MAX_BLK_LEN stands for
COLUMNS = 13
MOST_FIELDS = 1000  # in a built-in table; ours have 146 at most
MOST_ROWS = 4096  # in a custom table: more than all blocks have bits
LONGEST_NAME = 128
LARGEST = 0xFFFF  # number in a custom table that is looked at further
MOST_BITS = 512  # of a block of 16 words, the widest that a row may have
WORD = 0xFFFFFFFF
_BLOCK = re.compile(r"(?:EFUSE_BLK)?(0[xX][0-9A-Fa-f]{1,2}|\d{1,3})\Z", re.ASCII)
_NAME = re.compile(r"[A-Za-z_]\w*(?:\.\w+)*\Z", re.ASCII)
_PLAIN_NAME = re.compile(r"[A-Za-z_]\w{0,63}\Z", re.ASCII)
_ADDRESS = re.compile(r"0x[0-9A-Fa-f]{1,8}\Z")
_CODECS = {codec.value: codec for codec in Codec}
_ALT_NAMES = re.compile(r"\[(.*?)\]\s*")
_QUOTED = re.compile(r'"(?:[^"]|"")*"')
_CELL = re.compile(rf"\s*{_QUOTED.pattern}\s*(?=,|\Z)|[^,]*")  # whole in quotes, or up to the next comma
OF_ANOTHER_CHIP = (
    "If the table is for another kind of chip, name that: --extend-efuse-table CHIP=FILE. Else whoever made "
    "the table mends this row."
)
OTHER_SEPARATORS = {";": "semicolons", "\t": "tabs"}


class CustomRow(NamedTuple):
    """One field of a custom table. Parts of one field have numbered names: `TRIM_0`, `TRIM_1`."""

    name: str
    written: str  # the name as the file has it, with dots
    block: int
    start: int
    bits: int
    alt_names: tuple[str, ...]
    description: str
    where: str  # file:line:column of the name

    @property
    def end(self) -> int:
        """First bit behind the field."""
        return self.start + self.bits

    def is_part_of(self, other: CustomRow) -> bool:
        """Tell whether the dotted name makes this field a part of the other one."""
        return self.written.startswith(other.written + ".")

    def is_inside(self, other: CustomRow) -> bool:
        """Tell whether the other field has all bits of this one."""
        return self.block == other.block and other.start <= self.start and self.end <= other.end

    def may_be_alias_of(self, other: CustomRow) -> bool:
        """Tell whether both are named as parts of one field, and one of them has all bits of the other."""
        root, dot, _ = self.written.partition(".")
        named = bool(dot) and other.written.startswith(root + ".")
        return named and (self.is_inside(other) or other.is_inside(self))


def kind_of(bits: int) -> FieldKind:
    """Return the kind of a field of that many bits, by the rule of the module's docstring."""
    if bits == 1:
        return FieldKind.BOOL
    return FieldKind.BYTES if bits > 32 and bits % 8 == 0 else FieldKind.UINT


def parse_fields(text: str, *, file: str) -> tuple[Field, ...]:
    """Return the fields of a built-in table, in the order of the file.

    Raises:
        ChipDataError: a line cannot be read, or there are too many fields; it names file and line.
    """
    reader = csv.reader(text.splitlines())
    try:
        rows = [(reader.line_num, cells) for cells in reader if cells and not cells[0].startswith("#")]
    except csv.Error as error:
        raise ChipDataError(f"cannot read this line: {error}", where=f"{file}:{reader.line_num}:1") from error
    if len(rows) > MOST_FIELDS:
        raise ChipDataError(f"{len(rows)} fields, at most {MOST_FIELDS} are possible", where=file)
    lengths = {cells[0]: cells[3] for _, cells in rows if len(cells) > 3}
    fields: list[Field] = []
    for number, cells in rows:
        try:
            fields.append(_field(cells, lengths))
        except ValueError as error:
            raise ChipDataError(f"cannot read this field: {error}", where=f"{file}:{number}:1") from error
    return tuple(fields)


def _field(cells: list[str], lengths: Mapping[str, str]) -> Field:
    if len(cells) > COLUMNS:
        raise ValueError(f"{len(cells)} columns, at most {COLUMNS} are known")
    (
        name,
        block,
        start,
        bits,
        comment,
        wr_dis,
        rd_dis,
        codec,
        category,
        shown,
        meanings,
        sources,
        value_map,
    ) = cells if len(cells) == COLUMNS else [*cells, *[""] * (COLUMNS - len(cells))]
    alt_names, description = split_comment(comment)
    for one in (name, *alt_names):
        if not _PLAIN_NAME.match(one):
            raise ValueError(f"{_shown(one)} cannot be a name")
    length = _number("bit_count", bits, 1, MOST_BITS)
    return Field(
        name=name,
        block=_number("block", block, 0, 15),
        start=_number("bit_start", start, 0, MOST_BITS - 1) if start else None,
        bits=length,
        kind=FieldKind.BYTES if codec == Codec.MAC else kind_of(length),
        wr_dis=_number("wr_dis", wr_dis, 0, 31) if wr_dis else None,
        rd_dis=tuple(_number("rd_dis", bit, 0, 31) for bit in rd_dis.split()) if rd_dis else (),
        alt_names=alt_names,
        codec=_codec(codec),
        category=category or "config",
        description=description,
        meanings=_numbered(meanings.split("|"), "meanings") if meanings else {},
        shown_when=shown.removeprefix("!"),
        on_request=not shown.startswith("!"),
        sources=tuple(_source(part, lengths) for part in sources.split()) if sources else (),
        value_map={
            key: _number("value_map", value, 0, WORD)
            for key, value in _numbered(value_map.split(), "value_map").items()
        }
        if value_map
        else {},
    )


def _number(column: str, text: str, low: int, high: int) -> int:
    """Return a number of a built-in table. Raises ValueError, which names the column."""
    if len(text) <= 10 and text.isascii() and text.isdecimal():  # the longest number has 10 digits
        value = int(text)
        if low <= value <= high:
            return value
    raise ValueError(f"{column} must be a number from {low} to {high}, not {_shown(text)}")


def _codec(text: str) -> Codec:
    codec = _CODECS.get(text)
    if codec is None:
        raise ValueError(f"there is no codec {_shown(text)}")
    return codec


def _numbered(parts: Iterable[str], column: str) -> dict[int, str]:
    found: dict[int, str] = {}
    for part in parts:
        number, _, text = part.partition("=")
        found[_number(column, number, 0, WORD)] = text
    return found


def _source(text: str, lengths: Mapping[str, str]) -> Source:
    what, _, shift = text.partition("@")
    name, _, part = what.partition(".")
    bit, _, bits = part.partition(":")
    at = _number("sources", shift, 0, MOST_BITS - 1)
    if name.startswith("0x"):
        first, length = _number("sources", bit, 0, 31), _number("sources", bits, 1, 32)
        return Source(shift=at, address=_address(name), bit=first, bits=length)
    if name not in lengths:
        raise ValueError(f"sources: there is no field {_shown(name)}")
    return Source(
        shift=at,
        field=name,
        bit=_number("sources", bit or "0", 0, MOST_BITS - 1),
        bits=_number("sources", bits or lengths[name], 1, MOST_BITS),
    )


def _address(text: str) -> int:
    if not _ADDRESS.match(text):
        raise ValueError(f"sources: {_shown(text)} is not an address")
    return int(text, 16)


def split_comment(comment: str) -> tuple[tuple[str, ...], str]:
    """Return the names and the description of `[ALT NAMES] description`."""
    found = _ALT_NAMES.match(comment)
    if not found:
        return (), comment
    return tuple(found[1].split()), comment[found.end() :]


def parse_custom_table(text: str, *, file: str) -> tuple[CustomRow, ...]:
    """Return the fields of a table given with --extend-efuse-table, in the order of the file.

    Raises:
        ChipDataError: a cell is wrong, a name is used twice, or there are too many fields; it names file,
            line and column.
    """
    rows = list(_custom_rows(text, file))
    parts = Counter(row.written for row in rows)
    count: dict[str, int] = {}
    named: list[CustomRow] = []
    for row in rows:
        if parts[row.written] > 1:
            part = count.get(row.written, 0)
            count[row.written] = part + 1
            alt_names = tuple(f"{name}_{part}" for name in row.alt_names)
            row = row._replace(name=f"{row.name}_{part}", alt_names=alt_names)
        named.append(row)
    _refuse_doubles(named)
    return tuple(named)


def _custom_rows(text: str, file: str) -> Iterator[CustomRow]:
    last: CustomRow | None = None
    started: set[str] = set()
    fields = 0
    for number, text_of_line in enumerate(text.splitlines(), 1):
        line = _CustomLine(text_of_line, f"{file}:{number}")
        if line.says_nothing:
            continue
        fields += 1
        if fields > MOST_ROWS:
            raise ChipDataError(f"there are more than {MOST_ROWS} fields", where=f"{file}:{number}:1")
        row = line.row(last)
        if row.written in started and line.cells[0]:
            raise ChipDataError(
                f"the name {row.written} is already used",
                where=row.where,
                hint="A field in several parts has its name in its first row only; leave it out in the next.",
            )
        started.add(row.written)
        yield row
        last = row


class _CustomLine:
    """One line of a custom table, cut into cells that know their columns."""

    def __init__(self, line: str, where: str) -> None:
        self.line = line
        self.where = where
        self.columns: list[int] = []
        self.cells: list[str] = []
        self.open_quote: int | None = None  # of a cell that begins with a quote and does not end with one
        position = 0
        for cell in _cells_of(line):
            self.columns.append(position + len(cell) - len(cell.lstrip()) + 1)
            self.cells.append(self._unquoted(cell.strip()))
            position += len(cell) + 1
        missing = 5 - len(self.cells)
        self.cells += [""] * missing
        self.columns += [position] * missing

    def _unquoted(self, cell: str) -> str:
        if not cell.startswith('"'):
            return cell
        if not _QUOTED.fullmatch(cell):
            self.open_quote = self.columns[-1]
            return cell
        return cell[1:-1].replace('""', '"').strip()

    @property
    def says_nothing(self) -> bool:
        """Whether it is empty, a comment, or the commas that a spreadsheet writes for an empty row."""
        return not any(self.cells) or self.cells[0].removeprefix('"').lstrip().startswith("#")

    def row(self, last: CustomRow | None) -> CustomRow:
        """Return the line as a field; `last` is the row before it."""
        self.refuse_other_separator()
        if self.open_quote is not None:
            raise ChipDataError(
                "a quote is opened here and not closed in this line",
                where=f"{self.where}:{self.open_quote}",
                hint="Close it, or take it away. A description stands in one line.",
            )
        block = self.block()
        start = (
            self.number(2, "bit_start") if self.cells[2] else last.end if last and last.block == block else 0
        )
        bits = BLOCK_BITS if self.cells[3] == "MAX_BLK_LEN" else self.number(3, "bit_count")
        if bits == 0:
            self.refuse(3, "bit_count is 0: the field would be empty")
        if start + bits > BLOCK_BITS:
            self.refuse(
                2, f"bits {start} to {start + bits - 1} are outside of the block, which ends with 255"
            )
        written = self.name(last)
        alt_names, description = split_comment(self.cells[4].rstrip("\\").rstrip())
        for name in alt_names:
            if not _is_name(name):
                self.refuse(4, f"{_shown(name)} cannot be an alternative name")
        return CustomRow(
            name=written.replace(".", "_"),
            written=written,
            block=block,
            start=start,
            bits=bits,
            alt_names=tuple(name.replace(".", "_") for name in alt_names),
            description=description,
            where=f"{self.where}:{self.columns[0]}",
        )

    def refuse_other_separator(self) -> None:
        """Say so where the columns stand apart by what another program or country puts between them."""
        for mark, words in OTHER_SEPARATORS.items():
            first = self.line.split(mark)
            if len(first) >= 4 and "," not in mark.join(first[:4]):
                raise ChipDataError(
                    f"the columns are separated by {words}, and not by commas",
                    where=f"{self.where}:{len(first[0]) + 1}",
                    hint="Save the table again as CSV with commas between the columns, as ESP-IDF reads it, "
                    "or ask whoever gave you the table to do so.",
                )

    def name(self, last: CustomRow | None) -> str:
        name = self.cells[0]
        if not name:
            if last is None:
                self.refuse(0, "the first row has no field name")
            return last.written
        if not _is_name(name):
            self.refuse(0, f"{_shown(name)} cannot be a field name")
        return name

    def block(self) -> int:
        found = _BLOCK.match(self.cells[1])
        if not found:
            self.refuse(1, f"{_shown(self.cells[1])} is not a block; write EFUSE_BLK3 or 3")
        return int(found[1], 16 if found[1][:2] in ("0x", "0X") else 10)

    def number(self, cell: int, what: str) -> int:
        text = self.cells[cell]
        try:
            value = int(text, 0)
        except ValueError:
            value = -1
        if value < 0:
            self.refuse(
                cell,
                f"{what} is missing" if not text else f"{what} {_shown(text)} is not a number from 0 on",
            )
        if value > LARGEST:
            self.refuse(cell, f"{what} {_shown(text)} is more than any block has bits")
        return value

    def refuse(self, cell: int, message: str) -> NoReturn:
        raise ChipDataError(message, where=f"{self.where}:{self.columns[cell]}")


def _cells_of(line: str) -> Iterator[str]:
    """Yield the cells of a line as they stand in it; a comma within quotes separates nothing."""
    at = 0
    while at <= len(line):
        found = _CELL.match(line, at)
        assert found is not None  # it matches nothing, too
        yield found[0]
        at = found.end() + 1


def _is_name(text: str) -> bool:
    return len(text) <= LONGEST_NAME and bool(_NAME.match(text))


def _shown(text: str) -> str:
    """Return a cell for an error sentence, cut short when it is long."""
    return repr(text) if len(text) <= 40 else f"{text[:37]!r}..."


def _refuse_doubles(rows: Sequence[CustomRow]) -> None:
    seen: set[str] = set()
    for row in rows:
        for name in (row.name, *row.alt_names):
            if name in seen:
                raise ChipDataError(f"the name {name} is already used in this table", where=row.where)
            seen.add(name)


def extend_chip(chip: Chip, rows: Sequence[CustomRow]) -> Chip:
    """Return the chip with the fields of a custom table added; protections are those of the blocks.

    Raises:
        ChipDataError: a field's block does not exist or is too small, a name is taken, fields overlap without
            one being a part of the other, or the fields break another rule of `chips.validate`.
    """
    blocks = {block.index: block for block in chip.blocks}
    for at, row in enumerate(rows):
        block = blocks.get(row.block)
        if block is None:
            raise ChipDataError(
                f"{chip.title} has no block {row.block}", where=row.where, hint=OF_ANOTHER_CHIP
            )
        if row.end > 32 * block.words:
            raise ChipDataError(
                f"{row.written} ends with bit {row.end - 1}, {block.name} of {chip.title} with bit "
                f"{32 * block.words - 1}",
                where=row.where,
                hint=OF_ANOTHER_CHIP,
            )
        for name in (row.name, *row.alt_names):
            if name in chip.field_by_name or name in chip.block_by_name:
                raise ChipDataError(
                    f"{chip.title} already has a field or block {name}",
                    where=row.where,
                    hint=f"Whoever made the table gives the field another name. {OF_ANOTHER_CHIP}",
                )
        for other in rows[:at]:
            _refuse_overlap(row, other)
    extended = replace(chip, fields=(*chip.fields, *(_custom_field(row, blocks[row.block]) for row in rows)))
    validate(extended)
    return extended


def _refuse_overlap(row: CustomRow, other: CustomRow) -> None:
    if row.block != other.block or row.end <= other.start or other.end <= row.start:
        return
    for part, whole in ((row, other), (other, row)):
        if part.is_part_of(whole):
            if part.is_inside(whole):
                return
            raise ChipDataError(
                f"{part.written} is not inside {whole.written}",
                where=part.where,
                hint=f"Mend bit_start and bit_count: its name makes it a part of {whole.written}.",
            )
    if not row.may_be_alias_of(other):
        raise ChipDataError(
            f"{row.written} lies over {other.written} ({other.where})",
            where=row.where,
            hint="Two fields with the same bits are mended by whoever made the table. If it is meant, name "
            "both as parts of one field, as A.ONE and A.TWO; one of them has all bits of the other.",
        )


def _custom_field(row: CustomRow, block: Block) -> Field:
    return Field(
        name=row.name,
        block=row.block,
        start=row.start,
        bits=row.bits,
        kind=kind_of(row.bits),
        wr_dis=block.wr_dis,
        rd_dis=block.rd_dis,
        alt_names=row.alt_names,
        category="User",
        description=row.description,
        custom=True,
        where=row.where,
    )
