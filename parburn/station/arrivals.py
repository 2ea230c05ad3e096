"""What tells a station that the tty of a board came or went. The sources: `udev_source`, `folder_source`."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple, Protocol


class Node(NamedTuple):
    """A tty that is there. `key` tells it from every other that had or will have the same name.

    A name is no identity: a board that is pulled and another one that is put in between two looks may get
    the same name. `key` is made of the device's number on its bus, and of the node's inode and ctime.
    """

    path: str
    key: tuple[object, ...]


OnArrival = Callable[[str, Node], object]  # slot, and the tty that came to it
OnLeaving = Callable[[str, Node], object]


class ArrivalSource(Protocol):
    """Watches the slots of a station from `run` until it is cancelled."""

    async def run(self, on_arrival: OnArrival, on_leaving: OnLeaving) -> None:
        """Tell what is there, then what comes and goes, each once and in order, without debounce.

        A swap between two looks is a leaving and an arrival. Never ends by itself.

        Raises:
            ParburnError: it cannot be watched at all, and why.
        """
