"""The plan template: all that rehearsal makes fits it, and nothing that differs by one bit does."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import NamedTuple

import pytest
from hypothesis import HealthCheck, Phase, assume, given, settings
from hypothesis import strategies as st

from parburn.efuse.image import EfuseImage
from parburn.efuse.layout import layout_of
from parburn.efuse.plan import BurnPlan
from parburn.errors import UsageError
from parburn.job import Job, Script
from parburn.run.checked_job import CheckedJob, check_job
from parburn.script.computed_burns import Computed, compute
from parburn.station.rehearsal import blank_chips, rehearsal_options, rehearse
from parburn.station.shapes import Shape
from parburn.station.template import Fixed, Free, PlanTemplate
from parburn.station.template_making import admits, template_of
from parburn.station.template_rows import template_from, template_rows

DIGEST_KEY = b"k" * 32


class Armed(NamedTuple):
    """A job that was rehearsed, and its template."""

    checked: CheckedJob
    template: PlanTemplate
    chip: str

    def computed(
        self, index: int, blocks: Mapping[int, int] | None = None, *, other: bool = False
    ) -> Computed:
        """What the scripts ask for on a chip that holds these bits beside the factory's."""
        chips = blank_chips(self.checked, self.chip)
        order = chips.other if other else chips.one
        held = {n: order.image.block(n) | bits for n, bits in (blocks or {}).items()}
        order = order._replace(
            image=order.image.with_blocks(held).as_shown(), facts=order.facts._replace(index=index)
        )
        options = rehearsal_options(self.checked)
        return compute(self.checked.scripts, order, options)

    def refusal(
        self,
        burn: int,
        plan: BurnPlan,
        image: EfuseImage,
        verified: tuple[int, ...] = (),
        *,
        last: bool = False,
    ) -> str | None:
        """What the template says of a plan."""
        return self.template.fitting(
            image.chip, burn, plan, image, digest_key=DIGEST_KEY, verified_blocks=verified, last=last
        )[1]

    def refusals(
        self, index: int, blocks: Mapping[int, int] | None = None, *, other: bool = False
    ) -> list[str]:
        """What it says of all burns of one record, as a station would ask."""
        computed = self.computed(index, blocks, other=other)
        assert computed.error is None, computed.error
        said = []
        verified: set[int] = set()
        for number, (plan, before) in enumerate(computed.burns, start=1):
            last = number == len(computed.burns)
            said.append(self.refusal(number, plan, before, tuple(verified), last=last))
            verified |= touched(plan)
        return [one for one in said if one]


def touched(plan: BurnPlan) -> set[int]:
    """The blocks that a plan burns."""
    return {write.block.index for step in plan.steps for write in step.writes}


def shapes_of(checked: CheckedJob, chip: str, records: range) -> list[tuple[int, Shape]]:
    chips = blank_chips(checked, chip)
    found = asyncio.run(rehearse(checked, chips, records, secret=b"s" * 32, shapes=True))
    assert not [one.fault for one in found if one.fault], found
    return [(one.number, shape) for one in found for shape in one.shapes]


def armed(text: str, *, chip: str = "esp32c3", records: int = 3) -> Armed:
    """A job of one script, armed for indexes 1 to `records`."""
    checked = check_job(Job(ports=(), scripts=(Script.of_text(text),), index_last=records))
    found = shapes_of(checked, chip, range(1, records + 1))
    template = template_of({chip: found}, DIGEST_KEY)
    return Armed(checked, template_from(json.loads(json.dumps(template_rows(template)))), chip)


