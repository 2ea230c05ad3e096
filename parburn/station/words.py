"""The six words that a station says to its operator, each one action. Knows no errors: see `verdicts`.

A word has an action in a short sentence, a colour *and* a symbol, since one operator in twelve cannot tell
red from green. A job may say words and actions in its operator's language; JSON lines never change theirs.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum
from types import MappingProxyType
from typing import Final, NamedTuple

from parburn.errors import UsageError
from parburn.nearest import did_you_mean
from parburn.printable import is_printable


class Word(Enum):
    """What the operator is to do with the board in a socket. The values are those of `--json`."""

    PASS = "PASS"  # take it out
    RETRY = "RETRY"  # take it out, put it in again: nothing was burned
    WRONG_BOARD = "WRONG BOARD"  # back to the tray
    RED_BIN = "RED BIN"  # it must not ship
    LEAVE_IN = "LEAVE IN"  # it burns, is held, or has stopped the station
    SOCKET_OFF = "SOCKET OFF"  # use another socket: this one is for the engineer


class Look(NamedTuple):
    """How a word is drawn. `hollow` is the symbol of a board that had passed before."""

    symbol: str
    hollow: str
    plain: str  # where there is no UTF-8
    plain_hollow: str
    style: str


LOOKS: Final[Mapping[Word, Look]] = MappingProxyType(
    {
        Word.PASS: Look("✓", "○", "+", "o", "bold black on green"),
        Word.RETRY: Look("↻", "↻", "r", "r", "bold black on yellow"),
        Word.WRONG_BOARD: Look("≠", "≠", "w", "w", "bold white on magenta"),
        Word.RED_BIN: Look("✗", "✗", "X", "X", "bold white on red"),
        Word.LEAVE_IN: Look("▮", "▮", "#", "#", "bold cyan"),
        Word.SOCKET_OFF: Look("⊘", "⊘", "0", "0", "bold white on blue"),
    }
)

ACTIONS: Final[Mapping[Word, str]] = MappingProxyType(
    {
        Word.PASS: "take it out",
        Word.RETRY: "take it out, put it in again",
        Word.WRONG_BOARD: "back to the tray",
        Word.RED_BIN: "into the red bin",
        Word.LEAVE_IN: "leave it in",
        Word.SOCKET_OFF: "use another socket",
    }
)

LONGEST_WORD: Final = 20  # cells: what a small tile has room for
LONGEST_ACTION: Final = 40
LONGEST_SENTENCE: Final = 200
PUT_IT_BACK: Final = "the board you took out is not finished: put it back"
_ACTION: Final = " action"  # "PASS action" is the key of the action of PASS


class Words(NamedTuple):
    """Words and actions in the operator's language."""

    texts: Mapping[Word, str]
    actions: Mapping[Word, str]
    put_it_back: str  # of a socket whose board left before its verdict

    @classmethod
    def of(cls, said: Mapping[str, str]) -> Words:
        """Return the words of a job's section [words].

        Args:
            said: By the English word (`pass`, `wrong_board`, `RED BIN`) what stands on the screen for it, by
                the word and `action` (`pass_action`) what is to be done, and by `put_it_back` the sentence
                for a board that left too early. What is not said stays English.

        Raises:
            UsageError: no such word, a text that cannot be shown or is too long, or two words in one text.
        """
        texts, actions = {word: word.value for word in Word}, dict(ACTIONS)
        back = PUT_IT_BACK
        for key, text in said.items():
            if key == "put_it_back":
                back = _shown(key, text, LONGEST_SENTENCE)
                continue
            name = " ".join(key.upper().replace("_", " ").replace("-", " ").split())
            is_action = name.endswith(_ACTION.upper())
            word = _word_named(name.removesuffix(_ACTION.upper()), key)
            longest = LONGEST_ACTION if is_action else LONGEST_WORD
            (actions if is_action else texts)[word] = _shown(key, text, longest)
        _refuse_twins(texts)
        return cls(MappingProxyType(texts), MappingProxyType(actions), back)

    def text(self, word: Word) -> str:
        """Return what stands on the screen for a word."""
        return self.texts[word]

    def action(self, word: Word) -> str:
        """Return what the operator is to do, in few words."""
        return self.actions[word]

    def symbol(self, word: Word, *, hollow: bool = False, utf: bool = True) -> str:
        """Return the word's symbol, one cell wide."""
        look = LOOKS[word]
        if utf:
            return look.hollow if hollow else look.symbol
        return look.plain_hollow if hollow else look.plain


def _word_named(name: str, key: str) -> Word:
    try:
        return Word(name)
    except ValueError:
        known = [word.value for word in Word]
        raise UsageError(
            f"[words] has {key!r}, which is no word of a station",
            hint=f"The words are {', '.join(known)}. {did_you_mean(name, known).capitalize()}".rstrip(),
        ) from None


def _shown(key: str, text: object, longest: int) -> str:
    """Return a text fit for a tile. One that is empty or odd would leave the operator without his word."""
    if not isinstance(text, str) or not text.strip() or not is_printable(text) or "\n" in text:
        raise UsageError(f"[words] {key}: it must be one line of text", hint="Write it in quotes.")
    from rich.cells import cell_len  # here: whoever only reads the words draws nothing

    text = " ".join(text.split())
    if cell_len(text) > longest:
        raise UsageError(
            f"[words] {key}: {text!r} takes {cell_len(text)} cells, and a tile has room for {longest}",
            hint="Say it shorter.",
        )
    return text


def _refuse_twins(texts: Mapping[Word, str]) -> None:
    """Two words that read alike would send a board the wrong way."""
    first: dict[str, Word] = {}
    for word, text in texts.items():
        other = first.setdefault(text.casefold(), word)
        if other is not word:
            raise UsageError(
                f"[words] {other.value} and {word.value} would both read {text!r}",
                hint="Each word needs a text of its own.",
            )


ENGLISH: Final = Words.of({})
