"""What a chip holds of a record: the unit as the ledger is to have it after it was lost. Pure.

What the scripts ask for on the chip as it was before is compared with what it shows now. Where all of it
is there the unit has passed; where bits are missing it can go on with the very same plan; where the chip
hides bits somebody must vouch for them.
"""

from __future__ import annotations

from parburn.chips.model import Chip, Codec, FieldCategory
from parburn.efuse.image import EfuseImage
from parburn.efuse.layout import layout_of
from parburn.efuse.user_values import values_found, values_of
from parburn.hardware.identify import Device
from parburn.ledger.base import Attempt, State, UnitIdentity
from parburn.ledger.rebuilding import FoundUnit
from parburn.run.burns import named_values
from parburn.run.resume import image_record, passed_record, user_record
from parburn.run.shared import SharedRun
from parburn.script.computed_burns import Computed

# Categories of BLOCK0's fields that no script writes.
FACTORY = (FieldCategory.MAC, FieldCategory.IDENTITY, FieldCategory.CALIBRATION)
TRUST = "parburn ledger release --trust-hidden-keys"


def identity_of(device: Device) -> UnitIdentity:
    """Return this chip's identity as the ledger knows it."""
    return UnitIdentity(device.chip.name, device.identity.mac_text, device.identity.unique_id.hex())


def blank_of(image: EfuseImage) -> EfuseImage:
    """Return a chip as the factory made it: user blocks, key blocks and all choices of BLOCK0 are empty.

    What the factory burns (MAC, identity, calibration, the coding scheme) stays.
    """
    chip = image.chip
    kept = 0
    for one in chip.fields:
        is_kept = one.category in FACTORY or one.name == chip.coding_field
        if one.block == 0 and one.start is not None and is_kept:
            kept |= one.mask
    custom = {one.block for one in chip.fields if one.custom or one.codec is Codec.CUSTOM_MAC}
    blocks = {}
    for block in chip.blocks:
        if block.index == 0:
            blocks[0] = image.block(0) & kept
        elif block.rd_dis or block.for_keys or block.index in custom or _is_data(chip, block.index):
            blocks[block.index] = 0
        else:
            blocks[block.index] = image.blocks.get(block.index, 0)
    return EfuseImage(chip, blocks, registers=image.registers)


def _is_data(chip: Chip, index: int) -> bool:
    """Return whether nothing in a block has a name but the block."""
    names = chip.blocks[index].names
    return all(one.name in names for one in chip.fields if one.block == index and one.start is not None)


def found_unit(
    run: SharedRun, device: Device, now: EfuseImage, index: int, own: Computed, key: bytes
) -> FoundUnit:
    """Return the unit as the ledger is to have it: PASS, INCOMPLETE or QUARANTINED, by what it holds.

    Args:
        run: The run, for the rules of its values and its job's digest.
        device: The chip.
        now: What it holds.
        index: The index of the record that it carries.
        own: What the scripts ask for on this chip as it was before.
        key: The ledger's key for digests.
    """
    rules = run.value_rules(now.chip)
    held = now if own.error is not None else own.held
    values = values_found(now, rules) if own.error is not None else values_of(held, own.written, rules)
    hidden, lacking = _hidden(now, own), _lacking(now, own)
    attempts: tuple[Attempt, ...] = ()
    state, reason, image = State.INCOMPLETE, "", ""
    if own.error is not None:
        reason = f"bound by ledger rebuild; the script refuses to go on: {own.error}"
    elif hidden:
        state, attempts = State.QUARANTINED, _attempts(own, key, hidden)
        names = ", ".join(now.chip.blocks[n].name for n in sorted(hidden))
        reason = (
            f"bound, key cannot be read ({names}). Whoever knows that it is right: "
            f"{TRUST} {device.identity.mac_text} --why REASON"
        )
    elif lacking:
        attempts = _attempts(own, key, frozenset())
        names = ", ".join(now.chip.blocks[n].name for n in sorted(lacking))
        reason = f"bound; not whole, {names} lacks bits: it goes on with this index"
    else:
        state = State.PASS
        # What else it holds, by whatever job, is its record from now on: nothing else tells of it.
        all_of_it = image_record(now, key, now.blocks.keys())
        touched = {0, *(n for n, bits in own.want.items() if bits)}
        image = passed_record(now, key, touched, all_of_it)
    return FoundUnit(
        identity=identity_of(device),
        index=index,
        state=state,
        reason=reason,
        job=run.job_digest(index),
        image=image,
        attempts=attempts,
        named=named_values(values),
        held=user_record(values, held, rules, key),
    )


def _hidden(now: EfuseImage, own: Computed) -> frozenset[int]:
    """Return blocks that hide bits which the record asks for."""
    layout = layout_of(now.chip)
    rd_dis = now.field_bits(layout.rd_dis)
    return frozenset(n for n, bits in own.want.items() if bits & layout.hidden(n, rd_dis))


def _lacking(now: EfuseImage, own: Computed) -> frozenset[int]:
    """Return blocks that show less than the record asks for."""
    layout = layout_of(now.chip)
    rd_dis = now.field_bits(layout.rd_dis)
    return frozenset(n for n, bits in own.want.items() if bits & ~now.block(n) & ~layout.hidden(n, rd_dis))


def _attempts(own: Computed, key: bytes, hidden: frozenset[int]) -> tuple[Attempt, ...]:
    """Return the burns of the scripts, to go on with; `done` are the steps that somebody must vouch for."""
    attempts = []
    for plan, before in own.burns:
        touched = {0, *(write.block.index for step in plan.steps for write in step.writes)}
        vouched = {
            step.label: State.LOCKED if step.locks else State.VERIFIED
            for step in plan.steps
            if any(write.block.index in hidden for write in step.writes)
        }
        attempts.append(
            Attempt(
                plan_digest=plan.keyed_digest(key),
                image_before=image_record(before, key, touched),
                steps=tuple(step.label for step in plan.steps),
                done=vouched,
            )
        )
    return tuple(attempts)
