"""A guard on what does not depend on the machine: turns and bytes of each job on each chip, calls per board.

A change that costs more fails here, and so does one that costs clearly less: then the table is stale. To see
all figures: `python -m tests.test_counts`.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import threading
from collections.abc import Sequence
from pathlib import Path
from types import FrameType
from typing import Any

import pytest

from parburn.cli.main import main
from tests import provisioning
from tests.command import parburn
from tests.every_kind import KINDS, NAMES, Boards, Kind, every_kind
from tests.rig import start_rig

KEY = bytes(range(1, 33))
JOBS = ("summary", "one bit", "key, MAC, bit")
BAUD = 115200  # paced: on a faster line the ROM waits where here the poll takes its time
STALE = 0.95  # of the table
TRIES = 3  # an answer to SYNC that a busy machine delays costs a turn

# Turns, bytes to the chip, bytes from it; a job for each. Locks are burned last, and all is verified. These
# are the bytes where the line is not known to be paced: once it is, a command has 16 bytes less.
MOST: dict[str, tuple[tuple[int, int, int], ...]] = {
    "esp32-v3.0": ((3, 602, 674), (7, 1298, 1200), (9, 3031, 2488)),
    "esp32s2-v0.2": ((3, 1430, 1510), (7, 1399, 1276), (13, 4146, 3194)),
    "esp32s3-v0.2": ((3, 1444, 1532), (7, 1339, 1256), (13, 4086, 3174)),
    "esp32c2-v0.2": ((3, 448, 538), (7, 907, 808), (11, 2692, 1942)),
    "esp32c3-v0.2": ((3, 1472, 1560), (7, 1367, 1284), (13, 4071, 3146)),
    "esp32c5-v0.2": ((3, 1471, 1560), (7, 1311, 1228), (13, 4069, 3160)),
    "esp32c6-v0.2": ((3, 1444, 1532), (7, 1325, 1242), (13, 4086, 3174)),
    "esp32c61-v0.2": ((3, 1457, 1546), (7, 1339, 1256), (13, 4097, 3188)),
    "esp32h2-v0.2": ((3, 1472, 1560), (7, 1367, 1284), (13, 4114, 3202)),
    "esp32h21-v0.2": ((3, 1429, 1520), (7, 1179, 1148), (13, 3926, 3073)),
    "esp32h4-v0.2": ((3, 1429, 1518), (7, 1193, 1158), (13, 3926, 3062)),
    "esp32p4-v0.2": ((3, 1458, 1546), (7, 1207, 1172), (13, 3958, 3091)),
    "esp32s31-v0.2": ((3, 1401, 1492), (7, 1641, 1609), (13, 4461, 3597)),
    "esp32e22-v0.2": ((3, 1401, 1492), (7, 1025, 994), (13, 3786, 2933)),
    "esp32c3-v3.1": ((3, 1472, 1560), (7, 1367, 1284), (13, 4071, 3146)),
    "esp32c61-v3.1": ((3, 1457, 1546), (7, 1339, 1256), (13, 4097, 3188)),
    "esp32h2-v3.1": ((3, 1472, 1560), (7, 1367, 1284), (13, 4115, 3203)),
    "esp32p4-v3.1": ((3, 1458, 1546), (7, 1207, 1172), (13, 3957, 3090)),
}

SCRIPT = """
lines = {lines}
for line in lines[bytes(esp.read_mac()).hex(":")]:
    espefuse(esp, efuses, args, line)
