"""Runs under the peer's own Python: prints as JSON what esptool and espefuse know of each chip. Tests only.

It is never imported: `tests.chips.test_against_peer` runs it with the interpreter of a venv that holds
esptool 5.x. Register writes are found out by letting the peer's own code write to a recorder; what a chip
shows, by giving it a memory to read. The memories come on stdin: {chip: [{address: word}, ...]}.
"""

from __future__ import annotations

import functools
import importlib
import io
import json
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

CRYSTALS = (20, 26, 32, 40, 48, 80)


class Fake:
    """What a ROM class of the peer needs to work over a memory; what it writes is kept in `written`."""

    secure_download_mode = False
    sync_stub_detected = False

    def __init__(self, memory: dict[int, int]) -> None:
        self.memory = memory
        self.written: list[list[int]] = []
        self._port = SimpleNamespace(baudrate=115200)

    def read_reg(self, addr: int, *_: int) -> int:
        return self.memory.get(addr, 0)

    def write_reg(self, addr: int, value: int, mask: int = 0xFFFFFFFF, *_: int, **__: int) -> None:
        self.written.append([addr, value, mask])

    def get_security_info(self) -> dict[str, Any]:
        return {"flags": 0}

    def uses_usb_jtag_serial(self) -> bool:
        return True


def fake_rom(rom: Any, memory: dict[int, int]) -> Any:
    """The peer's ROM class over a memory."""
    return type("FakeRom", (Fake, rom), {})(memory)


class Timing:
    """Stands in for the peer's `self` where it sets the timing of a burn for one crystal."""

    def __init__(self, efuses: Any, regs: Any, mhz: int) -> None:
        self.REGS = regs
        self.efuses = efuses
        self.mhz = mhz
        self.written: list[list[int]] = []

    def get_crystal_freq(self) -> int:
        return self.mhz

    def update_reg(self, addr: int, mask: int, new_val: int) -> None:
        shift = (mask & -mask).bit_length() - 1
        self.written.append([addr, (new_val << shift) & mask, mask])

    def write_reg(self, addr: int, value: int) -> None:
        """CONF and CMD, which the classic controller's code writes after the timing."""

    def efuse_read(self) -> None:
        """Nothing to read."""

    def get_coding_scheme_warnings(self, silent: bool = False) -> bool:
        return False

    def run(self) -> Any:
        set_timing = getattr(self.efuses, "set_efuse_timing", None)
        try:
            if set_timing:
                set_timing(self)
            else:
                self.efuses.write_efuses(self, 0)
        except Exception as error:
            return type(error).__name__
        return self.written


def numbers(cls: Any) -> dict[str, Any]:
    """Every numeric and list constant of a class, inherited ones too."""
    return {
        name: getattr(cls, name)
        for name in dir(cls)
        if name.isupper() and isinstance(getattr(cls, name), (int, list, tuple))
    }


def field_row(field: Any) -> dict[str, Any]:
    rd_dis = field.read_disable_bit
    return {
        "name": field.name,
        "block": field.block,
        "start": None if field.word is None else field.word * 32 + field.pos,
        "bits": field.bit_len,
        "type": field.type,
        "wr_dis": field.write_disable_bit,
        "rd_dis": rd_dis if isinstance(rd_dis, list) else [] if rd_dis is None else [rd_dis],
        "alt_names": list(field.alt_names),
        "category": field.category,
        "class": field.class_type,
        "meanings": {str(key): value for key, value in (field.dictionary or {}).items()},
    }


def field_groups(fields: Any) -> dict[str, list[dict[str, Any]]]:
    return {
        name: [field_row(one) for one in value]
        for name, value in vars(fields).items()
        if isinstance(value, list) and name != "ALL_EFUSES"
    }


def attempt(function: Any, *args: Any) -> Any:
    """The result, or the name of the exception."""
    try:
        return function(*args)
    except Exception as error:
        return type(error).__name__


