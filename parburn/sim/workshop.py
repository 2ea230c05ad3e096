"""The boards of a rig: which ones were asked for, and new ones for faults and for those who plug them in.

Makes boards and their files; opens no port.
"""

from __future__ import annotations

import argparse
import random
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from parburn.chips.registry import chip_named
from parburn.errors import UsageError
from parburn.printable import printable
from parburn.sim.board import BOOT_S, SimulatedBoard
from parburn.sim.efuse_memory import EfuseMemory
from parburn.sim.factory import Product, crystal_of, factory_mac, make_product, sibling
from parburn.sim.fault import Fault, Faults
from parburn.sim.faults import parse_faults
from parburn.sim.state_file import BoardFile, open_board, read_board
from parburn.sim.token_board import BoardToken, product_of, read_token

MAC_STEP = 0x9E3779  # odd: it passes through all 2**24 before it comes back
UNIQUE_ID_BITS = 128


def chips_of(text: str, count: int | None) -> list[str]:
    """Return chip names, one a board, of `NAME` with a count, or of `NAME:3,OTHER:2`.

    Raises:
        UsageError: a name or number is not understood.
    """
    found: list[str] = []
    for part in text.split(","):
        name, colon, number = part.partition(":")
        if colon and not number.isdecimal():
            raise UsageError(f"--chip {text}: {number!r} is no number of boards")
        found += [name.strip()] * (int(number) if colon else count or 1)
    if ":" in text and count is not None and count != len(found):
        raise UsageError(f"--chip {text} makes {len(found)} boards, but --count says {count}")
    return found


def tokens_of(texts: Sequence[str], count: int | None) -> list[tuple[BoardToken, int]]:
    """Return a token a board, with the number of the copy; one token may make several.

    Raises:
        UsageError: a text is no token, or the numbers do not fit.
    """
    tokens = [read_token(text) for text in texts]
    if len(tokens) == 1:
        return [(tokens[0], copy) for copy in range(count or 1)]
    if count is not None and count != len(tokens):
        raise UsageError(f"--from-token makes {len(tokens)} boards, but --count says {count}")
    earlier: list[BoardToken] = []
    found = []
    for token in tokens:
        found.append((token, earlier.count(token)))
        earlier.append(token)
    return found


class Place(NamedTuple):
    """One port of a rig, and what sits at it first: a chip, or the board of a token."""

    number: int
    link: Path
    chip: str
    token: tuple[BoardToken, int] | None


