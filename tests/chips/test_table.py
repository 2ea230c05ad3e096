"""The table reader: the custom dialect row by row, its errors with their places, and the built-in columns."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from parburn.chips.model import Source
from parburn.chips.registry import chip_named
from parburn.chips.table import CustomRow, extend_chip, parse_custom_table, parse_fields
from parburn.errors import ChipDataError

HEAD = "# field_name, | efuse_block, | bit_start, | bit_count, |comment\n"


def rows_of(text: str) -> tuple[CustomRow, ...]:
    return parse_custom_table(HEAD + text, file="my.csv")


def places(text: str) -> list[tuple[str, int, int, int]]:
    return [(row.name, row.block, row.start, row.bits) for row in rows_of(text)]


def test_a_plain_row() -> None:
    (row,) = rows_of("UNIQUE_ID, EFUSE_BLK3, 0, 64, [UID SERIAL] Number of this unit")
    assert (row.name, row.block, row.start, row.bits) == ("UNIQUE_ID", 3, 0, 64)
    assert row.alt_names == ("UID", "SERIAL")
    assert row.description == "Number of this unit"
    assert row.where == "my.csv:2:1"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("A, 3, 8, 4", [("A", 3, 8, 4)]),
        ("A, EFUSE_BLK10, 0x10, 0x8,", [("A", 10, 16, 8)]),
        ("A, 0xA, 0, 1", [("A", 10, 0, 1)]),
        ("A, 3, 0, MAX_BLK_LEN, all", [("A", 3, 0, 256)]),
        ("A, 3, , 4\nB, 3, , 5\nC, 4, , 6", [("A", 3, 0, 4), ("B", 3, 4, 5), ("C", 4, 0, 6)]),
        ("\n   # a comment, 3, 1, 1\n\n  A, 3, 0, 1", [("A", 3, 0, 1)]),
        (
            "A, 3, 0, 1, first\n , 3, 8, 2, second\n , 3, 16, 3",
            [("A_0", 3, 0, 1), ("A_1", 3, 8, 2), ("A_2", 3, 16, 3)],
        ),
        ("L, 3, 0, 8\nL.X, 3, 0, 4\nL.X.Y, 3, 1, 1", [("L", 3, 0, 8), ("L_X", 3, 0, 4), ("L_X_Y", 3, 1, 1)]),
        ("A, 3, 0, 4, text, more text, 17", [("A", 3, 0, 4)]),
        ("", []),
    ],
)
def test_dialect(text: str, expected: list[tuple[str, int, int, int]]) -> None:
    assert places(text) == expected


def test_parts_number_their_alternative_names() -> None:
    rows = rows_of("A, 3, 0, 1, [B C.D] low\n, 3, 8, 1, [B C.D] high")
    assert [row.alt_names for row in rows] == [("B_0", "C_D_0"), ("B_1", "C_D_1")]


@pytest.mark.parametrize(
    ("text", "where", "message"),
    [
        (", 3, 0, 1", "my.csv:2:1", "the first row has no field name"),
        ("A, , 0, 1", "my.csv:2:4", "'' is not a block"),
        ("A, EFUSE_BLK, 0, 1", "my.csv:2:4", "'EFUSE_BLK' is not a block"),
        ("A, KEY0, 0, 1", "my.csv:2:4", "'KEY0' is not a block"),
        ("A, 3, zero, 1", "my.csv:2:7", "bit_start 'zero' is not a number"),
        ("A, 3, -1, 1", "my.csv:2:7", "bit_start '-1' is not a number"),
        ("A, 3, 0", "my.csv:2:8", "bit_count is missing"),
        ("A, 3, 0, 0", "my.csv:2:10", "bit_count is 0"),
        ("A, 3, 0, x", "my.csv:2:10", "bit_count 'x' is not a number"),
        ("A, 3, 250, 7", "my.csv:2:7", "bits 250 to 256 are outside"),
        ("A-B, 3, 0, 1", "my.csv:2:1", "'A-B' cannot be a field name"),
        ("A., 3, 0, 1", "my.csv:2:1", "'A.' cannot be a field name"),
        ("$HOME, 3, 0, 1", "my.csv:2:1", "'$HOME' cannot be a field name"),
        ("A, 3, 0, 1\n\n  A, 3, 8, 1", "my.csv:4:3", "the name A is already used"),
        ("A.B, 3, 0, 1\nA_B, 3, 8, 1", "my.csv:3:1", "the name A_B is already used"),
        ("A, 3, 0, 1, [B] x\nB, 3, 8, 1", "my.csv:3:1", "the name B is already used"),
        ("A, 3, 0, 1, [1B] x", "my.csv:2:13", "'1B' cannot be an alternative name"),
        ("A;3;0;1;x", "my.csv:2:2", "the columns are separated by semicolons"),
        ("A\t3\t0\t1\tx, y", "my.csv:2:2", "the columns are separated by tabs"),
        (';;;;\n"A";3;0;1;x', "my.csv:2:1", "the columns are separated by semicolons"),
        ('A, 3, 0, 1, "x\nand y"', "my.csv:2:13", "a quote is opened here and not closed in this line"),
        ('"A, 3, 0, 1', "my.csv:2:1", "a quote is opened here"),
    ],
)
def test_errors_name_their_place(text: str, where: str, message: str) -> None:
    with pytest.raises(ChipDataError) as caught:
        rows_of(text)
    assert str(caught.value).startswith(f"{where}: {message}")
    assert caught.value.where == where


def extend(text: str, chip: str = "esp32c3") -> list[tuple[str, str, int | None, tuple[int, ...]]]:
    extended = extend_chip(chip_named(chip), rows_of(text))
    return [(one.name, one.type_name, one.wr_dis, one.rd_dis) for one in extended.fields if one.custom]


def test_extending_gives_kinds_and_the_blocks_protection() -> None:
    assert extend("A, 3, 0, 1\nB, 3, 8, 33\nC, 3, 48, 40\nD, 4, 0, 32") == [
        ("A", "bool", 22, ()),
        ("B", "uint:33", 22, ()),
        ("C", "bytes:5", 22, ()),
        ("D", "uint:32", 23, (0,)),
    ]
    assert extend("A, 3, 56, 40", "esp32") == [("A", "bytes:5", 9, (2,))]


def test_extending_leaves_the_chip_alone_and_adds_names() -> None:
    chip = chip_named("esp32s3")
    extended = extend_chip(chip, rows_of("UNIQUE_ID, 3, 0, 64, [UID] n"))
    assert "UNIQUE_ID" not in chip.field_by_name
    (one,) = extended.field_by_name["UID"]
    assert (one.name, one.category, one.description, one.custom) == ("UNIQUE_ID", "User", "n", True)
    assert extended.fields[: len(chip.fields)] == chip.fields


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("A, 11, 0, 1", "ESP32-C3 has no block 11"),
        ("A, 1, 190, 4", "A ends with bit 193, MAC_SPI_8M_0 of ESP32-C3 with bit 191"),
        ("MAC, 3, 0, 1", "ESP32-C3 already has a field or block MAC"),
        ("MAC_CUSTOM, 3, 0, 1", "ESP32-C3 already has a field or block MAC_CUSTOM"),
        ("A, 3, 0, 1, [BLOCK4] x", "ESP32-C3 already has a field or block BLOCK4"),
        ("A, 3, 0, 8\nB, 3, 7, 8", "B lies over A (my.csv:2:1)"),
        ("A, 3, 0, 8\nB, 3, 2, 2", "B lies over A"),
        ("A, 3, 0, 8\nA.B, 3, 7, 2", "A.B is not inside A"),
        ("A, 3, 0, 8\nA.B, 3, 0, 4\nA.C, 3, 3, 2", "A.C lies over A.B"),
        ("A.B, 3, 0, 4\nC.D, 3, 0, 4", "C.D lies over A.B"),
        ("A.B, 3, 0, 4\nC, 3, 0, 4", "C lies over A.B"),
        ("A.B, 3, 0, 4\nAB.C, 3, 0, 4", "AB.C lies over A.B"),
        ("A.B, 3, 0, 4\nA.C, 3, 0, 4\nA, 3, 0, 2", "A.B is not inside A"),
    ],
)
def test_what_cannot_be_joined_is_refused(text: str, message: str) -> None:
    with pytest.raises(ChipDataError, match=r"my\.csv:") as caught:
        extend(text)
    assert message in str(caught.value)


def test_fields_of_other_blocks_and_parts_inside_parents_may_share_bit_numbers() -> None:
    assert len(extend("A, 3, 0, 8\nB, 4, 0, 8\nA.B, 3, 0, 4\nA.B.C, 3, 0, 2\nA.D, 3, 4, 4")) == 5


@pytest.mark.parametrize(
    "text",
    [
        "A, 3, 0, 8\nA.B, 3, 0, 4\nA.C, 3, 0, 4",  # equal, as WR_DIS.MAC and WR_DIS.BLK1
        "A, 3, 0, 8\nA.B, 3, 0, 4\nA.C, 3, 1, 2",
        "A.B, 3, 1, 2\nA.C, 3, 0, 4\nA.C.D, 3, 1, 1",
        "A.B, 3, 0, 4\n, 3, 8, 4\nA.C, 3, 8, 4",  # of a part
    ],
)
def test_fields_under_one_parent_may_be_aliases(text: str) -> None:
    assert len(extend(text)) == text.count("\n") + 1


def test_what_a_spreadsheet_writes_is_understood() -> None:
    text = (
        '"# name, block",,,,\n,,,,\n"A","3","0","8","[AL] one, ""two""",more\n'
        '  "# x"\nB,EFUSE_BLK3,,8, 5" wide; "flat"\n,,,,,,\n,3,24,1,\n'
    )
    rows = rows_of(text)
    assert [(row.name, row.start, row.bits) for row in rows] == [("A", 0, 8), ("B_0", 8, 8), ("B_1", 24, 1)]
    assert (rows[0].alt_names, rows[0].description) == (("AL",), 'one, "two"')
    assert rows[1].description == '5" wide; "flat"'


