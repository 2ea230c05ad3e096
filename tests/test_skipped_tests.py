"""Where the USB tests cannot run they are skipped, with the line that helps; where none may be, they fail."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.usb.image import APT_LINE

ROOT = Path(__file__).resolve().parents[1]


@pytest.mark.parametrize(
    ("allowed", "exit_code", "sentence"),
    [
        ("2", 0, ""),
        ("0", 1, "2 tests were skipped, PARBURN_SKIPPED=0 allows no other number"),
    ],
)
def test_without_a_virtual_machine(tmp_path: Path, allowed: str, exit_code: int, sentence: str) -> None:
    words = ["-m", "pytest", "-q", "-p", "no:cacheprovider", "-m", "usb", "tests/usb", "-k", "test_no_rights"]
    places = {"PARBURN_USB_DIR": str(tmp_path), "PARBURN_SKIPPED": allowed}
    done = subprocess.run(
        [sys.executable, *words],
        cwd=ROOT,
        env={name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")} | places,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == exit_code, done.stdout + done.stderr
    assert APT_LINE in done.stdout
    assert sentence in done.stdout
    assert done.stdout.splitlines()[-1].startswith("2 skipped")
