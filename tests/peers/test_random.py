"""A fixed short set of random sequences. Thousands more: `python -m tests.peers.sweep`."""

from __future__ import annotations

import pytest

from tests.peers.board import run_in_memory
from tests.peers.conftest import StartPeer
from tests.peers.differences import Hits
from tests.peers.generate import Source, random_case
from tests.peers.kinds import KINDS, Kind
from tests.peers.linked import run_through_pty
from tests.peers.sweep import run_case, source_of, step_text

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
