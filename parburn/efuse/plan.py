"""plan_burns: from what a chip shows and what is staged to a BurnPlan, or a PlanError. Pure; burns nothing.

A plan is a value: it can be shown, compared, and applied to an image, which is what a dry run does. All
checks come before it exists, so a plan that exists breaks no rule that is known.

Order of the steps, each one program command:

1. the blocks from the highest down to BLOCK1 (the classic controller burns all of them with one command);
2. BLOCK0 without the fields that lock or cut;
3. the locks of BLOCK0 (`chip.burned_last`): by now all they could hide or freeze has been verified. Bits of
   RD_DIS and WR_DIS that lock nothing of step 2 are burned with it: what they lock was verified in step 1;
4. fields after which the chip answers no more, so that the locks too are verified before. Bits of WR_DIS that
   would keep such a field from being burned go with it.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Literal, NamedTuple

from parburn.chips.model import CHECK_WORDS, PGM_WORDS, Block, Chip, LinkEndKind
from parburn.coding import CodingScheme, encode_rs, encode_three_quarters
from parburn.efuse import hints, rules
from parburn.efuse.image import GOOD, EfuseImage
from parburn.efuse.layout import ENDS_ANSWERS, Layout, layout_of
from parburn.efuse.staged import StagedBurns
from parburn.errors import PlanError
from parburn.events import PlannedBlock

_STAGED = struct.Struct(f"<{PGM_WORDS + CHECK_WORDS}I")  # what the shared programming registers hold
EndsLink = LinkEndKind | Literal[""]  # the kind, or empty: the link goes on


class BlockWrite(NamedTuple):
    """What one program command does to one block.

    `want` is the bits to burn as they will be read. `words` is what the programming registers hold: 8 data
    and 3 check words for the PGM controllers, the block's WDATA words for the classic one. A BLOCK0 of more
    than 8 words, which has no check words, runs on into their registers. `again` marks bits that are there
    and are burned once more, to repair a coding error.
    """

    block: Block
    want: int
    words: tuple[int, ...]
    again: bool = False

    def __repr__(self) -> str:  # the words may be a key's
        return f"BlockWrite({self.block.name})"


class BurnStep(NamedTuple):
    """One program command. `locks`: burns fields of `chip.burned_last`. `ends_link`: the kind, or empty."""

    writes: tuple[BlockWrite, ...]
    label: str
    fields: tuple[str, ...]
    locks: bool = False
    ends_link: EndsLink = ""


@dataclass(frozen=True)
class BurnPlan:
    """The steps of a burn, in order. Empty (false) when nothing is to be burned.

    `forced` are the refusals that were passed over because --force or --force-write-always asks for that, as
    sentences.
    """

    chip: Chip = field(repr=False, compare=False)
    steps: tuple[BurnStep, ...] = ()
    forced: tuple[str, ...] = field(default=(), compare=False)

    def __bool__(self) -> bool:
        return bool(self.steps)

    def want(self, block_index: int) -> int:
        """Return all bits that the plan burns in a block."""
        bits = 0
        for step in self.steps:
            for write in step.writes:
                if write.block.index == block_index:
                    bits |= write.want
        return bits

    def apply(self, image: EfuseImage) -> EfuseImage:
        """Return what the chip shows after the burn: WR_DIS holds bits back, RD_DIS hides them.

        Raises:
            BlockNotRead: a block of the plan is not in the image.
        """
        for step in self.steps:
            blocks = {}
            status = {}
            for write in step.writes:
                index = write.block.index
                burned = write.want & ~rules.protected_bits(image, write.block)
                blocks[index] = image.block(index) | burned
                if write.again and index in image.status:
                    status[index] = GOOD
            mended = 0 if any(write.again and write.block.index == 0 for write in step.writes) else None
            image = image.with_blocks(_recoded(image, blocks), status, mended)
        return image.as_shown()

    def keyed_digest(self, key: bytes) -> str:
        """Return an HMAC-SHA256 over chip, order and bits, in hex; equal plans have equal digests."""
        import hmac  # here: only a run with a ledger needs it

        lines = [self.chip.name]
        for step in self.steps:
            lines.append(f"step {step.label} {step.ends_link}")
            lines += (f"{write.block.index} {write.want:x} {write.again:d}" for write in step.writes)
        return hmac.digest(key, "\n".join(lines).encode(), "sha256").hex()

    def describe(self) -> tuple[PlannedBlock, ...]:
        """Return the plan as an operator sees it: a row per block and step, never key material."""
        layout = layout_of(self.chip)
        return tuple(
            PlannedBlock(
                block=step.label if len(step.writes) == 1 else write.block.name,
                bits=write.want.bit_count(),
                fields=layout.names(write.block.index, write.want),
                locks=step.locks,
                ends_link=step.ends_link,
            )
            for step in self.steps
            for write in step.writes
        )


def needed_blocks(staged: StagedBurns) -> frozenset[int]:
    """Return the indexes of the blocks that must have been read to plan these burns."""
    wanted = (one.block for one in staged.wanted)
    return frozenset((0, *staged.blocks(), *staged.recovering, *wanted))


def plan_burns(image: EfuseImage, staged: StagedBurns) -> BurnPlan:
    """Return the plan that burns what is staged, without what the chip holds already.

    Raises:
        PlanError: the hardware's rules forbid it.
        EfuseError: the chip's coding scheme cannot be burned.
        BlockNotRead: a block that is needed is not in the image; see `needed_blocks`.
        ChipDataError: the chip's row names a rule that is not here.
    """
    layout = layout_of(image.chip)
    last = image.chip.blocks[-1].index
    image.scheme(last)  # a chip in a coding scheme that cannot be used is left alone, BLOCK0 too
    image.with_blocks({0: image.block(0) | staged.block(0)}).scheme(last)  # and none is brought into it
    forced: list[str] = []
    skipped = forced if staged.force else None
    any_rule = forced if staged.force or staged.ignored_rules else None
    _refuse(rules.broken_rule(image, staged), any_rule, hints.RULE)
    for one, reason in rules.unlike(image, staged):
        if rules.locked_anew(image, staged, one.block) & one.mask:
            _refuse(f"{reason}; what is locked must be right to the bit", None, hints.NOT_ITS_VALUE)
        _refuse(reason, skipped, hints.NOT_ITS_VALUE)
    wants: dict[int, int] = {}
    for index, bits in staged.blocks().items():
        want = _checked(image, layout.blocks[index], bits, skipped)
        if want:
            wants[index] = want
    again = {index: image.block(index) for index in staged.recovering}
    writes = [
        _write(image, layout.blocks[index], again.get(index, 0) | wants.get(index, 0), again=index in again)
        for index in sorted({*wants, *again} - {0}, reverse=True)
    ]
    steps = _block_steps(layout, writes)
    if 0 in again:
        steps += _block0_steps(image, layout, again[0] & ~wants.get(0, 0), again=True)
    steps += _block0_steps(image, layout, wants.get(0, 0))
    return BurnPlan(image.chip, tuple(steps), tuple(forced))


def _refuse(reason: str | None, forced: list[str] | None, hint: str) -> None:
    """Raise PlanError for a reason, or note it where `forced` takes what is passed over."""
    if reason is not None:
        if forced is None:
            raise PlanError(reason, hint=hint)
        forced.append(reason)


def _checked(image: EfuseImage, block: Block, bits: int, forced: list[str] | None) -> int:
    """Return the bits of one block to burn, 0 for none. The order of the checks is the original's."""
    if bits >> image.block_bits(block.index):
        raise PlanError(f"what is staged for {block.name} does not fit into it")
    _refuse(rules.read_protected(image, block), forced, hints.HIDDEN)
    locked = rules.write_protected(image, block)
    _refuse(locked, forced, hints.locked(block))
    have = image.block(block.index)
    missing = bits & ~have
    if not missing:
        return 0
    _refuse(locked, None, hints.locked(block))  # forced or not, no bit would land
    _refuse(rules.identity(image, block, missing), None, hints.IDENTITY)
    if image.is_readable(block):
        _refuse(rules.hidden_fields(image, block, missing), None, hints.HIDDEN_FIELDS)
    _refuse(rules.coding_hidden(image, block), forced, hints.CODING_HIDDEN)
    scheme = image.scheme(block.index)
    _refuse(rules.identity_coded(image, scheme, block, have), None, hints.IDENTITY)
    one_burn = hints.ONE_BURN if scheme is CodingScheme.RS else hints.ONE_BURN_A_CHUNK
    _refuse(rules.second_write(scheme, block, have, bits), forced, one_burn)
    if image.is_writeable(block):
        _refuse(rules.write_protected_fields(image, block, missing), forced, hints.LOCKED_FIELDS)
        bits &= have | ~rules.protected_bits(image, block)  # forced: what cannot land is not waited for
    if scheme is CodingScheme.NONE:
        return bits & ~have
    return rules.chunks_missing(have, bits) if scheme is CodingScheme.THREE_QUARTERS else bits


