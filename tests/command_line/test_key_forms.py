"""A key in every usual form, printed, raised and typed: none reaches an output, a report or the ledger."""

from __future__ import annotations

import base64
from pathlib import Path

from tests.command_line.test_secrets import Places, expect_nowhere, marked
from tests.provisioning import said, script
from tests.rig import start_rig

PRINTS = """
import base64, binascii
key = open({key!r}, 'rb').read()
{before}
def tell(text):
    print('here:', text)
tell(base64.b64encode(key)); tell(base64.urlsafe_b64encode(b'x' + key).decode())
tell(base64.b64encode(b'xy' + key)); tell(key); tell(bytearray(key[::-1])); tell(list(key)); tell(tuple(key))
tell(key.hex(' ')); tell(key.hex(':').upper())
tell(int.from_bytes(key, 'big')); tell(int.from_bytes(key, 'little')); tell([hex(byte) for byte in key])
print(*key)
print(*key, sep=', ')
for at in range(0, 32, 8):
    print(key[at:at + 8].hex(' '))
import sys
sys.stderr.write(repr(key) + chr(10))
{after}
"""
GIVEN = "espefuse(esp, efuses, args, 'burn_key BLOCK_KEY0 %s HMAC_UP' % {key!r})"
REFUSED = """try:
    espefuse(esp, efuses, args, "burn_key BLOCK_KEY0 %s NO_SUCH" % {key!r})
except esptool.FatalError as error:
    print(error)
"""


def test_no_form_of_a_key_leaves(tmp_path: Path) -> None:
    """Given before it is printed and after; taken and refused; raised, with a traceback, too."""
    key = tmp_path / "key.bin"
    key.write_bytes(marked(40))
    raising = "raise ValueError(key, base64.b64encode(key), list(key))"
    places = Places(tmp_path)
    with start_rig("esp32c3", 1, tmp_path) as rig:
        for number, (before, after) in enumerate(
            [(REFUSED, raising), (GIVEN, ""), ("", GIVEN), (GIVEN, "efuses.burn_all()\n" + raising)]
        ):
            text = (
                PRINTS.replace("{before}", before)
                .replace("{after}", after)
                .replace("{key!r}", repr(str(key)))
            )
            path = script(tmp_path, f"prints{number}", text)
            for how in ("--json", "--debug"):
                more = ("--dry-run",) if number < 3 else ()
                done = places.run(
                    f"{number}{how}", "--ports", *rig.ports, "--scripts", path, "--do-not-confirm", how,
                    "--show-output", *more,
                )  # fmt: skip
                assert number == 2 or "here: ??" in done.stdout + done.stderr, said(done)
                assert "error inside" not in done.stdout + done.stderr, said(done)
    places.look_at_ledger()
    # On a busy machine the console may have got what was printed before the key was given (number 2).
    late = ("stdout 2", "stderr 2")
    found = {place: text for place, text in places.found.items() if not place.startswith(late)}
    expect_nowhere({"the key": marked(40)}, found)


def test_a_key_is_shown_on_demand(tmp_path: Path) -> None:
    key = tmp_path / "key.bin"
    key.write_bytes(marked(41))
    path = script(
        tmp_path,
        "shows",
        f"{GIVEN}\nprint(open({{key!r}}, 'rb').read())\n".replace("{key!r}", repr(str(key))),
    )
    places = Places(tmp_path)
    with start_rig("esp32c3", 1, tmp_path) as rig:
        words = ("--ports", *rig.ports, "--scripts", path, "--dry-run", "--show-output")
        assert repr(marked(41)) not in places.run("not", *words).stdout
        assert repr(marked(41)) in places.run("shown", *words, "--show-sensitive-info").stdout


def test_a_typed_key_reaches_no_ledger(tmp_path: Path) -> None:
    """The line of a failing command is what the operator typed: the ledger keeps its number."""
    key, places = marked(42), Places(tmp_path)
    typed = [
        base64.b64encode(key).decode(), key.hex(" "), key.hex(":"), key.hex().upper(),
        str(int.from_bytes(key, "big")),
    ]  # fmt: skip
    with start_rig("esp32c3", 1, tmp_path) as rig:
        for number, word in enumerate(typed):
            for verb in (
                "burn_key BLOCK_KEY0 '{}' HMAC_UP",
                "burn_efuse BLOCK_KEY0 '{}'",
                "burn_custom_mac '{}'",
            ):
                command = f"burn_efuse SWAP_UART_SDIO_EN; {verb.format(word)}; burn_efuse NO_SUCH 1"
                done = places.run(
                    f"{number}{verb[:9]}", "--ports", *rig.ports, "--do-not-confirm", "--debug",
                    "--commands", command.replace("SWAP_UART_SDIO_EN", "DIS_PAD_JTAG"),
                )  # fmt: skip
                assert done.exit != 0, said(done)
                assert "error inside" not in done.stdout + done.stderr, said(done)
    places.look_at_ledger()
    shown = places.found["stdout show"] + b"".join(
        text for place, text in places.found.items() if place.startswith("stdout export")
    )
    assert b"ScriptFailed <commands>:" in shown
    expect_nowhere({"the key": key}, places.found)


TABLE = "PART, EFUSE_BLK4, 0, 128, A part of a key\nSERIAL, EFUSE_BLK9, 0, 96, A number that is no key\n"


def test_a_custom_field_over_a_key_block_is_a_key(tmp_path: Path) -> None:
    """And one over a block that holds none is not."""
    table = tmp_path / "table.csv"
    table.write_text(TABLE)
    key, number = marked(43, 16), marked(44, 12)
    places = Places(tmp_path)
    commands = f"burn_efuse PART {key.hex()} SERIAL {number.hex()}"
    with start_rig("esp32c3", 1, tmp_path) as rig:
        for name, how in (("json", "--json"), ("debug", "--debug")):
            done = places.run(
                name, "--ports", *rig.ports, "--do-not-confirm", how, "--show-output", "--commands", commands,
                "--extend-efuse-table", table,
            )  # fmt: skip
            assert done.exit == 0, said(done)
    places.look_at_ledger()
    expect_nowhere({"the key": key}, places.found)
    assert number.hex().encode() in b"".join(places.found.values()).replace(b" ", b"")
