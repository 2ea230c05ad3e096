"""Hostile eFuse tables and chip data: whatever is in them, they make a chip of use or are refused."""

from __future__ import annotations

import copy
import csv
import io
import json
import os
import random
import tempfile
import tomllib
import tracemalloc
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from parburn.chips import index, registry
from parburn.chips.describe import chip_description, chip_features
from parburn.chips.index import DATA, MORE_CHIPS, MOST_BYTES
from parburn.chips.model import Chip
from parburn.chips.registry import chip_named, chip_names
from parburn.chips.table import extend_chip, parse_custom_table
from parburn.chips.validate import validate
from parburn.efuse import values
from parburn.efuse.image import EfuseImage
from parburn.efuse.layout import layout_of
from parburn.errors import ChipDataError
from tests.fuzz.fuzzing import CHIPS, OURS, damaged, examples, may_refuse
from tests.test_new_chip import FIELDS, ROW

pytestmark = pytest.mark.usefixtures("no_hang")

CELL = st.one_of(
    st.sampled_from(
        ["A", "A.B", "B", "MAC", "KEY0", "", "3", "EFUSE_BLK3", "MAX_BLK_LEN", "0x10", "[X Y] z"]
    ),
    st.integers(-1, 300).map(str),
    st.text(max_size=6),
)
TABLE_LINE = st.one_of(
    st.lists(CELL, max_size=7).map(",".join),
    st.builds(
        lambda name, block, start, bits, comment: f"{name}, {block}, {start}, {bits}, {comment}",
        st.sampled_from(["A", "B", "C", "A.B", "A.C", "", "D"]),
        st.one_of(st.integers(0, 11).map(str), st.just("EFUSE_BLK3")),
        st.one_of(st.integers(0, 256).map(str), st.just("")),
        st.one_of(st.integers(0, 64).map(str), st.just("MAX_BLK_LEN")),
        st.one_of(st.just(""), st.text(max_size=8), st.just("[P Q] text")),
    ),
)


@examples(200)
@given(lines=st.lists(TABLE_LINE, max_size=8), name=st.sampled_from(CHIPS))
def test_custom_tables_extend_a_chip_or_are_refused(lines: list[str], name: str) -> None:
    plain = chip_named(name)
    with may_refuse(ChipDataError):
        rows = parse_custom_table("\n".join(lines), file="my.csv")
        more = extend_chip(plain, rows)
        assert len(more.fields) == len(plain.fields) + len(rows)
        validate(more)


def forget_chips() -> None:
    for cache in (index.entries, registry._read_row, registry._fields, registry._build):
        cache.cache_clear()


def sources_of(name: str) -> dict[str, bytes]:
    """A chip's three files under a name and numbers that no chip has."""
    if name == "nova7":
        files = {"fuzz.toml": ROW.partition("[[overlay]]")[0].encode(), "fuzz.csv": FIELDS.encode()}
    else:
        files = {f"fuzz{end}": (DATA / f"{name}{end}").read_bytes() for end in (".toml", ".csv")}
    return files | {"index.csv": b"# name, ids, magics\nfuzz,61777,0x12345677\n"}


def use_chip(chip: Chip, seed: int) -> None:
    """Whatever got through shows every field of a chip with any bits, and says what it is."""
    rng = random.Random(seed)
    image = EfuseImage(
        chip,
        {block.index: rng.getrandbits(32 * block.words) for block in chip.blocks},
        registers={address: rng.getrandbits(32) for address in chip.extra_registers},
    )
    assert layout_of(chip).wr_dis.block == 0
    for field in image.fields():
        values.get_meaning(image, field)
        values.get_raw(image, field)
        assert field.type_name
    assert chip_description(chip, image.value_of)
    chip_features(chip, image.value_of)


def try_chip(files: dict[str, bytes], *, load: bool = True, seed: int = 0) -> ChipDataError | None:
    """Load what these files say, as an operator would: it can be used, or is refused in a line."""
    with tempfile.TemporaryDirectory() as folder, patch.dict(os.environ, {MORE_CHIPS: folder}):
        for file, content in files.items():
            (Path(folder) / file).write_bytes(content)
        forget_chips()
        try:
            for name in set(chip_names()) - OURS if load else ():
                use_chip(chip_named(name), seed)
        except ChipDataError as error:
            refused = error
        else:
            return None
        finally:
            forget_chips()
    assert refused.where
    assert 0 < len(str(refused)) < 40_000
    return refused


