"""A fixed short set of random sequences. Thousands more: `python -m tests.peers.sweep`."""

from __future__ import annotations

from pathlib import Path

import pytest

from parburn.chips.model import ControllerKind
from tests.peers.board import run_in_memory
from tests.peers.case import commands, factory_bits
from tests.peers.conftest import StartPeer
from tests.peers.differences import Hits
from tests.peers.generate import DATA_FILES, KEY_FILES, Source, random_case
from tests.peers.kinds import KINDS, Kind
from tests.peers.linked import run_through_pty
from tests.peers.sweep import run_case, source_of, step_text

COMMANDS = {
    "burn_efuse", "burn_bit", "burn_block_data", "burn_key", "burn_key_digest", "burn_custom_mac",
    "read_protect_efuse", "write_protect_efuse", "set_flash_voltage",
    "summary", "dump", "adc_info", "get_custom_mac", "check_error",
}  # fmt: skip
SEQUENCES = 4  # of each kind; every second one through a pty


@pytest.mark.peer
@pytest.mark.parametrize("kind", KINDS.values(), ids=KINDS)
def test_random_sequences_do_the_same(kind: Kind, peer: StartPeer) -> None:
    peers = [peer(version) for version in kind.peers]
    source = source_of(kind, peers[-1])
    for number in range(SEQUENCES):
        case = random_case(source, f"suite/{number}")
        linked = number % 2 == 1
        found = run_case(case, peers, run=run_through_pty if linked else run_in_memory)
        left = Hits(on_board=linked).unexplained(found)
        assert not left, "\n".join((*map(step_text, case.steps), *map(str, left)))


def test_a_seed_is_a_sequence() -> None:
    fields = {
        "DIS_TWAI": {"block": 0, "word": 1, "pos": 14, "bit_len": 1, "efuse_type": "bool"},
        "WDT_DELAY_SEL": {"block": 0, "word": 2, "pos": 16, "bit_len": 2, "efuse_type": "uint:2"},
    }
    fields |= {f"FIELD_{n}": fields["DIS_TWAI"] for n in range(6)}
    source = Source(KINDS["esp32c3"], fields)
    cases = [random_case(source, f"same/{n % 20}") for n in range(40)]
    assert cases[:20] == cases[20:]
    lines = {step_text(step) for case in cases for step in case.steps}
    assert len(lines) > 40
    commands = {line.split()[0] for line in lines}
    assert commands >= {"burn_efuse", "burn_bit", "burn_key", "burn_block_data", "burn_custom_mac"}


@pytest.mark.parametrize("kind", KINDS.values(), ids=KINDS)
def test_sequences_ask_for_all_that_a_chip_can_do(kind: Kind, tmp_path: Path) -> None:
    """Every command, every key purpose, files that fit and files that do not, all names of key blocks."""
    start = factory_bits(kind.chip_name, revision=kind.revision)
    shown = run_in_memory(kind.chip_name, start, [commands("dump")], folder=tmp_path, with_summary=True)
    assert shown.steps[-1].state.summary is not None
    source = Source(kind, shown.steps[-1].state.summary)
    cases = [random_case(source, f"coverage/{n}") for n in range(300)]
    lines = [line for case in cases for step in case.steps for line in step_text(step).split("; ")]
    words = {word for line in lines for word in line.split()}
    assert {line.split()[0] for line in lines} >= COMMANDS
    assert words >= {one.name for one in kind.chip.key_purposes}
    assert words >= {name for block in kind.chip.blocks for name in block.names}
    assert words >= {*KEY_FILES, *DATA_FILES, "rsa.pem", "text.pem"}
    if any(one.needs_ecdsa for one in kind.chip.key_purposes):
        assert words >= {"ec.pem", "ec192.pem", "ec384.pem"}
    if any(one.split_into for one in kind.chip.key_purposes):
        assert "k64.bin" in words
    assert words >= {"--recovery", "--offset", "--force", "--force-write-always"}
    assert any(case.table for case in cases)
    assert {case.coding for case in cases} == (
        {"none", "3/4"} if kind.chip.controller is ControllerKind.CLASSIC else {"none"}
    )
    if kind.chip.controller is ControllerKind.CLASSIC:
        assert "--no-protect-key" in words
    else:
        assert words >= {"--no-write-protect", "--no-read-protect"}
    fields = {name for name in source.fields if name != kind.chip.coding_field}
    assert len(fields & words) > 0.9 * len(fields)
