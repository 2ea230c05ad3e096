"""A blocked event loop fails a test: in the test's own process, and in a command that it starts."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

from tests.loop_watch import MAY_BLOCK

ROOT = Path(__file__).resolve().parents[1]

HERE = """
import asyncio
from parburn.ledger.export import show

def look(path):
    try:
        show(path)
    except Exception:
        pass  # as a board does that failed

def test_it(tmp_path):
    async def work():
        {call}

    asyncio.run(work())
"""
COMMAND = """
from tests.command import parburn

def test_it(tmp_path):
    (tmp_path / "s.py").write_text({script!r})
    words = ("--sim", "esp32c3:1", "--scripts", tmp_path / "s.py", "--do-not-confirm")
    assert parburn(*words, state=tmp_path / "state").exit == 0
"""
# A script's thread is ours, so a loop that it starts is watched as the command's own.
BLOCKS = """
import asyncio, time
async def work():
    {call}
asyncio.run(work())
"""


def ran(test: str, folder: Path) -> subprocess.CompletedProcess[str]:
    """Run a test as all are run: with our conftest."""
    file = folder / "test_one.py"
    file.write_text(test)
    words = [
        "-q",
        "-p",
        "tests.conftest",
        "-p",
        "no:cacheprovider",
        f"--rootdir={ROOT}",
        f"--basetemp={folder}/t",
    ]
    return subprocess.run(
        [sys.executable, "-m", "pytest", *words, str(file)],
        cwd=ROOT, capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip


BLOCKED_HERE = HERE.format(call="look(tmp_path / 'none')")
BLOCKED_COMMAND = COMMAND.format(
    script=BLOCKS.format(call="try: time.sleep(0.01)\n    except Exception: pass")
)
FREE_HERE = HERE.format(call="await asyncio.to_thread(look, tmp_path / 'none')")
FREE_COMMAND = COMMAND.format(script=BLOCKS.format(call="await asyncio.sleep(0.01)"))


@pytest.mark.parametrize(
    ("test", "function"),
    [(BLOCKED_HERE, "os.path.abspath"), (BLOCKED_COMMAND, "time.sleep")],
    ids=["here", "command"],
)
def test_a_blocked_loop_fails_the_test(tmp_path: Path, test: str, function: str) -> None:
    done = ran(test, tmp_path)
    assert done.returncode == 1, done.stdout
    assert f"the loop was blocked by {function}:" in done.stdout


@pytest.mark.parametrize("test", [FREE_HERE, FREE_COMMAND], ids=["here", "command"])
def test_a_loop_that_is_not_blocked_fails_nothing(tmp_path: Path, test: str) -> None:
    done = ran(test, tmp_path)
    assert done.returncode == 0, done.stdout


def test_what_may_block_is_there() -> None:
    for file, names in MAY_BLOCK:
        if not file.startswith("logging/"):
            defined = {
                node.name
                for node in ast.walk(ast.parse((ROOT / file).read_text()))
                if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef))
            }
            assert defined.issuperset(names), file
