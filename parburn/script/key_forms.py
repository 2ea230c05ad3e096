"""How the bytes of a key may stand in a text, and where they do. Pure; which keys there are is `key_mask`'s.

A text is brought into a *normal form*, in which all ways of writing the same bytes look alike: hex without
what separates its digits, base64 in one alphabet, numbers without what stands between them, characters
without their escapes. A piece of 8 bytes of a key is a *window* of such a form: a set finds it.

Most texts hold no key, and may be long. So each form has a quick question, asked in C over the whole text: it
is cut into parts of half a window. Wherever a window stands, one of these parts lies within it; no part that
is a key's means no key. The slow answer says where, and is sought only then.
"""

from __future__ import annotations

import base64
import re
import struct
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import NamedTuple

PIECE = 8  # bytes of a key that are looked for, of which
FEWEST = 4  # are different: eight bytes that are all alike may be anything
LONGEST_NUMBER = 512  # bytes; what is longer is a file with a key in it, and no number
CHUNK = 4096  # characters of a long text that are looked at together, of which
WIDEST = 1024  # are looked at with the next ones, too: no piece is written wider

Span = tuple[int, int]


class _Atom(NamedTuple):
    """What stands in the normal form for `text[start:end]`."""

    symbol: str
    start: int
    end: int


# Letters: forms in which each symbol is one character ------------------------------------------------


