"""A campaign about identity: lines with their files, boards that come from everywhere, and what happens to
files, ledgers and processes between and during the runs.

Everything is drawn from the campaign's seed. Each step's outcome is looked at by the checker; at the end all
is mended, and whoever is sound and blank must get a record of its own.
"""

from __future__ import annotations

import json
import random
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from parburn.chips.model import ControllerKind
from tests.soak.bench import Bench, Made
from tests.soak.campaign import CHIPS, COMMAND_BYTES, COMMANDS, KINDS, Result
from tests.soak.child import KILLED, Crash, Ended, start_forked
from tests.soak.identity.checker import USED_BEFORE, IdentityChecker, Played, units_of
from tests.soak.identity.forms import FORMS
from tests.soak.identity.lines import FIRST_STATION, Line
from tests.soak.identity.product import FIRST_OF_OTHERS, USER, People, Product

UNCODED = Made("esp32")
EVERY_CHIP = (UNCODED, *CHIPS)
FAULTS = (
    "byte to the host", "answer lost", "cut", "unplugged", "late", "silence", "watchdog", "brown-out",
    "weak bit", "dead bit", "wrong bytes", "lost tail of a command",
)  # fmt: skip
FRAMES, LEDGER_WRITES, WITNESSES = 200, 20, 3
LONGEST_RUN_S = 2.5  # within which a kill at a random time strikes
ROUNDS = 6  # until everybody has a record at the end, where values were taken
ASKED = "Type BURN"
RENAMED = "renamed"  # what a batch is called by somebody who does not know its name
ENDS_S = 5.0  # until a process that has hung up is gone

OTHER_PURPOSE = 6  # has the bits of the purpose that is wanted, and one more
MARGIN = 12  # records more than boards


@dataclass(frozen=True)
class IdentityTheme:
    """What a campaign is about. `steps`: what happens, and how often beside the others."""

    steps: tuple[tuple[str, float], ...]
    kinds: tuple[str, ...] = FAULTS
    fault_share: float = 0.12
    kill_share: float = 0.3
    boards: tuple[int, int] = (8, 12)
    seats: tuple[int, int] = (3, 7)
    runs: tuple[int, int] = (4, 7)
    chips: tuple[Made, ...] = EVERY_CHIP
    product: Product | None = None
    forms: tuple[str, ...] = tuple(FORMS)
    two_files: float = 0.25
    content_share: float = 0.2  # of the boards that come with content
    contents: tuple[str, ...] = ("whole", "part", "more", "key", "purpose", "counter", "crc")
    doubled_share: float = 0.3  # of the campaigns: records that differ, with one value
    hasty_share: float = 0.75  # of the runs; the others wait as long as the program that ships
    powered_share: float = 0.5
    twins: bool = False
    shared: tuple[int, int] = (1, 4)  # records of the first line that the other one has, too; (0, 0): all
    kills: tuple[str, ...] = ("time", "ledger", "witness", "packet", "command")
    ledger_kills: tuple[str, ...] = ("before", "after", "stalls")
    answers: tuple[str, ...] = ("BURN", "BURN", "no", "kill")
    done_share: float = 0.25  # of the seats: boards that have passed
    sure_end: bool = True  # at the end whoever is sound must have passed


STEPS = (
    ("run", 6.0), ("station", 1.0), ("comment", 0.7), ("append", 1.5), ("rewrite", 1.0), ("shift", 1.0),
    ("blank", 0.7), ("two", 1.2), ("prompt", 1.0), ("other", 1.5), ("renamed", 0.7), ("undeclared", 0.7),
    ("lost", 0.4), ("old", 0.4), ("release", 0.6), ("scrap", 0.3), ("unmade", 0.3),
    ("week", 0.5),
)  # fmt: skip
IDENTITY = IdentityTheme(STEPS)


