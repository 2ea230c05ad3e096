"""All rows and overlays are sound, and each check sees the breach it is named after."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from parburn.chips import validate as checks
from parburn.chips.model import (
    BlockErrors,
    Chip,
    Codec,
    Condition,
    ControllerKind,
    Crystal,
    KeyPurpose,
    LinkEnd,
    LinkEndKind,
    RegisterWrite,
    Source,
)
from parburn.chips.registry import chip_named, chip_names
from parburn.chips.validate import CHECKS, validate
from parburn.coding import CodingScheme
from parburn.errors import ChipDataError

REVISIONS = (None, 0, 1, 99, 100, 101, 102, 199, 200, 299, 300, 301, 302)


@pytest.mark.parametrize("name", chip_names())
def test_every_row_is_sound(name: str) -> None:
    for chip in {
        id(one): one for one in (chip_named(name, revision=revision) for revision in REVISIONS)
    }.values():
        validate(chip)


def field(chip: Chip, name: str, **changes: Any) -> Chip:
    """The chip with one field changed."""
    fields = tuple(one._replace(**changes) if one.name == name else one for one in chip.fields)
    assert fields != chip.fields
    return replace(chip, fields=fields)


def block(chip: Chip, index: int, **changes: Any) -> Chip:
    """The chip with one block changed."""
    blocks = list(chip.blocks)
    blocks[index] = blocks[index]._replace(**changes)
    return replace(chip, blocks=tuple(blocks))


def purpose(chip: Chip, **changes: Any) -> Chip:
    one = KeyPurpose("EXTRA", 3)._replace(**changes)
    return replace(chip, key_purposes=(*chip.key_purposes, one))


CUT_BY_TWAI = LinkEnd("DIS_TWAI", LinkEndKind.NO_DOWNLOAD)
BREACHES: dict[str, Callable[[Chip], Chip]] = {
    "controller_has_its_registers": lambda c: replace(c, registers={"CMD": 1}),
    "coding_fits_the_controller": lambda c: replace(c, coding=CodingScheme.NONE),
    "blocks_are_numbered": lambda c: replace(c, blocks=c.blocks[1:]),
    "block_names_are_unique": lambda c: block(c, 2, aliases=("BLOCK1",)),
    "read_registers_of_blocks_are_apart": lambda c: block(c, 2, read_address=c.blocks[1].read_address + 4),
    "registers_are_addresses": lambda c: replace(c, error_registers=(*c.error_registers, 1 << 32)),
    "protection_bits_exist": lambda c: field(c, "DIS_TWAI", wr_dis=32),
    "block_errors_are_read": lambda c: block(c, 2, errors=BlockErrors(0x1234, 7, 0, 3)),
    "field_names_are_unique": lambda c: field(c, "DIS_TWAI", alt_names=("MAC",)),
    "fields_fit_into_their_blocks": lambda c: field(c, "DIS_TWAI", start=192),
    "fields_are_apart_or_inside": lambda c: field(c, "RD_DIS", start=31),
    "categories_are_known": lambda c: field(c, "DIS_TWAI", category="misc"),
    "composed_fields_have_sources": lambda c: field(c, "WAFER_VERSION_MINOR", sources=()),
    "sources_are_parts_of_fields": lambda c: field(
        c, "WAFER_VERSION_MINOR", sources=(Source(shift=0, field="WAFER_VERSION_MINOR"),)
    ),
    "codecs_fit_their_fields": lambda c: field(c, "MAC", bits=47),
    "data_ram_is_a_range": lambda c: replace(c, data_ram=(0x3FCDFFFF, 0x3FC80000)),
    "conditions_are_about_fields": lambda c: replace(c, conditions={"calibrated": Condition("NONE", (1,))}),
    "key_purposes_are_sound": lambda c: purpose(c, split_into=("USER",)),
    "key_purposes_name_fields": lambda c: purpose(c, target="NONE"),
    "key_blocks_have_purpose_fields": lambda c: block(c, 4, key_purpose="NONE"),
    "burned_last_is_in_block0": lambda c: replace(c, burned_last=("WR_DIS", "RD_DIS", "MAC")),
    "link_ends_are_burned_last": lambda c: replace(c, link_ends=(CUT_BY_TWAI,)),
    "every_crystal_has_timing": lambda c: replace(c, crystal=Crystal(fixed_mhz=26)),
    "timing_writes_stay_in_the_controller": lambda c: replace(
        c, timing={40: (RegisterWrite(c.efuse_base + 0x1F4, 0x10000, 0xFFFF),)}
    ),
    "named_fields_exist": lambda c: replace(c, package_field="PACKAGE"),
    "limits_of_the_line_are_sane": lambda c: replace(c, ring_bytes=8),
}
MORE: list[tuple[str, Callable[[Chip], Chip]]] = [
    ("controller_has_its_registers", lambda c: replace(c, controller=ControllerKind.CLASSIC)),
    ("registers_are_addresses", lambda c: replace(c, registers={**c.registers, "CMD": 0x60008802})),
    ("every_crystal_has_timing", lambda c: replace(c, crystal=Crystal(clkdiv_address=0x60000014))),
    (
        "every_crystal_has_timing",
        lambda c: replace(c, crystal=Crystal(40, rom_rounds_from=3, rom_otherwise_mhz=40)),
    ),
    ("every_crystal_has_timing", lambda c: replace(c, crystal=Crystal(40, rom_otherwise_mhz=40))),
    ("protection_bits_exist", lambda c: block(c, 4, rd_dis=(7,))),
    ("composed_fields_have_sources", lambda c: field(c, "DIS_TWAI", start=None)),
    ("coding_fits_the_controller", lambda c: replace(c, coding_field="WR_DIS")),
    (
        "sources_are_parts_of_fields",
        lambda c: field(c, "WAFER_VERSION_MINOR", sources=(Source(0, None, 1, 31, 2),)),
    ),
    ("codecs_fit_their_fields", lambda c: field(c, "DIS_TWAI", codec=Codec.CUSTOM_MAC)),
    ("codecs_fit_their_fields", lambda c: field(c, "TEMP_CALIB", codec=Codec.ADC_TP)),
    ("codecs_fit_their_fields", lambda c: replace(c, unique_id_field="MAC")),
    ("conditions_are_about_fields", lambda c: replace(c, conditions={})),
    ("key_purposes_are_sound", lambda c: purpose(c, code=16)),
    ("key_purposes_are_sound", lambda c: purpose(c, name="USER")),
    ("key_purposes_are_sound", lambda c: purpose(c, code=-1, split_into=("LEFT", "RIGHT"))),
    ("key_purposes_are_sound", lambda c: purpose(c, not_in_blocks=("BLOCK77",))),
    ("key_purposes_name_fields", lambda c: purpose(c, sets=("NONE",))),
    ("key_purposes_name_fields", lambda c: purpose(c, target="CUSTOM_MAC")),
    ("key_purposes_name_fields", lambda c: purpose(c, sets=("SPI_BOOT_CRYPT_CNT",))),
    ("key_purposes_name_fields", lambda c: purpose(c, without=("NONE",))),
    ("burned_last_is_in_block0", lambda c: replace(c, burned_last=("RD_DIS",))),
    ("named_fields_exist", lambda c: replace(c, revision_zero_when={"NONE": 0})),
    ("named_fields_exist", lambda c: replace(c, crystal=Crystal(40, rom_clock="NONE"))),
    ("named_fields_exist", lambda c: replace(c, crystal=Crystal(40, rom_clock="BLOCK_KEY0"))),
]


def test_every_check_has_its_breach() -> None:
    assert set(BREACHES) == {check.__name__ for check in CHECKS}


@pytest.mark.parametrize(("name", "spoil"), [*BREACHES.items(), *MORE])
def test_a_check_sees_its_breach(name: str, spoil: Callable[[Chip], Chip]) -> None:
    with pytest.raises(ChipDataError, match=name):
        validate(spoil(chip_named("esp32c3")))


def test_fields_that_exclude_each_other_may_share_a_name() -> None:
    chip = chip_named("esp32")
    assert len(chip.field_by_name["BLOCK1"]) == 2
    lazy = tuple(one._replace(on_request=True) if one.name == "BLOCK1" else one for one in chip.fields)
    with pytest.raises(ChipDataError, match="BLOCK1 is used twice"):
        validate(replace(chip, fields=lazy))


def test_an_impossible_condition_is_seen() -> None:
    chip = chip_named("esp32c3")
    condition = Condition("BLK_VERSION_MAJOR", or_else=Condition("BLK_VERSION_MINOR", at_least=1))
    with pytest.raises(ChipDataError, match="can never hold"):
        validate(replace(chip, conditions={"calibrated": condition}))


def test_every_known_word_is_used() -> None:
    fields = [one for name in chip_names() for one in chip_named(name).fields]
    assert {one.category for one in fields} == checks.CATEGORIES - {"User"}
    assert {one.codec for one in fields} == set(Codec)