MAC = "espefuse(esp, efuses, args, 'burn_custom_mac aa:cd:ef:00:00:%02x' % args.index)\n"
KEY = "espefuse.burn_key(['BLOCK_KEY0'], [io.BytesIO(bytes(range(32)))], ['XTS_AES_128_KEY'])\n"
OWN_KEY = (
    "espefuse.burn_key(['BLOCK_KEY1'], [io.BytesIO(bytes([args.index]) + bytes(range(31)))], ['HMAC_UP'])\n"
)
ICACHE = "espefuse(esp, efuses, args, 'burn_efuse DIS_DOWNLOAD_ICACHE 1')\n"
COUNTER = "espefuse(esp, efuses, args, 'burn_efuse SPI_BOOT_CRYPT_CNT 1')\n"
PADS = "espefuse(esp, efuses, args, 'burn_efuse UART_PRINT_CONTROL %d' % (args.index % 3 + 1))\n"
LOCK = "espefuse(esp, efuses, args, 'write_protect_efuse DIS_DOWNLOAD_ICACHE')\n"
DATA = "espefuse(esp, efuses, args, 'burn_bit BLOCK_KEY3 1 2 %d' % (args.index + 8))\n"
SECURE = "espefuse(esp, efuses, args, 'burn_efuse ENABLE_SECURITY_DOWNLOAD 1')\n"
BURN = "efuses.burn_all()\n"
LINES = (MAC, KEY, OWN_KEY, ICACHE, COUNTER, PADS, LOCK, DATA, SECURE)

scripts = st.permutations(LINES).flatmap(
    lambda lines: st.tuples(
        st.just(lines), st.integers(1, len(LINES)), st.lists(st.integers(0, len(LINES)), max_size=2)
    )
)


def text_of(drawn: tuple[list[str], int, list[int]]) -> str:
    lines, count, burns = drawn
    lines = list(lines[:count])
    for at in sorted(burns, reverse=True):
        lines.insert(min(at, len(lines)), BURN)
    return "import io\n" + "".join(lines)


def allowed(text: str) -> Armed:
    """The job of a script; scripts that lock a field before they burn it are none."""
    checked = check_job(Job(ports=(), scripts=(Script.of_text(text),), index_last=2))
    assume(Armed(checked, PlanTemplate({}), "esp32c3").computed(1).error is None)
    return armed(text, records=2)


def mutated(plan: BurnPlan, step: int, write: int, want: int) -> BurnPlan:
    """The plan with other bits in one of its writes."""
    steps = list(plan.steps)
    writes = list(steps[step].writes)
    writes[write] = writes[write]._replace(want=want)
    steps[step] = steps[step]._replace(writes=tuple(writes))
    return replace(plan, steps=tuple(steps))


def writes_of(plan: BurnPlan) -> Iterator[tuple[int, int]]:
    for n, step in enumerate(plan.steps):
        for m, _ in enumerate(step.writes):
            yield n, m


def free_bits(template: PlanTemplate, chip: str, block: int) -> int:
    bits = 0
    for variant in template.chips[chip]:
        for burn in variant.burns:
            for part in burn.parts:
                if part.thing.block == block and isinstance(part.holds, Free):
                    bits |= part.thing.mask
    return bits


@settings(
    max_examples=40,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
    phases=[Phase.explicit, Phase.reuse, Phase.generate],  # to make a failure smaller takes minutes
)
@given(scripts, st.data())
def test_what_rehearsal_makes_fits_and_each_mutation_does_not(
    drawn: tuple[list[str], int, list[int]], data: st.DataObject
) -> None:
    job = allowed(text_of(drawn))
    for index in (1, 2):
        assert job.refusals(index) == []
        assert job.refusals(index, other=True) == []
    computed = job.computed(data.draw(st.integers(1, 2)))
    verified: set[int] = set()
    burns = list(computed.burns)
    for number, (plan, before) in enumerate(burns, start=1):
        known = tuple(verified)
        step, write = data.draw(st.sampled_from(list(writes_of(plan))))
        one = plan.steps[step].writes[write]
        free = free_bits(job.template, job.chip, one.block.index)
        hidden = layout_of(before.chip).hidden(
            one.block.index, before.field_bits(layout_of(before.chip).rd_dis)
        )
        more = [
            bit
            for bit in range(32 * one.block.words)
            if not (one.want | free | plan.want(one.block.index)) >> bit & 1
            and not before.block(one.block.index) >> bit & 1
        ]
        if more and not hidden:
            bit = data.draw(st.sampled_from(more))
            added = mutated(plan, step, write, one.want | 1 << bit)
            assert job.refusal(number, added, before, known), (bit, one)
        fewer = [bit for bit in range(one.want.bit_length()) if (one.want & ~free) >> bit & 1]
        fewer = [bit for bit in fewer if not before.block(one.block.index) >> bit & 1]
        if fewer:
            bit = data.draw(st.sampled_from(fewer))
            less = mutated(plan, step, write, one.want & ~(1 << bit))
            assert job.refusal(number, less, before, known), (bit, one)
        if number > 1:
            assert job.refusal(1, plan, computed.burns[0].before), "another order of burns"
        verified |= touched(plan)
    if len(burns) > 1:
        assert job.refusal(1, burns[0].plan, burns[0].before, last=True), "the rest was never asked for"