def _write(image: EfuseImage, block: Block, want: int, *, again: bool = False) -> BlockWrite:
    return BlockWrite(block, want, _words(image.chip, image.scheme(block.index), block, want), again)


def _words(chip: Chip, scheme: CodingScheme, block: Block, want: int) -> tuple[int, ...]:
    if not chip.controller.shares_registers:
        if scheme is CodingScheme.THREE_QUARTERS:
            return struct.unpack("<8I", encode_three_quarters(want.to_bytes(24, "little")))
        return struct.unpack(f"<{block.words}I", want.to_bytes(4 * block.words, "little"))
    if scheme is CodingScheme.RS:  # a block of six words is filled up with zeros
        return _STAGED.unpack(encode_rs(want.to_bytes(4 * PGM_WORDS, "little")))
    return _STAGED.unpack(want.to_bytes(_STAGED.size, "little"))


def _block_steps(layout: Layout, writes: list[BlockWrite]) -> list[BurnStep]:
    """Group the writes of all blocks but BLOCK0 into program commands."""
    if writes and not layout.chip.controller.shares_registers:
        return [_step(layout, writes, "+".join(write.block.name for write in writes))]
    return [_step(layout, (write,), write.block.name) for write in writes]


def _step(
    layout: Layout, writes: Iterable[BlockWrite], label: str, locks: bool = False, ends_link: EndsLink = ""
) -> BurnStep:
    writes = tuple(writes)
    names = (name for write in writes for name in layout.names(write.block.index, write.want))
    return BurnStep(writes, label, tuple(names), locks, ends_link)


