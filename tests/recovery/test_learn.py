"""A ledger of an older parburn: what it kept stays valid, and what it did not keep is told and learned.

The ledger is one of version 2; the boards hold what it says. Through the installed command.
"""

from __future__ import annotations

import json
import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from tests.command import Outcome, parburn
from tests.provisioning import custom_mac_of, every_bit, mac, said, script
from tests.rig import Rig, start_rig

HERE = Path(__file__).parents[1] / "ledger"
BY_INDEX = """\
entry = json.load(args.configfiles[0])[str(args.index)]
espefuse(esp, efuses, args, 'burn_custom_mac ' + entry['mac'])
"""
BY_LINE = """\
import csv
rows = list(csv.reader(args.configfiles[0]))
espefuse(esp, efuses, args, 'burn_custom_mac ' + rows[args.index - 1][0])
"""
FLAG = """\
espefuse(esp, efuses, args, 'burn_efuse DIS_DOWNLOAD_ICACHE 1')
entry = args.index
"""


class Old:
    """The station with the older ledger: boards 0 and 1 are of ids.json, 2 and 4 of ids.csv, 3 is blank."""

    def __init__(self, folder: Path, rig: Rig) -> None:
        self.folder, self.rig, self.ledger = folder, rig, folder / "ledger.sqlite"
        self.json, self.csv = folder / "ids.json", folder / "ids.csv"
        self.json.write_text(json.dumps({str(n): {"mac": mac(n)} for n in range(1, 200)}))
        self.lines(6)
        self.by_index = script(folder, "by_index", BY_INDEX)
        self.by_line = script(folder, "by_line", BY_LINE)
        self.flag = script(folder, "flag", FLAG)

    def lines(self, count: int) -> None:
        """The file of lines, with so many of them."""
        self.csv.write_text("".join(f"aa:cd:ef:00:07:{n:02x}\n" for n in range(1, count + 1)))

    def run(self, boards: list[int], work: Path, ids: Path, *more: object) -> Outcome:
        """Burn."""
        ports = [self.rig.ports[n] for n in boards]
        lines = ("--records", "ids.csv=line") if ids == self.csv else ()
        return parburn(
            "--ports", *ports, "--scripts", work, "--configfiles", ids, "--ledger", self.ledger,
            "--do-not-confirm", "--json", *lines, *more, state=self.folder,
        )  # fmt: skip

    def do(self, *words: object) -> Outcome:
        """An action on the ledger."""
        return parburn("ledger", *words, "--ledger", self.ledger, state=self.folder)

    def learn(self, batch: str, work: Path, ids: Path, *more: object) -> Outcome:
        """Learn a batch."""
        return self.do(
            "learn", "--batch", batch, "--scripts", work, "--configfiles", ids, "--why", "new parburn", *more
        )

    def unit(self, board: int) -> dict[str, Any]:
        """What the ledger says of a board."""
        output = self.folder / "export.json"
        assert self.do("export", "--output", output).exit == 0
        (found,) = (u for u in json.loads(output.read_text())["units"] if u["mac"] == self.rig.mac(board))
        assert isinstance(found, dict)
        return found

    def batch(self, board: int) -> str:
        """The batch of a board."""
        return str(self.unit(board)["batch"])


@pytest.fixture
def old(tmp_path: Path) -> Iterator[Old]:
    with start_rig("esp32c3:3,esp32:2", tmp_path=tmp_path) as rig:
        station = Old(tmp_path, rig)
        for boards, work, ids in (
            ([0, 1], station.by_index, station.json),
            ([2, 4], station.by_line, station.csv),
            ([0], station.flag, station.json),
            ([2], station.flag, station.csv),
        ):  # with a ledger that is thrown away: the boards hold then what the older ledger says
            outcome = station.run(boards, work, ids)
            assert outcome.exit == 0, said(outcome)
        for path in tmp_path.glob("ledger.sqlite*"):
            path.unlink()
        with closing(sqlite3.connect(station.ledger)) as connection:
            connection.executescript((HERE / "version2.sql").read_text())
        shutil.copy(HERE / "version2.witness", tmp_path / "ledger.sqlite.witness")
        yield station


def test_it_can_be_looked_at_and_says_what_it_does_not_know(old: Old) -> None:
    before = old.ledger.read_bytes()
    shown = old.do("show")
    assert shown.exit == 0, said(shown)
    assert "(values unknown)" in shown.stdout
    verified = old.do("verify")
    assert verified.exit == 0, said(verified)
    assert "Values unknown of 4 units" in verified.stdout
    assert "nobody can say that there are no doubles" in verified.stdout
    assert old.ledger.read_bytes() == before


def test_what_it_kept_is_taken_over_and_the_others_are_named_at_each_run(old: Old) -> None:
    bits = every_bit(old.rig)
    first = old.run([1], old.by_index, old.json)
    assert (first.exit, first.words) == (0, ["already-pass"]), said(first)  # its job's digest is the old one
    notes = [event["text"] for event in first.events if event["event"] == "note"]
    (note,) = (text for text in notes if "Values unknown" in text)
    assert "Values unknown of 2 units" in note
    assert old.rig.mac(0) in note
    assert old.rig.mac(2) in note
    # boards 1 and 4: the image of the passed unit tells them
    assert [old.unit(n)["values_unknown"] for n in (0, 1, 2, 4)] == [True, False, True, False]
    assert old.unit(1)["user_bits"]["3"] == f"{old.rig.bits(1, 3):x}"
    again = old.run([1], old.by_index, old.json)
    assert any("Values unknown of 2 units" in event.get("text", "") for event in again.events)
    assert every_bit(old.rig) == bits
    assert old.do("verify").exit == 0


