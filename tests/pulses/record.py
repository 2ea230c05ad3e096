"""Records what whole jobs send: the real driver against a simulated chip in memory, in virtual time.

A *breath* is what is sent without a look at the answers. What cannot be known from the frames comes along:
what registers that the model does not follow hold, and when the attempt was made durable.
"""

from __future__ import annotations

import random
import re
from collections.abc import Callable
from contextlib import nullcontext, suppress
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from parburn.chips.model import Chip, ControllerKind, RegisterWrite
from parburn.efuse.image import EfuseImage
from parburn.efuse.plan import BurnPlan, plan_burns, remaining
from parburn.efuse.staging import StagedBurns, stage_custom_mac, stage_field, stage_key
from parburn.errors import LedgerError, ParburnError
from parburn.hardware import crystal
from parburn.hardware.commit import commit
from parburn.hardware.identify import Device, identify
from parburn.hardware.rom_loader import RomLoader
from parburn.protocol import slip
from parburn.sim.board import SimulatedBoard
from parburn.sim.factory import make_product
from parburn.transport.stream import USB_SERIAL_JTAG
from tests.every_kind import KINDS, Kind
from tests.hardware.commit_bench import BoardStream, Book, in_virtual_time

# What stays in the ROM's buffer may be key words: of any bits, and of bytes that are escaped on the line.
KEYS = (
    bytes(range(0x51, 0x71)),
    bytes(range(0xA1, 0xC1)),
    bytes((0xFE,)) + bytes((0xFF,)) * 31,
    bytes((0xC0, 0xDB)) * 16,
)
CUSTOM_MAC = bytes.fromhex("aacdef000101")
FAST_BAUD = 921600
CLK_AT_RESET = 0x2  # the memory's clock is on; other bits that are used are 0, 2 and 16
BESIDE_TIMING = 0x0AA5_5AA5
_FRAME = re.compile(rb"\xc0+[^\xc0]+\xc0")
_READ_REG = 0x0A
_LOST_AFTER = 1 << 40

Stage = Callable[[Kind, EfuseImage, StagedBurns], None]


@dataclass
class Breath:
    """Frames as they travel, and by address what was read from registers in answer to them."""

    frames: list[bytes] = field(default_factory=list)
    read: dict[int, int] = field(default_factory=dict)


class Setup(NamedTuple):
    """A kind of chip as it is soldered and cabled."""

    kind: Kind
    settings: tuple[tuple[str, str], ...] = ()
    usb_jtag: bool = False

    @property
    def name(self) -> str:
        """For people: esp32-v3.0 3/4."""
        return " ".join((self.kind.name, *(value for _, value in self.settings)))


class Job(NamedTuple):
    """What one run sent. `plan` is None where it was stopped before it made one."""

    name: str
    chip: Chip
    timing: tuple[RegisterWrite, ...]
    plan: BurnPlan | None
    breaths: tuple[Breath, ...]
    durable_at: int  # the breath before which the attempt was made durable
    at_reset: dict[int, int]  # what registers hold then, by address, where it is not zero

    def __repr__(self) -> str:  # the frames hold keys
        return f"Job({self.name}, {len(self.breaths)} breaths)"


class TappedStream(BoardStream):
    """A line that keeps what it carries, and breaks after so many bytes."""

    def __init__(self, board: SimulatedBoard, *, usb_jtag: bool, lost_after: int) -> None:
        super().__init__(board)
        self.usb_vid_pid = USB_SERIAL_JTAG if usb_jtag else None
        self.left = lost_after
        self.breaths: list[Breath] = []
        self.in_exchange = False

    def write(self, data: bytes) -> None:
        """Keep, hand over what the line still carries."""
        if not self.in_exchange:
            self.breaths.append(Breath())
        self.breaths[-1].frames += _FRAME.findall(data)
        carried, self.left = data[: self.left], max(0, self.left - len(data))
        if carried and self.lost is None:
            self.board.receive(carried, self._loop.time(), self.baud)
            self._again(0.0)
        if not self.left:
            self._loop.call_soon(self._lose, None)

    def _deliver(self, data: bytes) -> None:
        self._note(data)
        super()._deliver(data)

    def _note(self, data: bytes) -> None:
        """Answers come whole and in order; each READ_REG of the breath takes the next one."""
        if not self.breaths:
            return
        breath = self.breaths[-1]
        asked = [frame for frame in map(_decoded, breath.frames) if frame[1] == _READ_REG]
        answers = [frame for frame in map(_decoded, _FRAME.findall(data)) if frame[1] == _READ_REG]
        self._answered = getattr(self, "_answered", 0) if self._of is breath else 0
        self._of = breath
        for frame, answer in zip(asked[self._answered :], answers, strict=False):
            breath.read[_word(frame, 8)] = _word(answer, 4)
        self._answered += len(answers)

    _of: Breath | None = None

    async def aclose(self) -> None:
        """Leave the board under power, with what it holds."""
        self._closing = True
        if self._timer is not None:
            self._timer.cancel()


