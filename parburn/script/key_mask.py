"""The keys that a run has met, and any text without them. The one place that knows both.

A key is known by what was done with it and not by its look: what was given to a command that burns keys,
taken or refused, and what was read from a key block. It lives as long as its run, in no place of the process.
Before any text leaves (console, JSON lines, log, report, ledger, events of a program) it goes through `mask`.
What a showing command puts out is `Shown`: it decides by itself what of a chip may be seen.

What is looked for only counts once a text comes: a run that says nothing of a board never prepares for it.
"""

from __future__ import annotations

import base64
import binascii
import re
import threading
from collections.abc import Iterable, Sequence

from parburn.errors import ParburnError, ScriptError
from parburn.script.key_forms import PIECE, WIDEST, KeyForms

MASK = "??"
BEFORE = WIDEST  # characters that were said before a text and may be a part of a key in it
LONGEST_KEY = 128  # bytes; what is longer is no key, but may be a text that holds one
LONGEST_TEXT = 1024  # bytes of a file that may be a key in digits
KEPT = 8  # sets of keys, of which the forms are kept
Key = bytes | tuple[int, ...]  # its bytes, or the numbers of its bits
_PEM = re.compile(rb"-----BEGIN ([A-Z0-9 ]+)-----(.+?)-----END", re.DOTALL)
_SEPARATORS = re.compile(r"[\s:,_-]|\\x")
_HEX_RUN = re.compile(r"(?:(?:0x|\\x)?[0-9a-fA-F]{2}[\s:,_-]*){16,}[0-9a-fA-F]?")
_DECIMAL_WORD = re.compile(r"[0-9]{20,}")
_BASE64_WORD = re.compile(r"[A-Za-z0-9+/_-]+={0,2}")
_SIZES = (24, 32, 48, 64)  # of a key, in bytes: base64 of other sizes is taken for a name


class Shown(str):
    """What a command put out that shows what a chip holds: it has left out what must not be seen."""

    __slots__ = ()


class Masked(str):
    """A text that a mask has looked at, when it knew so many keys."""

    __slots__ = ("known",)
    known: int

    def __new__(cls, text: str, known: int) -> Masked:
        """Make it of a text."""
        masked = super().__new__(cls, text)
        masked.known = known
        return masked


class KeptForms:
    """The forms of keys that many boards have alike, made once. Any thread may call it.

    It keeps those of the last KEPT masks that met other keys, and forgets a board's own key after so many.
    """

    def __init__(self) -> None:
        self._by_keys: dict[tuple[Key, ...], KeyForms] = {}
        self._lock = threading.Lock()

    def __repr__(self) -> str:  # without the keys
        return f"KeptForms({len(self._by_keys)})"

    def of(self, keys: Iterable[Key]) -> KeyForms:
        """Return the forms of these keys, to be looked into only: other masks have them, too."""
        wanted = tuple(keys)
        with self._lock:
            forms = self._by_keys.pop(wanted, None) or forms_of(wanted)
            self._by_keys[wanted] = forms
            while len(self._by_keys) > KEPT:
                del self._by_keys[next(iter(self._by_keys))]
        return forms


