"""Tells a pulse that nobody planned by what it left in the blocks. Pure; reads no chip and burns nothing.

The line has no checksum and the loader executes what it gets, so damage near a program command may burn what
was staged for one block into another one. All blocks are read after it, and each is judged by how well it is
known what the block held before:

* *surely known* (the blocks of the plan and BLOCK0, of which two readings agreed; blocks of a record): any
  bit, and any coding error, beyond what the pulses were to leave there comes from a pulse that nobody
  planned.
* *read once*: the same, except for what one damaged byte of that reading would explain, since replies carry
  no checksum: bits within one byte of a block that held something, without a coding error. A pulse on top of
  what a coded block holds breaks its code.
* *never read*: only the staged data tells. A pulse hit it when the block holds all bits of the data of a step
  that was not meant for it, and chance does not explain that: a foreign block with as many bits set would
  hold them all with a chance below 1 in 2**32 (32 bits in a block that is half full, six in one that has no
  other bit), or the block holds nothing else and the data has six bits or more. A pulse hit it, too, when the
  block's decoder took all of it for damage and corrected it (BLOCK0's data comes without check words): then
  the block reports as many wrong bytes as this data makes, three at least. And a coding error that an
  earlier reading of the error registers, which speak of several blocks, did not show comes from a pulse.

What else a never read block holds (calibration, an earlier job, a single bit from the factory that happens to
be one of the step's) is told, not judged.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Collection
from typing import NamedTuple

from parburn.chips.model import PGM_WORDS, Block
from parburn.coding import CodingScheme, encode_rs
from parburn.efuse.image import GOOD, EfuseImage
from parburn.efuse.plan import BlockWrite, BurnPlan, three_quarters_data

TELLING_CHANCE = 32  # powers of two
TELLING_BITS = 6  # (6 / 256) ** 6 is the chance above
TELLING_ERRORS = 3  # wrong bytes; one or two are a cell that failed


class Findings(NamedTuple):
    """What reading all blocks has shown, as parts of a sentence that name blocks and never their bits.

    `stray`: what only a pulse that nobody planned explains. `told`: content that nobody had read before.
    """

    stray: str = ""
    told: str = ""


def look_for_stray(
    staged: BurnPlan, burned: BurnPlan, before: EfuseImage, now: EfuseImage, sure: Collection[int]
) -> Findings:
    """Judge every block of `now` as the module says.

    Args:
        staged: all whose data may have stood in the programming registers.
        burned: what the pulses since `before` were to burn.
        sure: the blocks of `before` that are surely known.
    """
    expected = burned.apply(before)  # what the last step hides may show yet
    written = {write.block.index for step in burned.steps for write in step.writes}
    stray: list[str] = []
    told: list[str] = []
    for block in now.chip.blocks:
        index = block.index
        if index not in now.blocks:
            continue
        if index not in before.blocks:
            source = _source_of(block, staged, now)
            errors = _new_errors(before, now, index)
            if source:
                stray.append(f"{block.name} holds the data that was staged for {source}")
            elif errors:
                stray.append(_gain(block, 0, errors))
            elif now.block(index) or _errors(now, index):
                told.append(block.name)
            continue
        held = before.block(index)
        gained = now.block(index) & ~(held | expected.block(index) | burned.want(index))
        errors = 0
        if index not in written:
            errors = _new_errors(before, now, index)
        elif now.is_torn(index):
            continue  # the decoder guesses; this very block is verified, and burned again
        if errors or (gained and (index in sure or not _one_damaged_byte(held, gained))):
            stray.append(_gain(block, gained, errors))
        elif gained:
            told.append(block.name)
    return Findings("; ".join(stray), ", ".join(told))


def _gain(block: Block, gained: int, errors: int) -> str:
    if gained:
        return f"{block.name} has {gained.bit_count()} bits that nobody asked for"
    return f"{block.name} reports {errors} coding errors, and nothing was to be burned there"


def _errors(image: EfuseImage, index: int) -> int:
    """Return one block's coding errors; 0 on the classic controller, whose one report is for all blocks."""
    if not image.chip.controller.reports_each_block:
        return 0
    status = image.status.get(index, GOOD)
    return max(status.errors, int(status.fail))


def _new_errors(before: EfuseImage, now: EfuseImage, index: int) -> int:
    return max(0, _errors(now, index) - _errors(before, index)) if index in before.status else 0


def _one_damaged_byte(held: int, gained: int) -> bool:
    """Tell whether one wrong byte of the earlier reading explains what a block has gained.

    Of a block that showed nothing at all a damaged byte would have had to hide everything.
    """
    low = (gained & -gained).bit_length() - 1
    return held != 0 and gained.bit_length() - 1 <= low | 7


def _source_of(block: Block, staged: BurnPlan, now: EfuseImage) -> str:
    """Name the block whose data this never read block holds, or nothing."""
    for step in staged.steps:
        for write in step.writes:
            if write.block.index != block.index and (_holds(block, write, now) or _mended(block, write, now)):
                return write.block.name
    return ""


def _holds(block: Block, write: BlockWrite, now: EfuseImage) -> bool:
    """Tell whether a block shows all bits that a pulse with another block's words sets, by no accident."""
    words = write.words[: block.words]
    data = int.from_bytes(struct.pack(f"<{len(words)}I", *words), "little")
    if now.scheme(block.index) is CodingScheme.THREE_QUARTERS:
        data = three_quarters_data(data)
    shown = now.block(block.index)
    if not data or data & ~shown:
        return False
    bits = data.bit_count()
    if shown == data:
        return bits >= TELLING_BITS
    return bits * math.log2(now.block_bits(block.index) / shown.bit_count()) >= TELLING_CHANCE


def _mended(block: Block, write: BlockWrite, now: EfuseImage) -> bool:
    """Tell whether the decoder took a pulse with another block's words for damage, and corrected it."""
    status = now.status.get(block.index, GOOD)
    if now.scheme(block.index) is not CodingScheme.RS or status.fail or status.errors < TELLING_ERRORS:
        return False
    size, gap = 4 * block.words, bytes(4 * (PGM_WORDS - block.words))
    words = struct.pack(f"<{len(write.words)}I", *write.words)
    pulse = words[:size] + gap + words[4 * PGM_WORDS :]
    right = encode_rs(now.block(block.index).to_bytes(4 * PGM_WORDS, "little"))
    wrong = sum(cells | byte != cells for cells, byte in zip(right, pulse, strict=True))
    return wrong == status.errors