def draw_product(rng: random.Random) -> Product:
    """Any of the products that a line may have."""
    whole = rng.random() < 0.2
    uid = rng.choice(("", "rows", "halves"))
    serial = rng.choice(("", "efuse", "save", "bits", "data", "flag"))
    uid = "" if serial == "flag" else uid
    guarded = serial in ("efuse", "save") and rng.random() < 0.3
    mac = rng.choice(("command", "command", "bits", ""))
    key = "" if guarded else rng.choice(("", "own", "own", "shared", "saved"))
    if not (mac or serial or uid or key in ("own", "saved")):
        serial = "efuse"
    return Product(
        mac=mac or ("command" if whole else ""),
        serial=serial,
        uid=uid,
        name="efuse" if not uid and serial != "flag" and rng.random() < 0.5 else "",
        week=rng.choice(("", "efuse", "file")) if serial != "flag" else "",
        key=key,
        whole=whole,
        hidden=rng.random() < 0.5,
        guarded=guarded,
        nested="own" if rng.random() < 0.25 else "",
        odd="kept" if rng.random() < 0.2 else "",
        burns=not guarded and rng.random() < 0.4,
        counter=rng.random() < 0.4,
        tabled=serial not in ("bits", "data") or rng.random() < 0.5,
    )


class IdentityCampaign:
    """One campaign at work."""

    def __init__(self, seed: int, folder: Path, theme: IdentityTheme, mutation: str) -> None:
        self.rng = rng = random.Random(seed)
        self.seed, self.folder, self.theme, self.mutation = seed, folder, theme, mutation
        self.result = Result(seed)
        self.kind_of: dict[str, str] = {}
        self.ledger = folder / "ledger.sqlite"
        product = theme.product or draw_product(rng)
        self.people = People(folder, product)
        count = rng.randint(*theme.boards)
        chips = theme.chips if rng.random() < 0.5 or len(theme.chips) == 1 else (rng.choice(theme.chips),)
        self.made = [rng.choice(chips) for _ in range(count)]
        records = count + MARGIN
        if product.key == "own" and not product.burns and rng.random() < theme.doubled_share:
            self.people.spoiled.add(rng.randint(1, count))
        if (product.serial not in ("", "flag") or product.mac) and rng.random() < theme.doubled_share:
            column = "serial" if product.serial not in ("", "flag") else "mac"
            if not product.whole or product.mac:
                second = rng.randint(2, count)
                self.people.doubled[second, column] = rng.randrange(1, second)
        self.one_layout = len({one.chip == "esp32" for one in self.made}) == 1
        self.never: set[int] = set()
        for board in range(count):
            if rng.random() < theme.content_share:
                self._give_content(board, rng.choice(theme.contents), records)
        self.twins: frozenset[int] = frozenset()
        if theme.twins:
            first = self.made[0]
            self.made.append(Made(first.chip, first.settings, twin_of=0))
            self.twins = frozenset((0, len(self.made) - 1))
        name = rng.choice(("", "main"))
        self.main = Line(name, folder / "main", self.people, range(1, records + 1), forms=self._forms())
        self.other = Line("other", folder / "other", self.people, self._others(records), forms=self._forms())
        self.copy: tuple[Path, frozenset[int]] | None = None
        self.strangers: set[int] = set()  # boards that were burned under a ledger that is not this one
        self.aside: set[int] = set()  # those of them that are not put in again
        self.number = 0
        self.stationed = False  # the first station's script has run

    def _forms(self) -> list[str]:
        rng = self.rng
        first = rng.choice(self.theme.forms)
        two = rng.random() < self.theme.two_files and len(self.people.product.columns) > 2
        return [first, rng.choice(self.theme.forms)] if two else [first]

    def _others(self, records: int) -> list[int]:
        """Identities of the other line: some of the first one's, at other places, and some that are new."""
        rng = self.rng
        if self.theme.shared == (0, 0):
            return list(range(1, records + 1))
        own = [FIRST_OF_OTHERS + n for n in range(records)]
        shared = rng.sample(range(1, records + 1), rng.randint(*self.theme.shared))
        places = sorted(rng.sample(range(len(own)), len(shared)))
        for place, who in zip(places, shared, strict=True):
            own[place] = who
        return own

    def _give_content(self, board: int, kind: str, records: int) -> None:
        """A board that somebody has burned before."""
        rng, made, product = self.rng, self.made[board], self.people.product
        who = rng.randint(1, records)
        controller = ControllerKind.CLASSIC if made.chip == "esp32" else ControllerKind.PGM
        user = self.people.user_block(who, controller)
        by_value = product.serial not in ("", "bits", "flag")  # single bits may stand beside others
        by_bits = product.mac == "bits" or product.serial in ("bits", "flag")
        if kind == "whole" and user and product.key == "" and not product.counter and not by_bits:
            self.made[board] = Made(made.chip, made.settings, content=((USER, user),))
        elif kind == "part" and by_value and not product.whole:
            self.made[board] = Made(made.chip, made.settings, content=((USER, (1000 + who) << 56),))
        elif kind == "more" and by_value:
            self.made[board] = Made(made.chip, made.settings, content=((USER, 1023 << 56),))
        elif kind == "key" and product.key and controller is ControllerKind.PGM:
            self.made[board] = Made(made.chip, made.settings, content=((4, (1 << 256) - 1),))
        elif kind == "purpose" and product.key and product.hidden and controller is ControllerKind.PGM:
            self.made[board] = Made(made.chip, made.settings, content=(("KEY_PURPOSE_0", OTHER_PURPOSE),))
        elif kind == "crc" and controller is ControllerKind.CLASSIC:
            self.made[board] = Made(made.chip, made.settings, content=(("MAC_CRC", 0xFF),))
            self.never.add(board)
        elif kind == "counter" and product.counter and controller is ControllerKind.PGM:
            self.made[board] = Made(made.chip, made.settings, content=(("SECURE_VERSION", 3),))

    def play(self) -> None:
        """All steps; stops at the first violation."""
        rng, theme = self.rng, self.theme
        powered = rng.random() < theme.powered_share
        with Bench(self.folder, self.made, seed=self.seed, stay_powered=powered) as bench:
            self.bench = bench
            self.checker = IdentityChecker(bench, self.ledger, self.people, self.one_layout, twins=self.twins)
            self.checker.meet()
            self.result.log.append(
                f"seed {self.seed}: {self.people.product}, {self.people.doubled}, {powered=}"
            )
            names, weights = zip(*theme.steps, strict=True)
            for _ in range(rng.randint(*theme.runs)):
                step = rng.choices(names, weights)[0]
                self.result.counts[f"step {step}"] += 1
                self.result.log.append(f"step {step}")
                STEP[step](self)
                if self.result.violations:
                    return
            if theme.sure_end:
                self._finish()
            self.result.counts["campaigns"] += 1

    # One run --------------------------------------------------------------------------------------------

    def boards(self, *, without: Sequence[int] = ()) -> list[int]:
        """Some boards, mostly such that are not done."""
        rng = self.rng
        everybody = [n for n in range(self.bench.boards) if n not in self.aside.union(without)]
        todo = [n for n in everybody if n not in self.checker.passed]
        seats = rng.randint(*self.theme.seats)
        some = rng.sample(todo, min(len(todo), seats - round(seats * self.theme.done_share)))
        done = [n for n in everybody if n in self.checker.passed]
        some += rng.sample(done, min(len(done), max(round(seats * self.theme.done_share), seats - len(some))))
        if self.twins and set(some) & self.twins:  # never both at once: that is another campaign's
            some = [n for n in some if n not in self.twins] + [rng.choice(sorted(self.twins))]
        rng.shuffle(some)
        return some[:seats]

    def run(
        self,
        line: Line,
        slots: Sequence[int],
        *,
        declares: bool = True,
        faults: bool = True,
        kills: bool = True,
        forbidden: str = "",
        open_to_all: bool = False,
        options: Sequence[str] = (),
        new_ledger: bool = True,
        first_part: bool = False,
    ) -> Ended:
        """Run a line's command on these boards and look at what came of it."""
        rng, theme = self.rng, self.theme
        drawn = self._faults(slots) if faults else {}
        crash, kill_after_s = self._kill(slots) if kills and rng.random() < theme.kill_share else (None, None)
        ports = self.bench.set_up(slots, drawn, seed=rng.randrange(1 << 30))
        self.number += 1
        report = self.folder / f"report{self.number}.{rng.choice(('jsonl', 'csv'))}"
        words = line.command(ports, self.ledger, declares=declares, rng=rng)
        words += ["--report", str(report), *options]
        if first_part:
            words[words.index(str(line.script))] = str(line.script.with_name(FIRST_STATION))
        if not new_ledger:
            words.remove("--new-ledger")
        hasty = bool(drawn) or crash is not None or rng.random() < theme.hasty_share
        self.result.log.append(
            f"  {line.name or 'by content'} boards {list(slots)} {crash or kill_after_s} {drawn}"
        )
        running = start_forked(
            words,
            folder=self.folder,
            crash=crash,
            mutation=self.mutation,
            hasty=hasty and not theme_waits(rng),
        )
        ended = running.ended(kill_after_s=kill_after_s)
        played = Played(
            line.name, tuple(line.who), dict(zip(ports, slots, strict=True)), ended, report,
            forbidden=forbidden, open_to_all=open_to_all, first_part=first_part,
        )  # fmt: skip
        self._settle([played])
        return ended

    def _settle(self, runs: list[Played]) -> None:
        fired = self.bench.settle()
        counts = self.result.counts
        counts["faults struck"] += sum(map(len, fired.values()))
        counts.update(f"struck {self.kind_of[one]}" for struck in fired.values() for one in struck)
        for run in runs:
            counts["runs"] += 1
            counts["board runs"] += len(run.ports)
            counts["killed"] += run.ended.exit == KILLED
            self._read(run)
        self.result.violations += self.checker.violations(runs, fired)

    def _read(self, run: Played) -> None:
        ended = run.ended
        said = ended.stdout + ended.stderr
        if "error inside parburn" in said or "Traceback" in ended.stderr or ended.exit == 70:
            at = max(0, said.find("error inside parburn") - 300)
            self.result.violations.append(f"a defect: {said[at:][:1500]}\n{ended.stderr[-3000:]}")
        self.result.log.append(f"  exit {ended.exit}")
        for line in ended.stdout.splitlines():
            try:
                event = json.loads(line)
            except ValueError:
                continue
            if event["event"] == "result":
                self.result.counts[f"result {event['result']}"] += 1
                board = run.ports.get(event["port"])
                self.result.log.append(
                    f"  board {board} {event['chip']} {event['index']} {event['result']} {event['error']}"
                )
            elif event["event"] == "error":
                self.result.counts["refused as a whole"] += 1
                self.result.log.append(f"  {event['error']} {event['hint']}")

    def _faults(self, slots: Sequence[int]) -> dict[int, list[str]]:
        rng, drawn = self.rng, {}
        for board in slots:
            if self.theme.kinds and rng.random() < self.theme.fault_share:
                kind = rng.choice(self.theme.kinds)
                sentence = KINDS[kind](rng, len(slots), self.made[board].chip)
                self.kind_of[sentence] = kind
                drawn[board] = [sentence]
                self.result.counts[f"drawn {kind}"] += 1
        return drawn

    def _kill(self, slots: Sequence[int]) -> tuple[Crash | None, float | None]:
        rng = self.rng
        kind = rng.choice(self.theme.kills)
        self.result.counts[f"kill by {kind}"] += 1
        port = f"ttyUSB{rng.randrange(len(slots))}"
        if kind == "time":
            return None, rng.uniform(0.02, LONGEST_RUN_S)
        if kind == "ledger":
            when = rng.choice(self.theme.ledger_kills)
            return Crash("ledger", rng.randint(1, LEDGER_WRITES), when), None
        if kind == "witness":
            return Crash("witness", rng.randint(1, WITNESSES), rng.choice(("before", "torn", "after"))), None
        if kind == "command":
            command, when = rng.choice(("program", "read")), rng.choice(("before", "torn", "after"))
            sent = rng.randrange(1, COMMAND_BYTES) if when == "torn" else 0
            return Crash(command, rng.choice(COMMANDS), when, port, sent), None
        return Crash("packet", rng.randint(1, FRAMES), rng.choice(("before", "torn", "after")), port), None

    # What happens to files ------------------------------------------------------------------------------

    def used(self, line: Line) -> list[int]:
        """Indexes of a line that chips carry, as its ledger has them."""
        batch = line.name or self.batch_by_content()
        return sorted(u.index for u in units_of(self.ledger) if u.batch == batch and u.spent and u.index)

    def carried(self, line: Line) -> list[int]:
        """Those of them whose records the ledger knows."""
        batch = line.name or self.batch_by_content()
        units = [u for u in units_of(self.ledger) if u.batch == batch and u.reason != USED_BEFORE]
        return sorted(u.index for u in units if u.spent and u.index)

    def batch_by_content(self) -> str:
        """The batch of the line that names none. Records that chips carry tell it; where nothing is known but
        that indexes are used, the same files may be another batch's by now."""
        units = [u for u in units_of(self.ledger) if u.batch.startswith("config-") or u.batch == RENAMED]
        carrying = [u for u in units if u.spent and u.reason != USED_BEFORE]
        own = [u for u in units if u.batch != RENAMED]
        return next((u.batch for u in (*carrying, *own)), "")

    def step_run(self) -> None:
        """The daily run."""
        self.run(self.main, self.boards())

    def step_station(self) -> None:
        """The first of two stations, with the batch and all of its files."""
        product = self.people.product
        if not product.key or product.guarded or not product.user_block_burned:
            self.step_run()
        else:
            self.stationed = True
            self.run(self.main, self.boards(), first_part=True)

    def step_comment(self) -> None:
        """Somebody edits a comment of the script."""
        self.main.edit_script()
        self.run(self.main, self.boards())

    def step_append(self) -> None:
        """Records come behind those that are there."""
        first = 1 + max(who for who in self.main.who if who is not None and who < FIRST_OF_OTHERS)
        self.main.who += range(first, first + self.rng.randint(1, 3))
        self.main.write_files()
        self.run(self.main, self.boards(), open_to_all=not self.theme.doubled_share)

    def step_rewrite(self) -> None:
        """The same records, written by another program."""
        self.main.write_files(self.rng.choice(("line ends", "spaces", "capitals")))
        self.run(self.main, self.boards())
        self.main.write_files()

    def step_shift(self) -> None:
        """A row that a chip carries is deleted: all that follow move up."""
        carried = self.carried(self.main)
        if len(carried) < (1 if self.main.name else 2):  # nothing would tell that it is this batch
            self.step_run()
            return
        before = list(self.main.who)
        del self.main.who[self.rng.choice(carried) - 1]
        self.main.write_files()
        self.run(self.main, self.boards(), forbidden="a record that a chip carries is gone from its place")
        self.main.who = before
        self.main.write_files()

    def step_blank(self) -> None:
        """A row that nobody has is blanked: no board gets its index."""
        free = [
            n for n, who in enumerate(self.main.who, 1) if who and n > max(self.used(self.main), default=0)
        ]
        held = {u.index for u in units_of(self.ledger)}
        free = [n for n in free if n not in held]
        if self.main.blanks and len(free) > MARGIN // 2:
            self.main.who[self.rng.choice(free) - 1] = None
            self.main.write_files()
        self.run(self.main, self.boards())

    def step_other(self) -> None:
        """Another batch, some of whose records are the first one's."""
        self.run(self.other, self.boards())

    def step_renamed(self) -> None:
        """The first line's files under another batch's name."""
        name, self.main.name = self.main.name, RENAMED
        self.run(self.main, self.boards())
        self.main.name = name

    def step_undeclared(self) -> None:
        """Nobody has said yet how the records lie in these files."""
        line = Line(
            f"new{self.number}", self.folder / f"new{self.number}", self.people,
            [who for who in self.main.who if who is not None], forms=[self.rng.choice(NEED_TELLING)],
        )  # fmt: skip
        self.run(
            line, self.boards(), declares=False, kills=False, forbidden="its records were never declared"
        )

    # What happens to processes --------------------------------------------------------------------------

    def step_two(self) -> None:
        """Two processes at once."""
        self._two(asking=False)

    def step_prompt(self) -> None:
        """One waits at its prompt while another burns."""
        self._two(asking=True)

    def _two(self, *, asking: bool) -> None:
        rng = self.rng
        slots = self.boards()
        if self.twins or len(slots) < 2:
            self.step_run()
            return
        cut = rng.randint(1, len(slots) - 1)
        lines = [self.main, rng.choice((self.main, self.other))]
        faults = self._faults(slots) if not asking else {}
        ports = self.bench.set_up(slots, faults, seed=rng.randrange(1 << 30))
        parts = [(lines[0], slice(0, cut)), (lines[1], slice(cut, None))]
        rng.shuffle(parts)
        running = []
        for n, (line, part) in enumerate(parts):
            waits = asking and n == 0
            words = line.command(ports[part], self.ledger, declares=True, rng=rng, asking=waits)
            one = start_forked(words, folder=self.folder, name=str(n), mutation=self.mutation,
                               hasty=bool(faults), asking=waits)  # fmt: skip
            running.append(one)
            if waits and not one.asks(ASKED) and not one.waits(ENDS_S):
                self.result.violations.append(f"neither asks nor ends: {one.shown}")
        ended: list[Ended] = []
        for n, one in reversed(list(enumerate(running))):
            kill_after_s = None
            if asking and n == 0:
                answer = rng.choice(self.theme.answers)
                if answer == "kill":
                    one.kill()
                elif not one.waits(0.0):
                    one.answer(answer)
            elif rng.random() < self.theme.kill_share / 2:
                kill_after_s = rng.uniform(0.02, LONGEST_RUN_S)
            ended.insert(0, one.ended(kill_after_s=kill_after_s))
        self._settle([
            Played(line.name, tuple(line.who), dict(zip(ports[part], slots[part], strict=True)), end, None)
            for (line, part), end in zip(parts, ended, strict=True)
        ])  # fmt: skip

    # What happens to ledgers ----------------------------------------------------------------------------

    def command(self, *words: str) -> Ended:
        """A `parburn ledger` command."""
        running = start_forked(
            ["ledger", *words, "--ledger", str(self.ledger)], folder=self.folder, name="ledger",
            mutation=self.mutation,
        )  # fmt: skip
        ended = running.ended()
        self.result.log.append(f"  ledger {' '.join(words)}: exit {ended.exit} {ended.stdout} {ended.stderr}")
        return ended

    def _files_of_ledger(self) -> list[Path]:
        return [p for p in self.folder.glob("ledger.sqlite*") if not p.name.endswith((".runs", ".lost"))]

    def step_lost(self) -> None:
        """The ledger is lost; a new one is begun, which is told or not told of the indexes given out."""
        if not units_of(self.ledger):
            self.step_run()
            return
        kept = [u for u in units_of(self.ledger) if u.spent and u.index is not None]
        named = self.main.name or self.batch_by_content()
        copy, known = self.folder / "lost.json", frozenset(self.checker.known)
        self._require(self.command("export", "--output", str(copy)), "ledger export")
        for path in self._files_of_ledger():
            if not path.name.endswith(".witness"):
                path.unlink()
        self.run(self.main, self.boards(), kills=False, forbidden="the ledger is missing")
        if self.result.violations:
            return
        self._require(self.command("init", "--why", "lost"), "ledger init")
        self.checker.known.clear()
        self.checker.passed.clear()
        self.checker.spent_elsewhere.clear()
        self.checker.forget()
        self.copy = None
        given = {(unit.chip, unit.mac) for unit in kept}
        self.strangers.update(n for n in range(self.bench.boards) if self.checker.key(n) in given)
        how = self.rng.choice(("nothing", "indexes", "ledger", "rebuild"))
        self.result.counts[f"lost, then told of {how}"] += 1
        if how == "rebuild":
            self._rebuild()
        elif how == "ledger":
            self._require(self.command("import-used", str(copy), "--why", "lost"), "import-used of a ledger")
            self.checker.known.update(known)
        elif how == "indexes" and named:
            used = self.folder / "used.txt"
            rows = [u for u in kept if u.batch == named]
            used.write_text("".join(f"{u.index},{u.chip},{u.mac}\n" for u in rows))
            self._require(self.command("import-used", str(used), "--batch", named, "--why", "lost"), "import")
            keys = {(u.chip, u.mac) for u in rows}
            for board, owner in self.checker.owners.items():
                if self.checker.key(board) in keys:
                    self.checker.spent_elsewhere[named, owner.who] = board
            if not self.main.name:
                self._go_on_by_name(named)
        self._set_aside()

    def _go_on_by_name(self, name: str) -> None:
        """A line that never named its batch has grown, and now its used indexes are all that is known."""
        self.main.who.append(
            1 + max(who for who in self.main.who if who is not None and who < FIRST_OF_OTHERS)
        )
        self.main.write_files()
        told = "which records its used indexes had is not known"
        self.run(self.main, self.boards(), kills=False, forbidden=told)
        self.main.name = name

    def _rebuild(self) -> None:
        """The boards tell whose they are. Nothing is burned, and none is bound to another's record."""
        slots = list(range(self.bench.boards))
        ports = self.bench.set_up(slots, {}, seed=self.seed)
        ended = self.command(*self.main.rebuild(ports, rng=self.rng), "--why", "lost")
        self.bench.settle()
        self._read(Played(self.main.name, (), {}, ended, None))
        self.result.violations += self.checker.rebuilt(tuple(self.main.who))

    def step_old(self) -> None:
        """An old copy of the ledger is put back, with its witness or without."""
        if self.copy is None:
            self._keep_copy()
            self.step_run()
            return
        folder, known = self.copy
        with_witness = self.rng.random() < 0.5
        newer = is_older(folder, self.ledger)
        for path in self._files_of_ledger():
            if with_witness or not path.name.endswith(".witness"):
                path.unlink()
        for path in folder.iterdir():
            if with_witness or not path.name.endswith(".witness"):
                shutil.copy(path, self.folder / path.name)
        self.checker.forget()
        if not with_witness and newer:
            self.run(self.main, self.boards(), kills=False, forbidden="the ledger is older than its witness")
            if self.result.violations:
                return
        if not with_witness:
            self._require(self.command("adopt", "--why", "a copy"), "ledger adopt")
        self.checker.known &= known
        self.checker.forget()
        self.checker.passed &= known
        self.copy = None
        self.strangers.update(set(self.checker.owners) - known)
        self._set_aside()

    def _set_aside(self) -> None:
        """Boards that another ledger does not know are not put in again where one bit is all that tells whose
        they are, and their block takes a second one: nothing but the lost ledger kept that from them."""
        self.checker.unbind()
        product, known = self.people.product, {(u.chip, u.mac) for u in units_of(self.ledger) if u.spent}
        for board in self.checker.owners if product.serial == "flag" and not product.mac else ():
            memory = self.bench.memory(board)
            coded = memory.pgm or memory.field_bits(memory.chip.coding_field or "")
            if self.checker.key(board) not in known and not coded:
                self.aside.add(board)

    def _keep_copy(self) -> None:
        folder = self.folder / "copy"
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()
        for path in self._files_of_ledger():
            shutil.copy(path, folder / path.name)
        if units_of(folder / self.ledger.name):
            self.copy = folder, frozenset(self.checker.known)

    def step_release(self) -> None:
        """A unit that is quarantined is tried again with its own index."""
        bad = [u for u in units_of(self.ledger) if u.state == "quarantined"]
        if bad:
            unit = self.rng.choice(bad)
            self._require(self.command("release", unit.mac, "--why", "examined"), "ledger release")
        self.run(self.main, self.boards())

    def step_scrap(self) -> None:
        """A board is dead: it is written off, and its record with it."""
        boards = [n for n in self.checker.owners if n in self.checker.known and n not in self.twins]
        if boards:
            board = self.rng.choice(boards)
            mac = self.checker.key(board)[1]
            self._require(self.command("scrap", mac, "--why", "broken"), "ledger scrap")
            self.checker.scrapped[board] = self.bench.memory(board).cells
            self.strangers.add(board)
        self.run(self.main, self.boards())

    def step_unmade(self) -> None:
        """Nobody has said that a ledger may be made."""
        if self.ledger.exists():
            self.step_run()
        else:
            self.run(self.main, self.boards(), kills=False, new_ledger=False, forbidden="there is no ledger")

    def step_week(self) -> None:
        """A file that the script reads is another one now."""
        if self.people.product.week == "file":
            self.people.turn_week()
        self.run(self.main, self.boards())

    def _require(self, ended: Ended, what: str) -> None:
        if ended.exit:
            self.result.violations.append(f"{what} ended with {ended.exit}: {ended.stdout}{ended.stderr}")

    # At the end -----------------------------------------------------------------------------------------

    def _finish(self) -> None:
        """Mend the files, take all faults away: whoever is sound and came blank must pass."""
        line, checker = self.main, self.checker
        burned = {line.who[index - 1] for index in self.used(line) if index <= len(line.who)}
        burned |= {owner.who for owner in checker.owners.values()}
        for mistake in [one for one in self.people.doubled if one[0] not in burned]:
            del self.people.doubled[mistake]
        self.people.spoiled &= burned
        first = 1 + max(who for who in line.who if who is not None and who < FIRST_OF_OTHERS)
        line.who += range(first, first + self.bench.boards)
        for number in range(ROUNDS):
            self._blank_taken(line)
            line.write_files()
            waiting = [n for n in range(self.bench.boards) if self._must_pass(n)]
            slots = [n for n in waiting if n not in checker.passed] or waiting[:1]
            if not slots:
                return
            first_part = number == 0 and self.stationed  # some may have been begun there
            self.run(line, slots, faults=False, kills=False, first_part=first_part)
            if self.result.violations:
                return
            if all(n in checker.passed for n in waiting):
                self.result.counts["sound boards end pass"] += len(waiting)
                return
        left = [n for n in waiting if n not in checker.passed and not self._doubled(n)]
        if left:
            self.result.violations.append(f"boards {left} did not pass with everything mended")

    def _doubled(self, board: int) -> bool:
        """Whether it holds one of two records with one value, one of which a chip has: nothing mends it."""
        pair = {who for (who, _), other in self.people.doubled.items() for who in (who, other)}
        key, who = self.checker.key(board), self.main.who
        held = {u.index for u in units_of(self.ledger) if (u.chip, u.mac) == key and u.index is not None}
        return any(index <= len(who) and who[index - 1] in pair for index in held)

    def _blank_taken(self, line: Line) -> None:
        """What an operator does whose files hold records of another batch's chips."""
        batch = line.name or self.batch_by_content()
        own = {(u.chip, u.mac): u.index for u in units_of(self.ledger) if u.batch == batch and u.spent}
        owners = self.checker.owners
        carried = {one.who for board, one in owners.items() if own.get(self.checker.key(board)) is not None}
        spent = self.used(line)  # nobody gets these again, and what they say must stay
        for owner in owners.values():
            if owner.who in line.who and owner.who not in carried:
                place = line.who.index(owner.who)
                if place + 1 not in spent:
                    self._strike(line, place)

    def _strike(self, line: Line, place: int) -> None:
        """Take a record out: blank it, or where a form has no blanks put one there that nobody has."""
        fresh = 1 + max(who for who in line.who if who is not None and who < FIRST_OF_OTHERS)
        line.who[place] = None if line.blanks else fresh

    def _quarantined(self, board: int) -> bool:
        """For a block in which a fault struck: the checker has seen that."""
        key = self.checker.key(board)
        return any((u.chip, u.mac) == key and u.state == "quarantined" for u in units_of(self.ledger))

    def _must_pass(self, board: int) -> bool:
        """Whether it came blank, is the main line's or nobody's, and is not quarantined."""
        checker = self.checker
        if board in self.twins | self.strangers or self._quarantined(board):
            return False
        if checker.factory[board] != checker.blank[board]:
            return False
        batch = self.main.name or self.batch_by_content()
        spent = [u for u in units_of(self.ledger) if (u.chip, u.mac) == checker.key(board) and u.spent]
        if any(unit.batch != batch for unit in spent):
            return False
        owner = checker.owners.get(board)
        if owner is not None and owner.who in self.people.spoiled:
            return False
        if self.people.product.week and checker.week_of(board) != self.people.week:
            return board in checker.passed  # the files of its script are not what they were
        return owner is None or bool(spent)


