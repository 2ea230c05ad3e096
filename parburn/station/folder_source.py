"""Tells which ttys come to slots and leave them, by looking where they are. Opens and closes no port.

It is for ttys of which udevd says nothing: simulated boards, fixed UARTs, and machines (containers) where no
udevd runs. It looks five times a second, and at once when the kernel tells that a name has come or gone. A
look at a socket is two system calls at most, and all looks of one round are made in a thread.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Final

from parburn.station.arrivals import Node, OnArrival, OnLeaving
from parburn.station.seen_nodes import SeenNodes, tell
from parburn.station.slots_file import Slot
from parburn.transport.folder_changes import FolderChanges
from parburn.transport.slots import SCHEMES
from parburn.transport.tty_nodes import DEV, FoundTty, is_path, ttys_at, ttys_in, usb_ttys

PERIOD_S: Final = 0.2


class FolderSource:
    """Watches slots. A board's second node (`also`) is told to nobody."""

    def __init__(
        self, slots: Sequence[Slot] | None, *, folder: str | None = None, period_s: float = PERIOD_S
    ) -> None:
        """Watch these slots, or all ttys of a kind: each is in a slot that has the name of its place.

        Args:
            slots: Those with a place on USB are found in /dev. None: all ttys in `folder`, else on USB.
            folder: Where names are as those of serial ports.
            period_s: From the end of one look to the next, in seconds, where nothing is heard of a change.
        """
        self._by_path = {slot.place: slot.name for slot in slots or () if is_path(slot.place)}
        self._paths = [*self._by_path]
        self._on_usb = {slot.place: slot.name for slot in slots or () if not is_path(slot.place)}
        self._order = None if slots is None else [slot.name for slot in slots]
        self._folder = folder
        self._period_s = period_s
        self._usb: Mapping[str, FoundTty] = {}

    async def run(self, on_arrival: OnArrival, on_leaving: OnLeaving) -> None:
        """Tell what is there, then what comes and goes. See `arrivals.ArrivalSource`."""
        loop = asyncio.get_running_loop()
        seen = SeenNodes()
        thread = ThreadPoolExecutor(1, "parburn-folder")
        changes = FolderChanges(self._folders())
        try:
            while True:
                found = await loop.run_in_executor(thread, self.look)
                tell(seen.all_now(found), on_arrival, on_leaving)
                await changes.wait(self._period_s)
        finally:
            changes.close()
            thread.shutdown(wait=False, cancel_futures=True)

    def _folders(self) -> set[str]:
        folders = {os.path.dirname(path) for path in self._paths if not path.startswith(SCHEMES)}  # noqa: PTH120
        if self._on_usb or self._order is None:
            folders.add(self._folder or DEV)
        return folders

    def look(self) -> dict[str, Node]:
        """Return the nodes that are in slots now. It asks the kernel: in a thread, where a loop runs."""
        if self._order is None:
            return {place: Node(one.path, one.key) for place, one in self._all_there().items()}
        by_path = ttys_at(self._paths)
        found = {name: by_path.get(path) for path, name in self._by_path.items()}
        if self._on_usb:
            self._usb = usb_ttys(self._usb.values())
            found.update((name, self._usb.get(place)) for place, name in self._on_usb.items())
        there = ((name, found[name]) for name in self._order)
        return {name: Node(one.path, one.key) for name, one in there if one is not None}

    def _all_there(self) -> Mapping[str, FoundTty]:
        if self._folder is not None:
            return ttys_in(self._folder)
        self._usb = usb_ttys(self._usb.values())
        return self._usb
