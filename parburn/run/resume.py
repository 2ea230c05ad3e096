"""What the ledger keeps of a chip's bits: readable values in clear, key blocks as keyed digests only.

What is kept lets a later run give the script the image that the first run's script saw, and tells whether a
key block still holds what it held. Pure functions; no I/O.
"""

from __future__ import annotations

import hashlib
import hmac
import json
from collections.abc import Collection, Iterable

from parburn.chips.model import Chip, Codec
from parburn.efuse import values
from parburn.efuse.image import EfuseImage
from parburn.efuse.layout import layout_of
from parburn.efuse.plan import BurnPlan
from parburn.efuse.user_values import Take, UserValue, ValueRules
from parburn.errors import UnitQuarantined, UnitRefused
from parburn.ledger.base import RangeValue, UserBits

DIGEST_MARK = "hmac:"
EARLIER = "earlier"
KNOWN_CONTENT = (Codec.CUSTOM_MAC, Codec.ADC_TP)  # codecs of fields in blocks that take keys too


def _parsed(record: str, chip: Chip) -> dict[str, dict[str, str]]:
    """Return a record of this kind of chip, parsed. Raises UnitRefused for one that nobody wrote."""
    try:
        found = json.loads(record)
        for blocks in (found["blocks"], found.get(EARLIER, {})):
            for name, text in blocks.items():
                if not 0 <= int(name) < len(chip.blocks) or not (
                    text.startswith(DIGEST_MARK) or int(text, 16) >= 0
                ):
                    raise ValueError(name)
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise UnitRefused(
            "what the ledger keeps of this chip cannot be understood",
            hint="See what is wrong with it: parburn ledger verify. Nothing is burned with it.",
        ) from error
    return dict(found)


def _digest(key: bytes, index: int, bits: int) -> str:
    return DIGEST_MARK + hmac.new(key, f"{index}:{bits:x}".encode(), hashlib.sha256).hexdigest()


def _may_hold_a_key(image: EfuseImage, index: int) -> bool:
    """Return whether a block may hold a key: it can be hidden, and shows no other known content.

    The classic chip keeps calibration or the custom MAC address in a block that takes keys too.
    """
    if not image.chip.blocks[index].rd_dis:
        return False
    shown = [
        one
        for one in image.chip.fields
        if one.block == index
        and one.shown_when
        and one.codec in KNOWN_CONTENT  # conditions of others may look at blocks that nobody has read
        and image.is_shown(one)
    ]
    if any(one.codec is Codec.CUSTOM_MAC and str(values.get(image, one)).endswith("OK)") for one in shown):
        return False
    return not any(one.codec is Codec.ADC_TP for one in shown)


def image_record(image: EfuseImage, key: bytes, indexes: Collection[int]) -> str:
    """Return JSON of these blocks: hex in clear, key blocks that hold anything as keyed digests.

    Args:
        image: What the chip holds.
        key: The ledger's key for digests (HMAC-SHA-256).
        indexes: Blocks that are about to be burned, and no others: only those have been read twice.
    """
    blocks = {
        str(index): _digest(key, index, bits) if bits and _may_hold_a_key(image, index) else f"{bits:x}"
        for index, bits in sorted(image.blocks.items())
        if index in indexes
    }
    return json.dumps({"blocks": blocks}, separators=(",", ":"))


def passed_record(image: EfuseImage, key: bytes, touched: Collection[int], before: str) -> str:
    """Return `image_record` of what a pass touched, with what is known of other blocks as `earlier`.

    The latter is the newest that the passes before knew; those blocks may have got more bits under another
    batch since.

    Args:
        image: What the chip holds.
        key: The ledger's key for digests.
        touched: Blocks that this pass burned, or found burned, and verified.
        before: What this function returned at the pass before, or nothing.
    """
    record = _parsed(image_record(image, key, touched), image.chip)
    known = _parsed(before, image.chip) if before else {"blocks": {}}
    earlier = {
        index: text
        for index, text in {**known.get(EARLIER, {}), **known["blocks"]}.items()
        if index not in record["blocks"]
    }
    return json.dumps(record | ({EARLIER: earlier} if earlier else {}), separators=(",", ":"))


def refuse_lacking(record: str, now: EfuseImage, key: bytes) -> None:
    """Raise UnitQuarantined where the chip lacks what it held at any of its passes, as far as known."""
    image_from_record(record, now, key)
    earlier = {}
    for name, text in _parsed(record, now.chip).get(EARLIER, {}).items():
        block, held = now.chip.blocks[int(name)], now.blocks.get(int(name), 0)
        # A digest cannot tell bits that came from bits that went: it counts where none can come.
        if not text.startswith(DIGEST_MARK) or not held or not now.is_writeable(block):
            earlier[name] = text
    image_from_record(json.dumps({"blocks": earlier}), now, key)


def recorded_texts(record: str, chip: Chip) -> tuple[dict[int, str], dict[int, str]]:
    """Return what a record says of each block, and its `earlier`: hex, or a digest behind DIGEST_MARK.

    Raises:
        UnitRefused: nobody of us wrote it.
    """
    said = _parsed(record, chip)
    now, earlier = said["blocks"], said.get(EARLIER, {})
    return {int(n): text for n, text in now.items()}, {int(n): text for n, text in earlier.items()}


