"""`parburn check` through the installed command: what is wrong with a batch, told before any board."""

from __future__ import annotations

import contextlib
import json
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.command import Outcome, finish, parburn, start
from tests.provisioning import script

FIRST = """\
entry = json.load(args.configfiles[0])[str(args.index)]
espefuse(esp, efuses, args, 'burn_custom_mac ' + entry['mac'])
espefuse(esp, efuses, args, 'burn_efuse DIS_DOWNLOAD_ICACHE 1')
"""
FAULTY = (
    FIRST
    + """\
if args.index == 4:
    espefuse.burn_key(['BLOCK_KEY1'], [io.BytesIO(os.urandom(32))], ['HMAC_UP'])
if args.index == 5:
    espefuse(esp, efuses, args, 'burn_efuse SPI_PAD_CONFIG_CLK 99')
if args.index in (6, 8):
    espefuse(esp, efuses, args, 'burn_bit BLOCK_KEY4 ' + str(esp.read_mac()[5]))
if args.index == 9:
    open('log.txt', 'a').write('9')
if args.index in (10, 11):
    raise ValueError('what is %d?' % args.index)
"""
)


def records(count: int) -> dict[str, dict[str, str]]:
    return {str(n): {"mac": f"aa:cd:ef:01:{n >> 8:02x}:{n & 255:02x}"} for n in range(1, count + 1)}


class Office:
    """Where a batch is prepared: a folder with its files."""

    def __init__(self, folder: Path, state: Path, key: Path) -> None:
        self.folder, self.state, self.key = folder, state, key
        self.records = records(20)

    def check(self, text: str, *more: object, chip: str = "esp32c3") -> Outcome:
        (self.folder / "ids.json").write_text(json.dumps(self.records))
        work = script(self.folder, "work", text)
        words = ("check", "--scripts", work, "--configfiles", self.folder / "ids.json", "--chip", chip)
        return parburn(*words, *more, state=self.state)

    def workers(self) -> list[str]:
        """The processes that rehearse this office's batch."""
        lines = (path.joinpath("cmdline") for path in Path("/proc").iterdir() if path.name.isdigit())
        found = []
        for line in lines:
            with contextlib.suppress(OSError):
                if bytes(self.folder / "ids.json") in line.read_bytes():
                    found.append(line.parent.name)
        return found

    def found(self, text: str, *more: object, chip: str = "esp32c3") -> dict[str, list[dict[str, object]]]:
        outcome = self.check(text, "--json", *more, chip=chip)
        assert not outcome.stderr, outcome.stderr
        found: dict[str, list[dict[str, object]]] = {}
        for line in outcome.stdout.splitlines():
            event = json.loads(line)
            found.setdefault(event.get("kind", event["event"]), []).append(event)
        assert outcome.exit == (0 if found["checked"][0]["good"] else 2)
        return found


def wait_until(holds: Callable[[], bool]) -> None:
    until = time.monotonic() + 30
    while not holds():
        assert time.monotonic() < until
        time.sleep(0.05)


@pytest.fixture
def office(tmp_path: Path, state: Path, key: Path) -> Office:
    return Office(tmp_path, state, key)


def test_a_good_batch(office: Office) -> None:
    done = office.check(FIRST)
    assert done.exit == 0, done.stderr
    assert done.stdout.splitlines() == [
        "ESP32-C3: index 1-20, 20 of 20 without a fault",
        "  plan of 20 records: burn 1 BLOCK_USR_DATA: CUSTOM_MAC; burn 1 BLOCK0: DIS_DOWNLOAD_ICACHE",
        "No fault was found. Nothing was burned, and no ledger was looked at.",
    ]
    assert not office.state.exists()


