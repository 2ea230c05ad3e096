"""A chip compared with its records: what is missing, what was never burned, what is hidden. Pure.

Of a block that may hold a key nothing is told but its name: no bit of it leaves here.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import NamedTuple

from parburn.chips.model import Block, Codec, Field
from parburn.efuse.image import GOOD, EfuseImage
from parburn.efuse.key_blocks import may_hold_key
from parburn.efuse.layout import layout_of
from parburn.efuse.user_values import Declared, beside_the_mac, rules_of, values_found
from parburn.recovery.rebuilt_unit import blank_of
from parburn.recovery.recorded_chip import RecordedChip
from parburn.run.resume import DIGEST_MARK, is_same_key

BITS_NAMED = 8  # of a field: more of them are counted


class Comparison(NamedTuple):
    """Sentences about what differs, and about what cannot be compared: it is hidden, or was not recorded.

    `unrecorded` is in the chip, in places of which no record speaks: it may have been there before.
    """

    missing: tuple[str, ...] = ()
    extra: tuple[str, ...] = ()
    not_compared: tuple[str, ...] = ()
    unrecorded: tuple[str, ...] = ()

    @property
    def differs(self) -> bool:
        """Whether the chip is not what is recorded of it."""
        return bool(self.missing or self.extra)


class _Known(NamedTuple):
    """What is recorded of one block: bits that must be there, and what other bits in it tell."""

    must: int
    judged: int = 0  # where any other bit was never burned
    silent: int = 0  # where no record speaks of a bit


def compare(recorded: RecordedChip, now: EfuseImage, key: bytes) -> Comparison:
    """Compare what a chip shows with what is recorded of it.

    Args:
        recorded: What its units say.
        now: All of its blocks.
        key: The ledger's key for digests.
    """
    found: dict[str, list[str]] = {name: [] for name in Comparison._fields}
    named, of_names = _compared_by_name(recorded, now)
    for kind, text in named:
        found[kind].append(text)
    for block in now.chip.blocks:
        for kind, text in _of_block(recorded, now, block, key, of_names.get(block.index, 0)):
            found[kind].append(text)
        errors = now.block0_errors.bit_count() if block.index == 0 else _coding_errors(now, block)
        if errors:
            found["unrecorded"].append(f"{errors} coding errors in {block.name}, of which no record speaks")
    if recorded.not_told:
        names = ", ".join(now.chip.blocks[index].name for index in sorted(recorded.not_told))
        found["not_compared"].append(f"what was burned into {names} is not recorded: it may be missing there")
    return Comparison(**{name: tuple(texts) for name, texts in found.items()})


def _compared_by_name(
    recorded: RecordedChip, now: EfuseImage
) -> tuple[list[tuple[str, str]], Mapping[int, int]]:
    """Compare values whose bits are not recorded. Return what is told, and the bits by block that agree."""
    rules = rules_of(now.chip, Declared())
    fields = {f.name: f for _, f in rules.fields}
    shown = {value.name: value.shown for value in values_found(now, rules)}
    by_bits = {*recorded.blocks, *recorded.earlier, *recorded.user_bits}
    told: list[tuple[str, str]] = []
    agreed: dict[int, int] = {}
    for name, value in recorded.values.items():
        f = fields.get(name)
        if f is None:
            if recorded.not_told:
                told.append(("not_compared", f"{name} cannot be compared: no table that was given has it"))
        elif f.block in by_bits:
            continue
        elif shown.get(name) == value:
            agreed[f.block] = agreed.get(f.block, 0) | _bits_of(now, f)
        elif _is_readable(now, f):
            told.append(("missing", f"missing: {name} {value}"))
    return told, agreed


def _is_readable(now: EfuseImage, f: Field) -> bool:
    """Return whether all bits of a field can be read. What a block hides is told block by block."""
    layout = layout_of(now.chip)
    return not f.mask & layout.hidden(f.block, now.field_bits(layout.rd_dis))


def _bits_of(now: EfuseImage, f: Field) -> int:
    """Return the bits of a field, and those that are burned with it."""
    return f.mask | (beside_the_mac(now.chip, f.block) if f.codec is Codec.CUSTOM_MAC else 0)


def _of_block(
    recorded: RecordedChip, now: EfuseImage, block: Block, key: bytes, agreed: int
) -> Iterator[tuple[str, str]]:
    text = recorded.blocks.get(block.index, recorded.earlier.get(block.index, ""))
    if text.startswith(DIGEST_MARK):
        yield from _of_key(text, now, block, key)
        return
    known = _known(recorded, now, block)
    layout = layout_of(now.chip)
    hidden = layout.hidden(block.index, now.field_bits(layout.rd_dis))
    shown = now.block(block.index)
    if hidden and (known is None or known.must & hidden or may_hold_key(now.chip, block)):
        yield "not_compared", f"{block.name} is read-protected: what it holds cannot be compared"
    silent = block.mask if known is None else known.silent
    more = shown & silent & ~agreed & ~blank_of(now).blocks.get(block.index, 0)
    if more:
        yield "unrecorded", f"{_places(now, block, more)}, of which no record speaks"
    if known is None:
        return
    missing, extra = known.must & ~shown & ~hidden, shown & ~known.must & known.judged
    if missing:
        yield "missing", f"missing: {_places(now, block, missing)}"
    if extra:
        yield "extra", f"extra: {_places(now, block, extra)}"


def _coding_errors(now: EfuseImage, block: Block) -> int:
    """Return how many bits of a block the chip corrects, or cannot correct: what it shows may look right."""
    status = now.status.get(block.index, GOOD)
    return max(status.errors, int(status.fail))


def _of_key(text: str, now: EfuseImage, block: Block, key: bytes) -> Iterator[tuple[str, str]]:
    bits = now.block(block.index)
    if not now.is_readable(block):
        yield "not_compared", f"{block.name} is read-protected: its key cannot be compared"
    elif not bits:
        yield "missing", f"missing: the key in {block.name}"
    elif not is_same_key(text, key, block.index, bits):
        yield "extra", f"{block.name} holds another key than the one that is recorded"


def _known(recorded: RecordedChip, now: EfuseImage, block: Block) -> _Known | None:
    """Return what is recorded of a block in clear; None for nothing."""
    user = recorded.user_bits.get(block.index, 0)
    area = rules_of(now.chip, Declared()).areas.get(block.index, 0)
    text = recorded.blocks.get(block.index) or recorded.earlier.get(block.index)
    if text is None:
        return _Known(user, judged=area, silent=block.mask & ~area & ~user) if user else None
    held = int(text, 16)
    if block.index not in recorded.open_blocks:
        return _Known(held | user, judged=block.mask)
    if user:  # a burn that is not whole: what it was to leave there is known, and may be missing
        return _Known(held, judged=area & ~user)
    return _Known(held)


def _places(now: EfuseImage, block: Block, bits: int) -> str:
    """Return which fields have these bits, and which bits they are; of keys the block only."""
    if may_hold_key(now.chip, block):
        return f"bits in {block.name}"
    parts = []
    left = bits
    for mask, field in layout_of(now.chip).fields[block.index]:
        if mask & left and field.name not in block.names and now.is_shown(field):
            parts.append(f"{field.name} ({_numbers(mask & left)})")
            left &= ~mask
    if left:
        parts.append(_numbers(left))
    return f"{', '.join(parts)} of {block.name}"


def _numbers(bits: int) -> str:
    numbers = [n for n in range(bits.bit_length()) if bits >> n & 1]
    if len(numbers) > BITS_NAMED:
        return f"{len(numbers)} bits from {numbers[0]} to {numbers[-1]}"
    return f"bit{'s' * (len(numbers) > 1)} {', '.join(map(str, numbers))}"
