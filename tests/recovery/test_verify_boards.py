"""`ledger verify --ports`: QA a week later. Boards are compared with their records, through the installed
command; nothing is burned and nothing is written."""

from __future__ import annotations

import contextlib
import json
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from parburn.cli.main import main
from parburn.recovery import verify_boards
from tests.command import Outcome, parburn
from tests.provisioning import KEY, PROVISION, custom_mac_of, every_bit, said, script
from tests.rig import Rig, start_rig
from tests.test_docs import LISTS, listed

MAC_ONLY = """\
entry = json.load(args.configfiles[0])[str(args.index)]
espefuse(esp, efuses, args, 'burn_custom_mac ' + entry['mac'])
"""

FLAGS = "MY_FLAGS, EFUSE_BLK0, 120, 3, Flags of our own beside those of the chip\n"


class Station:
    """One ledger, and QA that looks into it."""

    def __init__(self, folder: Path, ids: Path) -> None:
        self.folder, self.ids, self.ledger = folder, ids, folder / "ledger.sqlite"

    def burn(self, ports: list[str], work: Path, *more: object) -> Outcome:
        """Burn by the script."""
        return parburn(
            "--ports", *ports, "--scripts", work, "--configfiles", self.ids, "--ledger", self.ledger,
            "--do-not-confirm", "--json", *more, state=self.folder,
        )  # fmt: skip

    def elsewhere(self, port: str, commands: str) -> None:
        """Burn with another PC's ledger."""
        other = self.folder / "elsewhere.sqlite"
        done = parburn(
            "--ports", port, "--commands", commands, "--ledger", other, "--do-not-confirm", state=self.folder
        )
        assert done.exit == 0, said(done)

    def verify(self, ports: list[str], *more: object) -> Outcome:
        """Compare the boards with their records."""
        return parburn(
            "ledger", "verify", "--ports", *ports, "--ledger", self.ledger, *more, state=self.folder
        )

    def taken_over(self, form: str) -> None:
        """Go on with a new ledger that took over this one: `csv`, `json`, or `file` for the ledger's file."""
        taken, second = self.folder / f"export.{form}", self.folder / f"second-{form}.sqlite"
        words = ("--format", form, "-o", taken, "--ledger", self.ledger)
        if form == "file":
            taken = self.ledger
        else:
            assert parburn("ledger", "export", *words, state=self.folder).exit == 0
        self.ledger = second
        for action in (("init",), ("import-used", str(taken))):
            done = parburn("ledger", *action, "--why", "x", "--ledger", second, state=self.folder)
            assert done.exit == 0, said(done)

    def verdicts(self, ports: list[str]) -> list[str]:
        """The words of all boards."""
        return [one["verdict"] for one in self.verify(ports, "--json").events]


@pytest.fixture
def station(tmp_path: Path, ids: Path) -> Station:
    return Station(tmp_path, ids)


def pulses(rig: Rig) -> list[int]:
    return [rig.programs(n) for n in range(len(rig.ports))]


def texts(outcome: Outcome) -> str:
    """What was told, without the folds."""
    return " ".join(outcome.stdout.split())


def test_boards_are_as_recorded_and_nothing_is_burned_or_written(
    tmp_path: Path, station: Station, key: Path
) -> None:
    work = script(tmp_path, "work", PROVISION.replace("{key}", str(key)))
    with start_rig("esp32c3:2,esp32:2,esp32s3:1", tmp_path=tmp_path) as rig:
        assert station.burn(rig.ports, work).exit == 0
        before, bits, burned = station.ledger.read_bytes(), every_bit(rig), pulses(rig)
        outcome = station.verify(list(reversed(rig.ports)))
        assert outcome.exit == 0, said(outcome)
        assert "5 boards: 5 as-recorded. Nothing was burned" in texts(outcome)
        assert texts(outcome).count("BLOCK_KEY0 is read-protected: what it holds cannot be compared") == 3
        for n in range(5):
            assert f"{rig.mac(n)}, index {n + 1} of the batch" in texts(outcome)
        assert max(len(line) for line in outcome.stdout.splitlines() if "/" not in line) <= 80
        assert (station.ledger.read_bytes(), every_bit(rig), pulses(rig)) == (before, bits, burned)
        for text in (KEY.hex(), KEY[::-1].hex()):
            assert text not in outcome.stdout
    assert parburn("ledger", "verify", "--ledger", station.ledger, state=tmp_path).exit == 0


