"""`parburn slots` and `--ports slots:FILE` through the installed command, on ptys that come and go."""

from __future__ import annotations

import asyncio
import fcntl
import os
import select
import signal
import sqlite3
import subprocess
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from parburn.station.slots_file import Slot, SlotsFile, read_slots
from parburn.station.slots_writing import write_slots
from parburn.station.statistics import Statistics, place_beside
from tests.command import COMMAND, Outcome, environment, parburn, start
from tests.provisioning import custom_mac_of, mac, rows, said
from tests.rig import Rig, start_rig
from tests.station.sockets import Sockets

DEADLINE_S = 30.0


class Learning:
    """`parburn slots learn` while it runs: what it asks, and the lines that it gets."""

    def __init__(self, file: Path, *words: object) -> None:
        assert COMMAND
        self.process = subprocess.Popen(
            [COMMAND, "slots", "learn", str(file), *map(str, words)],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
            env=environment(file.parent / "state"),
        )  # fmt: skip
        self.heard = ""

    def until(self, text: str) -> None:
        """Wait for what it says; what stands before it is forgotten."""
        assert self.process.stderr
        end = time.monotonic() + DEADLINE_S
        while text not in self.heard:
            ready, _, _ = select.select([self.process.stderr], [], [], max(0.0, end - time.monotonic()))
            more = os.read(self.process.stderr.fileno(), 4096).decode() if ready else ""
            assert more, f"it has not said {text!r}: {self.heard}"
            self.heard += more
        self.heard = self.heard.partition(text)[2]

    def type(self, line: str) -> None:
        assert self.process.stdin
        self.process.stdin.write(f"{line}\n".encode())
        self.process.stdin.flush()

    def end(self) -> Outcome:
        """Wait for its end, the input still open."""
        self.process.wait(DEADLINE_S)
        stdout, stderr = self.process.communicate(timeout=DEADLINE_S)
        return Outcome(self.process.returncode, stdout.decode(), self.heard + stderr.decode())


@contextmanager
def learning(file: Path, *words: object) -> Iterator[Learning]:
    made = Learning(file, *words)
    try:
        yield made
    finally:
        made.process.kill()
        made.process.communicate()


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "rig7.slots.toml"


def places(file: Path) -> dict[str, str]:
    return {slot.name: Path(slot.place).name for slot in read_slots(file).slots}


def slots_of(file: Path, rig: Rig, *names: str) -> None:
    write_slots(
        SlotsFile(file, tuple(Slot(name, port) for name, port in zip(names, rig.ports, strict=False)))
    )


# --- learn


def test_slot_after_slot_is_learned(file: Path, sockets: Sockets) -> None:
    sockets.insert(9)  # it was there before
    with learning(file, "--folder", sockets.folder, "--names", "A1-A3,B7") as learns:
        learns.until("A1: put a board into it")
        sockets.insert(4)
        learns.until(f"A1 is {sockets.path(4)}")
        learns.until("A2: put a board into it")
        sockets.remove(4)
        sockets.insert(4)  # in the same socket again
        learns.until("that was the socket of A1: put the board into A2")
        sockets.remove(4)
        sockets.insert(2)
        learns.until("A3: put a board into it")
        learns.type("x")
        learns.until("'x' is neither s nor q")
        learns.type("s")
        learns.until("A3 is left out")
        learns.until("B7: put a board into it")
        assert not file.exists()
        sockets.remove(9)
        sockets.insert(9)  # now it came
        done = learns.end()
    assert done.exit == 0, said(done)
    assert places(file) == {"A1": "ttyUSB4", "A2": "ttyUSB2", "B7": "ttyUSB9"}
    assert "3 slots, 3 learned now" in done.stdout
    assert f"B7    {sockets.path(9)}" in done.stdout
    assert sorted(path.name for path in file.parent.glob("*slots*")) == [f".{file.name}.lock", file.name]


