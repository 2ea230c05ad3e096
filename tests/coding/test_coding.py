"""The coding schemes against reedsolo and against the manual's formula; one suite for Python and C."""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Callable, Iterator
from importlib import util
from pathlib import Path

import pytest
import reedsolo
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from parburn.coding import (
    CodingScheme,
    encode,
    encode_many,
    encode_rs,
    encode_three_quarters,
    implementation,
    reed_solomon,
    three_quarters,
)

Encoder = Callable[[bytes], bytes]
RSC = reedsolo.RSCodec(12)

SAMPLES = [
    bytes(32),
    bytes([255] * 32),
    bytes(range(32)),
    *(bytes(at) + bytes([value]) + bytes(31 - at) for at in (0, 1, 15, 30, 31) for value in (1, 0x80, 0xFF)),
]


def by_reedsolo(data: bytes) -> bytes:
    """What the reference library makes of whole blocks."""
    return b"".join(bytes(RSC.encode(data[at : at + 32])) for at in range(0, len(data), 32))


class RsTests:
    """What every implementation of the RS coding must do; a subclass names the implementation."""

    encode: Encoder

    @pytest.mark.parametrize("data", SAMPLES, ids=lambda data: data.hex()[:20])
    def test_single_blocks(self, data: bytes) -> None:
        assert self.encode(data) == by_reedsolo(data)

    def test_every_byte_value_at_every_place(self) -> None:
        data = b"".join(
            bytes(at) + bytes([value]) + bytes(31 - at) for at in range(32) for value in range(0, 256, 5)
        )
        assert self.encode(data) == by_reedsolo(data)

    @settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.differing_executors])
    @given(data=st.integers(0, 4).flatmap(lambda n: st.binary(min_size=32 * n, max_size=32 * n)))
    def test_many_blocks(self, data: bytes) -> None:
        assert self.encode(data) == by_reedsolo(data)

    @pytest.mark.parametrize("length", [1, 31, 33, 44])
    def test_a_part_of_a_block_is_refused(self, length: int) -> None:
        with pytest.raises(ValueError, match="32 bytes"):
            self.encode(bytes(length))


# Chunk of six, then the two check bytes: exclusive or, and the sum of position times set bits.
CHUNKS = [
    ("000000000000", "0000"),
    ("010000000000", "0101"),
    ("000000000001", "0106"),
    ("ffffffffffff", "00a8"),
    ("010203040506", "0723"),
]


class ThreeQuartersTests:
    """What every implementation of the 3/4 coding must do; a subclass names the implementation."""

    encode: Encoder

    @pytest.mark.parametrize(("chunk", "check"), CHUNKS)
    def test_by_hand(self, chunk: str, check: str) -> None:
        assert self.encode(bytes.fromhex(chunk)).hex() == chunk + check

    def test_every_byte_value_at_every_place(self) -> None:
        for at in range(6):
            for value in range(256):
                coded = self.encode(bytes(at) + bytes([value]) + bytes(5 - at))
                assert coded[6:] == bytes([value, (at + 1) * value.bit_count()])

    @settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.differing_executors])
    @given(data=st.integers(0, 12).flatmap(lambda n: st.binary(min_size=6 * n, max_size=6 * n)))
    def test_the_formula(self, data: bytes) -> None:
        coded = self.encode(data)
        assert len(coded) == len(data) // 6 * 8
        assert three_quarters.decode(coded) == data
        for at in range(0, len(coded), 8):
            *chunk, parity, weight = coded[at : at + 8]
            assert parity == chunk[0] ^ chunk[1] ^ chunk[2] ^ chunk[3] ^ chunk[4] ^ chunk[5]
            assert weight == sum(n * bin(byte).count("1") for n, byte in enumerate(chunk, 1))

    @pytest.mark.parametrize("length", [1, 5, 7, 23, 25])
    def test_a_part_of_a_chunk_is_refused(self, length: int) -> None:
        with pytest.raises(ValueError, match="6 bytes"):
            self.encode(bytes(length))


class TestPython(RsTests):
    encode = staticmethod(reed_solomon.encode)


class TestPythonThreeQuarters(ThreeQuartersTests):
    encode = staticmethod(three_quarters.encode)


class TestChosen(RsTests):
    """Whatever this install runs: C where it was built."""

    encode = staticmethod(lambda data: encode_many(CodingScheme.RS, data))


def can_build_c() -> bool:
    """A compiler and cffi are there, as the optional extension needs them."""
    from shutil import which

    return util.find_spec("cffi") is not None and any(which(cc) for cc in ("cc", "gcc", "clang"))


@pytest.fixture(scope="session")
def built(tmp_path_factory: pytest.TempPathFactory) -> Iterator[encode.Implementation]:
    """The C extension, built from this tree, whether or not it is installed."""
    where = tmp_path_factory.mktemp("rs")
    build = importlib.import_module("parburn.coding._rs_build")
    library = Path(build.ffibuilder.compile(tmpdir=os.fspath(where)))
    spec = util.spec_from_file_location("parburn.coding._rs", library)
    assert spec is not None
    assert spec.loader is not None
    module = util.module_from_spec(spec)
    spec.loader.exec_module(module)
    yield encode.c_implementation(module.ffi, module.lib)
    sys.modules.pop("parburn.coding._rs", None)


if can_build_c():

    class TestC(RsTests):
        """The reference's tests on C."""

        @pytest.fixture(autouse=True, scope="class")
        @classmethod
        def taken(cls, built: encode.Implementation) -> None:
            cls.encode = staticmethod(built.rs)

    class TestCThreeQuarters(ThreeQuartersTests):
        """The reference's tests on C."""

        @pytest.fixture(autouse=True, scope="class")
        @classmethod
        def taken(cls, built: encode.Implementation) -> None:
            cls.encode = staticmethod(built.three_quarters)


def test_the_environment_can_ask_for_python(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PARBURN_PURE", "1")
    assert encode.choose() is encode.PYTHON


def test_the_implementation_has_a_name() -> None:
    assert implementation() in ("c", "python")


def test_encode_rs_takes_one_block() -> None:
    data = bytes(range(32))
    assert encode_rs(data) == by_reedsolo(data)
    with pytest.raises(ValueError, match="32 bytes, not 64"):
        encode_rs(bytes(64))


@given(st.integers(0, 3).flatmap(lambda n: st.binary(min_size=24 * n, max_size=24 * n)))
def test_encode_many_is_block_by_block(data: bytes) -> None:
    blocks = [data[at : at + 24] for at in range(0, len(data), 24)]
    assert encode_many(CodingScheme.THREE_QUARTERS, data) == b"".join(map(encode_three_quarters, blocks))
    assert encode_many(CodingScheme.NONE, data) == data


@pytest.mark.parametrize("length", [6, 23, 25, 48 + 6])
def test_a_part_of_a_three_quarters_block_is_refused(length: int) -> None:
    with pytest.raises(ValueError, match="not"):
        encode_many(CodingScheme.THREE_QUARTERS, bytes(length))
    with pytest.raises(ValueError, match="not"):
        encode_three_quarters(bytes(length))
