"""Every option of the command line, end to end: the installed command, real ptys, the chips' true bits."""

from __future__ import annotations

import asyncio
import contextlib
import csv
import hashlib
import json
import os
import re
import select
import socket
import threading
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import serial

from parburn.chips.model import RegisterWrite
from parburn.chips.registry import chip_named
from parburn.hardware.rom_loader import RomLoader
from parburn.transport.open import open_stream
from tests.command import Outcome, finish, parburn, start
from tests.provisioning import said, script
from tests.rig import Rig, start_rig
from tests.transport.test_network import Rfc2217Server

ONE_BIT = "espefuse(esp, efuses, args, 'burn_bit BLOCK3 {}'.format(args.index))\nprint('index', args.index)\n"


@pytest.fixture
def one_bit(tmp_path: Path) -> Path:
    return script(tmp_path, "one_bit", ONE_BIT)


def user_bits(rig: Rig) -> list[int]:
    """The true bits of BLOCK3 of all boards."""
    return [rig.bits(n, 3) for n in range(len(rig.ports))]


def requests_of(trace: Path) -> list[tuple[int, bytes]]:
    """Opcode and payload of every request in a trace; checks that each line is one of its format."""
    found = []
    for line in trace.read_text().splitlines():
        assert re.fullmatch(r"# .*|[<>] ([0-9a-f]{2})+", line), line
        if line.startswith(">"):
            data = bytes.fromhex(line[2:])
            for frame in filter(None, data.split(b"\xc0")):
                packet = frame.replace(b"\xdb\xdc", b"\xc0").replace(b"\xdb\xdd", b"\xdb")
                found.append((packet[1], packet[8:]))
    return found


def ask(port: str, what: Callable[[RomLoader], Awaitable[Any]]) -> Any:
    """Do something with the ROM behind a port, without a reset."""

    async def run() -> Any:
        stream = await open_stream(port)
        try:
            return await what(await RomLoader.connect(stream, before="no-reset"))
        finally:
            await stream.aclose()

    return asyncio.run(run())


# --- which ports


def test_patterns_links_and_duplicates_name_each_board_once_in_natural_order(
    tmp_path: Path, state: Path, one_bit: Path
) -> None:
    with start_rig("esp32c3", 11, tmp_path=tmp_path) as rig:
        links = [tmp_path / "first", tmp_path / "second"]
        for link in links:
            link.symlink_to(rig.ports[2])
        outcome = parburn(
            "--json", "--ports", rig.folder / "ttyUSB*", *links, rig.ports[10], "--do-not-confirm",
            "--scripts", one_bit, "--index", "5-20", state=state,
        )  # fmt: skip
        assert outcome.exit == 0, said(outcome)
        assert next(e for e in outcome.events if e["event"] == "start")["ports"] == rig.ports
        assert user_bits(rig) == [1 << n for n in range(5, 16)]


def test_what_names_no_port_is_exit_2(tmp_path: Path, state: Path, one_bit: Path) -> None:
    for port in (tmp_path / "ttyUSB*", tmp_path / "ttyUSB0", "socket://host", "rfc2217://:x"):
        outcome = parburn("--ports", port, "--scripts", one_bit, "--do-not-confirm", state=state)
        assert outcome.exit == 2, said(outcome)
        assert str(port) in outcome.stderr
        assert "hint" in outcome.stderr


class Bridge:
    """One TCP client to one tty, both ways, as `ser2net` in raw mode does it."""

    def __init__(self, port: str) -> None:
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"socket://127.0.0.1:{self.listener.getsockname()[1]}"
        self.tty = serial.Serial(port, timeout=0)
        self.woken, self.waker = socket.socketpair()
        self.thread = threading.Thread(target=self._serve, daemon=True)
        self.thread.start()

    def _serve(self) -> None:
        ready, _, _ = select.select([self.listener, self.woken], [], [])
        if self.woken in ready:
            return
        client, _ = self.listener.accept()
        with client, contextlib.suppress(OSError):
            while True:
                watched = [client.fileno(), self.tty.fileno(), self.woken.fileno()]
                heard, _, _ = select.select(watched, [], [])
                if watched[2] in heard:
                    return
                if watched[0] in heard:
                    data = client.recv(4096)
                    if not data:
                        return
                    self.tty.write(data)
                if watched[1] in heard:
                    client.sendall(self.tty.read(4096))

    def close(self) -> None:
        """End it."""
        self.waker.send(b"x")
        self.thread.join(5)
        for one in (self.listener, self.tty, self.woken, self.waker):
            one.close()


