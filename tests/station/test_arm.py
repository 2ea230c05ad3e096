"""`parburn arm` and `parburn check JOB.toml` through the installed command."""

from __future__ import annotations

import json
import os
import pty
import select
import signal
import sqlite3
import time
from collections.abc import Mapping
from pathlib import Path

import pytest

from parburn.station.armed import read_armed
from tests.command import COMMAND, Outcome, environment, finish, parburn, start
from tests.station.jobs import SCRIPT, JobFolder, records

ASKS = {b"new ledger: ": "NEW", b"for ever: ": "BURN"}


class Desk(JobFolder):
    """A job's folder, and an engineer who arms it."""

    def __init__(self, folder: Path, state: Path, **more: object) -> None:
        super().__init__(folder)
        self.state = state

    def arm(self, *more: object) -> Outcome:
        """Arm it where there is no terminal."""
        return parburn("arm", self.path, "--operator", "Eva", *more, state=self.state)

    def arm_at_a_terminal(self, answers: Mapping[bytes, str], *more: str) -> tuple[int, str]:
        """Arm it at a terminal, with answers by the end of their question; return exit code and words."""
        assert COMMAND
        words = [COMMAND, "arm", str(self.path), "--operator", "Eva", *more]
        child, terminal = pty.fork()
        if child == 0:  # pragma: no cover
            os.execve(COMMAND, words, environment(self.state))
        shown = b""
        until = time.monotonic() + 40
        while time.monotonic() < until and select.select([terminal], [], [], 20)[0]:
            try:
                data = os.read(terminal, 4096)
            except OSError:  # it has ended
                break
            shown += data
            for end, answer in answers.items():
                if shown.endswith(end):
                    os.write(terminal, answer.encode() + b"\n")
        else:
            os.kill(child, signal.SIGKILL)
        code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        os.close(terminal)
        return code, shown.decode()

    def history(self) -> list[tuple[str, dict[str, object]]]:
        """The ledger's entries of no unit."""
        with sqlite3.connect(self.ledger) as connection:
            rows = connection.execute("SELECT event, detail FROM history WHERE unit IS NULL ORDER BY seq")
            return [(event, json.loads(detail or "{}")) for event, detail in rows]


@pytest.fixture
def desk(tmp_path: Path, state: Path) -> Desk:
    (tmp_path / "job").mkdir()
    return Desk(tmp_path / "job", state)


def test_an_engineer_arms_at_a_terminal(desk: Desk) -> None:
    code, shown = desk.arm_at_a_terminal(ASKS)
    assert code == 0, shown
    for line in (
        "Job lamp: index 1-5, 5 records without a fault",
        "ESP32-C3: 1 plan",
        "BLOCK_USR_DATA CUSTOM_MAC: FREE, each record's own",
        "BLOCK0 DIS_DOWNLOAD_ICACHE: True",
        "A new ledger was made",
        "Armed for index 1-5",
    ):
        assert line in shown
    armed = read_armed(desk.armed)
    (event, detail) = desk.history()[-1]
    assert event == "station-armed"
    assert (detail["batch"], detail["operator"], detail["arming"]) == ("lamp", "Eva", armed.digest)
    assert parburn("ledger", "verify", "--ledger", desk.ledger, state=desk.state).exit == 0


@pytest.mark.parametrize("answers", [{b"new ledger: ": "no"}, ASKS | {b"for ever: ": "burn"}, {}])
def test_without_the_word_nothing_is_armed(desk: Desk, answers: dict[bytes, str]) -> None:
    code, shown = desk.arm_at_a_terminal({end: answers.get(end, "no") for end in ASKS})
    assert code == 3, shown
    assert not desk.armed.exists()
    assert not desk.ledger.exists()


def test_without_a_terminal_it_is_refused(desk: Desk) -> None:
    done = desk.arm("--new-ledger")
    assert done.exit == 3
    assert "--yes-burn" in done.stderr
    done = desk.arm("--yes-burn")
    assert done.exit == 2
    assert "--new-ledger" in done.stderr
    assert not desk.armed.exists()
    assert not desk.ledger.exists()


def test_a_program_may_arm(desk: Desk) -> None:
    done = desk.arm("--yes-burn", "--new-ledger")
    assert done.exit == 0, done.stderr
    first = read_armed(desk.armed)
    assert desk.arm("--yes-burn").exit == 0  # its ledger is there now
    assert read_armed(desk.armed).digest == first.digest
    assert [event for event, _ in desk.history()].count("station-armed") == 2


def test_a_key_stands_nowhere(desk: Desk) -> None:
    key = bytes(range(32))
    desk.script = SCRIPT + f"espefuse.burn_key(['BLOCK_KEY0'], [io.BytesIO({key!r})], ['HMAC_UP'])\n"
    desk.script = "import io\n" + desk.script
    desk.write()
    done = desk.arm("--yes-burn", "--new-ledger")
    assert done.exit == 0, done.stderr
    assert "BLOCK_KEY0: one value that all units have (not shown)" in done.stdout
    for text in (done.stdout + done.stderr, desk.armed.read_text()):
        assert key.hex() not in text.lower()
        assert key[::-1].hex() not in text.lower()