@settings(examples(120), derandomize=True)
@given(
    name=st.sampled_from(["nova7", "esp32", "esp32c3"]),
    which=st.sampled_from(["fuzz.toml", "fuzz.csv", "index.csv"]),
    seed=st.integers(0, 2**32),
)
def test_damaged_chip_data_are_refused_or_make_a_chip(name: str, which: str, seed: int) -> None:
    files = sources_of(name)
    files[which] = damaged(files[which], random.Random(seed))
    try_chip(files, load=which != "index.csv", seed=seed)


class Written(str):
    """A value as it stands in TOML: one that cannot be, or is dear to be, a value in Python."""


def as_toml(value: Any) -> str:
    if isinstance(value, Written):
        return str(value)
    if isinstance(value, dict):
        return "{ " + ", ".join(f"{json.dumps(key)} = {as_toml(one)}" for key, one in value.items()) + " }"
    if isinstance(value, list):
        return "[" + ", ".join(map(as_toml, value)) + "]"
    return json.dumps(value)


HOSTILE_VALUES = st.one_of(
    st.sampled_from(
        [-1, 0, 1, 2, 7, 31, 32, 255, 256, 4096, 2**31, 2**32 - 1, 2**32, 2**63, -(2**63), 0.5, 1e308, True]
    ),
    st.sampled_from(
        [
            Written("9" * 5000),
            Written("-" + "9" * 4000),
            Written("0x" + "f" * 5000),
            Written("nan"),
            Written("-inf"),
            Written("1979-05-27T07:32:00Z"),
            Written("[" * 3000 + "]" * 3000),
            Written("[" * 30 + "]" * 30),
            Written('"' + "A" * 100_000 + '"'),
            Written("[" + "1," * 5000 + "]"),
        ]
    ),
    st.sampled_from(
        ["", "A", "MAC", "WR_DIS", "../index.csv", "fuzz.csv", "a b", "A 1 \n", "\u0663", "NAME 99999"]
    ),
    st.sampled_from([[], {}, [[]], {"": 1}, {"A": "MAC"}, {"9" * 30: "x"}, {"-1": [[0, 0]]}]),
)


def places_in(value: Any) -> list[tuple[Any, Any]]:
    """Every place in a row: its container, and its key there."""
    found: list[tuple[Any, Any]] = []
    pairs = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, one in pairs:
        found += [(value, key), *places_in(one)]
    return found


def spoil_row(row: dict[str, Any], rng: random.Random, hostile: Any) -> None:
    """Change one place of a row: another value, a missing or unknown key, one level more."""
    places = places_in(row)
    key_of_row = rng.choice([one for one in places if one[0] is row])
    container, key = rng.choice((key_of_row, rng.choice(places)))
    how = rng.randrange(6)
    if how == 0:
        del container[key]
    elif how == 1 and isinstance(container, dict):
        container["colour"] = hostile
    elif how == 2:
        container[key] = [container[key]]
    elif how == 3:
        container[key] = {"one": container[key]}
    else:
        container[key] = hostile


def nudge_row(row: dict[str, Any], rng: random.Random) -> None:
    """Put another value of the same type in one place of a row: what only rules between values can refuse."""
    places = places_in(row)
    container, key = rng.choice([one for one in places if isinstance(one[0][one[1]], int | str)])
    others = [one[0][one[1]] for one in places if type(one[0][one[1]]) is type(container[key])]
    container[key] = rng.choice(others)


ROWS_TO_SPOIL = {
    "nova7": tomllib.loads(ROW.replace('more_fields = "nova7_v2.csv"', "")),
    **{name: tomllib.loads((DATA / f"{name}.toml").read_text()) for name in ("esp32", "esp32c3", "esp32s3")},
}