@contextlib.contextmanager
def bridges(rig: Rig) -> Iterator[tuple[Bridge, Rfc2217Server]]:
    """Board 0 behind a plain socket, board 1 behind an RFC 2217 server."""
    plain, remote = Bridge(rig.ports[0]), Rfc2217Server(rig.ports[1])
    try:
        yield plain, remote
    finally:
        plain.close()
        remote.close()


def test_sockets_and_rfc2217_servers_are_ports_too(tmp_path: Path, state: Path, one_bit: Path) -> None:
    with start_rig("esp32c3:1,esp32:1,esp32s3:1", tmp_path=tmp_path) as rig, bridges(rig) as (plain, remote):
        outcome = parburn(
            "--ports", plain.url, remote.url, rig.ports[2], "--scripts", one_bit, "--do-not-confirm",
            "--json", "--baud", 460800, "--after", "hard-reset", state=state,
        )  # fmt: skip
        assert outcome.exit == 0, said(outcome)
        index = {result["port"]: result["index"] for result in outcome.results}
        assert user_bits(rig) == [1 << index[port] for port in (plain.url, remote.url, rig.ports[2])]
        assert {result["slot"] for result in outcome.results} == {
            plain.url.partition("//")[2], remote.url.partition("//")[2], "ttyUSB2",
        }  # fmt: skip
        assert 460800 in remote.rates
        assert remote.rates[-1] == 115200  # left as it was found
        levels = [rts for n, (_, rts) in enumerate(remote.device.seen) if remote.device.seen[n - 1][1] != rts]
        assert levels[-2:] == [True, False]  # --after hard-reset


# --- how to connect and how to leave

BEFORES = ("default_reset", "usb-reset", "no-reset", "no-reset-no-sync")
FLASH_DEFL_END, CHANGE_BAUDRATE, SYNC, WRITE_REG = 0x12, 0x0F, 0x08, 0x09


def test_every_way_to_connect_and_to_leave(tmp_path: Path, state: Path, one_bit: Path) -> None:
    trace = tmp_path / "trace.txt"
    watchdog = chip_named("esp32s3").watchdog_reset
    assert watchdog is not None
    first_write = watchdog.writes[0].address.to_bytes(4, "little")
    ways = list(zip(BEFORES, ("no-reset", "hard-reset", "soft-reset", "watchdog-reset"), strict=True))
    with start_rig("esp32s3:1,esp32:1", tmp_path=tmp_path) as rig:
        for number, (before, after) in enumerate(ways, 1):
            path = script(
                tmp_path, f"way{number}", f"espefuse(esp, efuses, args, 'burn_bit BLOCK{number + 2} 9')\n"
            )
            ports = rig.ports if number == 1 else rig.ports[:1]  # the classic chip has four blocks only
            outcome = parburn(
                "--ports", *ports, "--scripts", path, "--do-not-confirm", "--json", "--before", before,
                "--after", after, "--baud", 921600, "--trace", trace, state=state,
            )  # fmt: skip
            assert set(outcome.words) == {"pass"}, f"{before} {after}: {said(outcome)}"
            assert rig.bits(0, number + 2) == 1 << 9
            requests = requests_of(trace)
            opcodes = [opcode for opcode, _ in requests]
            rates = [payload[:4] for opcode, payload in requests if opcode == CHANGE_BAUDRATE]
            assert rates.count((921600).to_bytes(4, "little")) == len(ports)
            assert rates[-1] == (115200).to_bytes(4, "little")
            assert (SYNC in opcodes) == (before != "no-reset-no-sync")
            assert opcodes.count(FLASH_DEFL_END) == (after == "soft-reset")
            resets = [p for opcode, p in requests if opcode == WRITE_REG and p[:4] == first_write]
            assert len(resets) == (after == "watchdog-reset")
        assert rig.bits(1, 3) == 1 << 9


