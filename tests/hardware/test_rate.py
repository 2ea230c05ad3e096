"""Raising the baud rate: when it pays, ROMs wrong about their crystal, lines that do not carry it."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from parburn.chips.registry import chip_named
from parburn.errors import GarbledAnswer, NoAnswer
from parburn.hardware.crystal import beliefs
from parburn.hardware.identify import identify
from parburn.hardware.rom_loader import RomLoader
from parburn.job import Before, Job
from parburn.run.baud import FAST_BAUD, ROM_BAUD, rate_that_pays
from parburn.run.board_progress import BoardProgress
from parburn.run.connect import _connect_and_identify
from parburn.run.traces import TraceBook
from parburn.sim.board import SimulatedBoard
from parburn.sim.factory import factory_mac, make_product
from parburn.transport.stream import LineStep
from tests.command import parburn
from tests.hardware.commit_bench import BoardStream, in_virtual_time
from tests.rig import start_rig


def board_of(chip: str, **settings: str) -> SimulatedBoard:
    rng = random.Random(7)
    made = make_product(chip, mac=factory_mac(rng), settings=settings, rng=rng)
    return SimulatedBoard(made.memory, crystal_mhz=made.crystal_mhz, registers=made.registers)


CLOCK = 51  # what the factory measured of the ESP32's own clock


def counted(mhz: float) -> int:
    """What an ESP32's ROM counts when its crystal seems to have so many MHz."""
    return round(mhz * 1e6 / 15625 * 40 / CLOCK)


class PacedStream(BoardStream):
    """Both ends at their own rate; with lines, of which one resets the chip. Above `carries` all is noise."""

    has_lines = True

    def __init__(self, board: SimulatedBoard, carries: int = 1 << 30) -> None:
        super().__init__(board)
        self.carries = carries
        self.resets = 0
        self._held = False

    def write(self, data: bytes) -> None:
        noise = self.baud > self.carries
        self.board.receive(data, self._loop.time(), 1 if noise else self.baud)
        self._again(0.0)

    async def move_lines(self, steps: Sequence[LineStep]) -> None:
        for _, rts, seconds in steps:
            if rts and not self._held:
                self.resets += 1
                self.board.reset(self._loop.time())
            self._held = rts
            await asyncio.sleep(seconds)


def test_a_change_must_save_more_than_it_costs() -> None:
    c3, classic = chip_named("esp32c3"), chip_named("esp32")
    every = range(len(c3.blocks))
    assert rate_that_pays(c3, (), burns=True) == FAST_BAUD
    assert rate_that_pays(c3, every, burns=False) == FAST_BAUD
    assert rate_that_pays(c3, (3,), burns=False) == ROM_BAUD
    assert rate_that_pays(classic, range(len(classic.blocks)), burns=False) == ROM_BAUD


