"""Scripts that end the connection in the middle: on each kind of chip, on many boards, killed at each point.

The script has the shape of the production examples that are published: a first `burn_all()` that closes the
chip, a look at what it has burned, a second `burn_all()` with a key, another look.
"""

from __future__ import annotations

import json
import random
from pathlib import Path

import pytest

from tests.command import parburn, start
from tests.every_kind import KINDS, NAMES, every_kind
from tests.provisioning import KEY, custom_mac_of, every_bit, key_of, said, script
from tests.rig import start_rig
from tests.soak.bench import Bench, Made
from tests.soak.checker import units_of
from tests.soak.child import KILLED, Crash, run_forked, warm_up

PRODUCTION = """\
classic = esp.CHIP_NAME == 'ESP32'
end = {'ESP32': 'UART_DOWNLOAD_DIS'}.get(esp.CHIP_NAME, 'END')
espefuse(esp, efuses, args, 'burn_efuse %s 1 %s 1' % (end, 'JTAG_DISABLE' if classic else 'SECURE_BOOT_EN'))
efuses.burn_all()
if not efuses[end].get():
    raise esptool.FatalError(end + ' should be burned')
espefuse(esp, efuses, args, 'burn_custom_mac aa:cd:ef:00:07:{:02x}'.format(args.index))
block = 'BLOCK2' if classic else 'BLOCK_KEY0'
if classic:
    espefuse(esp, efuses, args, 'burn_key BLOCK2 KEY' + ' --no-protect-key')
    espefuse(esp, efuses, args, 'write_protect_efuse BLOCK2')
elif 'KEY_PURPOSE_0' in efuses:
    espefuse(esp, efuses, args, 'burn_key BLOCK_KEY0 KEY' + ' USER --no-read-protect')
else:
    espefuse(esp, efuses, args, 'burn_block_data BLOCK_KEY0 KEY')
    espefuse(esp, efuses, args, 'write_protect_efuse BLOCK_KEY0')
locked = efuses[end].write_disable_bit is not None
if locked:
    espefuse(esp, efuses, args, 'write_protect_efuse ' + end)
efuses.burn_all()
print('both burns done')
if efuses[block].is_writeable() or locked and efuses[end].is_writeable():
    raise esptool.FatalError('they should be write-protected')
efuses[block].get_bitstring()
"""

SAME = ("--same", "BLOCK_KEY0", "--same", "BLOCK2")  # one key for all boards of these tests


def production(folder: Path, key: Path, end: str) -> Path:
    return script(folder, f"production_{end}", PRODUCTION.replace("END", end).replace(" KEY'", f" {key}'"))


@pytest.mark.parametrize("end", ["DIS_DOWNLOAD_MODE", "ENABLE_SECURITY_DOWNLOAD"])
def test_the_production_example_passes_on_boards_of_every_kind_at_once(
    end: str, tmp_path: Path, state: Path, key: Path
) -> None:
    kinds = range(len(KINDS))
    with every_kind(tmp_path) as boards:
        ports = [boards.ports[n] for n in kinds]
        outcome = parburn(
            "--ports", *ports, "--scripts", production(tmp_path, key, end), "--do-not-confirm", "--json",
            "--show-output", *SAME, state=state, timeout_s=180,
        )  # fmt: skip
        assert outcome.words == ["pass"] * len(ports), "\n".join(
            f"{r['chip']}: {r['error']}" for r in outcome.results if r["error"]
        )
        assert outcome.exit == 0
        for number, result in zip(kinds, outcome.results, strict=True):
            chip, bits = KINDS[number].chip, boards.true_bits(number)
            ended = chip.field_by_name["UART_DOWNLOAD_DIS" if chip.name == "esp32" else end][0]
            assert bits[0] & ended.mask, NAMES[number]
            mac = chip.field_by_name["CUSTOM_MAC"][0]
            held = (bits[mac.block] & mac.mask) >> (mac.start or 0)
            assert held.to_bytes(6, "little")[-1] == result["index"], NAMES[number]
            assert any(KEY in (block.to_bytes(48, "little")[:32],) for block in bits), NAMES[number]
        # It is held back on all boards, and said once.
        notes = [event["text"] for event in outcome.events if event["event"] == "note"]
        assert sum("held back" in text and end in text for text in notes) == 1
        plans = [event for event in outcome.events if event["event"] == "planned"]
        for port in ports:
            told = [b["ends_link"] for one in plans if one["port"] == port for b in one["blocks"]]
            assert [bool(kind) for kind in told].count(True) == 1
            assert told[-1]