def test_a_batch_with_faults_is_not_armed(desk: Desk) -> None:
    desk.records["4"] = desk.records["2"]
    desk.write()
    done = desk.arm("--yes-burn", "--new-ledger")
    assert done.exit == 2
    assert "indexes 2, 4" in done.stdout
    assert not desk.armed.exists()
    assert not desk.ledger.exists()


def test_records_are_added(desk: Desk) -> None:
    assert desk.arm("--extend").exit == 2  # not armed yet
    assert desk.arm("--yes-burn", "--new-ledger").exit == 0
    before = read_armed(desk.armed)
    assert "it stays as it is" in desk.arm("--extend").stdout
    desk.records = records(7)
    desk.write()
    done = desk.arm("--extend")
    assert done.exit == 0, done.stderr
    assert "Armed for index 1-7" in done.stdout
    after = read_armed(desk.armed)
    assert (after.last, after.digest) == (7, before.digest)
    desk.records["8"] = desk.records["3"]
    desk.write()
    done = desk.arm("--extend")
    assert (done.exit, "a record before it gives" in done.stderr) == (2, True)
    desk.records["2"] = {"mac": "aa:cd:ef:09:00:00"}
    desk.write()
    done = desk.arm("--extend")
    assert (done.exit, "the record of index 2 was changed" in done.stderr) == (2, True)
    assert read_armed(desk.armed) == after


@pytest.mark.parametrize("more", [("--operator", "\n"), ("--operator", "x" * 200)])
def test_who_arms_must_be_known(desk: Desk, more: tuple[str, ...]) -> None:
    done = parburn("arm", desk.path, *more, "--yes-burn", "--new-ledger", state=desk.state)
    assert (done.exit, "Traceback" in done.stderr) == (2, False)
    assert parburn("arm", desk.path, "--yes-burn", "--new-ledger", state=desk.state).exit == 2


def test_another_ledger_than_the_job_says_is_refused(desk: Desk) -> None:
    done = desk.arm("--yes-burn", "--new-ledger", "--ledger", desk.folder / "other.sqlite3")
    assert done.exit == 2
    assert "is not the one that the job file names" in done.stderr


def test_two_at_once_and_a_kill_leave_a_whole_file(desk: Desk) -> None:
    assert desk.arm("--yes-burn", "--new-ledger").exit == 0
    words = ("arm", desk.path, "--operator", "Ada", "--yes-burn")
    both = [start(*words, state=desk.state) for _ in range(2)]
    assert [finish(one).exit for one in both] == [0, 0]
    for wait_s in (0.3, 0.5, 0.7, 0.9):
        process = start(*words, state=desk.state)
        time.sleep(wait_s)
        process.send_signal(signal.SIGKILL)
        finish(process)
        assert read_armed(desk.armed).operator == "Ada"
    assert parburn("ledger", "verify", "--ledger", desk.ledger, state=desk.state).exit == 0


# check JOB.toml ---------------------------------------------------------------------------------------


def test_a_job_file_is_checked(desk: Desk) -> None:
    done = parburn("check", desk.path, state=desk.state)
    assert (done.exit, done.stdout.splitlines()[0]) == (0, "ESP32-C3: index 1-5, 5 of 5 without a fault")
    assert not desk.ledger.exists()
    assert not desk.armed.exists()


@pytest.mark.parametrize("more", [("--chip", "esp32"), ("--index", "1-2"), ("--same", "A")])
def test_no_option_stands_beside_a_job_file(desk: Desk, more: tuple[str, str]) -> None:
    done = parburn("check", desk.path, *more, state=desk.state)
    assert done.exit == 2
    assert more[0] in done.stderr
    assert "the file says it" in done.stderr


def test_without_chips_and_without_a_job_file(desk: Desk) -> None:
    done = parburn("check", "--scripts", desk.folder / "burn.py", state=desk.state)
    assert (done.exit, "--chip" in done.stderr) == (2, True)


def test_all_that_a_big_batch_may_hide(desk: Desk) -> None:
    """A missing record, a doubled MAC, a refused plan, a random key, a value of the chip: each with index."""
    desk.records = records(900)
    del desk.records["703"]
    desk.records["888"] = desk.records["77"]
    desk.script = SCRIPT + (
        "import io, os\n"
        "if args.index == 500:\n"
        "    espefuse(esp, efuses, args, 'burn_efuse DIS_DOWNLOAD_ICACHE 3')\n"
        "if args.index == 600:\n"
        "    espefuse.burn_key(['BLOCK_KEY1'], [io.BytesIO(os.urandom(32))], ['HMAC_UP'])\n"
        "if args.index == 800:\n"
        "    espefuse(esp, efuses, args, 'burn_bit BLOCK_KEY4 %d' % esp.read_mac()[5])\n"
    )
    desk.write(index='"1-900"')
    done = parburn("check", desk.path, "--json", "--jobs", 2, state=desk.state)
    assert done.exit == 2, done.stderr
    found = {one.get("kind", one["event"]): one for one in map(json.loads, done.stdout.splitlines())}
    assert found["record"]["indexes"] == [703]
    assert found["double"]["indexes"] == [77, 888]
    assert found["refused"]["indexes"] == [500]
    assert found["random"]["indexes"] == [600]
    assert (found["derived"]["field"], found["derived"]["index"]) == ("BLOCK_KEY4", 800)
    for kind in ("record", "double", "refused", "random"):
        assert found[kind]["said"]
