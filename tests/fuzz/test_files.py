"""Hostile config files, tokens, ledgers and witnesses: each is read, or refused with a sentence."""

from __future__ import annotations

import base64
import json
import os
import random
import tempfile
from collections.abc import Iterator
from pathlib import Path
from unittest.mock import patch
from zlib import crc32

import pytest
from hypothesis import given
from hypothesis import strategies as st

from parburn.chips.registry import chip_named
from parburn.config.records import ConfigFiles, load_config_files
from parburn.errors import LedgerError, ParburnError, UsageError
from parburn.ledger import schema
from parburn.ledger.export import export, show, verify
from parburn.ledger.file_location import witness_path
from parburn.script.commands.token import Token, parse_token
from parburn.script.config import ConfigHandle
from parburn.sim.token_board import BoardToken, product_of, read_token
from tests.fuzz.fuzzing import CHIPS, JSON_LIKE, OURS, damaged, examples, may_refuse
from tests.ledger.ledgers import batch, burn, chip, claim_of, opened, run

pytestmark = pytest.mark.usefixtures("no_hang")


FORMS = ("row", "line", "item", "section", "column:1", "none")


# Config files -----------------------------------------------------------------------------------------


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
    for file in found.files:
        ConfigHandle(file).read()
    for read in (found, found.all_shared(), *(found.read_as(dict.fromkeys(found.names, f)) for f in FORMS)):
        with may_refuse(UsageError):  # it has no such form
            for number in (1, 2, 3):
                read.entries(number)
                read.old_entries(number)
                read.of_job(number)
            assert read.last >= 0
    if found.undeclared:
        assert str(found.undeclared_error())


@examples(250)
@given(contents=st.lists(config_content(), max_size=3), suffix=st.sampled_from([".json", ".txt", ""]))
def test_config_files_load_or_are_refused(contents: list[bytes], suffix: str) -> None:
    with tempfile.TemporaryDirectory() as folder:
        paths = [Path(folder) / f"{number}{suffix}" for number in range(len(contents))]
        for path, content in zip(paths, contents, strict=True):
            path.write_bytes(content)
        with may_refuse(UsageError):
            use_config_files(load_config_files(paths))


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
