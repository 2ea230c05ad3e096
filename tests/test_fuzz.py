"""Hostile input, made up by Hypothesis: never a hang, never an exception that is not ours, never a burn.

Lines that carry nonsense, config files, eFuse tables, chip data, tokens, ledgers and witnesses: whatever is
in them, each reader answers with what it was asked for or with a sentence for the operator.
"""

from __future__ import annotations

import asyncio
import base64
import copy
import csv
import io
import json
import os
import random
import signal
import tempfile
import tomllib
import tracemalloc
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from unittest.mock import patch
from zlib import crc32

import pytest
from hypothesis import HealthCheck, given, settings
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
from parburn.errors import ChipDataError, GarbledAnswer, LedgerError, ParburnError, UsageError
from parburn.identify import Device, identify
from parburn.ledger import schema
from parburn.ledger.export import export, show, verify
from parburn.ledger.place import witness_path
from parburn.protocol import commands
from parburn.protocol.loader import LoaderProtocol
from parburn.protocol.slip import LONGEST_FRAME, SlipDecoder, encode
from parburn.rom import ReadRegs, RomLoader
from parburn.script.config import ConfigFiles, load_config_files
from parburn.script.token import Token, parse_token
from parburn.sim.board import Board
from parburn.sim.efuse_controller import BurnRecord
from parburn.sim.token_board import BoardToken, product_of, read_token
from tests.commit_bench import BoardStream, in_virtual_time, true_bits
from tests.ledger.ledgers import batch, burn, chip, claim_of, opened, run
from tests.protocol.fake_rom import FakeRom
from tests.sim.boards import MAC, make_board
from tests.test_new_chip import FIELDS, ROW
from tests.test_rom import MemoryStream

HANG_S = 120  # of real time, for all examples of a property
VIRTUAL_HANG_S = 120.0  # of virtual time, for one conversation
CHIPS = ("esp32", "esp32c3", "esp32s3")


def examples(number: int) -> settings:
    """So many examples, without a time limit for one of them."""
    return settings(max_examples=number, deadline=None, suppress_health_check=[HealthCheck.too_slow])


@pytest.fixture(autouse=True)
def _no_hang() -> Iterator[None]:
    """A property that hangs fails."""

    def hung(*_: object) -> None:
        raise AssertionError(f"no end after {HANG_S} s")

    before = signal.signal(signal.SIGALRM, hung)
    signal.alarm(HANG_S)
    yield
    signal.alarm(0)
    signal.signal(signal.SIGALRM, before)


@contextmanager
def may_refuse(kind: type[ParburnError]) -> Iterator[None]:
    """Allow this refusal, which must say something."""
    try:
        yield
    except kind as refused:
        if not str(refused):
            raise


def damaged(data: bytes, rng: random.Random, *, times: int = 3) -> bytes:
    """Bytes changed, lost, doubled or put in, or the end cut off."""
    found = bytearray(data)
    for _ in range(rng.randint(1, times)):
        at = rng.randrange(len(found) + 1)
        how = rng.randrange(6)
        if how == 0:
            found[at : at + 1] = bytes([rng.randrange(256)])
        elif how == 1:
            del found[at : at + rng.randint(1, 8)]
        elif how == 2:
            found[at:at] = found[at : at + rng.randint(1, 8)]
        elif how == 3:
            found[at:at] = rng.randbytes(rng.randint(1, 8))
        elif how == 4 and at < len(found):
            found[at] ^= 1 << rng.randrange(8)
        elif rng.randrange(4) == 0:
            del found[at:]
    return bytes(found)


# The line ---------------------------------------------------------------------------------------------