def test_built_in_columns() -> None:
    text = (
        "# comment\n"
        'LOW,1,4,3,"[L LO] one, two",20,0 1,bitcount,usb,!new,0=None|1=8M=x\n'
        "HIGH,1,8,1\n"
        "BOTH,0,,4,All,,,composed,identity,old,,LOW@0 HIGH@3 0x3FF6607C.31:1@5 LOW.1:2@7,3=2 7=3\n"
    )
    low, high, both = parse_fields(text, file="t.csv")
    assert (low.alt_names, low.description, low.wr_dis, low.rd_dis) == (("L", "LO"), "one, two", 20, (0, 1))
    assert (low.codec, low.category, low.shown_when, low.on_request) == ("bitcount", "usb", "new", False)
    assert dict(low.meanings) == {0: "None", 1: "8M=x"}
    assert (high.kind, high.category, high.on_request, high.wr_dis) == ("bool", "config", True, None)
    assert (both.start, both.shown_when, both.on_request) == (None, "old", True)
    assert both.sources == (
        Source(0, "LOW", bits=3),
        Source(3, "HIGH"),
        Source(5, None, 0x3FF6607C, 31),
        Source(7, "LOW", bit=1, bits=2),
    )
    assert dict(both.value_map) == {3: 2, 7: 3}


@pytest.mark.parametrize("line", ["A,1,0", "A,x,0,1", "A,1,0,1,d,w", "A,1,,1,,,,,,,,NONE@0", "A" + "," * 13])
def test_a_broken_built_in_row_names_its_line(line: str) -> None:
    with pytest.raises(ChipDataError, match=r"t\.csv:2:1"):
        parse_fields(f"# head\n{line}\n", file="t.csv")


LINES = st.lists(
    st.lists(
        st.sampled_from(
            ["A", "A.B", "B", "", "EFUSE_BLK3", "3", "4", "0", "8", "0x10", "255", "[C D] text", "#"]
        )
    )
    | st.lists(st.text(max_size=8), max_size=6),
    max_size=6,
)


@given(LINES)
def test_any_text_is_a_table_or_a_clear_error(lines: list[list[str]]) -> None:
    where = "any.csv:"
    try:
        rows = parse_custom_table("\n".join(",".join(cells) for cells in lines), file="any.csv")
        extend_chip(chip_named("esp32c3"), rows)
    except ChipDataError as error:
        where = error.where
    assert where.startswith("any.csv:")
