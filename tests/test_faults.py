"""The installed command against boards, lines and scripts that go wrong: what the chips hold, what is said.

Many boards share one rig and one run, each with its own trouble; the healthy ones among them must pass. After
each run the true bits are compared, and the same command on the mended rig must finish what can be finished,
with the same indexes.
"""

from __future__ import annotations

import fcntl
import json
import os
import pty
import random
import signal
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from parburn.sim.factory import factory_mac, make_product
from parburn.sim.state_file import BoardFile
from tests.command import Outcome, finish, parburn, start
from tests.rig import Rig, start_rig

KEY = bytes(range(0x61, 0x81))

PROVISION = """\
entry = json.load(args.configfiles[0])[str(args.index)]
espefuse(esp, efuses, args, 'burn_custom_mac ' + entry['mac'])
if esp.CHIP_NAME == 'ESP32':
    espefuse(esp, efuses, args, 'burn_efuse JTAG_DISABLE')
else:
    espefuse(esp, efuses, args, 'burn_key BLOCK_KEY0 {key} XTS_AES_128_KEY')
    espefuse(esp, efuses, args, 'burn_efuse DIS_DOWNLOAD_ICACHE 1')
"""


def mac(index: int) -> str:
    """The custom MAC of an index in `ids`."""
    return f"aa:cd:ef:00:02:{index:02x}"


@pytest.fixture
def state(tmp_path: Path) -> Path:
    return tmp_path / "state"


@pytest.fixture
def key(tmp_path: Path) -> Path:
    path = tmp_path / "key.bin"
    path.write_bytes(KEY)
    return path


@pytest.fixture
def ids(tmp_path: Path) -> Path:
    path = tmp_path / "ids.json"
    path.write_text(json.dumps({str(n): {"mac": mac(n)} for n in range(1, 60)}))
    return path


@pytest.fixture
def provision(tmp_path: Path, key: Path) -> Path:
    return script(tmp_path, "provision", PROVISION.replace("{key}", str(key)))


def script(folder: Path, name: str, text: str) -> Path:
    """A script file."""
    path = folder / f"{name}.py"
    path.write_text(text)
    return path


def boards(folder: Path, *made: tuple[str, Mapping[str, str]]) -> tuple[str, Path]:
    """Make the files of boards with settings of their own; the rig's chips and the folder of the files."""
    states = folder / "boards"
    states.mkdir(parents=True, exist_ok=True)
    for number, (chip, settings) in enumerate(made):
        rng = random.Random(f"board {number}")
        product = make_product(chip, mac=factory_mac(rng), settings=settings, rng=rng)
        BoardFile(states / f"ttyUSB{number}.json", product).write()
    return ",".join(f"{chip}:1" for chip, _ in made), states


def all_bits(rig: Rig, board: int) -> dict[str, str]:
    """The board's true bits, block by block."""
    return {name: block["bits"] for name, block in rig.state(board)["blocks"].items()}


def every_bit(rig: Rig) -> list[dict[str, str]]:
    """The true bits of all boards."""
    return [all_bits(rig, n) for n in range(len(rig.ports))]


def custom_mac_of(rig: Rig, board: int) -> str:
    """The custom MAC in the board's true bits; empty without one."""
    shift = 8 if rig.state(board)["chip"] == "esp32" else 200
    found = rig.bits(board, 3) >> shift & (1 << 48) - 1
    return found.to_bytes(6, "little").hex(":") if found else ""


def key_of(rig: Rig, board: int, block: int = 4) -> bytes:
    """The key in the board's true bits."""
    return rig.bits(board, block).to_bytes(32, "little")


def rows(path: Path) -> list[dict[str, Any]]:
    """The rows of a JSON report, in the order of the ports."""
    found: list[dict[str, Any]] = json.loads(path.read_text())
    return found


