"""The README's commands and every example, run as written. (CI runs the README's first two itself.)"""

from __future__ import annotations

import argparse
import os
import pty
import re
import select
import shlex
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from parburn.cli.parser import build_parser
from tests.command import COMMAND, environment, parburn, start
from tests.rig import start_rig

ROOT = Path(__file__).resolve().parents[1]
DEADLINE_S = 60


def commands() -> list[str]:
    """The README's shell blocks, without the indent of lists."""
    text = (ROOT / "README.md").read_text()
    return [block.strip() for block in re.findall(r"```sh\n(.*?)```", text, flags=re.DOTALL)]


def test_the_readme_has_the_blocks_that_are_run() -> None:
    found = commands()
    assert len(found) == 7
    assert "--sim " in found[0]
    assert "pytest" in found[1]
    assert found[2] == "parburn ports --probe"
    assert "--dry-run" in found[3]
    assert found[5].startswith("parburn station --sim ")
    assert "import-used" in found[6]


def test_the_figures_are_those_that_were_saved() -> None:
    from benchmarks import readme

    text = (ROOT / "README.md").read_text()
    _, _, rest = text.partition(readme.BEGIN)
    assert rest.partition(readme.END)[0] == readme.measured()
    for picture in re.findall(r"!\[[^]]*\]\(([^)]*)\)", text):
        assert (ROOT / picture).read_text().startswith("<svg")


def test_looking_at_the_ports_needs_no_board(tmp_path: Path) -> None:
    outcome = parburn(*shlex.split(commands()[2])[1:], state=tmp_path)
    assert "Traceback" not in outcome.stderr
    assert outcome.exit in (0, 1)


def test_dry_run_and_burn_on_real_ports(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With a rig's ports in place of the USB ones, and an operator who types NEW and BURN."""
    state = tmp_path / "state"
    with start_rig("esp32:1,esp32c3:1", tmp_path=tmp_path) as rig:
        pattern = str(Path(rig.ports[0]).parent / "ttyUSB*")
        dry, burn = (
            [word.replace("/dev/ttyUSB*", pattern) for word in shlex.split(command)[1:]]
            for command in commands()[3:5]
        )
        monkeypatch.chdir(ROOT)
        assert parburn(*dry, state=state, as_typed=True).exit == 0
        assert not any(rig.programs(n) for n in range(2))
        assert type_burn(burn, state) == 0
        assert all(rig.programs(n) for n in range(2))


def test_the_station_fills_burns_passes_and_empties_until_ctrl_c(tmp_path: Path) -> None:
    """As a program reads it: a board passes in each of its eight sockets."""
    words = shlex.split(commands()[5])[1:]
    process = start(*words, "--json", state=tmp_path, as_typed=True)
    assert process.stdout is not None
    passed: set[str] = set()
    deadline, seen = time.monotonic() + DEADLINE_S, b""
    while len(passed) < 8 and time.monotonic() < deadline:
        if select.select([process.stdout], [], [], 1.0)[0]:
            seen += os.read(process.stdout.fileno(), 65536)
            passed = set(re.findall(r'"slot": ?"(A\d)", "state": ?"verdict", "word": ?"PASS"', seen.decode()))
    process.send_signal(signal.SIGINT)
    assert process.wait(DEADLINE_S) == 0
    _, errors = process.communicate()
    assert len(passed) == 8, seen[-2000:]
    assert errors == ""


def test_a_second_pc_takes_over_what_the_first_has_burned(tmp_path: Path) -> None:
    first, second = tmp_path / "first", tmp_path / "second"
    job = ("--scripts", ROOT / "examples/08_mac.py", "--configfiles", ROOT / "examples/mac_addresses.json")
    with start_rig("esp32c3:3", tmp_path=tmp_path) as rig:
        words = (*job, "--do-not-confirm", "--json")
        assert parburn("--ports", *rig.ports[:2], *words, state=first).words == ["pass", "pass"]
        assert parburn("ledger", "export", "-o", tmp_path / "first.json", state=first).exit == 0
        early = parburn(
            "ledger", "import-used", tmp_path / "first.json", "--why", "no ledger yet", state=second
        )
        assert early.exit == 2
        assert "parburn ledger init --why" in early.stderr
        path = f"{Path(str(COMMAND)).parent}{os.pathsep}{os.environ['PATH']}"
        subprocess.run(
            ["bash", "-ec", commands()[6]], cwd=tmp_path, env=environment(second, PATH=path), check=True
        )
        outcome = parburn("--ports", *rig.ports[1:], *words, state=second)
        assert outcome.words == ["already-pass", "pass"]
        assert [result["index"] for result in outcome.results] == [2, 3]


def test_the_options_that_the_readme_names_exist() -> None:
    """Those of parburn: other programs' options stand in blocks of commands."""
    known = {word for parser in every_parser(build_parser()) for word in parser._option_string_actions}
    for path in (ROOT / "README.md", ROOT / "examples/README.md"):
        text = re.sub(r"```.*?```", "", path.read_text(), flags=re.DOTALL)
        named = {word for code in re.findall(r"`([^`]*)`", text) for word in re.findall(r"--[a-z-]+", code)}
        foreign = {"--all", "--sequences", "--seed", "--link", "--help"}  # of a test's sweep; of all programs
        assert not named - known - foreign, path


def every_parser(parser: argparse.ArgumentParser) -> Iterator[argparse.ArgumentParser]:
    """A parser and those of its commands."""
    yield parser
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for inner in action.choices.values():
                yield from every_parser(inner)


def type_burn(words: list[str], state: Path) -> int:
    """Run the command on a terminal of its own, answer its questions; its exit code."""
    assert COMMAND
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        [COMMAND, *words], stdin=theirs, stdout=theirs, stderr=theirs, env=environment(state), cwd=ROOT
    )
    os.close(theirs)
    seen, questions, deadline = b"", [b"NEW", b"BURN"], time.monotonic() + DEADLINE_S
    try:
        while time.monotonic() < deadline:
            try:
                seen += os.read(ours, 4096)
            except OSError:  # the other end closed: the command has ended
                break
            if questions and b"Type " + questions[0] in seen:
                os.write(ours, questions.pop(0) + b"\n")
        assert not questions, seen.decode(errors="replace")
        return process.wait(DEADLINE_S)
    finally:
        process.kill()
        process.wait()
        os.close(ours)


@pytest.mark.parametrize(
    ("boards", "words"),
    [
        (
            "esp32:1,esp32c3:1,esp32s3:1",
            "--scripts examples/02_mac_and_unique_id.py --extend-efuse-table examples/unique_id.csv "
            "--configfiles examples/mac_addresses.json examples/unique_id.json",
        ),
        ("esp32:1", "--chip esp32 --scripts examples/03_flash_encryption.py"),
        (
            "esp32:1,esp32c3:1,esp32s3:1",
            "--scripts examples/04_mixed_chips.py --configfiles examples/ids.json",
        ),
        ("esp32c3:1,esp32s3:1", "--scripts examples/05_dialect_5.py --configfiles examples/ids.json"),
        ("esp32:1,esp32c3:1", "--scripts examples/06_nested.py --configfiles examples/ids.json"),
    ],
)
def test_every_example_burns_simulated_boards(
    boards: str, words: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(ROOT)
    outcome = parburn("--sim", boards, *words.split(), "--do-not-confirm", "--json", state=tmp_path)
    assert outcome.exit == 0, outcome.stdout + outcome.stderr
    assert set(outcome.words) == {"pass"}
