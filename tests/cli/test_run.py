"""The run around the fleet: question, signals, views, report, exit code. The fleet is a stand-in.

The stand-in fleet runs in a process of its own, so that terminals, signals and broken pipes are real ones.
"""

from __future__ import annotations

import asyncio
import csv
import hashlib
import json
import os
import pty
import re
import select
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import pytest

from parburn.cli import run as cli_run
from parburn.errors import LedgerUnusable
from parburn.events import DeviceReport, Emit, Finished, Note, Result, RunFinished, RunStarted, StepChanged
from parburn.fleet import Begin, Confirm
from parburn.run.checked_job import CheckedJob
from parburn.run.shared import PlanOfBoard
from parburn.run.stop import StopRequest
from tests.ui.story import BLOCKS, PORTS, REPORTS, SLOTS, story

ROOT = Path(__file__).parents[2]
Reports = tuple[DeviceReport, ...]
RECORDS = b'[{"id": 1}]'

# Names of fleets that a child process can be told to use instead of the real one.
CHILD = """\
import sys
from parburn.cli import run as cli_run
from tests.cli import test_run as test_cli_run
cli_run.burn_fleet = getattr(test_cli_run, sys.argv.pop(1))
from parburn.cli.main import main
sys.argv[0] = "parburn"
sys.exit(main())
"""


# Fleets -----------------------------------------------------------------------------------------------


async def telling(
    checked: CheckedJob, emit: Emit, *, confirm: Confirm, begin: Begin, stop: StopRequest
) -> Reports:
    """Tells the whole story and returns its reports."""
    for event in story():
        if not isinstance(event, RunFinished):
            emit(event)
    return REPORTS


async def all_passing(
    checked: CheckedJob, emit: Emit, *, confirm: Confirm, begin: Begin, stop: StopRequest
) -> Reports:
    """All boards pass."""
    job = checked.job
    emit(RunStarted("", job.ports, job.ports, dry_run=job.dry_run))
    reports = tuple(DeviceReport(port, port, Result.PASS, index=n) for n, port in enumerate(job.ports, 1))
    for report in reports:
        emit(Finished(report.port, report))
    return reports


async def asking(
    checked: CheckedJob, emit: Emit, *, confirm: Confirm, begin: Begin, stop: StopRequest
) -> Reports:
    """Asks for the confirmation, and answers pass or refused by it."""
    emit(RunStarted("", PORTS[:1], SLOTS[:1]))
    emit(StepChanged(PORTS[0], "confirming"))
    plan = PlanOfBoard(PORTS[0], SLOTS[0], "esp32c3", REPORTS[0].mac, 5, BLOCKS, {"CUSTOM_MAC": "aa:bb"})
    if checked.job.do_not_confirm or await confirm((plan,)):
        report = REPORTS[0]
    else:
        report = REPORTS[0]._replace(result=Result.REFUSED, error="not confirmed by the operator",
                         error_kind="NotConfirmed", burned="nothing was burned")  # fmt: skip
    emit(Finished(report.port, report))
    return (report,)


async def stopped_twice(
    checked: CheckedJob, emit: Emit, *, confirm: Confirm, begin: Begin, stop: StopRequest
) -> Reports:
    """Says what level of stop it sees, until the second."""
    seen = -1
    for _ in range(1000):
        if stop.level != seen:
            seen = int(stop.level)
            emit(Note("", f"level {seen}"))
        if seen == 2:
            break
        await asyncio.sleep(0.01)
    return (REPORTS[0]._replace(result=Result.INCOMPLETE, error_kind="Interrupted", error="stopped"),)


async def slowly_passing(
    checked: CheckedJob, emit: Emit, *, confirm: Confirm, begin: Begin, stop: StopRequest
) -> Reports:
    """Emits many lines with time between them, then leaves a file that shows it came to its end."""
    for number in range(40):
        emit(Note("", f"line {number} " + "x" * 2000))
        await asyncio.sleep(0.005)
    _leave_mark()
    return await all_passing(checked, emit, confirm=confirm, begin=begin, stop=stop)


