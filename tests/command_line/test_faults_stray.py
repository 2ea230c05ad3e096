"""The installed command takes up units whose burn broke off; some were hit by a pulse that nobody planned.

The first run ends in the middle of a burn, as after `kill -9`. Then the chips' cells are given what such a
pulse leaves; the second run must find it, name the block and quarantine the unit, and pass all others.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from parburn.sim.efuse_memory import EfuseMemory
from parburn.sim.state_file import BoardFile, read_board
from tests.command import Outcome, parburn
from tests.command_line.test_faults_boards import boards
from tests.provisioning import KEY, every_bit, key_of, rows, said, script
from tests.rig import Rig, start_rig

BROKEN_OFF = "the controller never becomes idle after program 2"
KEY0, KEY2, KEY5 = 4, 6, 9


def changed(folder: Path, number: int) -> tuple[BoardFile, EfuseMemory]:
    """The file of a board, and its cells."""
    file = read_board(folder / f"ttyUSB{number}.json")
    return file, file.product.memory


def key_in_key2(memory: EfuseMemory) -> None:
    """What the programming registers held, in a block that the job does not know."""
    memory.set_cells(KEY2, memory.cells[KEY0])


def key_in_block0(memory: EfuseMemory) -> None:
    """The same in BLOCK0, but for what would keep the chip from answering."""
    chip, bits = memory.chip, memory.reading(KEY0).bits
    for name in ("RD_DIS", "WR_DIS", *(end.field for end in chip.link_ends)):
        bits &= ~chip.field_by_name[name][0].mask
    memory.set_cells(0, memory.allowed(0, bits))


def of_an_earlier_tool(memory: EfuseMemory) -> None:
    """Content that has nothing to do with this job."""
    memory.preset(KEY5, 0x3131)


def nothing(memory: EfuseMemory) -> None:
    """A board without any such thing."""


def run(rig: Rig, path: Path, ids: Path, report: Path, state: Path) -> Outcome:
    """One run of the job on all boards."""
    return parburn(
        "--ports", *rig.ports, "--scripts", path, "--configfiles", ids, "--do-not-confirm", "--json",
        "--same", "BLOCK_KEY0", "--same", "BLOCK_KEY5", "--report", report, state=state,
    )  # fmt: skip


def test_a_key_that_landed_elsewhere_before_the_unit_is_taken_up_again_is_a_quarantine(
    tmp_path: Path, state: Path, provision: Path, ids: Path
) -> None:
    pulses = (key_in_key2, key_in_block0, of_an_earlier_tool, nothing)
    chips, files = boards(tmp_path, *[("esp32c3", {})] * len(pulses))
    report = tmp_path / "report.jsonl"
    with start_rig(chips, tmp_path=tmp_path, state=files, faults=[BROKEN_OFF]) as rig:
        first = run(rig, provision, ids, report, state)
        assert first.words == ["incomplete"] * len(pulses), said(first)
    for number, pulse in enumerate(pulses):
        file, memory = changed(files, number)
        assert memory.reading(KEY0).bits == int.from_bytes(KEY[::-1], "little")
        pulse(memory)
        file.write()
    with start_rig(chips, tmp_path=tmp_path, state=files) as rig:
        held = every_bit(rig)
        second = run(rig, provision, ids, report, state)
        found = rows(report)
        assert second.words == ["quarantined", "quarantined", "pass", "pass"], said(second)
        assert "BLOCK_KEY2 holds the data that was staged for BLOCK_KEY0" in found[0]["error"]
        assert "BLOCK0 holds bits that nobody asked for" in found[1]["error"]
        for row in found[:2]:
            assert "must not ship" in row["next_step"]
        assert every_bit(rig)[:2] == held[:2]
        assert key_of(rig, 3) == KEY[::-1]
        notes = [event["text"] for event in second.events if event["event"] == "note"]
        assert any("BLOCK_KEY5" in text and "was not judged" in text for text in notes), said(second)
        for text in (second.stdout, report.read_text()):
            assert KEY.hex() not in text.lower()
            assert KEY[::-1].hex() not in text.lower()
        # The ledger knows it: nobody burns them again.
        third = run(rig, provision, ids, report, state)
        assert third.words == ["quarantined", "quarantined", "already-pass", "already-pass"], said(third)
        assert "BLOCK_KEY2" in rows(report)[0]["error"]
        assert every_bit(rig)[:2] == held[:2]


TWO_BURNS = """\
espefuse(esp, efuses, args, 'burn_key BLOCK_KEY5 {key} USER')
efuses.burn_all()
"""
THE_SAME_AGAIN = """\
espefuse(esp, efuses, args, 'burn_key BLOCK_KEY0 {key} USER')
espefuse(esp, efuses, args, 'burn_efuse DIS_DOWNLOAD_ICACHE 1')
"""


def resumed(tmp_path: Path, state: Path, ids: Path, jobs: Sequence[Path], programs: Sequence[int]) -> None:
    """Run jobs one after the other; the last one breaks off after one of the pulses, then goes on."""
    chips, files = boards(tmp_path, *[("esp32c3", {})] * len(programs))
    report = tmp_path / "report.jsonl"
    if len(jobs) == 2:
        with start_rig(chips, tmp_path=tmp_path, state=files) as rig:
            assert set(run(rig, jobs[0], ids, report, state).words) == {"pass"}
    faults = [
        f"on board {n}: the controller never becomes idle after program {program}"
        for n, program in enumerate(programs)
    ]
    with start_rig(chips, tmp_path=tmp_path, state=files, faults=faults) as rig:
        broken = run(rig, jobs[-1], ids, report, state)
        assert set(broken.words) == {"incomplete"}, said(broken)
    with start_rig(chips, tmp_path=tmp_path, state=files) as rig:
        again = run(rig, jobs[-1], ids, report, state)
        assert set(again.words) == {"pass"}, said(again)
        assert key_of(rig, 0, KEY0) == key_of(rig, 0, KEY5) == KEY


def test_a_key_that_an_earlier_burn_put_elsewhere_is_no_pulse_that_nobody_planned(
    tmp_path: Path, state: Path, key: Path, ids: Path
) -> None:
    """The ledger knows what the script burned before, in a block that the broken burn does not touch."""
    both = script(tmp_path, "both", (TWO_BURNS + THE_SAME_AGAIN).format(key=key))
    resumed(tmp_path, state, ids, [both], [3, 4])


def test_a_key_that_an_earlier_job_put_elsewhere_is_no_pulse_that_nobody_planned(
    tmp_path: Path, state: Path, key: Path, ids: Path
) -> None:
    one = script(tmp_path, "one", TWO_BURNS.format(key=key))
    two = script(tmp_path, "two", THE_SAME_AGAIN.format(key=key))
    resumed(tmp_path, state, ids, [one, two], [1, 2])
