"""One board: what a job takes from the first byte on the wire to the last, beside espefuse and the floor.

All tools are external processes on equal simulated boards, fresh for every measurement. The line is paced
byte by byte; the rig's own process notes what crosses it (see benchmarks/wire.py). `wall_s` is the wire,
`process_s` and `cpu_s` are the whole process with its start.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.common import (
    Row,
    WireRig,
    arguments,
    finish,
    folder,
    median_row,
    parburn,
    peers,
    progress,
    run,
)
from benchmarks.floor import ROM_BAUD, Part, floor_of, floor_seconds
from benchmarks.picture import Bars, bars
from parburn.chips.registry import chip_named
from parburn.efuse.image import EfuseImage
from parburn.efuse.plan import plan_burns
from parburn.efuse.staged import StagedBurns
from parburn.efuse.staging import stage_custom_mac, stage_field, stage_key

CHIPS = ("esp32c3", "esp32s3", "esp32")
LINKS = ((115200, 1), (115200, 16), (921600, 1))  # rate, latency timer in ms
MAC = "02:00:00:00:ee:01"
UNIQUE_ID = "8ee8971133"
KEY = bytes(range(1, 33))
TABLE = (
    "# field_name, efuse_block, bit_start, bit_count, comment\nUNIQUE_ID, EFUSE_BLK3, 56, 40, Serial number\n"
)
CRYSTAL_MHZ = 40


@dataclass(frozen=True)
class Words:
    """What differs between chips in the words of a command."""

    bit: str
    key_block: str
    purpose: str


WORDS = {
    "esp32c3": Words("DIS_DIRECT_BOOT", "BLOCK_KEY0", "XTS_AES_128_KEY"),
    "esp32s3": Words("DIS_DIRECT_BOOT", "BLOCK_KEY0", "XTS_AES_128_KEY"),
    "esp32": Words("JTAG_DISABLE", "flash_encryption", ""),
}


@dataclass(frozen=True)
class Job:
    """A job in the words of all tools: command lines with espefuse 4's names."""

    name: str
    commands: Callable[[Words, Path], list[list[str]]]
    programs: bool = True
    table: bool = False
    everything: bool = False  # needs all blocks


def _key_job(words: Words, place: Path) -> list[list[str]]:
    key = ["burn_key", words.key_block, str(place / "key.bin"), words.purpose]
    return [["burn_custom_mac", MAC], [word for word in key if word], ["burn_efuse", words.bit, "1"]]


def _mac_job(words: Words, place: Path) -> list[list[str]]:
    return [["burn_custom_mac", MAC], ["burn_efuse", "UNIQUE_ID", UNIQUE_ID]]


JOBS = (
    Job("summary", lambda words, place: [["summary"]], programs=False, everything=True),
    Job("one bit", lambda words, place: [["burn_efuse", words.bit, "1"]]),
    Job("key, MAC, bit", _key_job),
    Job("MAC, unique id", _mac_job, table=True),
)


def job_floor(chip_name: str, job: Job, *, safely: bool = False) -> tuple[Part, ...]:
    """The floor of a job on a new chip; `safely` with what is read twice for safety."""
    chip = chip_named(chip_name)
    image = EfuseImage(
        chip,
        {block.index: 0 for block in chip.blocks},
        registers=dict.fromkeys(chip.extra_registers, 1 << 31),
    )
    staged, words = StagedBurns(), WORDS[chip_name]
    if job.name in ("key, MAC, bit", "MAC, unique id"):
        stage_custom_mac(image, staged, bytes.fromhex(MAC.replace(":", "")))
    if job.name == "key, MAC, bit":
        block = chip.block_by_name[words.key_block]
        purpose = words.purpose or None
        stage_key(image, staged, block, KEY, purpose, write_protect=True, read_protect=True)
    if job.name in ("one bit", "key, MAC, bit"):
        stage_field(image, staged, image.field_named(words.bit), 1)
    if job.table:
        staged.add(3, int(UNIQUE_ID, 16) << 56)
    blocks = range(len(chip.blocks)) if job.everything else ()
    return floor_of(chip, plan_burns(image, staged), blocks, CRYSTAL_MHZ, safely=safely)