def said(outcome: Outcome) -> str:
    """All that a run said, for the message of an assertion."""
    return f"exit {outcome.exit}\n{outcome.stdout}\n{outcome.stderr}"


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
    report = tmp_path / "report.json"

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
        ("refused", "does not know"),
        ("refused", "answers here and on"),
        ("refused", "answers here and on"),
        ("pass", ""),
    ]
    report = tmp_path / "report.json"
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
    esp.read_reg(0x60007000)
if where != 'ttyUSB2':
    assert efuses['ENABLE_SECURITY_DOWNLOAD'].get() or efuses['DIS_DOWNLOAD_MODE'].get()
"""


def test_fields_that_end_the_link_are_verified_in_their_own_way(tmp_path: Path, state: Path) -> None:
    made = boards(
        tmp_path, *[(chip, {}) for chip in ("esp32c3", "esp32s3", "esp32", "esp32s3", "esp32c3", "esp32c3")]
    )
    report = tmp_path / "report.json"
    path = script(tmp_path, "ends", LINK_ENDS)
    faults = ["on board 5: the port vanishes after 2200 bytes"]
    with start_rig(made[0], tmp_path=tmp_path, state=made[1], faults=faults) as rig:
        outcome = parburn(
            "--ports", *rig.ports, "--scripts", path, "--do-not-confirm", "--json", "--show-output",
            "--report", report, "--baud", 460800, state=state,
        )  # fmt: skip
        found = rows(report)
        assert [row["result"] for row in found][:5] == [
            "pass", "pass", "pass", "incomplete", "incomplete",
        ], said(outcome)  # fmt: skip
        assert found[5]["result"] == "incomplete"
        assert outcome.exit == 1
        fields = {0: "ENABLE_SECURITY_DOWNLOAD", 1: "DIS_DOWNLOAD_MODE"}
        for number, name in fields.items():
            assert f"{name} could not be read back" in found[number]["burned"]
            assert custom_mac_of(rig, number) == f"aa:cd:ef:00:03:{found[number]['index']:02x}"
        assert "read back" not in found[2]["burned"]
        for number, name in ((3, "ENABLE_SECURITY_DOWNLOAD"), (4, "DIS_DOWNLOAD_MODE")):
            assert name in found[number]["error"]
            assert "cannot be reached" in found[number]["error"]
            assert found[number]["next_step"]
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


# --- scripts that go wrong

SCRIPTS_GONE_WRONG = """\
import time
where = os.path.basename(args.port)
mac = 'burn_custom_mac aa:cd:ef:00:04:{:02x}'.format(args.index)
if where == 'ttyUSB0':                       # prints, reads in between, several burns, 5.x style at the end
    espefuse(esp, efuses, args, mac)
    assert efuses['CUSTOM_MAC'].get_meaning().startswith('00:00:00:00:00:00')
    efuses.burn_all()
    assert efuses['CUSTOM_MAC'].get_meaning().startswith(mac[-17:])
    espefuse.burn_efuse({'DIS_DOWNLOAD_ICACHE': 1})
    espefuse.burn_all()
    assert efuses['DIS_DOWNLOAD_ICACHE'].get() is True
    print('all three are there')
    espefuse.burn_bit('BLOCK8', [1])
if where == 'ttyUSB1':                       # raises after a burn
    espefuse(esp, efuses, args, mac)
    efuses.burn_all()
    espefuse(esp, efuses, args, 'burn_bit BLOCK9 2')
    raise esptool.FatalError('the printer is out of paper')
if where == 'ttyUSB2':                       # exits: what is staged is dropped
    espefuse(esp, efuses, args, mac)
    raise SystemExit(0)
if where == 'ttyUSB3':
    input('whose board is it? ')
if where == 'ttyUSB4':                       # hangs where no exception reaches it
    espefuse(esp, efuses, args, mac)
    time.sleep(3600)
if where == 'ttyUSB5':                       # hangs and takes no no for an answer
    espefuse(esp, efuses, args, mac)
    while True:
        try:
            time.sleep(0.05)
        except BaseException:
            pass
