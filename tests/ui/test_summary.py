"""The summary: failures first, each with what happened, what was burned, and what to do."""

from __future__ import annotations

from parburn.events import Planned, Result, RunFinished
from parburn.ui.summary import dry_run_lines, summary_lines
from tests.ui.story import BLOCKS, FINISHED, PORTS, REPORTS, SLOTS


def test_failures_come_first_and_the_worst_before_the_others() -> None:
    lines = summary_lines(REPORTS, FINISHED)
    heads = [line for line in lines if line and not line.startswith(" ")]
    assert heads[0] == f"QUARANTINED: {PORTS[3]} ({SLOTS[3]}) esp32c3 {REPORTS[3].mac} index 7"
    assert heads[1].startswith(f"INCOMPLETE: {PORTS[1]} ")
    assert heads[2] == "2 of 4 boards passed (1 had passed before), 1 quarantined, 1 incomplete, slowest 12 s"


def test_a_failure_says_what_happened_what_was_burned_and_what_to_do() -> None:
    lines = summary_lines(REPORTS, FINISHED)
    at = next(n for n, line in enumerate(lines) if line.startswith("INCOMPLETE"))
    assert lines[at + 1 : at + 4] == [
        "  what happened: the port vanished",
        "  burned:        1 of 2 steps were burned and verified",
        "  what to do:    Run the same command again with this board.",
    ]


def test_text_of_a_failure_cannot_steer_the_terminal() -> None:
    text = "\n".join(summary_lines(REPORTS, FINISHED))
    assert "\x1b" not in text
    assert "  what happened: BLOCK1 shows other bits [31mthan planned" in text


def test_the_end_of_a_failed_scripts_output_is_shown() -> None:
    text = "\n".join(summary_lines(REPORTS, FINISHED))
    assert "(last 20 of 30 lines)" in text
    assert "    | line 29" in text
    assert "    | line 9\n" not in text
    assert "hello from 5" not in text
    assert "    | line 9\n" in "\n".join(summary_lines(REPORTS, FINISHED, debug=True))
    assert "line 29" not in "\n".join(summary_lines(REPORTS, FINISHED, output_was_shown=True))


def test_the_command_to_go_on_is_the_last_line_and_only_after_a_failure() -> None:
    assert summary_lines(REPORTS, FINISHED)[-1] == f"  {FINISHED.next_command}"
    passed = [report._replace(result=REPORTS[0].result) for report in REPORTS]
    lines = summary_lines(passed, RunFinished("", 4, 4, 0, 0))
    assert lines == ["4 of 4 boards passed, slowest 12 s"]


def test_a_dry_run_shows_each_boards_plan() -> None:
    lines = dry_run_lines(
        REPORTS[:2], {PORTS[0]: [Planned(PORTS[0], BLOCKS, 1), Planned(PORTS[0], BLOCKS[:1], 2)]}
    )
    assert lines == [
        f"Would be burned into {PORTS[0]} ({SLOTS[0]}) esp32c3 {REPORTS[0].mac} index 5:",
        "  burn 1",
        "  BLOCK_KEY0: 131 bits  BLOCK_KEY0",
        "  BLOCK0: 3 bits  KEY_PURPOSE_0, WR_DIS  [locks, burned last]",
        "  burn 2",
        "  BLOCK_KEY0: 131 bits  BLOCK_KEY0",
        "",
    ]
    assert summary_lines(REPORTS, FINISHED, dry_run=True)[-4].endswith("dry run: nothing was burned")


def test_a_command_that_was_refused_is_not_said_to_go_on_as_it_is() -> None:
    finished = FINISHED._replace(next_command="parburn --ports a")
    refused = REPORTS[1]._replace(result=Result.REFUSED, next_step="Add --batch spring.")
    assert summary_lines([refused], finished)[-2:] == [
        "When that is mended, go on with:",
        "  parburn --ports a",
    ]
    assert summary_lines([REPORTS[1]], finished)[-2] == "To go on, run:"