# The tools -----------------------------------------------------------------------------------------


def parburn_words(job: Job, chip: str, port: Path, baud: int, place: Path) -> list[object]:
    """The job for parburn: a script, as for espefuse's execute_scripts."""
    script = place / "job.py"
    lines = [" ".join(words) for words in job.commands(WORDS[chip], place)]
    script.write_text("".join(f"espefuse(esp, efuses, args, {line!r})\n" for line in lines))
    ledger = Path(tempfile.mkdtemp(dir=place)) / "ledger.sqlite"
    words: list[object] = ["--ports", port, "--scripts", script, "--do-not-confirm"]
    words += ["--new-ledger", "--ledger", ledger, "--quiet"]
    words += ["--extend-efuse-table", place / "table.csv"] if job.table else []
    words += ["--baud", baud] if baud != ROM_BAUD else []
    return parburn(*words)


def espefuse_words(
    job: Job, chip: str, port: Path, baud: int, place: Path, *, tool: str, python: Path
) -> list[object]:
    """The job for espefuse: its commands chained, which burns them together."""
    dashes = not tool.startswith("espefuse 4")
    words: list[object] = [python, "-m", "espefuse", "--port", port, "--baud", baud, "--do-not-confirm"]
    words += ["--before", "no-reset" if dashes else "no_reset"]
    words += ["--extend-efuse-table", place / "table.csv"] if job.table else []
    for name, *rest in job.commands(WORDS[chip], place):
        words += [name.replace("_", "-") if dashes else name, *rest]
    return words


def measure(rig: WireRig, chip: str, job: Job, baud: int, tool: str, python: Path | None, place: Path) -> Row:
    """One run of one tool on a board that nothing has talked to."""
    (port,) = rig.boards()
    if python is None:
        words = parburn_words(job, chip, port, baud, place)
    else:
        words = espefuse_words(job, chip, port, baud, place, tool=tool, python=python)
    cost = run(words)
    talks = rig.conversations(1)
    ok = cost.ok and len(talks) == 1 and (talks[0].programs > 0) is job.programs
    if not ok:
        progress(f"  {tool} failed ({cost.exit}): {cost.said[-400:]}")
    return {
        "wall_s": round(sum(talk.wall_s for talk in talks), 4),
        "turns": sum(talk.turns for talk in talks),
        "tx_bytes": sum(talk.tx_bytes for talk in talks),
        "rx_bytes": sum(talk.rx_bytes for talk in talks),
        "host_s": round(sum(talk.host_s for talk in talks), 4),
        "cpu_s": round(cost.cpu_s, 4),
        "process_s": round(cost.wall_s, 4),
        "ok": ok,
    }


def rows_of(given: argparse.Namespace) -> list[Row]:
    """All measurements."""
    tools: dict[str, Path | None] = {"parburn": None, **peers(given)}
    jobs = [job for job in JOBS if job.name in given.jobs]
    found: list[Row] = []
    with folder() as place:
        (place / "key.bin").write_bytes(KEY)
        (place / "table.csv").write_text(TABLE)
        for chip in given.chips:
            for baud, latency_ms in LINKS[:1] if given.quick else LINKS:
                boards = len(jobs) * (given.repeat + given.peer_repeat * (len(tools) - 1))
                with WireRig(place, chip, boards, baud_limit=baud, latency_ms=latency_ms) as rig:
                    for job in jobs:
                        head = {"chip": chip, "job": job.name, "baud": baud, "latency_ms": latency_ms}
                        found += rows_of_job(rig, head, job, tools, given, place)
    return found


