"""Through the installed command: where an index comes from, state in files, a job is what was read."""

from __future__ import annotations

import hashlib
import json
import sqlite3
from contextlib import closing
from pathlib import Path

import anyio
import pytest

from parburn.events import DeviceReport, Result
from parburn.fleet import burn_fleet
from parburn.job import Job
from parburn.run.checked_job import check_job
from parburn.run.shared import PlanOfBoard
from tests.command import Outcome, parburn
from tests.provisioning import KEY, custom_mac_of, every_bit, key_of, rows, said, script
from tests.rig import Rig, start_rig

OF_INDEX = "espefuse(esp, efuses, args, 'burn_custom_mac 02:00:00:00:00:{:02x}'.format(args.index))\n"
COUNTS = """\
import pathlib
counter = pathlib.Path({counter!r})
number = int(counter.read_text()) if counter.exists() else 1
counter.write_text(str(number + 1))
espefuse(esp, efuses, args, 'burn_custom_mac 02:00:00:00:00:{{:02x}}'.format(number))
{more}
"""


def burn(rig: Rig, state: Path, path: Path, *more: object) -> Outcome:
    """Run a script on all boards of the rig."""
    return parburn("--ports", *rig.ports, "--scripts", path, "--do-not-confirm", "--json", *more, state=state)


def macs(rig: Rig) -> list[str]:
    """The custom MACs in the boards' true bits."""
    return [custom_mac_of(rig, n) for n in range(len(rig.ports))]


# An index comes from the allocator ----------------------------------------------------------------------


def test_a_nested_index_is_refused_with_one_port(tmp_path: Path, state: Path) -> None:
    nested = script(tmp_path, "nested", OF_INDEX)
    outer = script(tmp_path, "outer", f"espefuse(esp, efuses, args, 'execute_scripts {nested} --index 10')")
    with start_rig("esp32c3", 1, tmp_path=tmp_path) as rig:
        before = every_bit(rig)
        report = tmp_path / "report.jsonl"
        refused = burn(rig, state, outer, "--report", report)
        assert refused.words == ["failed"], said(refused)
        assert "goes around the shared index" in refused.stdout
        assert "--allow-fixed-index" in rows(report)[0]["next_step"]
        assert every_bit(rig) == before
        assert burn(rig, state, outer, "--allow-fixed-index").words == ["pass"]
        assert macs(rig) == ["02:00:00:00:00:0a"]


def test_the_index_itself_may_be_handed_on(tmp_path: Path, state: Path) -> None:
    nested = script(tmp_path, "nested", OF_INDEX)
    line = f"espefuse(esp, efuses, args, f'execute_scripts {nested} --index {{args.index}}')"
    with start_rig("esp32c3", 2, tmp_path=tmp_path) as rig:
        assert burn(rig, state, script(tmp_path, "outer", line)).words == ["pass", "pass"]
        assert macs(rig) == ["02:00:00:00:00:01", "02:00:00:00:00:02"]


def test_an_assigned_index_is_refused(tmp_path: Path, state: Path) -> None:
    with start_rig("esp32c3", 1, tmp_path=tmp_path) as rig:
        before = every_bit(rig)
        refused = burn(rig, state, script(tmp_path, "sets", "args.index = 10\n" + OF_INDEX))
        assert refused.words == ["failed"], said(refused)
        assert "args.index cannot be changed" in refused.stdout
        assert every_bit(rig) == before


# Scripts that keep state in files -----------------------------------------------------------------------


