"""The summary: who did not pass first, what many have in common once, the sum, the next command."""

from __future__ import annotations

from typing import Any

import pytest

from parburn.events import DeviceReport, Identified, Planned, Result, RunFinished
from parburn.ui.dry_run import dry_run_lines
from parburn.ui.names import Names
from parburn.ui.summary import summary_lines
from tests.ui.story import BLOCKS, FINISHED, PORTS, REPORTS, SLOTS, started


def named() -> Names:
    names = Names()
    names.apply(started())
    for report in REPORTS:
        names.apply(Identified(report.port, "ESP32-C3", report.mac, "v0.4", 40))
    return names


def alike(count: int, **changes: Any) -> list[DeviceReport]:
    """Boards with reports that differ in nothing but who they are."""
    return [
        DeviceReport(
            f"/dev/ttyUSB{number}", "", Result.FAILED, "esp32c3", f"7c:df:a1:00:00:{number:02x}", number + 9,
            error="burn.py:3: KeyError: nokey", error_kind="ScriptFailed",
            traceback_text="line 3\nKeyError: nokey", next_step="Mend the cause.",
            output=f"hello from {number}\n",
        )._replace(**changes)
        for number in range(count)
    ]  # fmt: skip


def test_failures_come_first_and_the_worst_before_the_others() -> None:
    lines = summary_lines(REPORTS, FINISHED, names=named())
    heads = [line for line in lines if line and not line.startswith(" ")]
    assert heads[0] == f"QUARANTINED: ttyUSB10 (0:1.4:1.0-port0) ESP32-C3 {REPORTS[3].mac} index 7"
    assert heads[1].startswith("INCOMPLETE: ttyUSB1 ")
    assert heads[2] == (
        "1 of 4 boards passed, 1 had passed before, 1 quarantined, 1 half burned, slowest 12 s"
    )


def test_a_failure_says_what_happened_what_was_burned_what_to_do_and_who() -> None:
    lines = summary_lines(REPORTS, FINISHED)
    at = next(n for n, line in enumerate(lines) if line.startswith("INCOMPLETE"))
    assert lines[at + 1 : at + 5] == [
        "  what happened: the port vanished",
        "  burned:        1 of 2 steps were burned and verified",
        "  what to do:    Run the same command again with this board.",
        "  who:           the operator (board, cable)",
    ]
    assert lines[4] == "  who:           nobody: put it into the red bin"


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


def test_what_a_script_printed_is_not_shown_where_somebody_else_said_no() -> None:
    refused = alike(1, result=Result.REFUSED, error_kind="NotConfirmed", error="not confirmed")
    assert "hello" not in "\n".join(summary_lines(refused, FINISHED))


def test_the_same_sentence_is_said_once_with_ports_and_indexes() -> None:
    lines = summary_lines(alike(64), FINISHED)
    assert lines[:9] == [
        "FAILED: 64 boards: ttyUSB0-63, index 9-72",
        "  what happened: burn.py:3: KeyError: nokey",
        "  burned:        nothing was burned",
        "  what to do:    Mend the cause.",
        "  who:           an engineer (script, ids)",
        "    line 3",
        "    KeyError: nokey",
        "  the script printed at ttyUSB0:",
        "    | hello from 0",
    ]
    assert len(lines) == 14


def test_what_differs_in_the_boards_own_names_only_is_the_same_sentence() -> None:
    boards = [
        one._replace(
            error=f"{one.port}: {one.mac}, index {one.index}, is quarantined", next_step=f"release {one.mac}",
            traceback_text="", output="",
        )
        for one in alike(8)
    ]  # fmt: skip
    boards.append(boards[0]._replace(port="/dev/ttyUSB9", error="something else", index=None))
    lines = summary_lines(boards, FINISHED)
    heads = [line for line in lines if line.startswith("FAILED")]
    assert heads == ["FAILED: 8 boards: ttyUSB0-7, index 9-16", f"FAILED: ttyUSB9 esp32c3 {boards[0].mac}"]
    assert lines[1] == "  what happened: (its MAC), index 9-16, is quarantined"
    assert lines[3] == "  what to do:    release (its MAC)"


def test_an_index_is_no_part_of_another_number() -> None:
    boards = [one._replace(index=1, error="burn.py:11: IndexError: 21") for one in alike(1)]
    assert "  what happened: burn.py:11: IndexError: 21" in summary_lines(boards, FINISHED)


