"""One campaign: a dozen mixed boards, a few runs with faults and kills, then one with all faults lifted.

Everything is drawn from the campaign's seed: boards, slots, faults, where the process dies. Violations are
sentences; none means that everything held, in both directions.
"""

from __future__ import annotations

import json
import random
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from tests.soak import child
from tests.soak.bench import Bench, Made
from tests.soak.checker import Checker, Unit, same, units_of
from tests.soak.child import KILLED, Crash, Ended, run_forked
from tests.soak.jobs import Work, write_job

CHIPS = (Made("esp32", (("coding", "3/4"),)), *map(Made, child.CHIPS))
FRAMES, LEDGER_WRITES = 230, 25  # of a run: where a kill may strike
FROM_HOST, TO_HOST = 3600, 4200  # bytes of a board's run
COMMANDS = (1, 1, 2, 2, 3)  # of a run to the eFuse controller: one that is resumed gives fewer
COMMAND_BYTES = 42  # of the frame of one; behind them stands a delay at most
CONF_BYTES = 26  # of the frame that takes the op code out of it

Draw = Callable[[random.Random, int, str], str]
# Blocks that the job burns on a chip, with the bits there that it may burn; the others stay as they are.
BURNED = (("BLOCK_KEY0", 0, 256), ("BLOCK_USR_DATA", 200, 248))
BURNED_CLASSIC = (("BLOCK1", 0, 192), ("BLOCK3", 0, 56))


def _place(rng: random.Random, chip: str) -> tuple[int, str]:
    """A bit of the chip's blocks, most often one that the job burns."""
    block, first, end = rng.choice(BURNED_CLASSIC if chip == "esp32" else BURNED)
    return rng.randrange(*((first, end) if rng.random() < 0.8 else (0, 256))), block


def _bit(rng: random.Random, chip: str, *, last: int = 255) -> str:
    bit, block = _place(rng, chip)
    return f"bit {min(bit, last)} of {block}"


def _cut(rng: random.Random, frame: str, longest: int) -> str:
    """A frame whose tail is lost, half of them after a number of bytes that is drawn here."""
    return f"the tail of {frame} is lost" + rng.choice(("", f" after {rng.randrange(1, longest)} bytes"))


# Kinds of faults: how to draw one, given a generator, the number of ports and the chip.
KINDS: Mapping[str, Draw] = {
    "byte to the host": lambda r, n, c: (
        f"byte {r.randrange(1, TO_HOST)} to the host is {r.choice(('lost', 'doubled', 'flipped'))}"
    ),
    "byte from the host": lambda r, n, c: (
        f"byte {r.randrange(1, FROM_HOST)} from the host is {r.choice(('lost', 'doubled', 'flipped'))}"
    ),
    "flipped to the chip": lambda r, n, c: f"one byte in {r.randrange(600, 2500)} from the host is flipped",
    "noise": lambda r, n, c: (
        f"one byte in {r.randrange(1000, 6000)} to the host is {r.choice(('lost', 'doubled', 'flipped'))}"
    ),
    "late": lambda r, n, c: (
        f"byte {r.randrange(1, TO_HOST)} to the host is late by {r.randrange(20, 400)} ms"
    ),
    "answer lost": lambda r, n, c: f"answer {r.randrange(1, FRAMES)} is lost",
    "garbage": lambda r, n, c: (
        f"{r.randrange(1, 60)} bytes of garbage come {r.choice(('before', 'after'))}"
        f" answer {r.randrange(1, FRAMES)}"
    ),
    "silence": lambda r, n, c: (
        f"the link is silent after {r.randrange(1, FROM_HOST)} bytes for {r.randrange(50, 900)} ms"
    ),
    "cut": lambda r, n, c: f"the link is silent after {r.randrange(1, FROM_HOST)} bytes",
    "lost tail": lambda r, n, c: _cut(r, f"frame {r.randrange(1, FRAMES)}", 15),
    "lost tail of a command": lambda r, n, c: _cut(
        r, f"{r.choice(('program', 'read', 'disarming'))} frame {r.choice(COMMANDS)}", COMMAND_BYTES
    ),
    "lost tail of CONF": lambda r, n, c: _cut(r, f"disarming frame {r.choice(COMMANDS)}", CONF_BYTES),
    "unplugged": lambda r, n, c: f"the port vanishes after {r.randrange(1, FROM_HOST)} bytes",
    "renamed": lambda r, n, c: (
        f"the port vanishes after {r.randrange(1, FROM_HOST)} bytes"
        f" and comes back as ttyUSB{r.randrange(50, 90)} after {r.randrange(10, 300)} ms"
    ),
    "swap new": lambda r, n, c: f"the board is swapped for a new one after {r.randrange(1, FROM_HOST)} bytes",
    "swap": lambda r, n, c: (
        f"the board is swapped with board {r.randrange(n)} after {r.randrange(1, FROM_HOST)} bytes"
    ),
    "crystal": lambda r, n, c: "the crystal has 26 MHz",
    "reboot": lambda r, n, c: f"the ROM reboots at packet {r.randrange(1, FRAMES)}",
    "watchdog": lambda r, n, c: f"the watchdog resets the chip after packet {r.randrange(1, FRAMES)}",
    "hang": lambda r, n, c: f"the controller never becomes idle after program {r.randrange(1, 7)}",
    "brown-out": lambda r, n, c: (
        f"the supply browns out in program {r.randrange(1, 7)}"
        f" leaving {r.randrange(0, 101, 5)} percent of the bits"
    ),
    "weak bit": lambda r, n, c: f"{_bit(r, c)} refuses to burn the first {r.choice(('time', '2 times'))}",
    "weak lock": lambda r, n, c: (
        f"bit {r.choice((0, 7, 8, 23, 32))} of BLOCK0 refuses to burn the first time"
    ),
    "dead bit": lambda r, n, c: f"{_bit(r, c)} refuses to burn",
    "leaking bit": lambda r, n, c: f"{_bit(r, c, last=254)} burns its neighbour too",
    "wrong bytes": lambda r, n, c: f"{r.randrange(1, 9)} bytes of {_place(r, c)[1]} burn wrong",
}


