"""The installed command against boards and lines that go wrong: what the chips hold, what is said.

Many boards share one rig and one run, each with its own trouble; the healthy ones among them must pass. After
each run the true bits are compared, and the same command on the mended rig must finish what can be finished,
with the same indexes.
"""

from __future__ import annotations

import fcntl
import os
import pty
import random
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from parburn.sim.factory import factory_mac, make_product
from parburn.sim.state_file import BoardFile
from tests.command import Outcome, parburn
from tests.provisioning import KEY, all_bits, custom_mac_of, every_bit, key_of, mac, rows, said, script
from tests.rig import Rig, start_rig


def boards(folder: Path, *made: tuple[str, Mapping[str, str]]) -> tuple[str, Path]:
    """Make the files of boards with settings of their own; the rig's chips and the folder of the files."""
    states = folder / "boards"
    states.mkdir(parents=True, exist_ok=True)
    for number, (chip, settings) in enumerate(made):
        rng = random.Random(f"board {number}")
        product = make_product(chip, mac=factory_mac(rng), settings=settings, rng=rng)
        BoardFile(states / f"ttyUSB{number}.json", product).write()
    return ",".join(f"{chip}:1" for chip, _ in made), states


@contextmanager
def silent_port(answer: bytes = b"") -> Iterator[str]:
    """A pty that says `answer` to whatever it hears."""
    master, slave = pty.openpty()
    stop = threading.Event()

    def serve() -> None:
        while not stop.is_set():
            try:
                os.read(master, 4096)
                if answer:
                    os.write(master, answer)
            except OSError:
                time.sleep(0.01)  # nobody has it open just now

    os.set_blocking(master, True)
    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    try:
        yield os.ttyname(slave)
    finally:
        stop.set()
        os.write(slave, b"x")
        thread.join(5)
        os.close(slave)
        os.close(master)


# --- faults of lines and chips

FAULTS = (
    # what goes wrong on the board, how it may end, in the mended second run
    ("", {"pass"}, {"already-pass"}),
    ("byte 2300 to the host is flipped", {"pass"}, {"already-pass"}),
    ("byte 2601 from the host is flipped", {"pass", "incomplete"}, {"already-pass", "pass"}),
    ("byte 2304 from the host is lost", {"pass", "incomplete", "failed"}, {"already-pass", "pass"}),
    ("the supply browns out in program 1 leaving 40 percent of the bits", {"pass"}, {"already-pass"}),
    ("bit 9 of BLOCK_KEY0 refuses to burn", {"quarantined"}, {"quarantined"}),
    ("bit {icache} of BLOCK0 burns its neighbour too", {"quarantined"}, {"quarantined"}),
    ("the controller never becomes idle after program 2", {"incomplete"}, {"pass"}),
    ("the port vanishes after 3000 bytes", {"incomplete"}, {"pass"}),
    ("the link is silent after 2700 bytes", {"incomplete"}, {"pass"}),
    ("the ROM reboots at packet 110", {"pass"}, {"already-pass"}),
    ("the link is silent after 300 bytes", {"no-answer"}, {"pass"}),
    ("", {"pass"}, {"already-pass"}),
)


def test_each_board_has_its_own_fault_and_the_others_go_on(
    tmp_path: Path, state: Path, provision: Path, ids: Path
) -> None:
    made = boards(tmp_path, *[("esp32c3", {})] * len(FAULTS))
    icache = make_product("esp32c3", mac=bytes(6), settings={}, rng=random.Random(1)).chip
    at = icache.field_by_name["DIS_DOWNLOAD_ICACHE"][0].start
    faults = [
        f"on board {n}: {sentence.format(icache=at)}" for n, (sentence, _, _) in enumerate(FAULTS) if sentence
    ]
    report = tmp_path / "report.jsonl"

    def command(rig: Rig) -> Outcome:
        return parburn(
            "--ports", *rig.ports, "--scripts", provision, "--configfiles", ids, "--do-not-confirm", "--json",
            "--connect-attempts", 2, "--report", report, state=state,
        )  # fmt: skip

    with start_rig(made[0], tmp_path=tmp_path, state=made[1], faults=faults) as rig:
        before = every_bit(rig)
        first = command(rig)
        assert first.exit == 5, said(first)
        for number, (row, (sentence, may, _)) in enumerate(zip(rows(report), FAULTS, strict=True)):
            assert row["result"] in may, f"{sentence}: {row}"
            if row["result"] == "pass":
                assert custom_mac_of(rig, number) == mac(row["index"])
                assert key_of(rig, number) == KEY[::-1]
                assert not row["error"]
                continue
            assert row["error"], sentence
            assert row["next_step"], sentence
            if row["result"] in ("no-answer", "failed"):
                assert row["burned"] == "nothing was burned"
                assert all_bits(rig, number) == before[number]
            else:
                assert "burned" in row["burned"] or "steps" in row["burned"]
                assert row["burned"] != "nothing was burned", sentence
        indexes = [row["index"] for row in rows(report)]
        assert [n for n in indexes if n is not None] == list(range(1, len(FAULTS)))
        quarantined = [n for n, (_, may, _) in enumerate(FAULTS) if may == {"quarantined"}]
        frozen = {n: all_bits(rig, n) for n in quarantined}

    with start_rig(made[0], tmp_path=tmp_path, state=made[1]) as rig:
        second = command(rig)
        assert second.exit == 5, said(second)
        for number, (row, (sentence, _, may)) in enumerate(zip(rows(report), FAULTS, strict=True)):
            assert row["result"] in may, f"{sentence}: {row}"
            assert row["index"] == indexes[number] or indexes[number] is None or number in quarantined
            if number in quarantined:
                assert all_bits(rig, number) == frozen[number]
                assert "quarantined" in row["error"]
            else:
                assert custom_mac_of(rig, number) == mac(row["index"]), sentence
                assert key_of(rig, number) == KEY[::-1], sentence
        passed = [row["index"] for row in rows(report) if row["result"] != "quarantined"]
        assert len(set(passed)) == len(passed)