@pytest.mark.parametrize("more", ["", "efuses.burn_all()", "efuses.burn_all(); import time; time.sleep(0.2)"])
def test_one_at_a_time_counts_in_a_file(tmp_path: Path, state: Path, more: str) -> None:
    path = script(tmp_path, "counts", COUNTS.format(counter=str(tmp_path / "next.txt"), more=more))
    with start_rig("esp32:1,esp32c3:3", tmp_path=tmp_path) as rig:
        outcome = burn(rig, state, path, "--one-at-a-time")
        assert outcome.words == ["pass"] * 4, said(outcome)
        assert macs(rig) == [f"02:00:00:00:00:{n:02x}" for n in (1, 2, 3, 4)]
        assert (tmp_path / "next.txt").read_text() == "5"
        again = burn(rig, state, path, "--one-at-a-time")  # next.txt is state and no input of the job
        assert again.words == ["already-pass"] * 4, said(again)


def test_one_at_a_time_goes_on_behind_a_board_that_fails(tmp_path: Path, state: Path) -> None:
    text = COUNTS.format(
        counter=str(tmp_path / "next.txt"), more="if args.index == 2: raise ValueError('two')"
    )
    with start_rig("esp32c3", 3, tmp_path=tmp_path) as rig:
        outcome = burn(rig, state, script(tmp_path, "counts", text), "--one-at-a-time")
        assert outcome.words == ["pass", "failed", "pass"], said(outcome)
        assert macs(rig) == ["02:00:00:00:00:01", "", "02:00:00:00:00:03"]


@pytest.mark.parametrize("yes", [True, False])
def test_one_at_a_time_asks_once_and_a_no_begins_no_other_script(tmp_path: Path, yes: bool) -> None:
    counter = tmp_path / "next.txt"
    path = script(tmp_path, "counts", COUNTS.format(counter=str(counter), more="efuses.burn_all()"))
    asked: list[tuple[str, ...]] = []

    async def confirm(plans: tuple[PlanOfBoard, ...]) -> bool:
        asked.append(tuple(plan.port for plan in plans))
        return yes

    with start_rig("esp32c3", 3, tmp_path=tmp_path) as rig:
        job = Job(
            ports=tuple(rig.ports), scripts=(path,), ledger=tmp_path / "l.sqlite", one_at_a_time=True,
            new_ledger=True,
        )  # fmt: skip
        checked = check_job(job)

        async def burned() -> tuple[DeviceReport, ...]:
            return await burn_fleet(checked, lambda event: None, confirm=confirm)

        reports = anyio.run(burned)
        assert asked == [(rig.ports[0],)]
        if yes:
            assert [report.result for report in reports] == [Result.PASS] * 3, reports
            assert macs(rig) == [f"02:00:00:00:00:{n:02x}" for n in (1, 2, 3)]
        else:
            assert {report.error_kind for report in reports} == {"NotConfirmed"}, reports
            assert macs(rig) == [""] * 3
            assert counter.read_text() == "2"  # the first script ran to its burn, and no other one


def test_a_number_that_a_board_before_has_is_refused_one_at_a_time(tmp_path: Path, state: Path) -> None:
    text = "espefuse(esp, efuses, args, 'burn_custom_mac 02:00:00:00:00:07')"
    with start_rig("esp32c3", 2, tmp_path=tmp_path) as rig:
        outcome = burn(rig, state, script(tmp_path, "same", text), "--one-at-a-time")
        assert outcome.words == ["pass", "refused"], said(outcome)
        assert macs(rig) == ["02:00:00:00:00:07", ""]


@pytest.mark.parametrize("swallows", [False, True])
def test_state_in_a_file_is_refused_to_boards_that_come_together(
    tmp_path: Path, state: Path, swallows: bool
) -> None:
    counter = tmp_path / "next.txt"
    counter.write_text("1")
    text = COUNTS.format(counter=str(counter), more="")
    if swallows:  # whatever the script makes of the refusal
        text = "number = 9\ntry:\n" + "".join(f"    {line}\n" for line in text.splitlines())
        text += f"except Exception:\n    pass\n{OF_INDEX}"
    with start_rig("esp32c3", 4, tmp_path=tmp_path) as rig:
        report = tmp_path / "report.jsonl"
        outcome = burn(rig, state, script(tmp_path, "counts", text), "--report", report)
        assert outcome.words.count("pass") <= 1, said(outcome)
        assert set(outcome.words) <= {"pass", "refused"}
        refused = [row for row in rows(report) if row["result"] == "refused"]
        assert all("next.txt is read and written" in row["error"] for row in refused)
        assert all("--one-at-a-time" in row["next_step"] for row in refused)
        burned = [mac for mac in macs(rig) if mac]
        assert len(burned) == outcome.words.count("pass")


