"""Builds the optional extension `parburn.coding._rs` from `_rs.cdef.txt` and `_rs.csrc.c`. Run by setup.py.

Never imported at run time: it needs cffi, which a plain install does without.
"""

from __future__ import annotations

from pathlib import Path

from cffi import FFI

_HERE = Path(__file__).parent

ffibuilder = FFI()
ffibuilder.cdef((_HERE / "_rs.cdef.txt").read_text(encoding="ascii"))
ffibuilder.set_source(
    "parburn.coding._rs",
    (_HERE / "_rs.csrc.c").read_text(encoding="ascii"),
    optional=True,  # a compiler that fails or is missing must not fail the install
)