# --- boards that are not what they should be


def test_boards_that_cannot_be_burned_are_left_alone_and_say_why(
    tmp_path: Path, state: Path, provision: Path, ids: Path
) -> None:
    same = {"MAC": "24:0a:c4:00:00:01"}
    made = boards(
        tmp_path,
        ("esp32", {"crystal": "26"}),
        ("esp32", {"coding": "3/4"}),
        ("esp32", {"coding": "repeat"}),
        ("esp32", {"clkdiv": str(round(32e6 / 115200))}),
        ("esp32c3", {"ENABLE_SECURITY_DOWNLOAD": "1"}),
        ("esp32s3", {"DIS_DOWNLOAD_MODE": "1"}),
        ("esp32", {"UART_DOWNLOAD_DIS": "1"}),
        ("esp32", {"MAC": "0"}),
        ("esp32", {"MAC_CRC": "0x5a", "MAC": "24:0a:c4:00:00:02"}),
        ("esp32", {"magic": "0x12345678"}),
        ("esp32", same),
        ("esp32", same),
        ("esp32s3", {}),
    )
    words = [
        ("pass", ""),
        ("pass", ""),
        ("refused", "CODING_SCHEME"),
        ("refused", "MHz"),
        ("refused", "secure download"),
        ("no-answer", ""),
        ("no-answer", ""),
        ("refused", "all zero"),
        ("refused", "the CRC of the factory MAC 24:0a:c4:00:00:02 is 0x5a, and 0x"),
        ("refused", "does not know"),
        ("refused", "answers here and on"),
        ("refused", "answers here and on"),
        ("pass", ""),
    ]
    report = tmp_path / "report.jsonl"
    master, slave = os.openpty()
    with (
        silent_port() as quiet,
        silent_port(b"Hello from my own program!\r\n") as chatty,
        silent_port(bytes(range(256))) as garbage,
        start_rig(made[0], tmp_path=tmp_path, state=made[1]) as rig,
    ):
        before = every_bit(rig)
        fcntl.flock(slave, fcntl.LOCK_EX | fcntl.LOCK_NB)
        held = os.ttyname(slave)
        others = [quiet, chatty, garbage, held]
        outcome = parburn(
            "--ports", *rig.ports, *others, "--scripts", provision, "--configfiles", ids, "--do-not-confirm",
            "--json", "--connect-attempts", 1, "--report", report, state=state,
        )  # fmt: skip
        assert outcome.exit == 1, said(outcome)
        found = {row["port"]: row for row in rows(report)}
        for number, (word, sentence) in enumerate(words):
            row = found[rig.ports[number]]
            assert row["result"] == word, f"board {number}: {row}"
            assert sentence in row["error"]
            if word == "pass":
                assert custom_mac_of(rig, number) == mac(row["index"])
            else:
                assert row["burned"] == "nothing was burned"
                assert row["next_step"]
                assert all_bits(rig, number) == before[number]
        for port in (quiet, chatty, garbage):
            assert found[port]["result"] == "no-answer"
            assert port in found[port]["error"]
        assert "no answer" in found[quiet]["error"]
        assert found[held]["result"] == "failed"
        assert held in found[held]["error"]
        assert "held" in found[held]["error"]
        assert (
            "close the other program" in found[held]["next_step"]
            or "ModemManager" in (found[held]["next_step"])
        )
        # The two chips with one identity were told from the rest before any index was given out.
        assert sorted(row["index"] for row in found.values() if row["result"] == "pass") == [1, 2, 3]
    os.close(master)
    os.close(slave)


