"""What a line burns into its boards: a script, a table, and which cells a chip then holds, bit by bit.

All of it is made from the product's description: positions and protections from the chip rows, cells from the
simulator's own codes. No planning code of the driver is asked.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from parburn.chips.model import Chip, ControllerKind
from parburn.sim.efuse_memory import EfuseMemory
from parburn.sim.factory import mac_crc
from tests.soak.identity.forms import COLUMNS, Row
from tests.soak.jobs import MAC_VERSION, key_of, set_bits

USER = 3  # the block of user data, on all chips that take part
MAC_AT = {ControllerKind.CLASSIC: 8, ControllerKind.PGM: 200}
SERIAL_AT, UID_AT, NAME_AT, WEEK_AT = 56, 88, 88, 152
NAME = int.from_bytes(b"LAMP2", "big")
WEEK = 0x2447
FIRST_FLAG = SERIAL_AT
FIXED_INDEX = 3  # that a script writes down for all boards
KEPT_S = 0.02
FIRST_OF_OTHERS = 1000  # identities of the second line that the first has not
SHARED_KEY = 4711  # number of the key that all boards of a product have


@dataclass(frozen=True)
class Product:
    """By which command each value gets into the chip; empty: the product has none.

    `whole`: all of the user block by one burn_block_data. `guarded`: the script looks first, and burns
    nothing where a serial stands. `key`: own, shared or saved (random, kept in a file by the script).
    """

    mac: str = ""  # command, bits
    serial: str = ""  # efuse, save, bits, data, flag (one bit, which no other identity has)
    uid: str = ""  # rows (each row its own value), halves (one number of two fields)
    name: str = ""  # efuse
    week: str = ""  # efuse, file (the script reads it from a file)
    key: str = ""
    whole: bool = False
    hidden: bool = False
    guarded: bool = False
    nested: str = ""  # own, or fixed: the index that the outer script gives to the inner one
    odd: str = ""  # assigned (args.index is set), kept (the record lies in a module meanwhile)
    burns: bool = False  # burn_all() behind the user block
    counter: bool = False
    tabled: bool = True  # a custom table has a field for the serial

    @property
    def first_part(self) -> Product:
        """What the first of two stations burns: all but the key and what goes with it."""
        return replace(self, key="", counter=False)

    @property
    def user_block_burned(self) -> bool:
        """Whether anything of it stands in the user block."""
        return bool(self.mac or self.serial or self.uid or self.name or self.week)

    @property
    def columns(self) -> tuple[str, ...]:
        """What a record of this product says."""
        wanted = {"mac": self.mac, "serial": self.serial, "uid": self.uid, "key": self.key == "own"}
        return tuple(name for name in COLUMNS if wanted.get(name, name == "note"))

    def table(self) -> str:
        """The custom eFuse table."""
        rows = []
        if self.serial not in ("", "flag") and self.tabled:
            rows.append(f"SERIAL, EFUSE_BLK3, {SERIAL_AT}, 32, its serial number")
        if self.uid:
            rows += [f"UID, EFUSE_BLK3, {UID_AT}, 32, its id", f", EFUSE_BLK3, {UID_AT + 32}, 32,"]
        if self.name:
            rows.append(f"PRODUCT, EFUSE_BLK3, {NAME_AT}, 40, name of the product")
        if self.week:
            rows.append(f"WEEK, EFUSE_BLK3, {WEEK_AT}, 16, week of the load")
        return "".join(row + "\n" for row in rows)

    def options(self) -> list[str]:
        """What is declared of its values, once for a batch."""
        words = []
        if self.name:
            words += ["--same", "PRODUCT"]
        if self.week:
            words += ["--same", "WEEK"]
        if self.uid == "halves":
            words += ["--unique", "UID_0+UID_1"]
        if self.guarded:  # what is found in two chips is refused where this says so
            words += ["--unique", "SERIAL"]
        shares_a_word = self.serial == "bits" and self.uid
        if self.serial and (self.whole or shares_a_word) and not self.tabled:  # no command wrote just this
            words += ["--unique", f"BLOCK3[{SERIAL_AT}:{SERIAL_AT + 32}]"]
        if self.key == "shared":  # of 24 bytes where a chip of the first generation codes them, else of 32
            words += ["--same", "BLOCK1", *([] if self.hidden else ["--same", "BLOCK_KEY0"])]
        return words


def mac_of(who: int) -> bytes:
    """The custom MAC of an identity."""
    return bytes((0x02, 0xD0, 0x5E, who >> 16 & 0xFF, who >> 8 & 0xFF, who & 0xFF))


def serial_of(who: int) -> int:
    """The serial of an identity: those of neighbours often contain each other, bit by bit."""
    return 1000 + who


def flag_of(who: int) -> int:
    """The bit that stands for an identity, where one bit is all that a chip has of it."""
    return FIRST_FLAG + (who if who < FIRST_OF_OTHERS else 64 + who - FIRST_OF_OTHERS)


def uid_of(who: int, how: str) -> tuple[int, int]:
    """Both words of an identity's id. As one number its halves are equal on other boards."""
    return (7000 + who // 4, 1 + who % 4) if how == "halves" else (70000 + who, 90000 + who)


class People:
    """The identities of a campaign. `doubled`: by a mistake in the files the first has the second's value."""

    def __init__(self, folder: Path, product: Product) -> None:
        self.folder, self.product = folder, product
        self.doubled: dict[tuple[int, str], int] = {}
        self.week = WEEK
        self.spoiled: set[int] = set()  # those whose key file a power cut has left full of zeros
        self.key_words: set[int] = set()  # of all keys that records name, in either order
        self._written: set[int] = set()  # those whose files lie in the folder

    def value_of(self, who: int, column: str) -> int:
        """Whose value stands in the record of an identity."""
        return self.doubled.get((who, column), who)

    def row(self, who: int) -> Row:
        """What its record says."""
        known = {
            "mac": mac_of(self.value_of(who, "mac")).hex(":"),
            "serial": str(self._number(who)),
            "uid": "-".join(map(str, uid_of(self.value_of(who, "uid"), self.product.uid))),
            "key": str(self.folder / "keys" / f"{self.value_of(who, 'key')}.bin"),
            "note": f"unit{who}",
        }
        return {name: known[name] for name in self.product.columns}

    def _number(self, who: int) -> int:
        of = self.value_of(who, "serial")
        return flag_of(of) if self.product.serial == "flag" else serial_of(of)

    def write_files(self, who: int) -> None:
        """The files to which a record, or the script, points: keys and whole blocks."""
        self._written.add(who)
        for number in (who, SHARED_KEY):
            for ending, size in (("bin", 32), ("24", 24)):
                key = bytes(size) if number in self.spoiled else key_of(number, size)
                self._write("keys", f"{number}.{ending}", key)
            self._write("keys", "week.txt", str(self.week).encode())
            for key in (key_of(number), key_of(number)[::-1]):
                self.key_words.update(struct.unpack("<8I", key))
        if self.product.whole:
            for ending, controller, size in (
                ("pgm", ControllerKind.PGM, 32),
                ("classic", ControllerKind.CLASSIC, 32),
                ("24", ControllerKind.CLASSIC, 24),
            ):
                data = self.user_block(who, controller).to_bytes(size, "little")
                self._write("blocks", f"unit{who}.{ending}", data)
        if self.product.serial == "data":
            self._write(
                "blocks", f"unit{who}.serial", serial_of(self.value_of(who, "serial")).to_bytes(4, "little")
            )

    def turn_week(self) -> None:
        """The next week: in its file, and in each whole block, whichever line has the record."""
        self.week += 1
        for who in sorted(self._written):
            self.write_files(who)

    def _write(self, folder: str, name: str, data: bytes) -> None:
        path = self.folder / folder / name
        path.parent.mkdir(exist_ok=True)
        if not path.exists() or path.read_bytes() != data:
            path.write_bytes(data)

    def user_block(self, who: int, controller: ControllerKind, week: int | None = None) -> int:
        """What the user block of a chip holds as an identity, all of it."""
        product, bits = self.product, 0
        if product.mac:
            mac = mac_of(self.value_of(who, "mac"))
            bits |= int.from_bytes(mac, "little") << MAC_AT[controller]
            if controller is ControllerKind.CLASSIC:
                bits |= mac_crc(mac) | MAC_VERSION << 184
        if product.serial == "flag":
            bits |= 1 << flag_of(self.value_of(who, "serial"))
        elif product.serial:
            bits |= serial_of(self.value_of(who, "serial")) << SERIAL_AT
        if product.uid:
            low, high = uid_of(self.value_of(who, "uid"), product.uid)
            bits |= (low | high << 32) << UID_AT
        bits |= NAME << NAME_AT if product.name else 0
        return bits | ((self.week if week is None else week) << WEEK_AT if product.week else 0)

    def cells(
        self,
        chip: Chip,
        blank: Mapping[int, int],
        who: int,
        *,
        saved: bytes = b"",
        week: int | None = None,
        first_part: bool = False,
    ) -> dict[int, int]:
        """Cells by block of a chip that is an identity, whole. `saved`: the key that its script made; `week`:
        when it was burned, where that is not now; `first_part`: only the first station has burned it."""
        memory = EfuseMemory(chip, blank)
        memory.preset(USER, memory.reading(USER).bits | self.user_block(who, chip.controller, week))
        size = 24 if not memory.pgm and memory.field_bits(chip.coding_field or "") else 32
        if first_part:
            return memory.cells
        own, shared = key_of(self.value_of(who, "key"), size), key_of(SHARED_KEY, size)
        key = {"own": own, "shared": shared, "saved": saved, "": b""}[self.product.key]
        if key:
            self._set_key(memory, key)
        if self.product.counter and memory.pgm:
            set_bits(memory, "SECURE_VERSION", 1)
        return memory.cells

    def _set_key(self, memory: EfuseMemory, key: bytes) -> None:
        chip = memory.chip
        block = chip.block_by_name["BLOCK_KEY0" if memory.pgm else "BLOCK1"]
        assert block.wr_dis is not None
        turned = self.product.hidden or not memory.pgm
        memory.preset(block.index, int.from_bytes(key[::-1] if turned else key, "little"))
        set_bits(memory, "WR_DIS", 1 << block.wr_dis)
        if turned:
            set_bits(memory, "RD_DIS", 1 << block.rd_dis[0])
        if memory.pgm:
            purpose = memory.field_place("KEY_PURPOSE_0")
            assert purpose is not None
            assert purpose.wr_dis is not None
            set_bits(memory, "WR_DIS", 1 << purpose.wr_dis)
            name = "XTS_AES_128_KEY" if self.product.hidden else "USER"
            set_bits(memory, "KEY_PURPOSE_0", chip.purpose_by_name[name].code)


# The script ---------------------------------------------------------------------------------------------

_HEAD = """\
import csv, configparser, tomllib
folder = {folder!r}
def opened(name):
    return next(one for one in args.configfiles if os.path.basename(one.name) == name)
def ini_of(f):
    ini = configparser.ConfigParser()
    ini.read_file(f)
    return ini
def burn(text):
    espefuse(esp, efuses, args, text)
def bits(number, at):
    burn('burn_bit BLOCK3 ' + ' '.join(str(at + n) for n in range(256) if number >> n & 1))
def number_of(mac):
    return int.from_bytes(bytes.fromhex(mac.replace(':', '').replace('-', '')), 'little')
def crc_of(data):
    crc = 0
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = crc >> 1 ^ (0x8C if crc & 1 else 0)
    return crc
def at_once(path, data):
    with open(path + '.new', 'wb') as out:
        out.write(data)
    os.replace(path + '.new', path)
entry = {{}}
{before}"""
_MAC_BITS = """\
mac = number_of(entry['mac'])
bits(mac << 8 | crc_of(mac.to_bytes(6, 'little')) | 1 << 184 if classic else mac << 200, 0)
"""
_SERIAL = {
    "efuse": "burn('burn_efuse SERIAL ' + entry['serial'])\n",
    "save": "efuses['SERIAL'].save(int(entry['serial']))\n",
    "bits": f"bits(int(entry['serial']), {SERIAL_AT})\n",
    "flag": "burn('burn_bit BLOCK3 ' + entry['serial'])\n",
    "data": f"burn('burn_block_data --offset {SERIAL_AT // 8} BLOCK3 '"
            " + os.path.join(folder, 'blocks', entry['note'] + '.serial'))\n",
}  # fmt: skip
_WEEK = {
    "": "",
    "efuse": f"burn('burn_efuse WEEK {WEEK}')\n",
    "file": "burn('burn_efuse WEEK ' + open(os.path.join(folder, 'keys', 'week.txt')).read())\n",
}
_KEY = {
    "own": "key = entry['key']\n",
    "shared": f"key = os.path.join(folder, 'keys', '{SHARED_KEY}.bin')\n",
    "saved": "key = os.path.join(folder, 'saved', bytes(esp.read_mac()).hex() + '.bin')\n"
             "if not os.path.exists(key):\n"
             "    random = os.urandom(32)\n"
             "    at_once(key, random)\n"
             "    at_once(key[:-3] + '24', random[:24])\n",
}  # fmt: skip
_BURN_KEY = """\
if classic and '3/4' in efuses['CODING_SCHEME'].get_meaning():
    key = key[:-3] + '24'
burn('burn_key flash_encryption ' + key if classic else 'burn_key BLOCK_KEY0 ' + key + ' {purpose}')
"""


def script_of(product: Product, folder: Path, reads: Sequence[tuple[str, str]]) -> str:
    """The script of a product. `reads`: for each file its name, and how a dict of its record is read."""
    before = f"args.index = {FIXED_INDEX}\n" if product.odd == "assigned" else ""
    text = _HEAD.format(folder=str(folder), before=before)
    for name, read in reads:
        text += f"f = opened({name!r})\nentry.update({read})\n"
    if product.odd == "kept":  # meanwhile the other boards put theirs there
        text += f"import time\njson.entry = entry\ntime.sleep({KEPT_S})\nentry = json.entry\n"
    text += "classic = esp.CHIP_NAME == 'ESP32'\n"
    body = _user_block(product)
    body += "efuses.burn_all()\n" if product.burns else ""
    if product.key:
        body += _KEY[product.key]
        body += _BURN_KEY.format(purpose="XTS_AES_128_KEY" if product.hidden else "USER")
    if product.counter:
        body += "if not classic:\n    burn('burn_efuse SECURE_VERSION 1')\n"
    if product.guarded:
        inside = "".join(f"    {line}\n" for line in body.splitlines())
        body = f"if efuses['SERIAL'].get() == 0:\n{inside}"
    return text + body


def _user_block(product: Product) -> str:
    if product.whole:
        return (
            "ending = 'pgm' if not classic else"
            " '24' if '3/4' in efuses['CODING_SCHEME'].get_meaning() else 'classic'\n"
            "burn('burn_block_data BLOCK3 ' + os.path.join(folder, 'blocks', entry['note'] + '.' + ending))\n"
        )
    text = {"": "", "command": "burn('burn_custom_mac ' + entry['mac'])\n", "bits": _MAC_BITS}[product.mac]
    text += _SERIAL[product.serial] if product.serial else ""
    if product.uid:
        text += "low, high = entry['uid'].split('-')\nburn('burn_efuse UID_0 ' + low + ' UID_1 ' + high)\n"
    text += f"burn('burn_efuse PRODUCT 0x{NAME:010x}')\n" if product.name else ""
    return text + _WEEK[product.week]


def nesting(inner: str, index: str) -> str:
    """A script that runs another one, with the files of its own board and this index (an expression)."""
    return (
        f"espefuse(esp, efuses, args, 'execute_scripts {inner} --index %d --configfiles %s'\n"
        f"         % ({index}, ' '.join(one.name for one in args.configfiles)))\n"
    )
