"""After a lost ledger: `ledger rebuild` binds boards to the records that they carry. Through the installed
command, on simulated boards."""

from __future__ import annotations

import json
import sqlite3
import time
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from parburn.chips.registry import chip_named
from tests.command import Outcome, parburn
from tests.provisioning import PROVISION, custom_mac_of, every_bit, mac, said, script
from tests.rig import Rig, start_rig

MAC_ONLY = """\
entry = json.load(args.configfiles[0])[str(args.index)]
espefuse(esp, efuses, args, 'burn_custom_mac ' + entry['mac'])
"""
MAC_AND_FLAG = MAC_ONLY + "espefuse(esp, efuses, args, 'burn_efuse DIS_DOWNLOAD_ICACHE 1')\n"
TWO_BURNS = (
    MAC_ONLY
    + """\
efuses.burn_all()
espefuse(esp, efuses, args, 'burn_efuse SPI_BOOT_CRYPT_CNT 1')
"""
)


class Line:
    """A station whose ledger can be lost."""

    def __init__(self, folder: Path, ids: Path) -> None:
        self.ledger, self.ids, self.folder = folder / "ledger.sqlite", ids, folder

    def run(self, ports: list[str], work: Path, *more: object) -> Outcome:
        """Burn."""
        return parburn(
            "--ports", *ports, "--scripts", work, "--configfiles", self.ids, "--ledger", self.ledger,
            "--do-not-confirm", "--json", *more, state=self.folder,
        )  # fmt: skip

    def lose(self) -> None:
        """The disk is gone; a new ledger is begun on purpose."""
        for path in self.folder.glob("ledger.sqlite*"):
            path.unlink()
        assert self.do("init", "--why", "the disk died").exit == 0

    def do(self, *words: object) -> Outcome:
        """An action on the ledger."""
        return parburn("ledger", *words, "--ledger", self.ledger, state=self.folder)

    def rebuild(self, ports: list[str], work: Path, *more: object) -> Outcome:
        """Rebuild from the boards at these ports."""
        return self.do(
            "rebuild", "--ports", *ports, "--scripts", work, "--configfiles", self.ids, "--why", "lost", *more
        )

    def units(self) -> list[dict[str, Any]]:
        """The units of the ledger."""
        output = self.folder / "export.json"
        assert self.do("export", "--output", output).exit == 0
        found: list[dict[str, Any]] = json.loads(output.read_text())["units"]
        return found

    def verifies(self) -> None:
        """The ledger is whole."""
        outcome = self.do("verify")
        assert outcome.exit == 0, said(outcome)


@pytest.fixture
def line(tmp_path: Path, ids: Path) -> Line:
    return Line(tmp_path, ids)


def programs(rig: Rig) -> list[int]:
    """The program commands that each board has seen."""
    return [rig.programs(n) for n in range(len(rig.ports))]


def counter(rig: Rig, board: int) -> int:
    """SPI_BOOT_CRYPT_CNT in the board's true bits."""
    (one,) = chip_named(rig.state(board)["chip"]).field_by_name["SPI_BOOT_CRYPT_CNT"]
    return (rig.bits(board, 0) & one.mask) >> (one.start or 0)


def test_64_boards_get_their_own_records_back_and_the_next_64_go_on_behind(
    tmp_path: Path, line: Line
) -> None:
    work = script(tmp_path, "work", MAC_AND_FLAG)
    with start_rig("esp32c3:96,esp32s3:32", tmp_path=tmp_path) as rig:
        first, next_ones = rig.ports[:64], rig.ports[64:]
        assert line.run(first, work).exit == 0
        before, pulses = every_bit(rig), programs(rig)
        line.lose()
        turned = list(reversed(first))  # the boards come in another order
        outcome = line.rebuild(turned, work)
        assert outcome.exit == 0, said(outcome)
        assert "64 of 64 boards are bound" in outcome.stdout
        assert programs(rig) == pulses
        units = {unit["mac"]: unit for unit in line.units()}
        for n in range(64):
            unit = units[rig.mac(n)]
            assert unit["unique_values"]["CUSTOM_MAC"] == custom_mac_of(rig, n) == mac(unit["index"])
            assert (unit["state"], unit["spent"]) == ("pass", True)
        line.verifies()

        again = line.run(turned, work)
        assert (again.exit, set(again.words)) == (0, {"already-pass"}), said(again)
        assert (every_bit(rig), programs(rig)) == (before, pulses)

        behind = line.run(next_ones, work)
        assert behind.exit == 0, said(behind)
        assert sorted(one["index"] for one in behind.results) == list(range(65, 129))
        assert len({custom_mac_of(rig, n) for n in range(128)}) == 128
    line.verifies()


