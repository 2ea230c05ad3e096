"""The live table: what its rows hold, when it becomes a grid, which rows are built again, what it costs."""

from __future__ import annotations

import os
import re
import time
from pathlib import Path
from typing import get_args

import pytest

from parburn.events import (
    BlockBurned,
    Claimed,
    DeviceReport,
    Finished,
    Identified,
    Note,
    Result,
    RunStarted,
    ScriptOutput,
    Step,
    StepChanged,
)
from parburn.ui.board_rows import BoardRows
from parburn.ui.frame import Frame
from parburn.ui.nonblocking_writer import NonblockingWriter
from parburn.ui.state_marks import STATE_MARKS
from parburn.ui.table import LiveTable
from tests.ui.story import MACS, PORTS, REPORTS, SLOTS, captured, started, story, tell


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


def lines_of(frame: Frame, width: int, height: int) -> list[str]:
    frame._arrange(width, height, utf=True)
    return "".join(segment.text for segment in frame.segments(width, height)).splitlines()


def framed(*, width: int = 160, height: int = 30, events: int | None = None) -> list[str]:
    boards = BoardRows()
    for event in story()[:events]:
        boards.apply(event)
    return lines_of(Frame(boards), width, height)


def many(count: int) -> BoardRows:
    boards = BoardRows()
    ports = tuple(f"/dev/ttyUSB{number}" for number in range(count))
    boards.apply(RunStarted("", ports, ports))
    for number, port in enumerate(ports):
        boards.apply(Identified(port, "esp32s3", f"7c:df:a1:00:00:{number:02x}", "v0.2", 40))
        boards.apply(Claimed(port, number + 1, known=False))
        boards.apply(StepChanged(port, "burning"))
        boards.apply(BlockBurned(port, "BLOCK1", 1, 3))
    return boards


def test_a_row_has_port_slot_chip_mac_index_blocks_result_and_seconds() -> None:
    lines = framed()
    for report, line in zip(REPORTS, lines[1:5], strict=True):
        assert report.port.removeprefix("/dev/") in line
        assert report.mac in line
        assert "esp32c3" in line
        assert f" {report.index} " in line
        assert report.result.value in line
        assert f"{report.seconds:.1f}s" in line
    assert all(f"{number}:1.0" in line for number, line in zip((1, 2, 3, 4), lines[1:5], strict=True))
    assert "1/2" in lines[2]
    assert "the port vanished" in lines[2]


def test_the_last_line_counts_the_boards_by_result() -> None:
    assert framed()[-1].startswith("4 boards: 1 pass, 1 already-pass, 1 incomplete, 1 quarantined")


def test_a_running_board_shows_its_step() -> None:
    lines = framed(events=10)
    assert "burning" in lines[1]
    assert "1/2" in lines[1]
    assert "4 boards: 3 waiting, 1 burning" in lines[-1] or "1 burning, 3 waiting" in lines[-1]


@pytest.mark.parametrize("width", [200, 130, 100, 80, 70, 60])
def test_no_line_is_wider_than_the_terminal_and_the_index_and_result_stay(width: int) -> None:
    lines = framed(width=width)
    assert max(map(len, lines)) <= width
    assert "incomplete" in lines[2]
    if width >= 60:
        assert MACS[1] in lines[2]


def test_a_slot_that_only_repeats_the_port_is_no_column() -> None:
    boards = BoardRows()
    boards.apply(RunStarted("", PORTS, tuple(port.removeprefix("/dev/") for port in PORTS)))
    assert "slot" not in lines_of(Frame(boards), 200, 30)[0]
    assert "slot" in framed(width=200)[0]


@pytest.mark.parametrize(("width", "height"), [(80, 24), (200, 24), (40, 10), (20, 6)])
@pytest.mark.parametrize("count", [30, 64, 128])
def test_more_rows_than_lines_become_a_grid_that_fits(count: int, width: int, height: int) -> None:
    boards = many(count)
    boards.apply(Finished("/dev/ttyUSB7", REPORTS[3]._replace(port="/dev/ttyUSB7")))
    frame = Frame(boards)
    lines = lines_of(frame, width, height)
    assert frame.compact
    assert len(lines) < height
    assert max(map(len, lines)) <= width
    assert "☠" in "".join(lines)
    assert lines[-1].startswith(f"{count} boards"[:width])


def test_the_grid_names_the_boards_where_there_is_room() -> None:
    lines = lines_of(Frame(many(64)), 160, 24)
    text = "\n".join(lines)
    assert all(re.search(rf"ttyUSB{number}\b +▮ 1/3", text) for number in range(64))


def test_simulated_boards_and_dry_runs_say_so() -> None:
    boards = BoardRows()
    boards.apply(started(simulated=True))
    assert lines_of(Frame(boards), 100, 30)[0].startswith("SIMULATED")
    boards = BoardRows()
    boards.apply(started(dry_run=True))
    assert lines_of(Frame(boards), 100, 30)[0].startswith("DRY RUN")


def test_only_rows_that_changed_are_built_again() -> None:
    boards = many(8)
    frame = Frame(boards)
    lines_of(frame, 120, 30)
    before = dict(frame._rows)
    boards.apply(BlockBurned("/dev/ttyUSB3", "BLOCK0", 2, 3))
    lines_of(frame, 120, 30)
    changed = [port for port, row in frame._rows.items() if row is not before[port]]
    assert changed == ["/dev/ttyUSB3"]


