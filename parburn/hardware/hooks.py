"""What a commit asks of its caller, at the points where its books must be right. Decides nothing."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager, nullcontext
from typing import NamedTuple

from parburn.efuse.plan import BurnStep

GUARD_REGISTERS = 1  # of the identity, the MAC's last 32 bits: enough to see another board in a later burst


class CommitHooks(NamedTuple):
    """What the caller does at the points where its books must be right.

    `identity` lists registers that tell this chip from every other, `same_board` raises BoardSwapped when the
    values of the first so many of them are not those of the chip that was planned for. `attempted` makes the
    attempt durable; `burned` begins to write that a step is verified, and its future ends once that is
    durable; `may_go_on` is asked between steps. `told` gets a sentence for the operator. `gained` names those
    of the `identity` registers in which our chip, and no other, has got more bits. `burning` is entered
    before the first write of the programming registers, and left once the last step is read back.
    """

    identity: Sequence[int]
    same_board: Callable[[Sequence[int]], None]
    attempted: Callable[[], Awaitable[None]]
    burned: Callable[[BurnStep, int], asyncio.Future[object]]
    may_go_on: Callable[[], bool]
    told: Callable[[str], None] = lambda text: None
    gained: Callable[[Sequence[int]], tuple[int, ...]] = lambda values: ()
    burning: Callable[[], AbstractAsyncContextManager[None]] = nullcontext