@pytest.mark.parametrize("chip", ["esp32", "esp32c3"])
@pytest.mark.parametrize(("after", "restarts"), [("no-reset", False), ("soft-reset", True)])
def test_a_soft_reset_restarts_the_chip(
    tmp_path: Path, state: Path, one_bit: Path, chip: str, after: str, restarts: bool
) -> None:
    """A register that nobody else writes to keeps its value until the chip restarts."""
    address = chip_named(chip).registers["DATE"]
    with start_rig(chip, tmp_path=tmp_path, stay_powered=True) as rig:
        ask(rig.ports[0], lambda rom: rom.write_regs([RegisterWrite(address, 0x77)]))
        outcome = parburn(
            "--ports", *rig.ports, "--scripts", one_bit, "--do-not-confirm", "--json", "--before", "no-reset",
            "--after", after, state=state,
        )  # fmt: skip
        assert outcome.words == ["pass"], said(outcome)
        assert ask(rig.ports[0], lambda rom: rom.read_regs([address])) == [0 if restarts else 0x77]


def test_a_board_that_did_not_pass_is_never_reset(tmp_path: Path, state: Path) -> None:
    path = script(
        tmp_path, "raises", "espefuse(esp, efuses, args, 'burn_bit BLOCK3 1')\nefuses.burn_all()\n1 / 0\n"
    )
    trace = tmp_path / "trace.txt"
    with start_rig("esp32c3", tmp_path=tmp_path) as rig:
        outcome = parburn(
            "--ports", *rig.ports, "--scripts", path, "--do-not-confirm", "--json", "--after", "soft-reset",
            "--baud", 230400, "--trace", trace, state=state,
        )  # fmt: skip
        assert outcome.words == ["incomplete"]
        assert outcome.exit == 1
        requests = requests_of(trace)
        assert FLASH_DEFL_END not in [opcode for opcode, _ in requests]
        assert [p[:4] for o, p in requests if o == CHANGE_BAUDRATE][-1] == (115200).to_bytes(4, "little")


def test_a_watchdog_reset_that_the_chip_does_not_have_is_said_and_no_failure(
    tmp_path: Path, state: Path, one_bit: Path
) -> None:
    assert chip_named("esp32").watchdog_reset is None
    with start_rig("esp32", tmp_path=tmp_path) as rig:
        outcome = parburn(
            "--ports", *rig.ports, "--scripts", one_bit, "--do-not-confirm", "--after", "watchdog-reset",
            state=state,
        )  # fmt: skip
        assert outcome.exit == 0, said(outcome)
        assert "no watchdog reset" in outcome.stdout
        assert user_bits(rig) == [2]


def test_max_burning_1_burns_one_board_after_the_other(tmp_path: Path, state: Path) -> None:
    path = script(
        tmp_path, "two", "espefuse(esp, efuses, args, 'burn_bit BLOCK3 1')\n"
        "espefuse(esp, efuses, args, 'burn_bit BLOCK_KEY0 1')\n",
    )  # fmt: skip
    with start_rig("esp32c3", 4, tmp_path=tmp_path, baud_limit=460800) as rig:
        command = ("--ports", *rig.ports, "--scripts", path, "--do-not-confirm", "--json")
        outcome = parburn(*command, "--max-burning", 1, state=state)
        assert outcome.exit == 0, said(outcome)
        assert user_bits(rig) == [2] * 4
        order = [
            event["port"]
            for event in outcome.events
            if event["event"] == "burned" or event.get("step") == "burning"
        ]
        assert len(order) == 4 * 3
        assert all(len(set(order[n : n + 3])) == 1 for n in range(0, 12, 3)), order


# --- records: ledger, batch, index, report


