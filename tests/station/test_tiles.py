"""The tiles: all sockets in sight at any size, what is never cut, what a frame costs, the terminal after."""

from __future__ import annotations

import fcntl
import os
import pty
import select
import struct
import subprocess
import sys
import termios
import time
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.cells import cell_len
from rich.console import ConsoleDimensions

from parburn.station.picture import SocketPicture, StationPicture
from parburn.station.states import SocketState
from parburn.station.tile_frame import TileFrame
from parburn.station.tiles import BELL, CLEAR, ENTER, LEAVE, TilesView
from parburn.station.view import StationView
from parburn.station.words import Word, Words
from tests.station.screens import COUNTS, SIZES, screen, slot_name, sockets_of, station_of
from tests.station.small_terminal import SmallTerminal
from tests.ui.story import captured

EMPTY = StationPicture("rig7", "anna", "lamp", "b", ())


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


def view_of(width: int = 80, height: int = 24, **options: object) -> tuple[TilesView, SmallTerminal, Clock]:
    """A view and the terminal that it draws on; `shown` hands over what was written."""
    clock = Clock()
    stream, writer = captured()
    view = TilesView(writer, clock=clock, width=width, height=height, **options)  # type: ignore[arg-type]
    terminal = SmallTerminal(width, height)
    view.test_stream = stream  # type: ignore[attr-defined]
    return view, terminal, clock


def shown(view: TilesView, terminal: SmallTerminal) -> str:
    stream = view.test_stream  # type: ignore[attr-defined]
    text: str = stream.getvalue()
    stream.seek(0)
    stream.truncate()
    terminal.feed(text)
    return text


# Frames -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("width", "height"), [*SIZES, (100, 30), (40, 20), (20, 10), (300, 80)])
@pytest.mark.parametrize("count", [1, 7, *COUNTS])
@pytest.mark.parametrize("halted", [False, True])
def test_no_line_is_too_long_and_there_are_not_too_many(
    width: int, height: int, count: int, halted: bool
) -> None:
    for utf in (True, False):
        lines = screen(station_of(count, halted=halted), width, height, utf=utf)
        assert len(lines) <= height
        assert max(map(cell_len, lines)) <= width
        if not utf:
            assert all(line.isascii() for line in lines)


@pytest.mark.parametrize(("width", "height"), SIZES)
@pytest.mark.parametrize("count", COUNTS)
def test_all_sockets_are_in_sight_with_slot_and_symbol(width: int, height: int, count: int) -> None:
    text = "\n".join(screen(station_of(count, halted=True), width, height))
    for number in range(count):
        assert slot_name(number) in text
    for symbol in "✓○↻≠":
        assert symbol in text
    assert "HALTED: the script failed on 3 boards" in text
    assert "passed 412/1000  yield 98.6 %  indexes left 588" in text
    assert "! A6 passes 71 %" in text


@pytest.mark.parametrize(
    ("width", "height", "count"), [(80, 24, 8), (80, 24, 64), (200, 50, 8), (200, 50, 128)]
)
def test_words_are_whole_where_a_tile_has_more_than_a_mark(width: int, height: int, count: int) -> None:
    words = {socket.word for socket in sockets_of(count)} - {None}
    text = "\n".join(screen(station_of(count), width, height)[:-1])
    for word in words:
        assert word is not None
        assert word.value in text


@pytest.mark.parametrize(("width", "height"), SIZES)
@pytest.mark.parametrize("count", COUNTS)
def test_the_last_line_says_what_each_symbol_means(width: int, height: int, count: int) -> None:
    last = screen(station_of(count), width, height)[-1]
    for word in {socket.word for socket in sockets_of(count)} - {None}:
        assert word is not None
        assert word.value in last
    if width == 200:
        assert "take it out, put it in again" in last


def test_a_terminal_too_small_for_slots_shows_one_symbol_a_socket() -> None:
    lines = screen(station_of(128), 20, 8)
    assert sum(map(len, lines)) == 128


def test_a_value_is_cut_at_its_front_and_a_slot_never() -> None:
    long = SocketPicture(
        "A-very-long-slot", SocketState.VERDICT, Word.WRONG_BOARD, f"serial-{'0123456789' * 5}-the-end"
    )
    picture = EMPTY._replace(sockets=(long,) * 12)
    text = "\n".join(screen(picture, 80, 30))
    assert text.count("A-very-long-slot") == 12
    assert text.count("≠ WRONG BOARD") == 13  # and once in the last line
    assert text.count("…") == 12
    assert text.count("9-the-end") == 12


