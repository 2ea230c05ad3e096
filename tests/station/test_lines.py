"""A station as plain lines and as JSON lines: changes only, odd texts, readers who are slow or gone."""

from __future__ import annotations

import io
import json
import os
import threading
import time
from typing import Any

import pytest

from parburn.events import DeviceReport, Result
from parburn.station.json_lines import SCHEMA, StationJson
from parburn.station.picture import SocketPicture, StationPicture
from parburn.station.plain_lines import StationPlain
from parburn.station.states import SocketState
from parburn.station.view import BoundedLines, StationFacts, StationView, Totals, shows_tiles
from parburn.station.words import Word, Words
from parburn.ui.nonblocking_writer import NonblockingWriter
from tests.ui.story import captured

FACTS = StationFacts("rig7", "anna", "lamp.toml", "b1", "/var/ledger", "uuid", 7, ("A1", "A2"))
TOTALS = Totals(9, 7, 1, {"no-answer": 1, "verify": 0}, 3600.0, 0)
EMPTY = StationPicture("rig7", "anna", "lamp", "b1", ())
BURNING = SocketPicture(
    "A3", SocketState.BURNING, Word.LEAVE_IN, index=17, mac="7c:00:00:00:00:11", seconds=0.4
)
PASS = BURNING._replace(state=SocketState.VERDICT, word=Word.PASS, value="aa:cd:ef:00:00:11", seconds=0.94)
REPORT = DeviceReport("/dev/ttyUSB3", "A3", Result.FAILED, "esp32c3", PASS.mac, 17, error="a.py:3: no",
                      output="said\n", seconds=0.94123)  # fmt: skip


def with_(*sockets: SocketPicture, **more: Any) -> StationPicture:
    return EMPTY._replace(sockets=sockets, **more)


def plain(**options: Any) -> tuple[StationPlain, io.StringIO]:
    stream, writer = captured()
    return StationPlain(writer, clock=lambda: "12:01:07", **options), stream


def as_json() -> tuple[StationJson, io.StringIO]:
    stream, writer = captured()
    return StationJson(writer, clock=lambda: "2026-11-30T12:01:07.000+00:00"), stream


def objects(stream: io.StringIO) -> list[dict[str, Any]]:
    return [json.loads(line) for line in stream.getvalue().splitlines()]


# Plain lines ------------------------------------------------------------------------------------------


def test_a_verdict_is_one_line() -> None:
    view, stream = plain()
    view.update(with_(BURNING))
    view.update(with_(PASS))
    view.update(with_(PASS._replace(dimmed=True, seconds=1.0)))
    view.update(with_(SocketPicture("A3", SocketState.EMPTY)))
    assert stream.getvalue() == "12:01:07 A3 PASS 17 aa:cd:ef:00:00:11 0.9 s\n"


def test_the_same_verdict_on_the_next_board_is_told_again() -> None:
    view, stream = plain()
    for _ in range(3):
        view.update(with_(PASS))
        view.update(with_(SocketPicture("A3", SocketState.EMPTY)))
    assert stream.getvalue().count("PASS") == 3


def test_holds_locks_and_boards_that_had_passed_say_so() -> None:
    view, stream = plain()
    view.update(with_(BURNING._replace(state=SocketState.HOLD, detail="first article")))
    view.update(with_(PASS._replace(hollow=True)))
    view.update(with_(SocketPicture("A3", SocketState.LOCKED, Word.SOCKET_OFF, detail="3 in a row")))
    assert stream.getvalue().splitlines() == [
        "12:01:07 A3 LEAVE IN (hold) 17 7c:00:00:00:00:11 (first article)",
        "12:01:07 A3 PASS 17 aa:cd:ef:00:00:11 0.9 s (had passed before)",
        "12:01:07 A3 SOCKET OFF (locked) (3 in a row)",
    ]


