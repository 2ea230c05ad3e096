"""Without psycopg there are files, and a clear word about pools."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

WITHOUT = """
import sys
sys.modules["psycopg"] = None
from parburn.cli.main import main
sys.exit(main(sys.argv[1:]))
"""
BURN = ("--sim", "esp32c3:1", "--commands", "burn_efuse DIS_PAD_JTAG 1", "--do-not-confirm")


@pytest.mark.parametrize("words", [BURN, ("ledger", "show"), ("ledger", "init", "--why", "x"), ("report",)])
def test_a_pool_without_the_extra_is_refused(tmp_path: Path, words: tuple[str, ...]) -> None:
    done = subprocess.run(
        [sys.executable, "-c", WITHOUT, *words, "--ledger", "postgresql://db/parburn"],
        capture_output=True, text=True, check=False, cwd=tmp_path, timeout=60,
    )  # fmt: skip
    assert done.returncode == 2, done.stdout + done.stderr
    assert "pip install 'parburn[postgresql]'" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_file_needs_no_extra(tmp_path: Path) -> None:
    for words in ((*BURN, "--new-ledger"), ("ledger", "export"), ("ledger", "verify")):
        done = subprocess.run(
            [sys.executable, "-c", WITHOUT, *words, "--ledger", "l.sqlite3"],
            capture_output=True, text=True, check=False, cwd=tmp_path, timeout=60,
        )  # fmt: skip
        assert done.returncode == 0, done.stdout + done.stderr