def test_names_without_end_until_q(file: Path, sockets: Sockets) -> None:
    with learning(file, "--folder", sockets.folder) as learns:
        for number in (1, 0):
            learns.until(": put a board into it")
            sockets.insert(number)
        learns.until("A3: put a board into it")
        learns.type("q")
        assert learns.end().exit == 0
    assert places(file) == {"A1": "ttyUSB1", "A2": "ttyUSB0"}
    with learning(file, "--folder", sockets.folder, "--add") as learns:
        learns.until("A3: put a board into it")
        sockets.insert(5)
        learns.until("A4: put")
        learns.type("q")
        assert learns.end().exit == 0
    assert places(file) == {"A1": "ttyUSB1", "A2": "ttyUSB0", "A3": "ttyUSB5"}
    with learning(file, "--folder", sockets.folder, "--add", "--names", "A2") as learns:
        learns.until("A2: put a board into it")
        sockets.insert(6)
        assert learns.end().exit == 0
    assert places(file) == {"A1": "ttyUSB1", "A2": "ttyUSB6", "A3": "ttyUSB5"}


def test_two_nodes_of_one_board_and_two_boards(file: Path, tmp_path: Path) -> None:
    folder = tmp_path / "sockets"
    folder.mkdir()

    def put_in(number: int, port: str) -> None:
        (folder / f"ttyUSB{number}").symlink_to(os.path.realpath(port))

    with (
        start_rig("esp32c3", 2, tmp_path) as rig,
        learning(file, "--folder", folder, "--names", "A1,A2") as learns,
    ):
        learns.until("A1: put a board into it")
        put_in(2, rig.ports[0])
        put_in(3, rig.ports[1])
        learns.until("2 ports came together")
        learns.until(f"these are 2 boards ({', '.join(sorted((rig.mac(0), rig.mac(1))))})")
        (folder / "ttyUSB3").unlink()
        (folder / "ttyUSB2").unlink()
        put_in(2, rig.ports[0])
        put_in(4, rig.ports[0])
        learns.until(f"A1 is {folder / 'ttyUSB2'}")
        learns.until("A2: put a board into it")
        (folder / "ttyUSB4").unlink()
        put_in(4, rig.ports[0])  # the second node of the board in A1: nobody's
        put_in(3, rig.ports[1])
        assert learns.end().exit == 0
    assert read_slots(file).slots == (
        Slot("A1", str(folder / "ttyUSB2"), also=(str(folder / "ttyUSB4"),)),
        Slot("A2", str(folder / "ttyUSB3")),
    )


@pytest.mark.parametrize("how", ["Ctrl-C", "end of input", "nothing learned"])
def test_nothing_is_written_but_at_the_end(file: Path, sockets: Sockets, how: str) -> None:
    with learning(file, "--folder", sockets.folder, "--names", "A1,A2") as learns:
        learns.until("A1: put a board into it")
        if how == "nothing learned":
            learns.type("s\nq")
        else:
            sockets.insert(0)
            learns.until("A2: put a board into it")
        if how == "Ctrl-C":
            learns.process.send_signal(signal.SIGINT)
        elif how == "end of input":
            learns.process.stdin.close()  # type: ignore[union-attr]
            learns.process.stdin = None
        done = learns.end()
    assert done.exit == (130 if how == "Ctrl-C" else 2), said(done)
    assert "nothing was written" in done.stderr
    assert not [*file.parent.glob("*slots*")]


def test_nobody_to_ask(file: Path, sockets: Sockets, tmp_path: Path) -> None:
    done = parburn("slots", "learn", file, "--folder", sockets.folder, state=tmp_path / "state")
    assert done.exit == 2, said(done)
    assert "no terminal" in done.stderr


@pytest.mark.parametrize(
    ("words", "said_then"),
    [(["--names", "A1,A1"], "twice"), (["--names", "A 1"], "no name"), (["--names", "A5-A1"], "no range"),
     (["--folder", "/nowhere"], "no folder"), (["--names", "A1-A999"], "no range")],
)  # fmt: skip
def test_options_that_are_wrong(file: Path, words: list[str], said_then: str) -> None:
    with learning(file, *words) as learns:
        done = learns.end()
    assert done.exit == 2
    assert said_then in done.stderr


