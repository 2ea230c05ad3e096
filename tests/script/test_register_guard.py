"""What `esp.write_reg` lets through: no address under which the eFuse controller answers, in no form."""

from __future__ import annotations

import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from parburn.chips.model import Chip, RegisterWrite
from parburn.chips.registry import chip_named, chip_names
from parburn.errors import BadValue, EfuseError
from parburn.script.register_guard import checked_address, checked_write
from tests.script.board import make_board, run

LAST = 0x200  # the registers of every controller end before it
ALL = sorted(chip_names())


def refused(chip: Chip, address: int, **more: int) -> bool:
    try:
        checked_write(chip, RegisterWrite(address, 1, **more))
    except BadValue:
        return False
    except EfuseError as error:
        return f"0x{address:08x}" in str(error) and bool(error.hint)
    return False


@pytest.mark.parametrize("name", ALL)
def test_every_byte_that_reaches_the_controller(name: str) -> None:
    chip = chip_named(name)
    base = chip.efuse_base
    assert all(refused(chip, address) for address in range(base - 3, base + LAST))
    assert refused(chip, base, mask=0)


def windows(chip: Chip) -> Iterator[int]:
    """What stands in the row, and every other window of a bus in which no memory is."""
    yield from chip.mirrors
    yield from (0x2000_0000, 0x5000_0000, 0x5010_0000, 0x6000_0000, 0x6004_0000, 0x7000_0000)
    yield from (0x8000_0000, 0xA000_0000, 0xC000_0000, 0xE000_0000, 0xFFFC_0000)
    if chip.efuse_base >> 24 == 0x3F:
        yield from (0x3FF4_0000, 0x3F40_0000)


@pytest.mark.parametrize("name", ALL)
def test_aliases(name: str) -> None:
    chip = chip_named(name)
    offset = chip.efuse_base & 0x3FFFF
    for window in windows(chip):
        for register in chip.registers.values():
            alias = window + offset + register - chip.efuse_base
            assert refused(chip, alias), hex(alias)
            assert refused(chip, alias + 2)
            assert refused(chip, alias - 3)


def test_the_page_of_a_controller_is_refused_whole() -> None:
    """Nobody says that its registers do not repeat there."""
    esp32, c3 = chip_named("esp32"), chip_named("esp32c3")
    assert refused(esp32, 0x3FF5_AFFC)
    assert refused(esp32, 0x6001_A804)
    assert refused(c3, 0x6000_8FFC)
    assert not refused(c3, 0x6000_9000)
    assert not refused(esp32, 0x3FF5_B000)


@pytest.mark.parametrize("name", ALL)
def test_what_scripts_write_for_good_reasons_goes_through(name: str) -> None:
    chip = chip_named(name)
    wanted = [chip.dummy_register, 0x3FC9_0000 + (chip.efuse_base & 0x3FFFF & ~3), 0x4080_0000]
    if chip.watchdog_reset:
        wanted += [write.address for write in chip.watchdog_reset.writes]
    if chip.usb_jtag:
        wanted += [write.address for write in chip.usb_jtag.quiet]
    for address in wanted:
        assert checked_write(chip, RegisterWrite(address, 7, 0xFF, 5)) == RegisterWrite(address, 7, 0xFF, 5)


class Indexed:
    """A number as numpy has it."""

    def __init__(self, value: int) -> None:
        self._value = value

    def __index__(self) -> int:
        return self._value


@pytest.mark.parametrize(
    "address", [-1, -0x9FFF_7800, 1 << 32, 0x1_6000_8800, 0x3FC9_0001, 0x3FC9_0002, True]
)
def test_addresses_that_are_none(address: int) -> None:
    with pytest.raises(BadValue):
        checked_write(chip_named("esp32c3"), RegisterWrite(address, 1))


@pytest.mark.parametrize("address", ["0x60008800", 1610647552.0, None, b"\0\0\0\0"])
def test_addresses_that_are_no_numbers(address: Any) -> None:
    with pytest.raises(TypeError):
        checked_write(chip_named("esp32c3"), RegisterWrite(address, 1))
    with pytest.raises(TypeError):
        checked_address(address)


def test_numbers_of_other_kinds_are_what_they_stand_for() -> None:
    chip = chip_named("esp32c3")
    assert refused(chip, Indexed(0x6000_8800).__index__())
    with pytest.raises(EfuseError, match="60008800"):
        checked_write(chip, RegisterWrite(Indexed(0x6000_8800), 1))  # type: ignore[arg-type]
    through = checked_write(chip, RegisterWrite(Indexed(0x3FC9_0000), Indexed(7)))  # type: ignore[arg-type]
    assert [type(part) for part in through] == [int] * 4


@pytest.mark.parametrize("values", [(1 << 32, 1, 0), (-1, 1, 0), (0, -1, 0), (0, 1 << 32, 0), (0, 1, -1)])
def test_values_that_do_not_fit(values: tuple[int, int, int]) -> None:
    with pytest.raises(BadValue, match="does not fit"):
        checked_write(chip_named("esp32c3"), RegisterWrite(0x3FC9_0000, *values))


WAYS = (
    "esp.write_reg({address}, 1)",
    "efuses.write_reg({address}, 1)",
    "esp.write_reg({address}, value=1, mask=0xFF, delay_us=10)",
    "esp.update_reg({address}, 0xFF, 1)",
)


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("name", ["esp32", "esp32s3", "esp32c3"])
def test_nothing_of_it_is_sent_however_it_is_asked_for(name: str, way: str, tmp_path: Path) -> None:
    chip = chip_named(name)
    rng = random.Random(f"{name} {way}")
    asked = [
        rng.choice([*windows(chip)]) + (chip.efuse_base & 0x3FFFF) + rng.randrange(-3, LAST)
        for _ in range(40)
    ]
    asked += [chip.efuse_base, chip.efuse_base - 1, chip.registers["CMD"], -1, 1 << 33]
    lines = "".join(
        f"try:\n    {way.format(address=address)}\n    print('sent')\n"
        "except FatalError as e:\n    print('no')\n"
        for address in asked
    )
    ran = run(make_board(name), f"from esptool import FatalError\n{lines}", folder=tmp_path)
    assert ran.error == ""
    assert ran.output.split() == ["no"] * len(asked)
    assert ran.board.written == []


def test_an_address_that_cannot_be_read_is_refused(tmp_path: Path) -> None:
    ran = run(make_board("esp32c3"), "esp.read_reg(1 << 32)\n", folder=tmp_path)
    assert "does not fit into 32 bits" in ran.error
