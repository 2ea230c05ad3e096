"""Custom eFuse tables and coding schemes, through the command on simulated boards."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from parburn.sim.factory import make_product
from parburn.sim.state_file import BoardFile
from tests.command import Outcome, parburn
from tests.rig import Rig, start_rig

OURS = """\
# name, block, bit_start, bit_count, [alternative names] description
UNIQUE_ID,          EFUSE_BLK3, 0,  64, [UID SERIAL] Number of this unit
LINE_DATA,          EFUSE_BLK3, 96, 16, [LINE] Filled in by the line
LINE_DATA.STATION,  EFUSE_BLK3, 96,  4, [LINE.PLACE] Where
LINE_DATA.SHIFT,    EFUSE_BLK3,   ,  2, When
TRIM,               EFUSE_BLK3, 112, 4, [TUNE] Low bits
    ,               EFUSE_BLK3, 120, 4, [TUNE] High bits
"""
MAC = bytes.fromhex("240ac4000102")
MORE = "ONLY_HERE, 3, 130, 1, On this chip alone\n"


def run(rig: Rig, folder: Path, text: str, *more: object) -> Outcome:
    return parburn(
        "--ports", *rig.ports, "--json", "--do-not-confirm", *more, "--commands", text,
        state=folder / "ledger",
    )  # fmt: skip


def errors(outcome: Outcome) -> list[str]:
    assert outcome.results, outcome.stderr
    return [one["error"] for one in outcome.results]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "ours.csv").write_text(OURS)
    (tmp_path / "more.csv").write_text(MORE)
    (tmp_path / "ones.bin").write_bytes(b"\xff" * 32)
    (tmp_path / "key.bin").write_bytes(bytes(range(1, 33)))
    return tmp_path


def test_fields_of_a_table_are_burned_by_all_their_names(folder: Path) -> None:
    tables = ("--extend-efuse-table", "ours.csv", "--extend-efuse-table", "esp32c3=more.csv")
    with start_rig("esp32c3:1,esp32c6:1", tmp_path=folder) as rig:
        done = run(
            rig, folder,
            "burn_efuse UID 0x0000000000C0FFEE LINE_PLACE 9 LINE_DATA_SHIFT 2 TRIM_0 3 TUNE_1 5", *tables,
        )  # fmt: skip
        # UNIQUE_ID is one unit's own: the same for two boards is a mistake.
        assert done.words == ["refused", "refused"]
        assert "UNIQUE_ID" in errors(done)[0] + errors(done)[1]
        assert [rig.programs(n) for n in range(2)] == [0, 0]
        done = run(rig, folder, "burn_efuse LINE_PLACE 9 LINE_DATA_SHIFT 2 TRIM_0 3 TUNE_1 5", *tables)
        assert done.words == ["pass", "pass"], errors(done)
        wanted = 9 << 96 | 2 << 100 | 3 << 112 | 5 << 120
        assert [rig.bits(n, 3) for n in range(2)] == [wanted, wanted]
        shown = run(rig, folder, "summary LINE TRIM_1 SERIAL ONLY_HERE --format json", *tables)
        assert shown.words == ["pass", "pass"]
        said = {event["port"]: event["text"] for event in shown.events if event["event"] == "output"}
        assert ["ONLY_HERE" in said[port] for port in rig.ports] == [True, False]
        assert all('"raw_value": "0x0029"' in said[port] for port in rig.ports)  # LINE_DATA as a whole
        other = run(rig, folder, "burn_efuse ONLY_HERE 1", *tables)
        assert other.words == ["refused", "failed"]
        assert "no second write" in errors(other)[0]  # the field is there, its block is written
        assert "no eFuse named 'ONLY_HERE'" in errors(other)[1]


@pytest.mark.parametrize(
    ("text", "where"),
    [
        ("A, 3, 0, 8, x\nB, 3, 4, 8, y\n", "table.csv:2:1: B lies over A (table.csv:1:1)"),
        ("A, 3, 0, 8, x\n  A, 3, 8, 8, y\n", "table.csv:2:3: the name A is already used"),
        ("A, 3, 0, 8, [B] x\nB, 3, 8, 8, y\n", "table.csv:2:1: the name B is already used"),
        ("A, 3, 250, 8, x\n", "table.csv:1:7: bits 250 to 257 are outside of the block"),
        ("A, 3, 0, 0, x\n", "table.csv:1:10: bit_count is 0"),
        ("A, 3, zero, 8, x\n", "table.csv:1:7: bit_start 'zero' is not a number"),
        ("A, KEY3, 0, 8, x\n", "table.csv:1:4: 'KEY3' is not a block"),
        ("A, 33, 0, 8, x\n", "table.csv:1:1: ESP32-C3 has no block 33"),
        ("A-1, 3, 0, 8, x\n", "table.csv:1:1: 'A-1' cannot be a field name"),
        ("# head\n\nMAC, 3, 0, 8, x\n", "table.csv:3:1: ESP32-C3 already has a field or block MAC"),
        ("A, 3, 0, 8, x\nA.B, 3, 4, 8, y\n", "table.csv:2:1: A.B is not inside A"),
        ("A, 1, 190, 8, x\n", "table.csv:1:1: A ends with bit 197, MAC_SPI_8M_0 of ESP32-C3 with bit 191"),
        (", 3, 0, 8, x\n", "table.csv:1:1: the first row has no field name"),
        ("A, 3, 0, 8, x\nB;3;8;8;y\n", "table.csv:2:2: the columns are separated by semicolons"),
        ("A, 3, 0, 8, x\nB, 3, 8, 8, Gr\xfc\xdfe\n", "table.csv:2: this line is no UTF-8 text (byte 0xfc)"),
    ],
)
def test_mistakes_in_a_table_are_told_by_line_and_column(folder: Path, text: str, where: str) -> None:
    (folder / "table.csv").write_text(text, encoding="latin-1")
    (folder / "ttyUSB0").touch()
    done = parburn(
        "--port", "ttyUSB0", "--extend-efuse-table", "esp32c3=table.csv", "--commands", "summary",
        state=folder / "ledger",
    )  # fmt: skip
    assert done.exit == 2
    assert where in done.stderr
    assert "Traceback" not in done.stderr


def test_a_table_that_fits_no_chip_of_the_run_is_bad_input(folder: Path) -> None:
    (folder / "nine.csv").write_text("A, 9, 0, 8, x\n")
    (folder / "ttyUSB0").touch()
    for boards in (("--sim", "esp32:2"), ("--port", "ttyUSB0", "--chip", "esp32")):
        done = parburn(
            *boards, "--extend-efuse-table", "nine.csv", "--commands", "summary", state=folder / "ledger"
        )
        assert done.exit == 2
        assert "nine.csv:1:1: ESP32 has no block 9" in done.stderr
        assert "--extend-efuse-table CHIP=FILE" in done.stderr


def test_a_table_that_fits_one_chip_of_the_run_is_refused_on_the_other(folder: Path) -> None:
    (folder / "nine.csv").write_text("A, 9, 0, 8, x\n")
    with start_rig("esp32:1,esp32c3:1", tmp_path=folder) as rig:
        done = run(rig, folder, "burn_efuse A 5", "--extend-efuse-table", "nine.csv")
        assert done.words == ["refused", "pass"]
        assert errors(done)[0] == "nine.csv:1:1: ESP32 has no block 9"
        assert "CHIP=FILE" in done.results[0]["hint"]


def test_aliases_hold_one_value_and_never_two(folder: Path) -> None:
    (folder / "alias.csv").write_text("A, 3, 0, 40\nA.B, 3, 0, 36\nA.C, 3, 0, 36\nA.D, 3, 1, 34\n")
    table = ("--extend-efuse-table", "alias.csv")
    with start_rig("esp32c3", 2, folder) as rig:
        other = run(rig, folder, "burn_efuse A_B 5; burn_efuse A_C 7", *table)
        assert other.words == ["failed", "failed"]
        assert "A_B would not hold the value that a command before this one asked for" in errors(other)[0]
        doubled = run(rig, folder, "burn_efuse A_B 5; burn_efuse A_C 5 A_D 2", *table)
        assert doubled.words == ["refused", "refused"]  # one value for two boards, whatever its name is
        assert [rig.programs(n) for n in range(2)] == [0, 0]
        same = ("--same", "A_B", "--same", "A_C", "--same", "A_D")
        done = run(rig, folder, "burn_efuse A_B 5; burn_efuse A_C 5 A_D 2", *table, *same)
        assert done.words == ["pass", "pass"], errors(done)
        assert [rig.bits(n, 3) for n in range(2)] == [5, 5]
        again = run(rig, folder, "burn_efuse A_C 5", *table)
        assert again.words == ["already-pass", "already-pass"], errors(again)


@pytest.mark.parametrize("option", ["esp32c9=ours.csv", "nothing.csv", "esp32c3=nothing.csv"])
def test_a_table_option_that_cannot_be_meant_is_refused(folder: Path, option: str) -> None:
    (folder / "ttyUSB0").touch()
    done = parburn(
        "--port", "ttyUSB0", "--extend-efuse-table", option, "--commands", "summary", state=folder / "ledger"
    )  # fmt: skip
    assert done.exit == 2
    assert option.partition("=")[0] in done.stderr or "nothing.csv" in done.stderr


# Coding schemes of ESP32 ------------------------------------------------------------------------------


def test_coding_scheme_repeat_is_refused(folder: Path) -> None:
    with start_rig("esp32", 1, folder, settings=["coding=repeat"]) as rig:
        before = [rig.bits(0, block) for block in range(4)]
        for text in (
            "burn_key flash_encryption key.bin", "burn_bit BLOCK3 7", "burn_efuse JTAG_DISABLE 1",
            "burn_custom_mac 02:00:00:00:00:01", "summary MAC", "burn_efuse MAC_VERSION 1 JTAG_DISABLE 1",
        ):  # fmt: skip
            done = run(rig, folder, text)
            assert done.words == ["refused"], text
            assert "epeat" in errors(done)[0] or "REPEAT" in errors(done)[0], errors(done)
        assert [rig.bits(0, block) for block in range(4)] == before
        assert rig.programs(0) == 0


def test_no_chip_is_brought_into_the_scheme_repeat(folder: Path) -> None:
    with start_rig("esp32", 1, folder) as rig:
        done = run(rig, folder, "burn_efuse CODING_SCHEME 2")
        assert done.words[0] in ("failed", "refused")
        assert rig.programs(0) == 0


def test_coding_scheme_none_recovery_is_none(folder: Path) -> None:
    with start_rig("esp32", 1, folder, settings=["CODING_SCHEME=3"]) as rig:
        done = run(rig, folder, "burn_key flash_encryption key.bin; burn_bit BLOCK3 200")
        assert done.words == ["pass"], errors(done)
        again = run(rig, folder, "burn_bit BLOCK3 201")  # a second write: no coding forbids it
        assert again.words == ["pass"], errors(again)
        assert rig.bits(0, 1) == int.from_bytes(bytes(range(1, 33)), "big")
        assert rig.bits(0, 3) == 3 << 200


def test_three_quarters_takes_six_bytes_at_a_time(folder: Path) -> None:
    with start_rig("esp32", 1, folder, settings=["coding=3/4"]) as rig:
        assert run(rig, folder, "burn_bit BLOCK3 3").words == ["pass"]
        assert run(rig, folder, "burn_bit BLOCK3 50").words == ["pass"]  # in the next six bytes
        second = run(rig, folder, "burn_bit BLOCK3 60 4")
        assert second.words[0] in ("failed", "refused")
        assert rig.bits(0, 3) == 1 << 3 | 1 << 50
        assert rig.programs(0) == 2


def test_a_field_beyond_a_three_quarters_block_is_refused_by_its_row(folder: Path) -> None:
    (folder / "far.csv").write_text("# head\nNEAR, 3, 180, 8, x\nFAR, 3, 188, 8, x\n")
    with start_rig("esp32", 1, folder, settings=["coding=3/4"]) as rig:
        done = run(rig, folder, "burn_efuse FAR 1", "--extend-efuse-table", "far.csv")
        assert done.words[0] in ("failed", "refused")
        assert "far.csv:3:1: FAR ends with bit 195, but BLOCK3 of this chip" in errors(done)[0]
        assert "bit 192" in done.results[0]["hint"]
        assert rig.programs(0) == 0
        near = run(rig, folder, "burn_efuse NEAR 1", "--extend-efuse-table", "far.csv")
        assert near.words == ["pass"], errors(near)


def test_a_worn_three_quarters_block_is_told_and_mended(folder: Path) -> None:
    made = make_product("esp32", mac=MAC, settings={"coding": "3/4"}, rng=random.Random(1))
    made.memory.preset(3, (1 << 192) - 1)
    whole = made.memory.cells[3]
    made.memory.cells[3] &= ~(1 << 40)
    (folder / "boards").mkdir()
    BoardFile(folder / "boards" / "ttyUSB0.json", made).write()
    with start_rig("esp32", 1, folder, state=folder / "boards") as rig:
        assert run(rig, folder, "check_error").words == ["failed"]
        mended = run(rig, folder, "check_error --recovery")
        assert mended.words == ["pass"], errors(mended)
        assert int(rig.state(0)["blocks"]["BLOCK3"]["cells"], 16) == whole
        assert run(rig, folder, "check_error").exit == 0


# Second writes ----------------------------------------------------------------------------------------


def test_a_second_write_is_refused_and_the_same_again_is_nothing_to_do(folder: Path) -> None:
    with start_rig("esp32c6", 1, folder) as rig:
        assert run(rig, folder, "burn_bit BLOCK3 1 2 3").words == ["pass"]
        for text in ("burn_bit BLOCK3 1 2 3 ", "burn_bit BLOCK3 2"):
            done = run(rig, folder, f"{text}; burn_bit BLOCK3 3")
            assert done.words == ["already-pass"], errors(done)
        assert rig.programs(0) == 1
        refused = run(rig, folder, "burn_efuse DIS_PAD_JTAG 1; burn_bit BLOCK3 4")
        assert refused.words == ["refused"]
        assert "no second write" in errors(refused)[0]
        assert (rig.programs(0), rig.bits(0, 3)) == (1, 0b1110)
        assert not [event for event in refused.events if event["event"] == "burned"]


def test_a_forced_write_is_told_loudly(folder: Path) -> None:
    with start_rig("esp32c6", 1, folder) as rig:
        assert run(rig, folder, "burn_bit BLOCK3 1 2 3").words == ["pass"]
        forced = run(rig, folder, "burn_bit BLOCK3 4 --force-write-always", "--quiet")
        notes = [one for one in forced.events if one["event"] == "note" and one["level"] == "warning"]
        assert [one["port"] for one in notes if "FORCED" in one["text"]] == rig.ports
        assert any("BLOCK_USR_DATA" in one["text"] and "no second write" in one["text"] for one in notes)
        assert rig.programs(0) >= 2  # it was done, as asked
        shown = parburn(
            "--ports", *rig.ports, "--dry-run", "--commands", "burn_bit BLOCK3 5 --force-write-always",
            state=folder / "another",
        )  # fmt: skip
        assert "FORCED" in shown.stdout + shown.stderr


def test_nothing_is_told_where_nothing_had_to_be_forced(folder: Path) -> None:
    with start_rig("esp32c6", 1, folder) as rig:
        done = run(rig, folder, "burn_bit BLOCK3 4 --force-write-always")
        assert done.words == ["pass"]
        assert not [one for one in done.events if one["event"] == "note" and "FORCED" in one["text"]]


def test_a_part_of_the_burned_mac_is_another_mac(folder: Path) -> None:
    """The second address and its CRC need no bit that is not burned, or the CRC none: it would be wrong."""
    with start_rig("esp32:1,esp32c3:1", tmp_path=folder) as rig:
        (folder / "mac.py").write_text(
            'base = {"ESP32": "02:00:00:00:01:05", "ESP32-C3": "02:00:00:00:02:07"}[esp.CHIP_NAME]\n'
            'more = {"ESP32": "02:00:00:00:03:05", "ESP32-C3": "02:00:00:00:02:05"}[esp.CHIP_NAME]\n'
            "from pathlib import Path\n"
            'espefuse(esp, efuses, args, "burn_custom_mac " + (more if Path("again").exists() else base))\n'
        )
        command = ("--ports", *rig.ports, "--json", "--do-not-confirm", "--scripts", "mac.py")
        first = parburn(*command, state=folder / "one")
        assert first.words == ["pass", "pass"], errors(first)
        before = [rig.bits(n, 3) for n in range(2)]
        (folder / "again").touch()
        second = parburn(*command, state=folder / "two")
        assert second.words == ["refused", "refused"]
        assert all("the values of another record" in error for error in errors(second))
        assert [rig.bits(n, 3) for n in range(2)] == before