class TappedLoader(RomLoader):
    """Tells its stream when a breath begins."""

    async def _exchange(self, frames: list[bytes], *rest: Any, **more: Any) -> None:
        assert isinstance(self.stream, TappedStream)
        if frames:
            self.stream.breaths.append(Breath())
            self.stream.in_exchange = True
        try:
            await super()._exchange(frames, *rest, **more)
        finally:
            self.stream.in_exchange = False


def _decoded(frame: bytes) -> bytes:
    return slip.decode(frame.strip(b"\xc0")) or bytes(12)


def _word(frame: bytes, at: int) -> int:
    return int.from_bytes(frame[at : at + 4], "little")


def make_board(setup: Setup, *, baud_limit: int = 115200) -> SimulatedBoard:
    """A board as it comes from the factory."""
    revision = ".".join(map(str, setup.kind.revision))
    made = make_product(
        setup.kind.chip.name,
        mac=bytes.fromhex("240ac4010203"),
        settings={"revision": revision, **dict(setup.settings)},
        rng=random.Random(setup.name),
    )
    registers = {**made.registers, **_held_at_reset(setup.kind.chip, made.crystal_mhz)}
    return SimulatedBoard(
        made.memory, crystal_mhz=made.crystal_mhz, registers=registers, baud_limit=baud_limit
    )


def _held_at_reset(chip: Chip, crystal_mhz: int) -> dict[int, int]:
    """CLK and timing: what a job would write, so that a write which goes astray is missed nowhere; and bits
    beside it that such a write may change."""
    held = dict.fromkeys(crystal.timing_registers(chip), CLK_AT_RESET)
    for write in crystal.timing_for(chip, crystal_mhz):
        held[write.address] = (write.value & write.mask) | (BESIDE_TIMING & ~write.mask)
    return held


# --- jobs


def stage_mac(kind: Kind, image: EfuseImage, staged: StagedBurns) -> None:
    """A custom MAC."""
    stage_custom_mac(image, staged, CUSTOM_MAC)


