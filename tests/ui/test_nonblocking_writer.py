"""The writer: no reader, slow or gone, holds up or harms who writes."""

from __future__ import annotations

import io
import os
import select
import subprocess
import sys
import time
from pathlib import Path

import pytest

from parburn.ui.nonblocking_writer import GATHER_S, NonblockingWriter


def test_all_text_arrives_in_order() -> None:
    read, write = os.pipe()
    with os.fdopen(write, "w") as stream:
        writer = NonblockingWriter(stream)
        for number in range(500):
            writer.line(f"line {number}")
        writer.close()
    with os.fdopen(read) as file:
        assert file.read().splitlines() == [f"line {number}" for number in range(500)]


def test_a_reader_that_does_not_read_does_not_hold_up_the_writer() -> None:
    read, write = os.pipe()
    with os.fdopen(write, "w") as stream:
        writer = NonblockingWriter(stream, close_deadline_s=0.2)
        begun = time.monotonic()
        for _ in range(200):
            writer.write("x" * 10_000)
        assert time.monotonic() - begun < 1
        assert writer.busy
        begun = time.monotonic()
        writer.close()  # gives up
        assert time.monotonic() - begun < 5
        os.close(read)
        assert writer._thread is not None
        writer._thread.join(5)  # it still has the descriptor's number, which another test may get


def test_a_slow_reader_gets_all_of_it() -> None:
    program = "import sys, time\ntime.sleep(0.5)\nsys.stdout.write(str(len(sys.stdin.read())))"
    with subprocess.Popen(
        [sys.executable, "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as reader:
        assert reader.stdin is not None
        writer = NonblockingWriter(reader.stdin)
        for _ in range(100):
            writer.write("x" * 10_000)
        writer.close()
        reader.stdin.close()
        assert reader.stdout is not None
        assert reader.stdout.read() == "1000000"


def test_a_broken_pipe_is_silent_and_stays_so() -> None:
    read, write = os.pipe()
    os.close(read)
    with os.fdopen(write, "w") as stream:
        writer = NonblockingWriter(stream)
        writer.line("nobody reads this")
        writer.drain()
        assert writer.broken
        writer.line("nor this")
        writer.close()
        stream.write("Python's own flush at the end does not stumble either")
        stream.flush()


def test_a_stream_without_descriptor_is_written_at_once() -> None:
    stream = io.StringIO()
    writer = NonblockingWriter(stream)
    writer.line("now")
    assert stream.getvalue() == "now\n"
    stream.close()
    writer.line("closed")
    assert writer.broken


def test_text_of_others_steers_nothing_and_ours_arrives() -> None:
    stream = io.StringIO()
    writer = NonblockingWriter(stream)
    assert writer.write("a\x1b[2Jb\u202e\n") == len("a\x1b[2Jb\u202e\n")
    writer.line("c\x9bd")
    writer.as_it_is.write("\x1b[1mbold\n")
    assert stream.getvalue() == "a[2Jb\ncd\n\x1b[1mbold\n"


def test_a_non_blocking_descriptor_loses_nothing() -> None:
    read, write = os.pipe()
    os.set_blocking(write, False)
    with os.fdopen(write, "w") as stream, os.fdopen(read, "rb") as file:
        writer = NonblockingWriter(stream)
        writer.write("y" * 300_000)
        got = 0
        while got < 300_000:
            got += len(os.read(file.fileno(), 65536))
        writer.close()
    assert got == 300_000


def test_characters_that_the_terminal_cannot_show_are_replaced(tmp_path: Path) -> None:
    path = tmp_path / "ascii.txt"
    with path.open("w", encoding="ascii") as stream:
        writer = NonblockingWriter(stream)
        writer.line("✓ done")
        writer.close()
    assert path.read_text() == "? done\n"


def test_lines_come_without_being_asked_for_also_after_a_pause() -> None:
    read, write = os.pipe()
    with os.fdopen(write, "w") as stream, os.fdopen(read, "rb", buffering=0) as file:
        writer = NonblockingWriter(stream)
        for number in range(5):
            writer.line(f"{number}a")
            writer.line(f"{number}b")
            got = b""
            while got.count(b"\n") < 2:
                assert select.select([file], [], [], 5)[0], "the thread was not woken"
                got += file.read(100)
            assert got == f"{number}a\n{number}b\n".encode()
            time.sleep(3 * GATHER_S)  # the thread waits by now
        writer.close()


def test_who_waits_for_the_reader_does_not_wait_for_more_lines(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("parburn.ui.nonblocking_writer.GATHER_S", 30.0)
    read, write = os.pipe()
    with os.fdopen(write, "w") as stream, os.fdopen(read, "rb") as file:
        writer = NonblockingWriter(stream)
        begun = time.monotonic()
        writer.line("one")
        writer.drain()
        writer.line("two")
        writer.close()
        assert time.monotonic() - begun < 10
        assert os.read(file.fileno(), 100) == b"one\ntwo\n"