def test_a_board_that_is_not_there_keeps_its_record_and_gets_it_when_it_comes(
    tmp_path: Path, line: Line
) -> None:
    work = script(tmp_path, "work", MAC_ONLY)
    with start_rig("esp32c3", 4, tmp_path=tmp_path) as rig:
        assert line.run(rig.ports[:3], work).exit == 0
        line.lose()
        outcome = line.rebuild([rig.ports[0], rig.ports[2]], work)
        assert outcome.exit == 0
        assert "1 indexes below 3 are on no board that was here" in outcome.stdout
        assert [one["index"] for one in line.run(rig.ports[3:], work).results] == [4]
        late = line.rebuild(rig.ports, work)
        assert late.exit == 0, said(late)
        assert late.stdout.count("known before as index") == 3
        units = {unit["mac"]: unit["index"] for unit in line.units()}
        assert units == {rig.mac(n): n + 1 for n in range(4)}
        assert line.run(rig.ports, work).words == ["already-pass"] * 4
    line.verifies()


def test_what_fits_no_record_or_is_on_two_boards_is_listed_and_left(tmp_path: Path, line: Line) -> None:
    work = script(tmp_path, "work", MAC_ONLY)
    foreign = script(tmp_path, "foreign", "espefuse(esp, efuses, args, 'burn_custom_mac aa:cd:ef:00:09:09')")
    twin = script(tmp_path, "twin", f"espefuse(esp, efuses, args, 'burn_custom_mac {mac(1)}')")
    with start_rig("esp32c3", 5, tmp_path=tmp_path) as rig:
        assert line.run(rig.ports[:2], work).exit == 0
        for port, other in ((rig.ports[2], foreign), (rig.ports[3], twin)):
            ledger = tmp_path / f"{other.stem}.sqlite"
            outcome = parburn(
                "--ports", port, "--scripts", other, "--ledger", ledger, "--do-not-confirm", state=tmp_path
            )
            assert outcome.exit == 0, said(outcome)
        line.lose()
        outcome = line.rebuild(rig.ports, work)
        assert outcome.exit == 1
        lines = outcome.stdout.splitlines()
        for n, words in enumerate(
            (
                f"index 1 is carried by {rig.mac(0)} and {rig.mac(3)}",
                "bound; it holds all of its record",
                "it carries the values of no record",
                f"index 1 is carried by {rig.mac(0)} and {rig.mac(3)}",
                "it carries the values of no record",
            )
        ):
            assert rig.ports[n] in lines[n]
            assert rig.mac(n) in lines[n]
            assert words in lines[n]
        assert "1 of 5 boards are bound" in outcome.stdout
        assert [u["index"] for u in line.units() if u["mac"]] == [2]


def test_a_board_half_burned_is_bound_and_goes_on_with_its_own_index(tmp_path: Path, line: Line) -> None:
    half, whole = script(tmp_path, "half", MAC_ONLY), script(tmp_path, "whole", TWO_BURNS)
    with start_rig("esp32c3:1,esp32s3:2", tmp_path=tmp_path) as rig:
        assert line.run(rig.ports, half).exit == 0
        assert line.run(rig.ports[2:], whole).exit == 0
        line.lose()
        outcome = line.rebuild(list(reversed(rig.ports)), whole)
        assert outcome.exit == 0, said(outcome)
        assert outcome.stdout.count("not whole, BLOCK0 lacks bits") == 2
        assert [(u["index"], u["state"]) for u in line.units()] == [
            (1, "incomplete"),
            (2, "incomplete"),
            (3, "pass"),
        ]
        again = line.run(rig.ports, whole)
        assert again.words == ["pass", "pass", "already-pass"], said(again)
        assert [one["index"] for one in again.results] == [1, 2, 3]
        assert [custom_mac_of(rig, n) for n in range(3)] == [mac(1), mac(2), mac(3)]
        # the counter stands at one, not at three
        assert [counter(rig, n) for n in range(3)] == [1, 1, 1]
    line.verifies()


