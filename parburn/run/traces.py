"""`--trace FILE`: every conversation of a run in one file, a section a board, in the format of `rom_traces`.

A board's section is written when its port closes, so that the lines of boards that talk at the same time do
not mix.
"""

from __future__ import annotations

from pathlib import Path

from parburn.chips.model import Chip
from parburn.errors import UsageError
from parburn.protocol.trace import AddressRange, Trace

WORD = 4


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
        if path is not None:
            try:
                path.write_text(
                    "# '> ' host to chip, '< ' chip to host, raw bytes in hex; '# ' is a comment\n"
                )
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

    def finish(self, port: str, trace: Trace | None) -> None:
        """Write a port's section.

        Raises:
            OSError: it cannot be written.
        """
        if trace is None or self._path is None:
            return
        trace.flush()
        with self._path.open("a") as file:
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