def is_same_key(text: str, key: bytes, index: int, bits: int) -> bool:
    """Return whether a digest of a record is that of these bits of a block."""
    return hmac.compare_digest(text, _digest(key, index, bits))


def recorded_blocks(record: str, chip: Chip, *, with_earlier: bool = False) -> frozenset[int]:
    """Return the indexes of the blocks that `image_record`, and perhaps its `earlier`, speaks of."""
    said = _parsed(record, chip)
    return frozenset(map(int, (*said["blocks"], *(said.get(EARLIER, ()) if with_earlier else ()))))


def image_from_record(record: str, now: EfuseImage, key: bytes) -> EfuseImage:
    """Return the image as it was when `record` was made.

    Args:
        record: What `image_record` returned.
        now: What the chip holds now; it supplies key blocks that have not changed.
        key: The ledger's key for digests.

    Raises:
        UnitQuarantined: a bit that was set is gone, or a key block that held a key holds another.
    """
    blocks: dict[int, int] = {}
    layout = layout_of(now.chip)
    rd_dis = now.field_bits(layout.rd_dis)
    for name, text in _parsed(record, now.chip)["blocks"].items():
        index = int(name)
        block = now.chip.blocks[index]
        current = now.blocks.get(index)
        if not text.startswith(DIGEST_MARK):
            blocks[index] = int(text, 16)
            if current is not None and blocks[index] & ~current & ~layout.hidden(index, rd_dis):
                raise UnitQuarantined(
                    f"{block.name} lacks bits that it had in an earlier run: this is another chip",
                    hint="Two chips with one factory identity: take both out of the line.",
                )
        elif current is not None:
            if now.is_readable(block) and _digest(key, index, current) != text:
                raise UnitQuarantined(
                    f"{block.name} holds another key than in an earlier run",
                    hint="Take the board out of the line and mark it.",
                )
            blocks[index] = current
    return now.with_blocks(blocks)


def user_record(found: Iterable[UserValue], held: EfuseImage, rules: ValueRules, key: bytes) -> UserBits:
    """Return what the ledger keeps and compares of a chip that holds `held`.

    User blocks that can hold no key are kept in clear; values where a key may stand as keyed digests.
    """
    ranges = []
    options = []
    for value in found:
        if value.take is Take.SAME:
            continue
        option = "" if value.take is Take.OWN else f"--same {value.name}"
        if value.of_table and option:
            options.append((value.name, option))
        if not value.is_mac:  # those are compared by name, on chips of all kinds
            ranges.append(_range_value(value, option, key))
    bits = tuple((index, f"{held:x}") for index, held in rules.held(held).items() if held)
    return UserBits(rules.layout, bits, tuple(ranges), tuple(options))


def _range_value(value: UserValue, option: str, key: bytes) -> RangeValue:
    """Return a value for the ledger. Keys are digested without their place, other values with it.

    The place is where they begin: longer ones end in zeros.
    """
    if not value.secret:
        parts = "+".join(f"{block}[{start}:{start + bits}]" for block, start, bits in value.places)
        return RangeValue(value.name, parts, f"{value.bits:x}", value.shown, option)
    if value.is_key:
        parts, text = value.name, f"key:{value.bits:x}"
    else:
        parts = "+".join(f"{block}@{start}" for block, start, _ in value.places)
        text = f"{parts}:{value.bits:x}"
    digest = DIGEST_MARK + hmac.digest(key, text.encode(), "sha256").hex()
    return RangeValue(value.name, parts, digest, value.shown, option, value.is_key)


def refuse_other_chip(
    plan: BurnPlan, before: EfuseImage, now: EfuseImage, *, verified: Collection[str], last: bool
) -> None:
    """Raise UnitQuarantined unless `now` may be what an attempt at `plan` left of a chip that was `before`.

    Args:
        plan: What was attempted.
        before: The chip as it was then.
        now: The chip as it is.
        verified: Labels of the steps that were read back good.
        last: No later burn was begun, so that no bit may be set but those of the plan.
    """
    layout = layout_of(now.chip)
    rd_dis = now.field_bits(layout.rd_dis)
    for write in (write for step in plan.steps if step.label in verified for write in step.writes):
        index = write.block.index
        if write.want & ~now.block(index) & ~layout.hidden(index, rd_dis):
            raise UnitQuarantined(
                f"{write.block.name} lacks bits that were burned and verified: this is another chip",
                hint="Two chips with one factory identity: take both out of the line.",
            )
    for index, bits in now.blocks.items() if last else ():
        if index not in before.blocks or now.is_torn(index):
            continue  # what a torn block really holds shows when its word is burned again
        if bits & ~(before.block(index) | plan.want(index)):
            raise UnitQuarantined(
                f"{now.chip.blocks[index].name} holds bits that nobody asked for since it was begun",
                hint="Take the board out of the line and mark it: it must not ship.",
            )