def test_extra_bits_are_told_by_their_fields(tmp_path: Path, station: Station) -> None:
    work = script(tmp_path, "work", MAC_ONLY)
    with start_rig("esp32c3", 3, tmp_path=tmp_path) as rig:
        assert station.burn(rig.ports, work).exit == 0
        station.elsewhere(rig.ports[0], "burn_efuse DIS_USB_JTAG 1")
        station.elsewhere(rig.ports[1], "write_protect_efuse BLOCK_KEY3")
        bits, burned = every_bit(rig), pulses(rig)
        outcome = station.verify(rig.ports)
        assert outcome.exit == 5, said(outcome)
        assert "extra: DIS_USB_JTAG (bit 41) of BLOCK0" in texts(outcome)
        assert "extra: WR_DIS (bit 26) of BLOCK0" in texts(outcome)
        assert "NOT as recorded: take it out of the line and mark it" in texts(outcome)
        assert station.verdicts(rig.ports) == ["differs", "differs", "as-recorded"]
        assert (every_bit(rig), pulses(rig)) == (bits, burned)


def test_missing_bits_are_told_by_their_fields(tmp_path: Path, station: Station) -> None:
    """The board of the record was exchanged for a blank one with its factory MAC."""
    work = script(tmp_path, "work", MAC_ONLY + "espefuse(esp, efuses, args, 'burn_efuse DIS_PAD_JTAG 1')\n")
    with start_rig("esp32c3", 2, tmp_path=tmp_path) as rig:
        assert station.burn(rig.ports, work).exit == 0
    blank = tmp_path / "blank"
    blank.mkdir()
    with start_rig("esp32c3", 2, tmp_path=blank) as rig:
        outcome = station.verify(rig.ports[:1])
        assert outcome.exit == 5, said(outcome)
        assert "missing: DIS_PAD_JTAG (bit 51) of BLOCK0" in texts(outcome)
        assert "missing: CUSTOM_MAC (" in texts(outcome)
        assert "of BLOCK_USR_DATA" in texts(outcome)


def test_another_key_in_a_block_that_can_be_read(tmp_path: Path, station: Station, key: Path) -> None:
    work = script(
        tmp_path,
        "work",
        MAC_ONLY + f"espefuse(esp, efuses, args, 'burn_key flash_encryption {key} --no-protect-key')\n",
    )
    with start_rig("esp32", 2, tmp_path=tmp_path, settings=["coding=none"]) as rig:
        assert station.burn(rig.ports, work).exit == 0
        assert station.verdicts(rig.ports) == ["as-recorded"] * 2
        station.elsewhere(rig.ports[1], "burn_bit BLOCK1 0 1 2 3 4 5 6 7")
        outcome = station.verify(rig.ports)
        assert outcome.exit == 5, said(outcome)
        assert texts(outcome).count("BLOCK1 holds another key than the one that is recorded") == 1
        assert KEY.hex() not in outcome.stdout
        history = parburn("ledger", "history", "1", "--ledger", station.ledger, state=tmp_path)
        assert "key: BLOCK1: burned and verified, not locked" in texts(history)