def test_a_log_that_all_boards_write_is_no_state(tmp_path: Path, state: Path) -> None:
    text = f"open({str(tmp_path / 'log.csv')!r}, 'a').write('x\\n')\n" + OF_INDEX
    with start_rig("esp32c3", 3, tmp_path=tmp_path) as rig:
        assert burn(rig, state, script(tmp_path, "logs", text)).words == ["pass"] * 3


# A job is what was read ---------------------------------------------------------------------------------

READS = {
    "open": "word = open({file!r}).read()",
    "pathlib": "import pathlib; word = pathlib.Path({file!r}).read_text()",
    "io": "import io; word = io.open({file!r}).read()",
    "os.open": "import os; word = os.read(os.open({file!r}, os.O_RDONLY), 100).decode()",
    "a module that reads": "import fileinput; word = ''.join(fileinput.FileInput([{file!r}]))",
}


@pytest.mark.parametrize("how", READS)
def test_a_file_that_changed_makes_another_job(tmp_path: Path, state: Path, how: str) -> None:
    read = tmp_path / "field.txt"
    read.write_text("DIS_USB_JTAG")
    text = READS[how].format(file=str(read)) + "\nespefuse(esp, efuses, args, 'burn_efuse ' + word.strip())\n"
    path = script(tmp_path, "reads", text)
    with start_rig("esp32c3", 2, tmp_path=tmp_path) as rig:
        assert burn(rig, state, path).words == ["pass", "pass"]
        assert burn(rig, state, path).words == ["already-pass", "already-pass"]
        before = every_bit(rig)
        read.write_text("DIS_DIRECT_BOOT")
        corrected = burn(rig, state, path)
        assert "already-pass" not in corrected.words, said(corrected)
        assert every_bit(rig) != before
        assert str(read) in corrected.stdout
        assert burn(rig, state, path).words == ["already-pass", "already-pass"]


def test_a_file_that_is_gone_or_new_makes_another_job(tmp_path: Path, state: Path) -> None:
    read = tmp_path / "more.txt"
    text = (
        f"try:\n    open({str(read)!r})\n    print('there')\nexcept OSError:\n    print('none')\n" + OF_INDEX
    )
    path = script(tmp_path, "looks", text)
    with start_rig("esp32c3", 1, tmp_path=tmp_path) as rig:
        assert burn(rig, state, path).words == ["pass"]
        assert burn(rig, state, path).words == ["already-pass"]
        read.write_text("x")
        assert "there" in burn(rig, state, path, "--show-output").stdout
        read.unlink()
        assert "none" in burn(rig, state, path, "--show-output").stdout


def test_a_nested_script_that_changed_makes_another_job(tmp_path: Path, state: Path) -> None:
    nested = script(tmp_path, "nested", "espefuse(esp, efuses, args, 'burn_efuse DIS_USB_JTAG 1')")
    outer = script(tmp_path, "outer", f"espefuse(esp, efuses, args, 'execute_scripts {nested}')")
    with start_rig("esp32c3", 2, tmp_path=tmp_path) as rig:
        assert burn(rig, state, outer).words == ["pass", "pass"]
        before = every_bit(rig)
        nested.write_text("espefuse(esp, efuses, args, 'burn_efuse DIS_DIRECT_BOOT 1')")
        assert "already-pass" not in burn(rig, state, outer).words
        after = every_bit(rig)
        assert all(one != other for one, other in zip(before, after, strict=True))