def test_the_ledger_goes_where_it_is_told_and_batches_are_index_spaces(
    tmp_path: Path, state: Path, one_bit: Path
) -> None:
    ledger = tmp_path / "books" / "line 1.db"
    ledger.parent.mkdir()
    with start_rig("esp32c3", 3, tmp_path=tmp_path) as rig:

        def run(port: str, *options: object) -> dict[str, Any]:
            outcome = parburn(
                "--ports", port, "--scripts", one_bit, "--do-not-confirm", "--json", "--ledger", ledger,
                *options, state=state,
            )  # fmt: skip
            assert outcome.exit == 0, said(outcome)
            (result,) = outcome.results
            return result

        assert run(rig.ports[0], "--batch", "A", "--index", 3)["index"] == 3
        assert run(rig.ports[1], "--batch", "A")["index"] == 1
        assert run(rig.ports[2], "--batch", "B", "--index", 3)["index"] == 3
        assert run(rig.ports[0], "--batch", "A")["result"] == "already-pass"
        assert user_bits(rig) == [8, 2, 8]
        assert ledger.is_file()
        assert not list(state.rglob("*.db"))
        process = start("ledger", "show", "--ledger", ledger, state=state)
        stdout, _ = process.communicate(timeout=20)
        assert process.returncode == 0
        for number in range(3):
            assert rig.mac(number) in stdout
        # The same folder without the ledger, whose witness is still there: nothing is burned.
        ledger.rename(tmp_path / "gone.db")
        lost = parburn(
            "--ports", rig.ports[0], "--scripts", one_bit, "--do-not-confirm", "--ledger", ledger,
            state=state,
        )  # fmt: skip
        assert lost.exit == 2, said(lost)
        assert str(ledger) in lost.stderr


def test_an_index_that_nothing_was_asked_for_goes_to_the_next_chip(
    tmp_path: Path, state: Path, one_bit: Path
) -> None:
    looks = script(tmp_path, "looks", "print(efuses['MAC'].get(), args.index)\n")
    with start_rig("esp32c3", 2, tmp_path=tmp_path) as rig:
        seen = parburn("--ports", rig.ports[0], "--scripts", looks, "--json", state=state)
        assert seen.words == ["pass"], said(seen)
        assert seen.exit == 0
        burned = parburn(
            "--ports", rig.ports[1], "--scripts", one_bit, "--do-not-confirm", "--json", state=state
        )
        assert burned.results[0]["index"] == 1
        assert user_bits(rig) == [0, 2]


TABLE = """\
# field_name, efuse_block, bit_start, bit_count, comment
UNIQUE_ID, EFUSE_BLK3, 56, 40, Serial number of the unit
"""


def test_custom_tables_for_all_chips_and_for_one_and_the_report_in_both_forms(
    tmp_path: Path, state: Path
) -> None:
    every, only = tmp_path / "unique_id.csv", tmp_path / "station.csv"
    every.write_text(TABLE)
    only.write_text("STATION, EFUSE_BLK3, 100, 8, Station number\n")
    path = script(
        tmp_path,
        "table",
        "espefuse(esp, efuses, args, 'burn_efuse UNIQUE_ID 0xab000000%02x' % args.index)\n"
        "if esp.CHIP_NAME == 'ESP32-C3':\n"
        "    espefuse(esp, efuses, args, 'burn_efuse STATION 7')\n"
        "else:\n"
        "    assert 'STATION' not in [field.name for field in efuses]\n"
        "if args.index == 3:\n"
        "    raise esptool.FatalError('a label, \"with\" commas,\\nand lines')\n",
    )
    config = tmp_path / "c.json"
    config.write_text("{}")
    with start_rig("esp32c3:1,esp32:2", tmp_path=tmp_path) as rig:
        found: dict[str, list[dict[str, Any]]] = {}
        for form in ("csv", "jsonl"):
            report = tmp_path / f"report.{form}"
            outcome = parburn(
                "--ports", *rig.ports, "--scripts", path, "--configfiles", config, "--do-not-confirm",
                "--extend-efuse-table", every, "--extend-efuse-table", f"esp32c3={only}", "--report", report,
                "--json", state=state,
            )  # fmt: skip
            assert outcome.exit == 1, said(outcome)
            assert report.stat().st_mode & 0o777 == 0o644
            with report.open() as text:
                found[form] = list(csv.DictReader(text)) if form == "csv" else [*map(json.loads, text)]
            found[form].sort(key=lambda row: int(row["slot"].removeprefix("ttyUSB")))
        assert rig.bits(0, 3) == 0xAB00000001 << 56 | 7 << 100
        assert rig.bits(1, 3) == 0xAB00000002 << 56
        assert rig.bits(2, 3) == 0
        for form, table in found.items():
            assert len(table) == 3
            for number, row in enumerate(table):
                assert {
                    "slot", "port", "chip", "mac", "index", "unique_values", "result", "error", "seconds",
                    "parburn_version", "scripts", "config_files", "tables",
                } <= row.keys()  # fmt: skip
                assert row["port"] == rig.ports[number]
                assert row["slot"] == f"ttyUSB{number}"
                assert row["mac"] == rig.mac(number)
                assert str(row["index"]) == str(number + 1)
                assert float(row["seconds"]) > 0
                for name, file in (("scripts", path), ("config_files", config), ("tables", only)):
                    assert hashlib.sha256(file.read_bytes()).hexdigest() in str(row[name])
            assert [row["chip"] for row in table] == ["esp32c3", "esp32", "esp32"]
            assert 'a label, "with" commas, and lines' in " ".join(table[2]["error"].split())
            assert [row["result"] for row in table] == (
                ["pass", "pass", "failed"] if form == "csv" else ["already-pass", "already-pass", "failed"]
            )
        assert "UNIQUE_ID=" in found["csv"][0]["unique_values"]