HOSTILE = st.lists(
    st.one_of(
        st.binary(max_size=40),
        st.sampled_from([b"\xc0", b"\xdb", b"\xdb\xdc", b"\xc0\x01\x0a", b"x" * (LONGEST_FRAME + 1)]),
        st.builds(
            lambda opcode, rest: encode(b"\x01" + bytes([opcode]) + rest),
            st.sampled_from([8, 9, 10, 15, 20]),
            st.binary(max_size=24),
        ),
        st.builds(
            lambda opcode, value, status: encode(
                bytes([1, opcode, 4, 0]) + value.to_bytes(4, "little") + bytes([*status, 0, 0])
            ),
            st.sampled_from([8, 9, 10, 15, 20]),
            st.integers(0, 2**32 - 1),
            st.sampled_from([(0, 0), (1, 5), (1, 6)]),
        ),
    ),
    max_size=30,
)


def chunks_of(data: bytes, rng: random.Random) -> Iterator[bytes]:
    """The same bytes as a line may bring them."""
    while data:
        size = rng.choice((1, 2, 14, 100, 10_000))
        yield data[:size]
        data = data[size:]


@examples(150)
@given(pieces=HOSTILE, seed=st.integers(0, 2**32))
def test_the_decoder_gives_the_same_frames_however_they_are_cut(pieces: list[bytes], seed: int) -> None:
    data = b"".join(pieces)
    decoder = SlipDecoder()
    frames = [frame for chunk in chunks_of(data, random.Random(seed)) for frame in decoder.feed(chunk)]
    assert all(frame is None or frame for frame in frames)
    assert len(decoder.tail) <= LONGEST_FRAME
    if len(data) <= LONGEST_FRAME:
        assert frames == SlipDecoder().feed(data)


@examples(200)
@given(
    pieces=HOSTILE,
    seed=st.integers(0, 2**32),
    opcodes=st.lists(st.sampled_from([8, 9, 10, 15, 20]), max_size=12),
    watched=st.booleans(),
    syncing=st.booleans(),
)
def test_the_protocol_raises_nothing_but_garbled_answer(
    pieces: list[bytes], seed: int, opcodes: list[int], watched: bool, syncing: bool
) -> None:
    protocol = LoaderProtocol()
    seen: list[bytes | None] = []
    if watched:
        protocol.observer = lambda request, answer: seen.append(answer)
    if syncing:
        protocol.begin_sync()
    else:
        protocol.begin([encode(bytes([0, one])) for one in opcodes], bytes(opcodes))
    try:
        for chunk in chunks_of(b"".join(pieces), random.Random(seed)):
            protocol.data_to_send()
            protocol.receive_data(chunk)
    except GarbledAnswer:
        protocol.forget()
        protocol.receive_data(b"".join(pieces))
        return
    assert 0 <= protocol.answered <= protocol.asked
    assert len(protocol.values) == opcodes[: protocol.answered].count(commands.READ_REG) * (not syncing)


async def in_time(work: Callable[[], Any]) -> Any:
    """Within its deadline; every error but ours goes on."""
    async with asyncio.timeout(VIRTUAL_HANG_S):
        try:
            return await work()
        except ParburnError as error:
            return error


def every_block(found: Any) -> Sequence[int]:
    return [block.index for block in found.blocks]


async def identified(rom: RomLoader) -> Device:
    return await identify(rom, wanted="auto", blocks=every_block, extend=lambda one: one)


def opcodes_sent(written: Sequence[bytes]) -> set[int]:
    return {frame[1] for frame in SlipDecoder().feed(b"".join(written)) if frame and len(frame) > 1}


@examples(80)
@given(answers=st.lists(HOSTILE.map(b"".join), min_size=1, max_size=6), chunk=st.sampled_from([1, 5, 1000]))
def test_a_chip_that_answers_nonsense_ends_in_our_error(answers: list[bytes], chunk: int) -> None:
    left = list(answers)

    async def work() -> None:
        stream = MemoryStream(lambda data: left.pop(0) if left else b"", chunk=chunk)
        loader = RomLoader(stream)
        device = await in_time(lambda: identified(loader))
        assert isinstance(device, ParburnError)
        await in_time(loader.sync)
        values = await in_time(lambda: loader.burst(ReadRegs((0x60008800, 0x60008804))))
        assert isinstance(values, ParburnError) or len(values) == 2
        assert commands.WRITE_REG not in opcodes_sent(stream.written)

    in_virtual_time(work())


