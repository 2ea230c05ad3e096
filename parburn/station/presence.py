"""Which chip sits in which socket, from its identification to its removal. Opens nothing, refuses by name.

It takes the place of a run's first barrier, where all identities were compared at once: one chip behind two
nodes, or two chips with one identity, must not be burned as two units.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from anyio import Event, current_time, move_on_after

from parburn.errors import IdentityUnclear
from parburn.ledger.base import UnitIdentity

MOVE_S = 5.0  # a board that changed its socket waits so long for the end of its insertion in the other one
SEEN_S = 0.6  # by then it is seen in the other one that a board was taken out of it
DOUBLE_HINT = "One board behind two sockets, or two chips with one identity: take both out and sort it out."

SitsThere = Callable[[], Awaitable[bool]]


async def nobody_knows() -> bool:
    """Return False: whether a chip sits where it was found cannot be told."""
    return False


class Seated:
    """A chip in a socket."""

    def __init__(self, identity: UnitIdentity, slot: str, sits_there: SitsThere) -> None:
        self.identity = identity
        self.slot = slot
        self.sits_there = sits_there  # for sure, in this moment; False where that cannot be told
        self.node_is_gone = False  # the board was pulled; what was done with it comes to its end
        self.heard_at = 0.0  # when its chip answered last, in seconds of the loop; known once it has ended
        self.refusal: IdentityUnclear | None = None  # another one with this identity came
        self.over = Event()


class Presence:
    """The chips of a station. Everything here runs on the event loop."""

    def __init__(self) -> None:
        self._seated: dict[UnitIdentity, Seated] = {}

    def where(self, identity: UnitIdentity) -> str:
        """Return the slot in which a chip sits; empty where it sits in none."""
        seated = self._seated.get(identity)
        return "" if seated is None else seated.slot

    async def enter(
        self, identity: UnitIdentity, slot: str, *, sits_there: SitsThere = nobody_knows
    ) -> Seated:
        """Seat a chip that was identified; `leave` ends it.

        A board that was pulled out of another socket and put into this one waits for the end there. Until
        that end tells a move from a double, nothing is begun with the first one.

        Args:
            identity: Of the chip.
            slot: Its socket.
            sits_there: Tells whether it sits there for sure when it is asked, and no move explains another.

        Raises:
            IdentityUnclear: a chip with this identity sits in another socket, or answered there when this one
                was known already. Nothing is begun with either of them that was not begun before.
        """
        first = self._seated.get(identity)
        if first is not None:
            known_at = current_time()
            if not first.node_is_gone:
                first.refusal = _double(identity, first.slot, slot)
                if await first.sits_there():
                    raise _double(identity, slot, first.slot)
            with move_on_after(MOVE_S if first.node_is_gone else SEEN_S):
                await first.over.wait()
            if first.heard_at > known_at:
                raise _double(identity, slot, first.slot)
            first = self._seated.get(identity)
        if first is not None:
            first.refusal = _double(identity, first.slot, slot)
            raise _double(identity, slot, first.slot)
        seated = self._seated[identity] = Seated(identity, slot, sits_there)
        return seated

    def leave(self, seated: Seated) -> None:
        """Forget a chip: it was taken out, and its insertion has ended."""
        seated.over.set()
        if self._seated.get(seated.identity) is seated:
            del self._seated[seated.identity]


def _double(identity: UnitIdentity, here: str, there: str) -> IdentityUnclear:
    return IdentityUnclear(f"the chip {identity.mac} answers in {here} and in {there}", hint=DOUBLE_HINT)
