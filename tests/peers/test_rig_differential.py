"""The corpus once more, through the installed command on simulated boards: link, ROM, controller, bits."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.peers.compare import Mismatch, compare
from tests.peers.conftest import StartPeer
from tests.peers.corpus import ALL
from tests.peers.differences import ON_BOARDS, Hits
from tests.peers.rigged import rigged, run_on_rig

# Where the corpus has the cases of silicon's own differences.
MET_ON = {"esp32": {"a coding scheme that is left"}}
MET_ON["esp32s3"] = {one.name for one in ON_BOARDS} - MET_ON["esp32"]

pytestmark = pytest.mark.peer


@pytest.mark.long
@pytest.mark.parametrize("chip", sorted({case.chip for case in ALL}))
def test_simulated_boards_hold_the_same_bits(
    chip: str, peer: StartPeer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    boards = rigged([case for case in ALL if case.chip == chip])
    ours_folder, theirs_folder = tmp_path / "ours", tmp_path / "theirs"
    ours_folder.mkdir()
    theirs_folder.mkdir()
    monkeypatch.chdir(ours_folder)  # where the command runs; it takes file names from there
    outcomes = run_on_rig(boards, ours_folder)
    found: list[Mismatch] = []
    for one, ours in zip(boards, outcomes, strict=True):
        case = one.case
        version = min(case.peers)
        case.write_files(theirs_folder)
        theirs = peer(version).run(chip, one.start_bits(), case.steps, folder=theirs_folder, table=case.table)
        found += compare(case.name, chip, version, case.steps, ours, theirs)
    hits = Hits(on_board=True)
    left = hits.unexplained(found)
    assert not left, "\n".join(str(one) for one in left)
    assert hits.names >= MET_ON.get(chip, set())
    assert sum(len(one.steps) for one in outcomes) == sum(len(one.case.steps) for one in boards)