@settings(examples(600), derandomize=True)
@given(
    name=st.sampled_from(sorted(ROWS_TO_SPOIL)),
    seed=st.integers(0, 2**32),
    hostile=st.lists(HOSTILE_VALUES, min_size=1, max_size=3),
)
def test_rows_with_wrong_values_are_refused_or_make_a_chip(name: str, seed: int, hostile: list[Any]) -> None:
    row, rng = copy.deepcopy(ROWS_TO_SPOIL[name]), random.Random(seed)
    for one in hostile:
        spoil_row(row, rng, one)
    files = sources_of(name)
    files["fuzz.toml"] = "\n".join(f"{json.dumps(key)} = {as_toml(one)}" for key, one in row.items()).encode()
    try_chip(files, seed=seed)


@settings(examples(400), derandomize=True)
@given(name=st.sampled_from(sorted(ROWS_TO_SPOIL)), seed=st.integers(0, 2**32))
def test_rows_with_values_of_other_keys_are_refused_or_make_a_chip(name: str, seed: int) -> None:
    row, rng = copy.deepcopy(ROWS_TO_SPOIL[name]), random.Random(seed)
    for _ in range(rng.choice((1, 1, 3))):
        nudge_row(row, rng)
    text = "\n".join(f"{json.dumps(key)} = {as_toml(one)}" for key, one in row.items())
    try_chip({**sources_of(name), "fuzz.toml": text.encode()}, seed=seed)


CELLS = st.one_of(
    st.sampled_from(
        [
            "",
            "-1",
            "0",
            "1",
            "31",
            "32",
            "256",
            "513",
            "4294967296",
            "9" * 5000,
            "-" + "9" * 4299,
            "0x10",
            "٣",
            "1_0",
        ]
    ),
    st.sampled_from(
        [
            "MAC",
            "mac",
            "mac_eui64",
            "custom_mac",
            "keypurpose",
            "adc_tp",
            "vref",
            "count",
            "composed",
            "A@0",
            "MAC@0",
        ]
    ),
    st.sampled_from(
        ["0=x", "x=0", "MAC.47:9@3", "0xFFFFFFFFFF.1:1@0", "0x3FF6607C.31:9@0", "MAC@99999999999"]
    ),
    st.text(max_size=6),
    st.just("x" * 140_000),
)


@settings(examples(400), derandomize=True)
@given(
    name=st.sampled_from(["nova7", "esp32", "esp32c3"]),
    seed=st.integers(0, 2**32),
    cells=st.lists(CELLS, min_size=1, max_size=3),
)
def test_field_tables_with_wrong_cells_are_refused_or_make_a_chip(
    name: str, seed: int, cells: list[str]
) -> None:
    files, rng = sources_of(name), random.Random(seed)
    rows = list(csv.reader(files["fuzz.csv"].decode().splitlines()))
    for cell in cells:
        row = rng.choice(rows)
        at = rng.randrange(13)
        row += [""] * (at + 1 - len(row))
        row[at] = cell
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(rows)
    files["fuzz.csv"] = text.getvalue().encode("utf-8", "surrogatepass")
    try_chip(files, seed=seed)


@settings(examples(200), derandomize=True)
@given(
    line=st.lists(
        st.one_of(
            CELLS,
            st.sampled_from(["fuzz", "../fuzz", "fuzz\x00", "/etc/passwd", "FUZZ", "7 7", "0x" + "f" * 5000]),
        ),
        max_size=4,
    ).map(",".join)
)
def test_indexes_with_wrong_lines_are_refused_or_name_chips(line: str) -> None:
    files = sources_of("nova7")
    files["index.csv"] += line.encode("utf-8", "surrogatepass") + b"\n"
    try_chip(files)


@pytest.mark.parametrize(
    ("file", "content", "words"),
    [
        ("fuzz.toml", b"#" * (MOST_BYTES + 1), "chip data have at most"),
        ("fuzz.csv", b"#" * (MOST_BYTES + 1), "chip data have at most"),
        ("fuzz.csv", b"A,0,0,1\n" * 20_000, "20000 fields, at most 1000"),
        ("fuzz.csv", b"A,0,0,99999999999\n", "bit_count must be a number from 1 to 512"),
        ("index.csv", b"".join(b"c%d,,\n" % number for number in range(300)), "more than 256 chips"),
    ],
)
def test_sizes_are_bounded_before_anything_is_made_of_them(file: str, content: bytes, words: str) -> None:
    tracemalloc.start()
    try:
        refused = try_chip({**sources_of("nova7"), file: content})
        _, most = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert words in str(refused)
    assert most < 16 << 20


