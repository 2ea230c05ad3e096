"""The file in which a simulated board lives on between two rigs: JSON, written whole at each burn.

`cells` are what is burned, `bits` the same as decoded without any read protection: what a test compares.
"""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from parburn.chips.registry import chip_named
from parburn.errors import UsageError
from parburn.sim.efuse_controller import ProgramPulse
from parburn.sim.efuse_memory import EfuseMemory
from parburn.sim.factory import Product, factory_mac, make_product

FORMAT = 1
KEPT_BURNS = 200


class BoardFile:
    """One board and its file."""

    def __init__(self, path: Path, product: Product, burns: list[dict[str, Any]] | None = None) -> None:
        self.path = path
        self.product = product
        self.burns = burns or []

    def record(self, burn: ProgramPulse) -> None:
        """Add a program pulse to the history and write the file."""
        names = {self.product.chip.blocks[i].name: count for i, count in burn.fresh_bits.items()}
        self.burns.append({"program": len(self.burns) + 1, "new_bits": names, "note": burn.note})
        del self.burns[:-KEPT_BURNS]
        self.write()

    def write(self) -> None:
        """Replace the file as a whole."""
        made = self.product
        memory = made.memory
        content = {
            "parburn_simulated_board": FORMAT,
            "chip": made.chip.name,
            "revision": f"{made.revision[0]}.{made.revision[1]}",
            "crystal_mhz": made.crystal_mhz,
            "mac": memory.field_bits(made.chip.mac_field).to_bytes(6, "big").hex(":"),
            "registers": {hex(address): hex(value) for address, value in made.registers.items()},
            "blocks": {
                b.name: {"bits": hex(memory.reading(b.index).bits), "cells": hex(memory.cells[b.index])}
                for b in made.chip.blocks
            },
            "burns": self.burns,
        }
        draft = self.path.with_suffix(".new")
        draft.write_text(json.dumps(content, indent=1) + "\n")
        draft.replace(self.path)


def open_board(
    path: Path,
    chip_name: str,
    *,
    settings: Mapping[str, str],
    rng: random.Random,
    make: Callable[[], Product] | None = None,
) -> tuple[BoardFile, bool]:
    """Return the board of this file, or a new one, and whether it is new.

    Args:
        path: The file; a new board is written there.
        chip_name: The chip that it must have.
        settings: Of a new board; see `factory.make_product`.
        rng: Where all that is random in a new board comes from.
        make: Makes the new board in another way.

    Raises:
        UsageError: it is no board's file, or has another chip, or a setting does not fit.
    """
    mac = factory_mac(rng)
    if path.exists():
        known = read_board(path)
        if known.product.chip.name != chip_named(chip_name).name:
            found = known.product.chip.title
            raise UsageError(
                f"{path} holds a board with another chip ({found})",
                hint="Name another --state folder, or ask for the chip that is there.",
            )
        return known, False
    made = make() if make else make_product(chip_name, mac=mac, settings=settings, rng=rng)
    board = BoardFile(path, made)
    board.write()
    return board, True


def read_board(path: Path) -> BoardFile:
    """Read a board's file.

    Raises:
        UsageError: it is none.
    """
    try:
        content = json.loads(path.read_text())
        major, minor = (int(part) for part in content["revision"].split("."))
        chip = chip_named(content["chip"], revision=major * 100 + minor)
        cells = {b.index: int(content["blocks"][b.name]["cells"], 16) for b in chip.blocks}
        registers = {int(a, 16): int(v, 16) for a, v in content["registers"].items()}
        product = Product(
            chip, EfuseMemory(chip, cells), int(content["crystal_mhz"]), (major, minor), registers
        )
        return BoardFile(path, product, list(content["burns"]))
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise UsageError(f"{path} is not the file of a simulated board: {error}") from error


def describe(board: BoardFile) -> str:
    """Return what `--show` prints: the board, its blocks word by word, its burns."""
    made = board.product
    memory = made.memory
    mac = memory.field_bits(made.chip.mac_field).to_bytes(6, "big").hex(":")
    lines = [
        f"{made.chip.title} v{made.revision[0]}.{made.revision[1]}, crystal {made.crystal_mhz} MHz, MAC {mac}"
    ]
    for block in made.chip.blocks:
        reading = memory.reading(block.index)
        words = [f"{reading.bits >> 32 * n & 0xFFFFFFFF:08x}" for n in range(block.words)]
        notes = []
        if memory.visible(block.index) != reading.bits:
            notes.append("read-protected")
        if block.wr_dis is not None and memory.wr_dis >> block.wr_dis & 1:
            notes.append("write-protected")
        if reading.errors or reading.fail:
            notes.append("coding error")
        lines.append(f"{block.name:16} {' '.join(words)}" + (f"  ({', '.join(notes)})" if notes else ""))
    for burn in board.burns:
        counts = ", ".join(f"{count} bits in {name}" for name, count in burn["new_bits"].items())
        note = f" ({burn['note']})" if burn["note"] else ""
        lines.append(f"program {burn['program']}: {counts or 'nothing new'}{note}")
    return "\n".join(lines) + "\n"
