"""Which values a burn leaves in a chip, where they stand, and how each is taken."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from parburn.chips.model import Chip
from parburn.chips.registry import chip_named, chip_names
from parburn.chips.table import extend_chip, parse_custom_table
from parburn.efuse.image import EfuseImage
from parburn.efuse.user_values import (
    NOT_SHOWN,
    Declared,
    Kind,
    Place,
    Take,
    UserValue,
    Written,
    check_declared,
    place_named,
    rules_of,
    values_found,
    values_of,
)
from parburn.errors import UsageError

TABLE = """\
SERIAL, 3, 64, 32, Serial
VARIANT, 3, 96, 4, Short
UID, 3, 112, 48, Id
UID.LOW, 3, 112, 16,
UID.HIGH, 3, 128, 32,
"""
MAC = 0x060504030200
NOTHING = Declared()


def chip(name: str = "esp32c3", table: str = TABLE) -> Chip:
    return extend_chip(chip_named(name), parse_custom_table(table, file="t.csv"))


def image(of: Chip, **bits: int) -> EfuseImage:
    """A blank chip but for these blocks (`b3=...`)."""
    blocks = {block.index: bits.get(f"b{block.index}", 0) for block in of.blocks}
    return EfuseImage(of, blocks, registers=dict.fromkeys(of.extra_registers, 0))


def written(kind: Kind, block: int, start: int, bits: int, name: str = "X") -> Written:
    return Written(kind, Place(block, start, bits), name)


def names(values: Sequence[UserValue]) -> dict[str, Take]:
    return {value.name: value.take for value in values}


FIELD = written(Kind.FIELD, 3, 64, 32, "SERIAL")


@pytest.mark.parametrize(
    ("wrote", "held", "expected"),
    [
        (FIELD, 5 << 64, {"SERIAL": Take.UNDECLARED}),
        (FIELD, 0, {}),
        (FIELD, 5, {}),
        (written(Kind.FIELD, 3, 96, 4), 5 << 96, {"VARIANT": Take.SAME}),
        (written(Kind.FIELD, 3, 112, 48), 5 << 112, {"UID": Take.UNDECLARED}),
        (written(Kind.FIELD, 3, 112, 16), 5 << 112, {"UID_LOW": Take.UNDECLARED}),
        (written(Kind.DATA, 3, 64, 32), 5 << 64, {"SERIAL": Take.UNDECLARED}),
        (written(Kind.DATA, 3, 112, 48), 5 << 112 | 1 << 128,
         {"UID_LOW": Take.UNDECLARED, "UID_HIGH": Take.UNDECLARED}),
        (written(Kind.DATA, 3, 0, 64), 5, {"BLOCK_USR_DATA[0:64]": Take.UNDECLARED}),
        (written(Kind.DATA, 3, 0, 256), 5 | 7 << 64,
         {"SERIAL": Take.UNDECLARED, "BLOCK_USR_DATA": Take.UNDECLARED}),
        (written(Kind.DATA, 3, 0, 256), MAC << 200, {"CUSTOM_MAC": Take.OWN}),
        (written(Kind.BITS, 3, 3, 30), 5 << 3, {"BLOCK_USR_DATA[0:64]": Take.UNDECLARED}),
        (written(Kind.BITS, 3, 3, 1), 1 << 3, {"BLOCK_USR_DATA[0:32]": Take.SAME}),
        (written(Kind.BITS, 3, 201, 40), MAC << 200, {"CUSTOM_MAC": Take.OWN}),
        (written(Kind.BITS, 2, 200, 3), 0, {}),  # the factory's block
        (written(Kind.KEY, 4, 0, 256, "BLOCK_KEY0"), 0, {}),
    ],
)  # fmt: skip
def test_what_a_command_leaves(wrote: Written, held: int, expected: dict[str, Take]) -> None:
    of = chip()
    assert names(values_of(image(of, b3=held), [wrote], rules_of(of, NOTHING))) == expected


def test_bits_of_neighbouring_words_are_one_number() -> None:
    of = chip(table="A, 3, 128, 8, Elsewhere\n")
    wrote = [written(Kind.BITS, 3, n, 1) for n in (1, 33, 40, 97)]
    found = values_of(image(of, b3=1 << 1 | 1 << 33 | 1 << 40 | 1 << 97), wrote, rules_of(of, NOTHING))
    assert names(found) == {
        "BLOCK_USR_DATA[0:64]": Take.UNDECLARED,
        "BLOCK_USR_DATA[96:128]": Take.SAME,  # one bit alone is a flag
    }


@pytest.mark.parametrize(
    ("declared", "expected"),
    [
        (Declared(same=("SERIAL",)), {"SERIAL": Take.SAME}),
        (Declared(same=("BLOCK_USR_DATA",)), {"SERIAL": Take.SAME}),
        (Declared(same=("BLOCK3[64:96]",)), {"SERIAL": Take.SAME}),
        (Declared(same=("BLOCK3[64:95]",)), {"SERIAL": Take.UNDECLARED}),
        (Declared(unique=("SERIAL",)), {"SERIAL": Take.OWN}),
        (Declared(unique=("SERIAL",), same=("BLOCK3",)), {"SERIAL": Take.OWN}),
        (Declared(unique=("VARIANT+SERIAL",)), {"SERIAL": Take.SAME, "VARIANT+SERIAL": Take.OWN}),
        (Declared(unique=("BLOCK3[64:128]",)), {"SERIAL": Take.UNDECLARED, "BLOCK3[64:128]": Take.OWN}),
        (Declared(unique=("UID",)), {"SERIAL": Take.UNDECLARED}),  # not written
    ],
)
def test_what_was_declared(declared: Declared, expected: dict[str, Take]) -> None:
    of = chip()
    found = values_of(image(of, b3=5 << 64 | 2 << 96), [FIELD], rules_of(of, declared))
    assert names(found) == expected


def test_parts_of_one_number_in_their_order() -> None:
    of = chip()
    rules = rules_of(of, Declared(unique=("VARIANT+SERIAL",)))
    (number,) = [v for v in values_of(image(of, b3=5 << 64 | 2 << 96), [FIELD], rules) if "+" in v.name]
    assert number.bits == 5 << 4 | 2


@pytest.mark.parametrize(
    ("declared", "take"),
    [
        (NOTHING, Take.KEY),
        (Declared(same=("BLOCK_KEY0",)), Take.SAME),
        (Declared(unique=("BLOCK_KEY0",)), Take.OWN),
        (Declared(unique=("BLOCK_KEY1",)), Take.KEY),
    ],
)
def test_keys_show_nothing(declared: Declared, take: Take) -> None:
    of = chip()
    wrote = [written(Kind.KEY, 4, 0, 256, "BLOCK_KEY0")]
    (value,) = values_of(image(of, b4=0xABCDEF), wrote, rules_of(of, declared))
    assert (value.take, value.secret, value.shown) == (take, True, NOT_SHOWN)
    assert "11259375" not in repr(value)
    assert "abcdef" not in repr(value).lower()


def test_data_in_a_key_block_follows_the_rule_of_values_and_is_not_shown() -> None:
    of = chip()
    wrote = [written(Kind.DATA, 4, 0, 256, "BLOCK_KEY0")]
    (value,) = values_of(image(of, b4=0xABCDEF), wrote, rules_of(of, NOTHING))
    assert (value.name, value.take, value.secret, value.shown) == (
        "BLOCK_KEY0", Take.UNDECLARED, True, NOT_SHOWN,
    )  # fmt: skip


@pytest.mark.parametrize(("version", "found"), [(1, {"CUSTOM_MAC": Take.OWN}), (0, {})])
def test_a_mac_with_a_version_counts_only_where_the_version_says_so(
    version: int, found: dict[str, Take]
) -> None:
    of = chip("esp32", "OTHER, 3, 64, 32, Other\n")
    held = MAC << 8 | 0x77 | version << 184
    assert names(values_found(image(of, b3=held), rules_of(of, NOTHING))) == found


def test_what_stands_beside_a_mac_is_part_of_it() -> None:
    of = chip("esp32", "OTHER, 3, 64, 32, Other\n")
    held = MAC << 8 | 0x77 | 1 << 184
    wrote = [written(Kind.DATA, 3, 0, 256)]
    assert names(values_of(image(of, b3=held), wrote, rules_of(of, NOTHING))) == {"CUSTOM_MAC": Take.OWN}
    more = names(values_of(image(of, b3=held | 1 << 100), wrote, rules_of(of, NOTHING)))
    assert more == {"CUSTOM_MAC": Take.OWN, "BLOCK3": Take.UNDECLARED}


@pytest.mark.parametrize("name", chip_names())
def test_every_chip_has_user_blocks_and_none_of_them_is_the_factorys(name: str) -> None:
    of = chip_named(name)
    rules = rules_of(of, NOTHING)
    mac = of.field_by_name["CUSTOM_MAC"][0]
    assert mac.block in rules.blocks
    assert 0 not in rules.blocks
    for one in of.identity_fields:
        assert one.block not in rules.blocks
    for index in rules.clear:
        assert not of.blocks[index].rd_dis
        assert not of.blocks[index].for_keys


def test_of_a_factory_block_only_the_tables_fields_are_kept() -> None:
    of = chip(table="MINE, 2, 200, 16, In a block of the factory\nFLAG, 0, 150, 3, In BLOCK0\n")
    rules = rules_of(of, NOTHING)
    held = rules.held(image(of, b2=(1 << 256) - 1, b3=9))
    assert held[2] == 0xFFFF << 200
    assert held[3] == 9
    assert rules.layout == rules_of(chip_named("esp32c6"), NOTHING).layout


@pytest.mark.parametrize(
    ("name", "place"),
    [
        ("SERIAL", Place(3, 64, 32)),
        ("BLOCK3", Place(3, 0, 256)),
        ("BLOCK_USR_DATA[0:8]", Place(3, 0, 8)),
        ("BLOCK3[8:8]", None),
        ("BLOCK3[0:257]", None),
        ("BLOCK77[0:8]", None),
        ("NOTHING", None),
    ],
)
def test_places_by_name(name: str, place: Place | None) -> None:
    assert place_named(chip(), name) == place


@pytest.mark.parametrize(
    ("declared", "says"),
    [
        (Declared(same=("MAC_CUSTOM",)), "never the same"),
        (Declared(same=("NOTHING",)), "no chip and no table"),
        (Declared(unique=("SERIAL+NOTHING",)), "no chip and no table"),
        (Declared(same=("SERIAL",), unique=("SERIAL",)), "one or the other|--same and in --unique"),
    ],
)
def test_what_cannot_be_declared(declared: Declared, says: str) -> None:
    with pytest.raises(UsageError, match=says):
        check_declared(declared, [chip()])
    check_declared(Declared(("VARIANT",), ("SERIAL+BLOCK3[0:8]",)), [chip_named("esp32"), chip()])
