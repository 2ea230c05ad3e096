"""Chooses the implementation of the codings and hands out the encoders. No arithmetic here.

The C extension `parburn.coding._rs` is used where it was built; `PARBURN_PURE=1` in the environment keeps to
Python. Both give the same bytes.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from importlib import import_module
from typing import Any, NamedTuple

from parburn.coding import reed_solomon, three_quarters
from parburn.coding.scheme import CodingScheme

_Encoder = Callable[[bytes], bytes]


class Implementation(NamedTuple):
    """One implementation of both codings: n*32 bytes to n*44, and n*6 bytes to n*8."""

    name: str
    rs: _Encoder
    three_quarters: _Encoder


PYTHON = Implementation("python", reed_solomon.encode, three_quarters.encode)


def c_implementation(ffi: Any, lib: Any) -> Implementation:
    """Return the C functions of a built extension as an implementation; `ffi` and `lib` are cffi's."""
    lib.parburn_coding_init()
    return Implementation(
        "c",
        _c_encoder(ffi, lib.parburn_rs_encode, "RS coding takes blocks of 32 bytes", (32, 44), 1),
        _c_encoder(
            ffi, lib.parburn_three_quarters_encode, "3/4 coding takes chunks of 6 bytes", (6, 8), usual=4
        ),
    )


def _c_encoder(ffi: Any, run: Any, takes: str, sizes: tuple[int, int], usual: int) -> _Encoder:
    """Wrap a C function that turns units of `sizes[0]` bytes into units of `sizes[1]`.

    `usual` of them are one eFuse block. The encoder raises ValueError as Python's do.
    """
    unit, coded_unit = sizes
    from_buffer, buffer = ffi.from_buffer, ffi.buffer
    new, new_uncleared = ffi.new, ffi.new_allocator(should_clear_after_alloc=False)
    one_block = ffi.typeof(f"uint8_t[{usual * coded_unit}]")
    many_units = ffi.typeof("uint8_t[]")
    block_bytes = usual * unit

    def encode(data: bytes) -> bytes:
        if type(data) is bytes and len(data) == block_bytes:  # the common case, without detours
            coded = new(one_block)
            run(data, usual, coded)
        else:
            units, rest = divmod(len(data), unit)
            if rest:
                raise ValueError(f"{takes}, not {len(data)} bytes")
            coded = new_uncleared(many_units, units * coded_unit)
            run(from_buffer(many_units, data), units, coded)
        whole: bytes = buffer(coded)[:]
        return whole

    return encode


def choose() -> Implementation:
    """Return the C implementation where it was built, unless PARBURN_PURE asks for Python."""
    if os.environ.get("PARBURN_PURE", "") not in ("", "0"):
        return PYTHON
    try:
        extension = import_module("parburn.coding._rs")
    except ImportError:
        return PYTHON
    return c_implementation(extension.ffi, extension.lib)


_chosen: Implementation | None = None


def _implementation() -> Implementation:
    global _chosen
    if _chosen is None:
        _chosen = choose()
    return _chosen


def implementation() -> str:
    """Return which implementation of the codings runs: `c` or `python`."""
    return _implementation().name


def encode_rs(data: bytes) -> bytes:
    """Return the 44 bytes (data, then 12 check bytes) of one RS block of 32 data bytes.

    Raises:
        ValueError: the data have another length.
    """
    if len(data) != reed_solomon.DATA_BYTES:
        raise _wrong_length(reed_solomon.DATA_BYTES, data)
    return _implementation().rs(data)


def encode_three_quarters(data: bytes) -> bytes:
    """Return the 32 bytes of one 3/4 block of 24 data bytes.

    Raises:
        ValueError: the data have another length.
    """
    if len(data) != three_quarters.DATA_BYTES:
        raise _wrong_length(three_quarters.DATA_BYTES, data)
    return _implementation().three_quarters(data)


def encode_many(scheme: CodingScheme, data: bytes) -> bytes:
    """Return the coded bytes of several whole blocks, one after the other.

    Args:
        scheme: RS makes n*32 bytes n*44, THREE_QUARTERS n*24 bytes n*32; NONE gives the data back.

    Raises:
        ValueError: the last block is not whole.
    """
    if scheme is CodingScheme.RS:
        return _implementation().rs(data)
    if scheme is CodingScheme.THREE_QUARTERS:
        if len(data) % three_quarters.DATA_BYTES:
            raise ValueError(f"a 3/4 block has {three_quarters.DATA_BYTES} data bytes, not {len(data)}")
        return _implementation().three_quarters(data)
    return bytes(data)


def _wrong_length(length: int, data: bytes) -> ValueError:
    return ValueError(f"this coding takes {length} bytes, not {len(data)} bytes")
