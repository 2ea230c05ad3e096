"""An arming: its file, what has changed since, and records that were added."""

from __future__ import annotations

import errno
import json
import os
import stat
from pathlib import Path

import pytest

from parburn.errors import UsageError
from parburn.station import armed_inputs
from parburn.station.armed import (
    Arming,
    armed_path,
    compare,
    extends,
    read_armed,
    warnings,
    write_armed,
)
from parburn.station.armed_inputs import ArmedInputs, LedgerFacts, inputs_of
from parburn.station.arming import arm, armed_records, extended, has_new_records, prepare
from parburn.station.job_file import check_station_job, load_job_file
from tests.station.jobs import SCRIPT, JobFolder, records

LEDGER = LedgerFacts("ab" * 16, b"k" * 32)
KEY = "espefuse.burn_key(['BLOCK_KEY0'], [io.BytesIO(bytes(range(32)))], ['HMAC_UP'])\n"


def armed(folder: JobFolder, ledger: LedgerFacts = LEDGER) -> Arming:
    """The job of a folder, armed as it stands there."""
    prepared = prepare(load_job_file(folder.path), processes=1)
    assert prepared.found.is_good, prepared.found
    return arm(prepared, ledger, operator="Eva")


def as_it_is(folder: JobFolder, ledger: LedgerFacts = LEDGER) -> ArmedInputs:
    station = load_job_file(folder.path)
    return inputs_of(station, check_station_job(station), ledger)


@pytest.fixture
def folder(tmp_path: Path) -> JobFolder:
    return JobFolder(tmp_path)


def test_an_arming_goes_into_its_file_and_back(folder: JobFolder) -> None:
    folder.script = "import io\n" + SCRIPT + KEY
    folder.write()
    arming = armed(folder)
    path = armed_path(folder.path)
    old = os.umask(0o077)
    try:
        write_armed(path, arming)
    finally:
        os.umask(old)
    assert path == folder.armed
    assert read_armed(path) == arming
    assert stat.S_IMODE(path.stat().st_mode) == 0o644
    assert sorted(one.name for one in folder.folder.iterdir()) == [
        "burn.py", "ids.json", "lamp.armed", "lamp.toml",
    ]  # fmt: skip
    assert (arming.first, arming.last, arming.ledger_uuid, arming.name) == (1, 5, LEDGER.uuid, "lamp")
    text = path.read_text()
    assert f"{int.from_bytes(bytes(range(32)), 'little'):x}" not in text
    assert "aa:cd:ef" not in text


def test_ten_thousand_records_stay_small(folder: JobFolder) -> None:
    folder.records = records(200)
    folder.write()
    write_armed(folder.armed, armed(folder))
    assert folder.armed.stat().st_size < 3000 + 200 * 40