if where == 'ttyUSB6':                       # a refused command stages nothing; the script goes on without it
    try:
        espefuse(esp, efuses, args, 'burn_key BLOCK_KEY0 nowhere.bin USER')
    except esptool.FatalError as error:
        print('refused:', error)
    espefuse(esp, efuses, args, mac)
if where == 'ttyUSB7':
    espefuse(esp, efuses, args, 'execute_scripts {nested} --index 7')
if where == 'ttyUSB8':
    espefuse(esp, efuses, args, 'execute_scripts {nested}')
if where == 'ttyUSB9':
    espefuse(esp, efuses, args, 'burn_efuse NO_SUCH_FIELD 1')
if where == 'ttyUSB10':                      # hangs after a burn
    espefuse(esp, efuses, args, mac)
    efuses.burn_all()
    time.sleep(3600)
"""


def test_scripts_that_go_wrong_harm_only_their_own_board(tmp_path: Path, state: Path) -> None:
    nested = script(
        tmp_path, "nested", "espefuse(esp, efuses, args, 'burn_bit BLOCK3 {}'.format(args.index or 3))\n"
    )
    path = script(tmp_path, "wrong", SCRIPTS_GONE_WRONG.replace("{nested}", str(nested)))
    report = tmp_path / "report.json"
    with start_rig("esp32c3", 11, tmp_path=tmp_path) as rig:
        before = every_bit(rig)
        started = time.monotonic()
        outcome = parburn(
            "--ports", *rig.ports, "--scripts", path, "--do-not-confirm", "--json", "--report", report,
            "--script-timeout", 1.5, state=state, timeout_s=30,
        )  # fmt: skip
        assert time.monotonic() - started < 15
        found = rows(report)
        assert [row["result"] for row in found] == [
            "pass", "incomplete", *["failed"] * 4, "pass", "failed", "pass", "failed", "incomplete",
        ], said(outcome)  # fmt: skip
        assert outcome.exit == 1
        for number in (2, 3, 4, 5, 7, 9):
            assert all_bits(rig, number) == before[number]
            assert found[number]["burned"] == "nothing was burned"
        for number in (0, 1, 6, 10):
            assert custom_mac_of(rig, number) == f"aa:cd:ef:00:04:{found[number]['index']:02x}"
        assert rig.bits(0, 8) == 1 << 1
        assert rig.bits(1, 9) == 0  # staged when it raised
        assert rig.bits(6, 4) == 0
        assert rig.bits(8, 3) == 1 << 3
        assert "out of paper" in found[1]["error"]
        assert "wrong.py" in found[1]["error"]
        assert "exit" in found[2]["error"].lower()
        assert "input" in found[3]["error"]
        for number in (4, 5, 10):
            assert "1.5 s" in found[number]["error"]
        assert "--index 7" in found[7]["error"]
        assert "NO_SUCH_FIELD" in found[9]["error"]
        kept = found[1]["index"]

        # The record of the board that raised after its burn is its own: the mended script goes on with it.
        text = path.read_text().replace("    raise esptool", "    print('mended')#")
        mended = script(tmp_path, "wrong", text)
        again = parburn(
            "--ports", rig.ports[1], "--scripts", mended, "--do-not-confirm", "--json", state=state
        )
        assert again.words == ["pass"], said(again)
        assert again.results[0]["index"] == kept
        assert custom_mac_of(rig, 1) == f"aa:cd:ef:00:04:{kept:02x}"
        assert rig.bits(1, 9) == 1 << 2


@pytest.mark.parametrize(
    ("name", "text", "word"),
    [
        ("bad.py", "espefuse(esp, efuses, args\n", ":1:"),
        ("ids.json", '{"1": {"mac": }}', ":1:"),
        ("empty.json", "", "empty"),
    ],
)
def test_input_files_are_judged_before_any_port_is_opened(
    name: str, text: str, word: str, tmp_path: Path, state: Path
) -> None:
    """The port is locked by us: whoever opens it first would say that it is busy."""
    path = tmp_path / name
    path.write_text(text)
    good = script(tmp_path, "good", "espefuse(esp, efuses, args, 'burn_bit BLOCK3 1')\n")
    files = ["--scripts", path] if name.endswith(".py") else ["--scripts", good, "--configfiles", path]
    master, slave = os.openpty()
    try:
        fcntl.flock(slave, fcntl.LOCK_EX)
        port = os.ttyname(slave)
        outcome = parburn("--ports", port, *files, "--do-not-confirm", "--json", state=state)
        assert outcome.exit == 2, said(outcome)
        (error,) = [event for event in outcome.events if event["event"] == "error"]
        assert name in error["error"]
        assert word in error["error"]
        assert "held" not in outcome.stdout
        assert not outcome.results
        if name == "empty.json":
            missing = parburn("--ports", port, "--scripts", tmp_path / "none.py", state=state)
            assert missing.exit == 2
            assert "none.py" in missing.stderr
    finally:
        os.close(master)
        os.close(slave)


# --- killed and taken up again

TWO_BURNS = """\
import time
count = 'FLASH_CRYPT_CNT' if esp.CHIP_NAME == 'ESP32' else 'SPI_BOOT_CRYPT_CNT'
espefuse(esp, efuses, args, 'burn_efuse ' + count)
espefuse(esp, efuses, args, 'burn_custom_mac aa:cd:ef:00:05:{:02x}'.format(args.index))
efuses.burn_all()
print('first burn done')
if os.path.exists('{gate}'):
    time.sleep(60)
