"""The everyday lines of examples/README.md, run as written, day after day, on boards that keep their bits.

The commands and the result words are read from that file: what it promises is held here. Only the ports are a
rig's, and the two questions are answered by options.
"""

from __future__ import annotations

import csv
import re
import shlex
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import chdir, contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.command import Outcome, parburn
from tests.provisioning import custom_mac_of, every_bit, key_of, said
from tests.rig import ROOT, Rig, start_rig

PORTS = "/dev/ttyUSB*"
RESULTS = ("already-pass", "incomplete", "pass", "refused")
SERIAL, WEEK, PRODUCT = (56, 32), (88, 16), (104, 48)  # first bit and bits, as in examples/product.csv


@dataclass(frozen=True)
class Line:
    """A block of the file: a command, and the result words that the text behind it promises."""

    text: str
    promised: frozenset[str]


def lines_of(title: str) -> list[Line]:
    """The blocks below a heading, in their order."""
    text = (ROOT / "examples" / "README.md").read_text()
    _, found, section = text.partition(f"\n### {title}\n")
    assert found, title
    section = re.split(r"\n###? ", section)[0]
    parts = re.findall(r"```sh\n(.*?)\n```(.*?)(?=```sh|\Z)", section, flags=re.DOTALL)
    return [
        Line(command, frozenset(re.findall(r"`([\w-]+)`", seen)) & set(RESULTS)) for command, seen in parts
    ]


class Day:
    """A folder with the examples as they are delivered, a ledger, and boards."""

    def __init__(self, folder: Path, rig: Rig, title: str) -> None:
        self.folder, self.rig = folder, rig
        self.lines = lines_of(title)
        shutil.copytree(ROOT / "examples", folder / "examples", ignore=shutil.ignore_patterns("__pycache__"))

    def run(self, line: Line, *boards: int, more: str = "--json") -> Outcome:
        """Run a command of the file on some of the boards, from the folder above `examples`."""
        words = shlex.split(f"{line.text} {more}")
        assert words[0] == "parburn"
        at = words.index(PORTS)
        words[at : at + 1] = [self.rig.ports[n] for n in boards]
        with chdir(self.folder):
            return parburn(*words[1:], "--do-not-confirm", state=self.folder / "state")

    def see(self, line: Line, boards: str, words: str) -> Outcome:
        """Run it on the boards with these digits: these are the result words, and the file promises them."""
        outcome = self.run(line, *map(int, boards))
        assert outcome.words == words.split(), said(outcome)
        assert set(outcome.words) <= line.promised, f"{line.text}\npromises {sorted(line.promised)}"
        return outcome

    def shell(self, line: Line) -> None:
        subprocess.run(["bash", "-ec", line.text], cwd=self.folder, check=True)

    def value(self, board: int, place: tuple[int, int]) -> int:
        start, bits = place
        return self.rig.bits(board, 3) >> start & (1 << bits) - 1

    def macs(self) -> list[str]:
        return [custom_mac_of(self.rig, n) for n in range(len(self.rig.ports))]


@contextmanager
def day(folder: Path, title: str, boards: str) -> Iterator[Day]:
    with start_rig(boards, tmp_path=folder) as rig:
        yield Day(folder, rig, title)


MIXED = "esp32:1,esp32c3:1,esp32s3:2"
WITH_PURPOSES = "esp32c3:2,esp32s3:2"


def test_every_line_of_the_file_is_run_here() -> None:
    text = (ROOT / "examples" / "README.md").read_text()
    titles = re.findall(r"\n### (.*)\n", text)
    here = Path(__file__).read_text()
    assert len(titles) == 7
    assert all(f'"{title}"' in here for title in titles)
    assert sum(len(lines_of(title)) for title in titles) == text.count("```sh\n")


def test_a_mac_for_each_board(tmp_path: Path) -> None:
    with day(tmp_path, "A MAC address for each board", MIXED) as it:
        first, again = it.lines
        it.see(first, "01", "pass pass")
        it.see(again, "3120", "already-pass already-pass pass pass")
        assert sorted(it.macs()) == [f"02:00:00:00:ee:{n:02x}" for n in range(1, 5)]
        assert it.macs()[:2] == ["02:00:00:00:ee:01", "02:00:00:00:ee:02"]


