"""What a run of one board gets from the station around it, in place of what a run has of its own.

A run makes its ports, its turns to burn and what scripts feel by itself, and asks once. In a station one
insertion of a board is a run, and all of them share these. Opens nothing.
"""

from __future__ import annotations

from typing import NamedTuple, Protocol

from anyio import CapacityLimiter

from parburn.chips.model import Chip
from parburn.efuse.image import EfuseImage
from parburn.efuse.plan import BurnPlan
from parburn.ledger.base import Claim
from parburn.script.session import ScriptOptions
from parburn.transport.open import open_stream
from parburn.transport.stream import ByteStream


class Ports(Protocol):
    """Opens the port of a board, and takes it back when the board has ended."""

    async def open(self, port: str) -> ByteStream:
        """Return the open port, as `transport.open_stream` does, and raise what that raises."""

    async def give_back(self, stream: ByteStream) -> None:
        """Take the port back: whoever used it uses it no more."""


class PlanToApprove(NamedTuple):
    """A plan that was made, before anything of it is written down or burned.

    `burn` counts the burns of the scripts from 1; `last`: the scripts have ended with it. `plan` may be
    empty. `image` is the chip as the script saw it, with all blocks that the approval asks for. `verified`
    are blocks that were burned and verified, in this run or by the ledger: what hides one may be taken for
    it.
    """

    port: str
    chip: Chip
    burn: int
    plan: BurnPlan
    image: EfuseImage
    verified: frozenset[int]
    last: bool


class Approval(Protocol):
    """Who says whether a plan may be burned that nobody is asked about."""

    def blocks(self, chip: Chip) -> frozenset[int]:
        """Return the blocks that must have been read of a chip before its plans can be judged."""

    def counts_as_passed(self, claim: Claim) -> bool:
        """Tell whether a unit that passed another job is left as it is."""

    def approve(self, asked: PlanToApprove) -> None:
        """Return where it may be burned.

        Raises:
            ParburnError: it may not, and why.
        """

    def begins(self) -> None:
        """Return where a burn may begin that was approved. It is asked last, before the attempt is recorded.

        Raises:
            ParburnError: it may not any more, and why.
        """


class PortsOfRun:
    """A run opens each of its ports once, and closes it when the board there has ended."""

    async def open(self, port: str) -> ByteStream:
        """Open the port."""
        return await open_stream(port)

    async def give_back(self, stream: ByteStream) -> None:
        """Close the port."""
        await stream.aclose()


class Around(NamedTuple):
    """What all insertions of a station share. With it a claim ends with its board."""

    options: ScriptOptions
    burning: CapacityLimiter
    ports: Ports
    approval: Approval