def test_what_no_record_speaks_of_is_told_and_is_no_difference(tmp_path: Path, station: Station) -> None:
    work = script(tmp_path, "work", "espefuse(esp, efuses, args, 'burn_efuse DIS_PAD_JTAG 1')\n")
    with start_rig("esp32c3", 2, tmp_path=tmp_path) as rig:
        assert station.burn(rig.ports, work).exit == 0
        station.elsewhere(rig.ports[1], "burn_bit BLOCK_KEY4 5")
        outcome = station.verify(rig.ports)
        assert outcome.exit == 1, said(outcome)
        assert "it holds bits in BLOCK_KEY4, of which no record speaks" in texts(outcome)
        assert station.verdicts(rig.ports) == ["as-recorded", "more-than-recorded"]


def test_a_bit_that_the_chip_corrects_is_told(tmp_path: Path, station: Station) -> None:
    """What it shows is right; after the burn one more bit of the block went."""
    work = script(tmp_path, "work", MAC_ONLY)
    with start_rig("esp32c3", 2, tmp_path=tmp_path) as rig:
        assert station.burn(rig.ports, work).exit == 0
        state = rig.states[1]
    content = json.loads(state.read_text())
    block = content["blocks"]["BLOCK_USR_DATA"]
    block["cells"] = hex(int(block["cells"], 16) | 1 << 3)
    state.write_text(json.dumps(content))
    with start_rig("esp32c3", 2, tmp_path=tmp_path) as rig:
        outcome = station.verify(rig.ports)
        assert outcome.exit == 1, said(outcome)
        assert "it holds 1 coding errors in BLOCK_USR_DATA, of which no record speaks" in texts(outcome)
        assert station.verdicts(rig.ports) == ["as-recorded", "more-than-recorded"]


def test_boards_that_are_begun_unknown_or_silent(tmp_path: Path, station: Station) -> None:
    work = script(tmp_path, "work", MAC_ONLY + "espefuse(esp, efuses, args, 'burn_efuse DIS_PAD_JTAG 1')\n")
    fault = "on board 1: the controller never becomes idle after program 1"
    with start_rig("esp32c3", 3, tmp_path=tmp_path, faults=[fault]) as rig:
        assert station.burn(rig.ports[:2], work).words == ["pass", "incomplete"]
    silent = "on board 2: the link is silent after 1 bytes"
    with start_rig("esp32c3", 4, tmp_path=tmp_path, faults=[silent]) as rig:
        assert station.verdicts(rig.ports) == ["as-recorded", "not-whole", "no-answer", "no-record"]
        outcome = station.verify(rig.ports)
        assert outcome.exit == 1, said(outcome)
        assert "its burn is not whole: run it again with its script and files" in texts(outcome)
        assert "the ledger knows no such chip" in texts(outcome)


def test_a_second_job_of_another_batch_counts(tmp_path: Path, station: Station) -> None:
    work = script(tmp_path, "work", MAC_ONLY)
    flag = script(tmp_path, "flag", "espefuse(esp, efuses, args, 'burn_efuse JTAG_DISABLE 1')\n")
    with start_rig("esp32", 1, tmp_path=tmp_path, settings=["coding=none"]) as rig:
        assert station.burn(rig.ports, work, "--batch", "first").exit == 0
        second = ("--batch", "second", "--allow-other-batch", "--allow-shared-records")
        done = station.burn(rig.ports, flag, *second)
        assert done.exit == 0, said(done)
        assert station.verdicts(rig.ports) == ["as-recorded"]
        station.elsewhere(rig.ports[0], "burn_bit BLOCK3 100")
        outcome = station.verify(rig.ports)
        assert (outcome.exit, "extra: bit 100 of BLOCK3" in texts(outcome)) == (5, True), said(outcome)


