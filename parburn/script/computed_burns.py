"""What the scripts would burn for a record, computed on a chip that is none. Reads no board, burns nothing.

The virtual chip holds an image; a burn applies its plan to it, and all that was asked for is kept, also what
the chip would hide. Everything runs in one thread, without a loop: nothing is waited for.
"""

from __future__ import annotations

import threading
from collections.abc import Awaitable, Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, field
from math import inf
from time import monotonic
from typing import Any, NamedTuple, TypeVar

from anyio import sleep

from parburn.chips.model import Chip, RegisterWrite
from parburn.efuse.held_back import NOTHING_HELD, HeldBack, plan_to_the_end
from parburn.efuse.image import EfuseImage
from parburn.efuse.plan import BurnPlan
from parburn.efuse.staging import StagedBurns, Wanted
from parburn.efuse.user_values import Written
from parburn.errors import ChipError, ParburnError, UsageError
from parburn.script.bridge import Bridge
from parburn.script.clock import ScriptClock
from parburn.script.compiled import CompiledScripts
from parburn.script.runner import run_scripts_here
from parburn.script.session import DeviceFacts, ScriptOptions
from parburn.script.side_effects import no_side_effects
from parburn.script.stop_thread import is_traced, let_be_stopped, raise_in

LOOK_AGAIN_S = 0.05
GRACE_S = 2.0  # for a script to end after its deadline's exception

Answer = TypeVar("Answer")


class ComputedBurn(NamedTuple):
    """One burn of the scripts: its plan, and what they saw before it."""

    plan: BurnPlan
    before: EfuseImage


class AskedBurn(NamedTuple):
    """All that one burn of the scripts asked for, also what the chip held already: then its plan lacks it."""

    bits: Mapping[int, int]  # by block
    wanted: tuple[Wanted, ...]
    plan: BurnPlan

    def __repr__(self) -> str:  # the bits may be a key's
        return f"AskedBurn(blocks {sorted(self.bits)})"


class Computed(NamedTuple):
    """What scripts ask for on one chip.

    `held` is what it holds then, also in blocks that it hides; `want` are the bits asked for by block.
    `asked` has each burn, also one whose plan is empty. `error`: the scripts did not end well, and nothing
    else counts.
    """

    held: EfuseImage
    want: Mapping[int, int]
    written: tuple[Written, ...]
    burns: tuple[ComputedBurn, ...]
    error: ParburnError | None = None
    asked: tuple[AskedBurn, ...] = ()


def facts_of_none(
    chip: Chip,
    mac: bytes,
    *,
    index: int | None = None,
    revision: tuple[int, int] = (0, 0),
    crystal_mhz: int = 40,
) -> DeviceFacts:
    """Return what scripts may know of a chip that is not there."""
    return DeviceFacts(
        port="no port",
        chip=chip,
        index=index,
        mac=mac,
        major=revision[0],
        minor=revision[1],
        crystal_mhz=crystal_mhz,
        package=0,
        security_flags=None,
        secure_download=False,
    )


class Order(NamedTuple):
    """What is to be computed: the chip as the scripts are to know it, and what it shows."""

    facts: DeviceFacts
    image: EfuseImage


@dataclass(slots=True)
class _VirtualChip:
    """What a script may ask of its device (`script.session.DeviceCalls`), of a chip that is none."""

    image: EfuseImage
    want: dict[int, int] = field(default_factory=dict)
    burns: list[ComputedBurn] = field(default_factory=list)
    asked: list[AskedBurn] = field(default_factory=list)

    def burned(self, staged: StagedBurns, image: EfuseImage, held: HeldBack = NOTHING_HELD) -> EfuseImage:
        plan = plan_to_the_end(image, staged, held)
        if plan:
            self.burns.append(ComputedBurn(plan, image))
        bits = dict(staged.blocks())
        if held.bits:
            bits[0] = bits.get(0, 0) | held.bits
        self.asked.append(AskedBurn(bits, staged.wanted, plan))
        for index, some in bits.items():
            self.want[index] = self.want.get(index, 0) | some
        self.image = plan.apply(image)
        return self.image

    async def burn(self, staged: StagedBurns, image: EfuseImage, written: tuple[Written, ...]) -> EfuseImage:
        return self.burned(staged, image)

    async def held_back(self, held: HeldBack) -> None:
        """Do nothing: the scripts' outcome tells of it."""

    async def read_blocks(self, indexes: Collection[int]) -> EfuseImage:
        return self.image.with_blocks({i: 0 for i in indexes if i not in self.image.blocks})

    async def read_registers(self, addresses: tuple[int, ...]) -> list[int]:
        raise ChipError("registers cannot be read where no chip is: the script runs on a virtual one")

    async def write_registers(self, writes: tuple[RegisterWrite, ...]) -> None:
        raise ChipError("registers cannot be written where no chip is: the script runs on a virtual one")


