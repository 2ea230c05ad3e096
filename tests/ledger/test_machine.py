"""Any order of runs, crashes and ends of boards, two runs at once: no index on two chips, none lost.

The model knows which chip must keep which index and says which index a new chip must get: the lowest that no
chip holds. A crash closes nothing; this process stands in for several, so it is taken as not visible.
"""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import Coroutine
from pathlib import Path
from typing import Any, TypeVar

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from parburn.errors import LedgerError, UnitQuarantined, UnitRefused
from parburn.ledger.base import UNDER_WAY, Claim, State, UnitIdentity
from parburn.ledger.export import verify
from parburn.ledger.liveness import Process
from parburn.ledger.run_ledger import RunLedger, open_ledger

from .ledgers import attempt, batch, chip

T = TypeVar("T")
CHIPS = 6
RUNS = 2  # at once
NUMBERS = st.lists(st.integers(0, CHIPS - 1), unique=True, min_size=1, max_size=CHIPS)


class Run:
    """One run at work and the claims it holds."""

    def __init__(self, ledger: RunLedger) -> None:
        self.ledger = ledger
        self.claims: dict[UnitIdentity, Claim] = {}
        self.goes_back: set[UnitIdentity] = set()
        self.ended: dict[UnitIdentity, Claim] = {}  # claims that ended while the run goes on