def test_one_mac_for_two_indexes_is_told_with_both(tmp_path: Path) -> None:
    with day(tmp_path, "A MAC address for each board", "esp32c3:2") as it:
        macs = tmp_path / "examples" / "mac_addresses.json"
        macs.write_text('{"1": "02:00:00:00:ee:01", "2": "02:00:00:00:EE:01"}')
        doubled = it.run(it.lines[0], 0, 1)
        assert doubled.words == ["refused", "refused"]
        assert "say for index 2 what they say for index 1" in doubled.results[0]["error"]
        assert it.macs() == ["", ""]


def test_a_csv_that_grows(tmp_path: Path) -> None:
    title = "A MAC address and a serial number, from a CSV file that grows"
    with day(tmp_path, title, "esp32:2,esp32c3:2,esp32s3:2") as it:
        first, append, next_day = it.lines
        it.see(first, "012", "pass pass pass")
        it.shell(append)
        outcome = it.see(next_day, "012345", "already-pass already-pass already-pass pass pass refused")
        assert outcome.exit == 4
        assert "No record is left" in outcome.results[5]["error"]
        assert it.macs() == [*(f"02:00:00:00:ed:{n:02x}" for n in range(1, 6)), ""]
        assert [it.value(n, SERIAL) for n in range(6)] == [*range(26480001, 26480006), 0]


def test_a_row_that_was_deleted_or_read_in_another_form_is_told(tmp_path: Path) -> None:
    title = "A MAC address and a serial number, from a CSV file that grows"
    with day(tmp_path, title, "esp32c3:3") as it:
        first, _, next_day = it.lines
        it.see(first, "01", "pass pass")
        before = every_bit(it.rig)
        other_form = it.run(next_day, 2, more="--records units.csv=line")
        assert "units.csv is read as row by the batch" in said(other_form)
        assert "as line by this run" in said(other_form)
        units = tmp_path / "examples" / "units.csv"
        header, _one, *rest = units.read_text().splitlines(keepends=True)
        units.write_text("".join([header, *rest]))
        deleted = it.run(next_day, 2)
        assert "What index 2 had is under index 1 now" in said(deleted)
        assert "Put the record back as it was" in said(deleted)
        assert other_form.exit == deleted.exit == 3
        assert every_bit(it.rig) == before


def test_a_product_name_and_a_week_beside_a_serial(tmp_path: Path) -> None:
    with day(tmp_path, "A product name and a week beside a serial number", MIXED) as it:
        first, again = it.lines
        it.see(first, "01", "pass pass")
        it.see(again, "0123", "already-pass already-pass pass pass")
        assert {it.value(n, PRODUCT).to_bytes(6, "little") for n in range(4)} == {b"SENSOR"}
        assert {it.value(n, WEEK) for n in range(4)} == {2648}
        assert [it.value(n, SERIAL) for n in range(4)] == [26480001, 26480002, 26480003, 26480004]


def test_a_product_name_that_is_not_declared_is_for_one_board_only(tmp_path: Path) -> None:
    with day(tmp_path, "A product name and a week beside a serial number", "esp32c3:2") as it:
        first, again = it.lines
        assert it.run(again, 0).words == ["pass"]
        refused = it.run(again, 1, more="")
        assert refused.exit == 3
        assert "--same PRODUCT" in said(refused)
        assert it.run(first, 0, 1).words == ["already-pass", "pass"]


def test_one_key_for_all_boards(tmp_path: Path) -> None:
    with day(tmp_path, "One key for all boards", WITH_PURPOSES) as it:
        (line,) = it.lines
        it.see(line, "01", "pass pass")
        it.see(line, "0123", "already-pass already-pass pass pass")
        key = (ROOT / "examples" / "demo_key.bin").read_bytes()
        assert [key_of(it.rig, n) for n in range(4)] == [key] * 4


