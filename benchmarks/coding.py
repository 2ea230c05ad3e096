"""The encoders of eFuse blocks: nanoseconds per block, one at a time and in bulk, beside ISA-L and memcpy.

A burn does not feel the difference: a board needs a handful of blocks, and each takes some 40 ms on the wire.
It matters only to a rig that prepares the keys of a whole batch ahead.
"""

from __future__ import annotations

import ctypes
import os
import time
from collections.abc import Callable, Sequence
from typing import Any

from benchmarks.common import Row, arguments, finish, progress
from benchmarks.picture import Bars, bars
from parburn.coding import encode, reed_solomon, three_quarters

BLOCKS = 4096
QUICK_BLOCKS = 64
ROUND_S = 0.05
ROUNDS = 9
DATA, CHECK, CODED = 32, 12, 44
ISAL_NAMES = ("libisal.so.2", "libisal.so")
ISAL_CDEF = """
void ec_init_tables(int k, int rows, unsigned char *a, unsigned char *gftbls);
void ec_encode_data(int len, int k, int rows, unsigned char *gftbls,
                    unsigned char **data, unsigned char **coding);
"""
NOTE = "a burn does not feel the difference"


def nanoseconds(work: Callable[[], object], rounds: int) -> float:
    """The best of several rounds: what disturbs a measurement only ever adds to it."""
    work()
    began = time.perf_counter()
    work()
    number = max(1, int(ROUND_S / max(1e-7, time.perf_counter() - began)))
    best = float("inf")
    for _ in range(rounds):
        began = time.perf_counter()
        for _ in range(number):
            work()
        best = min(best, (time.perf_counter() - began) / number)
    return best * 1e9


class Isal:
    """ISA-L's erasure coder with the matrix of our code. It wants one array per place of a block."""

    def __init__(self) -> None:
        from cffi import FFI

        self._ffi = FFI()
        self._ffi.cdef(ISAL_CDEF)
        self._lib: Any = None
        for name in ISAL_NAMES:
            try:
                self._lib = self._ffi.dlopen(name)
                break
            except OSError:
                continue
        else:
            raise OSError("libisal is not installed (Debian: apt install libisal2)")
        new = self._ffi.new
        matrix = bytearray(CHECK * DATA)
        for place in range(DATA):
            for row, factor in enumerate(
                reed_solomon.check_bytes(bytes(place) + b"\x01" + bytes(DATA - 1 - place))
            ):
                matrix[row * DATA + place] = factor
        self._tables = new("unsigned char[]", DATA * CHECK * DATA)
        self._lib.ec_init_tables(DATA, CHECK, bytes(matrix), self._tables)

    def prepare(self, data: bytes) -> Callable[[], object]:
        """Lay the blocks out as ISA-L wants them; the returned call encodes, and nothing else."""
        new, blocks = self._ffi.new, len(data) // DATA
        self._columns = [new("unsigned char[]", data[place::DATA]) for place in range(DATA)]
        self._checks = [new("unsigned char[]", blocks) for _ in range(CHECK)]
        inputs, outputs = new("unsigned char*[]", self._columns), new("unsigned char*[]", self._checks)
        lib, tables = self._lib, self._tables
        return lambda: lib.ec_encode_data(blocks, DATA, CHECK, tables, inputs, outputs)

    def whole(self, data: bytes) -> bytes:
        """From blocks to coded blocks, with both changes of layout (strided slices, which run in C)."""
        self.prepare(data)()
        blocks = len(data) // DATA
        coded = bytearray(blocks * CODED)
        for place in range(DATA):
            coded[place::CODED] = data[place::DATA]
        for row, column in enumerate(self._checks):
            coded[DATA + row :: CODED] = self._ffi.buffer(column, blocks)
        return bytes(coded)


def memcpy(data: bytes) -> Callable[[], object]:
    """The limit: the bytes of coded blocks are moved once."""
    size = len(data) // DATA * CODED
    source, target = ctypes.create_string_buffer(size), ctypes.create_string_buffer(size)
    return lambda: ctypes.memmove(target, source, size)


