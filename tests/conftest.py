"""What all tests share: tests that measure time run alone, also under pytest-xdist.

And a fixture for those that ask: an alarm against hangs.
"""

from __future__ import annotations

import fcntl
import signal
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

HANG_S = 120  # of real time, for all examples of a property


@contextmanager
def _locked(path: Path, kind: int) -> Iterator[None]:
    with path.open("a") as file:
        fcntl.flock(file, kind)
        yield


@pytest.fixture(autouse=True)
def _room(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Let a test marked `alone` have the machine to itself: it waits for the others, and they for it.

    All tests pass a turnstile into the room; one that wants to be alone keeps the turnstile shut behind it.
    """
    if not hasattr(request.config, "workerinput"):
        yield
        return
    folder = tmp_path_factory.getbasetemp().parent
    turnstile, room = folder / "turnstile.lock", folder / "room.lock"
    with ExitStack() as stay:
        with ExitStack() as passing:
            alone = request.node.get_closest_marker("alone") is not None
            (stay if alone else passing).enter_context(_locked(turnstile, fcntl.LOCK_EX))
            stay.enter_context(_locked(room, fcntl.LOCK_EX if alone else fcntl.LOCK_SH))
        yield


@pytest.fixture
def no_hang() -> Iterator[None]:
    """A property that hangs fails."""

    def hung(*_: object) -> None:
        raise AssertionError(f"no end after {HANG_S} s")

    before = signal.signal(signal.SIGALRM, hung)
    signal.alarm(HANG_S)
    yield
    signal.alarm(0)
    signal.signal(signal.SIGALRM, before)