def theme_waits(rng: random.Random) -> bool:
    """Whether a run has the silence floor that ships although it is disturbed."""
    return rng.random() < 0.1


def is_older(folder: Path, ledger: Path) -> bool:
    """Whether the copy in a folder is older than its ledger's witness."""
    now = json.loads(ledger.with_name(ledger.name + ".witness").read_text())
    then = json.loads((folder / (ledger.name + ".witness")).read_text())
    return bool(now["sequence"] > then["sequence"])


NEED_TELLING = tuple(name for name, form in FORMS.items() if form.declared)
STEP: Mapping[str, Callable[[IdentityCampaign], None]] = {
    "run": IdentityCampaign.step_run,
    "station": IdentityCampaign.step_station,
    "comment": IdentityCampaign.step_comment,
    "append": IdentityCampaign.step_append,
    "rewrite": IdentityCampaign.step_rewrite,
    "shift": IdentityCampaign.step_shift,
    "blank": IdentityCampaign.step_blank,
    "other": IdentityCampaign.step_other,
    "renamed": IdentityCampaign.step_renamed,
    "undeclared": IdentityCampaign.step_undeclared,
    "two": IdentityCampaign.step_two,
    "prompt": IdentityCampaign.step_prompt,
    "lost": IdentityCampaign.step_lost,
    "old": IdentityCampaign.step_old,
    "release": IdentityCampaign.step_release,
    "scrap": IdentityCampaign.step_scrap,
    "unmade": IdentityCampaign.step_unmade,
    "week": IdentityCampaign.step_week,
}
