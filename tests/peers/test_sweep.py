"""The ends of a sweep: its last line, which machines read, its exit code, and the board behind a pty."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.peers import sweep
from tests.peers.board import run_in_memory
from tests.peers.case import Case, commands, factory_bits
from tests.peers.compare import Mismatch
from tests.peers.generate import Source
from tests.peers.kinds import KINDS, Kind
from tests.peers.linked import run_through_pty

FIELDS = {
    f"FIELD_{n}": {"block": 0, "word": 1, "pos": 14, "bit_len": 1, "efuse_type": "bool"} for n in range(8)
}
HALF_STAGED = Mismatch("half-staged", "esp32c3", 4, "any", 0, "burn_key ..", False, True)
UNKNOWN = Mismatch("block", "esp32c3", 5, "any", 0, "BLOCK0", "0x1", "0x2")


class NoPeer(contextlib.AbstractContextManager["NoPeer"]):
    """Stands where a worker would."""

    def __init__(self, version: int) -> None:
        self.version = version

    def __exit__(self, *_: object) -> None:
        """Nothing was started."""


@pytest.mark.parametrize(("found", "code"), [((), 0), ((HALF_STAGED,), 0), ((HALF_STAGED, UNKNOWN), 1)])
def test_the_last_line_is_one_json_object_and_a_difference_is_an_error(
    found: tuple[Mismatch, ...],
    code: int,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def run_case(case: Case, peers: Any, **options: Any) -> Iterator[Mismatch]:
        yield from found

    monkeypatch.setattr(sweep, "Peer", NoPeer)
    monkeypatch.setattr(sweep, "source_of", lambda kind, peer: Source(kind, FIELDS))
    monkeypatch.setattr(sweep, "run_case", run_case)
    monkeypatch.setattr("sys.argv", ["sweep", "--chip", "all", "--sequences", "2", "--seed", "7"])
    assert sweep.main() == code
    last = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert set(last["chips"]) == set(KINDS)
    assert (last["sequences"], last["different"]) == (2 * len(KINDS), 2 * len(KINDS) * code)
    both = last["chips"]["esp32c3"]
    explained = 2 if found else 0
    assert both["explained"] == {"4": explained, "5": 0}
    assert both["unexplained"] == {"4": 0, "5": 2 * code}
    assert set(last["chips"]["esp32e22"]["explained"]) >= {"5"}


def test_every_table_of_a_chip_is_reached() -> None:
    """Each overlay that changes fields or purposes is some kind's row."""
    rows = {id(kind.chip) for kind in KINDS.values()}
    assert len(rows) == len(KINDS)
    for kind in KINDS.values():
        if kind.revision is not None:
            first = Kind(kind.chip_name).chip
            assert (first.fields, first.key_purposes) != (kind.chip.fields, kind.chip.key_purposes)


@pytest.mark.parametrize("kind", KINDS.values(), ids=KINDS)
def test_a_pty_shows_what_memory_shows(kind: Kind, tmp_path: Path) -> None:
    """Both forms of our side are the same where silicon has no say: tables, values, refusals, bits."""
    custom_mac = "burn_custom_mac aa:cd:ef:01:02:03"
    steps = (commands(custom_mac), commands("burn_bit BLOCK3 100"), commands("write_protect_efuse WR_DIS"))
    start = factory_bits(kind.chip_name, revision=kind.revision)
    outcomes = []
    for run in (run_in_memory, run_through_pty):
        folder = tmp_path / run.__name__
        folder.mkdir()
        outcomes.append(run(kind.chip_name, start, steps, folder=folder, with_summary=True))
    memory, pty = outcomes
    assert pty.start == memory.start
    assert [(one.accepted, one.state) for one in pty.steps] == [
        (one.accepted, one.state) for one in memory.steps
    ]


def test_nothing_is_asked_of_a_chip_that_has_fallen_silent(tmp_path: Path) -> None:
    steps = tuple(commands(line) for line in ("burn_efuse DIS_DOWNLOAD_MODE 1", "burn_efuse DIS_ICACHE 1"))
    outcome = run_through_pty("esp32c3", factory_bits("esp32c3"), steps, folder=tmp_path, with_summary=True)
    (only,) = outcome.steps
    assert only.accepted
    assert only.state.fields is None
    assert only.state.blocks[0] == 1 << 128