def rows_of(*, quick: bool) -> list[Row]:
    """All measurements; every encoder must first give reedsolo's bytes."""
    import reedsolo

    found: list[Row] = []
    blocks, rounds = (QUICK_BLOCKS, 2) if quick else (BLOCKS, ROUNDS)
    one, many = os.urandom(DATA), os.urandom(DATA * blocks)
    codec = reedsolo.RSCodec(CHECK)
    right = b"".join(bytes(codec.encode(many[at : at + DATA])) for at in range(0, DATA * QUICK_BLOCKS, DATA))

    def add(scheme: str, implementation: str, form: str, work: Callable[[], object], divisor: int) -> None:
        ns = nanoseconds(work, rounds) / divisor
        row = {"scheme": scheme, "implementation": implementation, "form": form, "ns_per_block": round(ns, 2)}
        found.append({**row, "note": ""})
        progress(f"{scheme} {implementation}, {form}: {ns:.1f} ns per block")

    def missing(implementation: str, form: str, why: str) -> None:
        row = {"scheme": "rs", "implementation": implementation, "form": form, "ns_per_block": None}
        found.append({**row, "note": why})
        progress(f"rs {implementation}, {form}: {why}")

    def same(encoded: bytes) -> None:
        if encoded[: len(right)] != right:
            raise SystemExit("an encoder does not give reedsolo's bytes")

    add("rs", "reedsolo", "one", lambda: codec.encode(one), 1)
    same(reed_solomon.encode(many))
    add("rs", "table Python", "one", lambda: reed_solomon.encode(one), 1)
    add("rs", "table Python", "bulk", lambda: reed_solomon.encode(many), blocks)
    chosen = encode.choose()
    if chosen.name == "c":
        same(chosen.rs(many))
        add("rs", "C", "one", lambda: chosen.rs(one), 1)
        add("rs", "C", "bulk", lambda: chosen.rs(many), blocks)
    else:
        for form in ("one", "bulk"):
            missing("C", form, "the extension is not built, or PARBURN_PURE is set")
    try:
        isal = Isal()
        same(isal.whole(many))
        add("rs", "ISA-L", "bulk, bare", isal.prepare(many), blocks)
        add("rs", "ISA-L", "bulk, with layout conversion", lambda: isal.whole(many), blocks)
    except (OSError, ImportError) as error:
        for form in ("bulk, bare", "bulk, with layout conversion"):
            missing("ISA-L", form, str(error))
    add("rs", "memcpy", "bulk", memcpy(many), blocks)
    add("3/4", "Python", "one", lambda: three_quarters.encode(one[:24]), 1)
    quarters = many[: 24 * blocks]
    add("3/4", "Python", "bulk", lambda: three_quarters.encode(quarters), blocks)
    if chosen.name == "c":
        add("3/4", "C", "one", lambda: chosen.three_quarters(one[:24]), 1)
        add("3/4", "C", "bulk", lambda: chosen.three_quarters(quarters), blocks)
    return found


def draw(rows: Sequence[Row], said: str) -> str:
    """Nanoseconds per RS block, on a logarithmic scale."""
    groups: dict[str, Bars] = {}
    for row in rows:
        if row["scheme"] == "rs" and row["ns_per_block"] is not None:
            name = f"{row['implementation']}, {row['form']}".replace(" layout conversion", " layout")
            groups[name] = {"ns per block": float(row["ns_per_block"])}
    title = f"Reed-Solomon coding of eFuse blocks ({NOTE})"
    return bars(title, groups, unit="ns", said=said, logarithmic=True)


def main() -> None:
    """Measure and report."""
    given = arguments("coding", "The encoders of eFuse blocks, beside ISA-L and memcpy.")
    progress(f"{NOTE}: a board needs a few blocks, at some 40 ms each on the wire")
    finish("coding", rows_of(quick=given.quick), given, {"coding": draw})


if __name__ == "__main__":
    main()