def _leave_mark() -> None:
    Path("ended").write_text("yes")


async def breaking(
    checked: CheckedJob, emit: Emit, *, confirm: Confirm, begin: Begin, stop: StopRequest
) -> Reports:
    """Ends a board, then breaks."""
    emit(Finished(REPORTS[0].port, REPORTS[0]))
    raise ExceptionGroup("many", [ZeroDivisionError("oops")])


async def refusing(
    checked: CheckedJob, emit: Emit, *, confirm: Confirm, begin: Begin, stop: StopRequest
) -> Reports:
    """The ledger refuses the whole run."""
    raise LedgerUnusable("the ledger is older than its witness", hint="Adopt it.")


# Running them -----------------------------------------------------------------------------------------


@pytest.fixture
def files(tmp_path: Path) -> Path:
    for name in ("s.py", "ttyUSB1", "ttyUSB2"):
        (tmp_path / name).write_text("")
    (tmp_path / "ids.json").write_bytes(RECORDS)
    return tmp_path


def command(fleet: str, *words: str) -> list[str]:
    return [sys.executable, "-c", CHILD, fleet, "--ports", "ttyUSB1", "ttyUSB2", "--scripts", "s.py", *words]


def environment() -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": str(ROOT), "TERM": "xterm", "COLUMNS": "160", "LINES": "40"}


def run(folder: Path, fleet: str, *words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command(fleet, *words),
        cwd=folder, env=environment(), stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=60,
        check=False,
    )  # fmt: skip


@dataclass
class Terminal:
    """A child on a pty."""

    pid: int
    master: int
    text: str = ""

    def until(self, pattern: str, timeout_s: float = 30) -> None:
        """Read until the pattern is shown."""
        deadline = time.monotonic() + timeout_s
        while not re.search(pattern, self.text):
            assert self._read(deadline - time.monotonic()), f"{pattern!r} never came:\n{self.text}"

    def type(self, text: str) -> None:
        os.write(self.master, text.encode())

    def end(self, timeout_s: float = 30) -> int:
        """Read to the end; the exit code."""
        deadline = time.monotonic() + timeout_s
        while self._read(deadline - time.monotonic()):
            pass
        os.close(self.master)
        return os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])

    def _read(self, timeout_s: float) -> bool:
        if not select.select([self.master], [], [], max(0.0, timeout_s))[0]:
            os.kill(self.pid, signal.SIGKILL)
            return False
        try:
            data = os.read(self.master, 65536)
        except OSError:  # the other end is closed
            return False
        self.text += data.decode()
        return bool(data)


def on_terminal(folder: Path, fleet: str, *words: str) -> Terminal:
    pid, master = pty.fork()
    if pid == 0:
        os.chdir(folder)
        os.execve(sys.executable, command(fleet, *words), environment())
    return Terminal(pid, master)


# The question -----------------------------------------------------------------------------------------


def test_without_a_terminal_nothing_is_burned_and_exit_is_3(files: Path) -> None:
    done = run(files, "asking")
    assert done.returncode == 3
    assert "there is no terminal to ask on; nothing was burned" in done.stderr
    assert "--do-not-confirm" in done.stderr
    assert "REFUSED" in done.stdout


def test_do_not_confirm_does_not_ask(files: Path) -> None:
    assert run(files, "asking", "--do-not-confirm").returncode == 0


@pytest.mark.parametrize("words", [[], ["--quiet"], ["--json"]])
def test_the_word_burn_burns(files: Path, words: list[str]) -> None:
    terminal = on_terminal(files, "asking", *words)
    terminal.until("Type BURN")
    assert "IRREVERSIBLE" in terminal.text
    assert "later burns" in terminal.text
    assert "BLOCK_KEY0: 131 bits" in terminal.text
    assert "CUSTOM_MAC=aa:bb" in terminal.text
    terminal.type("BURN\n")
    assert terminal.end() == 0, terminal.text


