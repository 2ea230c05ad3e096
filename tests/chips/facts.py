"""Puts our rows and the peer's dump into one form, in which they can be compared. Knows no chip by itself."""

from __future__ import annotations

import json
import random
import subprocess
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from parburn.chips.describe import chip_description, chip_features, chip_revision, holds
from parburn.chips.model import Chip, ControllerKind, Field, KeyPurpose, RegisterWrite
from parburn.chips.registry import chip_named
from tests.peers.venvs import peer_python

Facts = dict[str, Any]

# What the peer calls a field's class, by our codec.
CLASSES = {
    "mac": "mac",
    "custom_mac": "mac",
    "mac_eui64": "mac",
    "mac_crc": "",
    "custom_mac_crc": "",
    "temp_sensor": "t_sensor",
}
COMPOSED = {
    "wafer": "composed",
    "pkg": "composed",
    "psram_cap": "composed",
    "recovery_bootloader": "",  # composed too, but it may be burned
    "bootloader_anti_rollback": "",
}


DUMP = Path(__file__).with_name("peer_dump.py")


def ask_peer(asked: Mapping[str, list[dict[int, int]]]) -> Facts:
    """What the installed esptool knows of these chips, and makes of a list of memories of each."""
    done = subprocess.run(
        [str(peer_python(5)), str(DUMP)],
        input=json.dumps(asked),
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    found: Facts = json.loads(done.stdout)
    return found


# --- what our row says a memory shows ---------------------------------------------------------------------


def bits_of(chip: Chip, one: Field, memory: Mapping[int, int]) -> int:
    """The field's value in a memory of words by address."""
    if one.start is None:
        value = 0
        for source in one.sources:
            if source.address is not None:
                part = memory.get(source.address, 0) >> source.bit & (1 << source.bits) - 1
            else:
                whole = bits_of(chip, chip.field_by_name[source.field or ""][0], memory)
                part = whole >> source.bit & (1 << source.bits) - 1
            value |= part << source.shift
        return one.value_map.get(value, value)
    block = chip.blocks[one.block]
    whole = sum(memory.get(block.read_address + 4 * at, 0) << 32 * at for at in range(block.words))
    return (whole & one.mask) >> one.start


def reader(chip: Chip, memory: Mapping[int, int]) -> Callable[[str], int]:
    """Gives the values of fields by name."""
    return lambda name: bits_of(chip, chip.field_by_name[name][0], memory)


def shown_by(plain: Chip, memory: Mapping[int, int]) -> Facts:
    """The same as the peer's `shown`, from our row."""
    major, minor = chip_revision(plain, reader(plain, memory))
    chip = chip_named(plain.name, revision=100 * major + minor)
    value_of = reader(chip, memory)
    visible = [
        [one.name, one.block, one.bits]
        for one in chip.fields
        if not one.shown_when or holds(chip.conditions[one.shown_when], value_of)
    ]
    return {
        "description": chip_description(chip, value_of),
        "features": list(chip_features(chip, value_of)),
        "major": major,
        "minor": minor,
        "fields": visible,
    }


def memories_of(chip: Chip) -> list[dict[int, int]]:
    """Empty, random and sparse memories, and each condition's field at its interesting values."""
    words = [block.read_address + 4 * at for block in chip.blocks for at in range(block.words)]
    words += chip.extra_registers
    dice = random.Random(chip.name)
    found: list[dict[int, int]] = [{}]
    for round_ in range(24):
        mask = 0xFFFFFFFF if round_ % 2 else dice.getrandbits(32) & dice.getrandbits(32)
        found.append({address: dice.getrandbits(32) & mask for address in words})
    for name in interesting_fields(chip):
        one = chip.field_by_name[name][0]
        if one.start is not None:
            first = chip.blocks[one.block].read_address
            for value in range(1 << min(one.bits, 4)):
                image = value << one.start
                memory = {
                    first + 4 * at: image >> 32 * at & 0xFFFFFFFF
                    for at in range(chip.blocks[one.block].words)
                }
                found.append(memory)
    scheme = chip.field_by_name.get("CODING_SCHEME", ())
    # The peer refuses the whole chip with a coding scheme that it does not support.
    return [one for one in found if not scheme or bits_of(chip, scheme[0], one) != 2]


def interesting_fields(chip: Chip) -> Iterator[str]:
    for condition in chip.conditions.values():
        yield condition.field
        if condition.or_else:
            yield condition.or_else.field
    yield from (name for name in (*chip.revision_fields, chip.package_field) if name)
    for feature in (*chip.more_features, *chip.name_parts):
        yield from feature.fields
        if feature.detail_field:
            yield feature.detail_field


# --- rows and facts in one form ---------------------------------------------------------------------------


def facts_of(chip: Chip, peer: Facts) -> Facts:
    """Our row as facts. `peer` only tells which names to ask for."""
    usb = chip.usb_jtag
    reset = chip.watchdog_reset
    return {
        "title": chip.title,
        "chip_id": list(chip.chip_ids),
        "registers": {name: chip.registers.get(name) for name in peer["registers"]},
        "blocks": {
            block.name: [
                sorted(block.aliases),
                block.index,
                block.read_address,
                block.write_address,
                block.wr_dis,
                list(block.rd_dis),
                block.words,
                block.key_purpose,
                block.for_keys,
            ]
            for block in chip.blocks
        },
        "errors": {
            str(block.index): None
            if block.errors is None
            else [
                block.errors.address,
                block.errors.count_mask,
                block.errors.count_shift,
                None
                if block.errors.fail_bit is None
                else [block.errors.fail_address or block.errors.address, block.errors.fail_bit],
            ]
            for block in chip.blocks
        },
        "block0_errors": list(chip.block0_errors),
        "error_registers": list(chip.error_registers),
        "fields": our_fields(chip),
        "purposes": {
            one.name: our_purpose(one) for one in chip.key_purposes if chip.controller is ControllerKind.PGM
        },
        "timing": {str(mhz): plain_writes(writes) for mhz, writes in chip.timing.items()},
        "quiet": plain_writes(usb.quiet) if usb else None,
        "watchdog_reset": plain_writes(reset.writes) if reset else None,
    }


def our_fields(chip: Chip) -> Facts:
    return {
        f"{one.name}/{one.bits}": {
            "block": one.block,
            "start": one.start,
            "type": one.type_name,
            "wr_dis": one.wr_dis,
            "rd_dis": list(one.rd_dis),
            "alt_names": list(one.alt_names),
            "category": one.category,
            "class": CLASSES.get(one.codec, one.codec),
            "meanings": {str(key): text for key, text in one.meanings.items()},
            "lazy": bool(one.shown_when) and one.on_request,
        }
        for one in chip.fields
    }


def our_purpose(purpose: KeyPurpose) -> list[Any]:
    code = -1 if purpose.split_into else purpose.code
    return [code, purpose.digest, purpose.reversed, purpose.read_protect]


def plain_writes(writes: tuple[RegisterWrite, ...]) -> list[list[int]]:
    return [[write.address, write.value, write.mask] for write in writes]


def peer_facts(dump: Facts) -> Facts:
    """The peer's dump in the form of `facts_of`."""
    rom, regs = dump["rom"], dump["regs"]
    classic = "EFUSE_REG_CMD" in regs
    return {
        "title": dump["title"],
        "chip_id": [] if rom["USES_MAGIC_VALUE"] else [rom["IMAGE_CHIP_ID"]],
        "registers": peer_registers(regs, classic),
        "blocks": {
            name: [
                sorted(set(aliases) - {name}),
                index,
                read,
                write,
                wr_dis,
                rd_dis if isinstance(rd_dis, list) else [] if rd_dis is None else [rd_dis],
                words,
                purpose,
                name in dump["key_blocks"],
            ]
            for name, aliases, index, read, write, wr_dis, rd_dis, words, purpose in dump["blocks"]
        },
        "errors": peer_errors(regs, len(dump["blocks"])),
        "block0_errors": regs["BLOCK0_ERRORS"],
        "error_registers": regs["ERRORS"],
        "fields": peer_fields(dump["fields"]),
        "purposes": {
            name: [max(code, -1), digest == "DIGEST", reverse == "Reverse", protect == "need_rd_protect"]
            for name, code, digest, reverse, protect in dump["purposes"]
        },
        "timing": {mhz: writes for mhz, writes in dump["timing"].items() if isinstance(writes, list)},
        "quiet": peer_writes(dump["watchdogs"]["disable_watchdogs"]),
        "watchdog_reset": peer_writes(dump["watchdogs"]["watchdog_reset"]),
    }


def peer_registers(regs: Facts, classic: bool) -> Facts:
    names = (
        ("CONF", "CMD", "DEC_STATUS")
        if classic
        else ("CONF", "CMD", "STATUS", "PGM_DATA0", "CHECK_VALUE0", "DATE")
    )
    found: Facts = {}
    for name in names:
        for form in (f"EFUSE_{name}_REG", f"EFUSE_PGM_{name}_REG", f"EFUSE_REG_{name}"):
            if form in regs:
                found[name] = regs[form]
    return found


def peer_errors(regs: Facts, count: int) -> Facts:
    found: Facts = {str(index): None for index in range(count)}
    for index, (address, mask, shift, fail) in enumerate(regs.get("BLOCK_ERRORS", ())):
        if mask is not None and shift is not None and fail is not None:
            found[str(index)] = [address, mask, shift, [address, fail]]
    fails = regs.get("BLOCK_FAIL_BIT", ())
    for index, (address, mask, shift) in enumerate(regs.get("BLOCK_NUM_ERRORS", ())):
        if mask is not None:
            fail = fails[index]
            found[str(index)] = [address, mask, shift, None if fail[1] is None else fail]
    return found


def peer_fields(groups: Facts) -> Facts:
    found: Facts = {}
    for group, rows in groups.items():
        for row in rows:
            name = row["name"]
            kind = row["class"]
            found[f"{name}/{row['bits']}"] = {
                key: row[key]
                for key in ("block", "start", "type", "wr_dis", "rd_dis", "alt_names", "category", "meanings")
            } | {
                "class": COMPOSED.get(kind, kind),
                "lazy": group in ("CALIBRATION_EFUSES", "CUSTOM_MAC", "ADC_CALIBRATION"),
            }
    return found


def peer_writes(writes: Any) -> Any:
    """Register writes; a bit that is or-ed into a register is a masked write with us."""
    if not isinstance(writes, list):
        return None
    return [[at, value, value if value in (1 << 31, 1 << 18) else mask] for at, value, mask in writes]


def differences(ours: Any, theirs: Any, path: str) -> Iterator[str]:
    if isinstance(ours, dict) and isinstance(theirs, dict):
        for key in sorted(ours.keys() | theirs.keys()):
            missing = "missing here" if key not in ours else "only here" if key not in theirs else ""
            if missing:
                yield f"{path}{key}: {missing}: {theirs.get(key, ours.get(key))}"
            else:
                yield from differences(ours[key], theirs[key], f"{path}{key}/")
    elif ours != theirs:
        yield f"{path.rstrip('/')}: {ours} here, {theirs} there"
