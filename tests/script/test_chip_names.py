"""A script is told of its chip, name and features, what esptool says of the same bits, on all chips."""

from __future__ import annotations

import json
import random
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from parburn.chips.describe import chip_revision
from parburn.chips.model import Chip
from parburn.chips.registry import chip_named, chip_names
from parburn.sim.factory import Product
from tests.chips.facts import Facts, ask_peer, interesting_fields, memories_of, reader
from tests.command import parburn
from tests.every_kind import KINDS, Kind, every_kind
from tests.peers.venvs import peers_are_off
from tests.script.board import Board, run

pytestmark = [
    pytest.mark.peer,
    pytest.mark.skipif(peers_are_off(), reason="PARBURN_NO_PEERS=1"),
]

ASKS = "print(json.dumps([esp.get_chip_description(), esp.get_chip_features()]))\n"
MEMORIES = {name: memories_of(chip_named(name)) for name in chip_names()}


def addresses_of(chip: Chip) -> tuple[int, ...]:
    """All registers that can tell what a chip is called."""
    return (*(address for block in chip.read_registers for address in block), *chip.extra_registers)


def names_of(shown: Mapping[str, Any]) -> list[Any]:
    return [shown["description"], shown["features"]]


def board_with(plain: Chip, memory: Mapping[int, int]) -> Board:
    """A board whose registers have these words, of the revision that they say, before a block is read."""
    major, minor = chip_revision(plain, reader(plain, memory))
    chip = chip_named(plain.name, revision=100 * major + minor)
    blocks = {
        block: sum(memory.get(address, 0) << 32 * at for at, address in enumerate(registers))
        for block, registers in enumerate(chip.read_registers)
    }
    return Board(chip, blocks, frozenset({0}), registers=dict(memory))


@pytest.fixture(scope="module")
def peers() -> Facts:
    """What the peer makes of all memories."""
    return ask_peer(MEMORIES)


@pytest.mark.parametrize("name", chip_names())
def test_a_script_is_told_what_the_original_says(name: str, peers: Facts, tmp_path: Path) -> None:
    told = []
    for memory in MEMORIES[name]:
        ran = run(board_with(chip_named(name), memory), ASKS, folder=tmp_path)
        assert ran.error == ""
        told.append(json.loads(ran.output))
    assert told == [names_of(shown) for shown in peers[name]["shown"]]
    revisions = 3 if any(chip_named(name).revision_fields) else 0
    assert len({description for description, _ in told}) > revisions


def _vary(kind: Kind, product: Product) -> None:
    """Another package, other features, and the revision as it is."""
    dice = random.Random(kind.name)
    memory = product.memory
    kept = {name for name in kind.chip.revision_fields if name} | {kind.chip.coding_field}
    for name in dict.fromkeys(interesting_fields(kind.chip)):
        place = memory.field_place(name)
        if place and name not in kept and "VERSION_M" not in name:
            memory.preset_field(name, dice.randrange(min(1 << place.bits, 4)))


@pytest.mark.parametrize("change", [None, _vary], ids=["as made", "varied"])
def test_boards_of_every_kind_are_called_what_the_original_calls_them(change: Any, tmp_path: Path) -> None:
    by_title = {kind.chip.title: addresses_of(kind.chip) for kind in KINDS}
    script = tmp_path / "ask.py"
    script.write_text(
        ASKS + f"print(json.dumps({{at: esp.read_reg(at) for at in {by_title}[esp.CHIP_NAME]}}))\n"
    )
    with every_kind(tmp_path / "rigs", change=change) as boards:
        done = parburn(
            "--ports", *boards.ports, "--scripts", script, "--show-output", "--json", state=tmp_path / "state"
        )  # fmt: skip
        assert done.words == ["pass"] * len(KINDS), done.results
        said = dict.fromkeys(boards.ports, "")
        for event in done.events:
            if event["event"] == "output":
                said[event["port"]] += event["text"]
    lines = [said[port].splitlines() for port in boards.ports]
    asked: dict[str, list[dict[int, int]]] = {}
    for kind, (_, words) in zip(KINDS, lines, strict=True):
        asked.setdefault(kind.chip.name, []).append({int(at): word for at, word in json.loads(words).items()})
    theirs = {name: [names_of(one) for one in facts["shown"]] for name, facts in ask_peer(asked).items()}
    for kind, (names, _) in zip(KINDS, lines, strict=True):
        assert json.loads(names) == theirs[kind.chip.name].pop(0), kind.name