@pytest.mark.parametrize(
    ("key", "written", "words"),
    [
        ("efuse_base", "9" * 5000, "this is not TOML: Exceeds the limit"),
        ("efuse_base", "0x" + "f" * 5000, "efuse_base: Expected `int` <= 4294967295"),
        ("efuse_base", "true", "efuse_base: Expected `int`, got `bool`"),
        ("blocks", '[["BLOCK0", "", 0, 1000000000000, -1, [], ""]]', "blocks[0][3]: Expected `int` <= 16"),
        ("blocks", '[["BLOCK0"]]', "blocks[0]: Expected `array` of at least length 7, got 1"),
        ("custom_purpose_bits", "64", "custom_purpose_bits: Expected `int` <= 6"),
        ("key_purposes", '["USER"]', "key_purposes[0]: Expected NAME CODE and words"),
        ("key_purposes", '["USER 0 secret"]', "key_purposes: USER has unknown words: secret"),
        ("program_ms", "nan", "program_ms: Expected `float` > 0.0"),
        ("title", '"\\u001b[2J"', "title: Expected a name of at most 40 characters"),
        ("fields", '"../../index.csv"', "fields: Expected the name of a file in the same folder"),
        ("controller", '"other"', "controller: Invalid enum value 'other'"),
        ("coding", '"WR_DIS"', "coding: Invalid enum value 'WR_DIS'"),
        ("link_ends", '{ LINK_OFF = "boom" }', "link_ends[...]: Invalid enum value 'boom'"),
        ("link_ends", '{ LINK_OFF = "' + "b" * 9999 + '" }', "link_ends[...]: Invalid enum value 'bbbb"),
        (
            "conditions",
            "{ a = " + "{ field = 'MAC', or_else = " * 20 + "{}" + "}" * 21,
            "conditions[...].or_else: Object contains unknown field `or_else`",
        ),
        ("conditions", "[" * 5000 + "]" * 5000, "this is not TOML: maximum recursion"),
        ("timing", "{ 48 = [[0, 0, 0, 0]] }", "timing[...][0]: Expected `array` of at most length 3, got 4"),
        ("timing", "{ x = [] }", "timing, a key: Expected a number"),
        ("overlay", "[{ title = 7 }]", "overlay[0].title: Expected `str`, got `int`"),
        ("overlay", "[{ from = -1 }]", "overlay[0].from: Expected `int` >= 0"),
        ("overlay", "7", "overlay: Expected `array`, got `int`"),
    ],
)
def test_a_wrong_value_is_named_with_its_file_and_key(key: str, written: str, words: str) -> None:
    row = {**ROWS_TO_SPOIL["nova7"], key: Written(written)}
    text = "\n".join(f"{json.dumps(name)} = {as_toml(one)}" for name, one in row.items())
    refused = try_chip({**sources_of("nova7"), "fuzz.toml": text.encode()})
    assert words in str(refused)
    assert refused is not None
    assert refused.where.endswith("fuzz.toml")


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("A, 3, 0x" + "f" * 5000 + ", 8, x", "is more than any block has bits"),
        ("A, 3, " + "9" * 4300 + ", MAX_BLK_LEN, x", "is more than any block has bits"),
        ("A, 3, " + "9" * 5000 + ", 8, x", "is not a number from 0 on"),
        ("A" * 5000 + ", 3, 0, 8, x", "cannot be a field name"),
        ("\n".join(f"A{number}, 3, 0, 8, x" for number in range(5000)), "more than 4096 fields"),
    ],
)
def test_absurd_custom_tables_are_refused_in_a_short_line(line: str, words: str) -> None:
    with pytest.raises(ChipDataError) as refused:
        parse_custom_table(line, file="my.csv")
    assert words in str(refused.value)
    assert len(str(refused.value)) < 200