def test_a_frame_is_stale_when_something_changed_or_a_second_has_passed() -> None:
    clock = Clock()
    boards = BoardRows(clock=clock)
    boards.apply(started())
    boards.apply(StepChanged(PORTS[0], "connecting"))
    frame = Frame(boards)
    assert frame.stale(100, 30)
    lines_of(frame, 100, 30)
    assert not frame.stale(100, 30)
    assert frame.stale(90, 30)  # the window was resized
    clock.now += 1.1
    assert frame.stale(100, 30)
    lines_of(frame, 100, 30)
    assert not frame.stale(100, 30)
    boards.apply(Finished(PORTS[0], REPORTS[0]))
    assert frame.stale(100, 30)


def test_text_from_outside_cannot_steer_the_terminal() -> None:
    stream, writer = captured()
    table = LiveTable(writer, show_output=True, width=160, height=30)
    tell(table, [*story(), Note("", "[bold]not markup[/bold] \x1b]0;title\x07")])
    text = stream.getvalue()
    assert "\x1b[2J" not in text
    assert "\x1b]0" not in text
    assert "[bold]not markup[/bold]" in text
    assert f"{PORTS[0]} | printed [2Jby the script" in text


def test_output_of_scripts_stays_away_without_show_output() -> None:
    stream, writer = captured()
    tell(LiveTable(writer, width=160, height=30), story())
    assert "by the script" not in stream.getvalue()


def test_a_pause_takes_the_table_off_the_screen_and_it_comes_back() -> None:
    stream, writer = captured()
    table = LiveTable(writer, width=160, height=30)
    table.emit(started())
    table.draw()
    with table.paused():
        at = len(stream.getvalue())
        assert stream.getvalue().endswith("\x1b[2K")  # its lines are erased, the cursor stands where it began
        assert "\x1b[?25h" in stream.getvalue()
        table.emit(StepChanged(PORTS[0], "burning"))
        assert not table.draw(force=True)
        assert len(stream.getvalue()) == at
    assert table.draw()
    table.close()
    assert "burning" in stream.getvalue()[at:]
    assert stream.getvalue().endswith("\x1b[?25h")  # the cursor is shown again


def test_nothing_is_drawn_when_nothing_changed_and_many_changes_are_one_frame() -> None:
    clock = Clock()
    stream, writer = captured()
    table = LiveTable(writer, width=160, height=30, clock=clock)
    table.emit(started())
    assert table.draw()
    assert not table.draw()
    for number in range(50):
        table.emit(ScriptOutput(PORTS[0], f"{number}\n"))
        table.emit(BlockBurned(PORTS[0], "BLOCK1", number, 50))
    at = len(stream.getvalue())
    assert table.draw()
    assert stream.getvalue()[at:].count("4 boards") == 1
    table.close()


def test_no_frame_is_made_while_the_terminal_has_not_taken_the_last() -> None:
    read, write = os.pipe()
    with os.fdopen(write, "w") as stream:
        writer = NonblockingWriter(stream, close_deadline_s=0.2)
        table = LiveTable(writer, width=160, height=30)
        table.emit(started())
        writer.write("x" * 200_000)  # more than the pipe holds: the writer stands still
        assert not table.draw()
        os.close(read)
        writer.close()


@pytest.mark.parametrize("count", [64, 128])
def test_a_frame_costs_little(count: int, tmp_path: Path) -> None:
    """A rich Table costs 23 ms at 64 rows and 47 ms at 128; the bound is wide, for a busy machine."""
    boards = many(count)
    with (tmp_path / "screen").open("w") as stream:
        writer = NonblockingWriter(stream)
        table = LiveTable(writer, width=160, height=count + 10)
        table.emit(RunStarted("", tuple(boards.all), tuple(boards.all)))
        table.draw(force=True)
        frames = 50
        best = min(_cpu_of(table, frames) for _ in range(3))
        table.close()
        writer.close()
    assert best / frames < 0.004 * count / 64


def _cpu_of(table: LiveTable, frames: int) -> float:
    begun = time.thread_time()
    for number in range(frames):
        for port in list(table.boards.all)[:8]:
            table.emit(BlockBurned(port, "BLOCK1", number, frames))
        table.draw(force=True)
    return time.thread_time() - begun


def test_a_cell_that_is_too_long_is_cut_and_not_wrapped() -> None:
    boards = BoardRows()
    boards.apply(started())
    boards.apply(Finished(PORTS[0], REPORTS[1]._replace(port=PORTS[0], error="x" * 500)))
    lines = lines_of(Frame(boards), 120, 30)
    assert len(lines) == 6
    assert max(map(len, lines)) <= 120


def test_marks_are_plain_without_utf8() -> None:
    boards = many(40)
    frame = Frame(boards)
    frame._arrange(60, 20, utf=False)
    text = "".join(segment.text for segment in frame.segments(60, 20))
    assert text.isascii()


def test_a_board_without_any_event_is_there_all_the_same() -> None:
    boards = BoardRows()
    boards.apply(RunStarted("", PORTS, SLOTS))
    boards.apply(Finished("/dev/late", DeviceReport("/dev/late", "", Result.NO_ANSWER)))
    assert len(lines_of(Frame(boards), 120, 30)) == 1 + 5 + 1


def test_every_state_has_a_look_of_its_own_mark() -> None:
    assert STATE_MARKS.keys() == {None, *get_args(Step), *Result}
    ends = [STATE_MARKS[result] for result in Result]
    assert len({look.plain for look in ends}) == len(ends)