class _BridgeToNone(Bridge):
    """Crosses to nothing: the virtual chip answers in the script's own thread."""

    def __init__(self) -> None:
        self.before_crossing = int

    def call(self, function: Callable[..., Awaitable[Answer]], *arguments: object) -> Answer:
        work: Any = function(*arguments)
        try:
            work.send(None)
        except StopIteration as done:
            answer: Answer = done.value
            return answer
        raise AssertionError("a virtual chip waits for nothing")

    def check(self) -> None:
        """Do nothing: it is never closed."""

    def close(self) -> None:
        """Do nothing: what threads stage when their script has ended is never looked at."""

    def post(self, function: Callable[[], object]) -> None:
        """Do nothing: nobody listens."""


def compute(scripts: CompiledScripts, order: Order, options: ScriptOptions) -> Computed:
    """Run the scripts on a virtual chip, in this thread; return what they ask for.

    How they ended is in it: nothing of theirs is raised.
    """
    chip = _VirtualChip(order.image)
    options = options._replace(keys=None)  # its own: the keys of ten thousand records are not kept together
    outcome = run_scripts_here(scripts, order.facts, order.image, chip, options, _BridgeToNone())
    error = outcome.error
    if error is None and (outcome.staged or outcome.held):
        try:
            chip.burned(outcome.staged, outcome.image, outcome.held)
        except ParburnError as refused:
            error = refused
    blocks = {index: order.image.blocks.get(index, 0) | bits for index, bits in chip.want.items()}
    held = order.image.with_blocks(blocks)
    return Computed(held, chip.want, outcome.written, tuple(chip.burns), error, tuple(chip.asked))


async def compute_all(
    scripts: CompiledScripts,
    orders: Iterable[Order],
    options: ScriptOptions,
    *,
    take: Callable[[Order, Computed], object],
    allow_side_effects: bool = False,
) -> None:
    """Compute all orders in a daemon thread; `take` gets each answer there, in order.

    Args:
        scripts: What to run for each.
        orders: What to compute. They are made in that thread, one at a time.
        options: What scripts feel of the command line.
        take: Gets each answer.
        allow_side_effects: Let scripts write files and the like.

    Raises:
        UsageError: a script does not end within the time that it has.
        Exception: what `orders` or `take` raised.
    """
    work = _Work(scripts, orders, options, take, allow_side_effects)
    thread = threading.Thread(target=work.in_thread, name="computing", daemon=True)
    thread.start()
    until_s = inf
    while thread.is_alive() and monotonic() < until_s:
        await sleep(LOOK_AGAIN_S)
        now = work.now
        if work.late is None and now is not None and now[1].remaining() <= 0:
            work.late = now[0]
            raise_in(thread)
            until_s = monotonic() + GRACE_S
    if work.late is not None:
        raise UsageError(
            f"the script did not end within {options.timeout_s:g} s for index {work.late.facts.index}",
            hint="Nothing was burned or written. Mend the script, or give it more --script-timeout.",
        )
    if work.error is not None:
        raise work.error


@dataclass(slots=True)
class _Work:
    """The thread that computes."""

    scripts: CompiledScripts
    orders: Iterable[Order]
    options: ScriptOptions
    take: Callable[[Order, Computed], object]
    allow_side_effects: bool
    now: tuple[Order, ScriptClock] | None = None
    late: Order | None = None
    error: BaseException | None = None
    traced: bool = field(default_factory=is_traced)

    def in_thread(self) -> None:
        """Be the thread's whole life."""
        let_be_stopped(traced=self.traced)
        try:
            if self.allow_side_effects:
                self._all()
            else:
                with no_side_effects():
                    self._all()
        except BaseException as error:
            self.error = error

    def _all(self) -> None:
        for order in self.orders:
            if self.late is not None:
                return
            self.now = order, ScriptClock(self.options.timeout_s)
            computed = compute(self.scripts, order, self.options)
            self.now = None
            self.take(order, computed)