class KeyMask:
    """The keys of one run. Any thread may call it."""

    def __init__(self, *, shows_keys: bool = False, kept: KeptForms | None = None) -> None:
        """Make a mask that knows no key; one that `shows_keys` leaves all texts as they are.

        Args:
            shows_keys: No text is changed.
            kept: Where forms are kept for masks that meet the same keys; they share nothing else.
        """
        self._shows_keys = shows_keys
        self._kept = kept
        self._met: dict[Key, None] = {}
        self._waiting: list[Key] = []
        self._forms: KeyForms | None = None  # made for the first text that is looked at
        self._lock = threading.Lock()

    def __repr__(self) -> str:  # without the keys
        return f"KeyMask({len(self._met)} keys)"

    # Keys -------------------------------------------------------------------------------------------

    def give(self, *keys: Key) -> None:
        """Take in key bytes, or the numbers of a key's bits."""
        for key in keys:
            if len(key) >= PIECE and key not in self._met and not self._shows_keys:
                with self._lock:
                    self._met[key] = None
                    self._waiting.append(key)

    def give_content(self, content: bytes) -> None:
        """Take in what a key command was given to read: a key, or a text with one (hex, base64, PEM)."""
        self.give(*keys_in_content(content))

    def give_words(self, words: Iterable[object]) -> None:
        """Take in words of a command, where one may be a key that was typed in place of a file or name."""
        for word in words:
            if isinstance(word, str) and len(word) >= 20:
                self.give(*keys_in_word(word))
            elif isinstance(word, (bytes, bytearray)):
                self.give(bytes(word))
            elif isinstance(word, int) and word.bit_length() > 64:
                self.give(word.to_bytes((word.bit_length() + 7) // 8, "little"))

    # Texts ------------------------------------------------------------------------------------------

    def mask(self, text: str) -> str:
        """Return a text without what is of a key."""
        return self.mask_after("", text)

    def mask_after(self, before: str, text: str) -> str:
        """Return a text without what is of a key; a piece may begin in what was said before it."""
        if not self._met or isinstance(text, Shown):
            return text
        with self._lock:
            forms = self._all_forms()
            begun = before[-BEFORE:]
            spans = forms.spans(begun + text)
        pieces, done = [], len(begun)
        whole = begun + text if spans else text
        for start, end in spans:
            if end > done:
                pieces += [whole[done : max(start, done)], MASK]
                done = end
        return "".join([*pieces, whole[done:]]) if pieces else text

    def _all_forms(self) -> KeyForms:
        """Return the forms of all keys that are known by now. Called with the lock."""
        if self._kept is not None and (self._waiting or self._forms is None):
            self._forms = self._kept.of(self._met)
        else:
            self._forms = forms_of(self._waiting, self._forms)
        self._waiting.clear()
        return self._forms

    def mask_output(self, pieces: Sequence[str]) -> str:
        """Return what a board has put out, without the keys that have become known since."""
        known = len(self._met)
        if all(isinstance(one, Shown) or (isinstance(one, Masked) and one.known == known) for one in pieces):
            return "".join(pieces)
        masked, before = [], ""
        for piece in pieces:
            masked.append(self.mask_after(before, piece))
            before = "" if isinstance(piece, Shown) else (before + piece)[-BEFORE:]
        return "".join(masked)

    def masked_after(self, before: str, text: str) -> Masked:
        """Return what `mask_after` does, for `mask_output` to know."""
        known = len(self._met)
        return Masked(self.mask_after(before, text), known)

    def mask_error(self, error: ParburnError) -> ParburnError:
        """Return the error, whose sentences now are without keys."""
        if self._met:
            error.message, error.hint = self.mask(error.message), self.mask(error.hint)
            error.args = (error.message,)
            if isinstance(error, ScriptError):
                error.traceback_text = self.mask(error.traceback_text)
        return error


def forms_of(keys: Iterable[Key], known: KeyForms | None = None) -> KeyForms:
    """Return the forms of these keys and of those that are known, in the same object."""
    forms = known or KeyForms()
    for key in keys:
        if isinstance(key, bytes):
            forms.add(key)
        else:
            forms.add_numbers(key)
    return forms


def keys_in_content(content: bytes) -> list[bytes]:
    """Return the keys that bytes given to a key command may be: they themselves, or what they spell."""
    pems = _PEM.findall(content)
    if pems:
        bodies = [b"".join(body.split()) for kind, body in pems if b"PUBLIC" not in kind]
        return [key for body in bodies if (key := _base64(body)) is not None]
    found = [content] if len(content) <= LONGEST_KEY else []
    if len(content) <= LONGEST_TEXT and content.isascii():
        found += keys_in_word(content.decode())
    return found


def keys_in_word(word: str) -> list[bytes]:
    """Return the bytes that a word spells, where there are as many as a key has; else none."""
    plain = word.strip()
    found: list[bytes] = []
    for run in _HEX_RUN.findall(plain):
        digits = _SEPARATORS.sub("", run).replace("0x", "")
        found += [bytes.fromhex(digits[: len(digits) // 2 * 2]), bytes.fromhex(digits[len(digits) % 2 :])]
    if _DECIMAL_WORD.fullmatch(plain):
        number = int(plain) if len(plain) < 1000 else 0
        found.append(number.to_bytes((number.bit_length() + 7) // 8, "big"))
    if not found and _BASE64_WORD.fullmatch(plain) and not plain.isupper():
        key = _base64(plain.encode())
        found += [key] if key is not None and len(key) in _SIZES else []
    return found


def _base64(text: bytes) -> bytes | None:
    plain = text.translate(bytes.maketrans(b"-_", b"+/")).rstrip(b"=")
    try:
        return base64.b64decode(plain + b"=" * (-len(plain) % 4), validate=True)
    except (binascii.Error, ValueError):
        return None