def test_a_file_is_not_written_over(file: Path, sockets: Sockets, tmp_path: Path) -> None:
    file.write_text("[slots]\nA1 = 'x'\n")
    with learning(file, "--folder", sockets.folder) as learns:
        done = learns.end()
    assert done.exit == 2
    assert "is there already" in done.stderr
    assert "--add" in done.stderr


# --- check, show


def test_check_asks_each_socket(file: Path, tmp_path: Path, state: Path) -> None:
    with start_rig("esp32c3", 2, tmp_path) as rig:
        slots_of(file, rig, "A1", "A2")
        done = parburn("slots", "check", file, "--json", state=state)
        assert done.exit == 0, said(done)
        assert [(row["slot"], row["port"], row["mac"], row["chip"]) for row in done.events[:-1]] == [
            (f"A{n + 1}", rig.ports[n], rig.mac(n), "esp32c3") for n in range(2)
        ]
        assert done.events[-1] == {"event": "checked", "good": True, "doubles": [], "warnings": []}
        told = parburn("slots", "check", file, state=state)
        assert told.exit == 0
        assert "2 of 2 sockets answer, and all are distinct" in told.stdout
        assert rig.mac(1) in told.stdout

        twin = tmp_path / "twin"
        twin.symlink_to(os.path.realpath(rig.ports[0]))
        slots = (Slot("A1", rig.ports[0]), Slot("A2", str(tmp_path / "no")))
        write_slots(SlotsFile(file, slots))
        missing = parburn("slots", "check", file, state=state)
        assert missing.exit == 1
        assert "A2: there is no tty" in missing.stdout
        assert "1 of 2 sockets answer" in missing.stdout


def test_check_finds_a_clone(file: Path, tmp_path: Path, state: Path) -> None:
    with (
        start_rig("esp32c3", 1, tmp_path / "one") as one,
        start_rig("esp32c3", 1, tmp_path / "other") as other,
    ):
        write_slots(SlotsFile(file, (Slot("A1", one.ports[0]), Slot("A2", other.ports[0]))))
        done = parburn("slots", "check", file, state=state)
        assert one.mac(0) == other.mac(0)
        assert done.exit == 1, said(done)
        assert f"the chip {one.mac(0)} answers in A1 and A2" in done.stdout


def test_show_opens_nothing(file: Path, sockets: Sockets, state: Path) -> None:
    sockets.insert(1)
    slots = (Slot("A1", sockets.path(0)), Slot("A2", sockets.path(1), "bridge", "cts", (sockets.path(3),)))
    write_slots(SlotsFile(file, slots))
    done = parburn("slots", "show", file, state=state)
    assert done.exit == 0
    assert done.stdout.splitlines() == [
        f"slot  port{' ' * (len(sockets.path(1)) - 4)}  place",
        f"A1    -{' ' * (len(sockets.path(1)) - 1)}  {sockets.path(0)}",
        f"A2    {sockets.path(1)}  {sockets.path(1)} (bridge cts), also {sockets.path(3)}",
    ]
    rows = parburn("slots", "show", file, "--json", state=state).events
    assert [row["port"] for row in rows] == ["", sockets.path(1)]
    assert rows[1]["also"] == [sockets.path(3)]
    assert parburn("slots", "show", file.with_name("no"), state=state).exit == 2


# --- --ports slots:FILE


def burn(file: Path, chosen: str, *more: object, provision: Path, ids: Path, state: Path) -> Outcome:
    words = ("--ports", f"slots:{file}{chosen}", "--scripts", provision, "--configfiles", ids)
    return parburn(*words, "--do-not-confirm", "--index", "1-50", *more, state=state)


