"""Holds every row and field table against the installed esptool 5.x. Knows no chip by itself.

`facts` puts both into one form, and what differs is printed, one line each. A difference that is meant
stands in DELIBERATE with its reason; an entry that is not met fails too.
"""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Iterator

import pytest

from parburn.chips.registry import chip_named, chip_names, find_chip
from tests.chips.facts import (
    Facts,
    ask_peer,
    differences,
    facts_of,
    memories_of,
    our_fields,
    our_purpose,
    peer_facts,
    peer_fields,
    shown_by,
)
from tests.peers.venvs import peer_python, peers_are_off

pytestmark = [
    pytest.mark.peer,
    pytest.mark.skipif(peers_are_off(), reason="PARBURN_NO_PEERS=1"),
]

DELIBERATE: dict[str, str] = {
    r"esp32: fields/BLOCK3/(256|192)/alt_names": "a copy of MAC_VERSION; the name belongs to that field",
    r"esp32: fields/BLOCK3/(256|192)/meanings": "a copy of MAC_VERSION",
    r"esp32: fields/FLASH_CRYPT_CNT/7/class": "a bit count like SPI_BOOT_CRYPT_CNT",
    r"esp32: timing/80": "no board has an 80 MHz crystal",
    r"esp32s2: timing/(20|80)": "the chip has a 40 MHz crystal only",
    r"esp32(s31|e22): timing/\d+": "the peer sets nothing, whatever the crystal; here those that there are",
    r"esp32c2: fields/BLOCK_KEY0_(LOW|HI)_128/128/alt_names": "KEY0 is the whole key block",
    r"esp32c2: quiet": "this chip has no USB-Serial-JTAG",
    r"esp32p4: purposes/(ECDSA_KEY_P192|ECDSA_KEY_P384\w*|CUSTOM_\w+)": "before v3.0 a purpose has four bits",
    r"esp32p4: v300/fields/KEY_PURPOSE_\d_H/1/class": "the fifth bit alone is no purpose",
    r"esp32: burned_last/ABS_DONE_0: only": "secure boot V1 locks like V2",
    r"esp32\w+: burned_last/DIS_USB_\w+: only": "with it a link over USB may end",
}
# Tables for some revisions: the peer's name, a revision that has it, and whether it replaces the other one.
OVERLAYS = {"esp32p4": ("esp32p4_v3.0", 300, True), "esp32h2": ("esp32h2_v0.0_v1.1", 101, False)}


@pytest.fixture(scope="module")
def dumps() -> Facts:
    """The peer's facts of every chip, and what it makes of our memories."""
    return ask_peer({name: memories_of(chip_named(name)) for name in chip_names()})


@pytest.fixture(scope="module")
def all_differences(dumps: Facts) -> dict[str, list[str]]:
    """By chip, each difference as `path: what`, with the deliberate ones still in."""
    found: dict[str, list[str]] = {}
    for name in chip_names():
        chip = chip_named(name)
        theirs = peer_facts(dumps[name])
        lines = list(differences(facts_of(chip, theirs), theirs, ""))
        lines += overlay_differences(name, theirs, dumps[name])
        theirs_last = dumps[name]["burned_last"]
        lines += [f"burned_last/{field}: not here" for field in theirs_last if field not in chip.burned_last]
        lines += [f"burned_last/{field}: only here" for field in chip.burned_last if field not in theirs_last]
        for at, (memory, shown) in enumerate(zip(memories_of(chip), dumps[name]["shown"], strict=True)):
            ours = shown_by(chip, memory)
            lines += differences(ours, shown, f"shown/{at}/")
        found[name] = lines
    return found


def overlay_differences(name: str, base: Facts, dump: Facts) -> Iterator[str]:
    """The table and the purposes of the revisions that have others."""
    if name in OVERLAYS:
        file, revision, replaces = OVERLAYS[name]
        chip = chip_named(name, revision=revision)
        more = peer_fields(dump["overlays"][file])
        fields = more if replaces else base["fields"] | more
        ours = {
            "fields": our_fields(chip),
            "purposes": {one.name: our_purpose(one) for one in chip.key_purposes},
        }
        yield from differences(ours, {"fields": fields, "purposes": base["purposes"]}, f"v{revision}/")


