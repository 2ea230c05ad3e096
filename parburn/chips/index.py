"""The index of all chips: how each is found, and the folder that its data files are in. Builds no chip.

Our own data folder comes first. $PARBURN_CHIPS names more folders of that form (with `:` between), for chips
that parburn does not know yet: they add chips and change none.
"""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Iterator, Mapping
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

from parburn.errors import ChipDataError

DATA = Path(__file__).parent / "data"
MORE_CHIPS = "PARBURN_CHIPS"
MOST_BYTES = 1 << 20  # of a data file; ours have 13 kB at most
MOST_CHIPS = 256  # in one index
_NAME = re.compile(r"[a-z0-9]{1,32}", re.ASCII)


class Entry(NamedTuple):
    """A line of an index: how the chip is found, and where its row is."""

    folder: Path
    chip_ids: tuple[int, ...]
    magics: tuple[int, ...]

    def is_like(self, other: Entry) -> bool:
        """Tell whether one answer of a chip would find both."""
        return bool({*self.chip_ids} & {*other.chip_ids} or {*self.magics} & {*other.magics})


@lru_cache(maxsize=1)
def entries() -> Mapping[str, Entry]:
    """Return all chips by name: our own, then those of the folders in $PARBURN_CHIPS.

    Raises:
        ChipDataError: an index cannot be read or has too many chips, or a name, chip id or magic value is not
            written as it must be or is another chip's already.
    """
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
    read = 0
    for number, line in enumerate(text_of(path).splitlines(), 1):
        if line and not line.startswith("#"):
            try:
                name, chip_ids, magics = line.split(",")
                entry = Entry(path.parent, _words(chip_ids), _words(magics))
            except ValueError as error:
                raise ChipDataError(f"cannot read this line: {error}", where=f"{path}:{number}:1") from error
            if not _NAME.fullmatch(name):
                what = "cannot be the name of a chip: small letters and digits, at most 32"
                raise ChipDataError(f"{name[:40]!r} {what}", where=f"{path}:{number}:1")
            read += 1
            if read > MOST_CHIPS:
                raise ChipDataError(f"there are more than {MOST_CHIPS} chips", where=f"{path}:{number}:1")
            yield number, name, entry


def _words(text: str) -> tuple[int, ...]:
    """Return the 32-bit numbers of a text with spaces between. Raises ValueError."""
    found = tuple(int(one, 0) for one in text.split())
    if not all(0 <= one <= 0xFFFFFFFF for one in found):
        raise ValueError("a number is below 0 or has more than 32 bits")
    return found


def text_of(path: Path) -> str:
    """Return a data file's text.

    Raises:
        ChipDataError: it cannot be read, is not a regular file, is too large for chip data, or is not UTF-8.
    """
    try:
        about = path.stat()
        if not stat.S_ISREG(about.st_mode):
            raise OSError("it is not a regular file")
        if about.st_size > MOST_BYTES:
            raise OSError(f"it has {about.st_size} bytes, and chip data have at most {MOST_BYTES}")
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        hint = "" if path.parent == DATA else f"${MORE_CHIPS} names the folder {path.parent}."
        raise ChipDataError(f"cannot read chip data: {error}", where=str(path), hint=hint) from error