def test_a_script_that_raises_or_is_stopped_leaves_the_chip_open(
    tmp_path: Path, state: Path, key: Path
) -> None:
    path = production(tmp_path, key, "DIS_DOWNLOAD_MODE")
    whole = path.read_text()
    path.write_text(whole + "1 / 0\n")
    command = ("--scripts", path, "--do-not-confirm", "--json", *SAME)
    with start_rig("esp32:1,esp32c3:1,esp32s3:1", tmp_path=tmp_path) as rig:
        broken = parburn("--ports", *rig.ports, *command, state=state)
        assert broken.words == ["incomplete"] * 3, said(broken)
        bits = every_bit(rig)
        indexes = [result["index"] for result in broken.results]
        # A mended script asks for the same burns: it goes on, and burns what was held back, and no more.
        path.write_text(whole)
        mended = parburn("--ports", *rig.ports, *command, state=state)
        assert mended.words == ["pass"] * 3, said(mended)
        assert [result["index"] for result in mended.results] == indexes
        for number, (before, after) in enumerate(zip(bits, every_bit(rig), strict=True)):
            assert [name for name in before if before[name] != after[name]] == ["BLOCK0"]
            assert custom_mac_of(rig, number) == f"aa:cd:ef:00:07:{indexes[number]:02x}"
            assert key_of(rig, number, 2 if number == 0 else 4) == KEY


def test_killed_between_the_burns_it_is_held_back_again(tmp_path: Path, state: Path, key: Path) -> None:
    path = production(tmp_path, key, "DIS_DOWNLOAD_MODE")
    gate = tmp_path / "gate"
    gate.touch()
    path.write_text(
        path.read_text().replace(
            "print('both",
            f"import time\nif os.path.exists('{gate}'): print('here'); time.sleep(60)\nprint('both",
        )
    )
    with start_rig("esp32:1,esp32c3:1,esp32s3:1", tmp_path=tmp_path) as rig:
        command = (
            "--ports",
            *rig.ports,
            "--scripts",
            path,
            "--do-not-confirm",
            "--json",
            "--show-output",
            *SAME,
        )
        for _ in range(2):
            process = start(*command, state=state)
            assert process.stdout is not None
            heard = 0
            while heard < 3:
                line = process.stdout.readline()
                assert line, "it ended before"
                heard += "here" in line
            process.kill()
            process.communicate()
        gate.unlink()
        again = parburn(*command, state=state)
        assert again.words == ["pass"] * 3, said(again)
        assert sorted(result["index"] for result in again.results) == [1, 2, 3]
        assert all(key_of(rig, n, 2 if n == 0 else 4) == KEY for n in range(3))


def test_what_is_held_back_is_asked_about_with_the_first_plan(tmp_path: Path, key: Path) -> None:
    warm_up()
    path = production(tmp_path, key, "DIS_DOWNLOAD_MODE")
    with Bench(tmp_path, [Made("esp32s3")] * 2, seed=5, stay_powered=False) as bench:
        ports = bench.set_up([0, 1], {}, seed=1)
        from tests.soak.child import start_forked

        running = start_forked(
            [
                "--ports",
                *ports,
                "--scripts",
                str(path),
                "--ledger",
                str(tmp_path / "l.sqlite"),
                "--new-ledger",
                *SAME,
            ],
            folder=tmp_path,
            asking=True,
        )
        assert running.asks("Type BURN")
        question = running.shown[running.shown.index("To be burned") :]
        assert question.count("DIS_DOWNLOAD_MODE = 1") == 1
        assert "BLOCK0 when the scripts have ended: DIS_DOWNLOAD_MODE = 1 [locks, burned last]" in question
        assert "ends the link: no-download" in question
        running.answer("BURN")
        assert running.ended().exit == 0
        bench.settle()
        assert all(bench.memory(n).field_bits("DIS_DOWNLOAD_MODE") for n in range(2))