"""


def plain_bit(kind: Kind) -> str:
    """A field of one bit that neither locks nor cuts anything."""
    chip = kind.chip
    return next(
        f.name for f in chip.fields if f.block == 0 and f.bits == 1 and f.name not in chip.burned_last
    )


def lines_of(number: int, job: str, key: Path) -> list[str]:
    """The commands of a job for the board with this number."""
    kind = KINDS[number]
    if job == "summary":
        return ["summary"]
    bit = f"burn_efuse {plain_bit(kind)} 1"
    if job == "one bit":
        return [bit]
    purpose = next((name for name in ("XTS_AES_128_KEY", "USER") if kind.purpose(name)), "")
    mac = f"02:00:00:00:ee:{number:02x}"
    return [f"burn_custom_mac {mac}", f"burn_key {kind.key_blocks[0].name} {key} {purpose}", bit]


def figures(job: str, boards: Boards, folder: Path, kinds: Sequence[int]) -> list[tuple[int, int, int]]:
    """What the job cost on the boards of these kinds."""
    folder.mkdir()
    (folder / "key.bin").write_bytes(KEY)
    lines = {boards.mac(n): lines_of(n, job, folder / "key.bin") for n in kinds}
    (folder / "job.py").write_text(SCRIPT.format(lines=lines))
    report = folder / "report.jsonl"
    outcome = parburn(
        "--ports", *(boards.ports[n] for n in kinds), "--scripts", folder / "job.py",
        "--do-not-confirm", "--report", report, "--quiet", state=folder / "state",
    )  # fmt: skip
    assert outcome.exit == 0, outcome.stderr[-2000:]
    by_port = {row["port"]: row for row in provisioning.rows(report)}
    rows = [by_port[boards.ports[n]] for n in kinds]
    return [(row["turns"], row["tx_bytes"], row["rx_bytes"]) for row in rows]


@pytest.mark.parametrize("job", JOBS)
def test_turns_and_bytes_on_every_chip(job: str, tmp_path: Path) -> None:
    place = JOBS.index(job)
    left = dict(enumerate(NAMES))
    seen: dict[str, list[tuple[int, int, int]]] = {name: [] for name in NAMES}
    for attempt in range(TRIES):
        folder = tmp_path / str(attempt)
        with every_kind(folder / "rig", baud_limit=BAUD) as boards:
            for n, found in zip(left, figures(job, boards, folder / "run", list(left)), strict=True):
                seen[NAMES[n]].append(found)
        left = {n: name for n, name in left.items() if not within(seen[name][-1], MOST[name][place])}
        if not left:
            return
    pytest.fail("; ".join(f"{name}: {seen[name]}, table {MOST[name][place]}" for name in left.values()))


def within(found: tuple[int, int, int], most: tuple[int, int, int]) -> bool:
    """Whether the figures are those of the table, or a little better."""
    return all(STALE * limit <= got <= limit for got, limit in zip(found, most, strict=True))


# --- calls per board

# Of these the frames that nothing may cut short take 250, values and records 300, texts of what is planned
# 60, what the record says of a board (since when it is whole, what was burned) 40. Chunks of answers come in
# as many reads as the machine makes of them: 5010 to 5068 calls were seen, with a burst for what is read
# again before a burn.
CALLS_PER_BOARD = 5150
FEW, MANY = 2, 10
CALLS = "calls"  # the word that asks for this figure alone
AFTER = "calls-after"  # and for the same after another run in the process
ROOT = Path(__file__).resolve().parents[1]


def calls(boards: int, folder: Path) -> int:
    """Calls of Python functions in a run of the fleet, all threads, in this process."""
    script = folder / "job.py"
    script.write_text(
        'espefuse(esp, efuses, args, f"burn_custom_mac 02:00:00:00:01:{args.index:02x}")\n'
        f'espefuse(esp, efuses, args, "burn_key BLOCK_KEY0 {folder / "key.bin"} XTS_AES_128_KEY")\n'
        'espefuse(esp, efuses, args, "burn_efuse DIS_DIRECT_BOOT 1")\n'
    )
    (folder / "key.bin").write_bytes(KEY)
    count = 0

    def called(frame: FrameType, event: str, argument: Any) -> None:
        nonlocal count
        count += event == "call"

    with start_rig("esp32c3", boards, tmp_path=folder) as rig:
        words = ["--ports", *rig.ports, "--scripts", str(script), "--do-not-confirm", "--quiet"]
        before = sys.getprofile()
        threading.setprofile(called)
        sys.setprofile(called)
        try:
            assert main([*words, "--new-ledger", "--ledger", str(folder / "ledger.sqlite")]) == 0
        finally:
            sys.setprofile(before)
            threading.setprofile(None)
    return count


def calls_per_board(folder: Path) -> float:
    """What each board beyond the first few adds. A first run warms what is made once per process."""
    found = []
    for name, boards in (("warm", 1), ("few", FEW), ("many", MANY)):
        (folder / name).mkdir()
        found.append(calls(boards, folder / name))
    return (found[2] - found[1]) / (MANY - FEW)


def run_a_script_that_writes_itself(folder: Path) -> None:
    """It runs what it has written: its name, which many modules' names end with, is known from then on."""
    script = folder / "s.py"
    script.write_text(
        f"open({str(script)!r}, 'w').write('print()')\n"
        f"espefuse(esp, efuses, args, 'execute_scripts {script}')\n"
    )
    assert main(["--sim", "esp32c3:1", "--scripts", str(script), "--do-not-confirm", "--quiet"]) == 0


@pytest.mark.parametrize("asked", [CALLS, AFTER])
def test_function_calls_per_board(asked: str) -> None:
    """In a process of its own, which has no loop watch; a host that has had another run pays no more."""
    seen = []
    for _ in range(TRIES):
        done = subprocess.run(
            [sys.executable, "-m", "tests.test_counts", asked],
            cwd=ROOT, capture_output=True, text=True, timeout=120, check=True,
        )  # fmt: skip
        seen.append(float(done.stdout.splitlines()[-1].split()[0]))
        if seen[-1] <= CALLS_PER_BOARD:
            break
    assert STALE * 0.85 * CALLS_PER_BOARD <= min(seen) <= CALLS_PER_BOARD, seen


def print_calls(top: Path) -> None:
    """Measure and print, as the last line."""
    (top / "calls").mkdir()
    sys.stdout.write(f"{calls_per_board(top / 'calls'):.0f} calls a board\n")


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as name:
        top = Path(name)
        if sys.argv[1:] in ([CALLS], [AFTER]):
            if sys.argv[1] == AFTER:
                run_a_script_that_writes_itself(top)
            print_calls(top)
            sys.exit()
        table: dict[str, list[tuple[int, int, int]]] = {one: [] for one in NAMES}
        for at, one_job in enumerate(JOBS):
            with every_kind(top / f"rig{at}", baud_limit=BAUD) as all_boards:
                for kind_name, row in zip(
                    NAMES, figures(one_job, all_boards, top / f"run{at}", range(len(NAMES))), strict=True
                ):
                    table[kind_name].append(row)
        for kind_name, rows in table.items():
            sys.stdout.write(f'    "{kind_name}": ({", ".join(map(str, rows))}),\n')
        print_calls(top)