@pytest.mark.parametrize("height", [70, 44, 30, 22, 13, 9])
def test_slots_are_whole_in_every_form(height: int) -> None:
    """From the largest form to a symbol a socket, as the terminal gets lower."""
    sockets = tuple(SocketPicture(f"rack-{n:02}", SocketState.VERDICT, Word.PASS, "v") for n in range(40))
    text = "\n".join(screen(EMPTY._replace(sockets=sockets), 80, height))
    for socket in sockets:
        assert f"{socket.slot} " in text


def test_colour_and_symbol_tell_hollow_dimmed_and_amber() -> None:
    done = SocketPicture("A1", SocketState.VERDICT, Word.PASS, "v", 1.0)
    styles = []
    for socket in (done, done._replace(hollow=True), done._replace(dimmed=True)):
        frame = TileFrame()
        frame.take(EMPTY._replace(sockets=(socket,)))
        styles.append(
            next(str(one.style) for line in frame.lines(80, 24)[2:-1] for one in line if "PASS" in one.text)
        )
    assert len(set(styles)) == 3
    assert "A1!" in "\n".join(screen(EMPTY._replace(sockets=(done._replace(amber=True),)), 80, 24))


def test_words_are_those_of_the_job() -> None:
    frame = TileFrame(words=Words.of({"PASS": "GUT", "PASS action": "herausnehmen"}))
    frame.take(EMPTY._replace(sockets=(SocketPicture("A1", SocketState.VERDICT, Word.PASS),)))
    text = "\n".join("".join(one.text for one in line) for line in frame.lines(80, 24))
    assert "✓ GUT" in text
    assert "herausnehmen" in text
    assert "PASS" not in text


def test_sentences_stand_below_where_there_is_room() -> None:
    text = "\n".join(screen(station_of(8), 200, 50))
    assert "A8 WRONG BOARD: not a chip of this job: this is ESP32-C6, and esp32c3 was asked for" in text


def test_draining_and_long_lists_of_amber_are_said() -> None:
    picture = station_of(8)._replace(draining=True, amber=tuple(f"amber {n}" for n in range(9)))
    text = "\n".join(screen(picture, 80, 24))
    assert "DRAINING" in text
    assert "! and 8 more" in text


@settings(deadline=None, max_examples=60)
@given(
    st.text(max_size=30), st.text(max_size=30), st.integers(10, 220), st.integers(3, 60), st.integers(0, 140)
)
def test_odd_texts_fit_and_steer_nothing(slot: str, text: str, width: int, height: int, count: int) -> None:
    socket = SocketPicture(slot, SocketState.VERDICT, Word.RED_BIN, text, 1.0, text, index=3, mac=text)
    picture = StationPicture(text, text, text, text, (socket,) * count, halt=text, amber=(text, text))
    view, _, _ = view_of(width, height)
    view.update(picture)
    view.draw()
    drawn = view.test_stream.getvalue().removeprefix(ENTER)  # type: ignore[attr-defined]
    lines = view.frame.lines(width, height)
    assert len(lines) <= height
    for line in lines:
        assert cell_len("".join(one.text for one in line)) <= width
    plain = "".join(one.text for line in lines for one in line)
    assert not [one for one in drawn if ord(one) < 0x20 and one != "\x1b"]
    assert "\x1b" not in plain
    assert "\u202e" not in drawn


# On a terminal ----------------------------------------------------------------------------------------


def as_drawn(picture: StationPicture, clock: Clock, width: int = 80, height: int = 24) -> list[str]:
    frame = TileFrame(clock=clock)
    frame.take(picture)
    lines = ["".join(one.text for one in line).rstrip() for line in frame.lines(width, height)]
    return lines + [""] * (height - len(lines))


PICTURES = st.lists(
    st.tuples(st.sampled_from([8, 9, 64]), st.booleans(), st.integers(0, 63), st.floats(0, 3)),
    min_size=1,
    max_size=6,
)