def test_a_scrapped_board_is_never_as_recorded(tmp_path: Path, station: Station) -> None:
    work = script(tmp_path, "work", MAC_ONLY)
    with start_rig("esp32", 2, tmp_path=tmp_path, settings=["coding=none"]) as rig:
        assert station.burn(rig.ports, work, "--batch", "first").exit == 0
        words = ("--why", "crushed", "--ledger", station.ledger)
        assert parburn("ledger", "scrap", rig.mac(0), *words, state=tmp_path).exit == 0
        outcome = station.verify(rig.ports)
        assert outcome.exit == 5, said(outcome)
        assert "SCRAPPED: it must not ship" in texts(outcome)
        assert "scrapped in the batch first: crushed" in texts(outcome)
        assert station.verdicts(rig.ports) == ["scrapped", "as-recorded"]


OPEN_KEY = """\
espefuse(esp, efuses, args, 'burn_key BLOCK_KEY2 {key} USER --no-read-protect --no-write-protect')
"""
TWO_FLAGS = "espefuse(esp, efuses, args, 'burn_efuse DIS_PAD_JTAG 1 DIS_USB_JTAG 1')\n"


@pytest.mark.parametrize("form", ["csv", "json", "file"])
def test_a_unit_that_was_taken_over_is_never_wholly_as_recorded(
    form: str, tmp_path: Path, station: Station, key: Path
) -> None:
    """No form of it has keys. A board with them, and one without, are compared as far as the record tells."""
    keys = OPEN_KEY.format(key=key)
    with start_rig("esp32c3", 1, tmp_path=tmp_path) as rig:
        assert station.burn(rig.ports, script(tmp_path, "work", TWO_FLAGS + keys)).exit == 0
        assert station.verdicts(rig.ports) == ["as-recorded"]
        station.taken_over(form)
        outcome = station.verify(rig.ports)
        assert outcome.exit == 1, said(outcome)
        assert "NOT ALL of it can be compared" in texts(outcome)
        assert station.verdicts(rig.ports) == ["partly-recorded"]
    blank = tmp_path / "blank"
    blank.mkdir()
    with start_rig("esp32c3", 1, tmp_path=blank) as rig:
        outcome = station.verify(rig.ports, "--json")
        (told,) = outcome.events
        if form == "file":
            assert (outcome.exit, told["verdict"]) == (5, "differs"), said(outcome)
        else:
            assert (outcome.exit, told["verdict"]) == (1, "partly-recorded"), said(outcome)
            assert "BLOCK0, " in told["not_compared"][-1]
        assert "BLOCK_KEY2" in told["not_compared"][-1]
        assert told["not_compared"][-1].endswith("is not recorded: it may be missing there")


@pytest.mark.parametrize("form", ["csv", "json", "file"])
@pytest.mark.parametrize("chip", ["esp32c3", "esp32"])
def test_values_of_a_unit_that_was_taken_over_are_compared(
    chip: str, form: str, tmp_path: Path, station: Station
) -> None:
    """By bits or by name: the user's block of an ESP32 can be hidden, and is in no export."""
    with start_rig(chip, 2, tmp_path=tmp_path) as rig:
        assert station.burn(rig.ports, script(tmp_path, "work", MAC_ONLY)).exit == 0
        station.taken_over(form)
        for one in station.verify(rig.ports, "--json").events:
            assert (one["verdict"], one["missing"], one["extra"]) == ("partly-recorded", [], []), one
            assert not [text for text in one["unrecorded"] if "CLK8M_FREQ" not in text], one  # the factory's
    blank = tmp_path / "blank"
    blank.mkdir()
    with start_rig(chip, 2, tmp_path=blank) as rig:
        outcome = station.verify(rig.ports)
        word = "missing: MAC_VERSION" if (chip, form) == ("esp32", "file") else "missing: CUSTOM_MAC "
        assert (outcome.exit, texts(outcome).count(word)) == (5, 2), said(outcome)