@examples(60)
@given(seed=st.integers(0, 2**32), rate=st.sampled_from([0.003, 0.03, 0.3]))
def test_a_burst_over_a_damaged_line_gives_as_many_values_or_our_error(seed: int, rate: float) -> None:
    rng = random.Random(seed)
    rom = FakeRom({0x60008800 + 4 * n: n for n in range(60)})

    def feed(data: bytes) -> bytes:
        answer = rom.feed(data)
        return damaged(answer, rng) if answer and rng.random() < rate * 10 else answer

    async def work() -> None:
        loader = RomLoader(MemoryStream(feed, chunk=rng.choice((1, 7, 1000))))
        for _ in range(3):
            values = await in_time(lambda: loader.read_regs(tuple(rom.registers)))
            assert isinstance(values, ParburnError) or len(values) == 60
            await in_time(loader.sync)

    in_virtual_time(work())
    assert commands.WRITE_REG not in {packet[1] for packet in rom.requests}


class NoisyStream(BoardStream):
    """A simulated board whose answers are damaged by chance on their way."""

    def __init__(self, board: Board, rng: random.Random, rate: float) -> None:
        super().__init__(board)
        self.rng, self.rate = rng, rate
        self.written: list[bytes] = []

    def write(self, data: bytes) -> None:
        self.written.append(data)
        super().write(data)

    def _deliver(self, data: bytes) -> None:
        if self.rng.random() < self.rate:
            data = damaged(data, self.rng, times=2)
        if data:
            super()._deliver(data)


@examples(60)
@given(name=st.sampled_from(CHIPS), seed=st.integers(0, 2**32), rate=st.sampled_from([0.01, 0.1, 0.5]))
def test_identify_over_a_damaged_line_is_right_or_fails_and_burns_nothing(
    name: str, seed: int, rate: float
) -> None:
    burned: list[BurnRecord] = []
    board = make_board(name, on_burn=burned.append)
    before = true_bits(board)

    async def work() -> None:
        stream = NoisyStream(board, random.Random(seed), rate)

        async def whole() -> Device:
            return await identified(await RomLoader.connect(stream, before="no-reset", attempts=2))

        device = await in_time(whole)
        if not isinstance(device, ParburnError):
            assert (device.chip.name, device.identity.mac) == (name, MAC)
        assert commands.WRITE_REG not in opcodes_sent(stream.written)
        await stream.aclose()

    in_virtual_time(work())
    assert not burned
    assert true_bits(board) == before


# Config files -----------------------------------------------------------------------------------------

JSON_LIKE = st.recursive(
    st.one_of(
        st.none(),
        st.booleans(),
        st.integers(),
        st.floats(),
        st.text(max_size=5),
    ),
    lambda inner: st.one_of(
        st.lists(inner, max_size=4),
        st.dictionaries(
            st.one_of(st.sampled_from(["1", "2", "mac"]), st.text(max_size=3)), inner, max_size=4
        ),
    ),
    max_leaves=12,
)


def config_content() -> st.SearchStrategy[bytes]:
    as_json = JSON_LIKE.map(lambda value: json.dumps(value).encode())
    return st.one_of(
        st.binary(max_size=60),
        st.text(max_size=60).map(lambda text: text.encode("utf-8", "surrogatepass")),
        as_json,
        st.builds(lambda data, seed: damaged(data, random.Random(seed)), as_json, st.integers(0, 2**32)),
        st.integers(1, 20_000).map(lambda depth: b"[" * depth),
        st.integers(1, 20_000).map(lambda depth: b'{"1":' * depth + b"1" + b"}" * depth),
        st.just(b'{"1": "\\ud800"}'),
    )


def use_config_files(found: ConfigFiles) -> None:
    for handle in found.open_all():
        handle.read()
        handle.close()
    for number in (1, 2):
        found.entry(number)
        found.entry_digest(number)


