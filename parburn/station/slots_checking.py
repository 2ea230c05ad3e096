"""What is to be known of a rig's sockets before a shift: is each there, who answers, are they distinct.

Looks into sysfs and /proc. It opens no port: who answers is asked by the caller, and told to it.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

from parburn.station.slots_file import Slot, places_now
from parburn.transport.port_state import states_of
from parburn.transport.tty_nodes import is_path
from parburn.transport.usb_controllers import Controller, controllers


class Answer(NamedTuple):
    """What came of asking the chip at a port: itself, or why there is no answer."""

    chip: str = ""
    mac: str = ""
    error: str = ""
    hint: str = ""


class SocketCheck(NamedTuple):
    """A socket as it is now. `port` is empty where no tty is there; `answer` is None where nobody asked."""

    slot: Slot
    port: str = ""
    driver: str = ""
    latency_ms: int | None = None
    access: bool = True
    holder: str = ""
    answer: Answer | None = None

    def fault(self) -> str:
        """Return what is wrong with it; empty where nothing is."""
        if not self.port:
            return "there is no tty"
        if self.answer is not None and self.answer.error:
            return self.answer.error
        if not self.access:
            return f"no rights to open {self.port}"
        return ""


def look_at(slots: Sequence[Slot]) -> tuple[SocketCheck, ...]:
    """Return how the sockets are, without opening any."""
    ports = places_now(slots)
    states = states_of(tuple(ports.values()))
    found = []
    for slot in slots:
        port = ports.get(slot.name)
        if port is None:
            found.append(SocketCheck(slot))
        else:
            state = states[port]
            found.append(SocketCheck(slot, port, state.driver, state.latency_ms, state.access, state.holder))
    return tuple(found)


def with_answers(checks: Sequence[SocketCheck], answers: Mapping[str, Answer]) -> tuple[SocketCheck, ...]:
    """Return the checks with what came of asking, by port."""
    return tuple(one._replace(answer=answers.get(one.port)) for one in checks)


def doubles(checks: Sequence[SocketCheck]) -> Iterator[str]:
    """Yield a sentence for each chip that answers in more than one socket."""
    by_mac: dict[str, list[SocketCheck]] = defaultdict(list)
    for one in checks:
        if one.answer is not None and one.answer.mac:
            by_mac[one.answer.mac].append(one)
    for mac, found in by_mac.items():
        if len(found) > 1:
            yield f"the chip {mac} answers in {' and '.join(one.slot.name for one in found)}"


class ControllerCheck(NamedTuple):
    """A USB controller of the rig: how full it is, and how many of its sockets are empty."""

    controller: Controller
    sockets: int
    empty: int

    def warning(self) -> str:
        """Return why its sockets cannot all be in use at one time; empty where they can."""
        one = self.controller
        if not one.refuses(self.empty):
            return ""
        room = f"{one.devices} devices are on it"
        if one.most_endpoints is not None:
            room = f"{one.endpoints} of its {one.most_endpoints} endpoints are taken"
        return (
            f"the USB controller {one.name} is too small for all {self.sockets} sockets: {room}, and "
            f"{self.empty} sockets are empty. Move some to another controller (a card)."
        )


def controller_checks(checks: Sequence[SocketCheck]) -> tuple[ControllerCheck, ...]:
    """Return the controllers on which the sockets are."""
    sockets: dict[str, list[SocketCheck]] = defaultdict(list)
    for one in checks:
        if not is_path(one.slot.place):
            sockets[one.slot.place.rpartition("-usb")[0]].append(one)
    return tuple(
        ControllerCheck(one, len(sockets[one.name]), sum(not check.port for check in sockets[one.name]))
        for one in controllers(sockets)
    )