# ESP32: its blocks are coded as BLOCK0 says. The key has 24 bytes in 3/4, and 32 without coding.
CODED = """\
entry = json.load(args.configfiles[0])[str(args.index)]
espefuse(esp, efuses, args, 'burn_custom_mac ' + entry['mac'])
if args.index > 2:
    size = 24 if efuses.coding_scheme else 32
    espefuse(esp, efuses, args, 'burn_key flash_encryption key%d.bin' % size)
    espefuse(esp, efuses, args, 'burn_efuse JTAG_DISABLE 1')
"""
BLOCKS = """\
entry = json.load(args.configfiles[0])[str(args.index)]
value = int(entry['mac'].replace(':', ''), 16)
bits = ' '.join(str(bit + 48) for bit in range(48) if value >> bit & 1)
espefuse(esp, efuses, args, 'burn_bit BLOCK3 ' + bits)
espefuse(esp, efuses, args, 'burn_bit BLOCK2 0 9 191')
"""


@pytest.mark.parametrize("coding", ["3/4", "none"])
def test_a_coded_esp32_gets_its_record_back(
    tmp_path: Path, line: Line, coding: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two boards with an address only, two with a hidden key beside it."""
    monkeypatch.chdir(tmp_path)
    for size in (24, 32):
        (tmp_path / f"key{size}.bin").write_bytes(bytes(range(1, size + 1)))
    work = script(tmp_path, "work", CODED)
    with start_rig("esp32", 5, tmp_path=tmp_path, settings=[f"coding={coding}"]) as rig:
        done = line.run(rig.ports[:4], work)
        assert done.words == ["pass"] * 4, said(done)
        bits, pulses = every_bit(rig), programs(rig)
        line.lose()
        outcome = line.rebuild(list(reversed(rig.ports[:4])), work)
        assert outcome.exit == 0, said(outcome)
        assert outcome.stdout.count("bound; it holds all of its record") == 2, said(outcome)
        assert outcome.stdout.count("bound, key cannot be read (BLOCK1)") == 2, said(outcome)
        for n in (2, 3):
            assert line.do("release", "--trust-hidden-keys", rig.mac(n), "--why", "booted").exit == 0
        again = line.run(rig.ports[:4], work)
        assert again.words == ["already-pass"] * 2 + ["pass"] * 2, said(again)
        assert (every_bit(rig), programs(rig)) == (bits, pulses)
        assert [custom_mac_of(rig, n) for n in range(4)] == [mac(n) for n in range(1, 5)]
        behind = line.run(rig.ports[4:], work)
        assert [one["index"] for one in behind.results] == [5], said(behind)
    line.verifies()


@pytest.mark.parametrize("settings", ["coding=3/4", "coding=none", "CODING_SCHEME=3"])
def test_bits_of_a_coded_esp32_tell_its_record(tmp_path: Path, line: Line, settings: str) -> None:
    work = script(tmp_path, "work", BLOCKS)
    with start_rig("esp32", 3, tmp_path=tmp_path, settings=[settings]) as rig:
        done = line.run(rig.ports, work, "--same", "BLOCK2")
        assert done.words == ["pass"] * 3, said(done)
        line.lose()
        outcome = line.rebuild(list(reversed(rig.ports)), work, "--same", "BLOCK2")
        assert outcome.exit == 0, said(outcome)
        assert {u["mac"]: u["index"] for u in line.units()} == {rig.mac(n): n + 1 for n in range(3)}
        assert line.run(rig.ports, work).words == ["already-pass"] * 3
    line.verifies()


def test_a_chip_in_the_scheme_repeat_is_listed_and_the_others_are_bound(tmp_path: Path, line: Line) -> None:
    work = script(tmp_path, "work", MAC_ONLY)
    with start_rig("esp32", 1, tmp_path=tmp_path) as rig:
        assert line.run(rig.ports, work).words == ["pass"]
    line.lose()
    other = tmp_path / "other"
    other.mkdir()
    with (
        start_rig("esp32", 1, tmp_path=tmp_path) as rig,
        start_rig("esp32", 1, tmp_path=other, settings=["coding=repeat"], seed=2) as repeat,
    ):
        outcome = line.rebuild([*rig.ports, *repeat.ports], work)
        assert outcome.exit == 1, said(outcome)
        listed, bound = sorted(outcome.stdout.splitlines()[:2])  # the one is in a folder of the other
        assert "bound; it holds all of its record" in bound
        assert repeat.ports[0] in listed
        assert "only chips with the coding schemes None and 3/4 can be burned" in listed
        assert repeat.programs(0) == 0
        assert "1 of 2 boards are bound" in outcome.stdout
    line.verifies()


@pytest.mark.parametrize("coding", ["3/4", "none"])
def test_what_a_coded_esp32_holds_is_learned_from_its_record(
    tmp_path: Path, line: Line, coding: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As if an older parburn had burned it: what that did not keep is computed, and is what was kept now."""
    monkeypatch.chdir(tmp_path)
    for size in (24, 32):
        (tmp_path / f"key{size}.bin").write_bytes(bytes(range(1, size + 1)))
    work = script(tmp_path, "work", CODED)

    def tables(connection: sqlite3.Connection) -> dict[str, list[tuple[object, ...]]]:
        kept = (
            "SELECT layout, parts, value, unit, bound FROM range_values JOIN ranges ON ranges.id = range"
            " ORDER BY 1, 2, 3, 4"
        )
        found = {name: connection.execute(f"SELECT * FROM {name} ORDER BY 1, 2").fetchall() for name in
                 ("user_bits", "unique_values", "records")}  # fmt: skip
        return {**found, "range_values": connection.execute(kept).fetchall()}

    with start_rig("esp32", 4, tmp_path=tmp_path, settings=[f"coding={coding}"]) as rig:
        done = line.run(rig.ports, work, "--batch", "X")
        assert done.words == ["pass"] * 4, said(done)
    with closing(sqlite3.connect(line.ledger)) as connection, connection:
        before = tables(connection)
        assert before["range_values"]
        for name in ("user_bits", "range_values", "ranges"):
            connection.execute(f"DELETE FROM {name}")
        connection.execute("UPDATE units SET image_passed = ''")
        connection.execute("INSERT INTO unknown_values SELECT id FROM units")
    learn = ("learn", "--batch", "X", "--scripts", work, "--configfiles", line.ids, "--why", "new parburn")
    outcome = line.do(*learn)
    assert outcome.exit == 0, said(outcome)
    assert "4 units of the batch" in outcome.stdout, said(outcome)
    with closing(sqlite3.connect(line.ledger)) as connection, connection:
        assert tables(connection) == before
        connection.execute("DELETE FROM attempts WHERE unit = 4")  # as of a unit that was imported
        connection.execute("INSERT INTO unknown_values VALUES (4)")
    outcome = line.do(*learn)
    assert outcome.exit == 1, said(outcome)
    assert "how its blocks are coded was never recorded; put the board in again" in outcome.stdout


def test_a_hidden_key_passes_only_after_somebody_vouched_for_it(
    tmp_path: Path, line: Line, key: Path
) -> None:
    work = script(tmp_path, "work", PROVISION.replace("{key}", str(key)))
    with start_rig("esp32c3", 2, tmp_path=tmp_path) as rig:
        assert line.run(rig.ports, work).exit == 0
        pulses = programs(rig)
        line.lose()
        outcome = line.rebuild(rig.ports, work)
        assert outcome.exit == 0
        assert outcome.stdout.count("bound, key cannot be read (BLOCK_KEY0)") == 2
        assert "release --trust-hidden-keys" in outcome.stdout
        assert {unit["state"] for unit in line.units()} == {"quarantined"}
        refused = line.run(rig.ports, work)
        assert (refused.exit, programs(rig)) == (5, pulses)

        # released without a word for its key it is no better
        assert line.do("release", rig.mac(0), "--why", "looked at").exit == 0
        assert line.run(rig.ports[:1], work).exit == 5

        for n in range(2):
            trusted = line.do("release", "--trust-hidden-keys", rig.mac(n), "--why", "booted")
            assert trusted.exit == 0, said(trusted)
        passed = line.run(rig.ports, work)
        assert (passed.exit, passed.words) == (0, ["pass", "pass"]), said(passed)
        assert line.run(rig.ports, work).words == ["already-pass"] * 2
        assert programs(rig) == pulses
    line.verifies()


def test_no_key_is_trusted_that_was_never_rebuilt(tmp_path: Path, line: Line) -> None:
    bad = script(tmp_path, "bad", MAC_ONLY)
    with start_rig("esp32c3", 1, tmp_path=tmp_path) as rig:
        assert line.run(rig.ports, bad).exit == 0
        outcome = line.do("release", "--trust-hidden-keys", rig.mac(0), "--why", "so")
        assert outcome.exit != 0
        assert "not quarantined" in outcome.stderr


@pytest.mark.parametrize(
    ("act", "what"),
    [
        ("open('out.txt', 'a').write('x')", "for writing"),
        ("import pathlib; pathlib.Path('out.txt').write_text('x')", "for writing"),
        ("import socket; socket.create_connection(('localhost', 9))", "is refused"),
        ("import subprocess; subprocess.run(['true'])", "another process"),
        ("os.system('true')", "another process"),
        ("os.makedirs('folder')", "making a folder"),
    ],
)
def test_a_script_that_is_computed_changes_nothing(tmp_path: Path, line: Line, act: str, what: str) -> None:
    plain, acting = script(tmp_path, "plain", MAC_ONLY), script(tmp_path, "acting", f"{act}\n{MAC_ONLY}")
    acting.write_text(acting.read_text().replace("'out.txt'", repr(str(tmp_path / "out.txt"))))
    with start_rig("esp32c3", 1, tmp_path=tmp_path) as rig:
        assert line.run(rig.ports, plain).exit == 0
        line.lose()
        outcome = line.rebuild(rig.ports, acting)
        assert outcome.exit == 1, said(outcome)
        assert "records could not be computed" in outcome.stdout
        assert what in outcome.stdout
        assert "--allow-side-effects" in outcome.stdout
        assert not (tmp_path / "out.txt").exists()
        if "out.txt" in act:
            allowed = line.rebuild(rig.ports, acting, "--allow-side-effects")
            assert allowed.exit == 0, said(allowed)
            assert (tmp_path / "out.txt").exists()


def test_a_ledger_to_rebuild_into_is_made_on_purpose(tmp_path: Path, line: Line) -> None:
    work = script(tmp_path, "work", MAC_ONLY)
    outcome = line.rebuild([str(work)], work)
    assert outcome.exit == 2
    assert "ledger init" in outcome.stderr
    assert not line.ledger.exists()


@pytest.mark.alone
def test_ten_thousand_records_take_less_than_a_minute(tmp_path: Path, line: Line) -> None:
    """A tenth of them, and a tenth of the time."""
    work = script(tmp_path, "work", MAC_AND_FLAG)
    line.ids.write_text(
        json.dumps({str(n): {"mac": f"aa:cd:ef:01:{n >> 8:02x}:{n & 255:02x}"} for n in range(1, 1001)})
    )
    with start_rig("esp32c3", 2, tmp_path=tmp_path) as rig:
        assert line.run(rig.ports, work).exit == 0
        line.lose()
        start = time.monotonic()
        outcome = line.rebuild(rig.ports, work)
        took_s = time.monotonic() - start
    assert outcome.exit == 0
    assert "1000 records were computed" in outcome.stdout
    assert took_s < 6