TAILS = ("lost tail", "lost tail of a command")


@dataclass(frozen=True)
class Theme:
    """What a campaign is about. The ones with few kinds show one rule each."""

    kinds: tuple[str, ...] = tuple(KINDS)
    tail_share: float = 0.0  # of the faults: more of those in `TAILS`
    fault_share: float = 0.5  # of the boards, per run
    kill_share: float = 0.7  # of the runs
    boards: tuple[int, int] = (14, 22)
    seats: tuple[int, int] = (8, 14)
    runs: tuple[int, int] = (3, 6)
    doubled_records: bool = False
    twins: bool = False
    double_share: float = 0.0  # of the campaigns: two records with one value, or two boards with one identity
    shuffle: float = 0.3
    powered_share: float = 0.6  # of the campaigns: a closed port does not switch its board off
    unreset_share: float = 0.9  # of the runs after a kill, where the boards keep their supply
    kill_frames: tuple[int, int] = (1, FRAMES)
    chips: tuple[Made, ...] = CHIPS
    work: Work | None = None


MIXED = Theme(double_share=0.08, tail_share=0.25)


@dataclass
class Result:
    """What came of a campaign."""

    seed: int
    counts: Counter[str] = field(default_factory=Counter)
    violations: list[str] = field(default_factory=list)
    log: list[str] = field(default_factory=list)
    seconds: float = 0.0