def is_deliberate(name: str, line: str) -> bool:
    return any(re.match(pattern + r"\b", f"{name}: {line}") for pattern in DELIBERATE)


@pytest.mark.parametrize("name", chip_names())
def test_every_fact_is_the_peers(all_differences: dict[str, list[str]], name: str) -> None:
    unmeant = [line for line in all_differences[name] if not is_deliberate(name, line)]
    assert not unmeant, f"{name} differs in {len(unmeant)} places:\n" + "\n".join(unmeant[:80])


def test_every_deliberate_difference_is_met(all_differences: dict[str, list[str]]) -> None:
    lines = [f"{name}: {line}" for name, found in all_differences.items() for line in found]
    unmet = [pattern for pattern in DELIBERATE if not any(re.match(pattern + r"\b", line) for line in lines)]
    assert not unmet


@pytest.mark.parametrize("name", chip_names())
def test_detection_is_the_peers(dumps: Facts, name: str) -> None:
    rom = dumps[name]["rom"]
    if rom["USES_MAGIC_VALUE"]:
        found = find_chip(magic=rom["MAGIC_VALUE"])
    else:
        found = find_chip(chip_id=rom["IMAGE_CHIP_ID"])
    assert found is not None
    assert found.name == name


@pytest.mark.parametrize("name", chip_names())
def test_crystal_is_the_peers(dumps: Facts, name: str) -> None:
    chip, theirs = chip_named(name), dumps[name]["crystal"]
    ours = chip.crystal
    for divider, mhz in theirs["by_divider"].items():
        if ours.fixed_mhz is not None:
            assert mhz == ours.fixed_mhz
        elif mhz in ours.choices:
            estimate = 115200 * int(divider) / 1e6 / ours.prescale
            assert min(ours.choices, key=lambda choice: abs(choice - estimate)) == mhz
    if ours.clkdiv_address is not None:
        assert (ours.clkdiv_address, ours.clkdiv_mask) == (theirs["address"], theirs["mask"])
        assert {mhz for mhz in theirs["by_divider"].values() if mhz in chip.timing} == set(ours.choices)


# The variable that tells USB-Serial-JTAG is known to 4.12 only. What it says of these chips it has from a
# chip with another memory map (and C2 has no such port); reading an address that is not there stops the ROM.
COPIED = {"esp32c2", "esp32h21", "esp32h4"}
USB_SCRIPT = """
import json, sys
from esptool.targets import CHIP_DEFS
found = {}
for name, rom in CHIP_DEFS.items():
    for revision in (0, 2, 3, 100, 101, 299, 300):
        members = {"__init__": lambda self: None, "get_chip_revision": lambda self: revision}
        chip = type("Fake", (rom,), members)()
        value = getattr(chip, "UARTDEV_BUF_NO_USB_JTAG_SERIAL", None)
        if value is not None:
            found[f"{name}/{revision}"] = [chip.UARTDEV_BUF_NO, value]
json.dump(found, sys.stdout)
"""


def test_the_variable_that_tells_usb_jtag_is_the_peers() -> None:
    done = subprocess.run(
        [str(peer_python(4)), "-c", USB_SCRIPT], capture_output=True, text=True, timeout=120, check=True
    )
    theirs: dict[str, list[int]] = json.loads(done.stdout)
    seen = 0
    for name in chip_names():
        for revision in (0, 2, 3, 100, 101, 299, 300):
            usb = chip_named(name, revision=revision).usb_jtag
            if usb is not None and usb.buf_no_address is not None:
                assert theirs[f"{name}/{revision}"] == [usb.buf_no_address, usb.buf_no_value], name
                seen += 1
            elif f"{name}/{revision}" in theirs:
                assert name in COPIED
    assert seen == 7 * 7
