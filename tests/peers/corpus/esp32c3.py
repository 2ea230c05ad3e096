"""Command sequences for ESP32-C3: where it differs from ESP32-S3."""

from __future__ import annotations

from tests.peers.case import Case, commands, key, rsa_pem

CHIP = "esp32c3"
BOTH = (4, 5)
KEYS = {"one.bin": key("one"), "two.bin": key("two"), "three.bin": key("three"), "long.bin": key("long", 64)}
CALIBRATED = {
    1: int.from_bytes(key("calibration 1", 6), "little") << 135,
    2: 1 << 128 | int.from_bytes(key("calibration 2", 15), "little") << 131,
}

ESP32C3 = (
    Case(
        "keys and purposes",
        CHIP,
        (
            commands("burn_key BLOCK_KEY0 one.bin XTS_AES_128_KEY BLOCK_KEY1 two.bin HMAC_UP"),
            commands("burn_key_digest BLOCK_KEY2 rsa.pem SECURE_BOOT_DIGEST0"),
            commands("burn_efuse SPI_BOOT_CRYPT_CNT 7 SECURE_BOOT_EN 1"),
            commands("burn_key BLOCK_KEY1 three.bin HMAC_UP"),
        ),
        files={**KEYS, "rsa.pem": lambda: rsa_pem(0)},
        peers=BOTH,
    ),
    Case(
        "no key of 512 bits, and no XTS key in KEY5",
        CHIP,
        (
            commands("burn_key BLOCK_KEY0 long.bin XTS_AES_256_KEY"),
            commands("burn_key BLOCK_KEY5 one.bin XTS_AES_128_KEY"),
            commands("burn_key BLOCK9 one.bin USER"),
        ),
        files=KEYS,
        peers=BOTH,
    ),
    Case(
        "no flash voltage here",
        CHIP,
        (commands("set_flash_voltage 3.3V"),),
        peers=BOTH,
    ),
    Case(
        "fields of BLOCK0 together",
        CHIP,
        (
            commands(
                "burn_efuse DIS_PAD_JTAG 1 SOFT_DIS_JTAG 5 DIS_DIRECT_BOOT 1", "burn_efuse FLASH_TPUW 3"
            ),
            commands("burn_efuse SOFT_DIS_JTAG 7"),
            commands("burn_efuse SOFT_DIS_JTAG 3"),
            commands("write_protect_efuse DIS_PAD_JTAG"),
            commands("burn_efuse DIS_PAD_JTAG 1"),
            commands("burn_efuse SOFT_DIS_JTAG 7 DIS_TWAI 1"),
        ),
        peers=BOTH,
    ),
    Case(
        "custom MAC and user data share a block",
        CHIP,
        (
            commands("burn_custom_mac aa:cd:ef:01:02:03", "burn_bit BLOCK_USR_DATA 0 1 2"),
            commands("burn_efuse CUSTOM_MAC aa:cd:ef:01:02:03"),
            commands("burn_bit BLOCK_USR_DATA 4"),
        ),
        peers=BOTH,
    ),
    Case(
        "a calibrated chip",
        CHIP,
        (commands("adc_info", "burn_efuse ERR_RST_ENABLE 1"),),
        start=CALIBRATED,
        peers=BOTH,
    ),
    Case(
        "a factory block is protected",
        CHIP,
        (
            commands("write_protect_efuse MAC"),
            commands("burn_efuse SPI_PAD_CONFIG_CLK 3"),
            commands("burn_efuse OPTIONAL_UNIQUE_ID ffeeddccbbaa99887766554433221100"),
        ),
        peers=BOTH,
    ),
    Case(
        "values of every kind of text",
        CHIP,
        (
            commands("burn_efuse WDT_DELAY_SEL 0b10"),
            commands("burn_efuse FLASH_TPUW 0o7"),
            commands("burn_efuse UART_PRINT_CONTROL -1"),
            commands("burn_efuse UART_PRINT_CONTROL 1.5"),
            commands("burn_efuse UART_PRINT_CONTROL 4"),
            commands("burn_efuse WAFER_VERSION_MINOR 1"),
        ),
        peers=BOTH,
    ),
    Case(
        "the same name twice",
        CHIP,
        (
            commands("write_protect_efuse DIS_ICACHE DIS_ICACHE"),
            commands("read_protect_efuse BLOCK_KEY1 BLOCK_KEY1"),
            commands("burn_efuse DIS_ICACHE 1 DIS_ICACHE 1"),
        ),
        peers=BOTH,
    ),
)
