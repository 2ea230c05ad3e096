"""Each thing that a command line names is read and checked once, and what is told of it is what was run."""

from __future__ import annotations

import contextlib
import csv
import hashlib
import json
import os
import signal
import subprocess
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from anyio import to_thread

from parburn.cli import options, rebuild
from parburn.cli import run as cli_run
from parburn.cli.main import main
from parburn.config import records
from parburn.fleet import burn_fleet
from parburn.ledger import maintenance
from parburn.run import checked_job, tables
from parburn.script import compiled
from parburn.ui.report_file import ReportFile
from tests.command import COMMAND, environment

TABLE = "OF_OURS, EFUSE_BLK3, 0, 8, a field\n"
BOM = b"\xef\xbb\xbf"


@pytest.fixture
def files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder, made the current one, with a script, a config file and a table."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    (tmp_path / "s.py").write_text("print('as it was')\n")
    (tmp_path / "ids.json").write_bytes(BOM + json.dumps([{"id": 1}, {"id": 2}]).encode())
    (tmp_path / "table.csv").write_text(TABLE)
    return tmp_path


WORDS = [
    "--scripts", "s.py", "--configfiles", "ids.json", "--extend-efuse-table", "table.csv", "--show-output",
    "--do-not-confirm", "--report", "r.csv",
]  # fmt: skip


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    """How often each of the functions that parse and read was called."""
    counted: Counter[str] = Counter()

    def count(module: Any, name: str) -> None:
        whole: Callable[..., Any] = getattr(module, name)

        def called(*given: Any, **more: Any) -> Any:
            counted[name] += 1
            return whole(*given, **more)

        monkeypatch.setattr(module, name, called)

    count(checked_job, "parse_commands")
    count(options, "check_conflicts")
    count(options, "simulated_groups")
    monkeypatch.setattr(cli_run, "simulated_groups", options.simulated_groups)
    monkeypatch.setattr(rebuild, "simulated_groups", options.simulated_groups)
    count(cli_run, "job_from")
    count(rebuild, "rebuild_job")
    count(compiled, "compile_script")
    count(records, "read_file")
    count(tables, "parse_custom_table")
    count(checked_job, "uses_the_index")
    return counted


