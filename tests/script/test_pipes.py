"""Pipes in the place of files: all boards of a run get the same, and nobody waits for ever."""

from __future__ import annotations

import contextlib
import os
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from parburn.errors import EfuseError
from parburn.script.inputs import READER, RunInputs
from parburn.script.pipes import MOST_BYTES, Pipes
from tests.script.board import command, make_board, run

KEY = bytes(range(32))


def fifo(path: Path, content: bytes = KEY) -> Path:
    """A FIFO into which somebody writes once."""
    os.mkfifo(path)

    def write() -> None:
        with contextlib.suppress(BrokenPipeError):  # who reads may have had enough
            path.write_bytes(content)

    threading.Thread(target=write, daemon=True).start()
    return path


def together(count: int, function: Callable[[], Any]) -> list[Any]:
    """What as many threads at once get, or the error."""
    found: list[Any] = []

    def one() -> None:
        try:
            found.append(function())
        except Exception as error:
            found.append(error)

    threads = [threading.Thread(target=one) for _ in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    return found


@pytest.mark.parametrize("content", [KEY, b"", bytes(100_000)])
def test_all_boards_get_what_the_pipe_gives_once(content: bytes, tmp_path: Path) -> None:
    path, pipes = fifo(tmp_path / "key", content), Pipes()
    assert together(8, lambda: pipes.content(path)) == [content] * 8
    assert pipes.content(path) == content  # in a second reading of the chip, too


def test_a_pipe_of_the_shell_is_read_once() -> None:
    reading, writing = os.pipe()
    os.write(writing, KEY)
    os.close(writing)
    pipes = Pipes()
    try:
        assert together(4, lambda: pipes.content(f"/dev/fd/{reading}")) == [KEY] * 4
    finally:
        os.close(reading)


def test_a_file_is_no_pipe_and_a_device_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(KEY)
    assert Pipes().content(tmp_path / "file") is None
    for name in ("/dev/urandom", "/dev/zero"):
        with pytest.raises(EfuseError, match="device"):
            Pipes().content(name)
    with pytest.raises(OSError, match="No such file"):
        Pipes().content(tmp_path / "none")


def test_a_pipe_that_gives_too_much_is_refused_for_all(tmp_path: Path) -> None:
    path, pipes = fifo(tmp_path / "key", bytes(MOST_BYTES + 100_000)), Pipes()
    assert all(isinstance(found, EfuseError) for found in together(3, lambda: pipes.content(path)))


def test_a_pipe_that_nobody_writes_ends_with_the_scripts_time(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "key")
    board = make_board("esp32c3")
    ran = run(board, command(f"burn_key BLOCK_KEY0 {tmp_path}/key HMAC_UP"), folder=tmp_path, timeout_s=0.6)
    assert "ran longer than 0.6 s" in ran.error
    assert "could not be stopped" not in ran.error
    assert not any(board.blocks.values())


def test_a_key_is_burned_from_a_pipe(tmp_path: Path) -> None:
    board = make_board("esp32c3")
    path = fifo(tmp_path / "key")
    ran = run(board, command(f"burn_key BLOCK_KEY0 {path} HMAC_UP --no-read-protect"), folder=tmp_path)
    assert not ran.error
    assert board.blocks[4] == int.from_bytes(KEY, "little")


@pytest.mark.parametrize("one_at_a_time", [False, True])
@pytest.mark.parametrize("way", ["fifo", "shell", "descriptor"])
def test_a_pipe_that_scripts_open_themselves_is_one_boards(
    way: str, one_at_a_time: bool, tmp_path: Path
) -> None:
    reading, writing = os.pipe()
    path: Any = tmp_path / "pipe"
    if way == "fifo":
        os.mkfifo(path)
        path = os.fspath(path)
    else:
        path = f"/dev/fd/{reading}" if way == "shell" else reading
    inputs = RunInputs(one_at_a_time=one_at_a_time)
    refused: list[EfuseError] = []

    def look(board: Any) -> None:
        board.refuse = refused.append
        token = READER.set(board)
        try:
            if way == "descriptor":
                os.fdopen(path, "rb", buffering=0, closefd=False).close()
            else:
                os.close(os.open(path, os.O_RDONLY | os.O_NONBLOCK))
        finally:
            READER.reset(token)

    try:
        one, two = inputs.board(), inputs.board()
        look(one)
        look(one)
        if one_at_a_time:
            look(two)
        else:
            with pytest.raises(EfuseError, match="is a pipe"):
                look(two)
        assert len(refused) == (0 if one_at_a_time else 1)
    finally:
        os.close(reading)
        os.close(writing)
