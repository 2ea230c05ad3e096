"""The fifteen commands in both dialects, on the three chips: what they stage, refuse and show."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from parburn.chips.registry import chip_named
from parburn.efuse.image import BlockStatus
from parburn.errors import ScriptFailed
from parburn.script.commands.token import parse_token
from tests.script.board import CHIPS, Board, Ran, command, make_board, run

KEY = bytes(range(32))
MAC = "aa:bb:cc:dd:ee:88"
LATER = ("esp32s3", "esp32c3")


@pytest.fixture
def key(tmp_path: Path) -> Path:
    path = tmp_path / "key.bin"
    path.write_bytes(KEY)
    return path


def refused(ran: Ran) -> str:
    """The refusal, and that nothing was staged by it."""
    assert isinstance(ran.outcome.error, ScriptFailed)
    assert not ran.outcome.had_staged
    return f"{ran.error} {ran.outcome.error.hint}"


CAUGHT = "try:\n    {}except esptool.FatalError as error: print('refused:', error)\n"


def caught(text: str) -> str:
    return CAUGHT.format(command(text))


# custom MAC -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("chip", "shown"),
    [("esp32", f"{MAC} (CRC 0x69 OK)"), ("esp32s3", f"{MAC} (OK)"), ("esp32c3", f"{MAC} (OK)")],
)
@pytest.mark.parametrize(
    "source",
    [
        command(f"burn_custom_mac {MAC}"),
        command(f"burn-custom-mac {MAC} --force-write-always"),
        f"espefuse.burn_custom_mac('{MAC}')\n",
        f"espefuse.burn_custom_mac(bytes.fromhex('{MAC}'.replace(':', '')))\n",
        f"args.mac = '{MAC}'; burn_custom_mac(esp, efuses, args)\n",
    ],
)
def test_custom_mac(tmp_path: Path, chip: str, shown: str, source: str) -> None:
    ran = run(
        make_board(chip), source + "efuses.burn_all()\nprint(efuses['CUSTOM_MAC'].get())\n", folder=tmp_path
    )
    assert ran.error == ""
    assert ran.output.endswith(shown + "\n")
    assert ran.unique_values == {"CUSTOM_MAC": MAC}


@pytest.mark.parametrize(
    ("mac", "words"),
    [
        ("01:02:03:04:05:06", "multicast"),
        ("aa:bb", "six bytes"),
        ("aabbccddee88", "six bytes"),
        ("aa:bb:cc:dd:ee:8g", "hexadecimal"),
        ("a:b:c:d:e:f", "six bytes"),
    ],
)
def test_a_mac_that_is_none_is_refused(tmp_path: Path, mac: str, words: str) -> None:
    assert words in refused(run(make_board("esp32c3"), command(f"burn_custom_mac {mac}"), folder=tmp_path))


def test_get_custom_mac(tmp_path: Path) -> None:
    ran = run(make_board("esp32"), command("get_custom_mac"), folder=tmp_path)
    assert ran.output == "Custom MAC Address is not set in the device.\n"
    source = command(f"burn_custom_mac {MAC}") + "efuses.burn_all()\n" + command("get_custom_mac")
    ran = run(make_board("esp32"), source, folder=tmp_path)
    assert f"Custom MAC Address version 1: {MAC} (CRC 0x69 OK)\n" in ran.output
    ran = run(make_board("esp32s3"), "espefuse.get_custom_mac()", folder=tmp_path)
    assert ran.output == "Custom MAC Address: 00:00:00:00:00:00 (OK)\n"


# fields ---------------------------------------------------------------------------------------------


def test_the_documented_bare_count_burns_the_next_bit(tmp_path: Path) -> None:
    source = (command("burn_efuse FLASH_CRYPT_CNT") + "efuses.burn_all()\n") * 2
    ran = run(make_board("esp32"), source + "print(efuses['FLASH_CRYPT_CNT'].get())", folder=tmp_path)
    assert ran.output.endswith("\n3\n")


@pytest.mark.parametrize(
    "source",
    [
        command("burn_efuse DIS_PAD_JTAG 1 SPI_BOOT_CRYPT_CNT 7"),
        command("burn-efuse SPI_BOOT_CRYPT_CNT 0x7 HARD_DIS_JTAG 1"),
        "espefuse.burn_efuse({'SPI_BOOT_CRYPT_CNT': 0x7, 'DIS_PAD_JTAG': 1})\n",
        "espefuse.burn_efuse({'SPI_BOOT_CRYPT_CNT': '7', 'DIS_PAD_JTAG': True})\n",
        "args.name_value_pairs = {'SPI_BOOT_CRYPT_CNT': 7, 'DIS_PAD_JTAG': 1}\n"
        "burn_efuse(esp, efuses, args)\n",
        "efuses['SPI_BOOT_CRYPT_CNT'].save(7); efuses['DIS_PAD_JTAG'].save(1)\n",
    ],
)
def test_several_fields(tmp_path: Path, source: str) -> None:
    ran = run(make_board("esp32s3"), source, folder=tmp_path)
    assert ran.error == ""
    assert ran.board.bits("SPI_BOOT_CRYPT_CNT") == 7
    assert ran.board.bits("DIS_PAD_JTAG") == 1


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("burn_efuse", "needs the name"),
        ("burn_efuse DIS_PAD_JTAG 1 SPI_BOOT_CRYPT_CNT", "no value"),
        ("burn_efuse DIS_PAD_JTAG 0", "single bit"),
        ("burn_efuse SPI_BOOT_CRYPT_CNT 1 SPI_BOOT_CRYPT_CNT 3", "named twice, with different values"),
        ("burn_efuse DIS_PAD_JTAGS 1", "DIS_PAD_JTAG"),
        ("burn_efuse SPI_BOOT_CRYPT_CNT 8", "does not fit"),
        ("burn_efuse DIS_PAD_JTAG 1 SPI_BOOT_CRYPT_CNT 8", "does not fit"),
        ("burn_efuse WDT_DELAY_SEL", "needs a value"),
        ("burn_efuse MAC 11:22:33:44:55:66", "cannot be burned"),
        ("burn_efuse DIS_USB_JTAG 1 DIS_USB_SERIAL_JTAG 1", "leave one of the two out"),
        ("burn_efuse DIS_PAD_JTAG --frob", "unknown option"),
        ("burn_efuse DIS_PAD_JTAG 'x", "split into words"),
        ("burn_efusse DIS_PAD_JTAG", "burn_efuse"),
        ("", "empty command"),
        ("burn_bit BLOCK3", "usage: burn_bit"),
        ("burn_bit BLOCK3 -1", "bit -1"),
        ("burn_bit BLOCK3 0 256", "bit 256"),
        ("burn_bit BLOCK3 x", "bit numbers"),
        ("burn_bit BLOCK33 1", "BLOCK3"),
        ("read_protect_efuse BLOCK_KEY0", "BLOCK_KEY0"),
        ("read_protect_efuse DIS_PAD_JTAG", "cannot be read-protected"),
        ("write_protect_efuse WR_DIS", "cannot be write-protected"),
        ("write_protect_efuse DIS_PAD_JTAG HARD_DIS_JTAG", "named twice"),
        ("set_flash_voltage 5V", "one of 1.8V"),
        ("set_flash_voltage", "usage"),
        ("summary --format xml", "one of summary"),
        ("summary --format value_only", "exactly one"),
        ("dump --format", "needs a value"),
        ("dump BLOCK0", "takes no"),
        ("burn_key BLOCK_KEY0", "usage: burn_key"),
        ("burn_block_data BLOCK3 {key} --offset 1", "do not fit"),
        ("burn_block_data BLOCK3 {key} --offset -1", "offset -1"),
        ("burn_block_data BLOCK3 {key} BLOCK_USR_DATA {key}", "named twice"),
        ("burn_block_data BLOCK3 {key} BLOCK4 {key} --offset 4", "single block"),
        ("burn_block_data BLOCK3 none.bin", "cannot be read"),
        ("burn_key BLOCK3 {key} USER", "no key block"),
        ("burn_key BLOCK_KEY0 {key} XTS_AES_128_KEYS", "XTS_AES_128_KEY"),
        ("burn_key BLOCK_KEY5 {key} XTS_AES_128_KEY", "BLOCK_KEY5"),
        ("burn_key BLOCK_KEY0 {key} USER BLOCK4 {key} USER", "named twice"),
        ("burn_key BLOCK_KEY0 {key} XTS_AES_256_KEY", "64 bytes"),
        ("burn_key_digest BLOCK_KEY0 {key} SECURE_BOOT_DIGEST0", "PEM"),
        ("burn_key_digest BLOCK_KEY0 {key} XTS_AES_128_KEY", "no purpose for a digest"),
        ("execute_scripts", "usage"),
        ("execute_scripts none.py", "cannot be read"),
        ("execute_scripts none.py --index x", "needs a number"),
    ],
)
def test_a_refused_command_says_why_and_stages_nothing(
    tmp_path: Path, key: Path, text: str, words: str
) -> None:
    ran = run(make_board("esp32s3"), command(text.format(key=key)), folder=tmp_path)
    assert words in refused(ran)


def test_a_refusal_that_was_caught_leaves_what_was_staged_before(tmp_path: Path, key: Path) -> None:
    source = (
        command("burn_efuse DIS_PAD_JTAG")
        + caught(f"burn_key BLOCK_KEY5 {key} XTS_AES_128_KEY")
        + caught("burn_efuse SPI_BOOT_CRYPT_CNT 1 DIS_PAD_JTAGS 1")
        + caught(f"burn_key BLOCK_KEY0 {key} USER BLOCK_KEY1 {key} XTS_AES_256_KEY")
        + "print(efuses['KEY_PURPOSE_5'].get(from_read=False), efuses['DIS_PAD_JTAG'].get(from_read=False))\n"
    )
    ran = run(make_board("esp32s3"), source, folder=tmp_path)
    assert ran.output.count("refused:") == 3
    assert ran.output.endswith("USER True\n")
    assert ran.board.bits("DIS_PAD_JTAG") == 1
    assert ran.board.blocks[0].bit_count() == 1
    assert not any(ran.board.blocks[index] for index in range(1, 11))


def test_incompatible_fields_can_be_forced(tmp_path: Path) -> None:
    source = command("burn_efuse DIS_USB_JTAG 1 DIS_USB_SERIAL_JTAG 1 --force")
    ran = run(make_board("esp32s3"), source, folder=tmp_path)
    assert ran.error == ""
    assert ran.board.bits("DIS_USB_JTAG") == ran.board.bits("DIS_USB_SERIAL_JTAG") == 1


def test_get_shows_the_chip_until_it_is_burned(tmp_path: Path) -> None:
    source = (
        "field = efuses['DIS_PAD_JTAG']\n"
        + command("burn_efuse DIS_PAD_JTAG")
        + "print(field.get(), field.get(from_read=False))\nefuses.burn_all()\nprint(field.get())\n"
    )
    ran = run(make_board("esp32c3"), source, folder=tmp_path)
    assert ran.output.endswith("False True\nTrue\n")
    assert ran.board.burns == 1


def test_field_burn_burns_at_once(tmp_path: Path) -> None:
    ran = run(
        make_board("esp32c3"),
        "efuses['DIS_PAD_JTAG'].burn(1)\nprint(efuses['DIS_PAD_JTAG'].get())",
        folder=tmp_path,
    )
    assert ran.output.endswith("True\n")
    assert ran.board.burns == 1


def test_block_burn_burns_that_block_only(tmp_path: Path) -> None:
    source = (
        command("burn_efuse DIS_PAD_JTAG")
        + "block = efuses.blocks[3]\nblock.save(bytes(31) + b'x')\nblock.burn()\n"
        + "print(efuses['DIS_PAD_JTAG'].get(), efuses['BLOCK_USR_DATA'].get()[-2:])\n"
    )
    ran = run(make_board("esp32c3"), source, folder=tmp_path)
    assert ran.output.endswith("False 78\n")
    assert ran.board.bits("DIS_PAD_JTAG") == 1  # at the end
    assert ran.board.burns == 2


# keys -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("block", ["flash_encryption", "secure_boot_v1"])
def test_esp32_key_by_its_use(tmp_path: Path, key: Path, block: str) -> None:
    index = 1 if block == "flash_encryption" else 2
    ran = run(make_board("esp32"), command(f"burn_key {block} {key} --no-protect-key"), folder=tmp_path)
    assert ran.board.blocks[index] == int.from_bytes(KEY, "big")
    source = command(f"burn_key {block} {key}") + (
        "efuses.burn_all()\n"
        f"print(efuses['BLOCK{index}'].is_readable(), efuses['BLOCK{index}'].is_writeable())\n"
    )
    ran = run(make_board("esp32"), source, folder=tmp_path)
    assert ran.output.endswith("False False\n")


@pytest.mark.parametrize(
    "source",
    [
        "espefuse.burn_key(['BLOCK3'], [r'{key}'])",
        "with open(r'{key}', 'rb') as f: espefuse.burn_key(['BLOCK3'], [f], False)",
        "with open(r'{key}', 'rb') as f:\n  args.block = ['BLOCK3', None]; args.keyfile = [f, None]\n"
        "  burn_key(esp, efuses, args)",
    ],
)
def test_esp32_key_by_block(tmp_path: Path, key: Path, source: str) -> None:
    ran = run(make_board("esp32"), source.format(key=key), folder=tmp_path)
    assert ran.error == ""
    assert ran.board.blocks[3] == int.from_bytes(KEY, "little")
    assert ran.board.whole.is_readable(ran.board.chip.blocks[3])
    assert not ran.board.whole.is_writeable(ran.board.chip.blocks[3])


def test_esp32_key_of_24_bytes_under_three_quarters(tmp_path: Path) -> None:
    short = tmp_path / "short.bin"
    short.write_bytes(KEY[:24])
    board = make_board("esp32", CODING_SCHEME=1)
    ran = run(board, command(f"burn_key flash_encryption {short} --no-protect-key"), folder=tmp_path)
    assert ran.error == ""
    assert board.blocks[1] == int.from_bytes(KEY[:24], "big")
    (tmp_path / "long.bin").write_bytes(KEY)
    ran = run(board, command(f"burn_key BLOCK2 {tmp_path / 'long.bin'}"), folder=tmp_path)
    assert "24 bytes" in refused(ran)


@pytest.mark.parametrize("chip", LATER)
@pytest.mark.parametrize(
    ("purpose", "reverse", "hidden"),
    [
        ("USER", False, False),
        ("XTS_AES_128_KEY", True, True),
        ("HMAC_UP", False, True),
        ("SECURE_BOOT_DIGEST0", False, False),
    ],
)
def test_key_with_purpose(
    tmp_path: Path, key: Path, chip: str, purpose: str, reverse: bool, hidden: bool
) -> None:
    source = command(f"burn_key BLOCK4 {key} {purpose}") + "efuses.burn_all()\n"
    source += "print(efuses['KEY_PURPOSE_0'].get(), efuses['KEY_PURPOSE_0'].is_writeable())\n"
    source += "print(efuses['BLOCK_KEY0'].is_readable(), efuses['BLOCK_KEY0'].is_writeable())\n"
    ran = run(make_board(chip), source, folder=tmp_path)
    assert ran.output.endswith(f"{purpose} False\n{not hidden} False\n")
    open_source = f"""espefuse.burn_key(['BLOCK_KEY0'], [r'{key}'], ['{purpose}'],
                                        no_read_protect=True, no_write_protect=True)"""
    ran = run(make_board(chip), open_source, folder=tmp_path)
    assert ran.board.blocks[4] == int.from_bytes(KEY, "big" if reverse else "little")
    assert ran.board.whole.is_writeable(ran.board.chip.blocks[4])


def test_a_double_key_takes_the_next_free_block(tmp_path: Path, key: Path) -> None:
    double = tmp_path / "double.bin"
    double.write_bytes(KEY + KEY[::-1])
    source = command(f"burn_key BLOCK_KEY1 {key} USER") + command(
        f"burn_key BLOCK4 {double} XTS_AES_256_KEY --no-read-protect"
    )
    board = make_board("esp32s3", BLOCK_KEY2=1)
    ran = run(board, source, folder=tmp_path)
    assert ran.error == ""
    assert board.blocks[4] == int.from_bytes(KEY, "big")
    assert board.blocks[7] == int.from_bytes(KEY[::-1], "big")  # KEY1 is staged, KEY2 is used
    assert (board.bits("KEY_PURPOSE_0"), board.bits("KEY_PURPOSE_3")) == (2, 3)


def test_a_double_key_without_a_second_block_is_refused(tmp_path: Path, key: Path) -> None:
    double = tmp_path / "double.bin"
    double.write_bytes(KEY + KEY)
    board = make_board("esp32s3", BLOCK_KEY1=1, BLOCK_KEY2=1, BLOCK_KEY3=1, BLOCK_KEY4=1, BLOCK_KEY5=1)
    assert "two free" in refused(
        run(board, command(f"burn_key BLOCK_KEY0 {double} XTS_AES_256_KEY"), folder=tmp_path)
    )


def pem_of(key: rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


RSA_PEM = pem_of(rsa.generate_private_key(65537, 3072))


def test_digest_of_a_public_key(tmp_path: Path) -> None:
    from parburn.script.commands.pem import secure_boot_digest

    path = tmp_path / "key.pem"
    path.write_bytes(RSA_PEM)
    digest = int.from_bytes(secure_boot_digest(RSA_PEM), "little")
    ran = run(
        make_board("esp32s3"),
        command(f"burn_key_digest BLOCK_KEY2 {path} SECURE_BOOT_DIGEST1"),
        folder=tmp_path,
    )
    assert ran.error == ""
    assert ran.board.blocks[6] == digest
    assert ran.board.bits("KEY_PURPOSE_2") == 10
    assert not ran.board.whole.is_writeable(ran.board.chip.blocks[6])
    for words in (f"burn_key_digest {path}", f"burn_key_digest --no-protect-key {path}"):
        old = make_board("esp32", CHIP_VER_REV1=1, CHIP_VER_REV2=1)
        assert "v3.0" in refused(run(old, command(words), folder=tmp_path))
        new = make_board("esp32", CHIP_VER_REV1=1, CHIP_VER_REV2=1)
        new.registers = {new.chip.extra_registers[0]: 1 << 31}
        ran = run(new, command(words), folder=tmp_path)
        assert ran.error == ""
        assert new.blocks[2] == digest
        assert new.whole.is_readable(new.chip.blocks[2])
        assert new.whole.is_writeable(new.chip.blocks[2]) == ("--no-protect-key" in words)
    coded = make_board("esp32", CHIP_VER_REV1=1, CHIP_VER_REV2=1, CODING_SCHEME=1)
    coded.registers = {coded.chip.extra_registers[0]: 1 << 31}
    source = f"with open(r'{path}', 'rb') as f: espefuse.burn_key_digest(f, True)"
    assert "24 bytes" in refused(run(coded, source, folder=tmp_path))


def test_digest_of_an_elliptic_key_and_refusals(tmp_path: Path) -> None:
    from parburn.errors import BadValue
    from parburn.script.commands.pem import ecdsa_private_key, secure_boot_digest

    key = ec.generate_private_key(ec.SECP256R1())
    assert len(secure_boot_digest(pem_of(key))) == 32
    assert ecdsa_private_key(pem_of(key), double=False) == key.private_numbers().private_value.to_bytes(
        32, "big"
    )
    large = ec.generate_private_key(ec.SECP384R1())
    assert ecdsa_private_key(pem_of(large), double=True)[:16] == bytes(16)
    small = rsa.generate_private_key(65537, 2048)
    calls: tuple[Callable[[], bytes], ...] = (
        lambda: secure_boot_digest(b"nothing"),
        lambda: secure_boot_digest(pem_of(small)),
        lambda: ecdsa_private_key(RSA_PEM, double=False),
        lambda: ecdsa_private_key(pem_of(large), double=False),
    )
    for call in calls:
        with pytest.raises(BadValue):
            call()


@pytest.mark.parametrize("chip", CHIPS)
def test_key_bytes_are_never_printed_unless_asked_for(tmp_path: Path, chip: str) -> None:
    secret = bytes.fromhex("5ec4e75ec4e75ec4e75ec4e75ec4e75ec4e75ec4e75ec4e75ec4e75ec4e75ec4")
    (tmp_path / "s.bin").write_bytes(secret)
    purpose = "" if chip == "esp32" else "XTS_AES_128_KEY"
    block = "flash_encryption" if chip == "esp32" else "BLOCK_KEY0"
    show = [command(text) for text in ("summary", "summary --format json", "dump", "dump --format joint")]
    open_ = "--no-protect-key" if chip == "esp32" else "--no-read-protect --no-write-protect"
    source = command(f"burn_key {block} {tmp_path}/s.bin {purpose} {open_}") + "efuses.burn_all()\n"
    quiet = run(make_board(chip), source + "".join(show), folder=tmp_path)
    assert quiet.error == ""
    flat = quiet.output.replace(" ", "").replace("\n", "").lower()
    for form in (secret.hex(), secret[::-1].hex()):
        assert form[:16] not in flat
    loud = run(make_board(chip), source + "".join(show), folder=tmp_path, show_sensitive_info=True)
    assert secret[::-1].hex(" ") in loud.output
    source += f"print(efuses.blocks[{1 if chip == 'esp32' else 4}].get_raw())"
    asked = run(make_board(chip), source, folder=tmp_path)
    assert repr(secret) in asked.output


# blocks and protection ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "source", [command("burn_bit BLOCK3 0 9 255"), "espefuse.burn_bit('BLOCK3', [0, 9, 255])",
               "args.block = 'BLOCK3'; args.bit_number = [0, 9, 255]; burn_bit(esp, efuses, args)"],
)  # fmt: skip
@pytest.mark.parametrize("chip", CHIPS)
def test_burn_bit(tmp_path: Path, chip: str, source: str) -> None:
    assert run(make_board(chip), source, folder=tmp_path).board.blocks[3] == 1 | 1 << 9 | 1 << 255


@pytest.mark.parametrize("chip", CHIPS)
def test_burn_block_data(tmp_path: Path, key: Path, chip: str) -> None:
    (tmp_path / "two.bin").write_bytes(b"\x12\x34")
    free = 2 if chip == "esp32" else 5  # BLOCK2 of the later chips has their unique id
    ran = run(make_board(chip), command(f"burn_block_data BLOCK3 {key} BLOCK{free} {key}"), folder=tmp_path)
    assert ran.board.blocks[3] == ran.board.blocks[free] == int.from_bytes(KEY, "little")
    ran = run(make_board(chip), command(f"burn_block_data -o 6 BLOCK3 {tmp_path}/two.bin"), folder=tmp_path)
    assert ran.board.blocks[3] == 0x3412 << 48
    source = f"with open(r'{key}', 'rb') as f: espefuse.burn_block_data(['BLOCK3'], [f])"
    ran = run(make_board(chip), source, folder=tmp_path)
    assert ran.board.blocks[3] == int.from_bytes(KEY, "little")


def test_protection(tmp_path: Path, key: Path) -> None:
    source = (
        command(f"burn_key BLOCK_KEY0 {key} HMAC_UP --no-read-protect --no-write-protect")
        + "efuses.burn_all()\n"
        + command("read_protect_efuse BLOCK_KEY0")
        + "espefuse.write_protect_efuse(['BLOCK_KEY0', 'SPI_BOOT_CRYPT_CNT'])\nefuses.burn_all()\n"
        + "print(efuses['BLOCK_KEY0'].get())\n"
        + command("summary --format value_only BLOCK_KEY0")
        + command("write_protect_efuse BLOCK_KEY0")
    )
    ran = run(make_board("esp32c3"), source, folder=tmp_path)
    assert ran.error == ""
    assert "00 00" in ran.output
    assert "?? ??" in ran.output
    assert "write-protected already" in ran.output
    assert not ran.board.whole.is_writeable(ran.board.chip.field_by_name["SPI_BOOT_CRYPT_CNT"][0])


@pytest.mark.parametrize(("voltage", "bits"), [("OFF", (1, 0, 0)), ("1.8V", (1, 1, 0)), ("3.3V", (1, 1, 1))])
@pytest.mark.parametrize(
    ("chip", "names"),
    [
        ("esp32", ("XPD_SDIO_FORCE", "XPD_SDIO_REG", "XPD_SDIO_TIEH")),
        ("esp32s3", ("VDD_SPI_FORCE", "VDD_SPI_XPD", "VDD_SPI_TIEH")),
    ],
)
def test_flash_voltage(
    tmp_path: Path, chip: str, names: tuple[str, ...], voltage: str, bits: tuple[int, ...]
) -> None:
    ran = run(make_board(chip), command(f"set_flash_voltage {voltage}"), folder=tmp_path)
    assert tuple(ran.board.bits(name) for name in names) == bits
    burned = make_board(chip, {names[1]: 1, names[2]: 1})
    if voltage != "3.3V":
        assert "cannot be set" in refused(
            run(burned, f"espefuse.set_flash_voltage('{voltage}')", folder=tmp_path)
        )


@pytest.mark.parametrize("chip", ["esp32", "esp32s3"])
@pytest.mark.parametrize(
    "voltages", [("3.3V", "1.8V"), ("1.8V", "3.3V"), ("OFF", "1.8V"), ("3.3V", "OFF"), ("OFF", "3.3V")]
)
def test_two_flash_voltages_in_one_script_contradict(
    tmp_path: Path, chip: str, voltages: tuple[str, str]
) -> None:
    first, second = (command(f"set_flash_voltage {voltage}") for voltage in voltages)
    both = run(make_board(chip), first + second, folder=tmp_path)
    assert "a command before" in str(both.error)
    assert not both.board.burns
    assert not run(make_board(chip), first + first, folder=tmp_path).error


def test_a_chip_without_flash_voltage_says_so(tmp_path: Path) -> None:
    assert "no eFuses for the flash voltage" in refused(
        run(make_board("esp32c3"), command("set_flash_voltage OFF"), folder=tmp_path)
    )


# showing --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("chip", CHIPS)
def test_summary_as_json(tmp_path: Path, chip: str) -> None:
    path = tmp_path / "out.json"
    source = command("summary --format json") + command(f"summary --format json --file {path}")
    ran = run(make_board(chip, WR_DIS=0x80), source, folder=tmp_path)
    printed = json.loads(ran.output[: ran.output.index("\n}\n") + 3])
    assert printed == json.loads(path.read_text())
    row = printed["WR_DIS"]
    assert set(row) == {
        "name", "value", "raw_value", "readable", "writeable", "description", "category", "block", "word",
        "pos", "efuse_type", "bit_len",
    }  # fmt: skip
    assert row["value"] == 0x80
    assert row["raw_value"] == ("0x0080" if chip == "esp32" else "0x00000080")
    assert printed["MAC"]["efuse_type"] == "bytes:6"
    assert printed["MAC"]["raw_value"] == "0x" + 12 * "0"


def test_summary_forms(tmp_path: Path) -> None:
    board = make_board("esp32c3", DIS_PAD_JTAG=1)
    ran = run(board, command("summary"), folder=tmp_path)
    assert "DIS_PAD_JTAG (BLOCK0)" in ran.output
    assert "Purpose: USER" in ran.output
    ran = run(board, command("summary --active"), folder=tmp_path)
    assert "DIS_PAD_JTAG" in ran.output
    assert "SPI_BOOT_CRYPT_CNT" not in ran.output
    ran = run(board, command("summary --format value_only DIS_PAD_JTAG"), folder=tmp_path)
    assert ran.output == "True\n"
    path = tmp_path / "out.txt"
    source = f"espefuse.summary(['DIS_PAD_JTAG'], 'value_only', open(r'{path}', 'w'))"
    ran = run(board, source, folder=tmp_path)
    assert (ran.error, ran.output, path.read_text()) == ("", "", "True\n")
    ran = run(make_board("esp32"), command("summary"), folder=tmp_path)
    assert "Flash voltage: chosen by the strapping pin" in ran.output


def test_a_file_that_cannot_be_written_is_a_refusal(tmp_path: Path) -> None:
    ran = run(make_board("esp32c3"), command(f"summary --file {tmp_path}/no/such"), folder=tmp_path)
    assert "cannot be written" in ran.error


@pytest.mark.parametrize(
    ("chip", "scheme", "size"),
    [("esp32", 0, 28 + 96), ("esp32", 1, 28 + 72), ("esp32c3", None, 24 + 24 + 9 * 32)],
)
def test_dump(tmp_path: Path, chip: str, scheme: int | None, size: int) -> None:
    board = make_board(chip, {} if scheme is None else {"CODING_SCHEME": scheme})
    board.blocks[3] = 0x0102
    source = (
        command(f"dump --format joint --file_name {tmp_path}/all.bin")
        + command(f"dump --format split --file-name {tmp_path}/blk.bin")
        + command(f"dump --file_name {tmp_path}/def.bin")
        + command("dump")
        + "espefuse.dump('split')\n"
    )
    ran = run(board, source, folder=tmp_path)
    assert ran.error == ""
    assert len((tmp_path / "all.bin").read_bytes()) == size
    assert (tmp_path / "blk3.bin").read_bytes()[:3] == b"\x02\x01\x00"
    assert (tmp_path / "def3.bin").read_bytes() == (tmp_path / "blk3.bin").read_bytes()
    assert "[3 ] dump: 00000102 00000000" in ran.output
    assert "\n0201000000" in ran.output


@pytest.mark.parametrize(
    ("chip", "fields"), [("esp32", {}), ("esp32", {"CODING_SCHEME": 1}), ("esp32s3", {}), ("esp32c3", {})]
)
def test_token(tmp_path: Path, chip: str, fields: dict[str, int]) -> None:
    board = make_board(chip, fields)
    board.blocks[3] = 0x0102
    ran = run(board, command("dump --format token"), folder=tmp_path)
    token = parse_token(ran.output, chip_named)
    assert (token.chip, token.revision, token.errors) == (chip, 301, ())
    assert token.blocks == tuple(board.blocks.values())
    board.registers = {board.chip.error_registers[0]: 5}
    ran = run(board, command(f"dump --format token --file-name {tmp_path}/t"), folder=tmp_path)
    assert parse_token((tmp_path / "t").read_text(), chip_named).errors[0] == 5


def test_adc_info(tmp_path: Path) -> None:
    ran = run(make_board("esp32", ADC_VREF=3), command("adc_info"), folder=tmp_path)
    assert "ADC_VREF = 1121\n" in ran.output
    ran = run(make_board("esp32s3", BLK_VERSION_MAJOR=1, OCODE=7), "espefuse.adc_info()", folder=tmp_path)
    assert "Block version: 100" in ran.output
    assert "OCODE = 7\n" in ran.output


def test_check_error(tmp_path: Path) -> None:
    ran = run(make_board("esp32c3"), command("check_error"), folder=tmp_path)
    assert ran.output == "No errors detected\n"


@pytest.mark.parametrize(
    "source", [command("check_error --recovery"), "espefuse.check_error(recovery=True)\n"]
)
def test_recovery_burns_at_once_and_only_the_bad_block(tmp_path: Path, source: str) -> None:
    def board() -> Board:
        made = make_board("esp32c3", BLOCK_KEY0=5)
        made.status = {4: BlockStatus(errors=1, fail=False)}
        return made

    ran = run(board(), command("check_error"), folder=tmp_path)
    assert "the coding of some eFuses has errors" in refused(ran)
    assert "BLOCK_KEY0: 1 errors, fail 0 (writable)" in ran.output
    ran = run(board(), command("burn_efuse DIS_PAD_JTAG") + source + "print('staged')\n", folder=tmp_path)
    assert ran.error == ""
    assert ran.output.endswith("No errors detected\nstaged\n")
    assert ran.board.burns == 2  # the recovery, and what was staged, at the end
    assert ran.board.bits("DIS_PAD_JTAG") == 1


# names, values, dialects ----------------------------------------------------------------------------


def test_an_unknown_field_is_a_key_error_with_the_nearest_names(tmp_path: Path) -> None:
    ran = run(make_board("esp32c3"), "efuses['DIS_PAD_JTAGG']", folder=tmp_path)
    assert "KeyError" in ran.error
    assert "DIS_PAD_JTAG" in ran.error
    ran = run(make_board("esp32c3"), "try: efuses['NONE']\nexcept KeyError: print('caught')", folder=tmp_path)
    assert ran.output == "caught\n"


@pytest.mark.parametrize(
    ("chip", "expression", "value"),
    [
        ("esp32", "efuses['CODING_SCHEME'].get_meaning()", "NONE (BLK1-3 len=256 bits)"),
        ("esp32", "efuses['BLOCK1'].get()", " ".join(["00"] * 32)),
        ("esp32", "efuses['ADC_VREF'].get()", 1100),
        ("esp32", "efuses['JTAG_DISABLE'].get()", False),
        ("esp32", "efuses['DISABLE_JTAG'].name", "JTAG_DISABLE"),
        ("esp32", "efuses.coding_scheme", 0),
        ("esp32", "efuses['flash_encryption'].id", 1),
        ("esp32", "efuses.blocks[1].key_purpose_name", None),
        ("esp32s3", "efuses['KEY_PURPOSE_0'].get()", "USER"),
        ("esp32s3", "efuses['BLOCK4'].name", "BLOCK_KEY0"),
        ("esp32s3", "efuses['WDT_DELAY_SEL'].get_meaning()", "40000"),
        ("esp32s3", "str(efuses['KEY_PURPOSE_0'].get_bitstring())", "0x0"),
        ("esp32s3", "efuses['MAC'].get()", "00:00:00:00:00:00 (OK)"),
        ("esp32s3", "efuses['MAC'].get_raw()", bytes(6)),
        ("esp32s3", "efuses['MAC'].efuse_type", "bytes:6"),
        ("esp32s3", "efuses['MAC'].block, efuses['MAC'].word, efuses['MAC'].pos", (1, 0, 0)),
        ("esp32s3", "len(efuses.blocks), efuses.blocks[3].get_block_len()", (11, 32)),
        ("esp32s3", "efuses.blocks[4].get_bitstring().len", 256),
        ("esp32s3", "[e.name for e in efuses][:2]", ["WR_DIS", "RD_DIS"]),
        ("esp32s3", "'DIS_USB' in efuses, 'X' in efuses", (True, False)),
        ("esp32s3", "efuses.get_block_version()", 0),
        ("esp32s3", "efuses.batch_mode_cnt, efuses.force_write_always", (0, False)),
        ("esp32s3", "esp.get_chip_description()", "ESP32-S3 (QFN56) (revision v0.0)"),
        ("esp32s3", "esp.get_chip_features()", ["Wi-Fi", "BT 5 (LE)", "Dual Core + LP Core", "240MHz"]),
        ("esp32s3", "esp.get_chip_revision(), esp.get_crystal_freq()", (301, 40)),
        ("esp32s3", "esp.read_mac()", (0x24, 0x0A, 0xC4, 0, 1, 2)),
        ("esp32s3", "esp.get_security_info()['flags'], esp.secure_download_mode", (0, False)),
        ("esp32s3", "esp.read_reg(0x60007044)", 0x1234),
        ("esp32c3", "esp.CHIP_NAME", "ESP32-C3"),
        ("esp32c3", "args.index, args.port, args.chip, args.configfiles", (1, "/dev/ttyUSB0", "esp32c3", [])),
        ("esp32c3", "args.virt, args.debug, args.do_not_confirm", (False, False, False)),
        ("esp32c3", "__import__('esptool') is esptool", True),
        ("esp32c3", "isinstance(esptool.FatalError('x'), RuntimeError)", True),
        ("esp32c3", "esptool.util.hexify(b'\\x0a')", "0A"),
        ("esp32c3", "util.hexify(b'\\x0a\\x0b', ' ')", "0a 0b"),
        ("esp32c3", "'USER' in fields.EfuseKeyPurposeField.KEY_PURPOSES_NAME", True),
        ("esp32c3", "efuses['KEY_PURPOSE_0'].need_reverse('XTS_AES_128_KEY')", True),
        ("esp32c3", "efuses['BLOCK_KEY0'].read_disable_bit", 0),
    ],
)
def test_what_scripts_compare(tmp_path: Path, chip: str, expression: str, value: object) -> None:
    board = make_board(chip)
    board.registers = {0x60007044: 0x1234}
    ran = run(board, f"print(repr(({expression})))", folder=tmp_path)
    assert ran.error == ""
    assert ran.output == repr(value) + "\n"


@pytest.mark.parametrize(
    "source",
    [
        "import esptool\nfrom esptool import FatalError\nimport esptool.util\n"
        "from esptool.util import FatalError as F\n"
        "assert F is FatalError is esptool.FatalError\n",
        "from espefuse import init_commands\nwith init_commands(port='/dev/other') as e:\n"
        "    e.use_batch_mode(); e.burn_efuse({'DIS_PAD_JTAG': 1}); assert e.burn_all()\n"
        "    assert e.efuses['DIS_PAD_JTAG'].get() and e.esp is esp\n",
        "import espefuse\nespefuse(esp, efuses, args, 'burn_efuse DIS_PAD_JTAG')\n",
        "with esptool.detect_chip('x') as chip:\n    assert chip is esp\n",
        "from espsecure import _digest_sbv2_public_key\n",
    ],
)
def test_imports_give_the_stand_ins(tmp_path: Path, source: str) -> None:
    assert run(make_board("esp32c3"), source, folder=tmp_path).error == ""


@pytest.mark.parametrize(
    "source",
    [
        "esptool.cmds.write_flash",
        "espsecure.sign_data",
        "esp.hard_reset()",
        "efuses.nothing",
        "from esptool import elf2image",
    ],
)
def test_what_is_missing_says_so(tmp_path: Path, source: str) -> None:
    ran = run(make_board("esp32c3"), source, folder=tmp_path)
    assert "AttributeError" in ran.error or "ImportError" in ran.error


@pytest.mark.parametrize(
    ("chip", "address"),
    [
        ("esp32", 0x3FF5A104),
        ("esp32", 0x6001A104),
        ("esp32", 0x3FF5A01C),
        ("esp32s3", 0x600071D4),
        ("esp32c3", 0x600089D4),
    ],
)
def test_writing_to_the_efuse_controller_is_refused(tmp_path: Path, chip: str, address: int) -> None:
    for call in ("esp.write_reg", "efuses.write_reg"):
        board = make_board(chip)
        ran = run(board, f"{call}({address:#x}, 2)", folder=tmp_path)
        assert "eFuse controller" in ran.error
        assert board.written == []


def test_writing_elsewhere_goes_through(tmp_path: Path) -> None:
    board = make_board("esp32c3")
    ran = run(
        board, "esp.write_reg(0x60008090, 5, mask=0xff)\nesp.update_reg(0x60004000, 0xf0, 3)", folder=tmp_path
    )
    assert ran.error == ""
    assert [(w.address, w.value, w.mask) for w in board.written] == [
        (0x60008090, 5, 0xFF),
        (0x60004000, 0x30, 0xF0),
    ]


# nesting --------------------------------------------------------------------------------------------


@pytest.fixture
def nested(tmp_path: Path) -> Path:
    path = tmp_path / "other.py"
    path.write_text(
        "print(args.index, args.configfiles and json.load(args.configfiles[0]), outer)\n"
        "inner = 5\n" + command("burn_efuse DIS_PAD_JTAG")
    )
    return path


def test_a_nested_script_has_its_own_index_and_files(tmp_path: Path, nested: Path) -> None:
    config = tmp_path / "c.json"
    config.write_text('{"x": 1}')
    source = (
        "outer = 'seen'\n"
        + command(f"execute_scripts {nested} --index 10 --configfiles {config}")
        + command(f"execute_scripts {nested}")
        + "print(args.index, args.configfiles, inner, __file__.endswith('script0.py'))\n"
    )
    ran = run(make_board("esp32c3"), source, folder=tmp_path, allow_fixed_index=True)
    lines = ran.output.splitlines()
    assert lines[0] == "10 {'x': 1} seen"
    assert "None None seen" in lines
    assert lines[-1] == "1 [] 5 True"
    assert ran.board.burns == 1  # at the end, not by the nested script


def test_a_nested_index_of_its_own_is_refused(tmp_path: Path, nested: Path) -> None:
    source = "outer = 1\n" + command(f"execute_scripts {nested} --index 10")
    board = make_board("esp32c3")
    assert "goes around the shared index" in refused(run(board, source, folder=tmp_path))
    ran = run(board, source, folder=tmp_path, allow_fixed_index=True)
    assert ran.error == ""
    own = "outer = 1\nespefuse(esp, efuses, args, f'execute_scripts {other} --index {args.index}')"
    ran = run(board, f"other = {str(nested)!r}\n" + own, folder=tmp_path)
    assert ran.error == ""


def test_a_nested_script_with_a_syntax_error_names_its_line(tmp_path: Path) -> None:
    (tmp_path / "bad.py").write_text("x =\n")
    ran = run(make_board("esp32c3"), command(f"execute_scripts {tmp_path}/bad.py"), folder=tmp_path)
    assert "bad.py:1: " in ran.error


def test_a_script_that_runs_itself_is_stopped(tmp_path: Path) -> None:
    ran = run(make_board("esp32c3"), command(f"execute_scripts {tmp_path}/script0.py"), folder=tmp_path)
    assert "nested" in ran.error


def test_handles_are_fresh_for_each_script(tmp_path: Path) -> None:
    config = tmp_path / "c.txt"
    config.write_text("one\ntwo\n")
    line = "print(args.configfiles[0].readline().strip())\n"
    ran = run(make_board("esp32c3"), line * 2, line, folder=tmp_path, config=[config])
    assert ran.output == "one\ntwo\none\n"


def test_a_scripts_own_json_is_the_same_loader(tmp_path: Path) -> None:
    config = tmp_path / "c.json"
    config.write_text(json.dumps({str(n): {"mac": MAC} for n in range(200)}))
    source = (
        "ids = json.load(args.configfiles[0])\nids['1']['mac'] = 'changed'\n"
        "import json\nfrom json import load\nagain = load(args.configfiles[0])\n"
        "print(type(again).__name__, again['1']['mac'], json.dumps(again)[:30])\n"
    )
    ran = run(make_board("esp32c3"), source, folder=tmp_path, config=[config])
    assert ran.output == f"OwnDict {MAC} " + config.read_text()[:30] + "\n"
