"""Chooses the implementation of the RS coding and hands out the encoders. No arithmetic here.

The C extension `parburn.coding._rs` is used where it was built; `PARBURN_PURE=1` in the environment keeps to
Python. Both give the same bytes.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from importlib import import_module
from typing import Any

from parburn.coding import reed_solomon, three_quarters
from parburn.coding.scheme import CodingScheme

_Encoder = Callable[[bytes], bytes]


def c_encoder(ffi: Any, lib: Any) -> _Encoder:
    """Wrap the C function of a built extension: n*32 bytes to n*44. Raises ValueError as Python's does."""
    from_buffer, buffer = ffi.from_buffer, ffi.buffer
    new, new_uncleared = ffi.new, ffi.new_allocator(should_clear_after_alloc=False)
    one_block = ffi.typeof(f"uint8_t[{reed_solomon.CODED_BYTES}]")
    many_blocks = ffi.typeof("uint8_t[]")
    run = lib.parburn_rs_encode
    lib.parburn_rs_init()

    def encode(data: bytes) -> bytes:
        if type(data) is bytes and len(data) == reed_solomon.DATA_BYTES:  # the common case, without detours
            coded = new(one_block)
            run(data, 1, coded)
        else:
            blocks, rest = divmod(len(data), reed_solomon.DATA_BYTES)
            if rest:
                raise ValueError(f"RS coding takes blocks of 32 bytes, not {len(data)} bytes")
            coded = new_uncleared(many_blocks, blocks * reed_solomon.CODED_BYTES)
            run(from_buffer(many_blocks, data), blocks, coded)
        whole: bytes = buffer(coded)[:]
        return whole

    return encode


def choose() -> tuple[str, _Encoder]:
    """Return the name and the encoder of the implementation that the environment asks for."""
    if os.environ.get("PARBURN_PURE", "") not in ("", "0"):
        return "python", reed_solomon.encode
    try:
        extension = import_module("parburn.coding._rs")
    except ImportError:
        return "python", reed_solomon.encode
    return "c", c_encoder(extension.ffi, extension.lib)


_chosen: tuple[str, _Encoder] | None = None


def _rs_encode(data: bytes) -> bytes:
    global _chosen
    if _chosen is None:
        _chosen = choose()
    return _chosen[1](data)


def implementation() -> str:
    """Return which implementation of the RS coding runs: `c` or `python`."""
    global _chosen
    if _chosen is None:
        _chosen = choose()
    return _chosen[0]


def encode_rs(data: bytes) -> bytes:
    """Return the 44 bytes (data, then 12 check bytes) of one RS block of 32 data bytes."""
    if len(data) != reed_solomon.DATA_BYTES:
        raise _wrong_length(reed_solomon.DATA_BYTES, data)
    return _rs_encode(data)


def encode_three_quarters(data: bytes) -> bytes:
    """Return the 32 bytes of one 3/4 block of 24 data bytes."""
    if len(data) != three_quarters.DATA_BYTES:
        raise _wrong_length(three_quarters.DATA_BYTES, data)
    return three_quarters.encode(data)


def encode_many(scheme: CodingScheme, data: bytes) -> bytes:
    """Return the coded bytes of several whole blocks, one after the other.

    RS: n*32 to n*44. 3/4: n*24 to n*32. NONE: the data. Raises ValueError for a part of a block.
    """
    if scheme is CodingScheme.RS:
        return _rs_encode(data)
    if scheme is CodingScheme.THREE_QUARTERS:
        if len(data) % three_quarters.DATA_BYTES:
            raise ValueError(f"a 3/4 block has {three_quarters.DATA_BYTES} data bytes, not {len(data)}")
        return three_quarters.encode(data)
    return bytes(data)


def _wrong_length(length: int, data: bytes) -> ValueError:
    return ValueError(f"this coding takes {length} bytes, not {len(data)} bytes")
