"""Text of others made fit to be shown: nothing in it steers a terminal or turns a line around.

Product strings of USB devices, names of files and ports, words of the command line, what scripts print, what
a ledger was told: all of it may hold escapes. What people read passes `printable` where it leaves: in
`ui/nonblocking_writer.py` for a run, in `ui/safe_console.py` for the live table, in `cli/saying.py` for all
other commands. JSON lines escape what they carry by themselves. Imports no part.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Final

# C0 but tab and line feed, DEL and C1; marks and overrides of direction (bidi); separators of lines; what has
# no width, or tells about other characters (zero-width, interlinear, tags).
_STEERS: Final = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb"
    "\U000e0000-\U000e007f]"
)
_HALF: Final = re.compile("[\ud800-\udfff]")  # of a surrogate pair: an odd byte in the name of a file


def printable(text: str) -> str:
    """Return text without what steers a terminal; tabs and line feeds stay. An odd byte becomes `?`."""
    if text.isascii() and text.isprintable():
        return text
    return _HALF.sub("?", _STEERS.sub("", text))


def is_printable(text: str) -> bool:
    """Tell whether `printable` would leave this text as it is."""
    return (text.isascii() and text.isprintable()) or not (_STEERS.search(text) or _HALF.search(text))


def typed_again(words: Iterable[str]) -> str:
    """Return words as a shell takes them, in one printable line; odd ones as `$'...'` (bash, zsh)."""
    import shlex  # here: only the end of a run needs it

    return " ".join(shlex.quote(word) if _is_plain(word) else _as_escapes(word) for word in words)


def _is_plain(word: str) -> bool:
    return is_printable(word) and "\n" not in word and "\t" not in word


def _as_escapes(word: str) -> str:
    """Write each byte that is no plain letter by its number, so that the very same bytes are typed."""
    data = word.encode("utf-8", "surrogateescape")
    shown = [chr(byte) if 0x20 <= byte < 0x7F and byte not in b"\\'" else f"\\x{byte:02x}" for byte in data]
    return f"$'{''.join(shown)}'"