def test_a_block_that_is_locked_and_steps_in_another_order() -> None:
    job = armed(KEY + ICACHE + LOCK)
    (burn,) = job.computed(1).burns
    assert job.refusal(1, burn.plan, burn.before) is None
    swapped = replace(burn.plan, steps=burn.plan.steps[::-1])
    assert "behind what locks" in (job.refusal(1, swapped, burn.before) or "")


def purpose(job: Armed, code: int) -> int:
    """The bits of KEY_PURPOSE_0 for a code."""
    f = blank_chips(job.checked, job.chip).one.image.field_named("KEY_PURPOSE_0")
    return code << (f.start or 0)


def test_another_purpose_is_refused() -> None:
    job = armed(KEY)
    (burn,) = job.computed(1).burns
    for step, write in writes_of(burn.plan):
        one = burn.plan.steps[step].writes[write]
        if one.block.index == 0 and not burn.plan.steps[step].locks:
            for code in (1, 2, 5, 8):
                other = mutated(burn.plan, step, write, one.want & ~purpose(job, 15) | purpose(job, code))
                assert job.refusal(1, other, burn.before)
            return
    raise AssertionError("no purpose was planned")


def test_what_stands_in_the_chip_may_be_missing_in_the_plan() -> None:
    job = armed(MAC + ICACHE + COUNTER)
    (burn,) = job.computed(2).burns
    for step in burn.plan.steps:
        held = {write.block.index: write.want for write in step.writes}
        assert job.refusals(2, held) == []
    everything = {n: burn.plan.want(n) for n in touched(burn.plan)}
    image = burn.before.with_blocks({n: burn.before.block(n) | bits for n, bits in everything.items()})
    assert job.refusal(1, BurnPlan(image.chip), image, last=True) is None
    assert job.refusal(1, BurnPlan(image.chip), burn.before, last=True)


def test_a_script_that_looks_at_the_chip_and_leaves_something_out_is_refused() -> None:
    """A board that came with content the script takes for done: what is missing must be there, to the bit."""
    text = MAC + "if not efuses['DIS_USB_JTAG'].get():\n    " + ICACHE
    job = armed(text)
    usb_jtag = blank_chips(job.checked, job.chip).one.image.field_named("DIS_USB_JTAG").mask
    said = job.refusals(1, {0: usb_jtag})
    assert len(said) == 1
    assert "DIS_DOWNLOAD_ICACHE" in said[0]
    icache = blank_chips(job.checked, job.chip).one.image.field_named("DIS_DOWNLOAD_ICACHE").mask
    assert job.refusals(1, {0: usb_jtag | icache}) == []


def test_a_counter_that_stands_higher_is_another_value() -> None:
    text = "if efuses['SPI_BOOT_CRYPT_CNT'].get() == 0:\n    " + COUNTER + ICACHE
    job = armed(text)
    f = blank_chips(job.checked, job.chip).one.image.field_named("SPI_BOOT_CRYPT_CNT")
    assert job.refusals(1, {0: 1 << (f.start or 0)}) == []
    (said,) = job.refusals(1, {0: 3 << (f.start or 0)})
    assert "SPI_BOOT_CRYPT_CNT would hold another value" in said