class Campaign:
    """One campaign at work."""

    def __init__(self, seed: int, folder: Path, theme: Theme, mutation: str) -> None:
        self.rng = rng = random.Random(seed)
        self.seed, self.folder, self.theme, self.mutation = seed, folder, theme, mutation
        self.result = Result(seed)
        self.kind_of: dict[str, str] = {}  # by sentence of a fault
        self.ledger = folder / "ledger.sqlite"
        self.stay_powered = False
        self.left: list[int] | None = None  # who sat where when the last run was killed
        self.doubles = theme.doubled_records or rng.random() < theme.double_share
        self.with_twins = theme.twins or (not self.doubles and rng.random() < theme.double_share)
        drawn = Work(
            burns=(rng.random() < 0.3, rng.random() < 0.3, rng.random() < 0.3),
            hidden_key=rng.random() < 0.75,
            hidden_coding=rng.random() < 0.3,
        )
        self.work = theme.work or drawn
        self.made = [rng.choice(theme.chips) for _ in range(rng.randint(*theme.boards))]
        self.twins: frozenset[int] = frozenset()
        if self.with_twins:
            first = self.made[0]
            self.made.append(Made(first.chip, first.settings, twin_of=0))
            self.twins = frozenset((0, len(self.made) - 1))
        doubled = (1, rng.randint(2, len(self.made))) if self.doubles else None
        self.doubled = doubled
        write_job(folder, self.work, doubled=doubled)

    def play(self) -> None:
        """All runs; stops at the first violation."""
        rng, theme = self.rng, self.theme
        self.stay_powered = stay_powered = rng.random() < theme.powered_share
        with Bench(self.folder, self.made, seed=self.seed, stay_powered=stay_powered) as bench:
            self.bench = bench
            self.checker = Checker(bench, self.ledger, self.work, self.twins, self.doubled)
            self.checker.meet()
            self.result.log.append(f"seed {self.seed}: {len(self.made)} boards, {self.work}, {stay_powered=}")
            for _ in range(rng.randint(*theme.runs)):
                if not self._faulty_run():
                    return
            if self.left and not self._faulty_run():  # the last one was killed
                return
            if self._last_runs() and not self.doubles and not self.twins:
                self._station_two()
            self.result.counts["campaigns"] += 1

    # One run ----------------------------------------------------------------------------------------

    def _slots(self) -> list[int]:
        """Who sits where: mostly boards that are not done yet, in the order of the last run or shuffled."""
        rng, units = self.rng, units_of(self.ledger)
        everybody = range(self.bench.boards)
        keys = {board: self.checker.key(board) for board in everybody}
        done = [board for board in everybody if keys[board] in units and units[keys[board]].state == "pass"]
        todo = [board for board in everybody if board not in done]
        seats = rng.randint(*self.theme.seats)
        some = rng.sample(done, min(len(done), seats // 5 + max(0, seats - len(todo))))
        slots = sorted(some + (todo if self.theme.twins else rng.sample(todo, min(len(todo), seats))))
        if rng.random() < self.theme.shuffle:
            rng.shuffle(slots)
        return slots

    def _faulty_run(self) -> bool:
        rng, theme = self.rng, self.theme
        left, self.left = self.left, None
        without_reset = bool(left) and rng.random() < theme.unreset_share
        slots = left if left and without_reset else self._slots()
        faults: dict[int, list[str]] = {}
        busy = self._busy(slots)
        for board in busy:
            while rng.random() < theme.fault_share and len(faults.get(board, ())) < 3:
                kind = rng.choice(TAILS if rng.random() < theme.tail_share else theme.kinds)
                sentence = KINDS[kind](rng, len(slots), self.bench.memory(board).chip.name)
                self.kind_of[sentence] = kind
                faults.setdefault(board, []).append(sentence)
                self.result.counts[f"drawn {kind}"] += 1
        crash = self._crash(slots, busy) if rng.random() < theme.kill_share else None
        options = ["--before", "no-reset"] if without_reset else []
        options += ["--baud", "460800"] if rng.random() < 0.15 else []
        options += ["--max-burning", str(rng.randint(1, 4))] if rng.random() < 0.2 else []
        ended = self._run(slots, faults, crash=crash, options=options, hasty=True, stay_powered=without_reset)
        if self.stay_powered and ended.exit == KILLED and "--baud" not in options:
            self.left = slots  # the next run may take these boards as the kill left them
        self.result.counts["runs without reset"] += without_reset
        return self._check()

    def _busy(self, slots: Sequence[int]) -> list[int]:
        """Who of them has not passed yet; everybody when all have."""
        units = units_of(self.ledger)
        keys = {board: self.checker.key(board) for board in slots}
        return [n for n in slots if keys[n] not in units or units[keys[n]].state != "pass"] or list(slots)

    def _crash(self, slots: Sequence[int], busy: Sequence[int]) -> Crash:
        rng = self.rng
        if rng.random() < 0.3:
            return Crash("ledger", rng.randint(1, LEDGER_WRITES), rng.choice(("before", "after")))
        when, port = rng.choice(("before", "torn", "after")), f"ttyUSB{slots.index(rng.choice(busy))}"
        if rng.random() < 0.5:
            command, sent = rng.choice(("program", "read")), rng.randrange(1, COMMAND_BYTES)
            return Crash(command, rng.choice(COMMANDS), when, port, sent if when == "torn" else 0)
        return Crash("packet", rng.randint(*self.theme.kill_frames), when, port)

    def _run(
        self,
        slots: Sequence[int],
        faults: Mapping[int, Sequence[str]],
        *,
        crash: Crash | None = None,
        options: Sequence[str] = (),
        script: str = "one.py",
        hasty: bool = False,
        stay_powered: bool = False,
    ) -> Ended:
        counts, result = self.result.counts, self.result
        ports = self.bench.set_up(slots, faults, seed=self.seed, stay_powered=stay_powered)
        result.log.append(f"run: slots {list(slots)}, crash {crash}, {' '.join(options)}, faults {faults}")
        command = [
            "--json", "--do-not-confirm", "--ports", *ports, "--scripts", str(self.folder / script),
            "--configfiles", str(self.folder / "ids.json"), "--ledger", str(self.ledger),
            "--connect-attempts", "2", "--new-ledger", *options,
        ]  # fmt: skip
        try:
            ended = run_forked(command, folder=self.folder, crash=crash, mutation=self.mutation, hasty=hasty)
        except AssertionError as hang:
            result.violations.append(str(hang))
            ended = Ended(KILLED, "", "")
        fired = self.bench.settle()
        self.checker.note(fired)
        counts["runs"] += 1
        counts["board runs"] += len(slots)
        counts["killed"] += ended.exit == KILLED
        counts["faults struck"] += sum(map(len, fired.values()))
        counts.update(f"struck {self.kind_of[one]}" for struck in fired.values() for one in struck)
        self._read(ended)
        return ended

    def _read(self, ended: Ended) -> None:
        said = ended.stdout + ended.stderr
        if "error inside parburn" in said or "Traceback" in ended.stderr or ended.exit == 70:
            at = max(0, said.find("error inside parburn") - 300)
            self.result.violations.append(f"a defect: {said[at:][:1500]}\n{ended.stderr[-3000:]}")
        self.result.log.append(f"  exit {ended.exit}")
        for line in ended.stdout.splitlines():
            try:
                event = json.loads(line)
            except ValueError:
                continue  # the line at which it was killed
            if event.get("event") == "result":
                self.result.counts[f"result {event['result']}"] += 1
                self.result.log.append(
                    f"  {Path(event['port']).name} {event['chip']} {event['mac']} index {event['index']}"
                    f" {event['result']} {event['error']}"
                )

    def _check(self) -> bool:
        found = list(self.checker.violations())
        self.result.violations += found
        return not self.result.violations

    # With faults lifted -----------------------------------------------------------------------------

    def _last_runs(self) -> bool:
        """Everybody on the bench, no faults: whoever is not damaged must pass now, in one run."""
        slots = list(range(self.bench.boards))
        for _ in range(2 if self.doubles else 1):  # an index whose value is taken is set aside in the first
            self._run(slots, {})
            if not self._check():
                return False
        units = units_of(self.ledger)
        failed = []
        for board in slots:
            unit = units.get(self.checker.key(board))
            if board in self.twins:
                continue  # at most one is burned: `Checker.violations` has seen that
            if unit is not None and unit.state == "quarantined":
                continue  # for a block in which a fault struck: it has seen that, too
            if unit is None or unit.state != "pass":
                failed.append(f"board {board} did not pass with all faults lifted: {unit}")
        if self.doubles:
            failed = self._without_doubled(failed)
        if self.theme.twins:
            failed += self._twins_untouched()
        if not self.doubles and not self.twins:
            failed += self._indexes_lost(units.values())
        self._count(slots, units)
        self.result.violations += failed
        return not failed

    def _indexes_lost(self, units: Iterable[Unit]) -> Iterator[str]:
        """Every index from the first to the last is on one chip, which was attempted with it."""
        held = Counter(unit.index for unit in units if unit.index is not None)
        for index in range(1, max(held, default=0) + 1):
            if held[index] != 1:
                yield f"index {index} is on {held[index]} chips: {sorted(held)}"
        for unit in units:
            if unit.index is not None and not unit.spent:
                yield f"index {unit.index} is kept for ever by a chip that was never attempted: {unit}"

    def _count(self, slots: Sequence[int], units: Mapping[tuple[str, str], Unit]) -> None:
        """How the boards of a campaign end: that nothing holds by giving up."""
        counts = self.result.counts
        for board in slots:
            unit = units.get(self.checker.key(board))
            state = unit.state if unit else "unknown"
            whose = "twin" if board in self.twins else "damaged" if self.checker.damaged(board) else "sound"
            counts[f"{whose} boards end {state}"] += 1

    def _without_doubled(self, failed: list[str]) -> list[str]:
        """Of the two indexes with one record at most one may be burned; neither, if they met in one run."""
        assert self.doubled
        units = {unit.index: unit for unit in units_of(self.ledger).values()}
        spent = [index for index in self.doubled if index in units and units[index].spent]
        words = (
            [f"indexes {self.doubled} share a MAC address, and both were burned"] if len(spent) > 1 else []
        )
        # Whoever has not begun with one of the two waits for a mended record; whoever has begun goes on.
        waiting = [f"index={i}," for i in self.doubled if not (i in units and units[i].spent)]
        return words + [line for line in failed if not any(one in line for one in waiting)]

    def _twins_untouched(self) -> list[str]:
        burned = [n for n in self.twins if self.bench.memory(n).cells != self.checker.factory[n]]
        return [f"boards {sorted(self.twins)} share one identity and were burned: {burned}"] if burned else []

    def _station_two(self) -> None:
        """Another job on what has passed, killed on its way and taken up again."""
        slots = list(range(self.bench.boards))
        if self.rng.random() < 0.5:
            self._run(slots, {}, crash=self._crash(slots, slots), script="two.py", hasty=True)
            if not self._check():
                return
            self._run(slots, {}, script="two.py")
            if not self._check():
                return
            for board in slots:
                unit = units_of(self.ledger)[self.checker.key(board)]
                if self.checker.damaged(board):
                    continue
                assert unit.index is not None
                want = self.checker.whole[board].cells(unit.index, station_two=True)
                if unit.state != "pass" or not same(self.bench.memory(board), want):
                    self.result.violations.append(
                        f"board {board} is not what station two makes of it: {unit}"
                    )
