"""Each thing that a command line names is read and checked once, and what is told of it is what was run."""

from __future__ import annotations

import csv
import hashlib
import json
import os
import threading
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from parburn.cli import options, rebuild
from parburn.cli import run as cli_run
from parburn.cli.main import main
from parburn.config import records
from parburn.fleet import burn_fleet
from parburn.ledger import maintenance
from parburn.run import checked_job, tables
from parburn.script import compiled
from parburn.script.commands import command_line

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

    count(command_line, "parse_commands")
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

    async def later(*given: Any, **more: Any) -> Any:
        (files / "s.py").write_text("print('as it became')\n")
        (files / "ids.json").write_text("[]")
        (files / "table.csv").write_text("")
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