def test_all_steps_are_told_if_asked_for() -> None:
    view, stream = plain(verbose=True)
    view.update(with_(SocketPicture("A3", SocketState.DETECTING)))
    view.update(with_(BURNING))
    view.update(with_(BURNING._replace(seconds=2.0)))
    assert [line.split()[1:4] for line in stream.getvalue().splitlines()] == [
        ["A3", "detecting"],
        ["A3", "LEAVE", "IN"],
    ]


def test_words_are_those_of_the_job() -> None:
    view, stream = plain(words=Words.of({"PASS": "GUT"}))
    view.update(with_(PASS))
    assert "A3 GUT 17" in stream.getvalue()


def test_halts_notes_amber_draining_and_the_end_are_lines() -> None:
    view, stream = plain()
    view.started(FACTS)
    view.note("A3", "noisy", "warning")
    view.note("", "hello")
    view.halt("no record is left")
    view.resumed("records added")
    for _ in range(2):
        view.update(with_(amber=("the clock is not set",), draining=True))
    view.ended(TOTALS)
    lines = [line.removeprefix("12:01:07 ") for line in stream.getvalue().splitlines()]
    assert lines == [
        "station rig7: job lamp.toml, batch b1, 2 sockets, operator anna, ledger /var/ledger",
        "A3 warning: noisy",
        "hello",
        "HALTED: no record is left",
        "resumed: records added",
        "warning: the clock is not set",
        "draining: no board is begun any more",
        "ended: 9 boards, 7 passed, 1 had passed before, 1 no-answer",
    ]


def test_odd_texts_make_one_line_that_steers_nothing() -> None:
    view, stream = plain()
    view.update(with_(PASS._replace(value="a\x1b[2Jb\nc", detail="x\r\ny\u202e", slot="A\n3")))
    view.note("A3", "one\ntwo")
    assert stream.getvalue().count("\n") == 2
    assert "\x1b" not in stream.getvalue()
    assert "\u202e" not in stream.getvalue()


# JSON lines -------------------------------------------------------------------------------------------


def test_the_first_object_has_the_schema_and_what_the_station_is() -> None:
    view, stream = as_json()
    view.started(FACTS)
    view.note("", "x")
    first, second = objects(stream)
    assert first == {
        "event": "station", "station": "rig7", "operator": "anna", "job": "lamp.toml", "batch": "b1",
        "ledger": "/var/ledger", "ledger_uuid": "uuid", "run": 7, "sockets": ["A1", "A2"], "simulated": False,
        "at": "2026-11-30T12:01:07.000+00:00", "schema": SCHEMA,
    }  # fmt: skip
    assert "schema" not in second


def test_a_socket_is_told_when_anything_but_its_seconds_has_changed() -> None:
    view, stream = as_json()
    for socket in (BURNING, BURNING._replace(seconds=0.7), PASS, PASS, PASS._replace(dimmed=True)):
        view.update(with_(socket, SocketPicture("A4", SocketState.EMPTY)))
    told = objects(stream)
    assert [(one["slot"], one["state"], one["word"], one["dimmed"]) for one in told] == [
        ("A3", "burning", "LEAVE IN", False),
        ("A4", "empty", None, False),
        ("A3", "verdict", "PASS", False),
        ("A3", "verdict", "PASS", True),
    ]
    assert told[2] | {"at": "", "schema": 1} == {
        "event": "socket", "slot": "A3", "state": "verdict", "word": "PASS", "value": "aa:cd:ef:00:00:11",
        "index": 17, "mac": "7c:00:00:00:00:11", "seconds": 0.94, "detail": "", "hollow": False,
        "dimmed": False, "amber": False, "at": "", "schema": 1,
    }  # fmt: skip


def test_a_report_has_the_fields_of_a_result_and_what_the_script_printed_before_it() -> None:
    view, stream = as_json()
    view.report("A3", REPORT)
    view.report("A3", REPORT._replace(result=Result.PASS))
    output, failed, passed = objects(stream)
    assert (output["event"], output["text"]) == ("output", "said\n")
    assert (failed["event"], failed["slot"], failed["result"], failed["seconds"]) == (
        "report",
        "A3",
        "failed",
        0.941,
    )
    assert passed["result"] == "pass"