def writes(rom: Any, method: str) -> Any:
    """What a method of the ROM class writes."""
    fake = fake_rom(rom, {})
    if not hasattr(fake, method):
        return "AttributeError"
    if method == "watchdog_reset" and not rom.WATCHDOG_RESET_SUPPORTED:
        return "NotSupported"
    failed = attempt(getattr(fake, method))
    return failed or fake.written


def shown(rom: Any, efuses: Any, memory: dict[int, int]) -> dict[str, Any]:
    """What the peer makes of one memory: fields in their order, names, features, revision."""
    fake = fake_rom(rom, memory)
    return {
        "description": attempt(fake.get_chip_description),
        "features": attempt(fake.get_chip_features),
        "major": attempt(fake.get_major_chip_version),
        "minor": attempt(fake.get_minor_chip_version),
        "fields": attempt(lambda: [[one.name, one.block, one.bitarray.len] for one in efuses(fake).efuses]),
    }


def postponed(efuses: Any) -> Any:
    return efuses.postpone_efuses_from_block0_to_burn(efuses.blocks[0])


def crystal(rom: Any) -> dict[str, Any]:
    """Frequency by UART divider; the same for all dividers where the chip has one crystal."""
    reads = {
        str(divider): attempt(fake_rom(rom, {rom.UART_CLKDIV_REG: divider}).get_crystal_freq)
        for divider in (226, 347, 416)
    }
    return {"by_divider": reads, "address": rom.UART_CLKDIV_REG, "mask": rom.UART_CLKDIV_MASK}


def chip_facts(name: str, rom: Any, memories: list[dict[int, int]]) -> dict[str, Any]:
    fields = importlib.import_module(f"espefuse.efuse.{name}.fields")
    mem = importlib.import_module(f"espefuse.efuse.{name}.mem_definition")
    blocks = mem.EfuseDefineBlocks()
    regs = mem.EfuseDefineRegisters
    purposes = getattr(fields, "EfuseKeyPurposeField", None)
    return {
        "title": rom.CHIP_NAME,
        "rom": numbers(rom),
        "regs": numbers(regs),
        "blocks": [list(row) for row in blocks.BLOCKS],
        "key_blocks": blocks.get_blocks_for_keys(),
        "fields": field_groups(mem.EfuseDefineFields(None)),
        "overlays": {
            file: field_groups(mem.EfuseDefineFields(None, revision=file))
            for file in {"esp32h2": ["esp32h2_v0.0_v1.1"], "esp32p4": ["esp32p4_v3.0"]}.get(name, [])
        },
        "purposes": [] if purposes is None else [list(row) for row in purposes.KEY_PURPOSES],
        "timing": {str(mhz): Timing(fields.EspEfuses, regs, mhz).run() for mhz in CRYSTALS},
        "watchdogs": {method: writes(rom, method) for method in ("disable_watchdogs", "watchdog_reset")},
        "crystal": crystal(rom),
        "burned_last": attempt(lambda: sorted(postponed(fields.EspEfuses(fake_rom(rom, {}))))),
        "shown": [shown(rom, fields.EspEfuses, memory) for memory in memories],
    }


def main() -> None:
    """Print the facts of the chips asked for; what the peer's code prints meanwhile is dropped."""
    yaml: Any = importlib.import_module("yaml")
    asked = json.load(sys.stdin)
    out, sys.stdout = sys.stdout, io.StringIO()
    parsed = functools.cache(lambda path: yaml.load(Path(path).read_text(), Loader=yaml.CSafeLoader))
    yaml.safe_load = lambda file: parsed(file.name)  # otherwise each memory costs a parse
    roms = importlib.import_module("esptool.targets").CHIP_DEFS
    modules: list[Any] = list(sys.modules.values())
    for module in modules:
        if module.__name__.startswith("esptool.targets.") and hasattr(module, "sleep"):
            module.sleep = lambda _: None
    facts = {
        name: chip_facts(name, roms[name], [{int(at): word for at, word in one.items()} for one in memories])
        for name, memories in asked.items()
    }
    out.write(json.dumps(facts))


if __name__ == "__main__":
    main()