def test_a_job_here_does_not_make_a_record_from_elsewhere_whole(tmp_path: Path, station: Station) -> None:
    """The later job's image tells of the blocks that it burned, and of no others."""
    with start_rig("esp32c3", 1, tmp_path=tmp_path) as rig:
        assert station.burn(rig.ports, script(tmp_path, "work", MAC_ONLY)).exit == 0
        station.taken_over("json")
        assert station.burn(rig.ports, script(tmp_path, "more", MAC_ONLY + TWO_FLAGS)).exit == 0
        outcome = station.verify(rig.ports, "--json")
        (told,) = outcome.events
        assert (outcome.exit, told["verdict"]) == (1, "partly-recorded"), said(outcome)
        assert "BLOCK_KEY0" in told["not_compared"][-1]
        assert "BLOCK0," not in told["not_compared"][-1]


def test_a_rebuilt_record_tells_all_that_its_board_held(tmp_path: Path, station: Station, key: Path) -> None:
    """Also what another job than the one that it was rebuilt with had burned."""
    work = script(tmp_path, "work", MAC_ONLY)
    with start_rig("esp32c3", 1, tmp_path=tmp_path) as rig:
        assert station.burn(rig.ports, work).exit == 0
        assert station.burn(rig.ports, script(tmp_path, "more", OPEN_KEY.format(key=key))).exit == 0
        station.ledger = tmp_path / "rebuilt.sqlite"
        words = ("--scripts", work, "--configfiles", station.ids, "--why", "lost")
        begun = ("ledger", "init", "--why", "lost", "--ledger", station.ledger)
        assert parburn(*begun, state=tmp_path).exit == 0
        done = parburn(
            "ledger", "rebuild", "--ports", *rig.ports, *words, "--ledger", station.ledger, state=tmp_path
        )
        assert done.exit == 0, said(done)
        assert station.verdicts(rig.ports) == ["as-recorded"]
        assert station.burn(rig.ports, work).words == ["already-pass"]
        assert KEY.hex().encode() not in station.ledger.read_bytes()
        rebuilt = station.ledger
    blank = tmp_path / "blank"
    blank.mkdir()
    with start_rig("esp32c3", 1, tmp_path=blank) as rig:
        station.ledger = tmp_path / "elsewhere.sqlite"
        assert station.burn(rig.ports, work).exit == 0
        station.ledger = rebuilt
        outcome = station.verify(rig.ports)
        assert (outcome.exit, "missing: the key in BLOCK_KEY2" in texts(outcome)) == (5, True), said(outcome)


@pytest.mark.parametrize("kept", ["nothing", "the last job's blocks"])
def test_a_unit_of_an_older_parburn_that_kept_less(
    kept: str, tmp_path: Path, station: Station, key: Path
) -> None:
    """It kept no image, or only that of the last job: its steps tell which blocks were burned."""
    keys = OPEN_KEY.format(key=key)
    with start_rig("esp32c3", 1, tmp_path=tmp_path) as rig:
        assert station.burn(rig.ports, script(tmp_path, "work", keys)).exit == 0
        assert station.burn(rig.ports, script(tmp_path, "more", TWO_FLAGS)).exit == 0
        assert station.verdicts(rig.ports) == ["as-recorded"]
        with contextlib.closing(sqlite3.connect(station.ledger)) as connection, connection:
            ((text,),) = connection.execute("SELECT image_passed FROM units").fetchall()
            image = json.loads(text)
            assert image.pop("earlier")
            less = "" if kept == "nothing" else json.dumps(image)
            connection.execute("UPDATE units SET image_passed = ?", (less,))
        outcome = station.verify(rig.ports, "--json")
        (told,) = outcome.events
        assert (outcome.exit, told["verdict"]) == (1, "partly-recorded"), said(outcome)
        assert "BLOCK_KEY2" in told["not_compared"][-1]