@pytest.mark.parametrize(
    ("chip", "crystal", "told"),
    [
        ("esp32c2", "26", FAST_BAUD * 40 // 26),  # this ROM always computes with 40 MHz
        ("esp32c2", "40", FAST_BAUD),
        ("esp32c5", "40", FAST_BAUD * 48 // 40),  # here a register says what it computes with
        ("esp32c5", "48", FAST_BAUD),
        ("esp32 v1.0 0", "40", FAST_BAUD),  # nothing was measured here: the ROM is taken to be right
        ("esp32 v1.0 42.5", "40", FAST_BAUD * 42.5 / 40),  # this one measures, against a clock that drifts
        ("esp32 v1.0 38.2", "40", FAST_BAUD * 38.2 / 40),
        ("esp32 v0.0 26.9", "26", FAST_BAUD * 26.9 / 26),
        ("esp32 v3.0 41.5", "40", FAST_BAUD),  # this one measures, and rounds
        ("esp32 v3.1 38.2", "40", FAST_BAUD),
        ("esp32 v3.0 26.9", "26", FAST_BAUD),
        ("esp32 v3.0 31", "40", FAST_BAUD * 26 / 40),  # to the wrong one
        ("esp32 v3.0 99", "40", FAST_BAUD * 26 / 40),  # what makes no sense is 26 MHz
        ("esp32 v3.0 0", "40", FAST_BAUD * 26 / 40),
        ("esp32 v3.0 0", "26", FAST_BAUD),
    ],
)
def test_a_rom_that_is_wrong_about_its_crystal_gets_the_rate(chip: str, crystal: str, told: float) -> None:
    board, asked = noting_board(chip, crystal)
    assert rate_raised(board, crystal) == 0
    assert asked == [pytest.approx(told, rel=0.002), pytest.approx(ROM_BAUD * told / FAST_BAUD, rel=0.002)]


def noting_board(chip: str, crystal: str) -> tuple[SimulatedBoard, list[int]]:
    """A board, and the rates that it is asked for. `chip` may say its revision and what its ROM measures."""
    name, revision, seems, *_ = (*chip.split(" "), "", "")
    wanted = {"crystal": crystal}
    wanted |= {"revision": revision} if revision else {}
    wanted |= {"clk8m_freq": str(CLOCK), "romclk": str(counted(float(seems)) << 7)} if seems else {}
    board = board_of(name, **wanted)
    asked: list[int] = []
    set_baud = board.set_baud

    def note(baud: int) -> None:
        asked.append(baud)
        set_baud(baud)

    board.set_baud = note  # type: ignore[method-assign]  # to see what is asked for
    return board, asked


def rate_raised(board: SimulatedBoard, crystal: str) -> int:
    """Identify the board at the fast rate and go back; how many SYNCs beyond the first that took."""

    async def job() -> int:
        stream = PacedStream(board)
        rom = await RomLoader.connect(stream, before="no-reset")
        found = await identify(
            rom, wanted="auto", blocks=lambda chip: (3,), extend=lambda chip: chip, rate=lambda *_: FAST_BAUD
        )
        assert (rom.baud, stream.baud, found.crystal_mhz) == (FAST_BAUD, FAST_BAUD, int(crystal))
        assert board.baud == pytest.approx(FAST_BAUD, rel=0.002)
        assert set(found.image.blocks) >= {0, 3}
        again = rom.counters.retries
        await rom.change_baud(ROM_BAUD)
        assert len(await rom.read_regs([board.chip.registers["CMD"]])) == 1
        await rom.aclose()
        return again

    return int(in_virtual_time(job()))


@pytest.mark.parametrize(
    ("chip", "crystal", "believes"),
    [
        ("esp32 v3.0 41.5", "40", 41.5),  # computes with what it has measured, as an older one does
        ("esp32 v3.0 26.9", "26", 26.9),
        ("esp32 v3.0 0", "40", 40),  # is right without having measured anything
        ("esp32 v1.0 41.5", "40", 40),  # rounds, as a newer one does
        ("esp32c2", "26", 26),  # is right where it is known to be wrong
    ],
)
def test_a_rom_that_computes_otherwise_than_its_like_is_found_at_the_rate_that_it_made(
    chip: str, crystal: str, believes: float
) -> None:
    board, asked = noting_board(chip, crystal)
    board._believed_mhz = lambda: believes  # type: ignore[method-assign]  # another ROM than its revision says
    rate_raised(board, crystal)
    first, second, back = asked
    assert first != pytest.approx(second, rel=0.02)
    assert second == pytest.approx(FAST_BAUD * believes / int(crystal), rel=0.002)
    assert back == pytest.approx(ROM_BAUD * believes / int(crystal), rel=0.002)


@pytest.mark.parametrize("seems", [0.0, 26.0, 57.0])
def test_what_a_rom_cannot_have_measured_is_not_counted_on(seems: float) -> None:
    chip = chip_named("esp32")
    assert chip.crystal.rom_address is not None
    registers = {chip.crystal.rom_address: counted(seems) << 7, chip.read_registers[0][4]: CLOCK}
    assert beliefs(chip, registers, 40, major=1) == (40,)


@pytest.mark.parametrize(
    ("seems", "first"), [(0.0, 26), (12.0, 26), (26.9, 26), (32.5, 26), (33.5, 40), (41.5, 40), (90.0, 26)]
)
def test_a_rom_that_rounds_takes_the_nearest_crystal(seems: float, first: int) -> None:
    chip = chip_named("esp32")
    assert chip.crystal.rom_address is not None
    registers = {chip.crystal.rom_address: counted(seems) << 7, chip.read_registers[0][4]: CLOCK}
    likeliest, *others = beliefs(chip, registers, 40, major=3)
    assert likeliest == first
    assert 40 in (likeliest, *others)


def a_run(tmp_path: Path, *, baud: int | None, before: Before, notes: list[str]) -> Any:
    """The part of a run that connecting and identifying sees."""
    return SimpleNamespace(
        job=Job(ports=("memory",), scripts=(), baud=baud, before=before),
        emit=lambda event: None,
        note=lambda port, text, level: notes.append(text),
        scripts=SimpleNamespace(may_burn=True),
        traces=TraceBook(None, show_keys=False),
        blocks_in_scripts=lambda chip: (3,),
        extend=lambda chip: chip,
        rate_for=lambda stream: lambda chip, blocks: baud or FAST_BAUD,
    )


@pytest.mark.parametrize("before", ["default-reset", "no-reset"])
@pytest.mark.parametrize("baud", [None, FAST_BAUD], ids=["auto", "fixed"])
def test_a_line_that_does_not_carry_the_rate(tmp_path: Path, baud: int | None, before: Before) -> None:
    """`auto` goes on at the ROM's rate where it can reset the chip; a rate that was asked for is an error."""

    async def job() -> None:
        notes: list[str] = []
        stream = PacedStream(board_of("esp32c3"), carries=460800)
        run = cast(Any, a_run(tmp_path, baud=baud, before=before, notes=notes))
        board = BoardProgress("memory", "memory")
        if baud is None and before == "default-reset":
            device = await _connect_and_identify(run, board, stream)
            assert (device.rom.baud, stream.baud) == (ROM_BAUD, ROM_BAUD)
            assert "does not carry" in notes[0] or "did not answer" in notes[0]
            assert stream.resets == 2
        else:
            with pytest.raises((NoAnswer, GarbledAnswer)) as caught:
                await _connect_and_identify(run, board, stream)
            assert "--baud" in caught.value.hint
            assert notes == []
        await stream.aclose()

    in_virtual_time(job())


def test_auto_on_the_command_line(tmp_path: Path) -> None:
    script = tmp_path / "s.py"
    script.write_text("print(args.baud)\nespefuse(esp, efuses, args, 'burn_bit BLOCK3 9')\n")
    small = ("--commands", "get_custom_mac")
    with start_rig("esp32c3", tmp_path=tmp_path) as rig:
        for number, (words, raised) in enumerate(((("--scripts", script), True), (small, False))):
            trace = tmp_path / f"trace{number}"
            outcome = parburn(
                "--ports", *rig.ports, *words, "--baud", "auto", "--do-not-confirm", "--json",
                "--trace", trace, state=tmp_path / "state",
            )  # fmt: skip
            assert outcome.words == ["pass"], outcome.stdout + outcome.stderr
            assert ((921600).to_bytes(4, "little").hex() in trace.read_text()) is raised
        assert rig.bits(0, 3) == 1 << 9


def test_a_clock_that_drifts_by_3_75_percent_on_the_command_line(tmp_path: Path) -> None:
    """The ROM of revision 3 rounds what it measures: asked for 956160, it would set 956160."""
    settings = [f"clk8m_freq={CLOCK}", f"romclk={counted(41.5) << 7}", "revision=3.0"]
    with start_rig("esp32", tmp_path=tmp_path, settings=settings) as rig:
        trace = tmp_path / "trace"
        outcome = parburn(
            "--ports", *rig.ports, "--commands", "burn_bit BLOCK3 9", "--baud", FAST_BAUD,
            "--do-not-confirm", "--json", "--trace", trace, state=tmp_path / "state",
        )  # fmt: skip
        assert outcome.words == ["pass"], outcome.stdout + outcome.stderr
        assert FAST_BAUD.to_bytes(4, "little").hex() in trace.read_text()
        assert rig.bits(0, 3) == 1 << 9
