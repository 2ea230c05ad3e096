"""Runs a case's steps as whole runs of parburn over a real pty: fleet, driver, link, ROM, controller, bits.

The board's simulator is served by a thread of this process, so that hundreds of sequences are affordable.
Each step is a run of its own: the port is opened, the chip identified, the scripts run, the bits burned and
read back; closing the port switches the board off. What the chip then holds is taken from the simulator,
behind the back of the driver, and must be what a new reader gets over the pty.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import random
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from anyio import to_thread

from parburn.chips.describe import chip_revision
from parburn.chips.model import ControllerKind
from parburn.chips.registry import chip_named
from parburn.events import DeviceReport
from parburn.fleet import burn_fleet
from parburn.hardware.identify import identify
from parburn.hardware.rom_loader import RomLoader
from parburn.job import Job, TableOption
from parburn.run.checked_job import check_job
from parburn.run.shared import PlanOfBoard
from parburn.run.tables import TableSet
from parburn.sim.board import BOOT_S, SimulatedBoard
from parburn.sim.factory import Product, make_product
from parburn.sim.pty_port import PtyPort
from parburn.sim.rig import Rig
from parburn.transport.open import open_stream
from tests.peers.board import SAID, as_scripts, read_fields
from tests.peers.client import ChipState, Commands, Outcome, Step, StepOutcome

SUMMARY_FILE = "our_summary.json"


@contextlib.contextmanager
def served(board: SimulatedBoard, link: Path) -> Iterator[None]:
    """The board answers on a pty, under the link's name, until the block ends."""

    def no_swap(gone: SimulatedBoard) -> SimulatedBoard:
        raise AssertionError(f"nobody asked for another board than {gone.chip.title}")

    stop, stopped = os.pipe()
    rig = Rig([PtyPort(board, link)], stay_powered=False, new_board=no_swap)
    rig.stop_on(stop)
    rig.open()
    thread = threading.Thread(target=rig.serve, name="simulated board")
    thread.start()
    try:
        yield
    finally:
        os.write(stopped, b"\0")
        thread.join()
        rig.close()
        os.close(stop)
        os.close(stopped)


def product_with(chip_name: str, start: Mapping[int, int]) -> Product:
    """A board as made whose chip holds these bits, of the revision that they say."""
    plain = chip_named(chip_name)

    def value(name: str) -> int:
        one = plain.field_by_name[name][0]
        if one.sources:  # of the fields that make the revision; the classic chip's is given with the board
            return sum(value(s.field) << s.shift for s in one.sources if s.field)
        return (start.get(one.block, 0) & one.mask) >> (one.start or 0)

    major, minor = (3, 0) if plain.controller is ControllerKind.CLASSIC else chip_revision(plain, value)
    product = make_product(
        chip_name, mac=bytes(6), settings={"revision": f"{major}.{minor}"}, rng=random.Random(1)
    )
    for block in product.chip.blocks:
        product.memory.preset(block.index, start.get(block.index, 0))
    return product


def board_with(product: Product) -> SimulatedBoard:
    """The board, up and silent."""
    board = SimulatedBoard(
        product.memory,
        crystal_mhz=product.crystal_mhz,
        registers=product.registers,
        now=time.monotonic() - BOOT_S,  # it is up already
    )
    board.to_host.clear()
    return board


