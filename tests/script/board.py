"""A board in memory for script tests: plans are applied to its image as a chip would take them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import anyio

from parburn.chips.model import Chip, ControllerKind, RegisterWrite
from parburn.chips.registry import chip_named
from parburn.chips.table import extend_chip, parse_custom_table
from parburn.config.records import ConfigFiles, load_config_files
from parburn.efuse.held_back import NOTHING_HELD, HeldBack, plan_to_the_end
from parburn.efuse.image import BlockStatus, EfuseImage
from parburn.efuse.staging import StagedBurns
from parburn.efuse.user_values import Declared, Written, rules_of, values_of
from parburn.errors import ParburnError
from parburn.run.burns import named_values
from parburn.script.compiled import CompiledScripts, compile_scripts
from parburn.script.runner import run_scripts
from parburn.script.session import DeviceFacts, ScriptOptions, ScriptOutcome

CHIPS = ("esp32", "esp32s3", "esp32c3")


@dataclass
class Board:
    """A chip's bits, and DeviceCalls that burn them. Blocks not in `known` must be read by the script."""

    chip: Chip
    blocks: dict[int, int]
    known: frozenset[int]
    burns: int = 0
    held: list[HeldBack] = field(default_factory=list)
    reads: list[frozenset[int]] = field(default_factory=list)
    registers: dict[int, int] = field(default_factory=dict)
    written: list[RegisterWrite] = field(default_factory=list)
    fails: ParburnError | None = None
    burn_s: float = 0.0
    status: dict[int, BlockStatus] = field(default_factory=dict)

    @property
    def whole(self) -> EfuseImage:
        """All bits."""
        return EfuseImage(self.chip, dict(self.blocks), dict(self.status), 0, self.registers)

    @property
    def image(self) -> EfuseImage:
        """What is known at first."""
        return EfuseImage(
            self.chip, {index: self.blocks[index] for index in self.known}, self.status, 0, self.registers
        )

    def bits(self, name: str) -> int:
        """A field's bits in the chip."""
        return self.whole.field_bits(self.whole.field_named(name))

    async def burn(
        self,
        staged: StagedBurns,
        image: EfuseImage,
        written: tuple[Written, ...],
        held: HeldBack = NOTHING_HELD,
    ) -> EfuseImage:
        if self.fails is not None:
            raise self.fails
        await anyio.sleep(self.burn_s)
        after = plan_to_the_end(self.whole, staged, held).apply(self.whole)
        self.blocks = dict(after.blocks)
        self.status = dict(after.status)
        self.burns += 1
        return after

    async def held_back(self, held: HeldBack) -> None:
        self.held.append(held)

    async def read_blocks(self, indexes: frozenset[int]) -> EfuseImage:
        self.reads.append(indexes)
        return self.whole

    async def read_registers(self, addresses: tuple[int, ...]) -> list[int]:
        return [self.registers.get(address, 0) for address in addresses]

    async def write_registers(self, writes: tuple[RegisterWrite, ...]) -> None:
        self.written += writes


@dataclass(frozen=True)
class Ran:
    """How a script went on a board; what it left staged has been burned, as a device does it."""

    outcome: ScriptOutcome
    output: str
    board: Board

    @property
    def unique_values(self) -> dict[str, str]:
        """What the scripts asked for that no other chip may have, by field name."""
        rules = rules_of(self.board.chip, Declared())
        return named_values(values_of(self.board.whole, self.outcome.written, rules))

    @property
    def error(self) -> str:
        return str(self.outcome.error) if self.outcome.error is not None else ""


def make_board(
    name: str,
    fields: Mapping[str, int] | None = None,
    *,
    table: str = "",
    known: Iterable[int] | None = None,
    **more: int,
) -> Board:
    """A board; `fields` and `more` are bits set in the factory, by field name."""
    chip = chip_named(name)
    if table:
        chip = extend_chip(chip, parse_custom_table(table, file="table.csv"))
    blocks = {block.index: 0 for block in chip.blocks}
    for field_name, value in {**(fields or {}), **more}.items():
        one = chip.field_by_name[field_name][0]
        assert one.start is not None
        blocks[one.block] |= value << one.start
    return Board(chip, blocks, frozenset(blocks if known is None else known))


def facts_of(board: Board, index: int | None = 1) -> DeviceFacts:
    return DeviceFacts(
        port="/dev/ttyUSB0",
        chip=board.chip,
        index=index,
        mac=bytes.fromhex("24 0a c4 00 01 02"),
        major=3,
        minor=1,
        crystal_mhz=40,
        package=0,
        security_flags=None if board.chip.controller is ControllerKind.CLASSIC else 0,
        secure_download=False,
    )


async def run_async(
    board: Board,
    scripts: CompiledScripts,
    options: ScriptOptions,
    *,
    index: int | None = 1,
) -> Ran:
    """Run compiled scripts on a board and burn what they leave staged."""
    said: list[str] = []
    outcome = await run_scripts(
        scripts, facts_of(board, index), board.image, board, options, on_output=said.append
    )
    if outcome.error is None and (outcome.staged or outcome.held):
        await board.burn(outcome.staged, outcome.image, outcome.written, outcome.held)
    return Ran(outcome, "".join(said), board)


def run(
    board: Board,
    *sources: str | Path,
    folder: Path,
    index: int | None = 1,
    config: Sequence[Path] = (),
    timeout_s: float = 30.0,
    allow_fixed_index: bool = False,
    show_sensitive_info: bool = False,
) -> Ran:
    """Run script sources (or files) on a board."""
    paths = []
    for number, source in enumerate(sources):
        if isinstance(source, Path):
            paths.append(source)
        else:
            paths.append(folder / f"script{number}.py")
            paths[-1].write_text(source)
    options = ScriptOptions(
        config_files=load_config_files(config) if config else ConfigFiles(),
        timeout_s=timeout_s,
        allow_fixed_index=allow_fixed_index,
        show_sensitive_info=show_sensitive_info,
    )
    scripts = compile_scripts(paths)
    return anyio.run(lambda: run_async(board, scripts, options, index=index))


def command(text: str) -> str:
    """A script line that runs a command of dialect 4."""
    return f"espefuse(esp, efuses, args, {text!r})\n"