@settings(deadline=None, max_examples=40)
@given(PICTURES)
def test_lines_that_changed_make_the_same_screen_as_a_whole_frame(
    steps: list[tuple[int, bool, int, float]],
) -> None:
    view, terminal, clock = view_of()
    for count, halted, changed, passed_s in steps:
        sockets = list(sockets_of(count))
        sockets[changed % count] = SocketPicture(slot_name(changed % count), SocketState.EMPTY)
        picture = station_of(count, halted=halted)._replace(sockets=tuple(sockets))
        view.update(picture)
        view.draw()
        shown(view, terminal)
        assert terminal.lines == as_drawn(picture, clock)
        clock.now += passed_s
        view.draw()
        shown(view, terminal)


def test_nothing_is_drawn_where_nothing_has_changed() -> None:
    view, terminal, clock = view_of()
    view.update(
        EMPTY._replace(sockets=tuple(SocketPicture(slot_name(n), SocketState.EMPTY) for n in range(128)))
    )
    assert view.draw()
    shown(view, terminal)
    built: list[object] = []
    lines = view.frame.lines
    view.frame.lines = lambda *args, **options: built.append(args) or lines(*args, **options)  # type: ignore
    for _ in range(8):
        clock.now += 0.25
        assert not view.draw()
    assert shown(view, terminal) == ""
    assert not built


def test_seconds_tick_once_a_second_and_only_their_line_is_drawn() -> None:
    view, terminal, clock = view_of()
    burning = SocketPicture("A1", SocketState.BURNING, Word.LEAVE_IN, seconds=0.0)
    rest = tuple(
        SocketPicture(slot_name(n), SocketState.VERDICT, Word.PASS, seconds=0.9) for n in range(1, 8)
    )
    view.update(EMPTY._replace(sockets=(burning, *rest)))
    view.draw()
    shown(view, terminal)
    draws = 0
    for _ in range(12):
        clock.now += 0.25
        if view.draw():
            draws += 1
            assert shown(view, terminal).count("H") == 1  # one move of the cursor: one line
    assert draws == 3
    assert " 3 s" in terminal.lines[2]
    assert "0.9 s" in terminal.lines[2]


def test_one_socket_that_changes_costs_its_own_lines() -> None:
    view, terminal, _ = view_of(200, 50)
    picture = station_of(64)
    view.update(picture)
    view.draw()
    whole = len(shown(view, terminal))
    changed = picture.sockets[0]._replace(state=SocketState.EMPTY, word=None, value="", mac="", seconds=None)
    view.update(picture._replace(sockets=(changed, *picture.sockets[1:])))
    view.draw()
    assert len(shown(view, terminal)) < whole / 5


def test_another_size_draws_all_of_it_anew() -> None:
    view, terminal, clock = view_of(80, 24)
    picture = station_of(8)
    view.update(picture)
    view.draw()
    shown(view, terminal)
    view.console.size = ConsoleDimensions(120, 40)
    wider = SmallTerminal(120, 40)
    assert view.draw()
    shown(view, wider)
    assert wider.lines == as_drawn(picture, clock, 120, 40)


def test_a_bell_rings_once_for_a_word_that_asks_for_it() -> None:
    view, terminal, _ = view_of(bells=(Word.RED_BIN,))
    good = SocketPicture("A1", SocketState.VERDICT, Word.PASS)
    for sockets in (
        (good,),
        (good._replace(word=Word.RED_BIN),),
        (good._replace(word=Word.RED_BIN, dimmed=True),),
    ):
        view.update(EMPTY._replace(sockets=sockets))
        view.draw()
    shown(view, terminal)
    assert terminal.bells == 1
    again = (good._replace(word=Word.RED_BIN), good._replace(slot="A2"))
    view.update(EMPTY._replace(sockets=(good, SocketPicture("A2", SocketState.EMPTY))))
    view.update(EMPTY._replace(sockets=again))
    view.draw()
    shown(view, terminal)
    assert terminal.bells == 2
    assert BELL not in ENTER + LEAVE


def test_a_note_stands_for_a_while() -> None:
    view, terminal, clock = view_of()
    view.update(station_of(8))
    view.note("A3", "the line\x1b[2J is noisy", "warning")
    view.draw()
    shown(view, terminal)
    assert "! A3: the line[2J is noisy" in terminal.lines[-2]
    clock.now += 60
    view.draw()
    shown(view, terminal)
    assert "noisy" not in "\n".join(terminal.lines)


def test_the_terminal_is_given_back_with_the_head_on_it() -> None:
    view, terminal, _ = view_of()
    terminal.feed("$ parburn station\n")
    view.update(station_of(8, halted=True))
    view.draw()
    shown(view, terminal)
    assert terminal.modes == (False, True)
    view.close()
    view.close()
    view.draw(force=True)
    shown(view, terminal)
    assert terminal.modes == (True, False)
    assert any(line.startswith("passed 412/1000") for line in terminal.lines)
    assert any(line.startswith("HALTED") for line in terminal.lines)