class _Letters:
    """A form whose windows are `size` characters."""

    def __init__(
        self,
        size: int,
        *,
        normal: Callable[[bytes], bytes],
        pattern: str,
        symbol: Callable[[re.Match[str]], str],
    ) -> None:
        self.size = size
        self.windows: set[str] = set()
        self.parts: set[tuple[bytes]] = set()
        self._normal = normal
        self._pattern = re.compile(pattern, re.DOTALL)
        self._symbol = symbol

    def add(self, whole: str, windows: Iterable[str]) -> None:
        """Take in a key: `whole` as it looks in this form, and its pieces."""
        half, data = self.size // 2, whole.encode("latin-1")
        self.windows.update(windows)
        self.parts.update([(data[at : at + half],) for at in range(len(data) - half + 1)])

    def may_hold(self, data: bytes) -> bool:
        """Answer the quick question of a text in Latin-1; True may be wrong."""
        half, normal = self.size // 2, self._normal(data)
        whole = memoryview(normal)[: len(normal) // half * half]
        return not self.parts.isdisjoint(struct.iter_unpack(f"{half}s", whole))

    def spans(self, text: str) -> Iterator[Span]:
        """Yield where windows of keys stand in a text; they overlap."""
        atoms = []
        for found in self._pattern.finditer(text):
            symbol = self._symbol(found)
            if symbol:
                atoms.append(_Atom(symbol, *found.span()))
        normal = "".join([atom.symbol for atom in atoms])
        for at in range(len(atoms) - self.size + 1):
            if normal[at : at + self.size] in self.windows:
                yield atoms[at].start, atoms[at + self.size - 1].end


_HEX = b"0123456789abcdef"
_DIGITS = b"0123456789"
_BASE64 = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
_PLAIN = bytes(range(0x20, 0x7F)) + b"\n\r\t"
_STANDARD = bytes.maketrans(b"-_", b"+/")


def _without(kept: bytes) -> bytes:
    return bytes(set(range(256)) - set(kept))


_NOT_HEX, _NOT_BASE64 = _without(_HEX), _without(_BASE64)


def _hex_digits(data: bytes) -> bytes:
    return data.lower().translate(None, _NOT_HEX)


def _hex_digits_marked(data: bytes) -> bytes:
    """Return the digits of hex bytes that are marked, as in `0x1f, 0x2e`."""
    lower = data.lower()
    return lower.replace(b"0x", b"").translate(None, _NOT_HEX) if b"0x" in lower else b""


def _base64_letters(data: bytes) -> bytes:
    return data.translate(_STANDARD, b"").translate(None, _NOT_BASE64)


def _base64_letter(found: re.Match[str]) -> str:
    return {"-": "+", "_": "/"}.get(found[0], found[0])


_LETTERS = dict(zip("abfnrtv0'\"\\", "\a\b\f\n\r\t\v\0'\"\\", strict=True))
_ESCAPED = r"(?:(?:x|u00)([0-9a-fA-F]{2})|([abfnrtv0'\"\\]))"


def _character(found: re.Match[str]) -> str:
    if found.re.groups and found[1]:
        return chr(int(found[1], 16))
    return _LETTERS[found[2]] if found.re.groups and found[2] else found[0]


def _unescaping(slashes: str) -> Callable[[bytes], bytes]:
    pattern = re.compile(slashes + _ESCAPED)
    mark = slashes.replace("\\\\", "\\").encode()

    def unescaped(data: bytes) -> bytes:
        if mark not in data:
            return b""
        return pattern.sub(_character, data.decode("latin-1")).encode("latin-1")

    return unescaped


def _latin_1(data: bytes) -> bytes:
    return data


_MARKED_PAIR = re.compile(rb"0x[0-9a-f]+[^0-9a-z]{1,9}0x")


# Numbers ----------------------------------------------------------------------------------------------


class _Numbers:
    """A form whose windows are one number (a key as a whole), two (its words) or eight (its bytes)."""

    def __init__(self, digits: bytes, pattern: str) -> None:
        self.windows: dict[int, set[tuple[str, ...]]] = {1: set(), 2: set(), PIECE: set()}
        self.parts: set[tuple[bytes, ...]] = set()
        self.words: set[bytes] = set()
        self._spaces = bytes(byte if byte in digits else 0x20 for byte in range(256))
        self._pattern = re.compile(pattern, re.ASCII)
        self._marked = digits == _HEX

    def add(self, numbers: Sequence[str], windows: Iterable[tuple[str, ...]]) -> None:
        """Take in bytes as numbers, and the pieces of eight of them."""
        half, data = PIECE // 2, [number.encode() for number in numbers]
        self.windows[PIECE].update(windows)
        self.parts.update([tuple(data[at : at + half]) for at in range(len(data) - half + 1)])

    def add_words(self, windows: Iterable[tuple[str, ...]]) -> None:
        """Take in pieces of two words, or of one number that is all of a key."""
        for window in windows:
            self.windows[len(window)].add(window)
            self.words.update(
                [word.encode() for word in window if len(word) > 4]
            )  # shorter ones are anywhere

    def may_hold(self, data: bytes) -> bool:
        """Answer the quick question of a text in Latin-1; True may be wrong."""
        if self._marked:  # without a mark, digits without their zeros are no bytes
            data = data.lower()
            if not _MARKED_PAIR.search(data):
                return False
            data = data.replace(b"0x", b" ")
        found = data.translate(self._spaces).split()
        if len(found) >= PIECE:
            found = [number.lstrip(b"0") or b"0" if number[0] == 0x30 else number for number in found]
            if not self.parts.isdisjoint(zip(*[iter(found)] * (PIECE // 2), strict=False)):
                return True
        return not self.words.isdisjoint(found)

    def spans(self, text: str) -> Iterator[Span]:
        """Yield where windows of keys stand in a text; they overlap."""
        atoms = []
        for found in self._pattern.finditer(text):
            if found[0].lower() != "0x":
                atoms.append(_Atom(found[0].lower().lstrip("0") or "0", *found.span()))
        numbers = [atom.symbol for atom in atoms]
        for size, windows in self.windows.items():
            for at in range(len(atoms) - size + 1):
                if tuple(numbers[at : at + size]) in windows:
                    yield atoms[at].start, atoms[at + size - 1].end


# All forms ----------------------------------------------------------------------------------------------


def orders_of(key: bytes) -> tuple[bytes, ...]:
    """Return the orders in which a key's bytes are met: as they are, turned round, and both by words."""
    swapped = b"".join([key[at : at + 4][::-1] for at in range(0, len(key), 4)])
    return tuple(dict.fromkeys((key, key[::-1], swapped, swapped[::-1])))


class KeyForms:
    """Keys in all the forms that are looked for."""

    def __init__(self) -> None:
        self._hex = _Letters(2 * PIECE, normal=_hex_digits, pattern="[0-9a-fA-F]", symbol=_lower)
        self._marked = _Letters(
            2 * PIECE, normal=_hex_digits_marked, pattern="0[xX]|[0-9a-fA-F]", symbol=_lower_unmarked
        )
        self._base64 = _Letters(
            10, normal=_base64_letters, pattern="[A-Za-z0-9+/_-]", symbol=_base64_letter
        )  # of 64 bits 60 stand in 10 letters of their own, at any of the three places
        self._plain = _Letters(PIECE, normal=_latin_1, pattern=".", symbol=_character)
        self._escaped = _Letters(
            PIECE, normal=_unescaping(r"\\"), pattern=rf"\\{_ESCAPED}|.", symbol=_character
        )
        self._twice = _Letters(  # the repr of a text that has a repr in it
            PIECE, normal=_unescaping(r"\\\\"), pattern=rf"\\\\{_ESCAPED}|.", symbol=_character
        )
        self._decimal = _Numbers(_DIGITS, r"\d+")
        self._hex_numbers = _Numbers(_HEX, r"0[xX](?=[0-9a-fA-F])|[0-9a-fA-F]+")
        # Letters share what they look for: only the ways into the normal form differ.
        self._marked.windows, self._marked.parts = self._hex.windows, self._hex.parts
        for form in (self._escaped, self._twice):
            form.windows, form.parts = self._plain.windows, self._plain.parts
        self._all = (
            self._hex, self._marked, self._base64, self._plain, self._escaped, self._twice, self._decimal,
            self._hex_numbers,
        )  # fmt: skip

        self._orders: set[bytes] = set()  # that are looked for: a chip holds some keys turned round
        self._has_plain = False  # a piece of a key that may stand in an ordinary text as it is

    def add(self, key: bytes) -> None:
        """Look for a key from now on; its pieces that have too few different bytes are not looked for."""
        for order in orders_of(key):
            if order in self._orders:
                continue
            self._orders.add(order)
            pieces = range(len(order) - PIECE + 1)
            starts = [at for at in pieces if len({*order[at : at + PIECE]}) >= FEWEST]
            if starts:
                self._add(order, starts)

    def _add(self, key: bytes, starts: list[int]) -> None:
        digits, characters = key.hex(), key.decode("latin-1")
        self._has_plain = self._has_plain or any(
            not key[at : at + PIECE].translate(None, _PLAIN) for at in starts
        )
        self._hex.add(digits, [digits[2 * at : 2 * (at + PIECE)] for at in starts])
        self._plain.add(characters, [characters[at : at + PIECE] for at in starts])
        for place in range(3):
            letters = base64.b64encode(bytes(place) + key).decode().rstrip("=")
            firsts = [-(-8 * (place + at) // 6) for at in starts]
            self._base64.add(letters[place + (place > 0) :], [letters[at : at + 10] for at in firsts])
        for form, style in ((self._decimal, "d"), (self._hex_numbers, "x")):
            numbers = [format(byte, style) for byte in key]
            form.add(numbers, [tuple(numbers[at : at + PIECE]) for at in starts])
            words = [format(int.from_bytes(key[at : at + 4], "big"), style) for at in range(0, len(key), 4)]
            form.add_words([(words[at // 4], words[at // 4 + 1]) for at in starts if not at % 4])
        if len(key) <= LONGEST_NUMBER:
            self._decimal.add_words([(str(int.from_bytes(key, "big")),)])

    def add_numbers(self, numbers: Sequence[int]) -> None:
        """Look for a list of numbers, eight in a row: the bits of a key, as they were given."""
        shown = [str(number) for number in numbers]
        self._decimal.add(shown, [tuple(shown[at : at + PIECE]) for at in range(len(shown) - PIECE + 1)])

    def spans(self, text: str) -> list[Span]:
        """Return the parts of a text that are of a key, in their order; none overlaps another."""
        found: list[Span] = []
        if len(text) >= PIECE:
            data = text.encode("latin-1", "replace")
            plain = not (self._has_plain or data.translate(None, _PLAIN))
            for form in self._all:
                if not (plain and form is self._plain) and form.may_hold(data):
                    found += self._spans_in(form, text, data)
        joined: list[Span] = []
        for start, end in sorted(found):
            if joined and start <= joined[-1][1]:
                joined[-1] = joined[-1][0], max(end, joined[-1][1])
            else:
                joined.append((start, end))
        return joined

    def _spans_in(self, form: _Letters | _Numbers, text: str, data: bytes) -> Iterator[Span]:
        """Yield where windows of one form stand; a long text is asked chunk by chunk which of it may."""
        for at in range(0, len(text), CHUNK - WIDEST):
            if form.may_hold(data[at : at + CHUNK]):
                for start, end in form.spans(text[at : at + CHUNK]):
                    found = at + start, at + end
                    yield _widened(text, found) if form is self._base64 else found


def _lower(found: re.Match[str]) -> str:
    return found[0].lower()


def _lower_unmarked(found: re.Match[str]) -> str:
    return found[0].lower() if len(found[0]) == 1 else ""


def _widened(text: str, span: Span) -> Span:
    """Take in one letter on each side, which in base64 has bits of the key, and what fills base64 up."""
    start, end = span
    if start and text[start - 1].isalnum():
        start -= 1
    if text[end : end + 1].isalnum() or text[end : end + 1] in ("+", "/", "-", "_"):
        end += 1
    while text[end : end + 1] == "=":
        end += 1
    return start, end
