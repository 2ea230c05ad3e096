"""A process that dies in the middle of a frame leaves it on the line, and the soak sees what comes of it."""

from __future__ import annotations

import os
import select
import time
from pathlib import Path

import pytest

from tests.sim.boards import SYNC, answers, read_reg, write_reg
from tests.soak.bench import Bench, Made
from tests.soak.checker import Checker
from tests.soak.child import Crash, command_of, frames_of, run_forked
from tests.soak.jobs import Work, write_job

SCRATCH = 0x60008800  # PGM_DATA0
CONF, CMD = 0x600089CC, 0x600089D4
PROGRAM = write_reg((CONF, 0x5A5A), (CMD, 2, 3))
READ = write_reg((CONF, 0x5AA5), (CMD, 1, 3))
ANSWERS_S = 5.0


def say(port: str, *data: bytes, count: int) -> list[tuple[int, int, bytes]]:
    """Open a port, send, wait for so many answers, close it."""
    fd = os.open(port, os.O_RDWR | os.O_NOCTTY | os.O_NONBLOCK)
    try:
        os.write(fd, b"".join(data))
        got, end = b"", time.monotonic() + ANSWERS_S
        while len(answers(got)) < count and select.select([fd], [], [], max(0.0, end - time.monotonic()))[0]:
            got += os.read(fd, 4096)
        return answers(got)
    finally:
        os.close(fd)


@pytest.mark.parametrize("stay_powered", [True, False])
def test_the_next_run_ends_the_torn_frame_unless_the_board_was_off(
    tmp_path: Path, stay_powered: bool
) -> None:
    with Bench(tmp_path, [Made("esp32c3")], seed=1, stay_powered=True) as bench:
        (port,) = bench.set_up([0], {}, seed=1)
        assert len(say(port, SYNC, write_reg((SCRATCH, 0x55)), count=9)) == 9
        say(port, write_reg((SCRATCH, 0xAB))[:14], count=0)
        bench.settle()
        (port,) = bench.set_up([0], {}, seed=2, stay_powered=stay_powered)
        found = say(port, SYNC, SYNC, read_reg(SCRATCH), count=10)
        assert found[-1][1] == (0xAB if stay_powered else 0)


def test_a_board_that_goes_to_another_port_was_off(tmp_path: Path) -> None:
    with Bench(tmp_path, [Made("esp32c3"), Made("esp32c3")], seed=1, stay_powered=True) as bench:
        ports = bench.set_up([0, 1], {}, seed=1)
        for port in ports:
            say(port, SYNC, write_reg((SCRATCH, 0x55)), count=9)
        bench.settle()
        ports = bench.set_up([1, 0], {}, seed=2, stay_powered=True)
        assert [say(port, SYNC, read_reg(SCRATCH), count=9)[-1][1] for port in ports] == [0, 0]


@pytest.mark.parametrize(
    ("frame", "command"),
    [
        (PROGRAM, "program"),
        (READ, "read"),
        (write_reg((CMD, 2 | 4 << 2), (CONF, 0x5A5A)), "program"),
        (write_reg((CONF, 0)), ""),
        (write_reg((CONF + 4, 0x5A5A), (SCRATCH, 0x5AA5)), ""),
        (write_reg((SCRATCH, 0xC0DBC0DB)), ""),
        (PROGRAM[:30] + b"\xc0", ""),
        (read_reg(CONF), ""),
        (SYNC, ""),
    ],
)
def test_a_command_to_the_controller_is_known_by_the_chip_row(frame: bytes, command: str) -> None:
    assert command_of(frame) == command
    assert frames_of(SYNC + frame + READ) == [SYNC, frame, READ]


@pytest.mark.parametrize(
    ("text", "sent"),
    [
        ("packet ttyUSB3 17 before", b""),
        ("packet ttyUSB3 17 torn", READ[: len(READ) // 2]),
        ("program ttyUSB3 2 torn 8", READ[:8]),
        ("read ttyUSB0 1 torn 99", READ[:-1]),  # never whole
        ("read ttyUSB0 1 after", READ),
    ],
)
def test_a_crash_is_a_sentence_and_leaves_a_part_of_a_frame(text: str, sent: bytes) -> None:
    crash = Crash.parse(text)
    assert str(crash) == text
    assert crash.part_of(READ) == sent


@pytest.mark.parametrize(("command", "number", "burned"), [("program", 1, 0), ("read", 1, 1), ("read", 3, 3)])
def test_a_run_dies_at_the_command_that_is_named(
    tmp_path: Path, command: str, number: int, burned: int
) -> None:
    write_job(tmp_path, Work(), records=1)
    with Bench(tmp_path, [Made("esp32c3")], seed=1, stay_powered=True) as bench:
        (port,) = bench.set_up([0], {}, seed=1)
        ended = run_forked(
            [
                "--json", "--do-not-confirm", "--ports", port, "--scripts", str(tmp_path / "one.py"),
                "--configfiles", str(tmp_path / "ids.json"), "--ledger", str(tmp_path / "ledger.sqlite"),
                "--new-ledger",
            ],
            folder=tmp_path, crash=Crash(command, number, "torn", "ttyUSB0", 8),
        )  # fmt: skip
        bench.settle()
        assert ended.exit == -9
        factory = bench.factory(0)
        assert sum(cells != factory[n] for n, cells in bench.memory(0).cells.items()) == burned


@pytest.mark.parametrize("block", ["BLOCK_KEY2", "BLOCK0", "BLOCK_KEY5", "MAC_SPI_8M_0"])
def test_what_no_plan_named_is_a_violation_whatever_has_struck(tmp_path: Path, block: str) -> None:
    write_job(tmp_path, Work(), records=1)
    with Bench(tmp_path, [Made("esp32c3")], seed=1, stay_powered=False) as bench:
        checker = Checker(bench, tmp_path / "ledger.sqlite", Work())
        checker.meet()
        (port,) = bench.set_up([0], {}, seed=1)
        ended = run_forked(
            [
                "--json", "--do-not-confirm", "--ports", port, "--scripts", str(tmp_path / "one.py"),
                "--configfiles", str(tmp_path / "ids.json"), "--ledger", str(tmp_path / "ledger.sqlite"),
                "--new-ledger",
            ],
            folder=tmp_path,
        )  # fmt: skip
        assert ended.exit == 0
        bench.settle()
        assert list(checker.violations()) == []
        kept = bench.product(0)
        index = kept.product.chip.block_by_name[block].index
        kept.product.memory.cells[index] |= 1 << 100
        kept.write()
        if index:
            checker.note({0: [f"bit 99 of {block} burns its neighbour too"]})
        found = list(checker.violations())
        assert any(block in one and "cells" in one for one in found), found