def test_a_view_that_never_drew_leaves_nothing() -> None:
    view, terminal, _ = view_of()
    view.close()
    assert shown(view, terminal) == ""


def test_no_color_leaves_no_colour(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.delenv("COLORTERM", raising=False)
    texts = []
    for value in (None, "1"):
        if value:
            monkeypatch.setenv("NO_COLOR", value)
        else:
            monkeypatch.delenv("NO_COLOR", raising=False)
        view, terminal, _ = view_of()
        view.update(station_of(8))
        view.draw()
        texts.append(shown(view, terminal))
    assert "42m" in texts[0]  # green ground
    assert "42m" not in texts[1]
    assert "✓ PASS" in texts[1]


def test_a_view_is_what_a_station_tells() -> None:
    view: StationView = view_of()[0]
    view.halt("why")
    view.resumed("because")


def test_frames_of_128_sockets_are_cheap() -> None:
    """All of them change at once, four times a second: a few per cent of a core at most."""
    frame = TileFrame()
    pictures = [station_of(128), station_of(128, halted=True)]
    began = time.process_time()
    for number in range(40):
        frame.take(pictures[number % 2])
        frame.lines(200, 50)
    assert (time.process_time() - began) / 40 < 0.02


CHILD = """\
import sys
import termios
from parburn.station.tiles import TilesView
from parburn.ui.nonblocking_writer import NonblockingWriter
from tests.station.screens import station_of
view = TilesView(NonblockingWriter(sys.stdout))
view.update(station_of(8))
view.draw()
{end}
"""


@pytest.mark.parametrize("end", ["raise RuntimeError('broken')", "sys.exit(3)", "pass"])
def test_whatever_ends_the_process_the_terminal_is_given_back(end: str) -> None:
    ours, theirs = pty.openpty()
    try:
        child = subprocess.Popen([sys.executable, "-c", CHILD.format(end=end)], stdout=theirs,
                                 stderr=subprocess.DEVNULL, cwd=Path(__file__).parents[2],
                                 env={**os.environ, "TERM": "xterm", "COLUMNS": "80",
                                      "LINES": "24"})  # fmt: skip
        os.close(theirs)
        text = b""
        while True:
            try:
                part = os.read(ours, 65536)
            except OSError:
                break
            if not part:
                break
            text += part
        child.wait(20)
    finally:
        os.close(ours)
    assert ENTER.encode() in text
    assert text.count(LEAVE.encode()) == 1
    assert text.index(LEAVE.encode()) > text.rindex(b"\x1b[24;1H")


RESIZED = """\
import sys, time
from parburn.station.tiles import TilesView
from parburn.ui.nonblocking_writer import NonblockingWriter
from tests.station.screens import station_of
view = TilesView(NonblockingWriter(sys.stdout))
view.update(station_of(8))
for _ in range(200):
    view.draw()
    time.sleep(0.05)
"""


def test_a_terminal_that_grows_is_filled() -> None:
    ours, theirs = pty.openpty()
    environment = {name: text for name, text in os.environ.items() if name not in ("COLUMNS", "LINES")}
    try:
        fcntl.ioctl(ours, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 80, 0, 0))
        child = subprocess.Popen([sys.executable, "-c", RESIZED], stdin=theirs, stdout=theirs, stderr=theirs,
                                 cwd=Path(__file__).parents[2],
                                 env={**environment, "TERM": "xterm"})  # fmt: skip
        os.close(theirs)
        with child:
            read_until(ours, b"\x1b[24;1H")
            fcntl.ioctl(ours, termios.TIOCSWINSZ, struct.pack("HHHH", 40, 100, 0, 0))
            text = read_until(ours, b"\x1b[40;1H")
            child.kill()
    finally:
        os.close(ours)
    assert CLEAR.encode() in text


def read_until(descriptor: int, mark: bytes) -> bytes:
    """What comes, up to a mark; a test that waits for ten seconds has failed."""
    text, until = b"", time.monotonic() + 10
    while mark not in text:
        assert select.select([descriptor], [], [], max(0.0, until - time.monotonic()))[0], text[-200:]
        text += os.read(descriptor, 65536)
    return text
