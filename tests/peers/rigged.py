"""Runs cases through the installed `parburn` command on simulated boards, many cases to a run.

Each case has a board of its own, prepared with the case's start bits. Step n of all cases is one run of the
command: its script looks up, by the board's MAC, which commands are its board's. Cases that need options of
their own (an index, config files, a custom table) run alone. What the chips hold afterwards is read from the
boards' files, behind the back of the driver.

What boards of one run share is made different first: file names and MAC addresses get the case's number.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from parburn.chips.registry import chip_named
from parburn.sim.state_file import BoardFile, read_board
from tests.command import Outcome as CommandOutcome
from tests.command import parburn
from tests.peers.case import FACTORY_MAC, Case, FileContent, factory_bits
from tests.peers.client import (
    ChipState,
    Commands,
    FieldState,
    Outcome,
    Scripts,
    Step,
    StepOutcome,
    parse_fields,
)
from tests.peers.linked import product_with
from tests.rig import Rig, start_rig

PASSED = ("pass", "already-pass")
MAC_TEXT = re.compile(r"\b([0-9a-fA-F]{2}:){5}[0-9a-fA-F]{2}\b")
PROBE = """
efuses.burn_all()
shown = {{field.name: {{
    "get": field.get(), "meaning": field.get_meaning(), "bits": hex(field.get_bitstring().uint),
    "readable": field.is_readable(), "writeable": field.is_writeable(),
}} for field in efuses}}
with open({file!r}, "w") as probe:
    json.dump(shown, probe)
"""
DISPATCH = """
with open("plan.json") as plan:
    mine = json.load(plan)[bytes(esp.read_mac()).hex()]
for line in mine["lines"]:
    espefuse(esp, efuses, args, line)
exec(mine["probe"])
"""


@dataclass(frozen=True)
class Rigged:
    """A case on its board."""

    number: int
    case: Case
    mac: bytes

    @property
    def needs_own_run(self) -> bool:
        """Whether the case cannot share a run of the command."""
        alone = (
            isinstance(step, Scripts) and (step.index is not None or step.configs) for step in self.case.steps
        )
        return self.case.table is not None or any(alone)

    def start_bits(self) -> dict[int, int]:
        """Block bits before the first step, with this board's factory MAC."""
        bits = factory_bits(self.case.chip, self.case.coding, self.mac, revision=self.case.revision)
        for index, more in self.case.start.items():
            bits[index] = bits.get(index, 0) | more
        return bits


def rigged(cases: Sequence[Case]) -> list[Rigged]:
    """Give each case a board, and make its names its own."""
    return [
        Rigged(number, _own(case, number), FACTORY_MAC[:4] + number.to_bytes(2, "big"))
        for number, case in enumerate(cases)
    ]


def _own(case: Case, number: int) -> Case:
    names = {name: f"c{number}_{name}" for name in case.files}
    pattern = re.compile("|".join(rf"(?<![\w.]){re.escape(name)}(?![\w.])" for name in names) or "(?!)")

    def mac(found: re.Match[str]) -> str:
        parts = found[0].split(":")
        return ":".join((*parts[:3], f"{number:02x}", *parts[4:]))

    def text(old: str) -> str:
        return MAC_TEXT.sub(mac, pattern.sub(lambda found: names[found[0]], old))

    def content(old: FileContent) -> FileContent:
        return text(old) if isinstance(old, str) else old

    def step(old: Step) -> Step:
        if isinstance(old, Commands):
            return Commands(tuple(map(text, old.lines)))
        return Scripts(tuple(map(text, old.names)), old.index, tuple(map(text, old.configs)))

    files = {names[name]: content(old) for name, old in case.files.items()}
    return replace(case, files=files, steps=tuple(map(step, case.steps)))


