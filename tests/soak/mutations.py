"""Our own safety with one rule switched off, by name. Applied in a child process; the soak must see it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any


def _no_read_back() -> None:
    """Programming registers are written and never compared."""
    from parburn.controller import Controller

    def fits(self: Controller, step: Any, reading: Mapping[int, int]) -> bool:
        self._known = dict(self._staged_words(step))
        self._timing_set = True
        return True

    Controller._staging_fits = fits  # type: ignore[method-assign]  # the mutation


def _no_identity() -> None:
    """Whoever answers after the barrier is taken for the one that was planned for."""
    from parburn import commit
    from parburn.identify import Identity

    def stage_first(plan: Any, controller: Any, image: Any, hooks: Any) -> Any:
        return controller.stage(plan.steps[0])

    Identity.same_board = lambda self, values: None  # type: ignore[method-assign]  # the mutation
    commit._stage_first = stage_first


def _late_attempt() -> None:
    """BURN_ATTEMPTED reaches the ledger after the first step instead of before it."""
    from parburn.ledger.base import Attempt, State
    from parburn.ledger.sqlite import SqliteClaim

    attempted, step_done, incomplete = (
        SqliteClaim.burn_attempted,
        SqliteClaim.step_done,
        SqliteClaim.incomplete,
    )
    waiting: dict[int, Attempt] = {}

    async def later(self: SqliteClaim, attempt: Attempt) -> None:
        waiting[self.index] = attempt

    async def first_attempt_then_step(self: SqliteClaim, label: str, state: State) -> None:
        attempt = waiting.pop(self.index, None)
        if attempt is not None:
            await attempted(self, attempt)
        await step_done(self, label, state)

    async def first_attempt_then_incomplete(self: SqliteClaim, reason: str) -> None:
        attempt = waiting.pop(self.index, None)
        if attempt is not None:
            await attempted(self, attempt)
        await incomplete(self, reason)

    SqliteClaim.burn_attempted = later  # type: ignore[method-assign]  # the mutation
    SqliteClaim.step_done = first_attempt_then_step  # type: ignore[method-assign, assignment]  # the mutation
    SqliteClaim.incomplete = first_attempt_then_incomplete  # type: ignore[method-assign]  # the mutation


def _no_resume_image() -> None:
    """A resumed script sees the chip as it is, half burned."""
    from parburn.calls import BoardCalls

    def image_for_script(self: Any) -> Any:
        self._seen = self._now
        return self._now

    BoardCalls.image_for_script = image_for_script  # type: ignore[method-assign]  # the mutation


def _no_unique_values() -> None:
    """Nobody looks whether two boards get one value: neither the run nor the ledger is told of them."""
    from parburn.calls import BoardCalls

    whole = BoardCalls.burn

    async def burn(self: Any, staged: Any, image: Any, written: Any) -> Any:
        return await whole(self, staged, image, ())

    BoardCalls.burn = burn  # type: ignore[method-assign]  # the mutation


def _no_barrier() -> None:
    """Each board is admitted as it comes; nobody looks at the others."""
    from parburn import fleet
    from parburn.run import Barrier

    whole = fleet._run_all

    async def run_all(run: Any, confirm: Any) -> Any:
        class Alone(Barrier[Any, Any]):
            async def arrive(self, port: str, value: Any) -> Any:
                taken = (await fleet._admit(run, {port: value}))[port]
                self._brought[port] = value
                self._out(port)
                if isinstance(taken, Exception):
                    raise taken
                return taken

            async def complete(self) -> Any:
                await self._complete.wait()
                return {}

        run.claims = Alone(run.job.ports)
        return await whole(run, confirm)

    fleet._run_all = run_all


def _no_verify() -> None:
    """What a burn left in the chip is taken to be what it should have left."""
    from parburn import commit

    commit._verify = lambda step, before, now, blocks: (0, 0, "")


MUTATIONS: Mapping[str, Callable[[], None]] = {
    "no read-back of the programming registers": _no_read_back,
    "no re-identification": _no_identity,
    "BURN_ATTEMPTED after PGM": _late_attempt,
    "no resume image": _no_resume_image,
    "no unique values": _no_unique_values,
    "no barrier": _no_barrier,
    "no exact verify": _no_verify,
}


def apply(name: str) -> None:
    """Switch the rule off in this process."""
    MUTATIONS[name]()