@pytest.mark.parametrize("processes", [1, 2])
def test_each_kind_of_fault_is_found_with_its_index(office: Office, processes: int) -> None:
    del office.records["3"]
    office.records["13"] = office.records["12"]
    found = office.found(FAULTY, "--jobs", processes)
    assert [one["indexes"] for one in found["record"]] == [[3]]
    assert [one["indexes"] for one in found["random"]] == [[4]]
    assert [one["indexes"] for one in found["refused"]] == [[5]]
    assert [one["indexes"] for one in found["side effect"]] == [[9]]
    assert [one["indexes"] for one in found["double"]] == [[12, 13]]
    assert [one["indexes"] for one in found["script"]] == [[10, 11]]  # one sentence but for the index
    assert "what is 10?" in str(found["script"][0]["said"])
    assert [(one["field"], one["records"], one["index"]) for one in found["derived"]] == [
        ("BLOCK_KEY4", 2, 6)
    ]
    assert "99 does not fit" in str(found["refused"][0]["said"])
    assert not (office.folder / "log.txt").exists()


def test_many_records_are_shared_between_processes(office: Office) -> None:
    office.records = records(1000)
    office.records["900"] = office.records["7"]  # of another process
    found = office.found(FIRST, "--jobs", 3)
    assert [one["indexes"] for one in found["double"]] == [[7, 900]]
    assert [(one["records"], one["index"]) for one in found["plan"]] == [(1000, 1)]


def test_records_for_several_kinds_of_chips(office: Office) -> None:
    text = FIRST + "espefuse(esp, efuses, args, 'burn_efuse DIS_USB_SERIAL_JTAG 1')\n"
    found = office.found(text, chip="esp32c3,esp32s2")
    assert {one["chip"] for one in found["plan"]} == {"esp32c3"}
    (fault,) = found["refused"]
    assert (fault["chip"], fault["records"]) == ("esp32s2", 20)
    assert "DIS_USB_SERIAL_JTAG" in str(fault["said"])


def test_keys_are_equal_or_different_and_never_shown(office: Office) -> None:
    text = "key = bytes([args.index % 19 + 1]) * 16 + bytes(range(16, 32))\n"
    text += "espefuse.burn_key(['BLOCK_KEY0'], [io.BytesIO(key)], ['HMAC_UP'])\n"
    done = office.check(text, "--index", "1-20")
    assert done.exit == 2
    assert "BLOCK_KEY0: one value is given to more than one unit" in done.stdout
    assert "indexes 1, 20" in done.stdout
    assert "10111213" not in done.stdout.replace(" ", "")
    same = text.replace("args.index % 19 + 1", "7")
    assert office.check(same, "--index", "1-20").exit == 0


def test_an_undeclared_value_that_is_equal_asks_what_is_meant(office: Office) -> None:
    text = FIRST + "espefuse(esp, efuses, args, 'burn_block_data BLOCK_KEY2 " + str(office.key) + "')\n"
    (fault,) = office.found(text)["double"]
    assert "--same BLOCK_KEY2" in str(fault["hint"])
    assert office.check(text, "--same", "BLOCK_KEY2").exit == 0


def test_a_script_knows_that_it_is_a_rehearsal(office: Office) -> None:
    text = FIRST + "if not args.rehearsal:\n    open('log.txt', 'a').write('x')\n"
    assert office.check(text).exit == 0
    work = script(office.folder, "work", "print('rehearsal:', args.rehearsal)\n")
    done = parburn(
        "--sim", "esp32c3:1", "--scripts", work, "--show-output", "--do-not-confirm", state=office.state
    )
    assert "rehearsal: False" in done.stdout


def test_side_effects_are_allowed_where_they_are_asked_for(office: Office) -> None:
    log = office.folder / "log.txt"
    text = FIRST + f"open({str(log)!r}, 'a').write('x')\n"
    assert office.check(text, "--index", "1-4", "--allow-side-effects").exit == 0
    assert log.read_text() == "x" * 8  # twice a record: no two of these differ


@pytest.mark.parametrize(
    ("more", "says"),
    [
        (("--chip", "esp32z9"), "esp32z9"),
        (("--index", "21"), "no record is left"),
    ],
)
def test_what_cannot_be_rehearsed_is_told(office: Office, more: tuple[str, ...], says: str) -> None:
    done = office.check(FIRST, *more)
    assert done.exit == 2
    assert says in done.stderr
    assert "Traceback" not in done.stderr


