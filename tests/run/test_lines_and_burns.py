"""Two commands at once, on ports with lines: none moves a line while the other burns.

Each simulated board stands behind a pty that has lines and a reset circuit (`lined_board`), which writes down
when lines moved, and when frames came. A burn lasts from the first write of the programming registers to the
last program command.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.command import finish, start
from tests.rig import start_rig
from tests.transport.lined_board import LinedBoard, lined_boards

EFUSE = 0x6000_8800  # of an ESP32-C3
PGM_DATA0, COMMAND = EFUSE.to_bytes(4, "little"), (EFUSE + 0x1D4).to_bytes(4, "little")
WRITE_REG = b"\x00\x09"
PROGRAMS = 0x2  # of the command register
COMMANDS, BOARDS_EACH = 4, 2


class Burn(NamedTuple):
    """From the first write of the programming registers to the last program command, monotonic ns."""

    begins: int
    ends: int


def frames_of(board: LinedBoard) -> Iterator[tuple[int, bytes]]:
    """When the end of each frame came, and the frame."""
    begun = b""
    for at, data in board.frames:
        *whole, begun = (begun + data).split(b"\xc0")
        for frame in whole:
            yield at, frame.replace(b"\xdb\xdc", b"\xc0").replace(b"\xdb\xdd", b"\xdb")


def writes(frame: bytes, address: bytes) -> list[int]:
    """What a frame of WRITE_REG, each entry four words, writes into a register."""
    if not frame.startswith(WRITE_REG):
        return []
    entries = [frame[at : at + 16] for at in range(8, len(frame), 16)]
    return [int.from_bytes(entry[4:8], "little") for entry in entries if entry[:4] == address]


def burn_of(board: LinedBoard) -> Burn | None:
    """When this board burned, as its frames tell."""
    staged, pulses = list[int](), list[int]()
    for at, frame in frames_of(board):
        if writes(frame, PGM_DATA0):
            staged.append(at)
        if any(value & PROGRAMS for value in writes(frame, COMMAND)):
            pulses.append(at)
    return Burn(min(staged), max(pulses)) if staged and pulses else None


def moved_meanwhile(boards: Sequence[LinedBoard]) -> list[str]:
    """The line moves that happened while some board burned."""
    burns = [burn for board in boards if (burn := burn_of(board)) is not None]
    return [
        f"{board.port} moved to {move[1:]} {(move.at - burn.begins) / 1e6:.1f} ms after a burn began, which "
        f"ended {(burn.ends - move.at) / 1e6:.1f} ms later"
        for board in boards
        for move in board.moves
        for burn in burns
        if burn.begins < move.at < burn.ends
    ]


def run_all(folder: Path, provision: Path, ids: Path, locks: Sequence[Path]) -> list[LinedBoard]:
    """Commands that begin one after the other, so that each resets its boards while others burn."""
    count = len(locks) * BOARDS_EACH
    with (
        start_rig("esp32c3", count, folder, baud_limit=115200) as rig,
        lined_boards(rig.ports, folder / "lined") as boards,
    ):
        commands = []
        for n, lock in enumerate(locks):
            mine = range(n * BOARDS_EACH, (n + 1) * BOARDS_EACH)
            commands.append(
                start(
                    "--ports", *(folder / "lined" / f"ttyUSB{k}" for k in mine), "--scripts", provision,
                    "--configfiles", ids,
                    "--do-not-confirm", "--json", "--baud", "115200",
                    state=folder / f"state{n}", PARBURN_LINES_LOCK=str(lock),
                )
            )  # fmt: skip
            time.sleep(0.25)
        for outcome in [finish(command) for command in commands]:
            assert outcome.exit == 0, outcome.stdout[-2000:] + outcome.stderr[-2000:]
            assert outcome.words == ["pass"] * BOARDS_EACH
        assert all(burn_of(board) for board in boards)
        assert all(board.resets for board in boards)
    return boards


@pytest.mark.alone
def test_no_line_moves_while_another_command_burns(tmp_path: Path, provision: Path, ids: Path) -> None:
    boards = run_all(tmp_path, provision, ids, [tmp_path / "lines.lock"] * COMMANDS)
    assert not moved_meanwhile(boards), "\n".join(moved_meanwhile(boards))


@pytest.mark.alone
def test_the_witness_sees_moves_where_each_has_a_lock_of_its_own(
    tmp_path: Path, provision: Path, ids: Path
) -> None:
    locks = [tmp_path / f"lines{n}.lock" for n in range(COMMANDS)]
    assert moved_meanwhile(run_all(tmp_path, provision, ids, locks))
