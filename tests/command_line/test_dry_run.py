"""A dry run knows what the ledger knows, says what would be burned, and leaves nothing behind."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pytest

from tests.command import Outcome, finish, parburn, start
from tests.provisioning import rows, said
from tests.rig import Rig, start_rig

MACS = (
    "one = json.load(args.configfiles[0])[str(args.index)]\n"
    "espefuse(esp, efuses, args, 'burn_custom_mac ' + one['mac'])\n"
    "espefuse(esp, efuses, args, 'burn_efuse DIS_PAD_JTAG 1')\n"
)


class Line:
    """A product with so many records, and boards."""

    def __init__(self, folder: Path, rig: Rig, *, records: int) -> None:
        self.folder, self.rig, self.state = folder, rig, folder / "state"
        self.script, self.ids = folder / "burn.py", folder / "ids.json"
        self.script.write_text(MACS)
        self.ids.write_text(
            json.dumps({str(n): {"mac": f"02:00:00:00:00:{n:02x}"} for n in range(1, records + 1)})
        )

    def run(self, boards: int, *more: object) -> Outcome:
        """The same command as always, for the first boards."""
        words = ("--ports", *self.rig.ports[:boards], "--scripts", self.script, "--configfiles", self.ids)
        return parburn(*words, "--do-not-confirm", *more, state=self.state)

    def ledger(self) -> dict[str, str]:
        """All files of the ledger's folder, by what is in them."""
        files = (self.state / "parburn").iterdir()
        return {file.name: hashlib.sha256(file.read_bytes()).hexdigest() for file in files}

    def exported(self) -> str:
        """The record, a row a unit."""
        return parburn("ledger", "export", "--format", "csv", state=self.state).stdout


@pytest.fixture
def scratch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "scratch"
    folder.mkdir()
    monkeypatch.setenv("TMPDIR", str(folder))
    return folder


def test_it_knows_who_has_passed_and_which_records_are_spent_and_leaves_no_trace(
    tmp_path: Path, scratch: Path
) -> None:
    with start_rig("esp32c3", 4, tmp_path) as rig:
        line = Line(tmp_path, rig, records=3)
        assert line.run(2, "--json").words == ["pass", "pass"]
        before, exported = line.ledger(), line.exported()
        dry = line.run(4, "--dry-run", "--json")
        assert dry.words == ["already-pass", "already-pass", "would-burn", "refused"], said(dry)
        assert dry.exit == 4
        assert dry.results[3]["error"] == "No record is left: ids.json has 3, all are used."
        assert dry.results[2]["index"] == 3
        assert line.ledger() == before
        assert line.exported() == exported
        assert not list(scratch.iterdir())
        assert not any(rig.programs(n) for n in (2, 3))
        assert line.run(3, "--json").words == ["already-pass", "already-pass", "pass"]


def test_it_says_would_burn_with_all_values(tmp_path: Path) -> None:
    with start_rig("esp32c3:1,esp32s3:1", 2, tmp_path) as rig:
        dry = Line(tmp_path, rig, records=3).run(2, "--dry-run")
        assert dry.exit == 0, said(dry)
        for sentence in (
            "ttyUSB0: would burn index 1 CUSTOM_MAC 02:00:00:00:00:01 in ",
            "    BLOCK_USR_DATA: CUSTOM_MAC = 02:00:00:00:00:01\n",
            "    BLOCK0: DIS_PAD_JTAG = 1\n",
            "2 boards: 1 ESP32-C3, 1 ESP32-S3, index 1-2, CUSTOM_MAC (own value each), DIS_PAD_JTAG = 1, "
            "no locks, no keys\n",
            "2 of 2 boards would burn, slowest ",
            "; dry run: nothing was burned\n",
        ):
            assert sentence in dry.stdout, dry.stdout


def test_a_value_that_another_chip_has_is_refused(tmp_path: Path) -> None:
    with start_rig("esp32c3", 2, tmp_path) as rig:
        line = Line(tmp_path, rig, records=2)
        assert line.run(1, "--json").words == ["pass"]
        before = line.ledger()
        dry = parburn(
            "--ports", rig.ports[1], "--commands", "burn_custom_mac 02:00:00:00:00:01", "--batch", "other",
            "--dry-run", "--json", state=line.state,
        )  # fmt: skip
        assert (dry.exit, dry.words) == (3, ["refused"]), said(dry)
        assert "belongs to the chip" in dry.results[0]["error"]
        assert "set aside" not in dry.stdout
        assert line.ledger() == before


def test_it_ties_no_file_to_a_batch(tmp_path: Path) -> None:
    with start_rig("esp32c3", 3, tmp_path) as rig:
        line = Line(tmp_path, rig, records=3)
        assert parburn(
            "--ports", rig.ports[2], "--commands", "burn_bit BLOCK3 3", "--same", "BLOCK_USR_DATA",
            "--do-not-confirm", "--json", state=line.state,
        ).words == ["pass"]  # fmt: skip
        assert line.run(2, "--dry-run", "--json", "--batch", "a name mistyped").words == ["would-burn"] * 2
        burned = line.run(2, "--json", "--batch", "the right name")
        assert burned.words == ["pass", "pass"], said(burned)


def test_a_ledger_that_is_older_than_its_witness_is_refused_as_in_a_real_run(tmp_path: Path) -> None:
    with start_rig("esp32c3", 1, tmp_path) as rig:
        line = Line(tmp_path, rig, records=2)
        assert line.run(1, "--json").exit == 0
        ledger = line.state / "parburn" / "ledger.sqlite3"
        ledger.write_bytes(b"")
        dry = line.run(1, "--dry-run")
        assert dry.exit == 2
        ledger.unlink()
        gone = line.run(1, "--dry-run")
        assert gone.exit == 2
        assert "is missing. Its witness says that there was one" in gone.stderr


def test_a_report_of_a_dry_run_says_that_it_was_one(tmp_path: Path) -> None:
    with start_rig("esp32c3", 1, tmp_path) as rig:
        line = Line(tmp_path, rig, records=2)
        report = tmp_path / "run.jsonl"
        line.run(1, "--dry-run", "--report", report)
        (row,) = rows(report)
        assert row["dry_run"] is True
        assert row["result"] == "would-burn"
        assert row["burned"] == "nothing was burned: a dry run"


def test_what_another_run_holds_now_is_not_free(tmp_path: Path) -> None:
    with start_rig("esp32c3", 2, tmp_path) as rig:
        line = Line(tmp_path, rig, records=2)
        gate = tmp_path / "gate"
        slow = tmp_path / "slow.py"
        waits = f"import os, time\nwhile not os.path.exists({str(gate)!r}): time.sleep(0.01)\n"
        slow.write_text(waits + MACS)
        words = ("--configfiles", line.ids, "--do-not-confirm", "--json")
        running = start("--ports", rig.ports[0], "--scripts", slow, *words, state=line.state)
        assert running.stdout is not None
        while '"scripting"' not in running.stdout.readline():
            pass
        dry = parburn(
            "--ports", rig.ports[1], "--scripts", line.script, *words, "--dry-run", state=line.state
        )
        gate.touch()
        assert (dry.words, dry.results[0]["index"]) == (["would-burn"], 2), said(dry)
        assert finish(running).exit == 0