def stage_key_number(number: int, *, locked: bool, key: int = 0) -> Stage:
    """One of the keys in one of the key blocks; nothing where the chip has fewer."""

    def stage(kind: Kind, image: EfuseImage, staged: StagedBurns) -> None:
        blocks = kind.key_blocks
        if number >= len(blocks):
            return
        block = image.chip.block_by_name[blocks[number].name]
        content = KEYS[key][: image.block_bits(block.index) // 8]
        names = ("XTS_AES_128_KEY", "USER") if locked else ("USER",)
        purpose = next((name for name in names if kind.purpose(name)), None)
        stage_key(image, staged, block, content, purpose, write_protect=locked, read_protect=locked)

    return stage


def stage_bit(kind: Kind, image: EfuseImage, staged: StagedBurns) -> None:
    """A field of one bit that neither locks nor cuts anything."""
    chip = image.chip
    one = next(f for f in chip.fields if f.block == 0 and f.bits == 1 and f.name not in chip.burned_last)
    stage_field(image, staged, one, 1)


JOBS: dict[str, tuple[Stage, ...]] = {
    "key, MAC, bit": (stage_mac, stage_key_number(0, locked=True), stage_bit),
    "two keys": (stage_key_number(0, locked=True, key=1), stage_key_number(1, locked=True, key=2)),
    "key alone": (stage_key_number(0, locked=False, key=3),),
}

PACED = ("two keys",)  # the other jobs have the longer commands


def plan_of(setup: Setup, device: Device, stages: tuple[Stage, ...]) -> BurnPlan:
    """The plan of a job."""
    staged = StagedBurns()
    for stage in stages:
        stage(setup.kind, device.image, staged)
    return plan_burns(device.image, staged)


class Run:
    """One run of the driver on a board."""

    def __init__(self, setup: Setup, board: SimulatedBoard, *, lost_after: int = _LOST_AFTER) -> None:
        self.setup, self.board = setup, board
        self._lost_after = lost_after
        self.durable_at = -1

    async def run(
        self,
        name: str,
        stages: tuple[Stage, ...],
        *,
        begun: BurnPlan | None = None,
        verified: frozenset[int] = frozenset(),
        after_kill: bool = False,
        breaks_off: bool = False,
        farewell: bool = False,
        paced: bool = False,
    ) -> Job:
        """Connect, identify, plan (or go on with what was `begun`), commit.

        The board is new and taken as reset, unless the job comes `after_kill`, or is `paced`: the line is
        then known to be no faster than its rate, so that commands need no delay entry.
        `breaks_off`: the attempt cannot be recorded. `farewell`: a fast rate, and a watchdog reset last.
        """
        stream = TappedStream(self.board, usb_jtag=self.setup.usb_jtag, lost_after=self._lost_after)
        plan = device = None
        ends_early = breaks_off or self._lost_after != _LOST_AFTER
        with suppress(ParburnError) if ends_early else nullcontext():
            rom = await TappedLoader.connect(stream, before="no-reset", attempts=3)
            rom.was_reset = not after_kill and not paced
            device = await identify(
                rom,
                wanted="auto",
                blocks=lambda chip: tuple(block.index for block in chip.blocks),
                extend=lambda chip: chip,
                rate=(lambda chip, blocks: FAST_BAUD) if farewell else None,
            )
            if after_kill:  # as a run looks at a chip that was not reset, but for more frames that read
                image, _ = await device.controller.reload((0,), device.image, None)
                image = await device.controller.read_blocks(image.blocks.keys(), image)
                device = device._replace(image=image)
            plan = plan_of(self.setup, device, stages) if begun is None else begun
            if begun is not None:
                plan = remaining(plan, device.image, verified=verified)
            rom._pace.ruled_out, rom._pace.known = True, paced  # judged here, not by the clock
            await self._commit(device, plan, breaks_off)
            if farewell and device.chip.watchdog_reset is not None:
                await rom.change_baud(115200)
                await rom.write_regs(device.chip.watchdog_reset.writes)
        await stream.aclose()
        chip = self.setup.kind.chip
        timing = device.controller.registers.timing if device is not None else ()
        return Job(
            f"{self.setup.name}: {name}", chip, timing, plan, tuple(stream.breaths), self.durable_at,
            dict(self.board.preset),
        )  # fmt: skip

    async def _commit(self, device: Device, plan: BurnPlan, breaks_off: bool) -> None:
        stream = device.rom.stream
        assert isinstance(stream, TappedStream)

        async def attempted() -> None:
            self.durable_at = len(stream.breaths)
            if breaks_off:
                raise LedgerError("the disk is full")

        if plan:
            hooks = Book().hooks(device)._replace(attempted=attempted)
            await commit(plan, device.controller, device.image, hooks)


def jobs_of(setup: Setup) -> list[Job]:
    """All whole jobs of a setup, each on a new board."""

    async def record() -> list[Job]:
        found = [
            await Run(setup, make_board(setup)).run(name, stages, paced=name in PACED)
            for name, stages in JOBS.items()
        ]
        found.append(
            await Run(setup, make_board(setup)).run("broken off", JOBS["key alone"], breaks_off=True)
        )
        over_usb = setup._replace(usb_jtag=setup.kind.chip.usb_jtag is not None)
        found.append(
            await Run(over_usb, make_board(setup, baud_limit=0)).run(
                "fast, farewell", (stage_bit,), farewell=True
            )
        )
        return found

    found: list[Job] = in_virtual_time(record())
    return found


def job_after_kill(
    setup: Setup, job: Job, sent: int, verified: frozenset[int], *, recorded: bool = True
) -> Job:
    """What comes after `job` of the first stages, which was killed when `sent` bytes were out: the same plan
    or, with a ledger where nothing of it is `recorded`, a job that stages little."""

    async def record() -> Job:
        board = make_board(setup)
        stages = next(iter(JOBS.values()))
        await Run(setup, board, lost_after=sent).run("killed", stages)
        after = Run(setup, board)
        if recorded:
            name = f"resumed after {sent} bytes"
            return await after.run(name, (), begun=job.plan, verified=verified, after_kill=True)
        return await after.run(f"another job after {sent} bytes", (stage_bit,), after_kill=True)

    found: Job = in_virtual_time(record())
    return found


def setups() -> list[Setup]:
    """Every kind of chip; the classic one in each coding."""
    found = [Setup(kind) for kind in KINDS]
    classic = [one for one in found if one.kind.chip.controller is ControllerKind.CLASSIC]
    return found + [one._replace(settings=(("coding", "3/4"),)) for one in classic]
