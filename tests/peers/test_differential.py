"""The corpus: each case through the original on its virtual chip and through parburn in memory."""

from __future__ import annotations

import functools

import pytest

from tests.peers.case import Case
from tests.peers.compare import Mismatch
from tests.peers.conftest import StartPeer
from tests.peers.corpus import ALL
from tests.peers.differences import DIFFERENCES, Hits, difference_of
from tests.peers.sweep import run_case

# Scripts of the corpus leave files open, as scripts do.
pytestmark = [pytest.mark.peer, pytest.mark.filterwarnings("ignore:unclosed file:ResourceWarning")]


@functools.cache
def outcome(case_number: int, peer: StartPeer) -> tuple[Mismatch, ...]:
    """What differs in one case; run once a session, however many tests ask."""
    case = ALL[case_number]
    return tuple(run_case(case, tuple(peer(version) for version in case.peers)))


def ident(case: Case) -> str:
    """A case's name in the test's id."""
    return f"{case.chip}-{case.name}".replace(" ", "-")


@pytest.mark.parametrize("number", range(len(ALL)), ids=[ident(case) for case in ALL])
def test_same_bits_same_answers(number: int, peer: StartPeer) -> None:
    left = Hits().unexplained(outcome(number, peer))
    assert not left, "\n".join(str(one) for one in left)


@pytest.mark.long
def test_every_deliberate_difference_is_met(peer: StartPeer) -> None:
    hits = Hits()
    for number in range(len(ALL)):
        hits.unexplained(outcome(number, peer))
    assert not hits.never_hit()


def test_the_corpus_is_what_it_claims() -> None:
    names = [(case.chip, case.name) for case in ALL]
    assert len(set(names)) == len(names)
    assert len(ALL) >= 40
    assert {(case.chip, case.coding) for case in ALL} >= {
        ("esp32", "none"),
        ("esp32", "3/4"),
        ("esp32s3", "none"),
        ("esp32c3", "none"),
    }


def test_an_unknown_mismatch_is_not_explained_away() -> None:
    bits = Mismatch("block", "esp32", 4, "any", 0, "BLOCK1", "0x1", "0x2")
    verdict = Mismatch(
        "verdict", "esp32", 4, "any", 0, "burn_efuse JTAG_DISABLE 1", "accepted", "refused", "no"
    )
    value = Mismatch("get", "esp32c3", 4, "any", 0, "WDT_DELAY_SEL", 1, 4)
    assert [difference_of(one) for one in (bits, verdict, value)] == [None, None, None]
    assert len({one.name for one in DIFFERENCES}) == len(DIFFERENCES)