def run_on_rig(boards: Sequence[Rigged], folder: Path) -> list[Outcome]:
    """Run cases of one chip on a rig. `folder` is the current folder and becomes full of the cases' files."""
    for one in boards:
        one.case.write_files(folder)
        _make_board(one, folder / "boards" / f"ttyUSB{boards.index(one)}.json")
    with start_rig(boards[0].case.chip, len(boards), folder, state=folder / "boards") as rig:
        starts = [ChipState(_visible(rig, n), None) for n in range(len(boards))]
        steps: list[list[StepOutcome]] = [[] for _ in boards]
        together = [n for n, one in enumerate(boards) if not one.needs_own_run]
        for step in range(max((len(boards[n].case.steps) for n in together), default=0)):
            taking = [n for n in together if step < len(boards[n].case.steps)]
            for n, outcome in _together(rig, boards, taking, step, folder).items():
                steps[n].append(outcome)
        for n in set(range(len(boards))) - set(together):
            steps[n] = [_alone(rig, boards[n], n, step, folder) for step in range(len(boards[n].case.steps))]
    return [Outcome(start, tuple(done)) for start, done in zip(starts, steps, strict=True)]


def _make_board(one: Rigged, path: Path) -> None:
    path.parent.mkdir(exist_ok=True)
    product = product_with(one.case.chip, one.start_bits())
    BoardFile(path, product).write()


def _together(
    rig: Rig, boards: Sequence[Rigged], taking: Sequence[int], step: int, folder: Path
) -> dict[int, StepOutcome]:
    plan = {}
    for n in taking:
        asked = boards[n].case.steps[step]
        lines = (
            list(asked.lines) if isinstance(asked, Commands) else [f"execute_scripts {' '.join(asked.names)}"]
        )
        ends = chip_named(boards[n].case.chip).link_end_by_field
        cut = any(name in line for line in lines for name in ends)  # afterwards it cannot be asked any more
        probe = "" if cut else PROBE.format(file=f"state{n}.json")
        plan[boards[n].mac.hex()] = {"lines": lines, "probe": probe}
    (folder / "plan.json").write_text(json.dumps(plan))
    (folder / "dispatch.py").write_text(DISPATCH)
    ports = [rig.ports[n] for n in taking]
    ended = _parburn(
        ["--ports", *ports, "--scripts", "dispatch.py"], folder / f"ledger-{step}", chip=boards[0].case.chip
    )
    results = {result["port"]: result for result in ended.results}
    return {n: _step_outcome(rig, n, results[rig.ports[n]], folder / f"state{n}.json") for n in taking}


def _alone(rig: Rig, one: Rigged, n: int, step: int, folder: Path) -> StepOutcome:
    asked = one.case.steps[step]
    assert isinstance(asked, Scripts)
    (folder / "probe.py").write_text(PROBE.format(file=f"state{n}.json"))
    arguments = ["--ports", rig.ports[n], "--scripts", *asked.names, "probe.py", "--allow-fixed-index"]
    if asked.index is not None:
        arguments += ["--index", str(asked.index)]
    if asked.configs:
        arguments += ["--configfiles", *asked.configs]
    if one.case.table is not None:
        (folder / "table.csv").write_text(one.case.table)
        arguments += ["--extend-efuse-table", "table.csv"]
    ended = _parburn(arguments, folder / f"ledger-{n}-{step}", chip=one.case.chip)
    return _step_outcome(rig, n, ended.results[0], folder / f"state{n}.json")


def _parburn(arguments: Sequence[str], state: Path, *, chip: str) -> CommandOutcome:
    """One run, with a ledger of its own: what may be burned is the chip's answer here, not the record's. The
    cases are no units of one product: what their blocks hold may be equal."""
    same = [word for block in chip_named(chip).blocks[1:] for word in ("--same", block.name)]
    ended = parburn(*arguments, *same, "--do-not-confirm", "--json", state=state)
    assert ended.events, ended.stderr
    assert ended.events[-1]["event"] == "summary", ended.stderr
    return ended


def _step_outcome(rig: Rig, n: int, result: Mapping[str, Any], probed: Path) -> StepOutcome:
    fields: Mapping[str, FieldState] | None = None
    if probed.exists():
        fields = parse_fields(json.loads(probed.read_text()))
        probed.unlink()
    return StepOutcome(
        accepted=result["result"] in PASSED,
        where=result["result"],
        message=result["error"],
        crash="",
        half_staged=False,
        says=None,
        state=ChipState(_visible(rig, n), fields),
    )


def _visible(rig: Rig, n: int) -> dict[int, int]:
    """What the chip's read registers show after a reset, by the simulator's own computing."""
    memory = read_board(rig.states[n]).product.memory
    return {block.index: memory.visible(block.index) for block in memory.chip.blocks}