def test_without_records_the_range_needs_an_end(tmp_path: Path, state: Path) -> None:
    words = ("check", "--commands", "burn_custom_mac aa:cd:ef:00:00:01", "--chip", "esp32c3")
    done = parburn(*words, state=state)
    assert (done.exit, "--index 1-1000" in done.stderr) == (2, True)
    assert parburn(*words, "--index", "1-1", state=state).exit == 0


def test_a_script_that_never_ends(office: Office) -> None:
    done = office.check("while args.index == 2:\n    pass\n", "--script-timeout", "0.5")
    assert done.exit == 2
    assert "did not end within 0.5 s for index 2" in done.stderr


def test_a_script_that_ends_its_process(office: Office) -> None:
    office.records = records(1000)
    done = office.check("if args.index == 700:\n    os.kill(os.getpid(), 9)\n", "--jobs", "2")
    assert done.exit == 2
    assert "has ended the process" in done.stderr
    assert office.workers() == []


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_no_process_is_left_when_it_is_stopped(office: Office, number: signal.Signals) -> None:
    office.records = records(1000)
    (office.folder / "ids.json").write_text(json.dumps(office.records))
    work = script(office.folder, "work", "import time\ntime.sleep(0.02 if args.index else 0)\n")
    words = ("check", "--scripts", work, "--configfiles", office.folder / "ids.json", "--chip", "esp32c3")
    process = start(*words, "--jobs", 2, state=office.state)
    wait_until(lambda: len(office.workers()) == 3)
    process.send_signal(number)
    done = finish(process, timeout_s=20)
    assert done.exit == (-9 if number == signal.SIGKILL else 130 if number == signal.SIGINT else done.exit)
    assert "Traceback" not in done.stderr
    wait_until(lambda: office.workers() == [])


def test_ctrl_c_at_any_moment_ends_it_at_once(office: Office) -> None:
    """Whatever its processes do just then: they start, work, or wait for what was handed to them."""
    office.records = records(1000)
    (office.folder / "ids.json").write_text(json.dumps(office.records))
    work = script(office.folder, "work", "import time\ntime.sleep(0.02 if args.index else 0)\n")
    words = ("check", "--scripts", work, "--configfiles", office.folder / "ids.json", "--chip", "esp32c3")

    def interrupted(after_s: float) -> tuple[float, int, str]:
        process = start(*words, "--jobs", 2, state=office.state)
        time.sleep(after_s)
        process.send_signal(signal.SIGINT)
        done = finish(process, timeout_s=20)
        return after_s, done.exit, done.stderr

    moments = [0.5 + random.random() for _ in range(12)]
    with ThreadPoolExecutor(4) as pool:
        for after_s, code, stderr in pool.map(interrupted, moments):
            assert code == 130, (after_s, stderr)
            assert "Traceback" not in stderr, after_s
    wait_until(lambda: office.workers() == [])


# Ctrl-C in the moment when the processes are there, and the thread that ends them is not.
BEFORE_THE_THREAD = """
import sys
from concurrent.futures import process

def interrupted(self):
    raise KeyboardInterrupt

process._ExecutorManagerThread.start = interrupted
from parburn.cli.start import entry
entry()
"""


def test_ctrl_c_before_anybody_looks_after_the_processes_ends_them(office: Office) -> None:
    office.records = records(1000)
    (office.folder / "ids.json").write_text(json.dumps(office.records))
    words = ["check", "--scripts", str(script(office.folder, "work", FIRST)), "--chip", "esp32c3"]
    words += ["--jobs", "2", "--configfiles", str(office.folder / "ids.json")]
    done = subprocess.run(
        [sys.executable, "-c", BEFORE_THE_THREAD, *words],
        capture_output=True, text=True, check=False, timeout=60, cwd=office.folder,
    )  # fmt: skip
    assert done.returncode == 130, done.stderr
    assert "Traceback" not in done.stderr