class LedgerMachine(RuleBasedStateMachine):
    @initialize()
    def begin(self) -> None:
        self.folder = tempfile.TemporaryDirectory()
        self.path = Path(self.folder.name) / "ledger.sqlite3"
        self.loop = asyncio.new_event_loop()
        self.patch = pytest.MonkeyPatch()
        self.patch.setattr(Process, "is_visible", lambda _self: False)
        self.runs: dict[int, Run] = {}
        self.spent: dict[UnitIdentity, int] = {}  # for ever
        self.held: dict[UnitIdentity, int] = {}  # for now, or kept by the chip
        self.quarantined: set[UnitIdentity] = set()

    def do(self, work: Coroutine[Any, Any, T]) -> T:
        return self.loop.run_until_complete(asyncio.wait_for(work, 30))

    def holder(self, one: UnitIdentity) -> Run | None:
        return next((run for run in self.runs.values() if one in run.claims), None)

    @precondition(lambda self: len(self.runs) < RUNS)
    @rule()
    def start(self) -> None:
        which = next(number for number in range(RUNS) if number not in self.runs)
        self.runs[which] = Run(self.do(open_ledger(self.path, batch(), new_ledger=True)))

    @precondition(lambda self: self.runs)
    @rule(
        data=st.data(), numbers=st.lists(st.integers(0, CHIPS - 1), unique=True, min_size=1, max_size=CHIPS)
    )
    def claim(self, data: st.DataObject, numbers: list[int]) -> None:
        run = self.runs[data.draw(st.sampled_from(sorted(self.runs)))]
        chips = [chip(number) for number in numbers]
        outcomes = self.do(run.ledger.claim_all(chips, first=1, last=None, job_digest="job"))
        for one, outcome in zip(chips, outcomes, strict=True):
            if one in self.quarantined:
                assert isinstance(outcome, UnitQuarantined)
            elif self.holder(one) is not None:
                assert isinstance(outcome, UnitRefused)
            else:
                assert not isinstance(outcome, LedgerError), outcome
                taken = {*self.spent.values(), *self.held.values()}
                expected = self.spent.get(one, self.held.get(one))
                lowest = next(n for n in range(1, 100) if n not in taken)
                assert outcome.index == (lowest if expected is None else expected)
                assert outcome.known == (expected is not None)
                run.claims[one] = outcome
                self.held[one] = outcome.index

    @precondition(lambda self: any(run.claims for run in self.runs.values()))
    @rule(data=st.data())
    def board_goes_on(self, data: st.DataObject) -> None:
        pairs = [(run, one) for run in self.runs.values() for one in run.claims]
        run, one = data.draw(st.sampled_from(pairs))
        claim = run.claims[one]
        can = {
            State.CLAIMED: ["plan", "fail", "fail_released", "pass_unasked"],
            State.PLANNED: ["attempt", "pass", "fail", "plan"],
            State.BURN_ATTEMPTED: ["step", "incomplete", "quarantine"],
            State.VERIFIED: ["attempt", "pass", "step", "incomplete", "quarantine", "plan"],
            State.INCOMPLETE: ["attempt", "pass", "fail_released", "quarantine", "plan"],
            State.PASS: ["attempt", "fail_released", "plan", "quarantine"],
        }.get(claim.state, [])
        if can:
            self.do(self._act(run, one, claim, data.draw(st.sampled_from(can))))

    @precondition(lambda self: any(run.claims for run in self.runs.values()))
    @rule(data=st.data(), steps=st.integers(0, 1))
    def board_burns(self, data: st.DataObject, steps: int) -> None:
        """Some steps at once, or hardly any board would come so far."""
        pairs = [(run, one) for run in self.runs.values() for one, claim in run.claims.items()]
        run, one = data.draw(st.sampled_from(pairs))
        claim = run.claims[one]
        if claim.state is State.CLAIMED and one not in run.goes_back:
            for action in ("plan", "attempt", *["step"] * steps):
                self.do(self._act(run, one, claim, action))

    async def _act(self, run: Run, one: UnitIdentity, claim: Claim, action: str) -> None:
        if action == "plan":
            await claim.planned("plan", {"CUSTOM_MAC": one.mac})
        elif action == "attempt":
            await claim.burn_attempted(attempt())
            self.spent[one] = claim.index
        elif action == "step":
            await claim.step_done("KEY0", State.VERIFIED)
        elif action == "pass":
            await claim.passed("job")
            self.spent[one] = claim.index
        elif action == "pass_unasked":
            await claim.passed("job")
            run.goes_back.add(one)
        elif action.startswith("fail"):
            release = action == "fail_released"
            await claim.failed_clean("script", release=release)
            if release:
                run.goes_back.add(one)
        elif action == "incomplete":
            await claim.incomplete("unplugged")
        else:
            await claim.quarantined("odd bit")
            self.quarantined.add(one)

    @precondition(lambda self: any(run.claims for run in self.runs.values()))
    @rule(data=st.data(), again=st.booleans())
    def board_leaves(self, data: st.DataObject, again: bool) -> None:
        """A station ends one claim; the run and all its other claims go on."""
        pairs = [(run, one) for run in self.runs.values() for one in run.claims]
        run, one = data.draw(st.sampled_from(pairs))
        claim = run.claims.pop(one)
        untouched = claim.state in (State.CLAIMED, State.PLANNED)
        under_way = claim.state in UNDER_WAY
        before = claim.state
        self.do(claim.end())
        expected = State.IDENTIFIED if untouched else State.INCOMPLETE if under_way else before
        assert claim.state is expected
        if (untouched or one in run.goes_back) and one not in self.spent:
            self.held.pop(one)
        run.goes_back.discard(one)
        run.ended[one] = claim
        if again:
            self.do(claim.end())

    @precondition(lambda self: any(run.ended for run in self.runs.values()))
    @rule(data=st.data(), action=st.sampled_from(["plan", "attempt", "pass", "fail", "incomplete", "end"]))
    def claim_of_before_does_nothing(self, data: st.DataObject, action: str) -> None:
        """Whoever has the chip now, a claim that has ended touches it no more."""
        pairs = [(run, one) for run in self.runs.values() for one in run.ended]
        run, one = data.draw(st.sampled_from(pairs))
        claim = run.ended[one]
        if action == "end":
            self.do(claim.end())
            return
        spent = dict(self.spent)
        with pytest.raises(UnitRefused):
            self.do(self._act(run, one, claim, action))
        assert self.spent == spent

    def has_worked(self) -> list[int]:
        """Runs that have something to end: of others nothing is learned."""
        return [number for number, run in sorted(self.runs.items()) if run.claims or run.ended]

    @precondition(lambda self: self.has_worked())
    @rule(data=st.data(), crashes=st.booleans())
    def end(self, data: st.DataObject, crashes: bool) -> None:
        run = self.runs.pop(data.draw(st.sampled_from(self.has_worked())))
        self.do(run.ledger._abandon() if crashes else run.ledger.aclose())  # a crash: without its last word
        self._forget(run)

    def _forget(self, run: Run) -> None:
        for one, claim in run.claims.items():
            if one in run.goes_back or claim.state in (State.CLAIMED, State.PLANNED):
                self.held.pop(one)

    @invariant()
    def promise(self) -> None:
        if not self.spent or not self.path.exists():
            return
        assert len(set(self.spent.values())) == len(self.spent)
        assert "verifies" in verify(self.path)

    def teardown(self) -> None:
        for run in self.runs.values():
            self.do(run.ledger.aclose())
        if hasattr(self, "loop"):
            self.loop.close()
            self.patch.undo()
            self.folder.cleanup()


TestLedgerMachine = LedgerMachine.TestCase
TestLedgerMachine.settings = settings(
    max_examples=25,
    stateful_step_count=30,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much],
)
