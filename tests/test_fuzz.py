"""Hostile input, made up by Hypothesis: never a hang, never an exception that is not ours, never a burn.

Lines that carry nonsense, config files, eFuse tables, chip data, tokens, ledgers and witnesses: whatever is
in them, each reader answers with what it was asked for or with a sentence for the operator.
"""

from __future__ import annotations

import asyncio
import base64
import json
import os
import random
import signal
import tempfile
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
from parburn.chips.index import DATA, MORE_CHIPS
from parburn.chips.registry import chip_named, chip_names
from parburn.chips.table import extend_chip, parse_custom_table
from parburn.chips.validate import validate
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
from tests.ledger.ledgers import batch, burn, chip, claim_of, opened, run
from tests.protocol.fake_rom import FakeRom
from tests.sim.boards import MAC, make_board
from tests.test_commit import BoardStream, in_virtual_time, true_bits
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


@settings(examples(120), derandomize=True)
@given(
    name=st.sampled_from(["nova7", "esp32", "esp32c3"]),
    which=st.sampled_from(["fuzz.toml", "fuzz.csv", "index.csv"]),
    seed=st.integers(0, 2**32),
)
def test_damaged_chip_data_are_refused_or_make_a_chip(name: str, which: str, seed: int) -> None:
    files = sources_of(name)
    files[which] = damaged(files[which], random.Random(seed))
    with tempfile.TemporaryDirectory() as folder, patch.dict(os.environ, {MORE_CHIPS: folder}):
        for file, content in files.items():
            (Path(folder) / file).write_bytes(content)
        forget_chips()
        try:
            with may_refuse(UsageError):
                names = set(chip_names()) - OURS
                for one in names if which != "index.csv" else ():
                    validate(chip_named(one))
        finally:
            forget_chips()


OURS = frozenset(chip_names())


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