def test_nothing_is_left_of_a_file_that_cannot_be_written(
    folder: JobFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    arming = armed(folder)
    write_armed(folder.armed, arming)
    before = folder.armed.read_bytes()

    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(UsageError, match="No space left"):
        write_armed(folder.armed, arming._replace(operator="Ada"))
    assert folder.armed.read_bytes() == before
    assert not list(folder.folder.glob(".*"))


def damaged(text: str) -> list[bytes]:
    data = json.loads(text)
    other = data | {"operator": "Ada"}
    newer = data | {"schema": 2}
    return [
        b"",
        b"{}",
        b"[]",
        b"\xff",
        text[:-200].encode(),
        *(json.dumps(d).encode() for d in (other, newer)),
    ]


def test_a_file_that_is_none_of_ours_is_refused(folder: JobFolder) -> None:
    write_armed(folder.armed, armed(folder))
    for content in damaged(folder.armed.read_text()):
        folder.armed.write_bytes(content)
        with pytest.raises(UsageError, match=r"damaged|was changed|version"):
            read_armed(folder.armed)
    folder.armed.unlink()
    with pytest.raises(UsageError, match="the job is not armed") as caught:
        read_armed(folder.armed)
    assert "parburn arm lamp.toml" in caught.value.hint


def test_each_change_is_a_sentence(folder: JobFolder) -> None:
    (folder.folder / "fields.csv").write_text("WEEK,3,0,8,week\n")
    (folder.folder / "rig.toml").write_text("schema = 1\n")
    folder.write(tables='["fields.csv"]', slots='"rig.toml"')
    arming = armed(folder)
    assert compare(arming, as_it_is(folder)) == []
    assert not extends(arming, as_it_is(folder))
    day = arming.at[:16].replace("T", " ")
    for name, told in (("burn.py", "burn.py"), ("fields.csv", "fields.csv"), ("rig.toml", "the slots file")):
        path = folder.folder / name
        before = path.read_text()
        path.write_text(before + "\n")
        (said,) = compare(arming, as_it_is(folder))
        assert said == f"{told} was changed since the job was armed on {day} by Eva"
        path.write_text(before)
    folder.write(target="7")
    (said,) = compare(arming, as_it_is(folder))
    assert said.startswith("the job file was changed")


def test_a_copied_folder_stays_armed_where_its_ledger_is(folder: JobFolder, tmp_path: Path) -> None:
    arming = armed(folder)
    (tmp_path / "copy").mkdir()
    copy = JobFolder(tmp_path / "copy")
    assert compare(arming, as_it_is(copy)) == []
    said = compare(arming, as_it_is(copy, LEDGER._replace(uuid="cd" * 16)))
    assert len(said) == 1
    assert "the ledger is another one" in said[0]


def test_a_changed_record_is_named(folder: JobFolder) -> None:
    arming = armed(folder)
    folder.records["3"] = {"mac": "aa:cd:ef:09:09:09"}
    folder.write()
    (said,) = compare(arming, as_it_is(folder))
    assert said.startswith("the record of index 3 was changed since")
    del folder.records["5"]
    folder.write()
    assert any("the last index is 4" in said for said in compare(arming, as_it_is(folder)))
    assert not extends(arming, as_it_is(folder))


def test_the_version_counts_but_for_patches(folder: JobFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(armed_inputs, "__version__", "3.4.5")
    arming = armed(folder)
    for version, differs, warns in (("3.4.5", 0, 0), ("3.4.6", 0, 1), ("3.5.5", 1, 0), ("4.4.5", 1, 0)):
        monkeypatch.setattr(armed_inputs, "__version__", version)
        now = as_it_is(folder)
        assert (len(compare(arming, now)), len(warnings(arming, now))) == (differs, warns)


def test_what_is_burned_makes_the_digest_and_no_date(folder: JobFolder) -> None:
    first = armed(folder)
    again = armed(folder)._replace(at="2020-01-01T00:00:00Z")
    assert first.digest == again.digest
    folder.script = SCRIPT.replace("'burn_efuse", "'burn_efuse ")
    folder.write()
    assert armed(folder).digest != first.digest
    folder.script = SCRIPT
    folder.write(same='["BLOCK_USR_DATA"]')
    assert armed(folder).digest != first.digest
    folder.write(same="[]", target="9")
    assert armed(folder).digest == first.digest


def test_records_that_were_added_extend_an_arming(folder: JobFolder) -> None:
    arming = armed(folder)
    assert not has_new_records(arming, load_job_file(folder.path), LEDGER)
    folder.records = records(8)
    folder.write()
    assert has_new_records(arming, load_job_file(folder.path), LEDGER)
    station = load_job_file(folder.path)
    prepared = prepare(station, processes=1, begin_at=arming.last + 1)
    assert (prepared.found.first, prepared.found.last) == (6, 8)
    checked = armed_records(check_station_job(station), arming)
    assert (checked.job.index_first, checked.job.index_last) == (1, 5)
    longer = extended(arming, prepared, LEDGER)
    assert (longer.last, longer.digest, longer.at) == (8, arming.digest, arming.at)
    assert compare(longer, as_it_is(folder)) == []


@pytest.mark.parametrize(
    ("script", "record", "says"),
    [
        (
            SCRIPT,
            {"mac": "aa:cd:ef:01:00:02"},
            "the record of index 6 gives a value of CUSTOM_MAC that a record",
        ),
        (
            SCRIPT + "if args.index == 6:\n    espefuse(esp, efuses, args, 'burn_efuse DIS_USB_JTAG 1')\n",
            {"mac": "aa:cd:ef:02:00:02"},
            "index 6 burns otherwise than what was armed",
        ),
    ],
)
def test_new_records_bring_nothing_new(
    folder: JobFolder, script: str, record: dict[str, str], says: str
) -> None:
    folder.script = script
    folder.write()
    arming = armed(folder)
    folder.records["6"] = record
    folder.write()
    prepared = prepare(load_job_file(folder.path), processes=1, begin_at=6)
    with pytest.raises(UsageError, match=says):
        extended(arming, prepared, LEDGER)


def test_a_file_whose_last_line_has_no_end_is_refused(folder: JobFolder) -> None:
    folder.script = "espefuse(esp, efuses, args, 'burn_custom_mac ' + MACS[args.index - 1])\n"
    folder.script = "MACS = args.configfiles[0].read().splitlines()\n" + folder.script
    ids = folder.folder / "ids.txt"
    lines = [one["mac"] for one in records(4).values()]
    ids.write_text("\n".join(lines) + "\n")
    folder.write(configfiles='["ids.txt"]', records='["ids.txt=line"]')
    arming = armed(folder)
    assert arming.last == 4
    ids.write_text("\n".join([*lines, "aa:cd:ef:01:0"]))
    with pytest.raises(UsageError, match=r"the last line of .*ids\.txt has no end"):
        as_it_is(folder)
    with pytest.raises(UsageError, match="has no end"):
        prepare(load_job_file(folder.path), processes=1)


def test_a_folder_that_was_copied_with_its_ledger_is_refused_on_another_machine(
    folder: JobFolder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    machine = tmp_path / "machine-id"
    monkeypatch.setattr(armed_inputs, "MACHINE_ID", str(machine))
    machine.write_text("1234\n")
    arming = armed(folder)
    assert "1234" not in arming.inputs.machine
    assert not compare(arming, as_it_is(folder))
    machine.write_text("5678\n")
    (told,) = compare(arming, as_it_is(folder))
    assert "on another machine" in told
    machine.unlink()  # a container has none: the rest is compared
    assert not compare(arming, as_it_is(folder))
