"""The index of all chips: how each is found, and the folder that its data files are in. Builds no chip.

Our own data folder comes first. $PARBURN_CHIPS names more folders of that form (with `:` between), for chips
that parburn does not know yet: they add chips and change none.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from parburn.errors import ChipDataError

DATA = Path(__file__).parent / "data"
MORE_CHIPS = "PARBURN_CHIPS"


@dataclass(frozen=True, slots=True)
class Entry:
    """A line of an index: how the chip is found, and where its row is."""

    folder: Path
    chip_ids: tuple[int, ...]
    magics: tuple[int, ...]

    def is_like(self, other: Entry) -> bool:
        """Whether one answer of a chip would find both."""
        return bool({*self.chip_ids} & {*other.chip_ids} or {*self.magics} & {*other.magics})


@lru_cache(maxsize=1)
def entries() -> Mapping[str, Entry]:
    """All chips by name. Raises ChipDataError for a name, chip id or magic that another chip has."""
    found: dict[str, Entry] = {}
    more = os.environ.get(MORE_CHIPS, "")
    for folder in (DATA, *(Path(one).absolute() for one in more.split(os.pathsep) if one)):
        path = folder / "index.csv"
        for number, name, entry in _lines(path):
            for other, known in found.items():
                if name == other or entry.is_like(known):
                    what = "this chip" if name == other else f"{other}, which answers the same,"
                    raise ChipDataError(f"{name}: {what} is known already", where=f"{path}:{number}:1")
            found[name] = entry
    return found


def _lines(path: Path) -> Iterator[tuple[int, str, Entry]]:
    for number, line in enumerate(text_of(path).splitlines(), 1):
        if line and not line.startswith("#"):
            try:
                name, chip_ids, magics = line.split(",")
                yield number, name, Entry(path.parent, _integers(chip_ids), _integers(magics))
            except ValueError as error:
                raise ChipDataError(f"cannot read this line: {error}", where=f"{path}:{number}:1") from error


def _integers(text: str) -> tuple[int, ...]:
    return tuple(int(one, 0) for one in text.split())


def text_of(path: Path) -> str:
    """A data file's text. Raises ChipDataError."""
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        hint = "" if path.parent == DATA else f"${MORE_CHIPS} names the folder {path.parent}."
        raise ChipDataError(f"cannot read chip data: {error}", where=str(path), hint=hint) from error
