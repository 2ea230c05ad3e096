"""The chip's crystal: how fast it is, what the ROM takes it for, and the eFuse timing that it needs. Pure.

Wrong timing is a bad burn, and a ROM that is wrong about its crystal sets other baud rates than it is asked
for.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import lru_cache

from parburn.chips.model import Chip, Crystal, Field, RegisterWrite, merged_writes
from parburn.errors import ChipError, IdentityUnclear

# A ROM counts its crystal's cycles against a clock of its own: MHz = count * the clock's field / this.
COUNTS_PER_MHZ = 2560


def telling_registers(chip: Chip, *, and_belief: bool) -> tuple[int, ...]:
    """Return the registers that `mhz_of` needs; with `and_belief` those that `beliefs` needs, too."""
    crystal = chip.crystal
    found = [crystal.clkdiv_address, crystal.address]
    if and_belief:
        found.append(crystal.rom_address)
        if crystal.rom_clock is not None:
            found.append(_register_of(chip, _clock(chip)))
    return tuple(address for address in found if address is not None)


def mhz_of(chip: Chip, registers: Mapping[int, int], baud: int) -> int:
    """Return the crystal's frequency in MHz.

    Args:
        registers: values by address, of `telling_registers`.
        baud: the rate at which the ROM's autobaud measured the line, in bits per second.

    Raises:
        IdentityUnclear: the register means no frequency that this chip can have.
    """
    crystal = chip.crystal
    if crystal.fixed_mhz is not None:
        return crystal.fixed_mhz
    address = crystal.clkdiv_address if crystal.clkdiv_address is not None else crystal.address
    return crystal_from(crystal, registers[address or 0], baud)


def crystal_from(crystal: Crystal, word: int, baud: int) -> int:
    """Return the crystal's frequency in MHz from what its register holds.

    Raises:
        IdentityUnclear: it means no frequency that this chip can have.
    """
    if crystal.clkdiv_address is None:
        value = (word & crystal.mask) >> crystal.shift
        if value not in crystal.by_value:
            raise IdentityUnclear(f"the crystal's register holds {value}, which means no known frequency")
        return crystal.by_value[value]
    estimate = baud * (word & crystal.clkdiv_mask) / 1e6 / crystal.prescale
    nearest = min(crystal.choices, key=lambda mhz: abs(mhz - estimate))
    if abs(nearest - estimate) > 0.15 * nearest:
        raise IdentityUnclear(
            f"the crystal measures {estimate:.1f} MHz, and this chip takes {crystal.choices} MHz",
            hint="Wrong timing is a bad burn. Check the board's crystal, power-cycle it and run again.",
        )
    return nearest


def beliefs(chip: Chip, registers: Mapping[int, int], mhz: int, major: int) -> tuple[float, ...]:
    """Return what the ROM may compute baud rates with, in MHz, the likeliest first.

    `mhz` is the truth, which comes first where nothing speaks against it.

    Args:
        registers: values by address, of `telling_registers` with `and_belief`.
        major: the major silicon revision: from one on, some ROMs round what they measured.
    """
    crystal = chip.crystal
    if crystal.rom_address is None:
        return _distinct(crystal.rom_mhz or mhz, mhz)
    word = (registers[crystal.rom_address] & crystal.rom_mask) >> crystal.rom_shift
    if crystal.rom_clock is None:
        return _distinct(word if word in crystal.choices else mhz, mhz)
    clock = _clock(chip)
    counted = word * (registers[_register_of(chip, clock)] >> (clock.pos or 0) & ((1 << clock.bits) - 1))
    measured = counted / COUNTS_PER_MHZ
    # Its own clock drifts by some percent with temperature; anything else was never measured.
    likely = measured if abs(measured - mhz) < 0.15 * mhz else mhz
    if crystal.rom_rounds_from is None or major < crystal.rom_rounds_from:
        return _distinct(likely, mhz)
    return _distinct(_rounded(crystal, measured), likely, mhz)


def _rounded(crystal: Crystal, measured: float) -> int:
    """Return the crystal that a ROM takes for its own by what it has measured."""
    nearest = min(crystal.choices, key=lambda mhz: abs(mhz - measured))
    makes_sense = nearest / 2 < measured < nearest * 2
    return nearest if makes_sense else crystal.rom_otherwise_mhz or nearest


def _distinct(*mhz: float) -> tuple[float, ...]:
    return tuple(dict.fromkeys(mhz))


@lru_cache(128)
def timing_for(chip: Chip, crystal_mhz: int) -> tuple[RegisterWrite, ...]:
    """Return the timing writes for this crystal (TRM, chapter eFuse Controller).

    Raises:
        ChipError: the chip cannot burn with such a crystal.
    """
    if crystal_mhz not in chip.timing:
        supported = " and ".join(str(mhz) for mhz in chip.timing)
        raise ChipError(
            f"{chip.title} burns eFuses with a {supported} MHz crystal only; this one has {crystal_mhz} MHz",
            hint="Check the board's crystal. Nothing was burned.",
        )
    return merged_writes(chip.timing[crystal_mhz])


@lru_cache(128)
def timing_registers(chip: Chip) -> tuple[int, ...]:
    """Return CLK, where the chip has one, and the registers that timing is written to."""
    clock = (chip.registers["CLK"],) if "CLK" in chip.registers else ()
    written = (write.address for writes in chip.timing.values() for write in writes)
    return tuple(dict.fromkeys((*clock, *written)))


@lru_cache(128)
def astray_registers(chip: Chip) -> tuple[int, ...]:
    """Return timing registers whose write may change what nobody reads back.

    That is where one flipped bit of the address leads to CLK, or to bits of another one that are no timing.
    """
    writes = tuple(w for writes in chip.timing.values() for w in merged_writes(writes))
    looked_at = dict.fromkeys(timing_registers(chip), 0) | {w.address: w.mask for w in writes}
    return tuple(
        dict.fromkeys(
            write.address
            for write in writes
            for address, mask in looked_at.items()
            if (write.address ^ address).bit_count() == 1 and write.mask & ~mask
        )
    )


def whole_timing(
    chip: Chip, writes: Iterable[RegisterWrite], reading: Mapping[int, int]
) -> tuple[RegisterWrite, ...]:
    """Return the timing `writes` as writes of whole registers, and CLK as it is: all of it is read back.

    For a chip that was not reset: an earlier run may have written there what we write, and then a write that
    goes to a wrong address is missed only in the register that it hits.

    Args:
        reading: what `timing_registers` held, by address.
    """
    whole = {address: reading[address] for address in timing_registers(chip)}
    for write in writes:
        whole[write.address] = whole[write.address] & ~write.mask | write.value & write.mask
    return tuple(RegisterWrite(address, value) for address, value in whole.items())


def _clock(chip: Chip) -> Field:
    return chip.field_by_name[chip.crystal.rom_clock or ""][0]


def _register_of(chip: Chip, one: Field) -> int:
    return chip.read_registers[one.block][one.word or 0]