def rows_of_job(
    rig: WireRig,
    head: Row,
    job: Job,
    tools: Mapping[str, Path | None],
    given: argparse.Namespace,
    place: Path,
) -> list[Row]:
    """A row for each tool."""
    chip, baud = str(head["chip"]), int(head["baud"])
    floor_s = round(floor_seconds(job_floor(chip, job), baud), 4)
    safe_floor_s = round(floor_seconds(job_floor(chip, job, safely=True), baud), 4)
    rows: list[Row] = []
    for tool, python in tools.items():
        times = given.repeat if python is None else given.peer_repeat
        several = [measure(rig, chip, job, baud, tool, python, place) for _ in range(times)]
        row = {**head, "tool": tool, **median_row(several), "floor_s": floor_s, "safe_floor_s": safe_floor_s}
        rows.append(row)
        what = ", ".join(str(value) for value in head.values())
        progress(f"{what} ms, {tool}: {row['wall_s']:.3f} s, {row['turns']} turns (floor {floor_s:.3f} s)")
    return rows


def floor_text(chips: Sequence[str], jobs: Sequence[str]) -> str:
    """The floor of every job, part by part."""
    lines = []
    for chip in chips:
        for job in JOBS:
            if job.name not in jobs:
                continue
            parts, safe = job_floor(chip, job), job_floor(chip, job, safely=True)
            lines.append(f"{chip}, {job.name}: bytes to the chip, from the chip, seconds at 115200 baud")
            for part in parts:
                lines.append(f"{part.tx_bytes:8}{part.rx_bytes:8}{part.seconds(ROM_BAUD):9.4f}  {part.name}")
            seconds = sum(part.seconds(ROM_BAUD) for part in parts)
            tx, rx = sum(part.tx_bytes for part in parts), sum(part.rx_bytes for part in parts)
            lines.append(f"{tx:8}{rx:8}{seconds:9.4f}  all")
            tx, rx = sum(part.tx_bytes for part in safe), sum(part.rx_bytes for part in safe)
            seconds = sum(part.seconds(ROM_BAUD) for part in safe)
            lines.append(f"{tx:8}{rx:8}{seconds:9.4f}  all, with what is read twice for safety\n")
    return "\n".join(lines)


def draw(rows: Sequence[Row], said: str) -> str:
    """Seconds on the wire, a group of bars for each chip and job."""
    groups: dict[str, Bars] = {}
    for row in rows:
        if (row["baud"], row["latency_ms"]) == LINKS[0]:
            name = f"{row['chip']}: {row['job']}"
            groups.setdefault(name, {})[str(row["tool"])] = float(row["wall_s"])
            groups[name]["floor"] = float(row["floor_s"])
            groups[name]["floor, read twice for safety"] = float(row["safe_floor_s"])
    title = "One board at 115200 baud: seconds from first byte to last"
    return bars(title, groups, unit="s", said=said)


def main() -> None:
    """Measure and report."""
    given = arguments(
        "one_board",
        "One board from the first byte to the last, beside espefuse and the floor.",
        chips={"nargs": "+", "choices": CHIPS, "help": "chips (default: all)"},
        jobs={"nargs": "+", "choices": [job.name for job in JOBS], "help": "jobs (default: all)"},
        repeat={"type": int, "default": 3, "help": "runs of parburn; the row is their median (default 3)"},
        peer_repeat={"type": int, "default": 1, "help": "runs of each espefuse (default 1)"},
        floor={"action": "store_true", "help": "only list the parts of the floor, and end"},
    )
    given.chips = given.chips or (["esp32c3"] if given.quick else list(CHIPS))
    given.jobs = given.jobs or (["key, MAC, bit"] if given.quick else [job.name for job in JOBS])
    given.repeat = 1 if given.quick else given.repeat
    if given.floor:
        sys.stdout.write(floor_text(given.chips, given.jobs))
        return
    finish("one_board", rows_of(given), given, {"one_board": draw})


if __name__ == "__main__":
    main()
