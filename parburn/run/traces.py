"""`--trace FILE`: every conversation of a run in one file, a section a board, in the format of `rom_traces`.

A board's section is written when its port closes, so that the lines of boards that talk at the same time do
not mix.
"""

from __future__ import annotations

import os
import threading
from pathlib import Path
from typing import Final

from parburn.chips.model import Chip
from parburn.errors import UsageError
from parburn.protocol.trace import AddressRange, Trace

WORD = 4
BEGIN: Final = "# '> ' host to chip, '< ' chip to host, raw bytes in hex; '# ' is a comment\n"


def refuse_other_than_trace(path: Path) -> None:
    """Raise UsageError where a file is there already that is no trace: it may be what a script reads."""
    try:
        if not path.is_file() or path.stat().st_size == 0:
            return
        with path.open("rb") as file:
            first = file.read(len(BEGIN))
    except OSError:  # whoever writes it will say why it cannot
        return
    if first != BEGIN.encode():
        raise UsageError(
            f"--trace {path} is there already, and is no trace of an earlier run",
            hint="Choose another file for it. Nothing was overwritten.",
        )


_ANEW: Final = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC


class TraceBook:
    """Hands out a Trace per port and writes what it noted. Without a path it hands out nothing."""

    def __init__(self, path: Path | None, *, show_keys: bool) -> None:
        """Make the file empty.

        Raises:
            UsageError: it cannot be written.
        """
        self._path = path
        self._show_keys = show_keys
        self._lines: dict[str, list[str]] = {}
        self._writing = threading.Lock()  # one section at a time
        if path is not None:
            try:
                with os.fdopen(os.open(path, _ANEW, 0o666), "w") as file:
                    file.write(BEGIN)
            except OSError as error:
                raise UsageError(f"cannot write the trace {path}: {error.strerror}") from error

    def open(self, port: str) -> Trace | None:
        """Return a trace for one port, or None when nobody asked for it."""
        if self._path is None:
            return None
        lines = self._lines.setdefault(port, [])
        return Trace(lines.append, title=port)

    def mask_keys(self, trace: Trace | None, chip: Chip) -> None:
        """Hide from now on the words of programming registers and key blocks of this chip."""
        if trace is not None and not self._show_keys:
            trace.mask_writes(key_registers(chip))

    def finish(self, port: str, trace: Trace) -> None:
        """Write a port's section. It may wait for the disk and for other sections: call it in a thread.

        Raises:
            OSError: it cannot be written.
        """
        if self._path is None:
            return
        trace.flush()
        with self._writing, self._path.open("a", errors="backslashreplace") as file:
            file.write("\n".join(self._lines.pop(port, [])) + "\n")


def key_registers(chip: Chip) -> tuple[AddressRange, ...]:
    """Return the address ranges through which key words go: programming registers and key blocks."""
    runs = [(block.read_address, block.words) for block in chip.blocks if block.for_keys]
    runs += programming_registers(chip)
    return tuple((first, first + WORD * count) for first, count in runs)


def programming_registers(chip: Chip) -> tuple[tuple[int, int], ...]:
    """Return first address and number of words of each run of programming registers.

    They are PGM_DATA0.. and CHECK_VALUE0.. (TRM, "eFuse Controller"), or each block's WDATA on the classic
    controller.
    """
    if "PGM_DATA0" in chip.registers:
        return ((chip.registers["PGM_DATA0"], 8), (chip.registers["CHECK_VALUE0"], 3))
    return tuple((block.write_address, block.words) for block in chip.blocks)
