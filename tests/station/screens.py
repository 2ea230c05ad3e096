"""Stations as pictures, and their tiles as text: `python -m tests.station.screens [WIDTHxHEIGHT SOCKETS]`."""

from __future__ import annotations

import sys

from parburn.station.picture import SocketPicture, StationPicture
from parburn.station.states import SocketState
from parburn.station.tile_frame import TileFrame
from parburn.station.words import Word

SIZES = ((80, 24), (200, 50))
COUNTS = (8, 64, 128)
MAC = "aa:cd:ef:00:{:02x}:{:02x}"


def sockets_of(count: int) -> tuple[SocketPicture, ...]:
    """Sockets in all states and with all words, in rows of eight: A1 to A8, B1 to B8."""
    return tuple(_socket(number) for number in range(count))


def slot_name(number: int) -> str:
    return f"{chr(ord('A') + number // 8)}{number % 8 + 1}"


def _socket(number: int) -> SocketPicture:
    slot, mac = slot_name(number), MAC.format(number // 256, number % 256)
    done = SocketPicture(
        slot, SocketState.VERDICT, Word.PASS, mac, 0.82 + number % 7 / 10, index=number + 17, mac=mac
    )
    kinds: dict[int, SocketPicture] = {
        1: done._replace(state=SocketState.BURNING, word=Word.LEAVE_IN, seconds=0.6, detail="burning 1/3"),
        2: SocketPicture(slot, SocketState.EMPTY),
        3: done._replace(hollow=True, seconds=0.31, detail="it had passed before"),
        4: SocketPicture(slot, SocketState.DETECTING, seconds=0.2),
        5: SocketPicture(
            slot, SocketState.VERDICT, Word.RETRY, seconds=3.1,
            detail="the board does not answer: no answer within 3 s", amber=True,
        ),
        6: done._replace(dimmed=True),
        7: SocketPicture(
            slot, SocketState.VERDICT, Word.WRONG_BOARD, mac=mac, seconds=0.4,
            detail="not a chip of this job: this is ESP32-C6, and esp32c3 was asked for",
        ),
        11: SocketPicture(
            slot, SocketState.LOCKED, Word.SOCKET_OFF, detail="3 failures in a row: for the engineer"
        ),
        13: done._replace(
            word=Word.RED_BIN, seconds=1.4, detail="it holds other bits than it must: BLOCK_KEY0 shows 3 more"
        ),
        14: SocketPicture(
            slot, SocketState.HOLD, Word.LEAVE_IN, mac=mac, seconds=12.0,
            detail="waits for the end of the halt",
        ),
    }  # fmt: skip
    return kinds.get(number % 16, done)


def station_of(count: int, *, halted: bool = False) -> StationPicture:
    """A station in the middle of its day."""
    return StationPicture(
        "rig7",
        "anna",
        "lamp-controller",
        "2026-11",
        sockets_of(count),
        passed=412,
        target=1000,
        yield_percent=98.6,
        indexes_left=588,
        halt="the script failed on 3 boards: station1.py:14: ValueError: no such record" if halted else "",
        amber=("A6 passes 71 % of its last 50 boards, the rig 97 %",),
    )


def screen(picture: StationPicture, width: int, height: int, *, utf: bool = True) -> list[str]:
    """A frame as text."""
    frame = TileFrame(clock=lambda: 100.0)
    frame.take(picture)
    return ["".join(one.text for one in line) for line in frame.lines(width, height, utf=utf)]


def main(words: list[str]) -> None:
    sizes = [(int(w), int(h)) for w, _, h in (word.partition("x") for word in words[:1])] or SIZES
    counts = [int(words[1])] if words[1:] else COUNTS
    for width, height in sizes:
        for count in counts:
            halted = count == 64
            lines = screen(station_of(count, halted=halted), width, height)
            lines.insert(0, f"{width}x{height}, {count} sockets" + (", halted" if halted else ""))
            sys.stdout.write("\n".join(line.rstrip() for line in [*lines, "=" * width]) + "\n")


if __name__ == "__main__":
    main(sys.argv[1:])