def test_bits_beside_the_values_that_are_known_of_a_block(tmp_path: Path, station: Station) -> None:
    """An export knows the fields of custom tables, also in a block that has more than those."""
    table = tmp_path / "flags.csv"
    table.write_text(FLAGS)
    work = script(tmp_path, "work", MAC_ONLY + "espefuse(esp, efuses, args, 'burn_efuse MY_FLAGS 5')\n")
    with start_rig("esp32c3", 2, tmp_path=tmp_path) as rig:
        assert station.burn(rig.ports, work, "--extend-efuse-table", table).exit == 0
        station.taken_over("csv")
        station.elsewhere(rig.ports[1], "burn_efuse DIS_PAD_JTAG 1")
        for more in (("--extend-efuse-table", table), ()):
            outcome = station.verify(rig.ports, "--json", *more)
            assert outcome.events, said(outcome)
            flawless, told = outcome.events
            assert (flawless["unrecorded"], flawless["extra"], told["extra"]) == ([], [], [])
            assert told["unrecorded"] == ["DIS_PAD_JTAG (bit 51) of BLOCK0, of which no record speaks"]


def test_an_older_ledger_and_a_wrong_line_are_told_before_a_port_is_opened(
    tmp_path: Path, station: Station
) -> None:
    work = script(tmp_path, "work", MAC_ONLY)
    with start_rig("esp32c3", 2, tmp_path=tmp_path) as rig:
        assert station.burn(rig.ports[:1], work).exit == 0
        older = station.ledger.read_bytes()
        assert station.burn(rig.ports[1:], work).exit == 0
        assert custom_mac_of(rig, 1)
        station.ledger.write_bytes(older)
        outcome = station.verify(rig.ports)
        assert (outcome.exit, "is older than its witness" in outcome.stderr) == (2, True), said(outcome)
        station.ledger = tmp_path / "none.sqlite"
        assert station.verify(rig.ports).exit == 2
        assert not station.ledger.exists()
        both = ("--sim", "esp32c3:1", "--ledger", station.ledger)
        outcome = parburn("ledger", "verify", "--ports", *rig.ports, *both, state=tmp_path)
        assert outcome.exit == 2


def test_json_without_ports_is_refused(tmp_path: Path) -> None:
    done = parburn("ledger", "verify", "--json", "--ledger", tmp_path / "x", state=tmp_path)
    assert (done.exit, "needs --ports" in done.stderr) == (2, True), said(done)


def test_the_objects_are_those_of_the_page(tmp_path: Path, station: Station) -> None:
    work = script(tmp_path, "work", MAC_ONLY)
    with start_rig("esp32c3", 1, tmp_path=tmp_path) as rig:
        assert station.burn(rig.ports, work).exit == 0
        (told,) = station.verify(rig.ports, "--json").events
    assert told["mac"] == rig.mac(0)
    assert [*told] == listed(LISTS, "Objects of `parburn ledger verify --json`")
    assert (told["index"], told["missing"], told["extra"]) == (1, [], [])
    assert json.loads(json.dumps(told)) == told


@pytest.mark.parametrize("step", ["read_board", "compare"])
def test_a_defect_at_one_board_leaves_the_others_their_verdicts(
    step: str,
    tmp_path: Path,
    station: Station,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """The command runs within this process, so that it can be given a defect: its second board's."""
    sound: Callable[..., Any] = getattr(verify_boards, step)
    calls: list[int] = []

    def faulty(*given: Any) -> Any:
        calls.append(1)
        if len(calls) == 2:
            raise ValueError("a defect")
        return sound(*given)

    monkeypatch.setattr(verify_boards, step, faulty)
    work = script(tmp_path, "work", MAC_ONLY)
    with start_rig("esp32c3", 3, tmp_path=tmp_path) as rig:
        assert station.burn(rig.ports, work).exit == 0
        words = ["ledger", "verify", "--json", "--ledger", str(station.ledger), "--ports", *rig.ports]
        assert main(words) == 1
    told = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert sorted(one["verdict"] for one in told) == ["as-recorded", "as-recorded", "no-answer"]
    assert "an error inside parburn: ValueError: a defect" in [one["error"] for one in told]
