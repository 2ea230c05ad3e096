"""Ctrl-C while modules load, closed and full streams: the documented exit code, a sentence, no traceback."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.command import COMMAND, environment, parburn
from tests.rig import ROOT

# Sends itself a Ctrl-C when this module is about to be loaded, wherever in the chain of imports that is.
INTERRUPTED = """
import os, signal, sys
class Finder:
    def find_spec(self, name, path=None, target=None):
        if name == {module!r}:
            sys.meta_path.remove(finder)
            os.kill(os.getpid(), signal.SIGINT)
finder = Finder()
sys.meta_path.insert(0, finder)
sys.argv = ["parburn", *{words!r}]
from parburn.cli.start import entry
entry()
"""
RUN = ["--sim", "esp32c3:1", "--commands", "summary"]
# Why: what watches is loaded before all else, and these are about the first moments of a process.
LOOP_IS_NOT_WATCHED = "the start of a process"

LOADED = [
    ("parburn.cli.main", RUN),
    ("argparse", RUN),
    ("parburn.cli.run", RUN),
    ("asyncio", RUN),
    ("parburn.ledger.run_ledger", RUN),
    ("parburn.ui.view", RUN),
    ("parburn.cli.ports", ["ports"]),
    ("parburn.ledger.export", ["ledger", "show"]),
    ("parburn.sim.rig", ["sim", "--chip", "esp32c3"]),
    ("parburn.chips.table", RUN),
    ("parburn.sim.processes", RUN),
    ("parburn.cli.token", ["--sim", "esp32c3:1", "--token"]),
]


@pytest.mark.parametrize(("module", "words"), LOADED)
def test_ctrl_c_while_modules_load_is_130_and_a_sentence(
    module: str, words: list[str], tmp_path: Path
) -> None:
    done = subprocess.run(
        [sys.executable, "-c", INTERRUPTED.format(module=module, words=words)],
        cwd=ROOT, env=environment(tmp_path), capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert done.returncode == 130, done.stderr
    assert "interrupted" in done.stderr
    assert "Traceback" not in done.stderr
    assert "Exception" not in done.stderr


def in_shell(line: str, state: Path, **extra: str) -> subprocess.CompletedProcess[str]:
    """The command with its streams as a shell makes them; `parburn` in the line is the command."""
    return subprocess.run(
        ["bash", "-c", f'parburn() {{ "{COMMAND}" "$@"; }}; {line}'],
        env=environment(state, **extra), capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip


SIM = "parburn --sim esp32c3:2 --do-not-confirm --commands 'burn_efuse DIS_PAD_JTAG 1'"


@pytest.mark.parametrize("buffered", ["", "1"])
@pytest.mark.parametrize(
    ("line", "code", "words"),
    [
        ("parburn ledger init --why x >&-", 0, ""),
        ("parburn ledger show >&-", 2, "There is no ledger"),
        ("parburn ledger show >&- 2>&-", 2, ""),
        (f"{SIM} >&-", 0, ""),
        (f"{SIM} >&- 2>&- <&-", 0, ""),
        (f"{SIM} >/dev/full", 0, ""),
        (f"{SIM} --json >&-", 0, ""),
        ("parburn --help >/dev/full", 2, "cannot be written: No space left on device"),
        ("parburn --version >/dev/full", 2, "cannot be written"),
        ("parburn completion bash >/dev/full", 2, "cannot be written"),
        ("parburn completion bash | true; exit ${PIPESTATUS[0]}", 0, ""),
        ("parburn --help | true; exit ${PIPESTATUS[0]}", 0, ""),
    ],
)
def test_closed_and_full_streams(line: str, code: int, words: str, buffered: str, tmp_path: Path) -> None:
    done = in_shell(line, tmp_path, PYTHONUNBUFFERED=buffered)
    assert done.returncode == code, (done.stdout, done.stderr)
    assert words in done.stderr
    for text in ("Traceback", "inside parburn", "Exception ignored"):
        assert text not in done.stderr


def test_no_file_gets_the_number_of_a_closed_stream(tmp_path: Path) -> None:
    """The ledger would be 1, and whatever prints would write into it."""
    boards = f"--sim esp32c3:1 --ledger {tmp_path}/a.ledger --do-not-confirm"
    done = in_shell(f"parburn {boards} --commands 'burn_efuse DIS_PAD_JTAG 1' >&- 2>&- <&-", tmp_path)
    assert done.returncode == 0
    assert "verifies" in parburn("ledger", "verify", "--ledger", tmp_path / "a.ledger", state=tmp_path).stdout