espefuse(esp, efuses, args, 'burn_bit BLOCK{} 5'.format(2 if esp.CHIP_NAME == 'ESP32' else 10 - 2))
efuses.burn_all()
espefuse(esp, efuses, args, 'burn_efuse ' + ('JTAG_DISABLE' if esp.CHIP_NAME == 'ESP32' else 'DIS_PAD_JTAG'))
"""


def crypt_count(rig: Rig, board: int) -> int:
    """How many bits of the flash encryption counter are burned."""
    name = rig.state(board)["chip"]
    chip = make_product(name, mac=bytes(6), settings={}, rng=random.Random(1)).chip
    one = chip.field_by_name["FLASH_CRYPT_CNT" if name == "esp32" else "SPI_BOOT_CRYPT_CNT"][0]
    return (rig.bits(board, 0) & one.mask).bit_count()


def test_killed_between_two_burns_and_taken_up_again(tmp_path: Path, state: Path) -> None:
    gate = tmp_path / "gate"
    gate.touch()
    text = TWO_BURNS.replace("{gate}", str(gate))
    path = script(tmp_path, "two", text)
    with start_rig("esp32:1,esp32c3:1,esp32s3:1", tmp_path=tmp_path) as rig:
        command = ("--ports", *rig.ports, "--scripts", path, "--do-not-confirm", "--json", "--show-output")
        process = start(*command, state=state)
        assert process.stdout is not None
        heard = 0
        while heard < 3:
            line = process.stdout.readline()
            assert line, "it ended before the first burn was done"
            heard += "first burn done" in line
        process.kill()
        process.communicate()
        assert [crypt_count(rig, n) for n in range(3)] == [1, 1, 1]
        indexes = [int(custom_mac_of(rig, n)[-2:], 16) for n in range(3)]
        assert sorted(indexes) == [1, 2, 3]

        # Another script in its place makes another plan: the unit is set aside, not burned.
        gate.unlink()
        other = script(tmp_path, "other", text.replace("00:05", "00:66"))
        before = all_bits(rig, 1)
        swapped = parburn(
            "--ports", rig.ports[1], "--scripts", other, "--do-not-confirm", "--json", state=state
        )
        assert swapped.words == ["quarantined"], said(swapped)
        assert swapped.exit == 5
        assert "another plan" in swapped.results[0]["error"]
        assert all_bits(rig, 1) == before

        # A script that asks for nothing does not make a pass of what was begun.
        idle = script(tmp_path, "idle", "print(efuses['MAC'].get())\n")
        nothing = parburn("--ports", rig.ports[0], "--scripts", idle, "--json", state=state)
        assert nothing.words == ["incomplete"], said(nothing)

        again = parburn(*command, state=state)
        assert again.words == ["pass", "quarantined", "pass"], said(again)
        assert [result["index"] for result in again.results][::2] == indexes[::2]
        for number in (0, 2):
            assert crypt_count(rig, number) == 1
            assert custom_mac_of(rig, number) == f"aa:cd:ef:00:05:{indexes[number]:02x}"
            assert rig.bits(number, 2 if number == 0 else 8) == 1 << 5
        once_more = parburn(*command, state=state)
        assert once_more.words == ["already-pass", "quarantined", "already-pass"]
        assert crypt_count(rig, 0) == 1


LOCKED = """\
espefuse(esp, efuses, args, 'burn_custom_mac aa:cd:ef:00:06:{:02x}'.format(args.index))
if esp.CHIP_NAME == 'ESP32':
    espefuse(esp, efuses, args, 'burn_key flash_encryption {key}')
    espefuse(esp, efuses, args, 'burn_efuse FLASH_CRYPT_CNT')