def test_a_hidden_key_counts_only_where_a_record_says_that_it_was_verified() -> None:
    job = armed(KEY + ICACHE)
    burn = job.computed(1).burns[0]
    key_step = {n: burn.plan.want(n) for n in touched(burn.plan)}
    icache = burn.before.field_named("DIS_DOWNLOAD_ICACHE").mask
    key_step[0] &= ~icache
    image = burn.before.with_blocks({n: burn.before.block(n) | bits for n, bits in key_step.items()})
    image = image.as_shown()
    plan = mutated(replace(burn.plan, steps=(burn.plan.steps[1],)), 0, 0, icache)
    assert "cannot be read" in (job.refusal(1, plan, image) or "")
    assert job.refusal(1, plan, image, (4,)) is None


def test_a_key_that_is_equal_on_all_units_is_kept_as_a_digest_only() -> None:
    job = armed(KEY + OWN_KEY)
    text = json.dumps(template_rows(job.template))
    key = int.from_bytes(bytes(range(32)), "little")
    for bits in (key, int.from_bytes(bytes(range(32)), "big")):
        assert f"{bits:x}" not in text
        assert f"{bits}" not in text
    (variant,) = job.template.chips["esp32c3"]
    parts = {part.thing.name: part.holds for burn in variant.burns for part in burn.parts}
    assert isinstance(parts["BLOCK_KEY0"], Fixed)
    assert parts["BLOCK_KEY0"].bits is None
    assert isinstance(parts["BLOCK_KEY1"], Free)


def test_another_key_than_that_of_all_units_is_refused() -> None:
    job = armed(KEY)
    (burn,) = job.computed(1).burns
    other = mutated(burn.plan, 0, 0, burn.plan.want(4) ^ 1 << 77)
    assert "BLOCK_KEY0 is not the one" in (job.refusal(1, other, burn.before) or "")


def test_a_value_of_the_chip_is_free() -> None:
    job = armed(
        "espefuse(esp, efuses, args, 'burn_custom_mac ' + 'aa:bb:cc:' + bytes(esp.read_mac()[3:]).hex(':'))\n"
    )
    (variant,) = job.template.chips["esp32c3"]
    (mac,) = [part for burn in variant.burns for part in burn.parts if part.thing.name == "CUSTOM_MAC"]
    assert mac.holds == Free(may_be_zero=False)


def test_a_record_with_one_more_field_is_a_variant_of_its_own() -> None:
    job = armed(MAC + "if args.index == 3:\n    " + ICACHE)
    variants = job.template.chips["esp32c3"]
    assert [(one.records, one.first) for one in variants] == [(2, 1), (1, 3)]
    (mac,) = [part for part in variants[1].burns[0].parts if part.thing.name == "CUSTOM_MAC"]
    assert mac.holds == Free(
        may_be_zero=False
    )  # it differs between records, if not between those of one plan
    assert job.refusals(3) == []
    (burn,) = job.computed(3).burns
    icache = burn.before.field_named("DIS_USB_JTAG").mask
    more = mutated(burn.plan, 1, 0, burn.plan.want(0) | icache)
    assert "DIS_USB_JTAG" in (job.refusal(1, more, burn.before) or "")


def test_records_that_all_differ_make_no_template() -> None:
    text = "espefuse(esp, efuses, args, 'burn_bit BLOCK_KEY3 1')\nfor n in range(7):\n"
    text += (
        "    if args.index >> n & 1:\n        espefuse(esp, efuses, args, 'burn_bit BLOCK%d 1' % (n + 4))\n"
    )
    text = text.replace("burn_bit BLOCK%d 1' % (n + 4)", "write_protect_efuse %s' % WHAT[n]")
    names = "['DIS_ICACHE', 'VDD_SPI_AS_GPIO', 'SPI_BOOT_CRYPT_CNT', 'KEY_PURPOSE_0', 'KEY_PURPOSE_1', "
    names += "'KEY_PURPOSE_2', 'KEY_PURPOSE_3']"
    with pytest.raises(UsageError, match="more than 48 different plans"):
        armed(f"WHAT = {names}\n" + text, records=100)


