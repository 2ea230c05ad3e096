"""Tries case after case until its time is over; each case can be tried again by its subject and number.

A case that takes too long is a hang, and a finding like any other.
"""

from __future__ import annotations

import contextlib
import os
import random
import signal
import sqlite3
import tempfile
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple
from unittest.mock import patch

from parburn.ledger import schema
from tests.fuzz.subjects import SUBJECTS, Subject, World

HANG_S = 90  # for one case: a machine that does much else, too
FINDINGS_AT_MOST = 50


class Finding(NamedTuple):
    """What went wrong in one case."""

    subject: str
    case: int
    what: str

    def again(self, seed: int) -> str:
        """The command that tries it again."""
        return f"python -m tests.fuzz --seed {seed} --subject {self.subject} --case {self.case}"


class Hang(BaseException):
    """No code of ours may catch it."""


class Storm:
    """All cases of one seed."""

    def __init__(self, seed: int) -> None:
        self.seed = seed
        self.cases = dict.fromkeys(SUBJECTS, 0)
        self.findings: list[Finding] = []

    def blow(self, seconds: float, *, tell: Callable[[str], None] = lambda _: None) -> None:
        """Try cases for so long."""
        end = time.monotonic() + seconds
        choice = random.Random(self.seed)
        names, weights = [*SUBJECTS], [weight for _, weight in SUBJECTS.values()]
        with world() as here:
            for name in names:  # each at least once
                self.one(here, name, tell)
            while time.monotonic() < end and len(self.findings) < FINDINGS_AT_MOST:
                self.one(here, choice.choices(names, weights)[0], tell)

    def one(self, here: World, name: str, tell: Callable[[str], None], *, case: int | None = None) -> None:
        """Try one case: the next one, or the one with this number."""
        number = self.cases[name] if case is None else case
        self.cases[name] += 1
        here.tidy()
        try:
            with deadline():
                SUBJECTS[name][0](here, random.Random(f"{self.seed} {name} {number}"))
        except KeyboardInterrupt:
            raise
        except BaseException as found:
            finding = Finding(name, number, "".join(traceback.format_exception(found)[-6:]))
            self.findings.append(finding)
            tell(f"{finding.what}\ntry it again: {finding.again(self.seed)}\n")

    def result(self, seconds: float) -> dict[str, object]:
        """What the last line says."""
        return {
            "seed": self.seed,
            "seconds": round(seconds),
            "cases": sum(self.cases.values()),
            "by_subject": self.cases,
            "findings": [one.again(self.seed) for one in self.findings],
        }


@contextlib.contextmanager
def deadline() -> Iterator[None]:
    """Raise Hang in a case that does not end."""

    def hung(*_: object) -> None:
        raise Hang(f"no end after {HANG_S} s")

    before = signal.signal(signal.SIGALRM, hung)
    signal.alarm(HANG_S)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


@contextlib.contextmanager
def world() -> Iterator[World]:
    """A folder of its own as working folder; the disk is not waited for."""
    real = schema.connect

    def connect(path: Path, *, durable: bool = False) -> sqlite3.Connection:
        return real(path, durable=False)

    before = Path.cwd()
    with tempfile.TemporaryDirectory(prefix="fuzz-") as name, contextlib.ExitStack() as stack:
        folder = Path(name).resolve()
        stack.callback(os.chdir, before)
        os.chdir(folder)
        (folder / "state").mkdir()
        stack.enter_context(patch.dict(os.environ, {"XDG_STATE_HOME": str(folder / "state")}))
        stack.enter_context(patch.object(os, "fsync", lambda _descriptor: None))
        stack.enter_context(patch.object(schema, "connect", connect))
        yield World(folder)


def one_case(seed: int, subject: str, case: int) -> Sequence[Finding]:
    """Try one case by its number."""
    storm = Storm(seed)
    with world() as here:
        storm.one(here, subject, lambda _: None, case=case)
    return storm.findings


__all__ = ["Finding", "Storm", "Subject", "one_case", "world"]
