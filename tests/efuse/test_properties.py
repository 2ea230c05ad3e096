"""Properties that hold for every chip, whatever is burned and whatever is asked for."""

from __future__ import annotations

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from parburn.chips.model import Chip, Codec, Field, FieldKind
from parburn.efuse import rules, staging, values
from parburn.efuse.image import EfuseImage
from parburn.efuse.layout import layout_of
from parburn.efuse.plan import BurnPlan, plan_burns, remaining
from parburn.efuse.staged import StagedBurns
from parburn.errors import EfuseError
from parburn.sim.efuse_memory import EfuseMemory
from tests.efuse.images import REVISION_BIT, ROW_NAMES, ROWS, blank

ON_EVERY_CHIP = pytest.mark.parametrize("chip", ROWS, ids=ROW_NAMES)


def askable(chip: Chip) -> tuple[Field, ...]:
    """The fields of a chip that can be asked for on a blank one."""
    image = blank(chip)
    return tuple(f for f in image.fields() if not values.is_fixed(f))


def sparse(bits: int) -> st.SearchStrategy[int]:
    """An int of `bits` bits, mostly few of them set."""
    few = st.sets(st.integers(0, bits - 1), max_size=4).map(lambda at: sum(1 << bit for bit in at))
    return st.one_of(few, st.integers(0, (1 << bits) - 1))


@st.composite
def images(draw: st.DrawFn, chip: Chip) -> EfuseImage:
    """A chip with some bits burned, in a usable coding scheme, hidden where RD_DIS says so."""
    image = blank(chip)
    for block in chip.blocks:
        if draw(st.booleans()):
            image = image.with_blocks({block.index: draw(sparse(32 * block.words))})
    f = chip.scheme_field
    if f is not None:
        scheme = draw(st.sampled_from([0, 1, 3])) << (f.start or 0)
        image = image.with_blocks({0: image.block(0) & ~f.mask | scheme})
    fit = {b.index: image.block(b.index) & ((1 << image.block_bits(b.index)) - 1) for b in chip.blocks}
    layout = layout_of(chip)
    rd_dis = image.field_bits(layout.rd_dis)
    return image.with_blocks({n: bits & ~layout.hidden(n, rd_dis) for n, bits in fit.items()})


@st.composite
def requests(draw: st.DrawFn, chip: Chip, image: EfuseImage) -> StagedBurns:
    """Several fields, keys and bits asked for, refusals left out."""
    staged = StagedBurns()
    for f in draw(st.lists(st.sampled_from(askable(chip)), max_size=5)):
        try:
            staging.stage_field(image, staged, f, draw(sparse(f.width)))
        except EfuseError:
            continue
    for block in draw(st.lists(st.sampled_from([one for one in chip.blocks if one.for_keys]), max_size=2)):
        purpose = draw(st.sampled_from(chip.key_purposes))
        size = draw(st.sampled_from([16, 24, 32]))
        try:
            staging.stage_key(
                image,
                staged,
                block,
                draw(st.binary(min_size=size, max_size=size)),
                purpose.name,
                write_protect=draw(st.booleans()),
                read_protect=draw(st.booleans()),
            )
        except EfuseError:
            continue
    for block in draw(st.lists(st.sampled_from(chip.blocks), max_size=2)):
        bit = draw(st.integers(0, image.block_bits(block.index) - 1))
        try:
            staging.stage_bits(image, staged, block, [bit])
        except EfuseError:
            continue  # it would make another value of one that was asked for
    return staged


def scheme_value(image: EfuseImage) -> int:
    """The coding scheme's field, 0 where a chip has none."""
    chip = image.chip
    return 0 if chip.scheme_field is None else image.field_bits(chip.scheme_field)


@st.composite
def memories(draw: st.DrawFn, chip: Chip) -> EfuseMemory:
    """Cells of a simulated chip, rightly coded, some burned."""
    memory = EfuseMemory(chip)
    for block in chip.blocks:
        if draw(st.booleans()):
            memory.preset(block.index, draw(sparse(32 * block.words)) if block.index else 0)
    for f in draw(st.lists(st.sampled_from([f for f in chip.fields if f.start is not None]), max_size=6)):
        if f.block == 0 and f.name != chip.coding_field:
            memory.preset_field(f.name, draw(sparse(f.bits)))
    return memory


def image_of(memory: EfuseMemory) -> EfuseImage:
    """What a reader of the simulated chip sees."""
    chip = memory.chip
    memory.load_protections()
    return EfuseImage(
        chip,
        {block.index: memory.visible(block.index) for block in chip.blocks},
        registers=dict.fromkeys(chip.extra_registers, REVISION_BIT),
    )