class Workshop:
    """Makes the boards of a rig: those of its ports, and the new ones that come later."""

    def __init__(self, given: argparse.Namespace) -> None:
        self._given = given
        self._settings: dict[str, str] = {}
        for text in given.set:
            key, equals, value = text.partition("=")
            if not equals:
                raise UsageError(f"--set {text}: it reads KEY=VALUE")
            self._settings[key.strip()] = value.strip()
        self._state: Path = given.state or given.dir / "state"
        self._seed = random.randrange(1 << 32) if given.seed is None else given.seed
        self._swapped_in = 0
        self._made = 0
        self._rng = random.Random(f"{self._seed}:boards")
        self._first_mac = int.from_bytes(factory_mac(self._rng), "big")
        self._patterns: dict[str, Product] = {}

    def places(self) -> list[Place]:
        """Return a place for each chip that was asked for, and make the folders."""
        given = self._given
        given.dir.mkdir(parents=True, exist_ok=True)
        self._state.mkdir(parents=True, exist_ok=True)
        tokens = tokens_of(given.from_token, given.count) if given.from_token else []
        chips = [token.chip.name for token, _ in tokens] or chips_of(given.chip, given.count)
        return [
            Place(number, given.dir / f"ttyUSB{number}", chip, tokens[number] if tokens else None)
            for number, chip in enumerate(chips)
        ]

    def first_faults(self, place: Place) -> Faults:
        """Return the faults of the board that comes to this place first."""
        return parse_faults(self._given.fault, board=place.number, seed=self._given.seed or 0)

    def first_board(self, place: Place) -> SimulatedBoard:
        """Return the board that is at a place from the start."""
        faults = self.first_faults(place) or None
        name = f"ttyUSB{place.number}"
        return self._board(name, place.chip, f"{self._seed}:{place.number}", faults, place.token)

    def new_board(self, gone: SimulatedBoard) -> SimulatedBoard:
        """Return a new board with the chip of the one that is gone, without faults."""
        self._swapped_in += 1
        name = f"new{self._swapped_in}"
        return self._board(name, gone.chip.name, f"{self._seed}:{name}", None)

    def nothing(self, places: Sequence[Place]) -> SimulatedBoard:
        """Return what stands behind a port in which there is no board: it hears nothing and says nothing."""
        chip = chip_named(places[0].chip)
        board = SimulatedBoard(EfuseMemory(chip), crystal_mhz=crystal_of(chip, None))
        board.to_host.clear()
        board.loader_runs = False
        return board

    def file_of(self, name: str) -> Path:
        """Return the file of the board of this name."""
        return self._state / f"{name}.json"

    def another_board(self, place: Place, *, chip: str | None, faults: Faults) -> SimulatedBoard:
        """Return a board that was never there, named `board1` and so on.

        It is cheap, and no two boards of a rig get one MAC address, however many there are.

        Args:
            place: Where it is plugged in: it has the chip of this place.
            chip: Another chip.
            faults: What goes wrong with it.

        Raises:
            UsageError: there is no such chip, or a setting does not fit it.
        """
        name = self._next_name()
        if chip or not place.token:
            return self._put_down(name, self._product(self._pattern(chip or place.chip)), faults)
        return self._put_down(name, self._product(self._token_pattern(place)), faults)

    def clone(self, board: SimulatedBoard, *, faults: Faults) -> SimulatedBoard:
        """Return a board as from the factory with the MAC address and unique id of this one."""
        chip, memory = board.chip, board.memory
        mac = memory.field_bits(chip.mac_field).to_bytes(6, "big")
        unique_id = memory.field_bits(chip.unique_id_field or "")
        made = sibling(self._pattern(chip.name), mac=mac, unique_id=unique_id)
        return self._put_down(self._next_name(), made, faults)

    def board_again(self, name: str, *, faults: Faults) -> SimulatedBoard:
        """Return a board that had been taken out, as its file says.

        Raises:
            UsageError: there is no file of that name, or it holds no board.
        """
        path = self.file_of(name)
        if not path.exists():
            raise UsageError(f"there is no board {name}")
        return self._power_up(read_board(path), faults)

    def forget(self, name: str) -> None:
        """Delete the file of a board."""
        self.file_of(name).unlink(missing_ok=True)

    def _next_name(self) -> str:
        while True:
            self._made += 1
            name = f"board{self._made}"
            if not self.file_of(name).exists():
                return name

    def _pattern(self, chip: str) -> Product:
        """Return what new boards of a chip take after, made once."""
        if chip not in self._patterns:
            self._patterns[chip] = self._made_anew(chip)
        return self._patterns[chip]

    def _token_pattern(self, place: Place) -> Product:
        """Return what new boards at the place of a token take after, made once."""
        key = f"place {place.number}"
        if key not in self._patterns and place.token:
            made, _ = product_of(place.token[0], copy=1, settings=self._settings, rng=self._rng)
            self._patterns[key] = made
        return self._patterns[key]

    def _made_anew(self, chip: str) -> Product:
        return make_product(chip, mac=self._next_mac(), settings=self._settings, rng=self._rng)

    def _product(self, pattern: Product) -> Product:
        identity = {one.name for one in pattern.chip.identity_fields}
        if identity & {name.upper() for name in self._settings}:
            return self._made_anew(pattern.chip.name)
        return sibling(pattern, mac=self._next_mac(), unique_id=self._rng.getrandbits(UNIQUE_ID_BITS))

    def _next_mac(self) -> bytes:
        """Return the next of the 2**24 addresses of one prefix, each of which comes once."""
        serial = (self._first_mac + self._made * MAC_STEP) & 0xFFFFFF
        return (self._first_mac & ~0xFFFFFF | serial).to_bytes(6, "big")

    def _put_down(self, name: str, made: Product, faults: Faults) -> SimulatedBoard:
        kept = BoardFile(self.file_of(name), made)
        kept.write()
        return self._power_up(kept, faults)

    def _power_up(self, kept: BoardFile, faults: Fault | None) -> SimulatedBoard:
        return board_of(
            kept, faults, baud_limit=self._given.baud_limit, usb_frame_s=self._given.usb_latency_ms / 1000
        )

    def _board(
        self,
        name: str,
        chip: str,
        seed: str,
        faults: Fault | None,
        token: tuple[BoardToken, int] | None = None,
    ) -> SimulatedBoard:
        path, rng = self._state / f"{name}.json", random.Random(seed)
        notes: list[str] = []

        def from_token(token: BoardToken, copy: int) -> Product:
            made, said = product_of(token, copy=copy, settings=self._settings, rng=rng)
            notes.extend(said)
            return made

        make = None if token is None else lambda: from_token(*token)
        kept, new = open_board(path, chip, settings=self._settings, rng=rng, make=make)
        if (self._settings or token) and not new:
            notes.append("it is kept as it is: --set and --from-token are for new boards")
        sys.stderr.write(printable("".join(f"{kept.path}: {text}\n" for text in notes)))
        return self._power_up(kept, faults)


def board_of(
    kept: BoardFile, faults: Fault | None, *, baud_limit: int = 0, usb_frame_s: float = 0.0
) -> SimulatedBoard:
    """Return the board of a file, booted, without the boot log that nobody saw."""
    board = SimulatedBoard(
        kept.product.memory,
        crystal_mhz=kept.product.crystal_mhz,
        registers=kept.product.registers,
        faults=faults,
        baud_limit=baud_limit,
        usb_frame_s=usb_frame_s,
        on_burn=kept.record,
        now=time.monotonic() - BOOT_S,  # it is up already
    )
    board.name = kept.path.stem
    board.to_host.clear()  # nobody has the port open to see the first boot log
    return board