@pytest.fixture
def reads(monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    """How often each file was opened by us, by its name."""
    counted: Counter[str] = Counter()
    whole = Path.open

    def opened(self: Path, *given: Any, **more: Any) -> Any:
        counted[self.name] += 1
        return whole(self, *given, **more)

    monkeypatch.setattr(Path, "open", opened)
    return counted


def report(folder: Path) -> dict[str, str]:
    with (folder / "r.csv").open(newline="") as file:
        return next(csv.DictReader(file))


def digest(content: bytes | str) -> str:
    return hashlib.sha256(content.encode() if isinstance(content, str) else content).hexdigest()


def test_a_run_parses_and_reads_each_thing_once(
    files: Path, calls: Counter[str], reads: Counter[str]
) -> None:
    assert main(["--sim", "esp32c3:2", *WORDS, "--commands", "summary"]) == 0
    assert calls == {
        "parse_commands": 1, "check_conflicts": 1, "simulated_groups": 1, "job_from": 1, "compile_script": 1,
        "read_file": 1, "parse_custom_table": 1, "uses_the_index": 1,
    }  # fmt: skip
    assert {name: reads[name] for name in ("s.py", "ids.json", "table.csv")} == {
        "s.py": 1, "ids.json": 1, "table.csv": 1,
    }  # fmt: skip


def test_a_rebuild_parses_and_reads_each_thing_once(
    files: Path, calls: Counter[str], reads: Counter[str], capsys: pytest.CaptureFixture[str]
) -> None:
    (files / "s.py").write_text(
        "import json\n"
        "number = json.load(open(args.configfiles[0], encoding='utf-8-sig'))[args.index - 1]['id']\n"
        "espefuse(esp, efuses, args, f'burn_efuse OF_OURS {number}')\n"
    )
    line = ["--sim", "esp32c3:1", "--records", "ids.json=item", "--ledger", "l.sqlite"]
    maintenance.init(files / "l.sqlite", why="a test")
    reads.clear()
    words = [word for word in WORDS if word not in ("--show-output", "--do-not-confirm", "--report", "r.csv")]
    main(["ledger", "rebuild", *line, *words, "--index", "1-2", "--why", "a test"])
    assert "Nothing was burned" in capsys.readouterr().out
    assert calls == {
        "simulated_groups": 1, "rebuild_job": 1, "compile_script": 1, "read_file": 1,
        "parse_custom_table": 1, "uses_the_index": 1,
    }  # fmt: skip
    assert {name: reads[name] for name in ("s.py", "table.csv")} == {"s.py": 1, "table.csv": 1}


def test_the_report_tells_of_the_files_that_were_run_and_not_of_what_they_became(
    files: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """They change after the options were checked and before the fleet begins."""
    ids = (files / "ids.json").read_bytes()

    def change() -> None:
        (files / "s.py").write_text("print('as it became')\n")
        (files / "ids.json").write_text("[]")
        (files / "table.csv").write_text("")

    async def later(*given: Any, **more: Any) -> Any:
        await to_thread.run_sync(change)
        return await burn_fleet(*given, **more)

    monkeypatch.setattr(cli_run, "burn_fleet", later)
    assert main(["--sim", "esp32c3:1", *WORDS]) == 0
    said = capsys.readouterr().out
    assert "as it was" in said
    assert "as it became" not in said
    row = report(files)
    assert row["scripts"] == f"s.py={digest('print(' + repr('as it was') + ')' + chr(10))}"
    assert row["config_files"] == f"ids.json={digest(ids)}"  # of the file: with its byte order mark
    assert row["tables"] == f"table.csv={digest(TABLE)}"


def test_a_script_that_rewrites_its_own_file_is_reported_as_it_ran(files: Path) -> None:
    text = "import pathlib\npathlib.Path('s.py').write_text('print()')\n"
    (files / "s.py").write_text(text)
    assert main(["--sim", "esp32c3:1", *WORDS]) == 0
    assert (files / "s.py").read_text() == "print()"
    assert report(files)["scripts"] == f"s.py={digest(text)}"


def test_what_comes_through_a_pipe_is_reported_with_its_digest(files: Path) -> None:
    """A pipe can be read once only."""
    text = "print('out of a pipe')\n"
    (files / "s.py").unlink()
    os.mkfifo(files / "s.py")
    writer = threading.Thread(target=lambda: (files / "s.py").write_text(text))
    writer.start()
    assert main(["--sim", "esp32c3:1", *WORDS]) == 0
    writer.join()
    assert report(files)["scripts"] == f"s.py={digest(text)}"


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--commands", "sumary"], "there is no command 'sumary'"),
        (["--configfiles", "s.py.json"], "there is no file"),
        (["--same", "NOT_A_FIELD"], "NOT_A_FIELD"),
    ],
)
def test_a_mistake_is_told_before_a_simulated_board_is_started(
    files: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], words: list[str],
    said: str,
) -> None:  # fmt: skip
    def started(*given: Any, **more: Any) -> None:
        raise AssertionError("a board was started")

    monkeypatch.setattr("subprocess.Popen", started)
    assert main(["--sim", "esp32c3:1", "--json", "--scripts", "s.py", *words]) == 2
    shown = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [one["event"] for one in shown] == ["error", "summary"]
    assert said in shown[0]["error"]


