"""Cases in which parburn does otherwise on purpose. Each hits an entry of `tests.peers.differences`."""

from __future__ import annotations

import json

from tests.peers.case import THREE_QUARTERS, Case, bits, commands, ec_pem, key, scripts

BOTH = (4, 5)
KEYS = {"one.bin": key("one"), "long.bin": key("long", 64), "one two.bin": key("one two")}
INDEXED = json.dumps({"1": "aa:bb:cc:dd:ee:88"})

DEPARTURES = (
    Case("hyphenated commands", "esp32", (commands("burn-efuse JTAG_DISABLE 1"),)),
    Case(
        "words in quotes",
        "esp32s3",
        (commands("burn_key BLOCK_KEY0 'one two.bin' HMAC_UP"),),
        files=KEYS,
    ),
    Case("a bit counted from the end", "esp32c3", (commands("burn_bit BLOCK3 -1"),)),
    Case(
        "an offset before the start",
        "esp32",
        (commands("burn_block_data --offset=-4 BLOCK3 one.bin"),),
        files=KEYS,
        peers=BOTH,
    ),
    Case(
        "a 512-bit key by the block's other name",
        "esp32s3",
        (commands("burn_key BLOCK5 long.bin XTS_AES_256_KEY"),),
        files=KEYS,
        peers=BOTH,
    ),
    Case(
        "a second key block that is staged already",
        "esp32s3",
        (commands("burn_key BLOCK_KEY1 one.bin HMAC_UP", "burn_key BLOCK_KEY0 long.bin XTS_AES_256_KEY"),),
        files=KEYS,
        peers=BOTH,
    ),
    Case(
        "bits of the second half are staged already",
        "esp32s3",
        (commands("burn_bit BLOCK_KEY1 0 2", "burn_key BLOCK_KEY0 long.bin XTS_AES_256_KEY"),),
        files=KEYS,
        peers=BOTH,
    ),
    Case(
        "the purpose of the second half is staged already",
        "esp32s2",
        (
            commands(
                "burn_efuse KEY_PURPOSE_4 HMAC_DOWN_DIGITAL_SIGNATURE",
                "burn_key BLOCK_KEY3 long.bin XTS_AES_256_KEY",
            ),
        ),
        files=KEYS,
        peers=BOTH,
    ),
    Case(
        "a bit where nobody can read it",
        "esp32",
        (commands("burn_bit BLOCK0 188"),),
        start={0: bits(19)},  # RD_DIS of FLASH_CRYPT_CONFIG
        peers=BOTH,
    ),
    Case(
        "two 512-bit keys in one command",
        "esp32s3",
        (commands("burn_key BLOCK_KEY0 long.bin XTS_AES_256_KEY BLOCK_KEY2 long.bin XTS_AES_256_KEY"),),
        files=KEYS,
        peers=BOTH,
    ),
    Case(
        "single bits of protected fields",
        "esp32c3",
        (commands("burn_bit BLOCK0 40"),),
        start={0: bits(2)},  # WR_DIS of the group that bit 40 (DIS_ICACHE) belongs to
        peers=BOTH,
    ),
    Case(
        "a coding scheme that is left",
        "esp32",
        (
            commands("burn_custom_mac 02:00:00:00:01:05"),
            commands("burn_bit BLOCK0 193"),  # CODING_SCHEME 3: none, for recovery
        ),
        coding=THREE_QUARTERS,
        peers=BOTH,
    ),
    Case(
        "a coding scheme that nobody supports is not burned",
        "esp32",
        (commands("burn_efuse CODING_SCHEME 2"),),
        peers=BOTH,
    ),
    Case(
        "a custom MAC that is a part of the burned one",
        "esp32c3",
        (commands("burn_custom_mac aa:cd:ef:01:02:03"), commands("burn_custom_mac aa:cd:ef:01:02:02")),
        peers=BOTH,
    ),
    Case(
        "a custom MAC whose CRC is a part of the burned one",
        "esp32",
        (commands("burn_custom_mac 02:00:00:00:01:05"), commands("burn_custom_mac 02:00:00:00:03:05")),
        peers=BOTH,
    ),
    Case(
        "a part of a burned value",
        "esp32c3",
        (commands("burn_efuse SPI_BOOT_CRYPT_CNT 1"),),
        start={0: bits(82, 83)},
        peers=BOTH,
    ),
    Case(
        "a key that is grown out of what is there",
        "esp32",
        (commands("burn_key flash_encryption full.bin"),),
        start={1: 1},
        files={"full.bin": b"\x7f" + b"\xff" * 31},
        peers=BOTH,
    ),
    Case(
        "block data over other data",
        "esp32",
        (commands("burn_block_data BLOCK3 one.bin"),),
        start={3: bits(0, 1, 2, 3, 4, 5, 6, 7)},
        files=KEYS,
        peers=BOTH,
    ),
    Case(
        "a bit more than a value that is staged",
        "esp32c3",
        (commands("burn_efuse SPI_BOOT_CRYPT_CNT 1", "burn_bit BLOCK0 83"),),
        peers=BOTH,
    ),
    Case(
        "a forced key over other content",
        "esp32",
        (commands("burn_key --force-write-always flash_encryption one.bin"),),
        start={1: bits(*range(16))},
        files=KEYS,
        peers=BOTH,
    ),
    Case(
        "a helper sees the script's names",
        "esp32",
        (scripts("burn.py"),),
        files={
            "burn.py": """
name = "JTAG_DISABLE"
def burn():
    espefuse(esp, efuses, args, "burn_efuse " + name)
burn()
"""
        },
    ),
    Case(
        "each script has its files from the start",
        "esp32",
        (scripts("one.py", "two.py", index=1, configs=("macs.json",)),),
        files={
            "macs.json": INDEXED,
            "one.py": """
macs = json.load(args.configfiles[0])
espefuse(esp, efuses, args, "burn_custom_mac " + macs["1"])
""",
            "two.py": 'print("::", json.load(args.configfiles[0])["1"])\n',
        },
    ),
    Case(
        "several files after one --configfiles",
        "esp32",
        (scripts("outer.py"),),
        files={
            "a.json": "{}",
            "b.json": "{}",
            "outer.py": """
espefuse(esp, efuses, args, "execute_scripts inner.py --index 1 --configfiles a.json b.json")
""",
            "inner.py": 'espefuse(esp, efuses, args, "burn_efuse JTAG_DISABLE")\n',
        },
    ),
    Case(
        "blocks by name",
        "esp32c3",
        (scripts("look.py"),),
        files={"look.py": 'print("::", efuses["BLOCK4"].is_readable())\n'},
    ),
    Case(
        "the eFuse controller is not for scripts",
        "esp32c3",
        (scripts("write.py"),),
        files={"write.py": "esp.write_reg(0x60008800, 1)\n"},
    ),
    Case(
        "a field that 4.12 does not know",
        "esp32c2",
        (commands("burn_efuse FLASH_CAP 1"),),
    ),
    Case(
        "the key block by its other name",
        "esp32c2",
        (commands("burn_key BLOCK3 one.bin USER"),),
        files=KEYS,
        peers=BOTH,
    ),
    Case(
        "a digest for a block by its name",
        "esp32c2",
        (commands("burn_key_digest BLOCK_KEY0 ec.pem SECURE_BOOT_DIGEST"),),
        files={"ec.pem": lambda: ec_pem(0)},
        peers=BOTH,
    ),
    Case(
        "the top bit of the recovery sector",
        "esp32c5",
        (commands("burn_efuse RECOVERY_BOOTLOADER_FLASH_SECTOR 2049"),),
        peers=(5,),
    ),
    Case(
        "a purpose that the chip has no peripheral for",
        "esp32c61",
        (commands("burn_efuse KEY_PURPOSE_1 HMAC_UP"),),
        start={0: 8 << 64},  # KEY_PURPOSE_0
    ),
    Case(
        "the fifth bit of a purpose",
        "esp32p4",
        (commands("burn_efuse KEY_PURPOSE_3_H"),),
        revision=(3, 0),
        peers=BOTH,
    ),
    Case(
        "a purpose of five bits",
        "esp32p4",
        (commands("burn_efuse KEY_PURPOSE_3 CUSTOM_20"),),
        revision=(3, 0),
        peers=BOTH,
    ),
    Case(
        "a value without a high bit that is burned",
        "esp32p4",
        (commands("burn_efuse KEY_PURPOSE_1_H 1"), commands("burn_efuse KEY_PURPOSE_1 9")),
        revision=(3, 0),
        peers=BOTH,
    ),
    Case(
        "a purpose's name for its high bit",
        "esp32p4",
        (commands("burn_efuse KEY_PURPOSE_5_H ECDSA_KEY"),),
        revision=(3, 0),
        peers=BOTH,
    ),
    Case(
        "the second bit of a counter",
        "esp32c3",
        (
            commands("burn_efuse SPI_BOOT_CRYPT_CNT 1"),
            commands("burn_bit BLOCK_KEY2 3", "burn_bit BLOCK0 83"),
        ),
        peers=BOTH,
    ),
    Case(
        "the second bit of a counter beside a bit that is locked",
        "esp32c3",
        (
            commands("burn_efuse SPI_BOOT_CRYPT_CNT 1"),
            commands("burn_bit BLOCK_KEY2 3", "burn_bit BLOCK0 83 40"),
        ),
        start={0: bits(2)},  # WR_DIS of the group that bit 40 (DIS_ICACHE) belongs to
        peers=BOTH,
    ),
    Case(
        "bits of a lock that is locked",
        "esp32c3",
        (commands("burn_bit BLOCK_KEY2 3", "burn_bit BLOCK0 34 60"),),  # RD_DIS and an ordinary bit
        start={0: bits(0)},  # WR_DIS of RD_DIS
        peers=BOTH,
    ),
    Case("bits of the unique id", "esp32s3", (commands("burn_bit BLOCK_SYS_DATA 127"),), peers=BOTH),
    Case("bits of the factory MAC", "esp32", (commands("burn_bit BLOCK0 79"),), peers=BOTH),
    Case(
        "a factory MAC whose CRC is wrong",
        "esp32",
        (commands("burn_efuse JTAG_DISABLE 1"),),
        start={0: bits(*range(80, 88))},
        peers=BOTH,
    ),
    Case("bits of the MAC's CRC", "esp32", (commands("burn_efuse MAC_CRC 0xff"),), peers=BOTH),
    Case(
        "a scheme that nobody supports, and its read protection",
        "esp32",
        (commands("burn_bit BLOCK0 19 193"),),
        peers=BOTH,
    ),
    Case(
        "a block whose coding scheme is hidden",
        "esp32",
        (commands("read_protect_efuse CODING_SCHEME"), commands("burn_bit BLOCK3 70")),
        coding=THREE_QUARTERS,
        peers=BOTH,
    ),
    Case(
        "a forced burn of a locked block",
        "esp32s3",
        (
            commands("burn_key BLOCK_KEY0 one.bin XTS_AES_128_KEY"),
            commands("burn_bit --force-write-always BLOCK_KEY0 3"),
        ),
        files=KEYS,
        peers=BOTH,
    ),
    Case(
        "a forced burn of a hidden block",
        "esp32s3",
        (
            commands("burn_key --no-write-protect BLOCK_KEY0 one.bin XTS_AES_128_KEY"),
            commands("burn_bit --force-write-always BLOCK_KEY0 3"),
        ),
        files=KEYS,
        peers=BOTH,
    ),
    Case(
        "a key file of zeros",
        "esp32c3",
        (commands("burn_key BLOCK_KEY0 zeros.bin XTS_AES_128_KEY"),),
        files={"zeros.bin": bytes(32)},
        peers=BOTH,
    ),
    Case(
        "half a key where the chip takes the whole block",
        "esp32c2",
        (
            commands("burn_efuse XTS_KEY_LENGTH_256 1"),
            commands("burn_key BLOCK_KEY0 half.bin XTS_AES_128_KEY_DERIVED_FROM_128_EFUSE_BITS"),
        ),
        files={"half.bin": key("half", 16)},
        peers=BOTH,
    ),
    Case(
        "a flash voltage, then another one",
        "esp32s3",
        (
            commands("set_flash_voltage 3.3V", "set_flash_voltage 1.8V"),
            commands("set_flash_voltage OFF", "set_flash_voltage 1.8V"),
        ),
        peers=BOTH,
    ),
    Case(
        "a digest whose custom purpose has two names, once more",
        "esp32c6",
        (
            commands("burn_key BLOCK_KEY2 one.bin CUSTOM_DIGEST_15"),
            commands("burn_key BLOCK_KEY2 one.bin CUSTOM_DIGEST_15"),
        ),
        files=KEYS,
        peers=BOTH,
    ),
    Case("scripts stay in their folder", "esp32", (scripts("go.py"),), files={"go.py": 'os.chdir("..")\n'}),
)
