"""One kind of chip, whole: all of its jobs with all faults, and a job killed everywhere and then resumed."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, field

from tests.pulses.record import Setup, job_after_kill, jobs_of
from tests.pulses.replay import Kill, Replay, Tally
from tests.pulses.rom import OP_PROGRAM, OP_READ

PAIRS = 100_000  # of a kind
LEDGERS = (True, False)  # whether it knows of what was begun
SYNC_BYTES = 44  # of the buffer, which a SYNC covers


@dataclass
class Verdict:
    """What was tried on a kind of chip, and what came of it."""

    name: str
    singles: Tally = field(default_factory=Tally)
    pairs: Tally = field(default_factory=Tally)
    number_pairs: Tally = field(default_factory=Tally)
    killed: Tally = field(default_factory=Tally)
    kills: int = 0
    states: int = 0
    doubts: list[str] = field(default_factory=list)  # of undamaged frames, or of the model
    cpu_s: float = 0.0

    @property
    def harmful(self) -> list[str]:
        """Every fault that came to harm, and every doubt."""
        found = [*self.singles.harmful, *self.pairs.harmful, *self.killed.harmful]
        return [*map(str, found), *self.doubts]

    def row(self) -> dict[str, object]:
        """For people and for machines."""
        return {
            "kind": self.name,
            "single faults": self.singles.faults,
            "repeats": self.singles.repeats,
            "pairs": self.pairs.faults,
            "known pairs": self.pairs.known,
            "number pairs": self.number_pairs.faults,
            "kills": self.kills,
            "start states": self.states,
            "faults after a kill": self.killed.faults,
            "harmful": len(self.harmful),
            "cpu_s": round(self.cpu_s, 1),
        }


def judged(setup: Setup, *, pairs: int = PAIRS, ledgers: Sequence[bool] = LEDGERS) -> Verdict:
    """Try all on a kind; after a kill with a ledger that knows of it, and with one that does not."""
    begun = time.process_time()
    verdict = Verdict(setup.name)
    jobs = jobs_of(setup)
    for number, job in enumerate(jobs):
        replay = Replay(job)
        verdict.doubts += replay.doubts
        verdict.singles.add(replay.singles())
        verdict.pairs.add(replay.pairs(-(-pairs // len(jobs)), seed=number))
        verdict.number_pairs.add(replay.known_pairs())
    for recorded in ledgers:
        _kill(setup, verdict, recorded)
    verdict.cpu_s = time.process_time() - begun
    return verdict


def judged_kills(setup: Setup, *, ledgers: Sequence[bool] = LEDGERS) -> Verdict:
    """Try only what comes behind a kill."""
    verdict = Verdict(setup.name)
    for recorded in ledgers:
        _kill(setup, verdict, recorded)
    return verdict


def _kill(setup: Setup, verdict: Verdict, recorded: bool) -> None:
    """Kill the first job at every byte of each command; what is left in one and the same state is tried once.

    The faults are tried where the resumed job writes, until it has burned and read a step: from there it is
    as any other.
    """
    job = jobs_of(setup)[0]
    states: dict[object, Kill] = {}
    for kill in Replay(job).kills():
        states.setdefault(_what_counts(kill), kill)
        verdict.kills += 1
    verdict.states += len(states)
    steps = job.plan.steps if job.plan else ()
    for kill in states.values():
        verified = frozenset(write.block.index for step in steps[: kill.verified] for write in step.writes)
        resumed = job_after_kill(setup, job, kill.sent, verified, recorded=recorded)
        replay = Replay(resumed, start=kill.left, allowed=kill.allowed)
        verdict.doubts += [f"{resumed.name}: {doubt}" for doubt in replay.doubts]
        verdict.killed.add(replay.singles(replay.first_writes()))


def _what_counts(kill: Kill) -> object:
    """What of a state makes a difference once a SYNC has covered the head of the buffer: of CONF only whether
    it holds an op code, and of the cells whether what was burned can be read: the next run then burns other
    steps."""
    buffer, _, _, _, words, _, dead, burned, shown = kill.synced
    op_code = words[1] if words[1] & 0xFFFF in (OP_PROGRAM, OP_READ) else 0
    return buffer[SYNC_BYTES:], words[0], op_code, words[2:], dead, burned == shown