def test_a_defect_while_the_files_are_read_is_told_as_one(
    files: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def broken(*given: object) -> None:
        raise ZeroDivisionError("oops")

    monkeypatch.setattr(cli_run, "check_job", broken)
    assert main(["--sim", "esp32c3:1", *WORDS]) == 1
    assert "an error inside parburn: ZeroDivisionError: oops" in capsys.readouterr().err


def test_an_interrupt_while_the_files_are_read_ends_the_run(
    files: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def interrupted(*given: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(cli_run, "check_job", interrupted)
    assert main(["--sim", "esp32c3:1", *WORDS]) == 130
    assert "interrupted; nothing was burned" in capsys.readouterr().err


def test_a_script_that_another_one_runs_is_reported_too(files: Path) -> None:
    inner = "print('inner')\n"
    (files / "inner.py").write_text(inner)
    outer = "espefuse(esp, efuses, args, 'execute_scripts inner.py')\n"
    (files / "s.py").write_text(outer)
    assert main(["--sim", "esp32c3:2", *WORDS]) == 0
    assert report(files)["scripts"] == f"s.py={digest(outer)}; inner.py={digest(inner)}"


def test_two_contents_of_one_script_are_both_reported(files: Path) -> None:
    """It writes itself anew, and runs what it has written."""
    inner = "print()"
    outer = (
        f"import pathlib\npathlib.Path('s.py').write_text({inner!r})\n"
        "espefuse(esp, efuses, args, 'execute_scripts s.py')\n"
    )
    (files / "s.py").write_text(outer)
    assert main(["--sim", "esp32c3:1", *WORDS]) == 0
    assert report(files)["scripts"] == (
        f"s.py={digest(outer)}; s.py (as another script ran it)={digest(inner)}"
    )


# Stopped while files are read -------------------------------------------------------------------------

STOPPED = {
    "run": (["--sim", "esp32c3:1"], "interrupted; nothing was burned"),
    "rebuild": (["ledger", "rebuild", "--sim", "esp32c3:1", "--ledger", "l", "--why", "w"], "interrupted"),
}


@contextlib.contextmanager
def reading(folder: Path, words: list[str], **options: Any) -> Iterator[tuple[subprocess.Popen[str], int]]:
    """The installed command while it reads a script, and where to write the script."""
    assert COMMAND
    os.mkfifo(folder / "slow.py")
    with subprocess.Popen(
        [COMMAND, *words, "--scripts", "slow.py"], cwd=folder, stdin=subprocess.DEVNULL, text=True,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment(folder / "state"), **options,
    ) as child:  # fmt: skip
        deadline = time.monotonic() + 60
        while True:
            try:
                writer = os.open(folder / "slow.py", os.O_WRONLY | os.O_NONBLOCK)
                break
            except OSError:  # nobody reads yet
                assert child.poll() is None, child.communicate()
                assert time.monotonic() < deadline
                time.sleep(0.02)
        try:
            yield child, writer
        finally:
            child.kill()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
@pytest.mark.parametrize("command", STOPPED)
def test_a_signal_while_files_are_read_ends_with_a_sentence_and_130(
    tmp_path: Path, command: str, number: signal.Signals
) -> None:
    words, said = STOPPED[command]
    with reading(tmp_path, words) as (child, writer):
        child.send_signal(number)
        _, stderr = child.communicate(timeout=30)
        os.close(writer)
    assert child.returncode == 130
    assert stderr == f"parburn: {said}\n"


def test_a_hang_up_that_is_ignored_stops_no_reading(tmp_path: Path) -> None:
    """nohup parburn ..."""

    def ignore() -> None:
        signal.signal(signal.SIGHUP, signal.SIG_IGN)

    with reading(tmp_path, STOPPED["run"][0] + ["--do-not-confirm"], preexec_fn=ignore) as (child, writer):
        child.send_signal(signal.SIGHUP)
        os.write(writer, b"print('read to its end')\n")
        os.close(writer)
        stdout, _ = child.communicate(timeout=60)
    assert child.returncode == 0, stdout


def test_a_hang_up_with_a_sigterm_behind_it_is_one_sentence(tmp_path: Path) -> None:
    with reading(tmp_path, STOPPED["run"][0]) as (child, writer):
        child.send_signal(signal.SIGHUP)
        child.send_signal(signal.SIGTERM)
        _, stderr = child.communicate(timeout=30)
        os.close(writer)
    assert child.returncode == 130
    assert stderr == "parburn: interrupted; nothing was burned\n"


def test_signals_are_as_before_after_a_command(files: Path) -> None:
    numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    before = [signal.getsignal(number) for number in numbers]
    assert main(["--sim", "esp32c3:1", *WORDS]) == 0
    assert [signal.getsignal(number) for number in numbers] == before


def test_an_interrupt_while_the_report_is_written_does_not_say_that_nothing_was_burned(
    files: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def interrupted(*given: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(ReportFile, "_write_the_rest", interrupted)
    (files / "s.py").write_text("efuses['DIS_PAD_JTAG'].save(1)\n")
    assert main(["--sim", "esp32c3:1", *WORDS]) == 6
    said = capsys.readouterr()
    assert "the report could not be written: r.csv: interrupted" in said.err
    assert "nothing was burned" not in said.out + said.err
