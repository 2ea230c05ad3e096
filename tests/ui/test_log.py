"""Plain lines: what a pipe, a file or --quiet gets to see."""

from __future__ import annotations

from parburn.events import StepChanged
from parburn.ui.log import PlainLog
from tests.ui.story import MACS, PORTS, captured, started, story, tell


def lines(**options: bool) -> list[str]:
    stream, writer = captured()
    tell(PlainLog(writer, **options), story())
    return stream.getvalue().splitlines()


def test_each_line_of_a_board_begins_with_its_port() -> None:
    found = [line for line in lines() if line.startswith(f"{PORTS[1]}: ")]
    assert found == [
        f"{PORTS[1]}: connecting",
        f"{PORTS[1]}: esp32c3 revision v0.4, {MACS[1]}, 40 MHz",
        f"{PORTS[1]}: index 6",
        f"{PORTS[1]}: scripting",
        f"{PORTS[1]}: plan of burn 1: BLOCK_KEY0: 131 bits  BLOCK_KEY0",
        f"{PORTS[1]}: plan of burn 1: BLOCK0: 3 bits  KEY_PURPOSE_0, WR_DIS  [locks, burned last]",
        f"{PORTS[1]}: burning",
        f"{PORTS[1]}: BLOCK_KEY0 burned and verified (1/2)",
        f"{PORTS[1]}: warning: the line is noisy",
        f"{PORTS[1]}: incomplete index 6 in 1.5 s: the port vanished",
    ]


def test_the_run_itself_comes_first() -> None:
    assert lines()[:2] == ["this is a new ledger", "4 boards"]
    log = PlainLog(captured()[1])
    assert log.lines_of(started(simulated=True)) == ["4 simulated boards: no real chip is burned"]
    assert log.lines_of(started(dry_run=True)) == ["4 boards: dry run, nothing is burned"]


def test_quiet_leaves_warnings_and_results() -> None:
    found = lines(quiet=True)
    assert len(found) == 1 + 1 + 4
    assert found[1] == f"{PORTS[1]}: warning: the line is noisy"
    assert found[2] == f"{PORTS[0]}: pass index 5 in 0.4 s"


def test_output_of_scripts_comes_with_show_output_and_without_control_characters() -> None:
    assert not any("by the script" in line for line in lines())
    assert f"{PORTS[0]}: | printed [2Jby the script" in lines(show_output=True)
    assert "\x1b" not in "".join(lines(show_output=True))


def test_a_step_has_its_detail() -> None:
    assert PlainLog(captured()[1]).lines_of(StepChanged("p", "connecting", "attempt 2")) == [
        "connecting attempt 2"
    ]