def test_slots_stand_in_table_report_and_json(
    file: Path, tmp_path: Path, state: Path, provision: Path, ids: Path
) -> None:
    """And boards get their indexes in the order of slots, not of ports."""
    with start_rig("esp32c3", 4, tmp_path) as rig:
        slots_of(file, rig, "B2", "A10", "A9", "C1")
        report = tmp_path / "report.jsonl"
        done = burn(file, "#A9-B2", "--json", "--report", report, provision=provision, ids=ids, state=state)
        assert done.exit == 0, said(done)
        begun = next(event for event in done.events if "slots" in event)
        assert begun["slots"] == ["A9", "A10", "B2"]
        assert begun["ports"] == [rig.ports[2], rig.ports[1], rig.ports[0]]
        assert {row["slot"]: row["index"] for row in rows(report)} == {"A9": 1, "A10": 2, "B2": 3}
        assert [custom_mac_of(rig, n) for n in range(4)] == [mac(3), mac(2), mac(1), ""]
        table = burn(file, "#C1", provision=provision, ids=ids, state=state)
        assert table.exit == 0, said(table)
        assert "C1" in table.stdout + table.stderr


def test_an_empty_slot_is_a_missing_port(
    file: Path, tmp_path: Path, state: Path, provision: Path, ids: Path
) -> None:
    with start_rig("esp32c3", 1, tmp_path) as rig:
        usb = Slot("A2", "pci-0000:00:14.0-usb-0:2.9:1.0")
        write_slots(SlotsFile(file, (Slot("A1", rig.ports[0]), usb, Slot("A3", str(tmp_path / "no")))))
        done = burn(file, "", provision=provision, ids=ids, state=state)
        assert done.exit == 2, said(done)
        assert "nothing is in slots A2, A3" in done.stderr
        assert "There: A1" in done.stderr
        assert rig.programs(0) == 0
        few = burn(file, "", "--expect", 1, "--json", provision=provision, ids=ids, state=state)
        ended = {event["slot"]: event for event in few.events if event["event"] == "result"}
        assert few.exit == 1, said(few)
        assert {name: row["result"] for name, row in ended.items()} == {
            "A1": "pass", "A2": "no-answer", "A3": "no-answer"
        }  # fmt: skip


def test_the_other_commands_take_slots_too(file: Path, tmp_path: Path, state: Path) -> None:
    with start_rig("esp32c3", 2, tmp_path) as rig:
        slots_of(file, rig, "B1", "A1")
        done = parburn("ports", "--probe", "--json", f"slots:{file}", state=state)
        assert [(row["slot"], row["mac"]) for row in done.events] == [("A1", rig.mac(1)), ("B1", rig.mac(0))]
        shown = parburn("--ports", f"slots:{file}#B1", "--commands", "summary", state=state)
        assert shown.exit == 0, said(shown)
        assert rig.mac(0) in shown.stdout


@pytest.mark.parametrize(
    ("chosen", "text"),
    [("#A7", "has no slot 'A7'"), ("#", "no slot is named"), ("x", "cannot be read")],
)
def test_slots_that_are_not_there(file: Path, state: Path, chosen: str, text: str) -> None:
    write_slots(SlotsFile(file, (Slot("A1", "/dev/null"),)))
    done = parburn("--ports", f"slots:{file}{chosen}", "--commands", "summary", state=state)
    assert done.exit == 2
    assert text in done.stderr


# --- one process at a time


@pytest.mark.parametrize("words", ["slots check {0}", "ports --probe slots:{0}", "slots learn {0} --add",
                                   "--commands summary --ports slots:{0}#A1",
                                   "ledger verify --ports slots:{0}"])  # fmt: skip
def test_a_slots_file_in_use_is_refused(file: Path, tmp_path: Path, state: Path, words: str) -> None:
    with start_rig("esp32c3", 1, tmp_path) as rig:
        slots_of(file, rig, "A1")
        with learning(file, "--add", "--folder", tmp_path) as learns:
            learns.until("put a board into it")
            assert COMMAND
            second = subprocess.run(
                [COMMAND, *words.format(file).split()], env=environment(state), text=True,
                capture_output=True, check=False, stdin=learns.process.stdout,
            )  # fmt: skip
            assert second.returncode == 2, second
            assert f"in use by process {learns.process.pid} (parburn slots learn)" in second.stderr
            os.kill(learns.process.pid, signal.SIGKILL)
            learns.process.wait()
            assert parburn("slots", "check", file, state=state).exit == 0