def test_records_that_come_later_are_admitted_or_not() -> None:
    job = armed(MAC + KEY + "if args.index > 5:\n    " + ICACHE + PADS, records=3)
    later = shapes_of(job.checked, job.chip, range(4, 8))
    assert [admits(job.template, job.chip, shape, DIGEST_KEY) for _, shape in later] == [True] * 2 + [
        False
    ] * 2


def test_a_job_is_armed_for_its_chips_only() -> None:
    job = armed(ICACHE)
    other = blank_chips(job.checked, "esp32s2").one.image
    assert "not armed for ESP32-S2" in (job.refusal(1, BurnPlan(other.chip), other) or "")


@pytest.mark.parametrize("scheme", [0, 1])
def test_the_coding_scheme_of_a_chip_is_its_own(scheme: int) -> None:
    """ESP32 comes with or without 3/4 coding: the same fields stand in the same places."""
    job = armed(MAC + "espefuse(esp, efuses, args, 'burn_efuse JTAG_DISABLE')\n", chip="esp32")
    f = blank_chips(job.checked, "esp32").one.image.field_named("CODING_SCHEME")
    held = {0: scheme << (f.start or 0)}
    assert job.refusals(2, held) == []
    (burn,) = job.computed(2, held).burns
    later = {n: burn.plan.want(n) for n in touched(burn.plan) if n}
    assert job.refusals(2, {**held, **later}) == []


def test_what_is_held_back_is_of_the_last_burn() -> None:
    job = armed("espefuse(esp, efuses, args, 'burn_efuse ENABLE_SECURITY_DOWNLOAD 1')\n" + BURN + MAC)
    (burn,) = job.computed(1).burns
    assert burn.plan.steps[-1].ends_link
    assert job.refusals(1) == []
    without = replace(burn.plan, steps=burn.plan.steps[:-1])
    assert "ENABLE_SECURITY_DOWNLOAD" in (job.refusal(1, without, burn.before) or "")


def test_a_burn_that_the_chip_holds_is_not_asked_for_and_the_next_one_fits() -> None:
    job = armed(ICACHE + BURN + MAC)
    icache = blank_chips(job.checked, job.chip).one.image.field_named("DIS_DOWNLOAD_ICACHE").mask
    held = {0: icache}
    computed = job.computed(1, held)
    assert len(computed.burns) == 1
    assert job.refusals(1, held) == []


MIXED = (
    "import io\n"
    + ICACHE
    + f"if args.index % 2:\n    {COUNTER}"
    + BURN
    + MAC
    + f"if not args.index % 2:\n    {KEY}"
)


def test_a_board_is_of_one_variant_in_all_its_burns() -> None:
    job = armed(MIXED, records=4)

    def fitting(
        plan: BurnPlan, image: EfuseImage, number: int, among: frozenset[int] | None
    ) -> tuple[frozenset[int], str | None]:
        return job.template.fitting(
            image.chip, number, plan, image, digest_key=DIGEST_KEY, last=number == 2, among=among
        )

    for index in (1, 2):
        (first, blank), (second, then) = job.computed(index).burns
        fits, why = fitting(first, blank, 1, None)
        assert fits
        assert why is None
        fits, why = fitting(second, then, 2, fits)
        assert (len(fits), why) == (1, None)
    (first, blank), _ = job.computed(1).burns
    fits, _ = fitting(first, blank, 1, None)
    held = first.apply(blank)
    _, (second, _) = job.computed(2).burns
    assert fitting(second, held, 2, None)[1] is None, "by itself each of both burns was armed"
    assert "other records" in (fitting(second, held, 2, fits)[1] or "")
