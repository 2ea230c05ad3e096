"""Reads the recorded ROM conversations under `tests/rom_traces` (format: README.md there)."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

FOLDER = Path(__file__).parent / "rom_traces"


@dataclass(frozen=True, slots=True)
class Turn:
    """One request (or burst of requests) and the bytes the chip answered it with, as recorded."""

    sent: bytes
    answered: bytes
    comment: str


def read_trace(name: str) -> list[Turn]:
    """All turns of one recording, in order; `name` is the file's name without `.txt`."""
    turns: list[Turn] = []
    comment, sent, answered = "", b"", b""
    for line in (FOLDER / f"{name}.txt").read_text().splitlines():
        kind, _, text = line.partition(" ")
        if kind == ">":
            if sent:
                turns.append(Turn(sent, answered, comment))
                comment = ""
            sent, answered = bytes.fromhex(text), b""
        elif kind == "<":
            answered += bytes.fromhex(text)
        else:
            if sent:
                turns.append(Turn(sent, answered, comment))
                sent, answered = b"", b""
            comment = text
    if sent:
        turns.append(Turn(sent, answered, comment))
    return turns


def all_traces() -> list[str]:
    """Names of all recordings."""
    return sorted(path.stem for path in FOLDER.glob("*.txt"))
