"""Runs a case's steps through parburn's script host and planner on an image in memory: no link, no simulator.

The device is played by `MemoryCalls`, which plans each burn and applies the plan to the image, as a dry run
does. What comes out has the same form as a peer's outcome, so that the two can be compared.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from parburn.chips.describe import chip_revision
from parburn.chips.model import Chip, RegisterWrite
from parburn.chips.registry import chip_named
from parburn.chips.table import extend_chip, parse_custom_table
from parburn.config.records import load_config_files
from parburn.efuse import values
from parburn.efuse.held_back import NOTHING_HELD, HeldBack, plan_to_the_end
from parburn.efuse.image import BlockStatus, EfuseImage
from parburn.efuse.staging import StagedBurns
from parburn.efuse.user_values import Written
from parburn.errors import IdentityUnclear, ParburnError
from parburn.hardware.identify import check_mac_crc
from parburn.script.runner import compile_scripts, run_scripts
from parburn.script.session import DeviceFacts, ScriptOptions
from tests.peers.client import ChipState, Commands, FieldState, Outcome, Scripts, Step, StepOutcome

SAID = "::"


class MemoryCalls:
    """The device behind a script: an image, and every burn applied to it."""

    def __init__(self, image: EfuseImage) -> None:
        self.image = image

    async def burn(
        self,
        staged: StagedBurns,
        image: EfuseImage,
        written: tuple[Written, ...],
        held: HeldBack = NOTHING_HELD,
    ) -> EfuseImage:
        """Plan, and apply the plan."""
        self.image = plan_to_the_end(self.image, staged, held).apply(self.image)
        return self.image

    async def held_back(self, held: HeldBack) -> None:
        """It comes with the last burn."""

    async def read_blocks(self, indexes: frozenset[int]) -> EfuseImage:
        """All blocks are known."""
        return self.image

    async def read_registers(self, addresses: tuple[int, ...]) -> list[int]:
        """Read registers of the eFuse blocks; all others are 0."""
        found = []
        for address in addresses:
            value = self.image.registers.get(address, 0)
            for block in self.image.chip.blocks:
                word, rest = divmod(address - block.read_address, 4)
                if rest == 0 and 0 <= word < block.words:
                    value = self.image.block(block.index) >> 32 * word & 0xFFFFFFFF
            found.append(value)
        return found

    async def write_registers(self, writes: tuple[RegisterWrite, ...]) -> None:
        """Nothing but eFuses is kept."""


class MemoryBoard:
    """One board from its start bits to the end of its sequence."""

    def __init__(self, chip_name: str, start: Mapping[int, int], *, folder: Path, table: str | None) -> None:
        self.folder = folder
        self.chip_name, self.table = chip_name, table
        self.calls = MemoryCalls(_image(chip_named(chip_name), start))
        self._look()

    def _look(self) -> None:
        """See the chip as a new run would: a burned revision may mean another table of fields."""
        image = self.calls.image
        self.revision = chip_revision(image.chip, lambda name: _value(image, name))
        chip = chip_named(self.chip_name, revision=100 * self.revision[0] + self.revision[1])
        if self.table is not None:
            chip = extend_chip(chip, parse_custom_table(self.table, file="table.csv"))
        self.calls.image = image._replace(chip=chip)

    async def run(self, steps: Sequence[Step], *, go_on: bool = True) -> Outcome:
        """Run the steps; with a refused one the rest only if `go_on`."""
        start = self.state()
        outcomes = []
        for step in steps:
            outcomes.append(await self._step(step))
            if not outcomes[-1].accepted and not go_on:
                break
        return Outcome(start, tuple(outcomes))

    async def summary(self) -> Mapping[str, Mapping[str, object]] | None:
        """What `summary --format json` writes; None for a chip that a run refuses."""
        try:
            self._identify()
        except IdentityUnclear:
            return None
        path = self.folder / "our_summary.json"
        await self._step(Commands(("summary --format json --file our_summary.json",)))
        found = json.loads(path.read_text())
        path.unlink()
        assert isinstance(found, dict)
        return found

    def state(self) -> ChipState:
        """All read registers and what every listed field shows."""
        image = self.calls.image
        return ChipState(dict(image.blocks), read_fields(image))

    async def _step(self, step: Step) -> StepOutcome:
        printed: list[str] = []
        error: Exception | None
        where = "script"
        try:
            self._identify()
            with contextlib.chdir(self.folder):
                error = await self._run_scripts(as_scripts(step, self.folder), printed)
            if error is None:
                where = "burn"
        except ParburnError as refused:
            error = refused
        self._look()
        said = tuple(line for line in "".join(printed).splitlines() if line.startswith(SAID))
        message = "" if error is None else str(error)
        return StepOutcome(
            error is None, "" if error is None else where, message, "", False, said, self.state()
        )

    def _identify(self) -> None:
        """What a run looks at before any script. Raises IdentityUnclear."""
        check_mac_crc(self.calls.image, self._facts(None).mac)

    async def _run_scripts(self, step: Scripts, printed: list[str]) -> Exception | None:
        compiled = compile_scripts([Path(name) for name in step.names])
        files = load_config_files(Path(name) for name in step.configs)
        # As the originals have it: an index written into a nested execute_scripts is taken.
        options = ScriptOptions(config_files=files, allow_fixed_index=True)
        outcome = await run_scripts(
            compiled, self._facts(step.index), self.calls.image, self.calls, options, on_output=printed.append
        )
        if outcome.error is not None:
            return outcome.error
        if outcome.staged or outcome.held:
            await self.calls.burn(outcome.staged, outcome.image, outcome.written, outcome.held)
        return None

    def _facts(self, index: int | None) -> DeviceFacts:
        image = self.calls.image
        major, minor = self.revision
        mac = image.field_bits(image.field_named(image.chip.mac_field)).to_bytes(6, "big")
        return DeviceFacts(
            port="memory", chip=image.chip, index=index, mac=mac, major=major, minor=minor, crystal_mhz=40,
            package=0, security_flags=0, secure_download=False,
        )  # fmt: skip


def _image(chip: Chip, start: Mapping[int, int]) -> EfuseImage:
    """A chip that holds these bits. Registers outside the eFuses lend ESP32 the third bit of its revision."""
    return EfuseImage(
        chip=chip,
        blocks={block.index: start.get(block.index, 0) for block in chip.blocks},
        status={block.index: BlockStatus() for block in chip.blocks},
        registers=dict.fromkeys(chip.extra_registers, 1 << 31),
    )


def read_fields(image: EfuseImage) -> dict[str, FieldState]:
    """What every listed field shows."""
    return {
        f.name: FieldState(
            values.get(image, f),
            values.get_meaning(image, f),
            values.bitstring_of(image, f).uint,
            image.is_readable(f),
            image.is_writeable(f),
        )
        for f in image.fields()
    }


def _value(image: EfuseImage, name: str) -> int:
    return image.field_bits(image.chip.field_by_name[name][0])


def as_scripts(step: Step, folder: Path) -> Scripts:
    """Command lines become the script that stages them; scripts stay as they are."""
    if isinstance(step, Scripts):
        return step
    text = "".join(f"espefuse(esp, efuses, args, {line!r})\n" for line in step.lines)
    (folder / "our_commands.py").write_text(text)
    return Scripts(("our_commands.py",))


def run_in_memory(
    chip: str,
    start: Mapping[int, int],
    steps: Sequence[Step],
    *,
    folder: Path,
    table: str | None = None,
    with_summary: bool = False,
) -> Outcome:
    """Run a sequence on an image in memory. `with_summary`: the last state carries the JSON summary."""

    async def run() -> Outcome:
        board = MemoryBoard(chip, start, folder=folder, table=table)
        outcome = await board.run(steps)
        if not with_summary or not outcome.steps:
            return outcome
        last = outcome.steps[-1]
        last = replace(last, state=replace(last.state, summary=await board.summary()))
        return Outcome(outcome.start, (*outcome.steps[:-1], last))

    return asyncio.run(run())
