"""Starts a rig of simulated boards as a separate process, and reads the true bits from the boards' files."""

from __future__ import annotations

import json
import os
import select
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
READY_S = 30.0
STOP_S = 10.0


@dataclass
class Rig:
    """A running rig. `ports` are the links to open, `states` the boards' files, both in board order."""

    process: subprocess.Popen[str]
    folder: Path
    ports: list[str]
    states: list[Path]
    errors: Path = field(repr=False)

    def state(self, board: int) -> dict[str, Any]:
        """A board's file as it is now."""
        content: dict[str, Any] = json.loads(self.states[board].read_text())
        return content

    def bits(self, board: int, block: int) -> int:
        """True bits of a block in the layout of its read registers, whatever protects it from being read."""
        return int(list(self.state(board)["blocks"].values())[block]["bits"], 16)

    def mac(self, board: int) -> str:
        """Factory MAC address, aa:bb:cc:dd:ee:ff."""
        return str(self.state(board)["mac"])

    def programs(self, board: int) -> int:
        """How many program pulses the board has had."""
        return len(self.state(board)["burns"])

    def cpu_s(self) -> float:
        """CPU seconds (user and system) that the rig has used."""
        fields = Path(f"/proc/{self.process.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def stop(self) -> int:
        """End the rig cleanly; its exit code."""
        if self.process.poll() is None:
            self.process.terminate()
        try:
            code = self.process.wait(STOP_S)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait(STOP_S)
            raise
        finally:
            if self.process.stdout:
                self.process.stdout.close()
        return code


def _await_ready(process: subprocess.Popen[str], errors: Path) -> None:
    deadline = time.monotonic() + READY_S
    assert process.stdout is not None
    while time.monotonic() < deadline:
        readable, _, _ = select.select([process.stdout], [], [], max(0.0, deadline - time.monotonic()))
        if readable:
            line = process.stdout.readline()
            if line.startswith("ready: "):
                return
            if not line:
                break
    process.kill()
    process.wait(STOP_S)
    process.stdout.close()
    raise RuntimeError(f"the rig did not become ready: {errors.read_text()}")


@contextmanager
def start_rig(
    chip: str = "esp32s3",
    count: int = 1,
    tmp_path: Path | None = None,
    *,
    state: Path | None = None,
    settings: Sequence[str] = (),
    baud_limit: int = 0,
    usb_latency_ms: float = 0.0,
    stay_powered: bool = False,
    faults: Sequence[str] = (),
    seed: int | None = 1,
    tokens: Sequence[str] = (),
) -> Iterator[Rig]:
    """Run a rig in `tmp_path`/rig until the block ends.

    `chip` may be a mix such as `esp32:3,esp32s3:2` (then `count` is not used). `seed` makes MAC addresses and
    random faults the same each time; None draws new ones. `tokens` make the boards instead of `chip`.
    """
    if tmp_path is None:
        raise ValueError("start_rig needs tmp_path, a folder of the test's own")
    folder = tmp_path.resolve() / "rig"
    states = state.resolve() if state else folder / "state"
    folder.mkdir(parents=True, exist_ok=True)
    boards = sum(int(part.partition(":")[2]) for part in chip.split(",")) if ":" in chip else count
    command = [sys.executable, "-m", "parburn.sim", "--dir", str(folder)]
    command += [f"--from-token={one}" for one in tokens] or ["--chip", chip]
    command += ["--state", str(states), "--with-parent"]
    boards = len(tokens) if len(tokens) > 1 else boards
    command += [] if ":" in chip and not tokens else ["--count", str(boards)]
    command += [f"--set={one}" for one in settings] + [f"--fault={one}" for one in faults]
    command += ["--baud-limit", str(baud_limit)] if baud_limit else []
    command += ["--usb-latency-ms", str(usb_latency_ms)] if usb_latency_ms else []
    command += ["--stay-powered"] if stay_powered else []
    command += [] if seed is None else ["--seed", str(seed)]
    errors = folder / "errors.txt"
    with errors.open("w") as stderr:
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=stderr, text=True, cwd=ROOT)
    _await_ready(process, errors)
    rig = Rig(
        process=process,
        folder=folder,
        ports=[str(folder / f"ttyUSB{n}") for n in range(boards)],
        states=[states / f"ttyUSB{n}.json" for n in range(boards)],
        errors=errors,
    )
    try:
        yield rig
    finally:
        rig.stop()
