"""Tells which ttys on USB come to slots and leave them, as udevd says it. Opens and closes no port.

It listens before it looks, so that nothing is missed in between; what was seen by the look and is then told
by udevd is told once. All system calls of a look are made in one thread of its own, one after the other: the
order of events is kept, and a device that holds sysfs up holds no loop up.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor

from parburn.station.arrivals import Node, OnArrival, OnLeaving
from parburn.station.seen_nodes import SeenNodes, tell
from parburn.station.slots_file import Slot
from parburn.transport.hotplug import EventsLost, TtyEvent, TtyEvents
from parburn.transport.tty_nodes import FoundTty, usb_tty, usb_ttys

LOST = None  # stands among the events for those that were lost


class UdevSource:
    """Watches slots whose places are on USB. A board's second node (`also`) is told to nobody."""

    def __init__(self, slots: Sequence[Slot] | None = None) -> None:
        """Watch these slots; None: every tty on USB, each in a slot that has the name of its place."""
        self._names: Mapping[str, str] | None = (
            None if slots is None else {slot.place: slot.name for slot in slots}
        )

    async def run(self, on_arrival: OnArrival, on_leaving: OnLeaving) -> None:
        """Tell what is there, then what comes and goes. See `arrivals.ArrivalSource`.

        Raises:
            UsageError: the system does not say what comes and goes.
        """
        loop = asyncio.get_running_loop()
        inbox: asyncio.Queue[TtyEvent | None] = asyncio.Queue()
        thread = ThreadPoolExecutor(1, "parburn-udev")
        events = TtyEvents()
        try:
            loop.add_reader(events.fileno(), _take_all, events, inbox)
            seen = SeenNodes()
            found = await loop.run_in_executor(thread, usb_ttys)
            tell(seen.all_now(self._in_slots(found)), on_arrival, on_leaving)
            while True:
                event = await inbox.get()
                if event is LOST:
                    found = await loop.run_in_executor(thread, usb_ttys)
                    tell(seen.all_now(self._in_slots(found)), on_arrival, on_leaving)
                elif event.action == "remove":
                    tell(seen.path_gone(event.path), on_arrival, on_leaving)
                elif (one := await loop.run_in_executor(thread, usb_tty, event.path)) is not None:
                    for slot, node in self._in_slots({one.place: one}).items():
                        tell(seen.one_now(slot, node), on_arrival, on_leaving)
        finally:
            loop.remove_reader(events.fileno())
            events.close()
            thread.shutdown(wait=False, cancel_futures=True)

    def _in_slots(self, found: Mapping[str, FoundTty]) -> dict[str, Node]:
        """Return the nodes that are in slots; where the slots are known, in their order."""
        if self._names is None:
            return {place: Node(one.path, one.key) for place, one in found.items()}
        return {
            name: Node(found[place].path, found[place].key)
            for place, name in self._names.items()
            if place in found
        }


def _take_all(events: TtyEvents, inbox: asyncio.Queue[TtyEvent | None]) -> None:
    """Take what has come, without waiting."""
    while True:
        try:
            event = events.take()
        except EventsLost:
            inbox.put_nowait(LOST)
            continue
        if event is None:
            return
        inbox.put_nowait(event)
