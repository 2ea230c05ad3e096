"""The bytes that a job cannot do without, and the time they take on the wire. Computes; talks to nothing.

Counted once each: SYNC, one command that tells the chip, the identity, the revision, BLOCK0 and the blocks
that the job touches with their error registers; and for every program command the words that are not zero,
the read-back of all programming registers, the command and one poll, the reload and one poll, and the
verification. Not counted: USB frames, timers, the ring's limit, and all of the host. `safely` adds what is
read a second time because answers carry no checksum and boards can be swapped: the identity, and before the
first program command the identity, the touched blocks and the timing.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from parburn.chips.model import Chip, RegisterWrite
from parburn.efuse.plan import BurnPlan, BurnStep
from parburn.hardware.controller import CMD_BUSY, CONF_PROGRAM
from parburn.hardware.identify import identity_registers
from parburn.hardware.rom_loader import MAGIC_ADDRESS
from parburn.hardware.silicon import telling_registers
from parburn.protocol import commands

REPLY_BYTES = 14
INFO_REPLY_BYTES = 34
CHANGE_BAUD_BYTES = 18
ROM_BAUD = 115200
ALL = 0xFFFF_FFFF

Frame = tuple[int, int]  # bytes to the chip, bytes of its answer


@dataclass(frozen=True)
class Part:
    """One burst of the floor."""

    name: str
    frames: tuple[Frame, ...]
    chip_ms: float = 0.0  # what the chip itself needs

    @property
    def tx_bytes(self) -> int:
        """Bytes to the chip."""
        return sum(tx for tx, _ in self.frames)

    @property
    def rx_bytes(self) -> int:
        """Bytes from the chip."""
        return sum(rx for _, rx in self.frames)

    def seconds(self, baud: int) -> float:
        """From the first bit to the last: answers overlap with requests, but none precedes its own."""
        sent = answered = 0
        for tx, rx in self.frames:
            sent += tx
            answered = max(answered, sent) + rx
        return answered * 10 / baud + self.chip_ms / 1000


def floor_seconds(parts: Sequence[Part], baud: int) -> float:
    """All parts at this rate; a raised one has to be asked for, behind SYNC and which chip it is."""
    if baud == ROM_BAUD:
        return sum(part.seconds(baud) for part in parts)
    first = (*parts[:2], Part("CHANGE_BAUDRATE", ((CHANGE_BAUD_BYTES, REPLY_BYTES),)))
    return sum(part.seconds(ROM_BAUD) for part in first) + sum(part.seconds(baud) for part in parts[2:])


def _reads(addresses: Iterable[int]) -> list[Frame]:
    return [(len(commands.read_reg_frame(address)), REPLY_BYTES) for address in addresses]


def _registers(chip: Chip, blocks: Iterable[int]) -> tuple[int, ...]:
    """Read registers of these blocks, and the error registers that speak of them."""
    found: list[int] = []
    errors: list[int] = []
    for block in (chip.blocks[index] for index in sorted(set(blocks))):
        found += chip.read_registers[block.index]
        if block.errors is not None:
            errors += [a for a in (block.errors.address, block.errors.fail_address) if a is not None]
        else:
            errors += chip.block0_errors if chip.controller == "pgm" else (chip.registers["DEC_STATUS"],)
    return (*found, *dict.fromkeys(errors))


def _writes(entries: Iterable[tuple[int, int, int, int]], chip: Chip) -> list[Frame]:
    packets = commands.write_reg_frames(
        tuple(entries), per_packet=chip.entries_per_write, longest=chip.ring_bytes
    )
    return [(len(packet), REPLY_BYTES) for packet in packets]


def _entries(writes: Iterable[RegisterWrite]) -> list[tuple[int, int, int, int]]:
    return [(one.address, one.value, one.mask, one.delay_us) for one in writes]


def floor_of(
    chip: Chip, plan: BurnPlan, blocks: Iterable[int], crystal_mhz: int, *, safely: bool = False
) -> tuple[Part, ...]:
    """The bursts of a job: `blocks` are those it must see, `plan` what it burns (empty for a summary)."""
    mac_registers, unique_registers = identity_registers(chip)
    touched = {write.block.index for step in plan.steps for write in step.writes}
    wanted = _registers(chip, {0, *blocks, *touched})
    crystal = chip.crystal
    clock = crystal.clkdiv_address if crystal.clkdiv_address is not None else crystal.address
    extra = () if crystal.fixed_mhz is not None or clock is None else (clock,)
    identity = (*mac_registers, *unique_registers)
    sensed = (*identity, *extra, *chip.extra_registers)
    first = (*dict.fromkeys((*sensed, *telling_registers(chip), *wanted)), *(sensed if safely else ()))
    if chip.chip_ids:
        told = (len(commands.SECURITY_INFO_FRAME), INFO_REPLY_BYTES)
    else:
        told = _reads((MAGIC_ADDRESS,))[0]
    parts = [
        Part("SYNC", ((len(commands.SYNC_FRAME), REPLY_BYTES * commands.SYNC_REPLIES),)),
        Part("which chip", (told,)),
        Part("identity and blocks", tuple(_reads(first))),
    ]
    cmd, conf = chip.registers["CMD"], chip.registers["CONF"]
    starting = [(conf, CONF_PROGRAM, ALL, 0), (cmd, 2, CMD_BUSY, 0)]
    staging = [_stage(chip, step) for step in plan.steps]
    if staging:
        timing = _writes(_entries(chip.timing[crystal_mhz]), chip)
        again = (address for index in sorted(touched) for address in chip.read_registers[index])
        set_to = dict.fromkeys(one.address for one in chip.timing[crystal_mhz])
        twice = _reads((*identity, *again, *set_to)) if safely else ()
        parts.append(Part(f"stage {plan.steps[0].label}", (*timing, *staging[0], *twice)))
    for number, step in enumerate(plan.steps):
        polled = _writes(starting, chip) + _reads((cmd,))
        parts.append(Part(f"program {step.label}", tuple(polled), chip.program_ms))
        seen = _reads(_registers(chip, (write.block.index for write in step.writes)))
        following = staging[number + 1] if number + 1 < len(staging) else ()
        name = f"verify {step.label}"
        if following:
            name += f", stage {plan.steps[number + 1].label}"
        parts.append(Part(name, (*polled, *seen, *following), chip.read_ms))
    return tuple(parts)


def _stage(chip: Chip, step: BurnStep) -> tuple[Frame, ...]:
    """Write the words that are not zero, and read all programming registers back."""
    if chip.controller == "classic":
        entries = [
            (write.block.write_address + 4 * n, word, ALL, 0)
            for write in step.writes
            for n, word in enumerate(write.words)
            if word
        ]
        back = [b.write_address + 4 * n for b in chip.blocks for n in range(b.words)]
    else:
        (write,) = step.writes
        data, check = chip.registers["PGM_DATA0"], chip.registers["CHECK_VALUE0"]
        back = [*(data + 4 * n for n in range(8)), *(check + 4 * n for n in range(3))]
        entries = [(a, word, ALL, 0) for a, word in zip(back, write.words, strict=False) if word]
        entries.append((chip.registers["CMD"], write.block.index << 2, ALL, 0))
        back.append(chip.registers["CMD"])
    return (*_writes(entries, chip), *_reads(back))
