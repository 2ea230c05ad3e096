"""What the ledger's records say that a chip holds: blocks in clear, digests where a key may stand. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

from parburn.chips.model import Block, Chip
from parburn.efuse import values
from parburn.efuse.image import EfuseImage
from parburn.efuse.key_blocks import may_hold_key
from parburn.efuse.user_values import Declared, rules_of
from parburn.events import NO_VALUES
from parburn.ledger.base import UNTOUCHED, State
from parburn.ledger.unit_records import UnitRecord
from parburn.run.resume import DIGEST_MARK, recorded_texts


class RecordedChip(NamedTuple):
    """What is known of a chip's blocks, over all of its units.

    `blocks` are whole blocks as they were when the chip passed, hex or a digest. `earlier` are blocks as they
    were at a pass before that; another batch may have burned more since. `user_bits` are bits that it must
    have. `steps` are how far each step of all burns came, by its label; `open_blocks` are blocks into
    which a burn was begun that is not whole, `left` its steps that were never verified. `values` are those
    that no other chip may have, by field. `not_told` are blocks into which something may have been burned
    of which the record does not tell all.
    """

    chip: Chip
    blocks: dict[int, str]
    earlier: dict[int, str]
    user_bits: dict[int, int]
    steps: Mapping[str, State]
    open_blocks: frozenset[int] = frozenset()
    left: tuple[str, ...] = ()
    values: Mapping[str, str] = NO_VALUES
    not_told: frozenset[int] = frozenset()

    @property
    def block0(self) -> int | None:
        """What BLOCK0 held; None where that is not known."""
        text = self.blocks.get(0)
        return None if text is None else int(text, 16)


def recorded_chip(chip: Chip, records: Sequence[UnitRecord]) -> RecordedChip:
    """Return what the units of one chip say together.

    Args:
        chip: Its row.
        records: Its units; of what they say of one block, the last one's counts.

    Raises:
        UnitRefused: a record is none that we wrote.
    """
    blocks: dict[int, str] = {}
    earlier: dict[int, str] = {}
    bits: dict[int, int] = {}
    steps: dict[str, State] = {}
    begun: set[int] = set()
    left: list[str] = []
    named: dict[str, str] = {}
    for record in records:
        named |= record.life.unique_values
        if record.image_passed:
            now, before = recorded_texts(record.image_passed, chip)
            blocks |= now
            earlier |= before
        for index, held in record.user_bits.items():
            bits[index] = bits.get(index, 0) | held
        steps |= record.steps
        for attempt in record.attempts:
            now, _before = recorded_texts(attempt.image_before, chip)
            earlier |= {index: text for index, text in now.items() if index not in blocks}
            begun |= now.keys()
            left += attempt.remaining
    earlier = {index: text for index, text in earlier.items() if index not in blocks}
    told = {*blocks, *earlier, *(index for index, held in bits.items() if _is_all_clear(chip, index))}
    not_told = frozenset(index for index in _burned(chip, records) if index not in told)
    return RecordedChip(chip, blocks, earlier, bits, steps, frozenset(begun), tuple(left), named, not_told)


def _is_all_clear(chip: Chip, index: int) -> bool:
    """Return whether what is kept of a block's values is all that it holds."""
    return rules_of(chip, Declared()).areas.get(index) == chip.blocks[index].mask


def _burned(chip: Chip, records: Sequence[UnitRecord]) -> frozenset[int]:
    """Return the blocks into which something was burned, as far as it is known; else all of them.

    It is not known of units that were burned with another ledger, or with a parburn that kept no image.
    """
    burned = [record for record in records if record.state not in UNTOUCHED]
    if any(record.taken_over or not record.image_passed for record in burned):
        return frozenset(block.index for block in chip.blocks)
    names = {
        name for record in records for label in record.steps for name in label.partition(" ")[0].split("+")
    }
    return frozenset(block.index for block in chip.blocks if names & set(block.names))


def key_lines(recorded: RecordedChip) -> Iterator[str]:
    """Yield a line for each key that the chip holds: its block, its purpose, how it is locked."""
    image = EfuseImage(recorded.chip, {0: recorded.block0 or 0})
    for block in recorded.chip.blocks:
        if may_hold_key(recorded.chip, block):
            said = _how_burned(recorded, image, block)
            if said:
                yield f"{block.name}: {', '.join((said, *_how_locked(recorded, image, block)))}"


def _how_burned(recorded: RecordedChip, image: EfuseImage, block: Block) -> str:
    """Return how far a key came; empty: none was burned there as far as is known."""
    for label, state in recorded.steps.items():
        if block.name in label.removesuffix(" again").split("+"):
            return (
                "burned and verified" if state in (State.VERIFIED, State.LOCKED) else "burned, not verified"
            )
    text = recorded.blocks.get(block.index) or recorded.earlier.get(block.index, "")
    if text.startswith(DIGEST_MARK):
        return "burned"
    return "" if image.is_readable(block) else "hidden, whatever it holds"


def _how_locked(recorded: RecordedChip, image: EfuseImage, block: Block) -> Iterator[str]:
    if recorded.block0 is None:
        yield "how it is locked is not known before it is whole"
        return
    if block.key_purpose is not None:
        yield f"purpose {values.get(image, recorded.chip.field_by_name[block.key_purpose][0])}"
    locks = (("read", image.is_readable(block)), ("write", image.is_writeable(block)))
    yield f"{' and '.join(word for word, is_open in locks if not is_open) or 'not'} locked"
