"""Makes random sequences of commands: valid, borderline and invalid. Runs nothing; a seed is a sequence.

What there is to name (fields with their types, blocks, purposes) comes from the peer and the chip's row; what
is made of it is weighted so that most commands are nearly right, since those find the differences.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from parburn.chips.model import Chip, ControllerKind
from tests.peers.case import (
    NO_CODING,
    THREE_QUARTERS,
    Case,
    FileContent,
    bits,
    commands,
    ec_pem,
    key,
    rsa_pem,
)
from tests.peers.client import Commands
from tests.peers.kinds import Kind

FILES: Mapping[str, FileContent] = {
    "d1.bin": b"\x80",
    "d6.bin": key("d6", 6),
    "k16.bin": key("k16", 16),
    "k24a.bin": key("k24a", 24),
    "k24b.bin": key("k24b", 24),
    "k31.bin": key("k31", 31),
    "k32a.bin": key("k32a"),
    "k32b.bin": key("k32b"),
    "k32c.bin": key("k32c"),
    "zero32.bin": bytes(32),
    "k64.bin": key("k64", 64),
    "rsa.pem": lambda: rsa_pem(0),
    "ec.pem": lambda: ec_pem(0),
    "ec192.pem": lambda: ec_pem(0, 192),
    "ec384.pem": lambda: ec_pem(0, 384),
    "text.pem": "no key\n",
}
KEY_FILES = ("k32a.bin", "k32b.bin", "k32c.bin") * 3 + (
    "k24a.bin",
    "k24b.bin",
    "k31.bin",
    "zero32.bin",
    "k16.bin",
)
DATA_FILES = ("k32a.bin", "k32b.bin", "k24a.bin", "k24b.bin", "d1.bin", "d6.bin", "k16.bin", "zero32.bin")


@dataclass(frozen=True, slots=True)
class Source:
    """What a generator draws from. `fields` is a peer's JSON summary of a fresh chip."""

    kind: Kind
    fields: Mapping[str, Mapping[str, Any]]
    link_ends: bool = True  # whether fields may be burned after which a real chip answers no more

    @property
    def chip(self) -> Chip:
        """The kind's row."""
        return self.kind.chip


def random_case(source: Source, seed: str) -> Case:
    """One sequence of up to eight steps of one to three commands."""
    draw = random.Random(f"{source.kind.name} {seed}")
    coding = (
        draw.choice((NO_CODING, THREE_QUARTERS))
        if source.chip.controller is ControllerKind.CLASSIC
        else NO_CODING
    )
    table, custom = _table(draw) if draw.random() < 0.25 else (None, {})
    maker = _Maker(Source(source.kind, {**source.fields, **custom}, source.link_ends), draw)
    steps: list[Commands] = []
    for _ in range(draw.randint(2, 8)):
        lines = [maker.line() for _ in range(draw.choice((1, 1, 1, 2, 3)))]
        if steps and draw.random() < 0.1:
            lines = list(draw.choice(steps).lines)  # the same once more
        steps.append(commands(*lines))
    return Case(
        f"seed {seed}",
        source.chip.name,
        tuple(steps),
        coding=coding,
        revision=source.kind.revision,
        start=maker.start_bits(),
        files=FILES,
        table=table,
    )


