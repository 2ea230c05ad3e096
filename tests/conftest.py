"""What all tests share: tests that measure time run alone, also under pytest-xdist; no loop is blocked.

And fixtures for those that ask: an alarm against hangs, and the files that a run of an operator needs.
CI says how many tests may be skipped; another number is a failure.
"""

from __future__ import annotations

import fcntl
import json
import os
import signal
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from itertools import islice
from pathlib import Path

import pytest

from parburn.transport.lock_file import LOCK_ENV
from tests.loop_watch import watcher, watching
from tests.provisioning import KEY, PROVISION, mac, script

WORKERS_A_CORE = 2
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


@pytest.fixture(autouse=True, scope="session")
def _lines_of_its_own(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Tests beside each other, and a line that works on this machine, do not hold each other up."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(LOCK_ENV, str(tmp_path_factory.getbasetemp() / "lines.lock"))
        yield


def pytest_configure(config: pytest.Config) -> None:
    """Let a worker that has nothing left take over what others have not begun."""
    if getattr(config.option, "dist", "") == "load":
        config.option.dist = "worksteal"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with what takes long, a share of it for each worker; end with what must be alone.

    One that waits to be alone lets all workers stand still until the longest test has ended.
    """
    workers = int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1"))
    alone = [one for one in items if one.get_closest_marker("alone") is not None]
    long = [one for one in items if one.get_closest_marker("long") is not None and one not in alone]
    apart = {*alone, *long}
    others = [one for one in items if one not in apart]
    rest = iter([*others, *alone])
    left, items[:] = len(items), []
    for worker in range(workers):  # as xdist deals them out: each worker a piece of the list
        share = long[worker::workers]
        size = max(left // (workers - worker), len(share))
        left -= size
        items += [*share, *islice(rest, size - len(share))]
    items += rest


def pytest_xdist_auto_num_workers() -> int:
    """Let `-n auto` mean two workers a core: most tests wait for other processes half of their time."""
    return WORKERS_A_CORE * len(os.sched_getaffinity(0))


@pytest.hookimpl(tryfirst=True)
def pytest_sessionfinish(session: pytest.Session) -> None:
    """Fail a run in which another number of tests was skipped than `PARBURN_SKIPPED` says."""
    expected = os.environ.get("PARBURN_SKIPPED")
    reporter = session.config.pluginmanager.get_plugin("terminalreporter")
    if expected is None or reporter is None or hasattr(session.config, "workerinput"):
        return
    skipped = len(reporter.stats.get("skipped", ()))
    if skipped != int(expected):
        reporter.write_line(
            f"\n{skipped} tests were skipped, PARBURN_SKIPPED={expected} allows no other number"
        )
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


_WATCHER = watcher()


@pytest.fixture(autouse=True)
def _loop_is_never_blocked(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[None]:
    """A test in which our code blocks a loop fails. Not where time is measured, or the module says no."""
    alone = request.node.get_closest_marker("alone") is not None
    if alone or hasattr(request.module, "LOOP_IS_NOT_WATCHED"):
        _WATCHER.deactivate()
        yield
        return
    with watching(_WATCHER, tmp_path_factory.getbasetemp() / "blocked"):
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


@pytest.fixture
def state(tmp_path: Path) -> Path:
    """A ledger place of the test's own."""
    return tmp_path / "state"


@pytest.fixture
def key(tmp_path: Path) -> Path:
    """A file with the key that `provision` burns."""
    path = tmp_path / "key.bin"
    path.write_bytes(KEY)
    return path


@pytest.fixture
def ids(tmp_path: Path) -> Path:
    """A config file with a custom MAC for each index."""
    path = tmp_path / "ids.json"
    path.write_text(json.dumps({str(n): {"mac": mac(n)} for n in range(1, 200)}))
    return path


@pytest.fixture
def provision(tmp_path: Path, key: Path) -> Path:
    """A script that burns the custom MAC, a key where there is a key block, and one bit of BLOCK0."""
    return script(tmp_path, "provision", PROVISION.replace("{key}", str(key)))