def test_a_run_holds_its_slots_file_to_its_end(file: Path, tmp_path: Path, state: Path, ids: Path) -> None:
    slow = tmp_path / "slow.py"
    slow.write_text(f"import time\nopen('{tmp_path / 'here'}', 'w').close()\ntime.sleep(30)\n")
    with start_rig("esp32c3", 2, tmp_path) as rig:
        slots_of(file, rig, "A1", "A2")
        words = ("--ports", f"slots:{file}#A1", "--scripts", slow, "--do-not-confirm")
        first = start(*words, state=state)
        try:
            end = time.monotonic() + DEADLINE_S
            while not (tmp_path / "here").exists():
                assert time.monotonic() < end
                time.sleep(0.02)
            other = file.with_name("other.toml")
            file.rename(other)  # as editors do
            file.write_bytes(other.read_bytes())
            refused = parburn("slots", "check", file, state=state)
            assert refused.exit == 2, said(refused)
            assert f"process {first.pid}" in refused.stderr
            write_slots(read_slots(file))  # and another file in its place
            assert parburn("slots", "check", file, state=state).exit == 2
            assert parburn("slots", "show", file, state=state).exit == 0
        finally:
            first.kill()
            first.communicate()
        assert parburn("slots", "check", file, state=state).exit == 0


def test_who_may_not_write_the_folder_is_excluded_too(file: Path, tmp_path: Path, state: Path) -> None:
    """The lock beside the file cannot be made there: the file itself is locked."""
    write_slots(SlotsFile(file, (Slot("A1", str(tmp_path / "no")),)))
    with file.open("rb") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        done = parburn("slots", "check", file, state=state)
        assert done.exit == 2
        assert f"process {os.getpid()}" in done.stderr


def test_what_the_sockets_have_done_is_shown(file: Path, tmp_path: Path, state: Path) -> None:
    ledger = tmp_path / "ledger.sqlite3"
    write_slots(SlotsFile(file, (Slot("A1", str(tmp_path / "ttyA")), Slot("A2", str(tmp_path / "ttyB")))))
    none_yet = parburn("slots", "show", file, "--ledger", ledger, state=state)
    assert none_yet.exit == 2
    assert f"no socket has done anything with the ledger {ledger}" in none_yet.stderr

    async def work() -> None:
        statistics = await Statistics.open(place_beside(ledger))
        for seconds in (1.0, 2.0, 9.0):
            statistics.count("A1", "", seconds, True, retries=1)
        statistics.count("A1", "no answer", 1.0, False)
        await statistics.aclose()

    asyncio.run(work())
    shown = parburn("slots", "show", file, "--ledger", ledger, state=state)
    assert shown.exit == 0, said(shown)
    assert shown.stdout.splitlines()[-3:] == [
        "slot  boards  passed  half of them in  tried again  failures",
        "A1    4       3       2.0 s            3            1 no answer",
        "A2    0       0                        0",
    ]
    events = parburn("slots", "show", file, "--ledger", ledger, "--json", state=state).events
    assert [event["done"]["passes"] for event in events] == [3, 0]
    assert events[0]["done"]["failures"] == {"no answer": 1}
    assert events[0]["done"]["p50_s"] == 2.0
    assert sorted(path.name for path in tmp_path.glob("ledger*")) == [place_beside(ledger).name]
    with closing(sqlite3.connect(place_beside(ledger))) as other:  # of a later version, or of somebody else
        other.execute("ALTER TABLE sockets RENAME TO boards")
    before = place_beside(ledger).read_bytes()
    other_tables = parburn("slots", "show", file, "--ledger", ledger, state=state)
    assert other_tables.exit == 2
    assert "no such table" in other_tables.stderr
    assert place_beside(ledger).read_bytes() == before  # looking changes nothing
    place_beside(ledger).write_bytes(b"no database" * 1000)
    damaged = parburn("slots", "show", file, "--ledger", ledger, state=state)
    assert damaged.exit == 2
    assert "cannot be read" in damaged.stderr
    assert place_beside(ledger).exists()