def _block0_steps(image: EfuseImage, layout: Layout, want: int, *, again: bool = False) -> list[BurnStep]:
    """Split BLOCK0: ordinary fields, then locks, then what the chip answers no more after."""
    locks = want & layout.locks
    last = 0
    for mask, kind in layout.link_ends:
        if kind in ENDS_ANSWERS:
            last |= want & mask
    if last:
        last |= _locks_of(layout, locks, last)
    block = layout.blocks[0]
    ordinary, locks = want & ~locks & ~last, locks & ~last
    joined = bool(ordinary and locks) and not again and _locks_only_other_blocks(layout, locks, ordinary)
    parts = (
        (
            ordinary | locks if joined else ordinary,
            f"{block.name} and locks" if joined else block.name,
            joined,
        ),
        (0 if joined else locks, f"{block.name} locks", True),
        (last, f"{block.name} link end", True),
    )
    return [
        _step(
            layout,
            (_write(image, block, bits, again=again),),
            f"{label} again" if again else label,
            is_lock,
            _link_end(layout, bits),
        )
        for bits, label, is_lock in parts
        if bits
    ]


def _locks_only_other_blocks(layout: Layout, locks: int, ordinary: int) -> bool:
    """Tell whether `locks` are RD_DIS and WR_DIS bits that neither freeze nor hide the ordinary fields.

    Such bits may be burned in one pulse with those fields: one that does not land can be burned again, and
    nothing that is enabled by it depends on it.
    """
    if locks & ~(layout.wr_dis.mask | layout.rd_dis.mask):
        return False
    rd_dis = (locks & layout.rd_dis.mask) >> (layout.rd_dis.start or 0)
    return not _locks_of(layout, locks, ordinary) and not layout.hidden(0, rd_dis) & ordinary