else:
    espefuse(esp, efuses, args, 'burn_key BLOCK_KEY0 {key} XTS_AES_128_KEY')
    espefuse(esp, efuses, args, 'burn_efuse SPI_BOOT_CRYPT_CNT')
efuses.burn_all()
espefuse(esp, efuses, args, 'burn_key BLOCK%d {key} ' % (2 if esp.CHIP_NAME == 'ESP32' else 5)
         + ('' if esp.CHIP_NAME == 'ESP32' else 'HMAC_UP'))
"""


def test_killed_again_and_again_while_keys_are_locked(tmp_path: Path, state: Path, key: Path) -> None:
    path = script(tmp_path, "locked", LOCKED.replace("{key}", str(key)))
    rng = random.Random(11)
    with start_rig("esp32:2,esp32c3:2", tmp_path=tmp_path, baud_limit=115200) as rig:
        command = ("--ports", *rig.ports, "--scripts", path, "--do-not-confirm", "--json")
        for _ in range(3):
            process = start(*command, state=state)
            time.sleep(rng.uniform(0.7, 1.4))
            process.kill()
            process.communicate()
        outcome = parburn(*command, state=state)
        assert set(outcome.words) <= {"pass", "already-pass"}, said(outcome)
        indexes = [result["index"] for result in outcome.results]
        assert sorted(indexes) == [1, 2, 3, 4]
        for number, index in enumerate(indexes):
            assert custom_mac_of(rig, number) == f"aa:cd:ef:00:06:{index:02x}"
            assert key_of(rig, number, 1 if number < 2 else 4) == KEY[::-1]
            assert crypt_count(rig, number) == 1
            assert key_of(rig, number, 2 if number < 2 else 5) in (KEY, KEY[::-1])


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


DYNAMIC = """\
import time
espefuse(esp, efuses, args, 'burn_bit BLOCK3 1')
espefuse(esp, efuses, args, 'burn_bit BLOCK3 1')
for number in (5, 6):
    espefuse(esp, efuses, args, 'burn_key BLOCK%d {key} HMAC_UP' % number)
efuses.burn_all()
espefuse(esp, efuses, args, 'burn_bit BLOCK3 1')
efuses.burn_all()
print('first burn done')
if os.path.exists('{gate}'):
    time.sleep(60)
if not efuses.blocks[8].get_bitstring().any(True):
    espefuse(esp, efuses, args, 'burn_block_data BLOCK8 {key}')