def burn(memory: EfuseMemory, plan: BurnPlan) -> None:
    """What the controller does with the words of a plan: each step is a program pulse and a READ."""
    for step in plan.steps:
        for write in step.writes:
            pattern = sum(word << 32 * n for n, word in enumerate(write.words))
            memory.set_cells(write.block.index, memory.allowed(write.block.index, pattern))
        memory.load_protections()


@ON_EVERY_CHIP
@settings(max_examples=40, deadline=None)
@given(data=st.data())
def test_what_a_plan_says_is_what_the_simulated_chip_shows(chip: Chip, data: st.DataObject) -> None:
    memory = data.draw(memories(chip))
    image = image_of(memory)
    staged = data.draw(requests(chip, image))
    try:
        plan = plan_burns(image, staged)
    except EfuseError:
        return
    assume(scheme_value(plan.apply(image)) == scheme_value(image))  # else the blocks are read in another way
    burn(memory, plan)
    assert dict(image_of(memory).blocks) == dict(plan.apply(image).blocks)


@ON_EVERY_CHIP
@settings(max_examples=40, deadline=None)
@given(data=st.data())
def test_plans(chip: Chip, data: st.DataObject) -> None:
    image = data.draw(images(chip))
    staged = data.draw(requests(chip, image))
    try:
        plan = plan_burns(image, staged)
    except EfuseError:
        return
    after = plan.apply(image)
    assume(scheme_value(after) == scheme_value(image))  # else the blocks are read in another way
    rd_dis = after.field_bits(layout_of(chip).rd_dis)
    for block in chip.blocks:
        want, hidden = plan.want(block.index), layout_of(chip).hidden(block.index, rd_dis)
        # a plan never clears a bit, and burns nothing that was not asked for
        assert image.block(block.index) & ~hidden & ~after.block(block.index) == 0
        assert want & ~staged.block(block.index) == 0
        # what was asked for is there, unless read protection hides it
        assert after.block(block.index) == (image.block(block.index) | want) & ~hidden
        assert staged.block(block.index) & ~hidden & ~after.block(block.index) == 0
        # no bit goes to a place that the chip would not burn
        assert want & rules.protected_bits(image, block) == 0
    # locks come last, and everything else has been verified by then
    assert [step.locks for step in plan.steps] == sorted(step.locks for step in plan.steps)
    # what is burned is not planned again
    assert not remaining(plan, after, verified=frozenset(range(len(chip.blocks))))
    again = StagedBurns()
    for index, bits in staged.blocks().items():
        block = chip.blocks[index]
        if after.is_readable(block) and after.is_writeable(block):
            again.add(index, bits & after.block(index))
    again.ignored_rules = True
    assert not plan_burns(after, again)


@ON_EVERY_CHIP
@settings(max_examples=40, deadline=None)
@given(data=st.data())
def test_a_refusal_leaves_what_is_staged_alone(chip: Chip, data: st.DataObject) -> None:
    image = data.draw(images(chip))
    staged = data.draw(requests(chip, image))
    before = staged.copy()
    f = data.draw(st.sampled_from(chip.fields))
    try:
        added = staging.stage_field(image, staged, f, data.draw(sparse(f.bits)), force=data.draw(st.none()))
    except EfuseError:
        assert staged == before
        return
    assert added == (staged.blocks() != before.blocks())


@ON_EVERY_CHIP
def test_accepted_texts_round_trip(chip: Chip) -> None:
    """What a field shows after a burn, typed in again, means the same bits."""
    image = blank(chip)
    for f in askable(chip):
        if f.codec in (Codec.ADC_TP, Codec.TEMP_SENSOR):
            continue  # shown in mV and degrees, typed in as raw numbers
        for bits in {1, (1 << f.width) - 2 or 1, 1 << (f.width - 1)}:
            shown = str(values.get(image, f, bits))
            if f.kind is FieldKind.BOOL:
                text = str(int(shown == "True"))
            elif f.codec is Codec.CUSTOM_MAC:
                text = shown.split()[0]
            else:
                text = shown.replace(" ", "") if f.kind is FieldKind.BYTES else shown
            try:
                parsed = values.parse(image, StagedBurns(), f, text)
            except EfuseError:
                assert f.codec in (Codec.KEYPURPOSE, Codec.CUSTOM_MAC), f"{f.name} refuses {text}"
                continue
            assert values.get(image, f, parsed) == values.get(image, f, bits)
