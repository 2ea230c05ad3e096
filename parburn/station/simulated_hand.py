"""The operator of `parburn station --sim`: puts simulated boards in, takes them out at their verdict.

It sees what an operator sees, the picture of the station, and reaches the simulator alone.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from typing import Final

from anyio import sleep, to_thread

from parburn.sim.control_client import ControlledRig
from parburn.station.picture import StationPicture
from parburn.station.states import SocketState

LOOK_S: Final = 0.1
EMPTY_S: Final = (0.3, 1.5)  # a socket stays empty so long
READ_S: Final = (0.8, 2.0)  # and a verdict is looked at so long
DEAD_EVERY: Final = 40  # boards: one that answers nothing, so that all words are seen


class SimulatedHand:
    """Two hands at a rig; the sockets are those of the rig, in its order."""

    def __init__(self, rig: ControlledRig, picture: Callable[[], StationPicture], *, seed: int) -> None:
        """Take the rig, what tells the station's picture, and a seed for the pauses."""
        self._rig = rig
        self._picture = picture
        self._random = random.Random(seed)
        self._due: dict[str, tuple[SocketState, float]] = {}

    async def work(self) -> None:
        """Put in and take out until cancelled."""
        while True:
            for number, socket in enumerate(self._picture().sockets):
                if self._is_due(socket.slot, socket.state):
                    await to_thread.run_sync(self._move, number, socket.state)
            await sleep(LOOK_S)

    def _is_due(self, slot: str, state: SocketState) -> bool:
        """Tell whether a socket has been empty, or shown its verdict, for long enough."""
        bounds = {SocketState.EMPTY: EMPTY_S, SocketState.VERDICT: READ_S}.get(state)
        if bounds is None:
            self._due.pop(slot, None)
            return False
        due = self._due.get(slot)
        now = time.monotonic()
        if due is None or due[0] is not state:
            self._due[slot] = state, now + self._random.uniform(*bounds)
            return False
        if now < due[1]:
            return False
        self._due[slot] = state, now + 60.0  # until the station sees what was done
        return True

    def _move(self, number: int, state: SocketState) -> None:
        if state is SocketState.VERDICT:
            self._rig.remove(number, forget=True)
        elif self._random.randrange(DEAD_EVERY) == 0:
            self._rig.dead(number)
        else:
            self._rig.insert(number)