@pytest.mark.parametrize("answer", ["burn\n", "\n", "yes\n", "BURN it\n"])
def test_a_wrong_word_is_asked_about_twice_and_burns_nothing(files: Path, answer: str) -> None:
    terminal = on_terminal(files, "asking")
    for again in ("", "That was not BURN.*", "(?s)That was not BURN.*That was not BURN.*"):
        terminal.until(f"{again}Type BURN")
        terminal.type(answer)
    assert terminal.end() == 3
    assert terminal.text.count("Type BURN") == 3
    assert "not confirmed by the operator" in terminal.text
    assert "To go on, run:" in terminal.text
    assert "the script printed" not in terminal.text


def test_the_right_word_after_a_slip_burns(files: Path) -> None:
    terminal = on_terminal(files, "asking")
    terminal.until("Type BURN")
    terminal.type("burn\n")
    terminal.until("That was not BURN; Ctrl-C stops. Type BURN")
    terminal.type("BURN\n")
    assert terminal.end() == 0, terminal.text


def test_the_end_of_input_burns_nothing_and_is_not_asked_again(files: Path) -> None:
    terminal = on_terminal(files, "asking")
    terminal.until("Type BURN")
    terminal.type("\x04")
    assert terminal.end() == 3
    assert terminal.text.count("Type BURN") == 1


def test_what_was_typed_before_the_question_is_no_answer(files: Path) -> None:
    terminal = on_terminal(files, "asking")
    terminal.type("BURN\nBURN\nBU")
    terminal.until("Type BURN")
    terminal.type("RN\n")
    terminal.until("That was not BURN")
    terminal.type("\x04")
    assert terminal.end() == 3


def test_the_last_lines_before_the_question_are_the_sum(files: Path) -> None:
    terminal = on_terminal(files, "asking")
    terminal.until("Type BURN")
    before = terminal.text.replace("\r", "").partition("Type BURN")[0].splitlines()
    assert before[-1] == "1 board: 1 esp32c3, index 5, BLOCK_KEY0, LOCKS: KEY_PURPOSE_0, WR_DIS, no keys"
    terminal.type("BURN\n")
    assert terminal.end() == 0


def test_ctrl_c_at_the_question_is_130(files: Path) -> None:
    terminal = on_terminal(files, "asking")
    terminal.until("Type BURN")
    terminal.type("\x03")
    assert terminal.end() == 130


def test_json_is_asked_about_on_stderr(files: Path) -> None:
    """stdout stays JSON alone, also when a terminal is there to ask on."""
    master, slave = pty.openpty()
    with subprocess.Popen(
        command("asking", "--json"),
        cwd=files, env=environment(), stdin=slave, stdout=subprocess.PIPE, stderr=slave, text=True,
    ) as child:  # fmt: skip
        os.close(slave)
        terminal = Terminal(child.pid, master)
        terminal.until("Type BURN")
        terminal.type("BURN\n")
        out, _ = child.communicate(timeout=30)
    os.close(master)
    assert child.returncode == 0
    assert [json.loads(line)["event"] for line in out.splitlines()][-1] == "summary"


# Signals ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_each_signal_raises_the_level_of_the_stop_and_exit_is_130(
    files: Path, number: signal.Signals
) -> None:
    with subprocess.Popen(
        command("stopped_twice"), cwd=files, env=environment(), stdout=subprocess.PIPE, text=True
    ) as child:
        assert child.stdout is not None
        assert child.stdout.readline().endswith(" level 0\n")
        child.send_signal(number)
        assert "stopping" in child.stdout.readline()
        assert child.stdout.readline().endswith(" level 1\n")
        child.send_signal(number)
        rest = child.stdout.read()
    assert "level 2" in rest
    assert "To go on, run:\n  parburn --ports ttyUSB1 ttyUSB2 --scripts s.py" in rest
    assert child.returncode == 130