@examples(250)
@given(contents=st.lists(config_content(), max_size=3), suffix=st.sampled_from([".json", ".txt", ""]))
def test_config_files_load_or_are_refused(contents: list[bytes], suffix: str) -> None:
    with tempfile.TemporaryDirectory() as folder:
        paths = [Path(folder) / f"{number}{suffix}" for number in range(len(contents))]
        for path, content in zip(paths, contents, strict=True):
            path.write_bytes(content)
        with may_refuse(UsageError):
            use_config_files(load_config_files(paths))


# Tables and chip data ---------------------------------------------------------------------------------

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

    def value_of(name: str) -> int:
        return image.field_bits(chip.field_by_name[name][0])

    assert chip_description(chip, value_of)
    chip_features(chip, value_of)


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


OURS = frozenset(chip_names())


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
        ("efuse_base", "9" * 5000, "this is no TOML: Exceeds the limit"),
        (
            "efuse_base",
            "0x" + "f" * 5000,
            "efuse_base must be a number from 1 to 0xffffffff, not a number of 20000 bits",
        ),
        ("efuse_base", "true", "efuse_base must be a number"),
        ("blocks", '[["BLOCK0", "", 0, 1000000000000, -1, [], ""]]', "blocks[0][3] must be 1 to 16"),
        ("blocks", '[["BLOCK0"]]', "blocks[0] must be a list of 7 to 8 values"),
        ("custom_purpose_bits", "64", "custom_purpose_bits must be 0 to 6, not 64"),
        ("key_purposes", '["USER"]', "key_purposes[0] must be NAME CODE and words"),
        ("key_purposes", '["USER 0 secret"]', "key_purposes: USER has unknown words: secret"),
        ("program_ms", "nan", "program_ms must be milliseconds"),
        ("title", '"\\u001b[2J"', "title must be a name"),
        ("fields", '"../../index.csv"', "fields must be the name of a file in the same folder"),
        (
            "conditions",
            "{ a = " + "{ field = 'MAC', or_else = " * 20 + "{}" + "}" * 21,
            "too deep in each other",
        ),
        ("conditions", "[" * 5000 + "]" * 5000, "this is no TOML: maximum recursion"),
        ("timing", "{ 48 = [[0, 0, 0, 0]] }", "timing.48[0] must be a list of 2 to 3 values"),
        ("timing", "{ x = [] }", "timing has a key 'x', which cannot stand there"),
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


# Tokens -----------------------------------------------------------------------------------------------


def with_crc(prefix: str) -> str:
    crc = base64.urlsafe_b64encode(crc32(f"{prefix}:".encode()).to_bytes(4, "little")).decode()
    return f"{prefix}:{crc.rstrip('=')}"


@st.composite
def hostile_tokens(draw: st.DrawFn) -> str:
    """Text, and tokens with a right checksum over pieces that are not."""
    if draw(st.integers(0, 4)) == 0:
        return draw(st.text(st.characters(exclude_categories=["Cs"]), max_size=40))
    name = draw(st.sampled_from([*CHIPS, "esp32p4", "esp9", ""]))
    blocks = len(chip_named(name).blocks) if name in OURS else 3
    count = blocks if draw(st.integers(0, 4)) else draw(st.integers(0, 12))
    whole = st.binary(min_size=32, max_size=32)
    data = st.one_of(st.just(b""), whole, st.binary(min_size=24, max_size=24), st.binary(max_size=40))
    pieces = [
        draw(data.map(lambda one: base64.urlsafe_b64encode(one).decode().rstrip("="))) for _ in range(count)
    ]
    if draw(st.integers(0, 5)) == 0 and pieces:
        pieces[0] = draw(st.text(st.characters(exclude_categories=["Cs"]), max_size=6))
    kind = draw(st.sampled_from(["EFSR", "EFSR", "EFSW", "EFSRW", "X"]))
    revision = draw(st.sampled_from(["000", "301", "3", "", "x", "²", "٣", "99999999"]))
    errors = base64.urlsafe_b64encode(draw(st.binary(max_size=24))).decode().rstrip("=")
    token = with_crc(":".join([kind, name, revision, *pieces, errors]))
    if draw(st.integers(0, 5)) == 0:
        spoiled = damaged(token.encode(), random.Random(draw(st.integers(0, 2**32))))
        return spoiled.decode(errors="replace")
    return token


