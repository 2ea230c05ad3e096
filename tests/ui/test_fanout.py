"""Observers cannot harm a run: one that raises is named once and left out."""

from __future__ import annotations

from parburn.events import Event, Note
from parburn.ui.fanout import Fanout, Observer


class Good:
    def __init__(self) -> None:
        self.seen: list[Event] = []
        self.closed = 0

    def emit(self, event: Event) -> None:
        self.seen.append(event)

    def close(self) -> None:
        self.closed += 1


class Bad(Good):
    def emit(self, event: Event) -> None:
        super().emit(event)
        raise RuntimeError("broken view")


class BadAtTheEnd(Good):
    def close(self) -> None:
        raise RuntimeError("broken end")


def test_a_failing_observer_is_told_of_once_and_left_out() -> None:
    bad, good = Bad(), Good()
    told: list[tuple[Observer, str]] = []
    fanout = Fanout([bad, good], on_failure=lambda observer, error: told.append((observer, str(error))))
    for text in "abc":
        fanout.emit(Note("", text))
    assert told == [(bad, "broken view")]
    assert len(bad.seen) == 1
    assert len(good.seen) == 3
    assert fanout.observers == (good,)


def test_not_even_a_failing_report_of_a_failure_raises() -> None:
    def fail(observer: Observer, error: Exception) -> None:
        raise OSError("stderr is gone, too")

    good = Good()
    fanout = Fanout([Bad(), good], on_failure=fail)
    fanout.emit(Note("", "x"))
    assert len(good.seen) == 1


def test_closing_reaches_all_once() -> None:
    first, good = BadAtTheEnd(), Good()
    told: list[str] = []
    fanout = Fanout([first, good], on_failure=lambda observer, error: told.append(str(error)))
    fanout.close()
    fanout.close()
    assert told == ["broken end"]
    assert good.closed == 1
