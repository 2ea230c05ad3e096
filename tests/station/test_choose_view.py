"""Which view a station gets, and that one which fails gives way to plain lines and harms nothing."""

from __future__ import annotations

import asyncio
import io
import json
import re
from typing import Any

import pytest

from parburn.station import choose_view
from parburn.station.choose_view import GuardedView, keep_drawing, view_for
from parburn.station.picture import StationPicture
from parburn.station.plain_lines import StationPlain
from parburn.ui.nonblocking_writer import NonblockingWriter
from tests.station.screens import station_of
from tests.station.test_lines import FACTS, REPORT, TOTALS
from tests.ui.story import captured

TIME = r"\d\d:\d\d:\d\d station rig7"


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def tell_all(view: GuardedView) -> None:
    view.started(FACTS)
    view.update(station_of(8))
    view.draw()
    view.report("A1", REPORT)
    view.note("A1", "noisy", "warning")
    view.halt("why")
    view.resumed("because")
    view.ended(TOTALS)
    view.close()


@pytest.mark.parametrize(
    ("options", "terminal", "begins"),
    [
        ({}, True, r"\x1b\[\?1049h"),
        ({"plain": True}, True, TIME),
        ({}, False, TIME),
        ({"json": True}, True, r'\{"event": "station"'),
        ({"json": True}, False, r'\{"event": "station"'),
    ],
)
def test_the_view_is_that_of_the_stream_and_of_what_was_asked_for(
    options: dict[str, Any], terminal: bool, begins: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TERM", "xterm")
    stream = Terminal() if terminal else io.StringIO()
    tell_all(view_for(stream, NonblockingWriter(stream), **options))
    assert re.match(begins, stream.getvalue())
    if options.get("json"):
        assert [json.loads(line)["event"] for line in stream.getvalue().splitlines()][-2:] == [
            "resumed",
            "ended",
        ]


class Broken(StationPlain):
    def update(self, picture: StationPicture) -> None:
        raise ZeroDivisionError("in a tile")


def test_a_view_that_fails_gives_way_and_nothing_is_lost() -> None:
    stream, writer = captured()
    view = GuardedView(Broken(writer), lambda: StationPlain(writer))
    tell_all(view)
    text = stream.getvalue()
    assert text.count("Broken failed and is left out, the station goes on: ZeroDivisionError: in a tile") == 1
    assert "A1 PASS 17" in text
    assert "ended: 9 boards" in text


def test_a_view_whose_place_taker_fails_too_raises_nothing() -> None:
    _, writer = captured()
    tell_all(GuardedView(Broken(writer), lambda: Broken(writer)))


def test_it_is_drawn_until_it_is_cancelled(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(choose_view, "LOOK_S", 0.01)
    monkeypatch.setenv("TERM", "xterm")
    stream = Terminal()
    view = view_for(stream, NonblockingWriter(stream))

    async def run() -> None:
        task = asyncio.create_task(keep_drawing(view))
        view.update(station_of(8))
        await asyncio.sleep(0.1)
        assert "A6!" in stream.getvalue()
        task.cancel()
        await asyncio.wait({task})

    asyncio.run(run())
