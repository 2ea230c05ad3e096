"""Boards of the soak: a file each, which holds what was burned, and where the board is."""

from __future__ import annotations

import os
from pathlib import Path
from typing import NamedTuple

STEPS = ("BLOCK_USR_DATA", "BLOCK0")


class Burned(NamedTuple):
    """One pulse: which step, with which index and value, by which station, with what the ledger said then."""

    step: str
    index: int  # type: ignore[assignment]  # not tuple.index
    value: str
    station: str
    spent: int
    index_there: int


class Board:
    """One chip, as a file: bits are only ever added."""

    def __init__(self, folder: Path, mac: str) -> None:
        self.mac = mac
        self._bits = folder / f"{mac.replace(':', '')}.bits"
        self._place = folder / f"{mac.replace(':', '')}.place"

    def put(self, socket: str) -> None:
        """Put it into a socket, or nowhere."""
        scratch = self._place.with_suffix(".new")
        scratch.write_text(socket)
        scratch.replace(self._place)

    def is_in(self, socket: str) -> bool:
        """Whether it is in this socket now."""
        return self._place.read_text() == socket

    def burn(self, one: Burned) -> None:
        """Give a pulse."""
        descriptor = os.open(self._bits, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        try:
            os.write(descriptor, (" ".join(map(str, one)) + "\n").encode())
        finally:
            os.close(descriptor)

    def burned(self) -> list[Burned]:
        """All pulses that it was given."""
        if not self._bits.exists():
            return []
        rows = [line.split() for line in self._bits.read_text().splitlines()]
        return [Burned(r[0], int(r[1]), r[2], r[3], int(r[4]), int(r[5])) for r in rows]
