"""What a station shows, as one frozen value. Made by the station; tiles, lines and JSON draw it."""

from __future__ import annotations

from typing import NamedTuple

from parburn.station.states import SocketState
from parburn.station.words import Word


class SocketPicture(NamedTuple):
    """One socket as it is now.

    `word` is None where there is nothing to do: it is empty, or looks who is there. `value` is the unit's own
    value, as its custom MAC or serial. `seconds` is how long its board has been in, or took. `detail` is the
    step that it is in, or a sentence for whoever looks closer. `dimmed`: the board did not answer at the last
    look. `hollow`: it had passed before. `amber`: this socket fails more often than the others.
    """

    slot: str
    state: SocketState
    word: Word | None = None
    value: str = ""
    seconds: float | None = None
    detail: str = ""
    index: int | None = None  # type: ignore[assignment]  # not tuple.index
    mac: str = ""
    dimmed: bool = False
    hollow: bool = False
    amber: bool = False


class StationPicture(NamedTuple):
    """The whole station as it is now.

    `passed` counts units that passed since it started, without those that had passed before; `target` is how
    many the job wants, `indexes_left` how many records are left (None: not known). `yield_percent` is of the
    boards since the start; None before the first. `halt` is why it is halted, or empty. `amber` are sentences
    that somebody should see to.
    """

    station: str
    operator: str
    job: str
    batch: str
    sockets: tuple[SocketPicture, ...]
    passed: int = 0
    target: int | None = None
    yield_percent: float | None = None
    indexes_left: int | None = None
    halt: str = ""
    amber: tuple[str, ...] = ()
    draining: bool = False