def test_halt_resumed_note_and_end() -> None:
    view, stream = as_json()
    view.halt("w")
    view.resumed("r")
    view.note("A3", "n", "warning")
    view.ended(TOTALS)
    told = objects(stream)
    assert [one["event"] for one in told] == ["halt", "resumed", "note", "ended"]
    assert told[2]["level"] == "warning"
    assert (told[3]["passed"], told[3]["failures"]) == (7, {"no-answer": 1, "verify": 0})


def test_odd_texts_are_one_line_of_ascii() -> None:
    view, stream = as_json()
    view.update(with_(PASS._replace(value="\x1b\n\ud83d\x7fé", detail="\u202e")))
    (line,) = stream.getvalue().splitlines()
    assert line.isascii()
    assert line.isprintable()


# Readers ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", [StationPlain, StationJson])
def test_a_reader_who_is_gone_stops_nothing(kind: type[StationPlain] | type[StationJson]) -> None:
    read, write = os.pipe()
    os.close(read)
    with os.fdopen(write, "w") as stream:
        writer = NonblockingWriter(stream)
        view: StationView = kind(writer)
        for number in range(2000):
            view.update(with_(PASS._replace(index=number)))
        writer.close()
        assert writer.broken
        assert writer.waiting_bytes == 0


def test_a_reader_who_does_not_read_costs_neither_time_nor_memory_and_is_told_of_it() -> None:
    read, write = os.pipe()
    with os.fdopen(write, "w") as stream:
        writer = NonblockingWriter(stream)
        view = StationJson(writer, most_bytes=100_000)
        began = time.monotonic()
        for number in range(5000):
            view.update(with_(PASS._replace(index=number), SocketPicture("A4", SocketState.EMPTY)))
        assert time.monotonic() - began < 5
        assert writer.waiting_bytes < 110_000
        data: list[bytes] = []
        reader = threading.Thread(target=lambda: data.extend(iter(lambda: os.read(read, 65536), b"")))
        reader.start()
        writer.drain()
        view.update(with_(PASS._replace(index=4999)))  # nothing changed, but it was left out
        writer.close()
    reader.join(10)
    os.close(read)
    told = [json.loads(line) for line in b"".join(data).splitlines()]
    assert [one["event"] for one in told[-2:]] == ["left-out", "socket"]
    assert told[-1]["index"] == 4999
    left_out = sum(one["objects"] for one in told if one["event"] == "left-out")
    assert left_out + sum(one.get("slot") == "A3" for one in told) == 5000 + 1


def test_plain_lines_say_how_many_were_left_out() -> None:
    class Stopped(NonblockingWriter):
        stands = 0

        @property
        def waiting_bytes(self) -> int:
            return self.stands

    stream = io.StringIO()
    writer = Stopped(stream)
    view = StationPlain(writer, clock=lambda: "12:00:00", most_bytes=10)
    writer.stands = 11
    view.note("", "lost")
    view.note("", "lost too")
    writer.stands = 6  # it reads again, but not fast enough yet
    view.note("", "kept")
    writer.stands = 0
    view.note("", "last")
    assert [line[9:] for line in stream.getvalue().splitlines()] == [
        "kept",
        "2 lines left out: nobody read them",
        "last",
    ]


def test_what_waits_is_counted() -> None:
    read, write = os.pipe()
    with os.fdopen(write, "w") as stream:
        writer = NonblockingWriter(stream)
        lines = BoundedLines(writer, most_bytes=200_000)
        while lines.line("x" * 999):
            pass
        assert lines.left_out == 1
        assert 200_000 < writer.waiting_bytes <= 201_000
        os.close(read)
        writer.close()


def test_tiles_are_for_terminals_that_can_move_their_cursor(monkeypatch: pytest.MonkeyPatch) -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    for term, shown in (("xterm", True), ("dumb", False), ("", False)):
        monkeypatch.setenv("TERM", term)
        assert shows_tiles(Terminal()) is shown
        assert not shows_tiles(io.StringIO())
