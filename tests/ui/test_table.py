"""The live table: what its rows hold, when it becomes a grid, which rows are built again, what it costs."""

from __future__ import annotations

import os
import re
import time
from pathlib import Path
from typing import get_args

import pytest

from parburn import errors
from parburn.events import (
    BlockBurned,
    Claimed,
    DeviceReport,
    Finished,
    Identified,
    Note,
    Planned,
    PlannedBlock,
    Result,
    RunStarted,
    ScriptOutput,
    Step,
    StepChanged,
)
from parburn.ui.board_rows import BoardRows
from parburn.ui.frame import Frame
from parburn.ui.nonblocking_writer import NonblockingWriter
from parburn.ui.short_words import ERROR_WORDS, RESULT_WORDS, short_word
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
        assert RESULT_WORDS[report.result] in line
        assert f"{report.seconds:.1f}s" in line
    assert all(f"{number}:1.0" in line for number, line in zip((1, 2, 3, 4), lines[1:5], strict=True))
    assert "1/2" in lines[2]
    assert "the port vanished" in lines[2]


def test_the_last_line_counts_the_boards_by_result() -> None:
    assert framed()[-1].startswith("4 boards: 1 pass, 1 already-pass, 1 half burned, 1 quarantined")


def test_a_running_board_shows_its_step() -> None:
    lines = framed(events=10)
    assert "burning" in lines[1]
    assert "1/2" in lines[1]
    assert "4 boards: 3 waiting, 1 burning" in lines[-1] or "1 burning, 3 waiting" in lines[-1]


@pytest.mark.parametrize("width", [200, 130, 100, 80, 70, 60])
def test_no_line_is_wider_than_the_terminal_and_the_index_and_result_stay(width: int) -> None:
    lines = framed(width=width)
    assert max(map(len, lines)) <= width
    assert "half burned" in lines[2]
    assert " 6 " in lines[2]
    assert "aa:bb" in lines[1]  # what was burned stands instead of the factory MAC where both do not fit
    if width >= 100:
        assert MACS[1] in lines[2]


def test_until_something_is_planned_the_factory_mac_tells_boards_apart() -> None:
    boards = BoardRows()
    for event in (started(), Identified(PORTS[0], "ESP32-C3", MACS[0], "v0.4", 40)):
        boards.apply(event)
    lines = lines_of(Frame(boards), 80, 30)
    assert "factory MAC" in lines[0]
    assert lines[1].count(MACS[0]) == 1
    mac = PlannedBlock("BLOCK3", 9, ("CUSTOM_MAC",), False, "", (("CUSTOM_MAC", "02:00:00:00:00:01"),))
    boards.apply(Planned(PORTS[0], (mac,), 1))
    lines = lines_of(Frame(boards), 80, 30)
    assert "CUSTOM_MAC" in lines[0]
    assert "02:00:00:00:00:01" in lines[1]


def test_a_chip_has_one_name_all_the_time() -> None:
    boards = BoardRows()
    boards.apply(Identified(PORTS[0], "ESP32-C3", MACS[0], "v0.4", 40))
    boards.apply(Finished(PORTS[0], REPORTS[0]))
    assert boards.all[PORTS[0]].chip == "ESP32-C3"


def test_rows_are_in_the_natural_order_of_their_slots() -> None:
    boards = BoardRows()
    slots = ("pci-usb-0:1.10:1.0", "pci-usb-0:1.9:1.0", "pci-usb-0:1.2:1.0")
    boards.apply(RunStarted("", PORTS[:3], slots))
    assert list(boards.all) == [PORTS[2], PORTS[1], PORTS[0]]


def test_the_time_does_not_count_while_people_are_asked() -> None:
    clock = Clock()
    boards = BoardRows(clock=clock)
    boards.apply(started())
    boards.apply(StepChanged(PORTS[0], "connecting"))
    clock.now += 2
    boards.asked()
    clock.now += 600
    assert boards.all[PORTS[0]].age(boards.clock()) == 2
    boards.answered()
    clock.now += 1
    assert boards.all[PORTS[0]].age(boards.clock()) == 3


@pytest.mark.parametrize(
    ("kind", "error", "result", "word"),
    [
        (
            "WrongChip",
            "this is ESP32-C3, and --chip esp32 was asked for",
            Result.REFUSED,
            "wrong chip: ESP32-C3",
        ),
        ("BoardSwapped", "another chip", Result.REFUSED, "other board!"),
        ("PartialBurn", "2 steps are missing", Result.INCOMPLETE, "half burned"),
        ("VerifyFailed", "other bits", Result.QUARANTINED, "quarantined"),
        ("Interrupted", "stopped by the operator", Result.STOPPED, "stopped"),
        ("", "", Result.PASS, "pass"),
        ("NoAnswer", "no answer", Result.NO_ANSWER, "no answer"),
    ],
)
def test_states_have_short_words(kind: str, error: str, result: Result, word: str) -> None:
    report = REPORTS[1]._replace(error_kind=kind, error=error, result=result)
    assert short_word(report) == word
    boards = BoardRows()
    boards.apply(started())
    boards.apply(Finished(PORTS[1], report))
    row = lines_of(Frame(boards), 80, 30)[2]
    assert word in row
    assert len(row) <= 80


def test_every_short_word_is_of_an_error_and_fits() -> None:
    for name, word in ERROR_WORDS.items():
        assert issubclass(getattr(errors, name), errors.ParburnError)
        assert len(word) <= 20
    assert RESULT_WORDS.keys() == set(Result)


def test_text_is_cut_between_words() -> None:
    boards = BoardRows()
    boards.apply(started())
    report = REPORTS[1]._replace(error=" ".join(f"word{n}" for n in range(60)), error_kind="BadValue")
    boards.apply(Finished(PORTS[1], report))
    row = lines_of(Frame(boards), 150, 30)[2]
    assert re.search(r" word\d+…$", row)


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
    assert all(re.search(rf"ttyUSB{number}\b +{number + 1} ▮ 1/3", text) for number in range(64))


@pytest.mark.parametrize(
    ("count", "width", "height", "cell"),
    [
        (64, 80, 24, "ttyUSB7   8 ▮ 1/3"),
        (128, 200, 24, "ttyUSB7     8 ▮ 1/3"),
        (128, 80, 24, "7     8 ▮"),
        (128, 40, 10, "▮▮▮▮▮▮▮▮"),
    ],
)
def test_the_grid_has_the_index_as_long_as_there_is_room(
    count: int, width: int, height: int, cell: str
) -> None:
    lines = lines_of(Frame(many(count)), width, height)
    assert cell in "\n".join(lines)
    assert len(lines) < height
    assert ("ttyUSB.. port index state" in lines[0]) is cell.startswith("7 ")


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
