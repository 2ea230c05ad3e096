"""Which source watches which slots. It watches nothing itself."""

from __future__ import annotations

from collections.abc import Sequence

from anyio import create_task_group

from parburn.station.arrivals import ArrivalSource, Node, OnArrival, OnLeaving
from parburn.station.folder_source import PERIOD_S, FolderSource
from parburn.station.slots_file import Slot
from parburn.station.udev_source import UdevSource
from parburn.transport.hotplug import udev_runs
from parburn.transport.tty_nodes import is_path


def arrival_source(
    slots: Sequence[Slot], *, udev: bool | None = None, period_s: float = PERIOD_S
) -> ArrivalSource:
    """Return what watches these slots: places on USB by udevd where one runs, all others by looking.

    Args:
        slots: The station's slots.
        udev: Whether a udevd runs; None: find out.
        period_s: Between two looks at what udevd does not tell of, in seconds.
    """
    by_udev = udev_runs() if udev is None else udev
    on_usb = [slot for slot in slots if by_udev and not is_path(slot.place)]
    others = [slot for slot in slots if slot not in on_usb]
    if not others:
        return UdevSource(on_usb)
    folder = FolderSource(others, period_s=period_s)
    return folder if not on_usb else _Both(UdevSource(on_usb), folder)


def every_tty(folder: str | None = None) -> ArrivalSource:
    """Return what tells of ttys that nobody has named yet, by their places: on USB, or in a folder."""
    if folder is None and udev_runs():
        return UdevSource()
    return FolderSource(None, folder=folder)


def nodes_now(folder: str | None = None) -> dict[str, Node]:
    """Return what `every_tty` would tell first. It asks the kernel: in a thread, where a loop runs."""
    return FolderSource(None, folder=folder).look()


class _Both:
    """Two sources as one."""

    def __init__(self, *sources: ArrivalSource) -> None:
        self._sources = sources

    async def run(self, on_arrival: OnArrival, on_leaving: OnLeaving) -> None:
        """See `arrivals.ArrivalSource`."""
        try:
            async with create_task_group() as group:
                for source in self._sources:
                    group.start_soon(source.run, on_arrival, on_leaving)
        except ExceptionGroup as errors:
            raise errors.exceptions[0] from errors