def _locks_of(layout: Layout, locks: int, fields: int) -> int:
    """Return those bits of WR_DIS among `locks` that would write-protect any of `fields` of BLOCK0."""
    wr_dis = layout.wr_dis
    start = wr_dis.start or 0
    found = 0
    for bit in range(wr_dis.bits):
        if locks >> start + bit & 1 and layout.protected(0, 1 << bit) & fields:
            found |= 1 << start + bit
    return found


def _link_end(layout: Layout, bits: int) -> EndsLink:
    """Return the kind of link end that burning these bits of BLOCK0 brings; the hardest one wins."""
    kinds = {kind for mask, kind in layout.link_ends if mask & bits}
    return next((kind for kind in LinkEndKind if kind in kinds), "")


def _recoded(image: EfuseImage, blocks: dict[int, int]) -> dict[int, int]:
    """Add what the other blocks show once a burn of BLOCK0 turned their coding to 3/4: only data bytes."""
    f = image.chip.scheme_field
    if f is None or 0 not in blocks:
        return blocks
    after = image.with_blocks({0: blocks[0]})
    if image.field_bits(f) == 1 or after.field_bits(f) != 1:
        return blocks
    for index, raw in image.blocks.items():
        if index:
            blocks[index] = three_quarters_data(raw)
    return blocks


def three_quarters_data(raw: int) -> int:
    """Return the data bits of a block's raw words under 3/4 coding: six bytes of each eight."""
    chunk = (1 << 48) - 1
    return sum((raw >> 64 * n & chunk) << 48 * n for n in range(4))


def remaining(plan: BurnPlan, image: EfuseImage, *, verified: frozenset[int] = frozenset()) -> BurnPlan:
    """Return the part of a plan that the chip still lacks.

    A coded block with anything missing is burned whole, with the same data as before.

    Args:
        verified: the blocks that a record says were read back good before they were hidden: bits that read
            protection hides count as burned only there.

    Raises:
        PlanError: what is missing cannot be known, or cannot be burned.
        BlockNotRead: a block of the plan is not in the image.
    """
    steps = []
    layout = layout_of(plan.chip)
    for step in plan.steps:
        writes = [_left(write, image, layout, verified, plan.forced) for write in step.writes]
        left = tuple(write for write in writes if write is not None)
        if left:
            label = step.label if len(step.writes) == 1 else "+".join(write.block.name for write in left)
            steps.append(_step(layout, left, label, step.locks, step.ends_link))
    return BurnPlan(plan.chip, tuple(steps))


def _left(
    write: BlockWrite, image: EfuseImage, layout: Layout, verified: frozenset[int], forced: tuple[str, ...]
) -> BlockWrite | None:
    block = write.block
    hidden = layout.hidden(block.index, image.field_bits(layout.rd_dis))
    if write.want & hidden and block.index not in verified:
        raise PlanError(
            f"{block.name} is read-protected, and no record says that it was verified before",
            hint="whether it holds its data cannot be known; set this chip aside",
        )
    missing = write.want & ~hidden & ~image.block(block.index)
    status = image.status.get(block.index, GOOD)
    bad = image.block0_errors > 0 if block.index == 0 else status.errors > 0 or status.fail
    coded = image.scheme(block.index) is not CodingScheme.NONE
    frozen = rules.protected_bits(image, block)
    if block.index == 0:
        # A pulse that broke off may leave bits that are set in some of their copies only.
        missing |= write.want & ~hidden & image.block0_errors & ~frozen
    torn = coded and bad and not write.want & (hidden | frozen)  # reads right by the code's grace only
    if not missing and not torn and not (write.again and bad):
        return None
    if missing & frozen:
        raise PlanError(
            f"{block.name} is write-protected and lacks bits that this plan burned before it was",
            hint="this is not the chip that the plan was made for",
        )
    if missing and coded and not write.again and not bad and block.index in image.status:
        # A pulse that broke off leaves no code word: what reads without an error was written as it stands.
        other = rules.second_write(image.scheme(block.index), block, image.block(block.index), write.want)
        if other not in forced:
            _refuse(other, None, "this block was burned by another job; set this chip aside")
    if write.again or coded:
        return write
    return _write(image, block, missing)
