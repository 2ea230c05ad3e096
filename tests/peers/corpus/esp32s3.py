"""Command sequences for ESP32-S3: six key blocks under Reed-Solomon coding."""

from __future__ import annotations

from tests.peers.case import Case, commands, ec_pem, key, rsa_pem, rsa_public_pem

CHIP = "esp32s3"
BOTH = (4, 5)
KEYS = {
    "one.bin": key("one"),
    "two.bin": key("two"),
    "three.bin": key("three"),
    "long.bin": key("long", 64),
    "short.bin": key("short", 16),
}
CALIBRATED = {
    1: int.from_bytes(key("calibration 1", 6), "little") << 135,
    2: 1 << 128 | int.from_bytes(key("calibration 2", 15), "little") << 132,
}

ESP32S3 = (
    Case(
        "custom MAC once, the same again, another never",
        CHIP,
        (
            commands("burn_custom_mac aa:cd:ef:01:02:03"),
            commands("burn_custom_mac aa:cd:ef:01:02:03", "get_custom_mac"),
            commands("burn_custom_mac aa:cd:ef:01:02:04"),
            commands("burn_custom_mac ff:cd:ef:01:02:04"),
        ),
        peers=BOTH,
    ),
    Case(
        "a key of each class",
        CHIP,
        (
            commands("burn_key BLOCK_KEY0 one.bin XTS_AES_128_KEY"),
            commands("burn_key BLOCK_KEY1 two.bin USER BLOCK_KEY2 three.bin HMAC_UP"),
            commands(
                "burn_key BLOCK_KEY3 one.bin HMAC_DOWN_ALL", "burn_key BLOCK_KEY4 two.bin HMAC_DOWN_JTAG"
            ),
            commands("burn_key BLOCK_KEY5 three.bin HMAC_DOWN_DIGITAL_SIGNATURE"),
        ),
        files=KEYS,
        peers=BOTH,
    ),
    Case(
        "keys left open",
        CHIP,
        (
            commands("burn_key --no-write-protect BLOCK_KEY0 one.bin HMAC_UP"),
            commands("burn_key --no-read-protect BLOCK_KEY1 two.bin XTS_AES_128_KEY"),
            commands("burn_key --no-write-protect --no-read-protect BLOCK_KEY2 three.bin XTS_AES_256_KEY_1"),
            commands("burn_key BLOCK_KEY2 three.bin XTS_AES_256_KEY_1"),
            commands("burn_key BLOCK_KEY2 two.bin XTS_AES_256_KEY_1"),
        ),
        files=KEYS,
        peers=BOTH,
    ),
    Case(
        "a key of 512 bits takes two blocks",
        CHIP,
        (commands("burn_key BLOCK_KEY1 long.bin XTS_AES_256_KEY"),),
        files=KEYS,
        peers=BOTH,
    ),
    Case(
        "a key of 512 bits finds the next free block",
        CHIP,
        (
            commands("burn_key BLOCK_KEY1 one.bin HMAC_UP BLOCK_KEY2 two.bin USER"),
            commands("burn_key BLOCK_KEY0 long.bin XTS_AES_256_KEY"),
            commands("burn_key BLOCK_KEY4 one.bin XTS_AES_256_KEY"),
        ),
        files=KEYS,
        peers=BOTH,
    ),
    Case(
        "key blocks in use, key files of the wrong size, purposes that are none",
        CHIP,
        (
            commands("burn_key BLOCK_KEY0 one.bin XTS_AES_128_KEY"),
            commands("burn_key BLOCK_KEY0 two.bin XTS_AES_128_KEY"),
            commands("burn_key BLOCK_KEY1 short.bin HMAC_UP"),
            commands("burn_key BLOCK_KEY1 one.bin HMAC_SIDEWAYS"),
            commands("burn_key BLOCK_KEY1 one.bin"),
            commands("burn_key BLOCK_KEY6 one.bin USER"),
            commands("burn_key BLOCK_KEY1 missing.bin USER"),
            commands("burn_key BLOCK_KEY1 one.bin USER BLOCK_KEY1 two.bin USER"),
        ),
        files=KEYS,
        peers=BOTH,
    ),
    Case(
        "no XTS key in KEY5",
        CHIP,
        (
            commands("burn_key BLOCK_KEY5 one.bin XTS_AES_128_KEY"),
            commands("burn_efuse KEY_PURPOSE_5 XTS_AES_256_KEY_1"),
            commands("burn_key BLOCK_KEY5 one.bin HMAC_UP"),
        ),
        files=KEYS,
        peers=BOTH,
    ),
    Case(
        "digests of three keys",
        CHIP,
        (
            commands("burn_key_digest BLOCK_KEY0 rsa.pem SECURE_BOOT_DIGEST0"),
            commands(
                "burn_key_digest BLOCK_KEY1 public.pem SECURE_BOOT_DIGEST1"
                " BLOCK_KEY2 rsa.pem SECURE_BOOT_DIGEST2"
            ),
            commands("burn_key_digest BLOCK_KEY3 rsa.pem USER"),
            commands("burn_key_digest BLOCK_KEY3 ec.pem SECURE_BOOT_DIGEST0"),
            commands("read_protect_efuse BLOCK_KEY0"),
            commands("burn_efuse SECURE_BOOT_EN 1 SECURE_BOOT_KEY_REVOKE0 1"),
        ),
        files={
            "rsa.pem": lambda: rsa_pem(0),
            "public.pem": lambda: rsa_public_pem(1),
            "ec.pem": lambda: ec_pem(0),
        },
        peers=BOTH,
    ),
    Case(
        "key purposes by name and number",
        CHIP,
        (
            commands("burn_efuse KEY_PURPOSE_0 HMAC_UP"),
            commands("burn_efuse KEY_PURPOSE_1 4"),
            commands("burn_efuse KEY_PURPOSE_2 12"),
            commands("burn_efuse KEY_PURPOSE_2 USER"),
            commands("burn_efuse KEY_PURPOSE_2 0x4"),
            commands("burn_efuse KEY_PURPOSE_0 HMAC_UP"),
            commands("burn_efuse KEY_PURPOSE_0 XTS_AES_128_KEY"),
        ),
        peers=BOTH,
    ),
    Case(
        "a purpose that is protected stays",
        CHIP,
        (
            commands("write_protect_efuse KEY_PURPOSE_3"),
            commands("burn_key BLOCK_KEY3 one.bin HMAC_UP"),
            commands("burn_key BLOCK_KEY3 one.bin USER"),
        ),
        files=KEYS,
        peers=BOTH,
    ),
    Case(
        "USB switches that must not meet",
        CHIP,
        (
            commands("burn_efuse DIS_USB_JTAG 1"),
            commands("burn_efuse DIS_USB_SERIAL_JTAG 1"),
            commands("burn_efuse DIS_USB_OTG 1"),
        ),
        peers=BOTH,
    ),
    Case(
        "USB switches in one command, and by force",
        CHIP,
        (
            commands("burn_efuse DIS_USB_JTAG 1 DIS_USB_SERIAL_JTAG 1"),
            commands("burn_efuse --force DIS_USB_JTAG 1 DIS_USB_SERIAL_JTAG 1"),
        ),
        peers=BOTH,
    ),
    Case(
        "counters, widths and cleared bits",
        CHIP,
        (
            commands("burn_efuse SPI_BOOT_CRYPT_CNT 1"),
            commands("burn_efuse SPI_BOOT_CRYPT_CNT 7"),
            commands("burn_efuse SECURE_VERSION 0xf"),
            commands("burn_efuse SECURE_VERSION 0x11"),
            commands("burn_efuse SECURE_VERSION 0x10000"),
            commands("burn_efuse WDT_DELAY_SEL 2", "burn_efuse UART_PRINT_CONTROL 3"),
            commands("burn_efuse WDT_DELAY_SEL 1"),
            commands("burn_efuse SOFT_DIS_JTAG 8"),
        ),
        peers=BOTH,
    ),
    Case(
        "VDD_SPI",
        CHIP,
        (
            commands("set_flash_voltage 1.8V"),
            commands("set_flash_voltage OFF"),
            commands("set_flash_voltage 3.3V"),
        ),
        peers=BOTH,
    ),
    Case(
        "user data once",
        CHIP,
        (
            commands("burn_block_data BLOCK_USR_DATA one.bin"),
            commands("burn_block_data BLOCK3 one.bin"),
            commands("burn_block_data BLOCK3 two.bin"),
            commands("burn_bit BLOCK3 3"),
        ),
        files=KEYS,
        peers=BOTH,
    ),
    Case(
        "block data with an offset, then the rest never",
        CHIP,
        (
            commands("burn_block_data --offset 8 BLOCK10 short.bin"),
            commands("burn_block_data BLOCK_SYS_DATA2 short.bin"),
            commands("burn_bit BLOCK_SYS_DATA2 0"),
            commands("burn_block_data --offset 20 BLOCK3 short.bin"),
        ),
        files=KEYS,
        peers=BOTH,
    ),
    Case(
        "two writes into one RS block before one burn",
        CHIP,
        (
            commands("burn_bit BLOCK3 0 5", "burn_bit BLOCK3 8 200"),
            commands("burn_bit BLOCK3 5 8"),
            commands("burn_bit BLOCK3 9"),
        ),
        peers=BOTH,
    ),
    Case(
        "a unique id in BLOCK2",
        CHIP,
        (
            commands("burn_efuse OPTIONAL_UNIQUE_ID 0x000102030405060708090a0b0c0d0e0f"),
            commands("burn_efuse OPTIONAL_UNIQUE_ID 000102030405060708090a0b0c0d0e0f"),
            commands("burn_efuse OPTIONAL_UNIQUE_ID 0x00"),
        ),
        peers=BOTH,
    ),
    Case(
        "protections of key blocks",
        CHIP,
        (
            commands("read_protect_efuse BLOCK_KEY0"),
            commands("burn_key --no-read-protect BLOCK_KEY0 one.bin HMAC_UP"),
            commands("read_protect_efuse BLOCK_KEY0"),
            commands("write_protect_efuse BLOCK_KEY1 BLOCK_USR_DATA"),
            commands("burn_key BLOCK_KEY1 one.bin USER"),
            commands("burn_custom_mac aa:cd:ef:01:02:03"),
            commands("read_protect_efuse BLOCK_USR_DATA"),
        ),
        files=KEYS,
        peers=BOTH,
    ),
    Case(
        "a calibrated chip",
        CHIP,
        (commands("adc_info", "burn_efuse DIS_DIRECT_BOOT 1"),),
        start=CALIBRATED,
        peers=BOTH,
    ),
    Case(
        "bits of BLOCK0 by number",
        CHIP,
        (
            commands("burn_bit BLOCK0 111"),
            commands("write_protect_efuse DIS_FORCE_DOWNLOAD"),
            commands("burn_bit BLOCK0 44"),
            commands("burn_bit BLOCK0 192"),
        ),
        peers=BOTH,
    ),
    Case(
        "a 512-bit key beside the block that cannot hold one",
        CHIP,
        (
            commands("burn_key BLOCK_KEY4 long.bin XTS_AES_256_KEY"),
            commands("burn_key BLOCK_KEY5 long.bin XTS_AES_256_KEY"),
        ),
        files=KEYS,
        peers=BOTH,
    ),
    Case(
        "one block by two names",
        CHIP,
        (
            commands("burn_key BLOCK_KEY3 one.bin HMAC_UP BLOCK7 two.bin HMAC_UP"),
            commands("burn_block_data BLOCK_KEY3 one.bin BLOCK7 two.bin"),
            commands("write_protect_efuse BLOCK_KEY1 KEY1"),
        ),
        files=KEYS,
        peers=BOTH,
    ),
    Case(
        "forced writes",
        CHIP,
        (
            commands("burn_bit BLOCK3 1 2"),
            commands("burn_bit --force-write-always BLOCK3 3"),
            commands("write_protect_efuse BLOCK_USR_DATA BLOCK_KEY0"),
            commands("burn_bit --force-write-always BLOCK3 4"),
            commands("burn_key --force-write-always BLOCK_KEY0 one.bin HMAC_UP"),
            commands("burn_bit --force-write-always BLOCK1 150", "burn_efuse WAFER_VERSION_MAJOR 1"),
        ),
        files=KEYS,
        peers=BOTH,
    ),
    Case(
        "links that end",
        CHIP,
        (commands("burn_efuse ENABLE_SECURITY_DOWNLOAD 1", "burn_efuse DIS_DOWNLOAD_MODE 1"),),
        peers=BOTH,
    ),
)
