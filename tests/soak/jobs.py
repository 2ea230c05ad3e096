"""What the campaigns burn: two scripts, the records they read, and what a chip must then hold, bit by bit.

The expectation is made from the chip rows alone (positions, protections, purpose codes), and the cells from
the simulator's own codes; no planning code of the driver is asked.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path

from parburn.chips.model import Chip
from parburn.sim.efuse_memory import EfuseMemory
from parburn.sim.factory import mac_crc

RECORDS = 80
MAC_VERSION = 1

_SCRIPT = """\
entry = json.load(args.configfiles[0])[str(args.index)]
espefuse(esp, efuses, args, 'burn_custom_mac ' + entry['mac'])
{first}
if esp.CHIP_NAME == 'ESP32':
    key = entry['short_key'] if '3/4' in efuses['CODING_SCHEME'].get_meaning() else entry['key']
    espefuse(esp, efuses, args, 'burn_key flash_encryption ' + key)
    {second}
    if efuses['FLASH_CRYPT_CNT'].get() in [0, 3]:
        espefuse(esp, efuses, args, 'burn_efuse FLASH_CRYPT_CNT')
    {hide}
else:
    espefuse(esp, efuses, args, 'burn_key BLOCK_KEY0 ' + entry['key'] + ' {purpose}')
    {second}
    if efuses['SPI_BOOT_CRYPT_CNT'].get() in ['Disable', 0]:
        espefuse(esp, efuses, args, 'burn_efuse SPI_BOOT_CRYPT_CNT')
    espefuse(esp, efuses, args, 'burn_efuse SECURE_VERSION')
{third}
"""
_STATION_TWO = """\
if esp.CHIP_NAME == 'ESP32':
    espefuse(esp, efuses, args, 'burn_efuse JTAG_DISABLE 1')
else:
    espefuse(esp, efuses, args, 'burn_efuse SECURE_VERSION')
"""


@dataclass(frozen=True)
class Work:
    """One variant of the job. `burns`: whether `burn_all` stands after the MAC, after the key, at the end."""

    burns: tuple[bool, bool, bool] = (False, False, False)
    hidden_key: bool = True
    hidden_coding: bool = False  # of the classic chip: software sees its coding scheme no more

    @property
    def purpose(self) -> str:
        """Of the key block."""
        return "XTS_AES_128_KEY" if self.hidden_key else "USER"

    def script(self) -> str:
        """Station one: identity, key, counters."""
        calls = ["efuses.burn_all()" if one else "pass" for one in self.burns]
        hide = (
            "espefuse(esp, efuses, args, 'read_protect_efuse CODING_SCHEME')"
            if self.hidden_coding
            else "pass"
        )
        return _SCRIPT.format(
            first=calls[0], second=calls[1], third=calls[2], purpose=self.purpose, hide=hide
        )


def custom_mac(index: int) -> bytes:
    """The custom MAC address of an index."""
    return bytes((0xAA, 0xCD, 0xEF, 0x00, index >> 8, index & 0xFF))


def key_of(index: int, size: int = 32) -> bytes:
    """The key of an index; no byte of it is zero, so that a part of it always shows.

    Each of its words, in either order of its bytes, would program another key block if it got into CMD: what
    a frame that broke off takes from the one before it may be a word of a key.
    """
    raw = bytearray(hashlib.sha256(b"key %d" % index).digest()[:size])
    for at, byte in enumerate(raw):
        first_of_word = at % 4 in (0, 3)
        raw[at] = byte & 0xC0 | (5 + byte % 5) << 2 | 2 if first_of_word else byte or 1
    return bytes(raw)


def write_job(
    folder: Path, work: Work, *, doubled: tuple[int, int] | None = None, records: int = RECORDS
) -> None:
    """Scripts, records and key files. `doubled`: the second index has the first one's MAC address."""
    keys = folder / "keys"
    keys.mkdir(exist_ok=True)
    entries = {}
    for index in range(1, records + 1):
        long, short = keys / f"{index}.bin", keys / f"{index}.24"
        long.write_bytes(key_of(index))
        short.write_bytes(key_of(index, 24))
        owner = doubled[0] if doubled and index == doubled[1] else index
        entries[str(index)] = {
            "mac": custom_mac(owner).hex(":"), "key": str(long), "short_key": str(short),
        }  # fmt: skip
    (folder / "ids.json").write_text(json.dumps(entries))
    (folder / "one.py").write_text(work.script())
    (folder / "two.py").write_text(_STATION_TWO)


class Expectation:
    """Which cells a chip holds when it has been through station one (and two) as an index."""

    def __init__(
        self, chip: Chip, factory: dict[int, int], work: Work, doubled: tuple[int, int] | None = None
    ) -> None:
        self.chip = chip
        self.factory = factory
        self.work = work
        self.doubled = doubled

    def _mac(self, index: int) -> bytes:
        """The MAC address of an index's record."""
        return custom_mac(self.doubled[0] if self.doubled and index == self.doubled[1] else index)

    def cells(self, index: int, *, station_two: bool = False) -> dict[int, int]:
        """Cells by block."""
        memory = EfuseMemory(self.chip, self.factory)
        if memory.pgm:
            self._pgm(memory, index, station_two)
        else:
            self._classic(memory, index, station_two)
        return memory.cells

    def _pgm(self, memory: EfuseMemory, index: int, station_two: bool) -> None:
        chip = self.chip
        set_bits(memory, "CUSTOM_MAC", int.from_bytes(self._mac(index), "little"))
        key = key_of(index)
        block = chip.block_by_name["BLOCK_KEY0"]
        hidden = self.work.hidden_key
        memory.preset(block.index, int.from_bytes(key[::-1] if hidden else key, "little"))
        purpose = memory.field_place("KEY_PURPOSE_0")
        assert purpose is not None
        assert purpose.wr_dis is not None
        assert block.wr_dis is not None
        set_bits(memory, "KEY_PURPOSE_0", chip.purpose_by_name[self.work.purpose].code)
        set_bits(memory, "WR_DIS", 1 << block.wr_dis | 1 << purpose.wr_dis)
        if hidden:
            set_bits(memory, "RD_DIS", 1 << block.rd_dis[0])
        set_bits(memory, "SPI_BOOT_CRYPT_CNT", 1)
        set_bits(memory, "SECURE_VERSION", 3 if station_two else 1)

    def _classic(self, memory: EfuseMemory, index: int, station_two: bool) -> None:
        chip = self.chip
        mac = self._mac(index)
        user = int.from_bytes(mac, "little") << 8 | mac_crc(mac) | MAC_VERSION << 184
        memory.preset(3, user)
        size = 24 if memory.field_bits(chip.coding_field or "") else 32
        memory.preset(1, int.from_bytes(key_of(index, size)[::-1], "little"))
        block = chip.block_by_name["BLOCK1"]
        assert block.wr_dis is not None
        set_bits(memory, "WR_DIS", 1 << block.wr_dis)
        set_bits(memory, "RD_DIS", 1 << block.rd_dis[0])
        if self.work.hidden_coding:
            for bit in chip.scheme_field.rd_dis if chip.scheme_field else ():
                set_bits(memory, "RD_DIS", 1 << bit)
        set_bits(memory, "FLASH_CRYPT_CNT", 1)
        if station_two:
            set_bits(memory, "JTAG_DISABLE", 1)


def set_bits(memory: EfuseMemory, name: str, bits: int) -> None:
    """Add bits to a field."""
    memory.preset_field(name, memory.field_bits(name) | bits)
