"""The custom eFuse tables of a run: read once, joined to each chip's row once. Opens files, no ports."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterator, Sequence
from contextlib import suppress
from functools import lru_cache
from pathlib import Path

from parburn.chips.model import Chip
from parburn.chips.registry import chip_named, chip_names
from parburn.chips.table import CustomRow, extend_chip, parse_custom_table
from parburn.errors import ChipDataError, UsageError
from parburn.job import TableOption

MOST_BYTES = 4 << 20  # of a table: more fields than all blocks have bits are refused anyway
# One chip for one table in all runs of a process: what others derive from a chip is kept by it.
_joined = lru_cache(64)(extend_chip)


class TableSet:
    """All `--extend-efuse-table` files, parsed; `extend` joins those that are meant for a chip."""

    def __init__(self, options: Sequence[TableOption], *, chips: Collection[str] = ()) -> None:
        """Read and parse the tables.

        Args:
            options: the files, and for which chips each is meant
            chips: the only chips that this run can meet, where that is known before a port is opened; a table
                for all chips must fit one of them

        Raises:
            UsageError: a file cannot be read, or names an unknown chip.
            ChipDataError: a table breaks a rule, with file, line and column, or fits no chip.
        """
        self._rows: list[tuple[str | None, tuple[CustomRow, ...]]] = []
        digest = hashlib.sha256()
        self.digests: dict[str, str] = {}  # SHA-256 of each file, by its name
        for option in options:
            content = _content_of(option.path)
            self.digests[str(option.path)] = hashlib.sha256(content).hexdigest()
            text = _text_of(option.path, content)
            name = None if option.chip is None else chip_named(option.chip).name
            rows = parse_custom_table(text, file=str(option.path))
            _refuse_unless_it_fits(rows, (name,) if name is not None else tuple(chips) or chip_names())
            self._rows.append((name, rows))
            digest.update(f"{name}\0{text}\0".encode())
        self.digest = digest.hexdigest() if options else ""
        self._extended: dict[Chip, Chip] = {}

    def extend(self, chip: Chip) -> Chip:
        """Return the chip with its custom fields; the same object for the same row each time.

        Raises:
            ChipDataError: a table does not fit this chip.
        """
        if not self._rows:
            return chip
        if chip not in self._extended:
            extended = chip
            for name, rows in self._rows:
                if name in (None, chip.name):
                    extended = _joined(extended, rows)
            self._extended[chip] = extended
        return self._extended[chip]

    def extended(self) -> Iterator[Chip]:
        """Yield every chip that the tables fit, with its custom fields."""
        for name in chip_names():
            with suppress(ChipDataError):  # one table may be for one of the run's chips only
                yield self.extend(chip_named(name))


def _content_of(path: Path) -> bytes:
    """Return a table's bytes, or raise UsageError. The path may be a pipe."""
    try:
        with path.open("rb") as file:
            content = file.read(MOST_BYTES + 1)
        if len(content) > MOST_BYTES:
            raise OSError(f"it has more than {MOST_BYTES} bytes")
    except OSError as error:
        raise UsageError(f"cannot read the eFuse table {path}: {error}") from error
    return content


def _text_of(path: Path, content: bytes) -> str:
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise ChipDataError(
            f"this line is no UTF-8 text (byte {content[error.start]:#04x})",
            where=f"{path}:{line}",
            hint="Save the table again as CSV in UTF-8, or ask whoever gave you the table to do so.",
        ) from error


def _refuse_unless_it_fits(rows: Sequence[CustomRow], names: Sequence[str]) -> None:
    """Raise ChipDataError when none of these chips can take the table: now, and not at every board."""
    refused: ChipDataError | None = None
    for name in names:
        try:
            extend_chip(chip_named(name), rows)
        except ChipDataError as error:
            refused = refused or error
        else:
            return
    if refused is not None:
        raise refused
