"""A fixed short set of random sequences. Thousands more: `python -m tests.peers.sweep`."""

from __future__ import annotations

import pytest

from parburn.chips.registry import chip_named
from tests.peers.conftest import StartPeer
from tests.peers.differences import Hits
from tests.peers.generate import Source, random_case
from tests.peers.sweep import run_case, source_of, step_text

CHIPS = ("esp32", "esp32s3", "esp32c3")
SEQUENCES = 8


@pytest.mark.peer
@pytest.mark.parametrize("chip", CHIPS)
def test_random_sequences_do_the_same(chip: str, peer: StartPeer) -> None:
    peers = (peer(4), peer(5))
    source = source_of(chip, peers[1])
    for number in range(SEQUENCES):
        case = random_case(source, f"suite/{number}")
        left = Hits().unexplained(run_case(case, peers))
        assert not left, "\n".join((*map(step_text, case.steps), *map(str, left)))


def test_a_seed_is_a_sequence() -> None:
    fields = {
        "DIS_TWAI": {"block": 0, "word": 1, "pos": 14, "bit_len": 1, "efuse_type": "bool"},
        "WDT_DELAY_SEL": {"block": 0, "word": 2, "pos": 16, "bit_len": 2, "efuse_type": "uint:2"},
    }
    fields |= {f"FIELD_{n}": fields["DIS_TWAI"] for n in range(6)}
    source = Source(chip_named("esp32c3"), fields)
    cases = [random_case(source, f"same/{n % 20}") for n in range(40)]
    assert cases[:20] == cases[20:]
    lines = {step_text(step) for case in cases for step in case.steps}
    assert len(lines) > 40
    commands = {line.split()[0] for line in lines}
    assert commands >= {"burn_efuse", "burn_bit", "burn_key", "burn_block_data", "burn_custom_mac"}