@examples(200)
@given(text=hostile_tokens())
def test_tokens_are_read_or_refused(text: str) -> None:
    with may_refuse(ParburnError):
        assert isinstance(parse_token(text, chip_named), Token)


@examples(120)
@given(text=hostile_tokens(), seed=st.integers(0, 2**32))
def test_tokens_make_a_board_or_are_refused(text: str, seed: int) -> None:
    with may_refuse(ParburnError):
        token = read_token(text)
        assert isinstance(token, BoardToken)
        made, _notes = product_of(token, copy=0, settings={}, rng=random.Random(seed))
        assert made.chip.name == token.chip.name


# Ledgers ----------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def ledger_files(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[bytes, bytes]]:
    """The bytes of a ledger with a few units in it, and of its witness. The disk is not waited for."""
    real = schema.connect
    path = tmp_path_factory.mktemp("fuzz") / "ledger.sqlite3"

    async def work() -> None:
        async with opened(path, batch({1: "one", 2: "two"}, name="b")) as ledger:
            await burn(await claim_of(ledger, chip(1)), values={"CUSTOM_MAC": "m"})
            await (await claim_of(ledger, chip(2))).failed_clean("script", release=True)

    with (
        patch.object(os, "fsync", lambda _descriptor: None),
        patch.object(schema, "connect", lambda path, durable=False: real(path, durable=False)),
    ):
        run(work())
        yield path.read_bytes(), witness_path(path).read_bytes()


def try_everything(ledger: bytes, witness: bytes | None) -> None:
    """Read and open this ledger: it works, or LedgerError says why not."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder).resolve() / "ledger.sqlite3"
        path.write_bytes(ledger)
        path.chmod(0o600)
        if witness is not None:
            witness_path(path).write_bytes(witness)
        for look in (verify, show, lambda place: export(place, "csv")):
            with may_refuse(LedgerError):
                assert look(path)

        async def work() -> None:
            async with opened(path, batch({1: "one", 2: "two"}, name="b")) as book:
                claim = await claim_of(book, chip(1))
                await claim.failed_clean("fuzz", release=True)

        with may_refuse(LedgerError):
            run(work())


def spoil_ledger(content: bytes, how: str, rng: random.Random) -> bytes:
    if how == "cut":
        return content[: rng.randrange(len(content))]
    if how == "noise":
        return rng.randbytes(rng.randrange(3000))
    spoiled = bytearray(content)
    for _ in range(rng.choice((1, 4, 100))):
        at = rng.randrange(100 if how == "head" else len(spoiled))
        spoiled[at] = rng.randrange(256)
    if how == "page":
        at = rng.randrange(0, len(spoiled), 4096)
        spoiled[at : at + 4096] = rng.randbytes(4096)
    return bytes(spoiled)


@examples(60)
@given(how=st.sampled_from(["cut", "noise", "head", "bytes", "bytes", "page"]), seed=st.integers(0, 2**32))
def test_damaged_ledgers_open_or_are_refused(ledger_files: tuple[bytes, bytes], how: str, seed: int) -> None:
    ledger, witness = ledger_files
    try_everything(spoil_ledger(ledger, how, random.Random(seed)), witness)


@examples(40)
@given(
    content=st.one_of(st.none(), st.binary(max_size=40), JSON_LIKE.map(json.dumps).map(str.encode)),
    seed=st.integers(0, 2**32),
)
def test_damaged_witnesses_are_refused(
    ledger_files: tuple[bytes, bytes], content: bytes | None, seed: int
) -> None:
    ledger, witness = ledger_files
    try_everything(ledger, damaged(witness, random.Random(seed)) if content is None else content)