def test_a_module_that_changed_makes_another_job(tmp_path: Path, state: Path) -> None:
    module = script(tmp_path, "mine", "FIELD = 'DIS_USB_JTAG'\n")
    text = f"import sys; sys.path.insert(0, {str(tmp_path)!r})\nimport mine\n"
    text += "espefuse(esp, efuses, args, 'burn_efuse ' + mine.FIELD)\n"
    path = script(tmp_path, "imports", text)
    with start_rig("esp32c3", 2, tmp_path=tmp_path) as rig:
        assert burn(rig, state, path).words == ["pass", "pass"]
        assert burn(rig, state, path).words == ["already-pass", "already-pass"]  # from its compiled form
        before = every_bit(rig)
        module.write_text("FIELD = 'DIS_DIRECT_BOOT'\n")
        assert "already-pass" not in burn(rig, state, path).words
        assert every_bit(rig) != before


def test_a_key_file_that_changed_makes_another_job(tmp_path: Path, state: Path) -> None:
    file = tmp_path / "key.bin"
    file.write_bytes(KEY)
    line = f"espefuse(esp, efuses, args, 'burn_key BLOCK_KEY0 {file} XTS_AES_128_KEY')"
    path = script(tmp_path, "keys", line)
    with start_rig("esp32c3", 1, tmp_path=tmp_path) as rig:
        assert burn(rig, state, path).words == ["pass"]
        assert burn(rig, state, path).words == ["already-pass"]
        held = key_of(rig, 0)
        file.write_bytes(KEY[::-1])
        changed = burn(rig, state, path)
        assert changed.words not in (["pass"], ["already-pass"]), said(changed)
        assert key_of(rig, 0) == held


def test_what_was_read_is_kept_without_any_key(tmp_path: Path, state: Path) -> None:
    file = tmp_path / "key.bin"
    file.write_bytes(KEY)
    path = script(tmp_path, "keys", f"espefuse(esp, efuses, args, 'burn_key BLOCK_KEY0 {file} USER')")
    ids = tmp_path / "ids.json"
    ids.write_text(json.dumps({"1": {"serial": 1}}))
    ledger = tmp_path / "ledger.sqlite"
    with start_rig("esp32c3", 1, tmp_path=tmp_path) as rig:
        done = burn(rig, state, path, "--configfiles", ids, "--ledger", ledger)
        assert done.words == ["pass"], said(done)
    with closing(sqlite3.connect(ledger)) as connection, connection:
        kept = dict(connection.execute("SELECT path, digest FROM pass_inputs").fetchall())
    assert list(kept) == [str(file.resolve())]
    assert kept[str(file.resolve())] not in ("", hashlib.sha256(KEY).hexdigest(), KEY.hex())
    verified = parburn("ledger", "verify", "--ledger", ledger, state=state)
    assert verified.exit == 0, said(verified)
    with closing(sqlite3.connect(ledger)) as connection, connection:
        connection.execute("UPDATE pass_inputs SET digest = ''")
    assert parburn("ledger", "verify", "--ledger", ledger, state=state).exit != 0


# Own modules --------------------------------------------------------------------------------------------


def test_what_one_board_sets_in_a_module_no_other_gets(tmp_path: Path, state: Path) -> None:
    text = (
        "import json, os, time\n"
        "json.unit = args.index; os.environ['UNIT'] = str(args.index)\n"
        "time.sleep(0.5)\n"
        "assert str(json.unit) == os.environ['UNIT']\n"
        "espefuse(esp, efuses, args, 'burn_custom_mac 02:00:00:00:00:{:02x}'.format(json.unit))\n"
    )
    with start_rig("esp32c3", 4, tmp_path=tmp_path) as rig:
        outcome = burn(rig, state, script(tmp_path, "sets", text))
        assert outcome.words == ["pass"] * 4, said(outcome)
        assert macs(rig) == [f"02:00:00:00:00:{n:02x}" for n in (1, 2, 3, 4)]
