"""What a unit's record protects against: a chip with the same factory identity, another job, a torn read."""

from __future__ import annotations

import json
from bisect import bisect_left
from collections.abc import Iterator
from pathlib import Path

import pytest

from parburn.ledger.export import verify
from tests.soak.bench import Bench, Made
from tests.soak.checker import Unit, units_of
from tests.soak.child import Crash, Ended, run_forked, warm_up
from tests.soak.jobs import Work, write_job
from tests.soak.points import counted

TWINS = (Made("esp32c3"), Made("esp32c3", twin_of=0))


class Line:
    """One slot, and the boards that are put into it."""

    def __init__(self, folder: Path, bench: Bench) -> None:
        self.folder, self.bench = folder, bench

    def run(
        self,
        board: int,
        *faults: str,
        crash: Crash | None = None,
        script: str = "one.py",
        powered: bool = False,
    ) -> tuple[Ended, list[str]]:
        """One run with that board; how it ended, and the words of its result.

        `powered`: it is put in already, and is not reset.
        """
        if not powered:
            self.bench.set_up([board], {board: faults}, seed=1)
        ports = [str(self.bench.folder / "ttyUSB0")]
        command = [
            "--json", "--do-not-confirm", "--ports", *ports, "--scripts", str(self.folder / script),
            "--configfiles", str(self.folder / "ids.json"), "--ledger", str(self.folder / "ledger.sqlite"),
            *(("--before", "no-reset") if powered else ()),
            "--new-ledger",
        ]  # fmt: skip
        ended = run_forked(command, folder=self.folder, crash=crash)
        self.bench.settle()
        if crash is not None:
            return ended, []
        events = [json.loads(line) for line in ended.stdout.splitlines()]
        return ended, [event["result"] for event in events if event["event"] == "result"]

    def is_blank(self, board: int) -> bool:
        """Whether nothing was burned into it."""
        return self.bench.memory(board).cells == self.bench.factory(board)

    def unit(self) -> Unit:
        """The only unit in the ledger."""
        (unit,) = units_of(self.folder / "ledger.sqlite").values()
        return unit


@pytest.fixture
def line(tmp_path: Path) -> Iterator[Line]:
    warm_up()
    write_job(tmp_path, Work(burns=(True, False, False)), records=3)
    with Bench(tmp_path, TWINS, seed=3, stay_powered=False) as bench:
        yield Line(tmp_path, bench)


def burned_in_part(line: Line) -> None:
    """Stop board 0 when its first block is burned, verified and recorded, and no lock is."""
    counts = counted(TWINS[0])
    line.run(0, crash=Crash("packet", counts["ttyUSB0"] - 30, "after", "ttyUSB0"))
    assert not line.is_blank(0)
    assert line.unit().state != "pass"


@pytest.mark.parametrize("script", ["one.py", "two.py"])
def test_a_passed_unit_is_not_shown_passed_for_a_chip_with_its_identity_that_lacks_the_bits(
    line: Line, script: str
) -> None:
    assert line.run(0)[1] == ["pass"]
    assert line.run(0)[1] == ["already-pass"]
    ended, words = line.run(1, script=script)
    assert words == ["quarantined"], ended
    assert line.is_blank(1)
    assert "lacks bits" in line.unit().reason


def test_the_chip_that_passed_passes_again_after_another_with_its_identity_was_seen(line: Line) -> None:
    assert line.run(0)[1] == ["pass"]
    for _ in range(2):  # the other chip is put out each time, and this one comes back each time
        assert line.run(1)[1] == ["quarantined"]
        assert line.unit().state == "quarantined"
        assert line.run(0)[1] == ["already-pass"]
        assert line.unit().state == "pass"
        assert "another chip with its MAC was seen: " in line.unit().reason
    assert line.is_blank(1)
    assert "verifies" in verify(line.folder / "ledger.sqlite")


def test_the_chip_that_passed_gets_no_other_job_while_it_is_put_out(line: Line) -> None:
    """Two chips of one identity are about: nothing is burned until the right one has shown itself."""
    assert line.run(0)[1] == ["pass"]
    assert line.run(1)[1] == ["quarantined"]
    why = line.unit().reason
    for _ in range(2):
        assert line.run(0, script="two.py")[1] == ["quarantined"]
        assert (line.unit().state, line.unit().reason) == ("quarantined", why)
    assert line.run(1, script="two.py")[1] == ["quarantined"]
    assert line.run(0)[1] == ["already-pass"]
    assert line.run(0, script="two.py")[1] == ["pass"]


def test_a_unit_that_was_begun_is_not_continued_on_another_chip_with_its_identity(line: Line) -> None:
    burned_in_part(line)
    ended, words = line.run(1)
    assert words == ["quarantined"], ended
    assert line.is_blank(1)


def test_a_unit_that_was_begun_is_finished_with_its_own_index(line: Line) -> None:
    burned_in_part(line)
    assert line.run(0)[1] == ["pass"]
    assert line.unit().index == 1


def test_a_chip_that_was_not_reset_shows_what_was_burned_before_it_is_judged(tmp_path: Path) -> None:
    """Killed right behind a program command: the read registers know nothing of that pulse yet."""
    warm_up()
    write_job(tmp_path, Work(), records=3)
    counts = counted(TWINS[0])

    def killed_at(number: int) -> bool:
        """Die behind this frame, run again; whether the chip held bits in between."""
        folder = tmp_path / f"at{number}"
        folder.mkdir()
        for name in ("one.py", "ids.json"):
            (folder / name).write_bytes((tmp_path / name).read_bytes())
        with Bench(folder, TWINS[:1], seed=3, stay_powered=True) as bench:
            line = Line(folder, bench)
            line.run(0, crash=Crash("packet", number, "after", "ttyUSB0"))
            touched = not line.is_blank(0)
            ended, words = line.run(0, powered=True)
            assert words == ["pass"], ended
            assert all(burn["new_bits"] for burn in bench.product(0).burns), (
                "a pulse that had nothing to burn"
            )
            return touched

    frames = range(counts["before the burn"], counts["ttyUSB0"])
    program = frames[bisect_left(frames, True, key=killed_at)]
    assert frames[0] < program < frames[-1]


def test_an_earlier_job_does_not_pass_over_one_that_was_begun_later(line: Line) -> None:
    assert line.run(0)[1] == ["pass"]
    counts = counted(TWINS[0])
    for number in range(counts["before the burn"], counts["ttyUSB0"]):
        line.run(0, crash=Crash("packet", number, "after", "ttyUSB0"), script="two.py")
        if line.unit().state in ("burn-attempted", "incomplete"):
            break
    ended, words = line.run(0)
    assert words == ["refused"], ended
    assert line.run(0, script="two.py")[1] == ["pass"]
    assert line.run(0)[1] == ["already-pass"]


def test_one_damaged_answer_does_not_quarantine_a_unit_that_is_taken_up_again(line: Line) -> None:
    burned_in_part(line)
    words: list[str] = []
    for byte in range(900, 1700, 50):
        ended, words = line.run(0, f"byte {byte} to the host is flipped in bit 5")
        assert words not in (["quarantined"], []), ended
        if words == ["pass"]:
            break
    assert words == ["pass"] or line.run(0)[1] == ["pass"]