def test_another_key_for_a_board_that_passed_is_not_advised_to_be_forced(tmp_path: Path) -> None:
    with day(tmp_path, "One key for all boards", "esp32c3:1") as it:
        (line,) = it.lines
        it.see(line, "0", "pass")
        before = every_bit(it.rig)
        (tmp_path / "examples" / "demo_key.bin").write_bytes(bytes(range(32)))
        other = it.run(line, 0, more="")
        assert other.exit == 1
        assert "other content needs another block" in other.stdout
        assert "that PASS stays in the ledger" in other.stdout
        assert every_bit(it.rig) == before


def test_a_key_made_in_the_script_and_saved(tmp_path: Path) -> None:
    title = "A key for each board, made at random by the script"
    stuck = "on board 1: the controller never becomes idle after program 2"
    with start_rig(WITH_PURPOSES, tmp_path=tmp_path, faults=(stuck,)) as rig:
        it = Day(tmp_path, rig, title)
        (line,) = it.lines
        it.see(line, "0123", "pass incomplete pass pass")
    with start_rig(WITH_PURPOSES, tmp_path=tmp_path) as it.rig:
        it.see(line, "0123", "already-pass pass already-pass already-pass")
        example, keys = (tmp_path / "examples" / name for name in ("12_own_key.py", "keys"))
        text = example.read_text()
        example.write_text(f"{text}# another job\n")
        lost = keys / f"{it.rig.mac(0).replace(':', '')}.bin"
        key = lost.read_bytes()
        lost.unlink()
        missing = it.run(line, 0)
        assert "this chip has a key already" in missing.results[0]["error"]
        assert not lost.exists()  # no key is made that is in no chip
        lost.write_bytes(key)
        example.write_text(text)
        saved = {file.stem: file.read_bytes() for file in (tmp_path / "examples" / "keys").iterdir()}
        assert len(set(saved.values())) == 4
        for n in range(4):
            assert key_of(it.rig, n) == saved[it.rig.mac(n).replace(":", "")]
        it.see(line, "01", "already-pass already-pass")


STATIONS = "Two stations, one batch"
REWORK = "Rework: another job for boards that have passed"


def test_two_stations_with_one_batch_and_rework(tmp_path: Path) -> None:
    with day(tmp_path, STATIONS, WITH_PURPOSES) as it:
        station_1, forgotten, station_2 = it.lines
        it.see(station_1, "0123", "pass pass pass pass")
        before = every_bit(it.rig)
        refused = it.run(forgotten, 2, 0)
        assert refused.exit == 3
        assert not forgotten.promised
        assert "units.csv belongs to the batch spring and is not among the config files" in said(refused)
        assert "--batch spring --configfiles keys.csv units.csv" in said(refused)
        assert every_bit(it.rig) == before
        it.see(station_2, "31", "pass pass")  # other ports' boards first: the index is the chip's
        it.see(station_2, "20", "pass pass")
        with (tmp_path / "examples" / "keys.csv").open() as file:
            keys = [bytes.fromhex(row["key"]) for row in csv.DictReader(file)]
        assert [key_of(it.rig, n, block=5) for n in range(4)] == keys[:4]
        assert [it.value(n, SERIAL) for n in range(4)] == [26480001, 26480002, 26480003, 26480004]

        (rework,) = lines_of(REWORK)
        outcome = it.see(rework, "2031", "pass pass pass pass")
        assert [result["index"] for result in outcome.results] == [1, 2, 3, 4]
        assert all(it.rig.bits(n, 0) for n in range(4))
        it.see(rework, "0123", " ".join(["already-pass"] * 4))
        assert it.run(station_1, 0).words == ["already-pass"]


def test_a_station_that_knows_one_file_only_is_told_the_batch(tmp_path: Path) -> None:
    with day(tmp_path, STATIONS, "esp32c3:2") as it:
        station_1, forgotten, station_2 = it.lines
        alone = Line(station_1.text.replace(" examples/keys.csv", ""), station_1.promised)
        it.see(alone, "01", "pass pass")
        refused = it.run(forgotten, 1, more="")
        assert refused.exit == 3
        assert "This chip carries index 2 of the batch spring." in said(refused)
        assert "--batch spring --configfiles units.csv keys.csv" in said(refused)
        it.see(station_2, "1", "pass")
        assert it.run(alone, 1, 0).words == ["already-pass", "already-pass"]
