"""One simulated board of every kind: each chip, and once more each chip whose later silicon has another row.

Also says what can be burned on a kind, from its row alone: a chip that is added later takes part by itself.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from parburn.chips.model import Block, Chip, KeyPurpose
from parburn.chips.registry import chip_named, chip_names
from parburn.sim.factory import DEFAULT_REVISION, Product, factory_mac, make_product
from parburn.sim.state_file import BoardFile, read_board
from tests.rig import Rig, start_rig

LATER = (3, 1)  # later than every overlay begins


@dataclass(frozen=True)
class Kind:
    """A chip of some revision, with the row that holds for it."""

    chip: Chip
    revision: tuple[int, int]

    @property
    def name(self) -> str:
        """For people: esp32h2-v3.1."""
        return f"{self.chip.name}-v{self.revision[0]}.{self.revision[1]}"

    def has(self, field: str) -> bool:
        """Whether the chip has a field of that name."""
        return field in self.chip.field_by_name

    @property
    def key_blocks(self) -> tuple[Block, ...]:
        """Blocks that burn_key takes."""
        return tuple(block for block in self.chip.blocks if block.for_keys)

    def purpose(self, name: str) -> KeyPurpose | None:
        """A key purpose, if the chip has it."""
        return self.chip.purpose_by_name.get(name)


def _kind(name: str, revision: tuple[int, int]) -> Kind:
    return Kind(chip_named(name, revision=100 * revision[0] + revision[1]), revision)


USUAL = tuple(_kind(name, DEFAULT_REVISION[chip_named(name).controller]) for name in chip_names())
LATE = tuple(
    late for late, usual in ((_kind(one.chip.name, LATER), one) for one in USUAL) if late.chip != usual.chip
)
KINDS = USUAL + LATE
NAMES = tuple(kind.name for kind in KINDS)
Change = Callable[[Kind, Product], None]


@dataclass(frozen=True)
class Boards:
    """A running board of every kind, in the order of KINDS."""

    usual: Rig
    late: Rig

    @property
    def ports(self) -> list[str]:
        """Links to open."""
        return self.usual.ports + self.late.ports

    def _place(self, board: int) -> tuple[Rig, int]:
        return (self.usual, board) if board < len(USUAL) else (self.late, board - len(USUAL))

    def true_bits(self, board: int) -> list[int]:
        """All bits of each block, whatever protects them."""
        rig, at = self._place(board)
        return [rig.bits(at, block.index) for block in KINDS[board].chip.blocks]

    def visible_bits(self, board: int) -> dict[int, int]:
        """What the read registers of each block show."""
        rig, at = self._place(board)
        memory = read_board(rig.states[at]).product.memory
        return {block.index: memory.visible(block.index) for block in memory.chip.blocks}

    def mac(self, board: int) -> str:
        """Factory MAC address."""
        rig, at = self._place(board)
        return rig.mac(at)

    def programs(self, board: int) -> int:
        """Program pulses that the board has had."""
        rig, at = self._place(board)
        return rig.programs(at)


def _made(kinds: Sequence[Kind], folder: Path, change: Change) -> Path:
    """Files of boards as they come from the factory, then changed."""
    states = folder / "boards"
    states.mkdir(parents=True)
    for at, kind in enumerate(kinds):
        rng = random.Random(f"{folder}:{kind.name}")
        settings = {"revision": ".".join(map(str, kind.revision))}
        made = make_product(kind.chip.name, mac=factory_mac(rng), settings=settings, rng=rng)
        change(kind, made)
        BoardFile(states / f"ttyUSB{at}.json", made).write()
    return states


@contextmanager
def every_kind(
    folder: Path, *, seed: int = 1, change: Change | None = None, baud_limit: int = 0
) -> Iterator[Boards]:
    """Run a board of every kind until the block ends. `change` is done to each before it is powered."""

    def rig(kinds: Sequence[Kind], folder: Path, settings: Sequence[str], seed: int) -> Rig:
        mix = ",".join(f"{kind.chip.name}:1" for kind in kinds)
        state = _made(kinds, folder, change) if change else None
        return stack.enter_context(
            start_rig(
                mix,
                tmp_path=folder,
                settings=() if state else settings,
                seed=seed,
                state=state,
                baud_limit=baud_limit,
            )
        )

    with ExitStack() as stack:
        usual = rig(USUAL, folder, (), seed)
        later = rig(LATE, folder / "late", [f"revision={LATER[0]}.{LATER[1]}"], seed + 100)
        yield Boards(usual, later)