def test_a_board_that_comes_again_is_read_and_known(old: Old) -> None:
    outcome = old.run([0], old.by_index, old.json)
    assert (outcome.exit, outcome.words) == (0, ["already-pass"]), said(outcome)
    unit = old.unit(0)
    assert not unit["values_unknown"]
    assert unit["user_bits"]["3"] == f"{old.rig.bits(0, 3):x}"
    verified = old.do("verify")
    assert verified.exit == 0, said(verified)
    assert "Values unknown of 1 units" in verified.stdout


def test_records_tell_the_values_of_boards_that_are_not_there(old: Old) -> None:
    outcome = old.learn(old.batch(0), old.by_index, old.json)
    assert outcome.exit == 0, said(outcome)
    assert "1 units of the batch" in outcome.stdout
    unit = old.unit(0)
    assert not unit["values_unknown"]
    assert unit["user_bits"]["3"] == f"{old.rig.bits(0, 3):x}"
    with closing(sqlite3.connect(old.ledger)) as connection:  # the new form stands beside the old one
        forms = [d for (d,) in connection.execute("SELECT digest FROM records WHERE unit = 1")]
    assert len(forms) == 2
    assert old.do("verify").exit == 0
    assert old.run([0, 1], old.by_index, old.json).words == ["already-pass"] * 2


def test_files_that_say_something_else_teach_nothing(old: Old) -> None:
    old.json.write_text(json.dumps({str(n): {"mac": mac(n + 1)} for n in range(1, 20)}))
    outcome = old.learn(old.batch(0), old.by_index, old.json)
    assert outcome.exit == 1, said(outcome)
    assert "the files say something else for its index" in outcome.stdout
    assert old.unit(0)["values_unknown"]


def test_a_batch_without_records_whose_file_has_changed_is_refused_until_it_is_learned(old: Old) -> None:
    assert old.run([2], old.by_line, old.csv).words == ["already-pass"]  # the very same file
    name = old.batch(2)
    old.lines(9)
    for more in ((), ("--batch", name), ("--batch", "another")):
        refused = old.run([3], old.by_line, old.csv, *more)
        assert refused.exit in (2, 3), said(refused)
        assert f"ledger learn --batch {name}" in refused.stdout + refused.stderr
        assert custom_mac_of(old.rig, 3) == ""

    shifted = old.folder / "shifted" / "ids.csv"
    shifted.parent.mkdir()
    shifted.write_text("".join(old.csv.read_text().splitlines(keepends=True)[1:]))
    outcome = old.learn(name, old.by_line, shifted, "--records", "ids.csv=line")
    assert outcome.exit == 1, said(outcome)
    assert "and it carries aa:cd:ef:00:07:01" in outcome.stdout
    assert old.run([3], old.by_line, old.csv).exit in (2, 3)

    learned = old.learn(name, old.by_line, old.csv, "--records", "ids.csv=line")
    assert learned.exit == 0, said(learned)
    burned = old.run([3], old.by_line, old.csv)
    assert burned.exit == 0, said(burned)
    assert [result["index"] for result in burned.results] == [3]
    assert custom_mac_of(old.rig, 3) == "aa:cd:ef:00:07:03"
    assert old.batch(3) == name
    assert old.do("verify").exit == 0


def test_doubles_that_can_be_seen_are_listed(old: Old) -> None:
    """Two products got one number: an older parburn did not compare bits that have no name."""
    number = "if esp.CHIP_NAME != 'ESP32': espefuse(esp, efuses, args, 'burn_bit BLOCK_USR_DATA 0 3 5 9')\n"
    by_index = script(old.folder, "by_index_2", BY_INDEX + number)
    by_line = script(old.folder, "by_line_2", BY_LINE + number)
    names = old.batch(0), old.batch(2)
    assert old.learn(names[0], by_index, old.json).exit == 0
    assert "Double" not in old.do("verify").stdout
    outcome = old.learn(names[1], by_line, old.csv, "--records", "ids.csv=line")
    assert outcome.exit == 0, said(outcome)
    verified = old.do("verify")
    assert verified.exit == 0, said(verified)
    double = f"{old.rig.mac(2)} has the same BLOCK_USR_DATA[0:32] 0x229 as {old.rig.mac(0)}"
    assert f"Double: {double}" in verified.stdout, said(verified)
    assert "nobody can say" not in verified.stdout


@pytest.mark.parametrize("form", ["file", "json", "csv"])
def test_what_an_older_ledger_does_not_know_is_not_known_where_it_is_taken_over(old: Old, form: str) -> None:
    source = old.ledger
    if form != "file":
        source = old.folder / f"used.{form}"
        assert old.do("export", "--format", form, "--output", source).exit == 0
    name = old.batch(2)
    old.ledger = old.folder / "second" / "ledger.sqlite"
    old.ledger.parent.mkdir()
    assert old.do("init", "--why", "a second PC").exit == 0
    taken = old.do("import-used", source, "--why", "a second PC")
    assert taken.exit == 0, said(taken)
    verified = old.do("verify")
    assert verified.exit == 0, said(verified)
    assert "Values unknown of 4 units" in verified.stdout
    assert old.unit(0)["values_unknown"]
    old.lines(9)  # of a batch without records it cannot be known whether this file is its own
    refused = old.run([3], old.by_line, old.csv, "--batch", name)
    assert refused.exit in (2, 3), said(refused)
    assert f"ledger learn --batch {name}" in refused.stdout + refused.stderr
    assert custom_mac_of(old.rig, 3) == ""
