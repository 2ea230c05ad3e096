"""What takes the place of a run's barrier in a station, switched off one by one: the soak must see each.

`python -m tests.soak.station.off ROW station JOB.toml --json` is the installed command with that row off. The
product has no such switches: they are patches, applied before the command's `main`.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from tests.soak import mutations
from tests.soak.station.hand import Theme

_MIXED = Theme()


def _more(**shares: float) -> tuple[tuple[str, float], ...]:
    return tuple((kind, shares.get(kind, weight)) for kind, weight in _MIXED.kinds)


def _lines() -> None:
    """Whoever asks for the lines lock is let in."""
    from parburn.transport.lines_lock import LinesLock

    LinesLock._attempt = lambda *_, **__: "in"  # type: ignore[method-assign]  # off


def _present() -> None:
    """Nobody asks whether a chip sits in another socket."""
    from parburn.station.presence import Presence, Seated, nobody_knows

    async def enter(self: Presence, identity: Any, slot: str, **_: Any) -> Seated:
        return Seated(identity, slot, nobody_knows)

    Presence.enter = enter  # type: ignore[method-assign]  # off


def _values() -> None:
    """The ledger is not told which values a chip is about to get."""
    mutations.apply("no unique values")


def _identity() -> None:
    """Whoever answers is taken for the chip that was planned for."""
    mutations.apply("no re-identification")


def _nodes() -> None:
    """A tty is known by its name."""
    from parburn.transport.tty_nodes import tty_at as whole

    def tty_at(path: str) -> Any:
        found = whole(path)
        return None if found is None else found._replace(key=(path,))

    mutations._replace("parburn.transport.tty_nodes", "tty_at", tty_at)


def _template() -> None:
    """Any plan is as it was armed."""
    from parburn.station.template import PlanTemplate

    def fitting(self: PlanTemplate, *_: Any, **__: Any) -> tuple[frozenset[int], None]:
        return frozenset(range(64)), None

    PlanTemplate.fitting = fitting  # type: ignore[method-assign]  # off


def _replug() -> None:
    """Who comes back after a reset of ours is taken for the board that left."""
    from parburn.station.socket import Socket

    until_ended = Socket._until_ended

    async def believed(self: Any, sitting: Any, *, reset_of: Any = None) -> Any:
        if reset_of is not None:
            self._sitting = sitting
            return self.ended_before
        self.ended_before = await until_ended(self, sitting)
        return self.ended_before

    Socket._until_ended = believed  # type: ignore[method-assign]  # off


def _once() -> None:
    """A unit that was begun goes on by itself as often as it likes."""
    from parburn.ledger.base import HARMLESS_CAUSES
    from parburn.station.shared import StationRun

    def may_go_on(self: StationRun, identity: Any, slot: str, begun: Any) -> bool:
        return begun.arming == self.arming.digest and begun.cause in HARMLESS_CAUSES

    StationRun.may_go_on = may_go_on  # type: ignore[method-assign]  # off


OFF: Mapping[str, Callable[[], None]] = {
    "lines": _lines,
    "present": _present,
    "values": _values,
    "identity": _identity,
    "nodes": _nodes,
    "template": _template,
    "replug": _replug,
    "once": _once,
}
# What presses on each of them. Without the switch the soak must hold under the same themes.
THEMES: Mapping[str, Theme] = {
    "lines": _MIXED,
    "present": replace(_MIXED, kinds=_more(clone=12, twin=6)),
    "values": _MIXED,
    "identity": replace(_MIXED, kinds=_more(faulty=10), faults=("swap new",)),
    "nodes": replace(_MIXED, after=(("swap", 60), ("remove", 40))),
    "template": replace(_MIXED, kinds=_more(odd=3)),
    "replug": replace(_MIXED, after=(("swap", 30), ("remove", 70)), job_after="hard-reset"),
    "once": replace(_MIXED, early=0.45, kinds=_more(shelf=40)),
}


def main() -> int:
    """Switch a row off, and be the command."""
    row, *words = sys.argv[1:]
    OFF[row]()
    sys.argv = ["parburn", *words]
    from parburn.cli.main import main as command

    return command(words)


if __name__ == "__main__":
    sys.exit(main())