def test_a_broken_table_is_exit_2_with_its_place(tmp_path: Path, state: Path, one_bit: Path) -> None:
    table = tmp_path / "broken.csv"
    table.write_text("GOOD, EFUSE_BLK3, 0, 8, fine\nBAD, EFUSE_BLK3, 4, 8, overlaps\n")
    with start_rig("esp32c3", tmp_path=tmp_path) as rig:
        for option in (table, f"esp32q9={table}"):
            outcome = parburn(
                "--ports", *rig.ports, "--scripts", one_bit, "--do-not-confirm", "--extend-efuse-table",
                option, state=state,
            )  # fmt: skip
            assert outcome.exit == 2, said(outcome)
            assert "broken.csv" in outcome.stderr or "esp32q9" in outcome.stderr
        assert user_bits(rig) == [0]


# --- what is shown


def test_what_is_shown_and_what_is_not(tmp_path: Path, state: Path) -> None:
    path = script(
        tmp_path,
        "talks",
        "print('a word from \\x1b[31mthe script')\n"
        "if args.index == 2:\n    raise esptool.FatalError('nothing to print on')\n",
    )
    with start_rig("esp32c3", 2, tmp_path=tmp_path) as rig:

        def run(*options: str) -> Outcome:
            outcome = parburn(
                "--ports", *rig.ports, "--scripts", path, "--do-not-confirm", *options, state=state
            )
            assert outcome.exit == 1, said(outcome)
            assert "Traceback" not in outcome.stderr
            assert "\x1b" not in outcome.stdout
            return outcome

        plain = run()
        assert plain.stdout.count("a word from") == 1  # of the failed board only, in the summary
        assert "FAILED" in plain.stdout
        assert "what to do" in plain.stdout
        assert "nothing was burned" in plain.stdout
        shown = run("--show-output")
        assert shown.stdout.count("a word from") == 2
        quiet = run("--quiet")
        assert "connecting" not in quiet.stdout
        assert "connecting" not in plain.stdout
        assert "connecting" in run("-v").stdout
        assert "FAILED" in quiet.stdout
        lines = run("--quiet", "--json")
        assert {event["event"] for event in lines.events} <= {"start", "output", "result", "summary", "note"}
        spoken = run("--json", "--show-output")
        assert [e["text"].partition(" from")[0] for e in spoken.events if e["event"] == "output"] == [
            "a word",
            "a word",
        ]


def test_flags_may_stand_after_run_and_in_any_order(tmp_path: Path, state: Path, one_bit: Path) -> None:
    with start_rig("esp32c3", tmp_path=tmp_path) as rig:
        outcome = parburn(
            "run", "--do-not-confirm", "--index", 4, "--scripts", one_bit, "--json", "--ports", *rig.ports,
            state=state,
        )  # fmt: skip
        assert outcome.words == ["pass"], said(outcome)
        assert user_bits(rig) == [1 << 4]


def test_a_probe_names_the_chips_and_burns_nothing(tmp_path: Path, state: Path) -> None:
    with start_rig("esp32:1,esp32s3:1", tmp_path=tmp_path) as rig:
        process = start("ports", *rig.ports, "--probe", "--json", state=state)
        stdout, stderr = process.communicate(timeout=20)
        assert process.returncode == 0, stderr
        assert rig.mac(0) in stdout
        assert rig.mac(1) in stdout
        assert [rig.programs(n) for n in range(2)] == [0, 0]