"""


def test_blocks_that_the_source_does_not_name_are_read_again_on_resume(
    tmp_path: Path, state: Path, key: Path
) -> None:
    """Locked keys, a burn that has nothing to do, and a block that is looked at after the kill."""
    gate = tmp_path / "gate"
    gate.touch()
    path = script(tmp_path, "dyn", DYNAMIC.replace("{gate}", str(gate)).replace("{key}", str(key)))
    with start_rig("esp32s3", tmp_path=tmp_path) as rig:
        command = ("--ports", *rig.ports, "--scripts", path, "--do-not-confirm", "--json", "--show-output")
        for _ in range(2):  # killed twice at the same place
            process = start(*command, state=state)
            assert process.stdout is not None
            while line := process.stdout.readline():
                if "first burn done" in line:
                    break
            else:
                raise AssertionError(f"it did not come to the second burn: {process.communicate()}")
            process.kill()
            process.communicate()
        gate.unlink()
        outcome = parburn(*command, state=state)
        assert outcome.words == ["pass"], said(outcome)
        assert [key_of(rig, 0, block) for block in (5, 6, 8)] == [KEY] * 3
        assert rig.bits(0, 3) == 2
        assert outcome.results[0]["index"] == 1


def test_random_keys_that_a_resumed_script_makes_anew_are_not_burned(tmp_path: Path, state: Path) -> None:
    path = script(
        tmp_path,
        "fresh",
        "open('k.bin', 'wb').write(os.urandom(32))\n"
        "espefuse(esp, efuses, args, 'burn_key BLOCK_KEY0 k.bin XTS_AES_128_KEY --no-read-protect')\n",
    )
    path.write_text(path.read_text().replace("k.bin", str(tmp_path / "k.bin")))
    fault = ["the controller never becomes idle after program 2"]
    with start_rig("esp32c3", tmp_path=tmp_path, faults=fault) as rig:
        command = ("--ports", *rig.ports, "--scripts", path, "--do-not-confirm", "--json")
        first = parburn(*command, state=state)
        assert first.words == ["incomplete"], said(first)
        held = rig.bits(0, 4)
        assert held
    with start_rig("esp32c3", tmp_path=tmp_path) as rig:
        again = parburn(*command, state=state)
        assert again.words == ["quarantined"], said(again)
        assert again.exit == 5
        assert rig.bits(0, 4) == held


# --- two at once


def test_a_board_that_was_begun_is_not_held_up_by_another_record_with_its_value(
    tmp_path: Path, state: Path
) -> None:
    ids = tmp_path / "ids.json"
    ids.write_text(json.dumps({str(n): {"mac": mac(1), "name": f"unit {n}"} for n in range(1, 4)}))
    text = PROVISION.partition("if esp")[0] + "efuses.burn_all()\n"
    broken = script(tmp_path, "burn", text + "raise ValueError('halfway')\n")
    options = ("--scripts", broken, "--configfiles", ids, "--do-not-confirm", "--json")
    with start_rig("esp32c3", 3, tmp_path) as rig:
        both = parburn("--ports", *rig.ports[:2], *options, state=state)
        assert both.words == ["refused", "refused"], said(both)  # neither has it: who is right?
        assert rig.programs(0) == rig.programs(1) == 0
        first = parburn("--ports", rig.ports[0], *options, state=state)
        assert first.words == ["incomplete"], said(first)
        broken.write_text(text)
        done = parburn("--ports", *rig.ports[1:], rig.ports[0], *options, state=state)
        words = {Path(one["port"]).name: (one["result"], one["index"]) for one in done.results}
        assert words["ttyUSB0"] == ("pass", 1), said(done)
        assert {words["ttyUSB1"][0], words["ttyUSB2"][0]} == {"refused"}, said(done)
        assert (custom_mac_of(rig, 0), rig.programs(1), rig.programs(2)) == (mac(1), 0, 0)


def test_two_runs_share_one_ledger_and_one_port_goes_to_one_of_them(
    tmp_path: Path, state: Path, provision: Path, ids: Path
) -> None:
    slow = script(tmp_path, "slow", "import time\ntime.sleep(1.5)\n" + provision.read_text())
    with start_rig("esp32c3:2,esp32:2", tmp_path=tmp_path) as rig:
        options = ("--scripts", slow, "--configfiles", ids, "--do-not-confirm", "--json")
        runs = [start("--ports", *rig.ports[a : a + 2], *options, state=state) for a in (0, 2)]
        time.sleep(1.3)
        third = parburn("--ports", rig.ports[0], *options, state=state)
        assert third.words == ["failed"], said(third)
        assert third.exit == 1
        assert "held by" in third.results[0]["error"]
        assert rig.ports[0] in third.results[0]["error"]
        outcomes = [finish(process, timeout_s=30) for process in runs]
        for outcome in outcomes:
            assert outcome.words == ["pass", "pass"], said(outcome)
        results = [result for outcome in outcomes for result in outcome.results]
        indexes = [result["index"] for result in results]
        assert sorted(indexes) == [1, 2, 3, 4]
        for number, result in enumerate(sorted(results, key=lambda one: str(one["port"]))):
            assert custom_mac_of(rig, number) == mac(result["index"])


# --- the operator stops it


def wait_for(process: Any, *words: str) -> None:
    """Read the run's lines until one has all these words."""
    while line := process.stdout.readline():
        if all(word in line for word in words):
            return
    raise AssertionError(f"{words} never came: {process.stderr.read()}")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_during_a_commit_lets_it_finish(
    number: signal.Signals, tmp_path: Path, state: Path, provision: Path, ids: Path
) -> None:
    with start_rig("esp32c3", 2, tmp_path=tmp_path, baud_limit=115200, usb_latency_ms=2) as rig:
        command = ("--ports", *rig.ports, "--scripts", provision, "--configfiles", ids, "--do-not-confirm",
                   "--json")  # fmt: skip
        process = start(*command, "--max-burning", 1, state=state)
        wait_for(process, '"burned"')
        process.send_signal(number)
        outcome = finish(process, timeout_s=20)
        assert outcome.exit == 130, said(outcome)
        words = {}
        for line in outcome.stdout.splitlines():
            event = json.loads(line)
            if event["event"] == "result":
                words[event["result"]] = event
        # The board in its commit was finished; the one that waited for its slot was not begun.
        assert set(words) == {"pass", "failed"}, said(outcome)
        begun = rig.ports.index(words["pass"]["port"])
        assert custom_mac_of(rig, begun) == mac(words["pass"]["index"])
        assert rig.programs(1 - begun) == 0
        again = parburn(*command, state=state)
        assert sorted(again.words) == ["already-pass", "pass"], said(again)
        assert sorted(custom_mac_of(rig, n) for n in range(2)) == [mac(1), mac(2)]