def test_a_dry_run_shows_it_once_and_last(tmp_path: Path, state: Path, key: Path) -> None:
    path = production(tmp_path, key, "DIS_DOWNLOAD_MODE")
    with start_rig("esp32c3", 2, tmp_path=tmp_path) as rig:
        dry = parburn("--ports", *rig.ports, "--scripts", path, "--dry-run", "--json", *SAME, state=state)
        assert dry.exit == 0, said(dry)
        assert not any(rig.programs(n) for n in range(2))
        for port in rig.ports:
            burns = [e["blocks"] for e in dry.events if e["event"] == "planned" and e["port"] == port]
            assert [[bool(block["ends_link"]) for block in blocks] for blocks in burns][-1] == [True]
            assert sum(bool(block["ends_link"]) for blocks in burns for block in blocks) == 1


ONE_OF = 3  # of the points, another third each time
CRASHED = [("esp32c3", ()), ("esp32", ()), ("esp32", (("coding", "3/4"),))]


@pytest.mark.long
@pytest.mark.parametrize(("chip", "settings"), CRASHED, ids=["esp32c3", "esp32", "esp32-3/4"])
def test_killed_at_any_point_it_is_whole_or_goes_on(
    chip: str, settings: tuple[tuple[str, str], ...], tmp_path: Path
) -> None:
    """At each transaction of the ledger, and at frames to the chip up to the last one."""
    warm_up()
    end = "UART_DOWNLOAD_DIS" if chip == "esp32" else "DIS_DOWNLOAD_MODE"
    size = 24 if settings else 32
    (tmp_path / "key.bin").write_bytes(KEY[:size])
    path = production(tmp_path, tmp_path / "key.bin", end)
    made = Made(chip, settings)

    def line(folder: Path, port: str) -> list[str]:
        return ["--json", "--do-not-confirm", "--ports", port, "--scripts", str(path), "--ledger",
                str(folder / "l.sqlite"), "--new-ledger"]  # fmt: skip

    def play(crash: Crash | None, name: str) -> tuple[bool, dict[str, int]]:
        folder = tmp_path / name
        folder.mkdir()
        with Bench(folder, [made], seed=7, stay_powered=False) as bench:
            (port,) = bench.set_up([0], {}, seed=1)
            counts = folder / "counts.json"
            first = run_forked(
                line(folder, port), folder=folder, crash=crash, counts=None if crash else counts, hasty=True
            )
            bench.settle()
            memory = bench.memory(0)
            closed = bool(memory.field_bits(end))
            key_block = memory.chip.blocks[2 if chip == "esp32" else 4]
            if closed:  # then all else is there, and verified
                assert memory.reading(key_block.index).bits, first
                assert memory.field_bits("CUSTOM_MAC"), first
                (unit,) = units_of(folder / "l.sqlite").values()
                assert unit.index == 1
                if crash is None:
                    assert unit.state == "pass", first
            else:
                assert first.exit == KILLED, first
                (port,) = bench.set_up([0], {}, seed=1)
                again = run_forked(line(folder, port), folder=folder, hasty=True)
                bench.settle()
                assert again.exit == 0, (crash, again.stdout[-2000:], again.stderr[-500:])
                memory = bench.memory(0)
                assert memory.field_bits(end) == 1
                (unit,) = units_of(folder / "l.sqlite").values()
                assert (unit.index, unit.state) == (1, "pass")
            assert memory.cells == whole.get("cells", memory.cells), (crash, closed)
            whole.setdefault("cells", memory.cells)
            return closed, json.loads(counts.read_text()) if crash is None else {}

    whole: dict[str, dict[int, int]] = {}
    _, counts = play(None, "whole")
    last, begin = counts["ttyUSB0"], counts["before the burn"]
    # What is written before a transaction and what behind the one before it is the same but for the disk.
    points = [Crash("ledger", n, "after" if n % 2 else "before") for n in range(1, counts["ledger"] + 1)]
    points += [
        Crash("packet", n, "after", "ttyUSB0") for n in range(begin, last + 1, max(1, (last - begin) // 6))
    ]
    points += [
        Crash("program", n, when, "ttyUSB0")
        for n in range(1, counts["program"] + 1)
        for when in ("before", "after")
    ]
    begin = random.randrange(ONE_OF)  # and the last ones: only behind these it is whole
    points = [*points[begin:-4:ONE_OF], *points[-4:]]
    closed = [play(point, f"at{number}")[0] for number, point in enumerate(points)]
    assert any(closed), f"from point {begin}"
    assert closed.count(False) > len(points) / 2, f"from point {begin}"
