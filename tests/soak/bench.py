"""The boards of one campaign: a forked process with a rig that takes orders; their files tell the truth.

Unlike `parburn sim`, it stays between runs: faults, who sits in which slot and the power change by order.
"""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import socket
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from parburn.chips.model import ControllerKind
from parburn.sim.board import SimulatedBoard
from parburn.sim.efuse_memory import EfuseMemory
from parburn.sim.factory import factory_mac, make_product
from parburn.sim.faults import parse_faults
from parburn.sim.pty_port import PtyPort
from parburn.sim.rig import Rig
from parburn.sim.state_file import BoardFile, read_board
from parburn.sim.workshop import board_of

ANSWER_S = 60.0
FLUSH_S = 0.002  # until the kernel has handed on what a dead process wrote to its terminal


@dataclass(frozen=True)
class Made:
    """A board to be made. `twin_of`: it has the factory identity of the board with this number.

    `content`: what somebody has burned into it before it comes here: bits by block and fields by name.
    """

    chip: str
    settings: tuple[tuple[str, str], ...] = ()
    twin_of: int | None = None
    content: tuple[tuple[int | str, int], ...] = ()


class Bench:
    """The parent's side."""

    def __init__(self, folder: Path, boards: Sequence[Made], *, seed: int, stay_powered: bool) -> None:
        self.folder = folder
        self.state = folder / "state"
        self.state.mkdir()
        self._ours, theirs = socket.socketpair()
        self._pid = os.fork()
        if self._pid == 0:
            try:
                self._ours.close()
                signal.signal(signal.SIGINT, signal.SIG_IGN)
                _Worker(folder, self.state, theirs, boards, seed=seed, stay_powered=stay_powered).work()
            finally:
                os._exit(0)
        theirs.close()
        self._ours.settimeout(ANSWER_S)
        self._reader = self._ours.makefile("r")
        self.boards = len(boards)
        self._answer()

    def _answer(self) -> dict[str, Any]:
        line = self._reader.readline()
        if not line:
            raise AssertionError("the bench has died")
        answer: dict[str, Any] = json.loads(line)
        self.boards = answer["boards"]
        return answer

    def _order(self, **order: object) -> dict[str, Any]:
        self._ours.sendall(json.dumps(order).encode() + b"\n")
        return self._answer()

    def set_up(
        self,
        slots: Sequence[int],
        faults: Mapping[int, Sequence[str]],
        *,
        seed: int,
        stay_powered: bool = False,
    ) -> list[str]:
        """Put board `slots[n]` behind port n, with these faults by board, and give the ports' names.

        Boards that are not named lie on the shelf. `stay_powered`: who sits where it sat before is not
        switched off and on, and the frame that nobody ended is still on its line.
        """
        self._order(
            do="set_up",
            slots=list(slots),
            faults={str(n): list(f) for n, f in faults.items()},
            seed=seed,
            stay_powered=stay_powered,
        )
        return [str(self.folder / f"ttyUSB{n}") for n in range(len(slots))]

    def settle(self) -> dict[int, list[str]]:
        """After a run: everything that was sent arrives. Tells by board which faults have struck."""
        return {int(n): sentences for n, sentences in self._order(do="settle")["fired"].items()}

    def path(self, board: int) -> Path:
        """A board's file."""
        return self.state / f"board{board}.json"

    def product(self, board: int) -> BoardFile:
        """A board as its file says."""
        return read_board(self.path(board))

    def memory(self, board: int) -> EfuseMemory:
        """Its cells."""
        return self.product(board).product.memory

    def factory(self, board: int) -> dict[int, int]:
        """Its cells as it came here."""
        return read_board(self.path(board).with_suffix(".factory")).product.memory.cells

    def blank(self, board: int) -> dict[int, int]:
        """Its cells as the chip's maker left them."""
        return read_board(self.path(board).with_suffix(".blank")).product.memory.cells

    def staging(self) -> dict[int, list[int]]:
        """By board, the words of its programming registers that are not zero."""
        return {int(n): words for n, words in self._order(do="staging")["staging"].items()}

    def close(self) -> None:
        """End the process."""
        self._reader.close()
        self._ours.close()
        os.waitpid(self._pid, 0)

    def __enter__(self) -> Bench:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()