# --- the trace


def test_a_trace_shows_the_conversation_and_no_key_unless_it_is_asked_for(
    tmp_path: Path, state: Path
) -> None:
    key = bytes(range(0xA1, 0xC1))
    (tmp_path / "key.bin").write_bytes(key)
    path = script(
        tmp_path,
        "key",
        f"name = 'BLOCK1' if esp.CHIP_NAME == 'ESP32' else 'BLOCK_KEY2 '\n"
        f"end = ' --no-protect-key' if esp.CHIP_NAME == 'ESP32' else ' HMAC_UP --no-read-protect'\n"
        f"key = ' {tmp_path}/key.bin'\n"
        "espefuse(esp, efuses, args, 'burn_key ' + name + key + end)\n"
        "efuses.burn_all()\n"
        "assert efuses.blocks[1].get_bitstring() is not None\n",
    )
    trace = tmp_path / "trace.txt"
    words = {key[n : n + 4] for n in range(0, 32, 4)}
    words |= {word[::-1] for word in words}

    def shown() -> set[bytes]:
        text = trace.read_text()
        assert text.startswith("# ")
        return {word for word in words if word.hex() in text}

    with start_rig("esp32:1,esp32c3:1", tmp_path=tmp_path) as rig:
        command = ("--ports", *rig.ports, "--scripts", path, "--do-not-confirm", "--json", "--trace", trace)
        first = parburn(*command, state=state)
        assert set(first.words) == {"pass"}, said(first)
        assert shown() == set()
        requests_of(trace)
        for port in rig.ports:
            assert f"# {port}" in trace.read_text()
        # The key is readable: the next run reads it, and still does not show it.
        again = parburn(*command, state=tmp_path / "other")
        assert set(again.words) <= {"pass", "refused", "failed"}
        assert shown() == set()
        asked = parburn(*command, "--show-sensitive-info", state=tmp_path / "third")
        assert set(asked.words) <= {"pass", "refused", "failed"}
        assert shown()


def test_a_trace_or_report_that_cannot_be_written_is_exit_2(
    tmp_path: Path, state: Path, one_bit: Path
) -> None:
    master, slave = os.openpty()
    try:
        for option in ("--trace", "--report"):
            outcome = parburn(
                "--ports", os.ttyname(slave), "--scripts", one_bit, "--do-not-confirm", option,
                tmp_path / "nowhere" / "file.jsonl", state=state,
            )  # fmt: skip
            assert outcome.exit == 2, said(outcome)
            assert "nowhere" in outcome.stderr
    finally:
        os.close(master)
        os.close(slave)


def test_a_trace_that_can_be_written_no_more_costs_no_board_its_result(tmp_path: Path, state: Path) -> None:
    folder = tmp_path / "traces"
    folder.mkdir()
    path = script(
        tmp_path,
        "clears",
        f"import shutil\nshutil.rmtree('{folder}')\nespefuse(esp, efuses, args, 'burn_bit BLOCK3 1')\n",
    )
    with start_rig("esp32c3", tmp_path=tmp_path) as rig:
        outcome = parburn(
            "--ports", *rig.ports, "--scripts", path, "--do-not-confirm", "--json", "--trace",
            folder / "trace.txt", state=state,
        )  # fmt: skip
        assert outcome.words == ["pass"], said(outcome)
        assert outcome.results[0]["error"] == ""
        notes = [event["text"] for event in outcome.events if event["event"] == "note"]
        assert any("trace could not be written" in note for note in notes)
        assert user_bits(rig) == [2]


def test_a_script_may_run_as_long_as_it_is_allowed_to(tmp_path: Path, state: Path) -> None:
    path = script(tmp_path, "slow", "import time\nwhile True:\n    time.sleep(0.01)\n")
    with start_rig("esp32c3", tmp_path=tmp_path) as rig:
        process = start(
            "--ports", *rig.ports, "--scripts", path, "--do-not-confirm", "--json", "--script-timeout", "0.5",
            state=state,
        )  # fmt: skip
        outcome = finish(process, timeout_s=10)
        assert outcome.words == ["failed"]
        assert outcome.exit == 1
        assert "0.5 s" in outcome.results[0]["error"]
        assert "slow.py" in outcome.results[0]["error"]
