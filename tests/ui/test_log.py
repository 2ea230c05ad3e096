"""Plain lines: what a pipe, a file or --quiet gets to see."""

from __future__ import annotations

import re

from parburn.events import Note, StepChanged
from parburn.ui.log import PlainLog, time_of_day
from tests.ui.story import MACS, PORTS, captured, started, story, tell

PLACES = [f"0:1.{number}:1.0-port0" for number in (1, 2, 3, 4)]  # SLOTS, without what all have in common


def lines(*, show_output: bool = False, quiet: bool = False, verbose: bool = False) -> list[str]:
    stream, writer = captured()
    log = PlainLog(
        writer, show_output=show_output, quiet=quiet, verbose=verbose, clock=lambda: "06:40:01"
    )  # fmt: skip
    tell(log, story())
    return stream.getvalue().splitlines()


def test_one_line_at_the_start_one_a_verdict_and_notes_with_the_time_and_the_slot() -> None:
    assert lines() == [
        "06:40:01 this is a new ledger",
        "06:40:01 4 boards",
        f"06:40:01 {PLACES[1]}: warning: the line is noisy",
        f"06:40:01 {PLACES[0]}: pass index 5 CUSTOM_MAC aa:bb in 0.4 s",
        f"06:40:01 {PLACES[1]}: half burned index 6 in 1.5 s: the port vanished",
        f"06:40:01 {PLACES[2]}: already-pass index 2 in 0.1 s",
        f"06:40:01 {PLACES[3]}: quarantined index 7 in 12 s: BLOCK1 shows other bits [31mthan planned",
    ]
    assert re.fullmatch(r"\d\d:\d\d:\d\d", time_of_day())


def test_verbose_shows_the_steps() -> None:
    found = [line for line in lines(verbose=True) if f" {PLACES[1]}: " in line]
    assert [line.partition(": ")[2] for line in found] == [
        "connecting",
        f"esp32c3 revision v0.4, {MACS[1]}, 40 MHz",
        "index 6",
        "scripting",
        "plan of burn 1: BLOCK_KEY0: 131 bits, BLOCK_KEY0",
        "plan of burn 1: BLOCK0: 3 bits, KEY_PURPOSE_0, WR_DIS [locks, burned last]",
        "burning",
        "BLOCK_KEY0 burned and verified (1/2)",
        "warning: the line is noisy",
        "half burned index 6 in 1.5 s: the port vanished",
    ]


def test_the_run_itself_says_whether_it_is_one() -> None:
    log = PlainLog(captured()[1])
    assert log.lines_of(started(simulated=True)) == ["4 simulated boards: no real chip is burned"]
    assert log.lines_of(started(dry_run=True)) == ["4 boards: dry run, nothing is burned"]


def test_quiet_leaves_warnings_and_results() -> None:
    found = lines(quiet=True)
    assert len(found) == 1 + 1 + 4
    assert "warning: the line is noisy" in found[1]


def test_a_note_of_many_boards_is_said_once_and_the_others_are_named() -> None:
    stream, writer = captured()
    noted = [Note(port, f"{port}: its blocks were read wrong at first", "warning") for port in PORTS]
    tell(
        PlainLog(writer, clock=lambda: "t"),
        [started(), *noted, Note("", "of the run"), Note("", "of the run")],
    )
    assert stream.getvalue().splitlines()[1:] == [
        f"t {PLACES[0]}: warning: its blocks were read wrong at first",
        "t of the run",
        "t of the run",
        "t warning: also at ttyUSB1-2, ttyUSB10: its blocks were read wrong at first",
    ]


def test_output_of_scripts_comes_with_show_output_and_without_control_characters() -> None:
    assert not any("by the script" in line for line in lines())
    assert f"{PORTS[0]}: | printed [2Jby the script" in lines(show_output=True)
    assert "\x1b" not in "".join(lines(show_output=True))


def test_a_step_has_its_detail() -> None:
    assert PlainLog(captured()[1], verbose=True).lines_of(StepChanged("p", "connecting", "attempt 2")) == [
        "connecting attempt 2"
    ]
