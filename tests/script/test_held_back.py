"""What a script sees of a field that is held back until the scripts have ended."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.script.board import command, make_board, run

# chip, the field, a WR_DIS bit over it as a command, a field under the same bit
ENDS = [
    ("esp32", "UART_DOWNLOAD_DIS", "UART_DOWNLOAD_DIS"),
    ("esp32s3", "DIS_DOWNLOAD_MODE", "DIS_DOWNLOAD_MODE"),
    ("esp32c3", "ENABLE_SECURITY_DOWNLOAD", "ENABLE_SECURITY_DOWNLOAD"),
    ("esp32c3", "DIS_USB_SERIAL_JTAG_DOWNLOAD_MODE", "DIS_USB_SERIAL_JTAG_DOWNLOAD_MODE"),
]


@pytest.mark.parametrize(("chip", "end", "locked"), ENDS)
def test_the_script_sees_it_burned_and_it_is_burned_last(
    chip: str, end: str, locked: str, tmp_path: Path
) -> None:
    board = make_board(chip)
    start = board.chip.field_by_name[end][0].start or 0
    address = board.chip.read_registers[0][start // 32]
    jtag = "JTAG_DISABLE" if chip == "esp32" else "DIS_PAD_JTAG"
    ran = run(
        board,
        command(f"burn_efuse {end} 1 {jtag} 1")
        + command(f"write_protect_efuse {locked}")
        + "efuses.burn_all()\n"
        + f"assert efuses['{end}'].get() is True or efuses['{end}'].get() == 1\n"
        + f"assert not efuses['{end}'].is_writeable()\n"
        + f"assert efuses['{jtag}'].get()\n"
        + f"print('register', esp.read_reg({address}) >> {start % 32} & 1)\n"
        + command(f"burn_efuse {end} 1")
        + command("burn_bit BLOCK3 5")
        + "assert efuses.burn_all()\n"
        + f"assert efuses['{end}'].get() == 1\n"
        + command(f"summary {end}"),
        folder=tmp_path,
    )
    assert not ran.error
    assert "register 1" in ran.output
    assert ran.outcome.held.bits
    assert (board.bits(end), board.bits(jtag)) == (1, 1)
    assert board.burns == 3
    assert ran.outcome.image.field_bits(board.chip.field_by_name[end][0]) == 0
    assert "is_writeable" not in ran.output


def test_a_script_that_raises_leaves_it_unburned(tmp_path: Path) -> None:
    board = make_board("esp32s3")
    text = command("burn_efuse DIS_DOWNLOAD_MODE 1 DIS_PAD_JTAG 1") + "efuses.burn_all()\n1 / 0\n"
    ran = run(board, text, folder=tmp_path)
    assert "ZeroDivisionError" in ran.error
    assert (board.bits("DIS_DOWNLOAD_MODE"), board.bits("DIS_PAD_JTAG")) == (0, 1)
    assert not ran.outcome.held


def test_what_cannot_be_burned_is_refused_where_the_script_asks_for_it(tmp_path: Path) -> None:
    board = make_board("esp32s3")
    text = (
        command("burn_efuse DIS_DOWNLOAD_MODE 1")
        + "efuses.burn_all()\n"
        + command("write_protect_efuse DIS_DOWNLOAD_MODE")
        + "efuses.burn_all()\n"
        + "try:\n    espefuse(esp, efuses, args, 'burn_efuse UART_PRINT_CONTROL 1')\n"
        + "except esptool.FatalError as error:\n    print('refused:', error)\n"
    )
    ran = run(board, text, folder=tmp_path)
    assert not ran.error
    assert "refused: UART_PRINT_CONTROL is write-protected" in ran.output
    assert board.burns == 1  # nothing was burned before the end
    assert (board.bits("DIS_DOWNLOAD_MODE"), board.bits("WR_DIS")) == (1, 1 << 18)
    assert [one.bits.bit_count() for one in board.held] == [1, 2]


@pytest.mark.parametrize("burn", ["efuses['DIS_DOWNLOAD_MODE'].burn(1)", "efuses['BLOCK0'].burn()"])
def test_other_ways_to_burn_hold_it_back_too(burn: str, tmp_path: Path) -> None:
    board = make_board("esp32c3")
    text = (
        command("burn_efuse DIS_DOWNLOAD_MODE 1")
        + f"{burn}\n"
        + "assert efuses['DIS_DOWNLOAD_MODE'].get()\n"
        + command("burn_bit BLOCK3 1")
        + "efuses.burn_all()\nprint('burned', efuses['DIS_DOWNLOAD_MODE'].get())\n"
    )
    ran = run(board, text, folder=tmp_path)
    assert not ran.error
    assert "burned True" in ran.output
    assert board.burns == 2
    assert board.bits("DIS_DOWNLOAD_MODE") == 1


def test_without_burn_all_nothing_is_held_back(tmp_path: Path) -> None:
    board = make_board("esp32c3")
    ran = run(board, command("burn_efuse DIS_DOWNLOAD_MODE 1 DIS_PAD_JTAG 1"), folder=tmp_path)
    assert not ran.error
    assert not board.held
    assert (board.bits("DIS_DOWNLOAD_MODE"), board.bits("DIS_PAD_JTAG"), board.burns) == (1, 1, 1)