def test_a_second_signal_stops_between_two_blocks_and_it_goes_on_later(
    tmp_path: Path, state: Path, provision: Path, ids: Path
) -> None:
    with start_rig("esp32c3", tmp_path=tmp_path, baud_limit=38400) as rig:
        command = ("--ports", *rig.ports, "--scripts", provision, "--configfiles", ids, "--do-not-confirm",
                   "--json")  # fmt: skip
        process = start(*command, state=state)
        wait_for(process, '"burned"')
        process.send_signal(signal.SIGINT)
        wait_for(process, "stopping")
        process.send_signal(signal.SIGINT)
        outcome = finish(process, timeout_s=30)
        assert outcome.exit == 130, said(outcome)
        assert '"result": "incomplete"' in outcome.stdout
        assert "stopped by the operator" in outcome.stdout
        again = parburn(*command, state=state)
        assert again.words == ["pass"], said(again)
        assert again.results[0]["index"] == 1
        assert custom_mac_of(rig, 0) == mac(1)


def test_a_reader_that_goes_away_does_not_stop_the_burn(
    tmp_path: Path, state: Path, provision: Path, ids: Path
) -> None:
    with start_rig("esp32c3", tmp_path=tmp_path) as rig:
        process = start(
            "--ports", *rig.ports, "--scripts", provision, "--configfiles", ids, "--do-not-confirm", "--json",
            state=state,
        )  # fmt: skip
        assert process.stdout is not None
        process.stdout.close()
        assert process.wait(30) == 0
        assert process.stderr is not None
        process.stderr.close()
        assert custom_mac_of(rig, 0) == mac(1)
