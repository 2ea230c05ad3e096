"""A word that is read wrong once, wherever it stands in what a board tells before it is burned: through the
installed command, many boards a run, each with one damaged byte.

Answers carry no checksum. Whatever the damaged word made of the chip (a key where none is, a bit that is not
there, a serial that is none), the board passes in the same run, with the bits that were asked for.
"""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from tests.command import parburn
from tests.rig import start_rig

BOARDS = 48
FIRST, LAST = 1, 1900  # bytes to the host: a board that nothing is burned into yet has said them by then
KEY = bytes(range(1, 33))
TABLE = "SERIAL, EFUSE_BLK3, 0, 32, [] Number of this unit\nPARITY, EFUSE_BLK3, 64, 8, [] Its parity\n"
JOB = """
if efuses["SERIAL"].get() == 0:
    espefuse(esp, efuses, args, f"burn_efuse SERIAL {0x51000000 + args.index} PARITY 5")
espefuse(esp, efuses, args, "burn_key BLOCK_KEY0 key.bin USER")
espefuse(esp, efuses, args, "burn_efuse DIS_USB_JTAG 1")
"""


def test_every_board_passes_in_the_same_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "key.bin").write_bytes(KEY)
    (tmp_path / "ours.csv").write_text(TABLE)
    (tmp_path / "job.py").write_text(JOB)
    seed = random.randrange(1 << 30)
    rng = random.Random(seed)
    step = (LAST - FIRST) / BOARDS
    places = [round(FIRST + step * (n + rng.random())) for n in range(BOARDS)]
    faults = [
        f"on board {n}: byte {at} to the host is flipped in bit {rng.randrange(8)}"
        for n, at in enumerate(places)
    ]
    told = f"seed {seed}"
    with start_rig("esp32c3", BOARDS, tmp_path, faults=faults) as rig:
        done = parburn(
            "--ports", *rig.ports, "--scripts", "job.py", "--extend-efuse-table", "ours.csv",
            "--json", "--do-not-confirm", "--same", "PARITY", "--same", "BLOCK_KEY0",
            state=tmp_path / "state",
        )  # fmt: skip
        wrong = {
            port: event.get("error")
            for port, event in zip(rig.ports, done.results, strict=True)
            if event["result"] != "pass"
        }
        assert not wrong, f"{told}: {wrong}"
        serials = set()
        for n in range(BOARDS):
            bits = rig.bits(n, 3)
            serials.add(bits & 0xFFFF_FFFF)
            assert bits >> 64 & 0xFF == 5, f"{told}, board {n}"
            assert rig.bits(n, 4) == int.from_bytes(KEY, "little"), f"{told}, board {n}"
        assert serials == {0x51000000 + n for n in range(1, BOARDS + 1)}, told
