"""One socket as a tile of some lines and cells. Pure: from a picture to segments, in the form that fits.

The slot and the word are never cut; the unit's own value is, from its front, since units differ at the end.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final, NamedTuple

from rich.cells import cell_len, set_cell_size
from rich.segment import Segment
from rich.style import Style

from parburn.station.picture import SocketPicture
from parburn.station.states import SocketState
from parburn.station.words import LOOKS, Word, Words
from parburn.ui.words import one_line, seconds

GAP: Final = 2  # cells between two tiles
WIDEST: Final = 34  # cells of a tile; more would only set slot and seconds apart
SECONDS: Final = 6  # cells of "12.3 s", and of "3599 s"
PLAIN: Final = Style.null()
BOLD: Final = Style.parse("bold")
DIM: Final = Style.parse("dim")
AMBER: Final = Style.parse("bold yellow")
HOLLOW: Final = Style.parse("bold green")
BUSY: Final = Style.parse("cyan")
AT_WORK: Final = (SocketState.DETECTING, SocketState.READY, SocketState.HOLD, SocketState.BURNING)

# What stands where there is nothing to do: symbol, in ASCII, text.
STATES: Final = {
    SocketState.EMPTY: ("·", ".", ""),
    SocketState.DETECTING: ("…", "?", "who is it"),
    SocketState.READY: ("▸", ">", "ready"),
    SocketState.HOLD: ("‖", "=", "waits"),
    SocketState.BURNING: ("▮", "#", "burning"),
    SocketState.VERDICT: ("?", "?", "ended"),
    SocketState.LOCKED: ("⊘", "0", "locked"),
}

TileLines = tuple[tuple[Segment, ...], ...]


class Form(NamedTuple):
    """How much of a socket a tile shows. `least` is the fewest cells in which slot and word are whole."""

    lines: int
    least: int
    slot: int  # cells of the longest slot, and its amber mark
    word: int  # cells of the longest word; 0: only its symbol is shown


class Drawn(NamedTuple):
    """What a tile is drawn with."""

    words: Words
    utf: bool
    width: int
    form: Form


def forms_for(sockets: Sequence[SocketPicture], words: Words) -> Iterator[Form]:
    """Yield the forms for these sockets, the largest first."""
    slot = max([1, *(cell_len(slot_of(one)) for one in sockets)])
    word = max(cell_len(words.text(one)) for one in Word)
    word = max([word, *(cell_len(text) for _, _, text in STATES.values())])
    head = slot + 4 + SECONDS  # a rule with both in it
    for lines in (5, 4, 3):
        yield Form(lines, max(head, 2 + word, 17), slot, word)
    yield Form(3, max(head, 2 + word), slot, word)
    yield Form(2, max(head, 2 + word), slot, word)
    yield Form(1, slot + 3 + word, slot, word)
    yield Form(1, slot + 2, slot, 0)


def slot_of(socket: SocketPicture) -> str:
    """Return the slot, marked where it fails more often than the others."""
    return one_line(socket.slot) + ("!" if socket.amber else "")


def symbol_of(socket: SocketPicture, words: Words, *, utf: bool) -> str:
    """Return the symbol, one cell wide, of the word or of the state where there is none."""
    if socket.word is not None:
        return words.symbol(socket.word, hollow=socket.hollow, utf=utf)
    symbol, plain, _ = STATES[socket.state]
    return symbol if utf else plain


def word_of(socket: SocketPicture, words: Words) -> str:
    """Return the word, or what the socket is doing where there is none."""
    return words.text(socket.word) if socket.word is not None else STATES[socket.state][2]


def style_of(socket: SocketPicture) -> Style:
    """Return the colour: filled for a word, none for a board that had passed, or that does not answer."""
    if socket.word is None:
        return DIM if socket.state is SocketState.EMPTY else BUSY
    if socket.dimmed:
        return DIM
    return HOLLOW if socket.hollow else Style.parse(LOOKS[socket.word].style)


def tile_of(socket: SocketPicture, age: float | None, drawn: Drawn) -> TileLines:
    """Return a tile of `drawn.form.lines` lines, each `drawn.width` cells wide. `age`: seconds to show."""
    form, width = drawn.form, drawn.width
    style, mark = style_of(socket), symbol_of(socket, drawn.words, utf=drawn.utf)
    word, time = word_of(socket, drawn.words), _time(socket, age)
    if form.lines == 1:
        return (_one_line(socket, mark, word, time, drawn),)
    value = one_line(socket.value or socket.mac)
    if socket.value and socket.index is not None and width >= cell_len(socket.value) + 8:
        value = f"{socket.index} {value}"
    lines = [
        _rule(slot_of(socket), time, drawn, amber=socket.amber),
        (Segment(set_cell_size(f"{mark} {word}", width), style),),
        (Segment(set_cell_size(_tail(value, width, utf=drawn.utf), width), DIM if socket.dimmed else PLAIN),),
        (Segment(set_cell_size(_head(one_line(socket.detail), width, utf=drawn.utf), width), DIM),),
        (Segment(" " * width),),
    ]
    return tuple(lines[: form.lines])


def _one_line(socket: SocketPicture, mark: str, word: str, time: str, drawn: Drawn) -> tuple[Segment, ...]:
    form, width = drawn.form, drawn.width
    slot = set_cell_size(slot_of(socket), form.slot)
    head = Segment(f"{slot} ", AMBER if socket.amber else PLAIN)
    if not form.word:  # the symbol alone, and seconds where there is room
        rest = width - form.slot - 2
        time = time.replace(" s", "") if socket.state in AT_WORK else ""
        tail = f" {time}" if cell_len(time) + 1 <= rest else ""
        return (head, Segment(mark, style_of(socket)), Segment(set_cell_size(tail, rest)))
    rest = width - form.slot - 3 - form.word
    tail = f" {time}" if cell_len(time) + 1 <= rest else ""
    return (
        head,
        Segment(set_cell_size(f"{mark} {word}", form.word + 2), style_of(socket)),
        Segment(set_cell_size(tail, rest), DIM),
    )


def _rule(slot: str, time: str, drawn: Drawn, *, amber: bool) -> tuple[Segment, ...]:
    line = "─" if drawn.utf else "-"
    time = f" {time}" if time else ""
    rest = drawn.width - cell_len(slot) - 1 - cell_len(time)
    return (
        Segment(f"{slot} ", AMBER if amber else BOLD),
        Segment(line * max(0, rest), DIM),
        Segment(time),
    )


def _time(socket: SocketPicture, age: float | None) -> str:
    """Return the seconds: whole ones of a board at work, tenths of one that has ended."""
    if age is None:
        return ""
    if socket.state in AT_WORK:
        return f"{min(int(age), 9999)} s"
    return seconds(min(age, 9999))


def _tail(text: str, width: int, *, utf: bool) -> str:
    """Return the end of a text that is too long."""
    if cell_len(text) <= width:
        return text
    while text and cell_len(text) > width - 1:
        text = text[max(1, (cell_len(text) - width) // 2) :]
    return ("…" if utf else "~") + text


def _head(text: str, width: int, *, utf: bool) -> str:
    """Return the beginning of a text that is too long."""
    if cell_len(text) <= width:
        return text
    return set_cell_size(text, max(0, width - 1)).rstrip() + ("…" if utf else "~")