class _Worker:
    """The child's side."""

    def __init__(
        self,
        folder: Path,
        state: Path,
        line: socket.socket,
        boards: Sequence[Made],
        *,
        seed: int,
        stay_powered: bool,
    ) -> None:
        self.folder, self.state, self.line, self.seed = folder, state, line, seed
        self.reader = line.makefile("r")
        self.boards: list[SimulatedBoard] = []
        self.macs: list[bytes] = []
        for made in boards:
            self._make(made)
        self.rig = Rig([], stay_powered=stay_powered, new_board=self._new_board)
        self.rig.stop_on(line.fileno())

    def _make(self, made: Made) -> SimulatedBoard:
        number = len(self.boards)
        rng = random.Random(f"{self.seed}:{number}")
        mac = factory_mac(rng)
        if made.twin_of is not None:
            rng = random.Random(f"{self.seed}:{made.twin_of}")
            mac = factory_mac(rng)
        product = make_product(made.chip, mac=mac, settings=dict(made.settings), rng=rng)
        file = BoardFile(self.state / f"board{number}.json", product)
        file.write()
        shutil.copy(file.path, file.path.with_suffix(".blank"))
        memory = product.memory
        for place, bits in made.content:
            if isinstance(place, str):
                memory.preset_field(place, memory.field_bits(place) | bits)
            else:
                memory.preset(place, memory.reading(place).bits | bits)
        file.write()
        shutil.copy(file.path, file.path.with_suffix(".factory"))
        board = board_of(file, None)
        self.boards.append(board)
        return board

    def _new_board(self, gone: SimulatedBoard) -> SimulatedBoard:
        coding = gone.memory.field_bits(gone.chip.coding_field or "")
        return self._make(Made(gone.chip.name, (("coding", "3/4"),) if coding else ()))

    def _say(self, **answer: object) -> None:
        self.line.sendall(json.dumps({"boards": len(self.boards), **answer}).encode() + b"\n")

    def work(self) -> None:
        """Serve until the parent hangs up."""
        self._say()
        while True:
            self.rig.serve()
            text = self.reader.readline()
            if not text:
                return
            order = json.loads(text)
            if order["do"] == "set_up":
                faults = {int(n): sentences for n, sentences in order["faults"].items()}
                self._set_up(order["slots"], faults, order["seed"], order["stay_powered"])
                self._say()
            elif order["do"] == "staging":
                self._say(staging={str(n): _staged(board) for n, board in enumerate(self.boards)})
            else:
                self._say(fired=self._settle())

    def _set_up(self, slots: list[int], faults: dict[int, list[str]], seed: int, stay_powered: bool) -> None:
        now = time.monotonic()
        plugged = {
            id(port.board): n
            for n, port in enumerate(self.rig.ports)
            if port.master >= 0 and port.link == self.folder / f"ttyUSB{n}"
        }
        for number, board in enumerate(self.boards):
            stays = stay_powered and number in slots and plugged.get(id(board)) == slots.index(number)
            given = parse_faults(faults.get(number, ()), board=number, seed=seed)
            board.give_faults(given, now, stay_powered=stays)
        for port in self.rig.ports[len(slots) :]:
            port.wake_at = port.comes_back_at = float("inf")  # what it was to do is not done any more
            if port.master >= 0:
                self.rig._unplug(port)
        del self.rig.ports[len(slots) :]
        for number, board_number in enumerate(slots):
            link = self.folder / f"ttyUSB{number}"
            if number == len(self.rig.ports):
                self.rig.ports.append(PtyPort(self.boards[board_number], link))
            port = self.rig.ports[number]
            port.board, port.wake_at, port.comes_back_at = (
                self.boards[board_number],
                float("inf"),
                float("inf"),
            )
            if port.master >= 0 and port.link != link:
                self.rig._unplug(port)
            port.link = link
            if port.master < 0:
                self.rig._plug_in(port)

    def _settle(self) -> dict[str, list[str]]:
        for _ in range(2):
            time.sleep(FLUSH_S)
            self.rig.serve_pending()
        for board in self.boards:
            board.advance(time.monotonic() + 10.0)
        return {
            str(n): [one.sentence for one in getattr(board.faults, "all", ()) if one.fired]
            for n, board in enumerate(self.boards)
        }


def _staged(board: SimulatedBoard) -> list[int]:
    """What of its programming registers is not zero: those of the PGM kind, or each block's own."""
    chip, words = board.chip, board.registers.words
    if chip.controller is ControllerKind.PGM:
        addresses = [chip.registers["PGM_DATA0"] + 4 * n for n in range(8)]
    else:
        addresses = [block.write_address + 4 * n for block in chip.blocks for n in range(block.words)]
    return [word for address in addresses if (word := words.get(address, 0))]