def test_nohup_is_respected_and_ctrl_c_counts_in_the_background_too(files: Path) -> None:
    def ignore_hang_up() -> None:
        signal.signal(signal.SIGHUP, signal.SIG_IGN)
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # as shells do for `command &`

    with subprocess.Popen(
        command("stopped_twice"), cwd=files, env=environment(), stdout=subprocess.PIPE, text=True,
        preexec_fn=ignore_hang_up,
    ) as child:  # fmt: skip
        assert child.stdout is not None
        assert child.stdout.readline().endswith(" level 0\n")
        child.send_signal(signal.SIGHUP)
        child.send_signal(signal.SIGINT)
        child.stdout.readline()
        assert child.stdout.readline().endswith(" level 1\n")
        child.send_signal(signal.SIGINT)
        assert "level 2" in child.stdout.read()
    assert child.returncode == 130


# Views ------------------------------------------------------------------------------------------------


def test_a_terminal_gets_the_table_and_the_summary(files: Path) -> None:
    terminal = on_terminal(files, "telling")
    assert terminal.end() == 5
    assert "\x1b[?25l" in terminal.text
    assert terminal.text.count("\x1b[?25h") >= terminal.text.count("\x1b[?25l")  # the cursor is shown again
    last = terminal.text[terminal.text.rindex("\x1b[?25h") :]
    assert (
        last.index("QUARANTINED: ")
        < last.index("INCOMPLETE: ")
        < last.index("1 of 4 boards passed, 1 had passed before")
    )
    assert last.replace("\r", "").rstrip().endswith("parburn --ports ttyUSB1 ttyUSB2 --scripts s.py")