@dataclass(frozen=True, slots=True)
class LinkedBoard:
    """One board on its port, and the folder and table that its runs have."""

    board: SimulatedBoard
    port: Path
    folder: Path
    table: Path | None

    async def run(self, steps: Sequence[Step], *, with_summary: bool, every_summary: bool = False) -> Outcome:
        """Run the steps; after one that ends the chip's answers, the rest is left out."""
        mac = self._factory_mac()
        start = await self.state()
        outcomes: list[StepOutcome] = []
        for step in steps:
            report = await self._step(step)
            silent = self._silenced() or self._factory_mac() != mac
            state = ChipState(self._visible(), None) if silent else await self.state()
            if every_summary and not silent:
                state = replace(state, summary=await self._summary())
            outcomes.append(_outcome(report, state))
            if silent:
                return Outcome(start, tuple(outcomes))
        if with_summary and outcomes and not every_summary:
            last = outcomes[-1]
            outcomes[-1] = replace(last, state=replace(last.state, summary=await self._summary()))
        return Outcome(start, tuple(outcomes))

    async def state(self) -> ChipState:
        """What a new reader sees over the pty. It must be what the simulator says that the chip shows."""
        stream = await open_stream(str(self.port))
        try:
            rom = await RomLoader.connect(stream, before="default-reset")
            tables = await to_thread.run_sync(TableSet, self._tables())
            device = await identify(
                rom,
                wanted="auto",
                blocks=lambda chip: [block.index for block in chip.blocks],
                extend=tables.extend,
            )
        finally:
            await stream.aclose()
        assert dict(device.image.blocks) == self._visible()
        return ChipState(dict(device.image.blocks), read_fields(device.image))

    async def _step(self, step: Step) -> DeviceReport:
        with contextlib.chdir(self.folder):
            scripts = as_scripts(step, self.folder)
            return await self._burn(
                Job(
                    ports=(str(self.port),),
                    scripts=tuple(Path(name) for name in scripts.names),
                    config_files=tuple(Path(name) for name in scripts.configs),
                    index_first=scripts.index or 1,
                    do_not_confirm=True,
                    tables=self._tables(),
                    simulated=True,
                )
            )

    async def _summary(self) -> Mapping[str, Mapping[str, object]]:
        """What `summary --format json` writes."""
        await self._step(Commands((f"summary --format json --file {SUMMARY_FILE}",)))
        path = self.folder / SUMMARY_FILE
        found = json.loads(path.read_text())
        path.unlink()
        assert isinstance(found, dict)
        return found

    async def _burn(self, job: Job) -> DeviceReport:
        async def confirm(plans: tuple[PlanOfBoard, ...]) -> bool:
            raise AssertionError(f"asked about {len(plans)} plans although the job confirms them")

        checked = await to_thread.run_sync(check_job, job)
        (report,) = await burn_fleet(checked, lambda event: None, confirm=confirm)
        return report

    def _tables(self) -> tuple[TableOption, ...]:
        return () if self.table is None else (TableOption(None, self.table),)

    def _visible(self) -> dict[int, int]:
        memory = self.board.memory
        return {block.index: memory.visible(block.index) for block in memory.chip.blocks}

    def _silenced(self) -> bool:
        """Whether the chip holds a bit after which it answers no more, or only a few commands."""
        memory = self.board.memory
        return any(memory.field_bits(name) for name in memory.chip.link_end_by_field)

    def _factory_mac(self) -> int:
        return self.board.memory.field_bits(self.board.chip.mac_field)


def _outcome(report: DeviceReport, state: ChipState) -> StepOutcome:
    said = tuple(line for line in report.output.splitlines() if line.startswith(SAID))
    where = "" if report.result.passed else report.error_kind
    return StepOutcome(report.result.passed, where, report.error, "", False, said, state)


def run_through_pty(
    chip: str,
    start: Mapping[int, int],
    steps: Sequence[Step],
    *,
    folder: Path,
    table: str | None = None,
    with_summary: bool = False,
    every_summary: bool = False,
) -> Outcome:
    """Run a sequence on a simulated board.

    `with_summary`: the last state carries the JSON summary; `every_summary`: each one.

    The outcome has fewer steps than were asked for when one of them made the chip fall silent.
    """
    table_file = None
    if table is not None:
        table_file = folder / "our_table.csv"
        table_file.write_text(table)
    board = board_with(product_with(chip, start))
    port = folder / "ttyUSB0"
    with served(board, port):
        linked = LinkedBoard(board, port, folder, table_file)
        return asyncio.run(linked.run(steps, with_summary=with_summary, every_summary=every_summary))
