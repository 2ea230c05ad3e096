"""The operator of `parburn station --sim`: sees what an operator sees, and tells the simulator's hand.

Verdicts are looked at for a while before the hand takes the board out; the next one comes by itself.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from typing import Final

from anyio import sleep

from parburn.sim.control_client import ControlledRig
from parburn.sim.hand import Hand
from parburn.station.picture import StationPicture
from parburn.station.states import SocketState

LOOK_S: Final = 0.1
READ_S: Final = (0.8, 2.0)  # so long a verdict is looked at
ROUND_S: Final = 3.0  # of a socket, from one board to the next
MOST_A_SECOND: Final = 8.0


async def play_operator(rig: ControlledRig, picture: Callable[[], StationPicture], *, seed: int) -> None:
    """Play until cancelled. The station's sockets are those of the rig, in its order.

    Raises:
        ParburnError: the simulator does not do what it is told.
    """
    rng = random.Random(seed)
    read_at: dict[int, float] = {}
    with Hand(rig, rate=min(MOST_A_SECOND, len(rig.ports) / ROUND_S), seed=seed) as hand:
        while hand.failure is None:
            for number, socket in enumerate(picture().sockets):
                if socket.state is not SocketState.VERDICT or socket.word is None:
                    read_at.pop(number, None)
                elif time.monotonic() >= read_at.setdefault(number, time.monotonic() + rng.uniform(*READ_S)):
                    hand.verdict(number, socket.word.value)
                    read_at[number] = float("inf")
            await sleep(LOOK_S)
        raise hand.failure
