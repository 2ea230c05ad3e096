"""The command line: what is accepted, what is refused and how, the exit codes, and what help costs."""

from __future__ import annotations

import argparse
import json
import os
import pty
import re
import resource
import subprocess
import sys
from pathlib import Path
from typing import Any, get_args

import pytest

from parburn import __version__
from parburn.cli.exit_code import RunFlags, exit_code
from parburn.cli.main import main
from parburn.cli.options import SimulatedGroup, job_from, simulated_groups
from parburn.cli.parser import AFTER_MODES, BEFORE_MODES, build_parser, index_range, parse
from parburn.errors import (
    BatchRefused,
    InternalError,
    Interrupted,
    LedgerUnusable,
    OutOfIndexes,
    PortDenied,
    PortGone,
    UnitQuarantined,
    UsageError,
)
from parburn.events import DeviceReport, Result
from parburn.job import After, Before, Job
from parburn.transport.ports import PortInfo
from tests.transport.board import pty_board

ROOT = Path(__file__).parents[2]


@pytest.fixture
def files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder, made the current one, with a script, a config file, a table and three ports."""
    monkeypatch.chdir(tmp_path)
    for name in ("s.py", "t.py", "ids.json", "table.csv"):
        (tmp_path / name).write_text("")
    for number in (10, 2, 1):
        (tmp_path / f"ttyUSB{number}").write_text("")
    return tmp_path


def job(*words: str) -> Job:
    return job_from(parse(words))


# Accepted ---------------------------------------------------------------------------------------------

WORDS = (
    ("--ports", "ttyUSB1", "ttyUSB2"),
    ("--scripts", "s.py", "t.py"),
    ("--configfiles", "ids.json"),
    ("--index", "5-20"),
    ("--do-not-confirm",),
    ("--before", "no-reset"),
)


@pytest.mark.parametrize("turn", range(len(WORDS)))
def test_flags_in_any_order_bare_or_after_run(files: Path, turn: int) -> None:
    ordered = [word for group in WORDS for word in group]
    turned = [word for group in (*WORDS[turn:], *WORDS[:turn])[::-1] for word in group]
    wanted = job(*ordered)
    assert wanted.ports == ("ttyUSB1", "ttyUSB2")
    assert wanted.scripts == (Path("s.py"), Path("t.py"))
    assert (wanted.index_first, wanted.index_last) == (5, 20)
    assert wanted.do_not_confirm
    assert job(*turned) == wanted
    assert job("run", *turned) == wanted


def test_what_was_said_before_run_stays(files: Path) -> None:
    assert job("--debug", "--do-not-confirm", "run", "--ports", "ttyUSB1", "--scripts", "s.py").debug


def test_defaults(files: Path) -> None:
    made = job("--ports", "ttyUSB1", "--scripts", "s.py")
    assert made == Job(ports=("ttyUSB1",), scripts=(Path("s.py"),))


def test_every_option_reaches_the_job(files: Path) -> None:
    made = job(
        "--ports", "ttyUSB1", "--scripts", "s.py", "--index", "3", "--dry-run", "--expect", "1",
        "--chip", "ESP32-S3", "--baud", "921600", "--before", "usb_reset", "--after", "hard_reset",
        "--extend-efuse-table", "table.csv",
        "--extend-efuse-table", "esp32c3=table.csv", "--ledger", "l.db", "--batch", "order 7",
        "--connect-attempts", "3", "--max-burning", "4", "--script-timeout", "2.5", "--allow-fixed-index",
        "--show-sensitive-info", "--show-output", "--report", "r.csv", "--trace", "t.txt", "--debug",
        "--allow-shared-records", "--allow-other-batch", "--one-at-a-time", "--wait", "7.5",
    )  # fmt: skip
    assert made.one_at_a_time
    assert made.wait_s == 7.5
    assert (made.index_first, made.index_last, made.dry_run, made.expect, made.chip) == (
        3,
        None,
        True,
        1,
        "esp32s3",
    )
    assert (made.baud, made.before, made.after) == (921600, "usb-reset", "hard-reset")
    assert [(one.chip, one.path) for one in made.tables] == [
        (None, Path("table.csv")),
        ("esp32c3", Path("table.csv")),
    ]
    assert (made.ledger, made.batch, made.connect_attempts, made.max_burning) == (
        Path("l.db"),
        "order 7",
        3,
        4,
    )
    assert (made.script_timeout_s, made.allow_fixed_index, made.show_sensitive_info) == (2.5, True, True)
    assert (made.show_output, made.report, made.trace, made.debug) == (
        True,
        Path("r.csv"),
        Path("t.txt"),
        True,
    )
    assert made.overrides == {"allow-shared-records", "allow-other-batch"}


def test_lists_may_be_given_in_pieces(files: Path) -> None:
    made = job("--ports", "ttyUSB10", "--scripts", "s.py", "--ports", "ttyUSB2", "--scripts", "t.py",
               "--configfiles", "ids.json", "--configfiles", "table.csv")  # fmt: skip
    assert made.ports == ("ttyUSB2", "ttyUSB10")
    assert made.scripts == (Path("s.py"), Path("t.py"))
    assert made.config_files == (Path("ids.json"), Path("table.csv"))


def test_port_patterns_are_expanded_sorted_and_joined_with_remote_ports(files: Path) -> None:
    (files / "again").symlink_to(files / "ttyUSB1")
    made = job("--ports", "ttyUSB*", "again", "socket://h:1", "--scripts", "s.py")
    assert len(made.ports) == 4
    assert [port for port in made.ports if port.startswith("tty")] == ["ttyUSB1", "ttyUSB2", "ttyUSB10"]


def test_a_table_whose_name_holds_an_equals_sign(files: Path) -> None:
    (files / "a=b.csv").write_text("")
    made = job("--ports", "ttyUSB1", "--scripts", "s.py", "--extend-efuse-table", "a=b.csv")
    assert [(one.chip, one.path) for one in made.tables] == [(None, Path("a=b.csv"))]


@pytest.mark.parametrize(("text", "wanted"), [("1", (1, None)), ("5-20", (5, 20)), ("7-7", (7, 7))])
def test_index_ranges(text: str, wanted: tuple[int, int | None]) -> None:
    assert index_range(text) == wanted


@pytest.mark.parametrize(
    "text", ["", "0", "-1", "5-", "-5", "5-4", "x", "1-x", "1.5", "٣", "1-2-3", "9" * 13]
)
def test_what_is_no_index_range(text: str) -> None:
    with pytest.raises(argparse.ArgumentTypeError):
        index_range(text)


@pytest.mark.parametrize(
    ("text", "groups"),
    [
        ("esp32s3:8", [("esp32s3", 8)]),
        ("esp32:3,esp32c3:3,esp32s3:2", [("esp32", 3), ("esp32c3", 3), ("esp32s3", 2)]),
        ("esp32c3", [("esp32c3", 1)]),
        ("ESP32-C3:1, esp32c3:2", [("esp32c3", 3)]),
    ],
)
def test_simulated_boards(text: str, groups: list[tuple[str, int]]) -> None:
    assert simulated_groups(text) == tuple(SimulatedGroup(*group) for group in groups)


# Refused ----------------------------------------------------------------------------------------------

BASE = ["--ports", "ttyUSB1", "--scripts", "s.py"]


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        ([], "no boards are named"),
        (["--scripts", "s.py"], "no boards are named"),
        (["--ports", "ttyUSB1"], "no script is named"),
        ([*BASE, "--sim", "esp32c3:1"], "do not go together"),
        (["--ports", "nowhere", "--scripts", "s.py"], "there is no port nowhere"),
        (["--ports", "none*", "--scripts", "s.py"], "none*"),
        (["--ports", "ttyUSB1", "--scripts", "gone.py"], "there is no file gone.py"),
        (["--ports", "ttyUSB1", "--scripts", "."], "is a folder"),
        ([*BASE, "--configfiles", "gone.json"], "there is no file gone.json"),
        ([*BASE, "--chip", "esp32s4"], "there is no chip 'esp32s4'"),
        ([*BASE, "--expect", "2"], "--expect 2 boards, but --ports gives 1"),
        ([*BASE, "--extend-efuse-table", "gone.csv"], "there is no file gone.csv"),
        ([*BASE, "--extend-efuse-table", "esp99=table.csv"], "there is no chip 'esp99'"),
        ([*BASE, "--report", "r.txt"], "must end in .csv or .jsonl"),
        ([*BASE, "--report", "gone/r.csv"], "there is no folder gone"),
        ([*BASE, "--trace", "."], "is a folder"),
        ([*BASE, "--trace", "s.py"], "name the same file"),
        ([*BASE, "--report", "x.csv", "--trace", "x.csv"], "name the same file"),
        ([*BASE, "--report", "x.json"], "one JSON text cannot be appended to"),
        ([*BASE, "--baud", "1"], "--baud 1 is not a rate"),
        ([*BASE, "--batch", " "], "--batch needs"),
        ([*BASE, "--ledger", "."], "is a folder"),
    ],
)
def test_bad_input_is_one_sentence_and_exit_2(
    files: Path, capsys: pytest.CaptureFixture[str], words: list[str], sentence: str
) -> None:
    assert main(words) == 2
    said = capsys.readouterr()
    assert said.err.startswith("parburn: ")
    assert sentence in said.err
    assert "hint: " in said.err
    assert "Traceback" not in said.err
    assert said.out == ""


@pytest.mark.parametrize("words", [["--commands", "\x1b[2J a"], ["--batch", "\x1b[2J"], ["--\x1b[2J"]])
def test_what_was_typed_cannot_steer_the_terminal(
    files: Path, capsys: pytest.CaptureFixture[str], words: list[str]
) -> None:
    assert main([*BASE, *words]) == 2
    said = capsys.readouterr().err
    assert said.startswith("parburn: ")
    assert "\x1b" not in said


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["--index", "0"], "indexes begin at 1"),
        (["--index", "9-3"], "ends before it begins"),
        (["--after", "explode"], "invalid choice"),
        (["--expect", "0"], "from 1 up"),
        (["--max-burning", "x"], "from 1 up"),
        (["--script-timeout", "nan"], "seconds"),
        (["--do-not-conf"], "unrecognized arguments"),  # an abbreviation may mean something else tomorrow
        (["--nonsense"], "unrecognized arguments"),
    ],
)
def test_what_argparse_refuses_is_exit_2_and_no_traceback(
    files: Path, capsys: pytest.CaptureFixture[str], words: list[str], sentence: str
) -> None:
    assert main([*BASE, *words]) == 2
    said = capsys.readouterr()
    assert sentence in said.err
    assert "--help" in said.err
    assert said.out == ""


@pytest.mark.parametrize(
    "text", ["", ":", "esp32c3:0", "esp32c3:-1", "esp32c3:x", "esp99:1", "esp32c3:999", "esp32c3:1,"]
)
def test_what_are_no_simulated_boards(text: str) -> None:
    with pytest.raises(UsageError):
        simulated_groups(text)


def test_bad_input_under_json_is_json(files: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--json", "--ports", "nowhere", "--scripts", "s.py"]) == 2
    first, last = map(json.loads, capsys.readouterr().out.splitlines())
    assert first["event"] == "error"
    assert first["schema"] == 1
    assert last.items() >= {"event": "summary", "boards": 0, "passed": 0, "failed": 0, "exit": 2}.items()


def test_debug_adds_the_traceback(files: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--debug", "--ports", "nowhere", "--scripts", "s.py"]) == 2
    assert "Traceback" in capsys.readouterr().err


# Exit codes -------------------------------------------------------------------------------------------


def boards(text: str) -> list[DeviceReport]:
    """`pass refused:OutOfIndexes` as reports."""
    pairs = [word.partition(":") for word in text.split()]
    return [DeviceReport("p", "s", Result(result), error_kind=kind) for result, _, kind in pairs]


@pytest.mark.parametrize(
    ("results", "flags", "code"),
    [
        ("pass pass", RunFlags(), 0),
        ("pass already-pass", RunFlags(), 0),
        ("already-pass", RunFlags(), 0),
        ("pass failed", RunFlags(), 1),
        ("pass refused", RunFlags(), 1),
        ("pass no-answer", RunFlags(), 1),
        ("incomplete", RunFlags(), 1),
        ("incomplete refused", RunFlags(), 1),
        ("failed", RunFlags(), 1),
        ("failed refused", RunFlags(), 1),
        ("refused", RunFlags(), 3),
        ("refused refused:NotConfirmed", RunFlags(), 3),
        ("already-pass refused", RunFlags(), 3),
        ("pass refused:OutOfIndexes", RunFlags(), 4),
        ("failed incomplete refused:OutOfIndexes", RunFlags(), 4),
        ("refused:OutOfIndexes quarantined", RunFlags(), 5),
        ("pass quarantined", RunFlags(), 5),
        ("refused:TooFewBoards no-answer", RunFlags(), 2),
        ("pass", RunFlags(interrupted=True), 130),
        ("quarantined refused:OutOfIndexes", RunFlags(interrupted=True), 130),
        ("failed:Interrupted pass", RunFlags(), 130),
        ("", RunFlags(error=UsageError("x")), 2),
        ("", RunFlags(error=LedgerUnusable("x")), 2),
        ("refused failed no-answer", RunFlags(error=LedgerUnusable("x")), 2),
        ("incomplete refused", RunFlags(error=LedgerUnusable("x")), 1),  # a full disk in the middle
        ("pass pass", RunFlags(error=LedgerUnusable("x")), 1),
        ("pass incomplete", RunFlags(error=BatchRefused("x")), 1),
        ("quarantined pass", RunFlags(error=LedgerUnusable("x")), 5),
        ("", RunFlags(error=BatchRefused("x")), 3),
        ("", RunFlags(error=OutOfIndexes("x")), 4),
        ("", RunFlags(error=UnitQuarantined("x")), 5),
        ("", RunFlags(error=Interrupted("x")), 130),
        ("pass quarantined", RunFlags(error=UsageError("x")), 5),
        ("pass", RunFlags(error=InternalError(ZeroDivisionError("a defect"))), 1),
    ],
)
def test_exit_codes(results: str, flags: RunFlags, code: int) -> None:
    assert exit_code(boards(results), flags) == code


# Help and the rest ------------------------------------------------------------------------------------

HEAVY = ("rich", "serial", "bitstring", "asyncio", "anyio", "sqlite3", "cryptography", "reedsolo", "tomllib")
SEE = """\
import sys
from parburn.cli.main import main
code = main({words})
sys.stderr.write(' '.join(sys.modules))
sys.exit(code)
"""


@pytest.mark.parametrize(
    "words", [["--help"], ["--version"], ["run", "--help"], ["ledger", "--help"], ["--nonsense"]]
)
def test_help_imports_nothing_heavy(words: list[str]) -> None:
    done = subprocess.run(
        [sys.executable, "-c", SEE.format(words=words)], capture_output=True, text=True, cwd=ROOT, check=False
    )
    assert done.returncode == (2 if words == ["--nonsense"] else 0)
    seen = set(done.stderr.splitlines()[-1].split())
    assert "parburn.cli.parser" in seen
    assert not [name for name in seen if name.split(".")[0] in HEAVY or name.startswith("parburn.chips")]


def cpu_of(command: list[str], **options: Any) -> float:
    """Least CPU seconds (user and system) of three runs of a command."""
    found = []
    for _ in range(3):
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        subprocess.run(command, cwd=ROOT, check=True, **options)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        found.append(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
    return min(found)


def test_help_costs_little_cpu() -> None:
    assert cpu_of([sys.executable, "-m", "parburn", "--help"], stdout=subprocess.DEVNULL) < 0.15


def on_a_terminal(words: list[str], **extra: str) -> tuple[int, str]:
    """Run parburn on a pty of its own; exit code and what the terminal got."""
    pid, master = pty.fork()
    if pid == 0:
        os.chdir(ROOT)
        os.execve(
            sys.executable,
            [sys.executable, "-m", "parburn", *words],
            {**os.environ, "TERM": "xterm", **extra},
        )
    got = b""
    while True:
        try:
            data = os.read(master, 65536)
        except OSError:
            break
        if not data:
            break
        got += data
    os.close(master)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), got.decode()


def test_help_on_a_terminal_is_coloured_and_says_the_same() -> None:
    code, shown = on_a_terminal(["--help"])
    assert code == 0
    assert "\x1b[" in shown
    plain = re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", shown)
    for option in (
        "--ports",
        "--scripts",
        "--configfiles",
        "--index",
        "--do-not-confirm",
        "--json",
        "ledger",
    ):
        assert option in plain


OPTIONS = (
    "--ports", "--scripts", "--configfiles", "--index", "--do-not-confirm", "--dry-run", "--expect", "--chip",
    "--baud", "--before", "--after", "--extend-efuse-table", "--ledger", "--new-ledger", "--batch",
    "--connect-attempts", "--wait",
    "--max-burning", "--script-timeout", "--sim", "--show-sensitive-info", "--show-output", "--report",
    "--json", "--quiet", "--verbose", "--debug", "--trace", "--version",
)  # fmt: skip


def test_help_names_every_option_of_the_contract(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--help"]) == 0
    said = capsys.readouterr().out
    for option in OPTIONS:
        assert re.search(rf"{option}\b", said), option


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--version"]) == 0
    assert capsys.readouterr().out == f"parburn {__version__}\n"


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_scripts_name_the_command(shell: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["completion", shell]) == 0
    assert "parburn" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("line", "wanted"),
    [("parburn --do", "--do-not-confirm"), ("parburn --chip esp32c", "esp32c3"), ("parburn led", "ledger")],
)
def test_completion_completes(line: str, wanted: str, tmp_path: Path) -> None:
    out = tmp_path / "completions"
    environment = {
        **os.environ, "_ARGCOMPLETE": "1", "_ARGCOMPLETE_IFS": "\n", "_ARGCOMPLETE_SHELL": "bash",
        "_ARGCOMPLETE_STDOUT_FILENAME": str(out), "COMP_LINE": line, "COMP_POINT": str(len(line)),
        "COMP_TYPE": "9", "ARGCOMPLETE_USE_TEMPFILES": "1",
    }  # fmt: skip
    subprocess.run([sys.executable, "-m", "parburn"], env=environment, cwd=ROOT, check=True, timeout=30)
    assert any(word.strip().startswith(wanted) for word in out.read_text().splitlines())


def test_a_reader_that_goes_away_is_no_error() -> None:
    read, write = os.pipe()
    os.close(read)
    done = subprocess.run(
        [sys.executable, "-m", "parburn", "--help"],
        stdout=write,
        stderr=subprocess.PIPE,
        cwd=ROOT,
        check=False,
    )
    os.close(write)
    assert done.stderr == b""
    assert done.returncode == 0


@pytest.fixture
def ledger_file(tmp_path: Path) -> Path:
    path = tmp_path / "ledger.db"
    assert main(["ledger", "init", "--ledger", str(path), "--why", "a test"]) == 0
    return path


def test_ledger_actions_reach_the_ledger(
    ledger_file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    used = tmp_path / "used.txt"
    used.write_text("1-3\n")
    place = ["--ledger", str(ledger_file)]
    assert main(["ledger", "import-used", str(used), "--why", "the old tool", "--batch", "b", *place]) == 0
    capsys.readouterr()
    assert main(["ledger", *place, "export", "--format", "json"]) == 0
    record = json.loads(capsys.readouterr().out)
    assert [unit["index"] for unit in record["units"]] == [1, 2, 3]
    assert main(["ledger", "verify", *place]) == 0
    assert main(["ledger", "show", *place]) == 0
    out = tmp_path / "out.csv"
    assert main(["ledger", "export", "--format", "csv", "-o", str(out), *place]) == 0
    assert len(out.read_text().splitlines()) == 4


def test_ledger_errors_are_sentences(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["ledger", "show", "--ledger", str(tmp_path / "none.db")]) == 2
    said = capsys.readouterr().err
    assert said.startswith("parburn: ")
    assert "Traceback" not in said
    assert main(["ledger", "release", "aa:bb:cc:dd:ee:ff"]) == 2  # no --why


def test_ports_lists_named_ports(files: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["ports", "ttyUSB*"]) == 0
    assert [line.split()[0] for line in capsys.readouterr().out.splitlines()] == [
        "ttyUSB1",
        "ttyUSB2",
        "ttyUSB10",
    ]
    assert main(["ports", "--json", "ttyUSB1"]) == 0
    assert json.loads(capsys.readouterr().out)["port"] == "ttyUSB1"


def test_a_probe_of_what_is_no_port_is_a_sentence(files: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["ports", "--probe", "ttyUSB1"]) == 1
    said = capsys.readouterr()
    assert "Traceback" not in said.out + said.err
    assert [line.strip().partition(":")[0] for line in said.out.splitlines()[2:]] == ["hint"]
    assert "moves the reset lines" in said.err


def test_ports_prints_no_line_for_no_port(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("parburn.transport.ports.list_candidates", lambda: ())
    assert main(["ports"]) == 0
    said = capsys.readouterr()
    assert said.out == ""
    assert "no USB serial port" in said.err


@pytest.mark.parametrize(
    "line",
    [
        "--ports a --scripts s.py --batch run",
        "run --ports a --scripts s.py -q",
        "--debug run --ports a",
        "ports --probe a",
        "--ports ports ledger",
        "ledger show --ledger x",
        "ledger release aa:bb:cc:dd:ee:ff --why because",
        "completion bash",
    ],
)
def test_a_line_means_the_same_to_the_parser_that_was_made_for_it(line: str) -> None:
    words = line.split()

    def read(parser: argparse.ArgumentParser) -> object:
        try:
            return vars(parser.parse_args(words))
        except SystemExit as ended:
            return ended.code

    assert read(build_parser(words)) == read(build_parser())


def test_the_modes_of_the_command_line_are_those_of_a_job() -> None:
    assert get_args(Before) == BEFORE_MODES
    assert get_args(After) == AFTER_MODES


# --- parburn ports --probe


def candidates(*found: tuple[str, bool]) -> tuple[PortInfo, ...]:
    return tuple(PortInfo(port, f"slot of {port}", 0x1234, 1, "", may) for port, may in found)


def test_only_ports_that_may_hold_a_chip_are_probed_unless_they_are_named(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    opened: list[str] = []

    async def open_stream(port: str) -> None:
        opened.append(port)
        raise PortDenied(f"no rights to open {port}", hint="add yourself to the group")

    monkeypatch.setattr("parburn.transport.open.open_stream", open_stream)
    monkeypatch.setattr(
        "parburn.transport.ports.list_candidates",
        lambda: candidates(("/dev/ttyUSB0", True), ("/dev/ttyACM7", False)),
    )
    assert main(["ports", "--probe"]) == 1
    said = capsys.readouterr()
    assert opened == ["/dev/ttyUSB0"]
    assert "moves the reset lines of these ports and sends a SYNC" in said.err
    assert said.err.splitlines()[0].endswith(": /dev/ttyUSB0")
    assert "no rights to open /dev/ttyUSB0\n    hint: add yourself to the group" in said.out
    assert "not probed" in said.out.splitlines()[-1]
    assert main(["ports", "--probe", "--json", "/dev/ttyACM7"]) == 1
    assert opened == ["/dev/ttyUSB0", "/dev/ttyACM7"]
    (row,) = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert (row["probed"], row["hint"]) == (True, "add yourself to the group")
    assert main(["ports", "--json"]) == 0
    assert all("probed" not in json.loads(line) for line in capsys.readouterr().out.splitlines())
    assert len(opened) == 2


def test_a_probe_that_touches_nothing_says_so(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(
        "parburn.transport.ports.list_candidates", lambda: candidates(("/dev/ttyACM7", False))
    )
    assert main(["ports", "--probe"]) == 0
    assert "no port was probed" in capsys.readouterr().err


@pytest.mark.parametrize("error", [RuntimeError("a defect"), OSError(5, "gone"), ValueError(), TypeError()])
def test_what_goes_wrong_at_one_port_stays_at_that_port(
    error: Exception, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    async def open_stream(port: str) -> None:
        raise error if port == "/dev/ttyUSB0" else PortGone(f"there is no {port}")

    monkeypatch.setattr("parburn.transport.open.open_stream", open_stream)
    assert main(["ports", "--probe", "/dev/ttyUSB0", "/dev/ttyUSB1"]) == 1
    said = capsys.readouterr()
    assert "there is no /dev/ttyUSB1" in said.out
    assert "Traceback" not in said.out + said.err


def test_a_reader_that_came_earlier_is_named_in_a_probe(capsys: pytest.CaptureFixture[str]) -> None:
    with pty_board() as board:
        code = "import sys, time; f = open(sys.argv[1]); print(1, flush=True); time.sleep(60)"
        with subprocess.Popen([sys.executable, "-c", code, board.port], stdout=subprocess.PIPE) as reader:
            assert reader.stdout is not None
            reader.stdout.readline()
            try:
                assert main(["ports", "--probe", board.port]) == 1
            finally:
                reader.kill()
    said = capsys.readouterr().out
    assert f"(process {reader.pid}) has {board.port} open too" in said
    assert "hint: " in said