def test_a_board_that_was_changed_gets_nothing_of_the_other_ones_plan(
    tmp_path: Path, state: Path, provision: Path, ids: Path
) -> None:
    faults = [
        "on board 0: the board is swapped for a new one after 1100 bytes",
        "on board 1: the board is swapped for a new one after 3000 bytes",
    ]
    with start_rig("esp32c3", 3, tmp_path=tmp_path, faults=faults) as rig:
        outcome = parburn(
            "--ports", *rig.ports, "--scripts", provision, "--configfiles", ids, "--do-not-confirm", "--json",
            state=state,
        )  # fmt: skip
        assert outcome.words[2] == "pass", said(outcome)
        assert outcome.exit == 1
        assert outcome.words[0] in ("refused", "failed")
        assert outcome.words[1] == "incomplete"
        assert outcome.results[1]["index"] == 2
        new = parburn(
            "--ports", *rig.ports[:2], "--scripts", provision, "--configfiles", ids, "--do-not-confirm",
            "--json", state=state,
        )  # fmt: skip
        assert new.words == ["pass", "pass"], said(new)
        # Index 2 was spent on the board that was taken away; nobody else gets it.
        indexes = [result["index"] for result in new.results]
        assert 2 not in indexes
        assert 3 not in indexes
        assert [result["mac"] for result in new.results] != [result["mac"] for result in outcome.results][:2]


# --- fields after which the chip answers no more

LINK_ENDS = """\
espefuse(esp, efuses, args, 'burn_efuse {}'.format({
    'ttyUSB0': 'ENABLE_SECURITY_DOWNLOAD 1', 'ttyUSB1': 'DIS_DOWNLOAD_MODE 1',
    'ttyUSB2': 'UART_DOWNLOAD_DIS 1', 'ttyUSB3': 'ENABLE_SECURITY_DOWNLOAD 1',
    'ttyUSB4': 'DIS_DOWNLOAD_MODE 1', 'ttyUSB5': 'DIS_DOWNLOAD_MODE 1',
}[os.path.basename(args.port)]))
espefuse(esp, efuses, args, 'burn_custom_mac aa:cd:ef:00:03:{:02x}'.format(args.index))
efuses.burn_all()
print('burned, and the script goes on')
where = os.path.basename(args.port)
if where == 'ttyUSB3':
    espefuse(esp, efuses, args, 'burn_bit BLOCK9 1')
    efuses.burn_all()
if where == 'ttyUSB4':
    print('register', esp.read_reg(0x60007000))
if where != 'ttyUSB2':
    assert efuses['ENABLE_SECURITY_DOWNLOAD'].get() or efuses['DIS_DOWNLOAD_MODE'].get()
"""


def test_fields_that_end_the_link_are_verified_in_their_own_way(tmp_path: Path, state: Path) -> None:
    made = boards(
        tmp_path, *[(chip, {}) for chip in ("esp32c3", "esp32s3", "esp32", "esp32s3", "esp32c3", "esp32c3")]
    )
    report = tmp_path / "report.jsonl"
    path = script(tmp_path, "ends", LINK_ENDS)
    faults = ["on board 5: the port vanishes after 2200 bytes"]
    with start_rig(made[0], tmp_path=tmp_path, state=made[1], faults=faults) as rig:
        outcome = parburn(
            "--ports", *rig.ports, "--scripts", path, "--do-not-confirm", "--json", "--show-output",
            "--report", report, "--baud", 460800, state=state,
        )  # fmt: skip
        found = rows(report)
        assert [row["result"] for row in found][:5] == ["pass"] * 5, said(outcome)
        assert found[5]["result"] == "incomplete"
        assert outcome.exit == 1
        fields = {
            0: "ENABLE_SECURITY_DOWNLOAD", 1: "DIS_DOWNLOAD_MODE", 3: "ENABLE_SECURITY_DOWNLOAD",
            4: "DIS_DOWNLOAD_MODE",
        }  # fmt: skip
        for number, name in fields.items():
            assert f"{name} could not be read back" in found[number]["burned"]
            assert custom_mac_of(rig, number) == f"aa:cd:ef:00:03:{found[number]['index']:02x}"
        assert "read back" not in found[2]["burned"]
        assert rig.bits(3, 9) == 2  # what the script burned behind it
        said_by = [event["port"] for event in outcome.events if event["event"] == "output"]
        assert set(rig.ports[:5]) <= set(said_by)
        # What is locked now is found locked by the next run, and nothing is burned into it.
        before = every_bit(rig)
        again = parburn(
            "--ports", *rig.ports[:2], "--scripts", path, "--do-not-confirm", "--json",
            "--connect-attempts", 1, state=state,
        )  # fmt: skip
        assert again.words == ["refused", "no-answer"]
        assert every_bit(rig) == before
