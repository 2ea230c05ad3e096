"""The lines of `--json`: keys to the letter, a schema first, the summary last."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from parburn.events import Identified, LedgerOpened, Note, Planned, PlannedBlock
from parburn.ui.json_lines import OF_A_BOARD, OF_ALL, SCHEMA, JsonLines
from tests.ui.story import FINISHED, MACS, PORTS, REPORTS, captured, story, tell


def objects(**options: bool) -> list[dict[str, Any]]:
    stream, writer = captured()
    observer = JsonLines(writer, station="bench 2", **options)  # type: ignore[arg-type]  # only flags
    tell(observer, story())
    return [json.loads(line) for line in stream.getvalue().splitlines()]


def own(value: dict[str, Any]) -> dict[str, Any]:
    """An object without what every object says."""
    return {name: one for name, one in value.items() if name not in {*OF_ALL, *OF_A_BOARD, "schema"}}


def of(found: list[dict[str, Any]], event: str) -> list[dict[str, Any]]:
    return [one for one in found if one["event"] == event]


def test_only_the_first_object_carries_the_schema() -> None:
    found = objects()
    assert found[0]["schema"] == SCHEMA
    assert not any("schema" in one for one in found[1:])
    assert all("event" in one for one in found)
    assert all("port" in one for one in found[:-1])


def test_result_lines_have_the_named_keys_and_no_others() -> None:
    whole = of(objects(), "result")
    assert [list(one)[-len(OF_ALL + OF_A_BOARD) :] for one in whole] == [[*OF_ALL, *OF_A_BOARD]] * 4
    found = [own(one) for one in whole]
    assert [list(one) for one in found] == [
        ["event", "port", "slot", "chip", "mac", "index", "result", "error", "hint", "seconds", "started",
         "ended", "values", "state"]
    ] * len(REPORTS)  # fmt: skip
    assert [one["result"] for one in found] == ["pass", "incomplete", "already-pass", "quarantined"]
    assert found[0] == {
        "event": "result", "port": PORTS[0], "slot": REPORTS[0].slot, "chip": "esp32c3",
        "mac": REPORTS[0].mac, "index": 5, "result": "pass", "error": "", "hint": "", "seconds": 0.412,
        "started": "", "ended": "", "values": {}, "state": "",
    }  # fmt: skip
    assert found[1]["hint"] == REPORTS[1].next_step != ""


def test_the_summary_is_last() -> None:
    found = objects()
    assert own(found[-1]) == {"event": "summary", "boards": 4, "passed": 2, "failed": 2, "exit": 5}
    (following,) = of(found, "next")
    assert own(following) == {"event": "next", "port": "", "command": FINISHED.next_command}


def test_every_step_of_a_board_is_an_object() -> None:
    mine = [one for one in objects() if one.get("port") == PORTS[0]]
    assert [one["event"] for one in mine] == [
        "step", "identified", "claimed", "step", "planned", "step", "burned", "result",
    ]  # fmt: skip
    assert mine[4]["blocks"][1] == {
        "block": "BLOCK0", "bits": 3, "fields": ["KEY_PURPOSE_0", "WR_DIS"], "locks": True, "ends_link": "",
    }  # fmt: skip


def test_output_comes_with_show_output_or_with_a_failure() -> None:
    assert [one["port"] for one in of(objects(), "output")] == [PORTS[1]]
    assert [one["port"] for one in of(objects(show_output=True), "output")] == list(PORTS)


def test_quiet_leaves_warnings_output_results_and_the_summary() -> None:
    found = objects(quiet=True)
    assert {one["event"] for one in found} == {"start", "note", "output", "result", "summary"}
    assert [one["text"] for one in of(found, "note")] == ["the line is noisy"]
    assert found[0]["schema"] == SCHEMA


def test_an_error_of_the_whole_run_is_an_object() -> None:
    stream, writer = captured()
    JsonLines(writer).error("there is no port", "look")
    value = json.loads(stream.getvalue())
    assert value["schema"] == SCHEMA
    assert own(value) == {"event": "error", "port": "", "error": "there is no port", "hint": "look"}


def test_every_object_says_when_which_run_where_and_by_whom() -> None:
    before = datetime.now(UTC)
    stream, writer = captured()
    observer = JsonLines(writer, station="bench 2", operator="Ana")
    observer.emit(Note("", "before the ledger is open"))
    observer.emit(LedgerOpened("", 7, "demo", "/l.sqlite3", "ab" * 16, "bench 3", "Eva"))
    tell(
        observer,
        [*story(), Identified(PORTS[0], "ESP32-C3", MACS[0], "v1.1", 40, "c0ffee"), Note(PORTS[0], "x")],
    )
    first, *found = [json.loads(line) for line in stream.getvalue().splitlines()]
    assert [first[name] for name in OF_ALL[1:]] == [None, "", "", "", "bench 2", "Ana"]
    for value in found:
        assert [value[name] for name in OF_ALL[1:]] == [7, "demo", "/l.sqlite3", "ab" * 16, "bench 3", "Eva"]
        at = datetime.fromisoformat(value["time"])
        assert before - timedelta(milliseconds=1) <= at <= datetime.now(UTC)
        assert at.utcoffset() == timedelta(0)
        assert all((name in value) == bool(value.get("port")) for name in OF_A_BOARD)
    assert [found[-1][name] for name in OF_A_BOARD] == ["c0ffee", "v1.1"]


@pytest.mark.parametrize("text", ["odd \udcff byte", "\ud83d", "Größe 🙂"])
def test_no_reader_stumbles_over_half_a_character(text: str) -> None:
    stream, writer = captured()
    JsonLines(writer).emit(Planned(text, (PlannedBlock(text, 1, (text,), locks=False),), 1))
    (line,) = stream.getvalue().splitlines()
    assert json.loads(line)["blocks"][0]["fields"][0].encode("utf-8")
    assert json.loads(line)["port"] == text.encode("utf-8", "backslashreplace").decode()


def test_lines_are_ascii_so_that_no_control_character_reaches_a_terminal() -> None:
    stream, writer = captured()
    tell(JsonLines(writer, show_output=True), story())
    assert stream.getvalue().isascii()
    assert "\x1b" not in stream.getvalue()
