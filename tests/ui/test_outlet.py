"""The outlet: no reader, slow or gone, holds up or harms who writes."""

from __future__ import annotations

import io
import os
import select
import subprocess
import sys
import time
from pathlib import Path

import pytest

from parburn.ui.outlet import GATHER_S, Outlet


def test_all_text_arrives_in_order() -> None:
    read, write = os.pipe()
    with os.fdopen(write, "w") as stream:
        outlet = Outlet(stream)
        for number in range(500):
            outlet.line(f"line {number}")
        outlet.close()
    with os.fdopen(read) as file:
        assert file.read().splitlines() == [f"line {number}" for number in range(500)]


def test_a_reader_that_does_not_read_does_not_hold_up_the_writer() -> None:
    read, write = os.pipe()
    with os.fdopen(write, "w") as stream:
        outlet = Outlet(stream, close_deadline_s=0.2)
        begun = time.monotonic()
        for _ in range(200):
            outlet.write("x" * 10_000)
        assert time.monotonic() - begun < 1
        assert outlet.busy
        begun = time.monotonic()
        outlet.close()  # gives up
        assert time.monotonic() - begun < 5
        os.close(read)
        assert outlet._thread is not None
        outlet._thread.join(5)  # it still has the descriptor's number, which another test may get


def test_a_slow_reader_gets_all_of_it() -> None:
    program = "import sys, time\ntime.sleep(0.5)\nsys.stdout.write(str(len(sys.stdin.read())))"
    with subprocess.Popen(
        [sys.executable, "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as reader:
        assert reader.stdin is not None
        outlet = Outlet(reader.stdin)
        for _ in range(100):
            outlet.write("x" * 10_000)
        outlet.close()
        reader.stdin.close()
        assert reader.stdout is not None
        assert reader.stdout.read() == "1000000"


def test_a_broken_pipe_is_silent_and_stays_so() -> None:
    read, write = os.pipe()
    os.close(read)
    with os.fdopen(write, "w") as stream:
        outlet = Outlet(stream)
        outlet.line("nobody reads this")
        outlet.drain()
        assert outlet.broken
        outlet.line("nor this")
        outlet.close()
        stream.write("Python's own flush at the end does not stumble either")
        stream.flush()


def test_a_stream_without_descriptor_is_written_at_once() -> None:
    stream = io.StringIO()
    outlet = Outlet(stream)
    outlet.line("now")
    assert stream.getvalue() == "now\n"
    stream.close()
    outlet.line("closed")
    assert outlet.broken


def test_a_non_blocking_descriptor_loses_nothing() -> None:
    read, write = os.pipe()
    os.set_blocking(write, False)
    with os.fdopen(write, "w") as stream, os.fdopen(read, "rb") as file:
        outlet = Outlet(stream)
        outlet.write("y" * 300_000)
        got = 0
        while got < 300_000:
            got += len(os.read(file.fileno(), 65536))
        outlet.close()
    assert got == 300_000


def test_characters_that_the_terminal_cannot_show_are_replaced(tmp_path: Path) -> None:
    path = tmp_path / "ascii.txt"
    with path.open("w", encoding="ascii") as stream:
        outlet = Outlet(stream)
        outlet.line("✓ done")
        outlet.close()
    assert path.read_text() == "? done\n"


def test_lines_come_without_being_asked_for_also_after_a_pause() -> None:
    read, write = os.pipe()
    with os.fdopen(write, "w") as stream, os.fdopen(read, "rb", buffering=0) as file:
        outlet = Outlet(stream)
        for number in range(5):
            outlet.line(f"{number}a")
            outlet.line(f"{number}b")
            got = b""
            while got.count(b"\n") < 2:
                assert select.select([file], [], [], 5)[0], "the thread was not woken"
                got += file.read(100)
            assert got == f"{number}a\n{number}b\n".encode()
            time.sleep(3 * GATHER_S)  # the thread waits by now
        outlet.close()


def test_who_waits_for_the_reader_does_not_wait_for_more_lines(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("parburn.ui.outlet.GATHER_S", 30.0)
    read, write = os.pipe()
    with os.fdopen(write, "w") as stream, os.fdopen(read, "rb") as file:
        outlet = Outlet(stream)
        begun = time.monotonic()
        outlet.line("one")
        outlet.drain()
        outlet.line("two")
        outlet.close()
        assert time.monotonic() - begun < 10
        assert os.read(file.fileno(), 100) == b"one\ntwo\n"
