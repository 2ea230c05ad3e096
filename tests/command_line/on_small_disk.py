"""Runs the command with its ledger on a small disk that fills up or turns read-only; prints JSON of it.

`unshare -m python -m tests.command_line.on_small_disk FOLDER`: the disk is a tmpfs, mounted in a namespace of
its own.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from tests.command import finish, start
from tests.rig import start_rig

FILL = """
import os
fd = os.open('{disk}/fill', os.O_CREAT | os.O_WRONLY)
try:
    while True:
        os.write(fd, bytes(4096))
except OSError:
    pass
"""
PLAIN = "espefuse(esp, efuses, args, 'burn_custom_mac 02:00:00:00:00:%02x' % args.index)\n"
BURN = "efuses.burn_all()\n"
MORE = "espefuse(esp, efuses, args, 'burn_efuse SECURE_VERSION 1')\n" + BURN


def outcomes(folder: Path, disk: Path) -> Iterator[dict[str, object]]:
    """Full before the first burn, at the start, read-only, full between two burns, with room again."""
    fill = FILL.format(disk=disk)
    for name, text in (("early", PLAIN + fill + BURN), ("late", PLAIN + BURN + fill + MORE),
                       ("plain", PLAIN + BURN + MORE)):  # fmt: skip
        (folder / f"{name}.py").write_text(text)

    def mount(*words: str) -> None:
        subprocess.run(["mount", *words, str(disk)], check=True)

    mount("-t", "tmpfs", "-o", "size=20m", "none")
    with start_rig("esp32c3", 2, folder) as rig:

        def run(name: str, script: str) -> dict[str, object]:
            done = finish(start(
                "--ports", *rig.ports, "--do-not-confirm", "--json", "--scripts", folder / f"{script}.py",
                "--ledger", disk / "ledger.sqlite3", state=folder / "state",
            ))  # fmt: skip
            return {
                "name": name, "exit": done.exit, "words": done.words, "said": done.stdout + done.stderr,
                "indexes": [one["index"] for one in done.results],
                "programs": [rig.programs(board) for board in range(2)],
            }  # fmt: skip

        yield run("full before the first burn", "early")
        yield run("full at the start", "plain")
        (disk / "fill").unlink()
        mount("-o", "remount,ro")
        yield run("read-only", "plain")
        mount("-o", "remount,rw")
        yield run("full between two burns", "late")
        (disk / "fill").unlink()
        yield run("with room", "plain")
        simulated = finish(start(
            "--sim", "esp32c3:1", "--commands", "summary", "--ledger", "/proc/ledger", state=folder / "state"
        ))  # fmt: skip
        yield {"name": "simulated", "exit": simulated.exit, "said": simulated.stdout + simulated.stderr}


if __name__ == "__main__":
    given = Path(sys.argv[1])
    (given / "disk").mkdir()
    for outcome in outcomes(given, given / "disk"):
        sys.stdout.write(json.dumps(outcome) + "\n")