@pytest.mark.parametrize("extra", [{"TERM": "dumb"}, {"TERM": ""}])
def test_a_dumb_terminal_gets_plain_lines(
    files: Path, extra: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(globals(), "environment", lambda: {**os.environ, "PYTHONPATH": str(ROOT), **extra})
    terminal = on_terminal(files, "telling")
    assert terminal.end() == 5
    assert "\x1b" not in terminal.text


def test_a_pipe_gets_plain_lines_and_the_summary(files: Path) -> None:
    done = run(files, "telling")
    assert done.returncode == 5
    assert done.stderr == ""
    assert "\x1b" not in done.stdout
    lines = done.stdout.splitlines()
    assert re.fullmatch(r"\d\d:\d\d:\d\d 4 boards", lines[1])
    assert re.fullmatch(r"[\d:]{8} 0:1.1:1.0-port0: pass index 5 CUSTOM_MAC aa:bb in 0.4 s", lines[3])
    assert "connecting" not in done.stdout
    assert "QUARANTINED: ttyUSB10" in done.stdout
    assert "0:1.1:1.0-port0: connecting" in run(files, "telling", "-v").stdout


def test_json_is_all_that_stdout_gets(files: Path) -> None:
    done = run(files, "telling", "--json")
    found = [json.loads(line) for line in done.stdout.splitlines()]
    assert found[0]["schema"] == 1
    assert found[-1].items() >= {"event": "summary", "boards": 4, "passed": 2, "failed": 2, "exit": 5}.items()
    assert done.returncode == 5


def test_an_error_of_the_whole_run_is_a_sentence_and_a_json_object(files: Path) -> None:
    done = run(files, "refusing", "--json")
    assert done.returncode == 2
    assert "parburn: the ledger is older than its witness\n  hint: Adopt it." in done.stderr
    error, summary = map(json.loads, done.stdout.splitlines())
    assert (error["error"], error["hint"]) == ("the ledger is older than its witness", "Adopt it.")
    assert summary.items() >= {"event": "summary", "boards": 2, "passed": 0, "failed": 2, "exit": 2}.items()


def test_an_error_inside_shows_the_boards_that_ended_and_no_traceback(files: Path) -> None:
    done = run(files, "breaking")
    assert done.returncode == 1
    assert "an error inside parburn: ZeroDivisionError: oops" in done.stderr
    assert "Traceback" not in done.stderr
    assert "1 of 1 board passed" in done.stdout
    assert "Traceback" in run(files, "breaking", "--debug").stderr


def test_a_broken_stdout_pipe_harms_nothing(files: Path) -> None:
    with subprocess.Popen(
        command("slowly_passing"),
        cwd=files,
        env=environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    ) as child:
        assert child.stdout is not None
        assert child.stderr is not None
        assert b" line 0 " in child.stdout.readline()
        child.stdout.close()
        said = child.stderr.read()
    assert said == b""
    assert child.returncode == 0
    assert (files / "ended").read_text() == "yes"


def test_a_reader_that_stands_still_does_not_hold_up_the_run(files: Path) -> None:
    with subprocess.Popen(
        command("slowly_passing"), cwd=files, env=environment(), stdout=subprocess.PIPE
    ) as child:
        deadline = time.monotonic() + 20
        while not (files / "ended").exists():  # nobody reads: 80 kB stand in a pipe of 64 kB
            assert time.monotonic() < deadline
            time.sleep(0.02)
        assert child.stdout is not None
        assert child.stdout.read().count(b"line ") == 40
    assert child.returncode == 0


def test_a_failing_table_is_left_out_and_the_run_goes_on(files: Path) -> None:
    (files / "sitecustomize.py").write_text(
        "import parburn.ui.board_rows as b\n"
        "def apply(self, event): raise RuntimeError('broken table')\n"
        "b.BoardRows.apply = apply\n"
    )
    pid, master = pty.fork()
    if pid == 0:
        os.chdir(files)
        changed = {**environment(), "PYTHONPATH": f"{files}{os.pathsep}{ROOT}"}
        os.execve(sys.executable, command("telling"), changed)
    terminal = Terminal(pid, master)
    assert terminal.end() == 5
    assert terminal.text.count("LiveTable failed and is left out") == 1
    assert "1 of 4 boards passed" in terminal.text


# Report and the command to go on ----------------------------------------------------------------------


def test_the_report_has_digests_of_what_was_run(files: Path) -> None:
    done = run(files, "telling", "--report", "r.csv", "--configfiles", "ids.json")
    assert done.returncode == 5
    with (files / "r.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    empty = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
    assert rows[0]["scripts"] == f"s.py={empty}"
    assert rows[0]["config_files"] == f"ids.json={hashlib.sha256(RECORDS).hexdigest()}"
    assert [row["result"] for row in rows] == ["pass", "incomplete", "already-pass", "quarantined"]


def test_a_dry_run_shows_plans_also_when_quiet(files: Path) -> None:
    said = run(files, "telling", "--dry-run", "--quiet").stdout
    assert "Would be burned:" in said
    assert "dry run: nothing was burned" in said


def test_no_command_to_go_on_when_all_passed(files: Path) -> None:
    done = run(files, "all_passing")
    assert done.returncode == 0
    assert "To go on" not in done.stdout


def test_the_command_to_go_on_can_be_pasted(files: Path) -> None:
    done = run(files, "telling", "--batch", "order 7's")
    assert done.stdout.rstrip().endswith(
        """parburn --ports ttyUSB1 ttyUSB2 --scripts s.py --batch 'order 7'"'"'s'"""
    )


def test_a_key_in_the_commands_is_not_repeated(files: Path) -> None:
    key = "87e12bea" * 8
    done = run(files, "telling", f"--commands=burn_efuse BLOCK_KEY0 {key}")
    assert key not in done.stdout
    lines = done.stdout.rstrip().splitlines()
    assert lines[-1].endswith("'--commands=burn_efuse BLOCK_KEY0 ??'")
    assert "stands for what may be a key" in lines[-2]


def test_how_we_are_called(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["/venv/bin/parburn"])
    assert cli_run.program(which=lambda name: "/venv/bin/parburn") == ["parburn"]
    assert cli_run.program(which=lambda name: "/usr/bin/parburn") == ["/venv/bin/parburn"]
    monkeypatch.setattr(sys, "argv", ["/src/parburn/__main__.py"])
    assert cli_run.program() == [sys.executable, "-m", "parburn"]
