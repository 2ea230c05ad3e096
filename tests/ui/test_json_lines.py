"""The lines of `--json`: keys to the letter, a schema first, the summary last."""

from __future__ import annotations

import json
from typing import Any

from parburn.ui.json_lines import SCHEMA, JsonLines
from tests.ui.story import FINISHED, PORTS, REPORTS, captured, story, tell


def objects(**options: bool) -> list[dict[str, Any]]:
    stream, writer = captured()
    tell(JsonLines(writer, **options), story())
    return [json.loads(line) for line in stream.getvalue().splitlines()]


def of(found: list[dict[str, Any]], event: str) -> list[dict[str, Any]]:
    return [one for one in found if one["event"] == event]


def test_only_the_first_object_carries_the_schema() -> None:
    found = objects()
    assert found[0]["schema"] == SCHEMA
    assert not any("schema" in one for one in found[1:])
    assert all("event" in one for one in found)
    assert all("port" in one for one in found[:-1])


def test_result_lines_have_the_named_keys_and_no_others() -> None:
    found = of(objects(), "result")
    assert [list(one) for one in found] == [
        ["event", "port", "slot", "chip", "mac", "index", "result", "error", "hint", "seconds"]
    ] * len(REPORTS)
    assert [one["result"] for one in found] == ["pass", "incomplete", "already-pass", "quarantined"]
    assert found[0] == {
        "event": "result", "port": PORTS[0], "slot": REPORTS[0].slot, "chip": "esp32c3",
        "mac": REPORTS[0].mac, "index": 5, "result": "pass", "error": "", "hint": "", "seconds": 0.412,
    }  # fmt: skip
    assert found[1]["hint"] == REPORTS[1].next_step != ""


def test_the_summary_is_last() -> None:
    found = objects()
    assert found[-1] == {"event": "summary", "boards": 4, "passed": 2, "failed": 2, "exit": 5}
    assert of(found, "next") == [{"event": "next", "port": "", "command": FINISHED.next_command}]


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
    assert json.loads(stream.getvalue()) == {
        "event": "error", "port": "", "error": "there is no port", "hint": "look", "schema": SCHEMA,
    }  # fmt: skip


def test_lines_are_ascii_so_that_no_control_character_reaches_a_terminal() -> None:
    stream, writer = captured()
    tell(JsonLines(writer, show_output=True), story())
    assert stream.getvalue().isascii()
    assert "\x1b" not in stream.getvalue()