@pytest.mark.parametrize("width", [40, 80, 200])
def test_text_folds_between_words(width: int) -> None:
    sentence = " ".join(f"word{n}" for n in range(60))
    lines = summary_lines(alike(1, error=sentence, output=""), FINISHED, width=width)
    told = [line for line in lines if "word" in line]
    assert all(len(line) <= width for line in told)
    assert " ".join(line.removeprefix("  what happened:").strip() for line in told) == sentence


def test_boards_that_had_passed_before_are_no_passes_of_this_run() -> None:
    before = alike(8, result=Result.ALREADY_PASS, error="", error_kind="")
    lines = summary_lines(before, RunFinished("", 8, 8, 0, 0))
    assert lines == ["0 new, 8 had passed before: are these the next boards?"]
    one_new = [before[0]._replace(result=Result.PASS), *before[1:]]
    assert summary_lines(one_new, RunFinished("", 8, 8, 0, 0)) == [
        "1 of 8 boards passed, 7 had passed before, slowest 0.0 s"
    ]


def test_a_stopped_run_is_one_line() -> None:
    stopped = alike(16, result=Result.STOPPED, error_kind="Interrupted", error="stopped by the operator")
    finished = RunFinished("", 16, 0, 16, 130)
    assert summary_lines(stopped, finished) == ["stopped; 16 boards untouched"]
    some = [stopped[0]._replace(result=Result.PASS), *stopped[1:]]
    assert summary_lines(some, finished) == ["stopped; 15 boards untouched, 1 passed"]


def test_a_dry_run_shows_the_plans_and_says_would_burn() -> None:
    reports = [one._replace(result=Result.WOULD_BURN) for one in REPORTS[:2]]
    lines = dry_run_lines(
        reports, {PORTS[0]: [Planned(PORTS[0], BLOCKS, 1), Planned(PORTS[0], BLOCKS[:1], 2)]}, named()
    )
    assert lines == [
        "Would be burned:",
        "1 board ESP32-C3: ttyUSB0",
        "    burn 1, BLOCK_KEY0: 131 bits, BLOCK_KEY0",
        "    burn 1, BLOCK0: 3 bits, KEY_PURPOSE_0, WR_DIS [locks, burned last]",
        "    burn 2, BLOCK_KEY0: 131 bits, BLOCK_KEY0",
        f"  ttyUSB0 index 5 {REPORTS[0].mac} CUSTOM_MAC=aa:bb",
        "1 board: 1 ESP32-C3, index 5, BLOCK_KEY0, LOCKS: KEY_PURPOSE_0, WR_DIS, no keys",
        "",
    ]
    told = summary_lines(reports, RunFinished("", 2, 2, 0, 0), dry_run=True)
    assert told == ["2 of 2 boards would burn, slowest 1.5 s; dry run: nothing was burned"]
    assert SLOTS[0] not in "\n".join(lines)


def test_to_go_on_is_said_where_running_again_helps() -> None:
    finished = FINISHED._replace(next_command="parburn --ports a")
    by_operator = alike(1, result=Result.NO_ANSWER, error_kind="NoAnswer")
    by_engineer = alike(1)
    by_nobody = alike(1, result=Result.QUARANTINED, error_kind="VerifyFailed")
    assert summary_lines(by_operator, finished)[-2:] == ["To go on, run:", "  parburn --ports a"]
    assert summary_lines([*by_operator, *by_engineer], finished)[-2] == "To go on, run:"
    for boards in (by_engineer, [*by_engineer, *by_nobody]):
        assert summary_lines(boards, finished)[-2] == "When an engineer has mended that, go on with:"
    assert "parburn --ports" not in "\n".join(summary_lines(by_nobody, finished))


def test_a_command_of_many_lines_is_named_and_not_shown_again_on_a_terminal() -> None:
    finished = FINISHED._replace(next_command="parburn --ports " + " ".join(PORTS * 20))
    boards = alike(1, result=Result.NO_ANSWER, error_kind="NoAnswer")
    assert summary_lines(boards, finished, width=80)[-1] == "To go on, run the same command again (arrow up)."
    assert summary_lines(boards, finished)[-1].endswith(PORTS[-1])