def _table(draw: random.Random) -> tuple[str, dict[str, dict[str, Any]]]:
    """A custom table: a few fields one after the other in block 3."""
    at, lines, rows = draw.choice((0, 0, 5, 56)), [], {}
    for number in range(draw.randint(1, 4)):
        width = draw.choice((1, 1, 3, 8, 12, 24, 32, 33, 40, 48, 64))
        if at + width > 192:  # what a block holds under 3/4 coding
            break
        name = f"OWN_{number}"
        lines.append(f"{name}, EFUSE_BLK3, {at}, {width}, [OTHER_{number}] our own")
        kind = "bool" if width == 1 else f"uint:{width}"
        if width > 32 and width % 8 == 0:
            kind = f"bytes:{width // 8}"
        rows[name] = {"block": 3, "word": at // 32, "pos": at % 32, "bit_len": width, "efuse_type": kind}
        if draw.random() < 0.3:
            rows[f"OTHER_{number}"] = rows[name]
        at += width + draw.choice((0, 0, 7))
    return "\n".join(lines) + "\n", rows


class _Maker:
    """Draws command lines for one chip.

    The coding scheme is left as it is: the originals' virtual chips do not decode their blocks anew.
    """

    def __init__(self, source: Source, draw: random.Random) -> None:
        self.chip = source.chip
        self.fields = {
            name: row
            for name, row in source.fields.items()
            if name != source.chip.coding_field
            and (source.link_ends or name not in source.chip.link_end_by_field)
        }
        self.draw = draw
        classic = self.chip.controller is ControllerKind.CLASSIC
        self.kinds: list[tuple[int, Callable[[], str]]] = [
            (24, self.burn_efuse),
            (12, self.burn_bit),
            (12, self.burn_block_data),
            (16, self.classic_key if classic else self.burn_key),
            (5, self.classic_digest if classic else self.burn_digest),
            (6, self.custom_mac),
            (8, self.read_protect),
            (8, self.write_protect),
            (3, self.flash_voltage),
            (3, self.read_only),
            (1, self.nonsense),
        ]

    def start_bits(self) -> dict[int, int]:
        """Mostly a fresh chip; sometimes one that was used before."""
        start: dict[int, int] = {}
        unique_id = self.chip.unique_id_field
        if unique_id is not None and self.draw.random() < 0.7:  # what burns its block is refused then
            start[self.chip.field_by_name[unique_id][0].block] = self.draw.getrandbits(128)
        if self.draw.random() < 0.35:
            for name in self.draw.sample(sorted(self.fields), 6):
                row = self.fields[name]
                if (
                    row["block"] == 0
                    and row["word"] is not None
                    and name not in ("RD_DIS", "MAC", "MAC_CRC", "CODING_SCHEME")
                    and name not in self.chip.link_end_by_field
                ):
                    value = self.draw.getrandbits(row["bit_len"]) & self.draw.getrandbits(row["bit_len"])
                    start[0] = start.get(0, 0) | value << 32 * row["word"] + row["pos"]
        if self.draw.random() < 0.25:
            block = self.draw.choice([one for one in self.chip.blocks if one.for_keys or one.index == 3])
            start[block.index] = bits(*self.draw.sample(range(150), 5))
        return start

    def line(self) -> str:
        """Any command."""
        weights, makers = zip(*self.kinds, strict=True)
        return str(self.draw.choices(makers, weights)[0]())

    # -- names and values ------------------------------------------------------------------------------------

    def field(self) -> str:
        """A field's name, of BLOCK0 more often than not."""
        name = self.draw.choice(sorted(self.fields))
        if self.fields[name]["block"] != 0 and self.draw.random() < 0.6:
            name = self.draw.choice([one for one in sorted(self.fields) if self.fields[one]["block"] == 0])
        return name if self.draw.random() < 0.98 else name + "_X"

    def value(self, name: str) -> str:
        """A value for a field, fit or nearly fit."""
        row = self.fields.get(name)
        if row is None:
            return "1"
        kind, draw = str(row["efuse_type"]), self.draw
        if "MAC" in name and kind == "bytes:6":
            return self.mac()
        if name.startswith("KEY_PURPOSE"):
            return draw.choice(
                (self.purpose(), str(draw.randint(0, 1 + max(self.chip.purpose_by_code))), "0x4")
            )
        if kind == "bool":
            return draw.choice(("1",) * 8 + ("0", "2", "0x1", "True"))
        if kind.startswith("uint"):
            width = int(kind[5:])
            number = draw.getrandbits(width) if draw.random() < 0.6 else 1 << draw.randrange(width)
            if draw.random() < 0.12:
                number = draw.choice((0, 1 << width, (1 << width) - 1))
            return draw.choice((str(number), hex(number), bin(number)))
        size = int(kind[6:]) + draw.choice((0,) * 9 + (-1, 1))
        text = draw.randbytes(max(size, 0)).hex()
        return draw.choice(("0x" + text, text, text, text + "g")) if draw.random() < 0.9 else text.upper()

    def mac(self) -> str:
        """A MAC, mostly unicast."""
        data = bytearray(self.draw.randbytes(6))
        if self.draw.random() < 0.9:
            data[0] &= 0xFE
        return data.hex(":") if self.draw.random() < 0.95 else data.hex(":")[:-1]

    def block(self, *, keys: bool = False) -> str:
        """A block by any of its names."""
        blocks = [one for one in self.chip.blocks if one.for_keys or not keys]
        return self.draw.choice(self.draw.choice(blocks).names)

    def purpose(self) -> str:
        """A key purpose."""
        return self.draw.choice([one.name for one in self.chip.key_purposes] or ["USER"])

    # -- commands --------------------------------------------------------------------------------------------

    def burn_efuse(self) -> str:
        """One to three fields, sometimes bare, sometimes by force."""
        names = [self.field() for _ in range(self.draw.choice((1, 1, 1, 2, 3)))]
        words = [word for name in dict.fromkeys(names) for word in (name, self.value(name))]
        if len(words) == 2 and self.draw.random() < 0.15:
            words.pop()
        force = ["--force"] if self.draw.random() < 0.05 else []
        return " ".join(["burn_efuse", *force, *words])

    def burn_bit(self) -> str:
        """Bits of one block."""
        block = self.draw.choice(self.chip.blocks)
        numbers = [self.draw.randrange(32 * block.words) for _ in range(self.draw.randint(1, 4))]
        if self.draw.random() < 0.05:
            numbers.append(self.draw.choice((32 * block.words, 32 * block.words - 1, 192)))
        force = ["--force-write-always"] if self.draw.random() < 0.06 else []
        return " ".join(["burn_bit", *force, self.draw.choice(block.names), *map(str, numbers)])

    def burn_block_data(self) -> str:
        """A file into a block, at an offset or not."""
        words = ["burn_block_data"]
        if self.draw.random() < 0.5:
            words += ["--offset", str(self.draw.choice((0, 1, 4, 6, 8, 12, 18, 23, 24, 26, 31, 32)))]
        if self.draw.random() < 0.08:
            words.append("--force-write-always")
        for _ in range(self.draw.choice((1, 1, 1, 1, 2))):
            words += [self.block(), self.draw.choice(DATA_FILES)]
        return " ".join(words)

    def burn_key(self) -> str:
        """Keys with purposes."""
        words = ["burn_key"]
        for option in ("--no-write-protect", "--no-read-protect"):
            if self.draw.random() < 0.3:
                words.append(option)
        if self.draw.random() < 0.06:
            words.append("--force-write-always")
        for _ in range(self.draw.choice((1, 1, 1, 2))):
            purpose = self.purpose()
            file = self.key_file(purpose)
            # By an alias the originals take the block twice, and force lets them.
            block = self.block(keys=True)
            if purpose in self.chip.purpose_by_name and self.chip.purpose_by_name[purpose].split_into:
                block = self.chip.block_by_name[block].name
            words += [block, file, purpose]
        if self.draw.random() < 0.03:
            words.pop()
        return " ".join(words)

    def key_file(self, purpose: str) -> str:
        """A file that fits a purpose, mostly."""
        row = self.chip.purpose_by_name.get(purpose)
        if self.draw.random() < 0.06:
            return self.draw.choice(sorted(FILES))
        if row is not None and row.needs_ecdsa:
            fit = "ec384.pem" if row.split_into else "ec192.pem" if "P192" in purpose else "ec.pem"
            return self.draw.choice((fit, fit, fit, fit, "ec.pem", "ec192.pem", "ec384.pem"))
        if row is not None and row.split_into:
            return "k64.bin"
        return self.draw.choice(KEY_FILES)

    def burn_digest(self) -> str:
        """A digest of a PEM."""
        purpose = self.draw.choice([one.name for one in self.chip.key_purposes if one.digest] or ["USER"])
        if self.draw.random() < 0.1:
            purpose = self.purpose()
        file = self.draw.choice(("rsa.pem", "rsa.pem", "ec.pem", "ec192.pem", "ec384.pem", "text.pem"))
        option = self.draw.choice(
            ("", "", "--no-write-protect ", "--no-read-protect ", "--force-write-always ")
        )
        return f"burn_key_digest {option}{self.block(keys=True)} {file} {purpose}"

    def classic_key(self) -> str:
        """The ESP32's form: no purposes."""
        words = ["burn_key"]
        if self.draw.random() < 0.4:
            words.append("--no-protect-key")
        if self.draw.random() < 0.06:
            words.append("--force-write-always")
        for _ in range(self.draw.choice((1, 1, 1, 2))):
            words += [self.block(keys=True), self.draw.choice((*KEY_FILES, "k24a.bin", "k24b.bin"))]
        return " ".join(words)

    def classic_digest(self) -> str:
        """The ESP32's form: BLOCK2."""
        option = self.draw.choice(("", "", "--no-protect-key ", "--no-protect-key ", "--force-write-always "))
        return f"burn_key_digest {option}{self.draw.choice(('rsa.pem', 'rsa.pem', 'text.pem'))}"

    def custom_mac(self) -> str:
        """A custom MAC."""
        force = "--force-write-always " if self.draw.random() < 0.06 else ""
        return f"burn_custom_mac {force}{self.mac()}"

    def read_protect(self) -> str:
        """Fields that can be read-protected, mostly."""
        names = [one.name for one in self.chip.fields if one.rd_dis and one.name in self.fields] or [
            "BLOCK_KEY0"
        ]
        chosen = [self.draw.choice(names) for _ in range(self.draw.choice((1, 1, 2)))]
        return (
            " ".join(["read_protect_efuse", *chosen])
            if self.draw.random() < 0.95
            else f"read_protect_efuse {self.field()}"
        )

    def write_protect(self) -> str:
        """Any fields."""
        return " ".join(["write_protect_efuse", *(self.field() for _ in range(self.draw.choice((1, 1, 2))))])

    def flash_voltage(self) -> str:
        """Any of the three."""
        return f"set_flash_voltage {self.draw.choice(('1.8V', '3.3V', 'OFF'))}"

    def read_only(self) -> str:
        """Commands that burn nothing."""
        return self.draw.choice(
            ("summary", "dump", "adc_info", "get_custom_mac", "check_error", "check_error --recovery")
        )

    def nonsense(self) -> str:
        """What no version knows."""
        return self.draw.choice(
            ("burn_everything", "burn_efuse", "burn_key BLOCK_KEY0", "burn_bit BLOCK3", "burn_custom_mac")
        )
