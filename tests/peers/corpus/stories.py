"""Scripts of dialect 4 and 5: what a production line writes, and what goes wrong in it.

A line printed with `::` in front is compared with the original's. Scripts of dialect 4 keep to what the
original's `exec` allows: no `def` that uses the script's own names.
"""

from __future__ import annotations

import json

from tests.peers.case import THREE_QUARTERS, Case, bits, key, rsa_pem, scripts

MACS = json.dumps({"1": "aa:bb:cc:dd:ee:88", "2": "aa:bb:cc:dd:ee:8a", "10": "aa:bb:cc:dd:ee:98"})
UNIQUE_IDS = json.dumps({"1": "0x1f1e1d1c1b1a191817161514131211", "2": "0x2f2e2d2c2b2a292827262524232221"})
UNIQUE_ID_TABLE = """\
# field_name, | efuse_block, | bit_start, | bit_count, | comment
MODULE_VERSION,   EFUSE_BLK3,    56,          8,         Module version
LINE_DATA,        EFUSE_BLK3,    64,          16,        What the line says
LINE_DATA.STATION, EFUSE_BLK3,   64,          4,         [LINE_STATION] Which station
LINE_DATA.TESTED, EFUSE_BLK3,    68,          1,         Whether tested
"""
UNIQUE_TABLE_34 = """\
UNIQUE_ID,        EFUSE_BLK3,    48,          48,        [DEVICE_ID UID] Unique id of the product
"""
UNIQUE_TABLE_RS = """\
UNIQUE_ID,        EFUSE_BLK3,    0,           120,       [DEVICE_ID] Unique id of the product
BATCH,            EFUSE_BLK3,    120,         16,        Batch
BATCH_DONE,       EFUSE_BLK3,    136,         1,         Batch done
"""
READ_ALL = """
for field in sorted(efuses, key=lambda one: one.name):  # the original appends what a burn made appear
    print("::", field.name, field.get(), field.get_meaning(), field.is_readable(), field.is_writeable())
"""

STORIES = (
    Case(
        "the documented example, corrected",
        "esp32",
        (scripts("burn.py", index=1, configs=("macs.json", "ids.json")),),
        files={
            "macs.json": MACS,
            "ids.json": json.dumps({"1": "0x2211", "2": "0x4433"}),
            "flash_encryption_key.bin": key("flash"),
            "burn.py": """
mac_addresses = json.load(args.configfiles[0])
unique_id = json.load(args.configfiles[1])
espefuse(esp, efuses, args, "burn_custom_mac {}".format(mac_addresses[str(args.index)]))
espefuse(esp, efuses, args, "burn_efuse UNIQUE_ID {}".format(unique_id[str(args.index)]))
print(":: coding scheme %s" % efuses["CODING_SCHEME"].get_meaning())
espefuse(esp, efuses, args, "burn_key flash_encryption flash_encryption_key.bin")
if efuses["FLASH_CRYPT_CNT"].get() in [0, 3]:
    espefuse(esp, efuses, args, "burn_efuse FLASH_CRYPT_CNT 1")
efuses.burn_all()
if efuses["BLOCK1"].is_readable() or efuses["BLOCK1"].is_writeable():
    raise esptool.FatalError("BLOCK1 should be read and write protected")
print("::", efuses["CUSTOM_MAC"].get_meaning(), efuses["UNIQUE_ID"].get(), efuses["BLOCK1"].get())
""",
        },
        table="UNIQUE_ID, EFUSE_BLK3, 64, 16, Unique id\n",
    ),
    Case(
        "values show the chip as it is until a burn",
        "esp32c3",
        (scripts("burn.py"),),
        files={
            "one.bin": key("one"),
            "burn.py": """
espefuse(esp, efuses, args, "burn_efuse SPI_BOOT_CRYPT_CNT 1")
espefuse(esp, efuses, args, "burn_key BLOCK_KEY0 one.bin XTS_AES_128_KEY")
print("::", efuses["SPI_BOOT_CRYPT_CNT"].get_meaning(), efuses["KEY_PURPOSE_0"].get())
block = efuses["BLOCK_KEY0"]
print("::", block.is_readable(), block.is_writeable(), block.get())
efuses.burn_all()
print("::", efuses["SPI_BOOT_CRYPT_CNT"].get_meaning(), efuses["KEY_PURPOSE_0"].get_meaning())
block = efuses["BLOCK_KEY0"]
print("::", block.is_readable(), block.is_writeable(), block.get())
espefuse(esp, efuses, args, "burn_efuse SPI_BOOT_CRYPT_CNT 3")
efuses.burn_all()
print("::", efuses["SPI_BOOT_CRYPT_CNT"].get(), efuses["SPI_BOOT_CRYPT_CNT"].get_meaning())
espefuse(esp, efuses, args, "burn_efuse SPI_BOOT_CRYPT_CNT 7")
print("::", efuses["SPI_BOOT_CRYPT_CNT"].get_raw(), efuses["SPI_BOOT_CRYPT_CNT"].get_bitstring())
""",
        },
    ),
    Case(
        "every field says the same, before and after",
        "esp32",
        (scripts("all.py", "burn.py", "all.py"),),
        files={
            "all.py": READ_ALL,
            "burn.py": """
espefuse(esp, efuses, args, "burn_custom_mac 12:34:56:78:9a:bc")
espefuse(esp, efuses, args, "set_flash_voltage 3.3V")
espefuse(esp, efuses, args, "read_protect_efuse BLOCK1")
efuses.burn_all()
""",
        },
    ),
    Case(
        "every field of an S3 says the same",
        "esp32s3",
        (scripts("burn.py", "all.py"),),
        files={
            "all.py": READ_ALL,
            "burn.py": """
espefuse(esp, efuses, args, "burn_efuse UART_PRINT_CONTROL 3 WDT_DELAY_SEL 1 USB_PHY_SEL 1 FLASH_TYPE 1")
espefuse(esp, efuses, args, "burn_efuse KEY_PURPOSE_2 HMAC_UP KEY_PURPOSE_4 5")
efuses.burn_all()
""",
        },
    ),
    Case(
        "one script after another on one chip",
        "esp32s3",
        (scripts("first.py", "second.py"), scripts("second.py")),
        files={
            "first.py": """
purpose = "HMAC_UP"
espefuse(esp, efuses, args, "burn_custom_mac aa:cd:ef:01:02:03")
""",
            "second.py": """
if efuses["KEY_PURPOSE_1"].get() == "USER":
    open("made.bin", "wb").write(bytes(range(32)))
    espefuse(esp, efuses, args, "burn_key BLOCK_KEY1 made.bin %s" % purpose)
else:
    print("::", efuses["KEY_PURPOSE_1"].get(), efuses["BLOCK_KEY1"].get())
""",
        },
    ),
    Case(
        "a nested script with its own index and files",
        "esp32",
        (scripts("outer.py", index=2, configs=("macs.json",)),),
        files={
            "macs.json": MACS,
            "flags.json": json.dumps({"10": "JTAG_DISABLE"}),
            "outer.py": """
espefuse(esp, efuses, args, "execute_scripts inner.py --index 10 --configfiles flags.json")
espefuse(esp, efuses, args, "execute_scripts bare.py")
print("::", efuses["JTAG_DISABLE"].get(), args.index, len(args.configfiles))
macs = json.load(args.configfiles[0])
espefuse(esp, efuses, args, "burn_custom_mac %s" % macs[str(args.index)])
""",
            "inner.py": """
flags = json.load(args.configfiles[0])
print(":: inner", args.index)
espefuse(esp, efuses, args, "burn_efuse %s 1" % flags[str(args.index)])
""",
            "bare.py": """
print(":: bare", args.index, args.configfiles)
espefuse(esp, efuses, args, "burn_efuse DISABLE_DL_CACHE")
""",
        },
    ),
    Case(
        "a refusal that is caught leaves the rest",
        "esp32s3",
        (scripts("burn.py"),),
        files={
            "one.bin": key("one"),
            "burn.py": """
for line in ("burn_efuse NOPE 1", "burn_efuse WDT_DELAY_SEL 9", "burn_key BLOCK_KEY5 one.bin XTS_AES_128_KEY",
             "burn_custom_mac 01:00:00:00:00:00", "burn_bit BLOCK3 256"):
    try:
        espefuse(esp, efuses, args, line)
        print(":: taken", line)
    except Exception as error:
        print(":: refused", line)
espefuse(esp, efuses, args, "burn_efuse DIS_TWAI 1")
efuses.burn_all()
print("::", efuses["DIS_TWAI"].get(), efuses["KEY_PURPOSE_5"].get(), efuses["BLOCK_KEY5"].get())
""",
        },
    ),
    Case(
        "a script that raises keeps what it had burned and drops what it had staged",
        "esp32c3",
        (scripts("burn.py"), scripts("look.py")),
        files={
            "burn.py": """
espefuse(esp, efuses, args, "burn_efuse DIS_TWAI 1")
efuses.burn_all()
espefuse(esp, efuses, args, "burn_efuse DIS_PAD_JTAG 1")
raise esptool.FatalError("not today")
""",
            "look.py": 'print("::", efuses["DIS_TWAI"].get(), efuses["DIS_PAD_JTAG"].get())\n',
        },
    ),
    Case(
        "a script that exits burns nothing",
        "esp32",
        (scripts("burn.py"), scripts("zero.py")),
        files={
            "burn.py": 'import sys\nespefuse(esp, efuses, args, "burn_efuse JTAG_DISABLE")\nsys.exit(3)\n',
            "zero.py": 'import sys\nespefuse(esp, efuses, args, "burn_efuse JTAG_DISABLE")\nsys.exit(0)\n',
        },
    ),
    Case(
        "an error of the script itself",
        "esp32",
        (scripts("burn.py", index=1, configs=("macs.json",)),),
        files={
            "macs.json": MACS,
            "burn.py": """
macs = json.load(args.configfiles[0])
espefuse(esp, efuses, args, "burn_efuse JTAG_DISABLE")
espefuse(esp, efuses, args, "burn_custom_mac %s" % macs["nobody"])
""",
        },
    ),
    Case(
        "meanings are checked, and one is wrong",
        "esp32",
        (scripts("check.py"), scripts("wrong.py")),
        coding=THREE_QUARTERS,
        files={
            "check.py": """
if efuses["CODING_SCHEME"].get_meaning() != "3/4 (BLK1-3 len=192 bits)":
    raise esptool.FatalError("another coding scheme: %s" % efuses["CODING_SCHEME"].get_meaning())
if efuses.coding_scheme != 1:
    raise esptool.FatalError("another coding scheme")
espefuse(esp, efuses, args, "burn_efuse XPD_SDIO_TIEH 1")
efuses.burn_all()
if efuses["XPD_SDIO_TIEH"].get_meaning() != "3.3V":
    raise esptool.FatalError("not 3.3V")
""",
            "wrong.py": """
if efuses["XPD_SDIO_TIEH"].get_meaning() == "3.3V":
    raise esptool.FatalError("3.3V")
""",
        },
    ),
    Case(
        "fields and blocks burn by their methods",
        "esp32c3",
        (scripts("burn.py"),),
        files={
            "burn.py": """
efuses["DIS_ICACHE"].burn(1)
print("::", efuses["DIS_ICACHE"].get(), efuses["DIS_ICACHE"].is_writeable())
efuses["FLASH_TPUW"].save(5)
print("::", efuses["FLASH_TPUW"].get())
efuses["DIS_ICACHE"].disable_write()
efuses.burn_all()
print("::", efuses["FLASH_TPUW"].get(), efuses["DIS_ICACHE"].is_writeable())
efuses["KEY_PURPOSE_0"].save("HMAC_UP")
efuses.blocks[3].save(bytes(range(32)))
efuses["BLOCK_KEY1"].disable_read()
efuses.burn_all()
print("::", efuses["KEY_PURPOSE_0"].get(), efuses["BLOCK_USR_DATA"].get(), efuses["BLOCK_KEY1"].is_readable())
""",
        },
    ),
    Case(
        "what the chip says of itself",
        "esp32",
        (scripts("look.py"),),
        files={
            "look.py": """
print("::", esp.CHIP_NAME, esp.get_chip_revision())
print("::", esp.get_major_chip_version(), esp.get_minor_chip_version())
print("::", efuses["MAC"].get(), efuses["WAFER_VERSION_MAJOR"].get(), efuses["PKG_VERSION"].get())
print("::", efuses.get_block_version(), efuses["MAC"].get_bitstring(), efuses["WR_DIS"].get_bitstring())
""",
        },
    ),
    Case(
        "a table of the product's own fields",
        "esp32c3",
        (scripts("burn.py", index=2, configs=("ids.json",)), scripts("again.py")),
        files={
            "ids.json": UNIQUE_IDS,
            "burn.py": """
ids = json.load(args.configfiles[0])
espefuse(esp, efuses, args, "burn_efuse UNIQUE_ID %s BATCH 0x1234 BATCH_DONE 1" % ids[str(args.index)])
efuses.burn_all()
print("::", efuses["UNIQUE_ID"].get(), efuses["DEVICE_ID"].get_raw().hex(), efuses["BATCH"].get())
""",
            "again.py": 'espefuse(esp, efuses, args, "burn_efuse BATCH 0x5234")\n',
        },
        table=UNIQUE_TABLE_RS,
    ),
    Case(
        "a table with sub-fields",
        "esp32s3",
        (scripts("burn.py"),),
        files={
            "burn.py": """
espefuse(esp, efuses, args, "burn_efuse MODULE_VERSION 2 LINE_DATA_STATION 7 LINE_DATA_TESTED 1")
efuses.burn_all()
print("::", efuses["LINE_DATA"].get(), efuses["LINE_STATION"].get(), efuses["LINE_DATA_TESTED"].get())
""",
        },
        table=UNIQUE_ID_TABLE,
    ),
    Case(
        "a unique id under coding 3/4, and its neighbour too late",
        "esp32",
        (scripts("burn.py", index=1, configs=("ids.json",)), scripts("late.py")),
        coding=THREE_QUARTERS,
        files={
            "ids.json": json.dumps({"1": "0x010203040506"}),
            "burn.py": """
ids = json.load(args.configfiles[0])
espefuse(esp, efuses, args, "burn_efuse UID %s" % ids[str(args.index)])
""",
            "late.py": 'espefuse(esp, efuses, args, "burn_custom_mac aa:bb:cc:dd:ee:88")\n',
        },
        table=UNIQUE_TABLE_34,
    ),
    Case(
        "a whole secure boot and flash encryption set-up",
        "esp32s3",
        (scripts("burn.py", index=1, configs=("macs.json",)),),
        files={
            "macs.json": MACS.replace("aa:bb", "a8:bb"),
            "flash.bin": key("flash", 64),
            "hmac.bin": key("hmac"),
            "rsa.pem": lambda: rsa_pem(0),
            "burn.py": """
espefuse(esp, efuses, args, "burn_key BLOCK_KEY0 flash.bin XTS_AES_256_KEY")
espefuse(esp, efuses, args, "burn_key_digest BLOCK_KEY2 rsa.pem SECURE_BOOT_DIGEST0")
espefuse(esp, efuses, args, "burn_key BLOCK_KEY3 hmac.bin HMAC_UP")
espefuse(esp, efuses, args, "burn_custom_mac %s" % json.load(args.configfiles[0])["1"])
espefuse(esp, efuses, args, "burn_efuse SPI_BOOT_CRYPT_CNT 7 SECURE_BOOT_EN 1 DIS_DOWNLOAD_ICACHE 1")
espefuse(esp, efuses, args, "burn_efuse DIS_DOWNLOAD_DCACHE 1 DIS_PAD_JTAG 1 SOFT_DIS_JTAG 7")
espefuse(esp, efuses, args, "write_protect_efuse RD_DIS")
efuses.burn_all()
for name in "BLOCK_KEY0 BLOCK_KEY1 BLOCK_KEY2 BLOCK_KEY3 SPI_BOOT_CRYPT_CNT RD_DIS WR_DIS".split():
    print("::", name, efuses[name].is_readable(), efuses[name].is_writeable(), efuses[name].get_meaning())
""",
        },
    ),
    Case(
        "a block that refuses at the burn",
        "esp32s3",
        (scripts("first.py"), scripts("second.py"), scripts("look.py")),
        files={
            "first.py": 'espefuse(esp, efuses, args, "burn_bit BLOCK3 1 2 3")\n',
            "second.py": """
espefuse(esp, efuses, args, "burn_efuse DIS_TWAI 1")
espefuse(esp, efuses, args, "burn_bit BLOCK3 4")
efuses.burn_all()
""",
            "look.py": 'print("::", efuses["DIS_TWAI"].get(), efuses["BLOCK_USR_DATA"].get())\n',
        },
    ),
    Case(
        "unknown names in a script",
        "esp32",
        (scripts("burn.py"),),
        start={0: bits(6 * 32 + 2)},
        files={
            "burn.py": """
for name in ("NOPE", "JTAG_DISABLE", "CONSOLE_DEBUG_DISABLE", "SDIO_TIEH", "MAC_CUSTOM_VER", "CUSTOM_MAC"):
    try:
        print("::", name, efuses[name].name, efuses[name].get())
    except KeyError:
        print(":: no", name)
""",
        },
    ),
    Case(
        "dialect 5: methods",
        "esp32s3",
        (scripts("burn.py"),),
        files={
            "one.bin": key("one"),
            "two.bin": key("two"),
            "rsa.pem": lambda: rsa_pem(0),
            "burn.py": """
espefuse.burn_efuse({"DIS_TWAI": 1, "SPI_BOOT_CRYPT_CNT": 0x7})
espefuse.burn_key(["BLOCK_KEY0"], [open("one.bin", "rb")], ["XTS_AES_128_KEY"])
espefuse.burn_key(["BLOCK_KEY1"], [open("two.bin", "rb")], ["HMAC_UP"], no_read_protect=True)
espefuse.burn_key_digest(["BLOCK_KEY2"], [open("rsa.pem", "rb")], ["SECURE_BOOT_DIGEST0"])
espefuse.burn_custom_mac("aa:cd:ef:01:02:03")
espefuse.burn_bit("BLOCK_SYS_DATA2", [1, 2, 100])
espefuse.write_protect_efuse(["DIS_ICACHE"])
espefuse.set_flash_voltage("3.3V")
print("::", espefuse.efuses["DIS_TWAI"].get(), espefuse.efuses["KEY_PURPOSE_0"].get())
""",
        },
        peers=(5,),
    ),
    Case(
        "dialect 5: a classic chip",
        "esp32",
        (scripts("burn.py"), scripts("again.py")),
        files={
            "one.bin": key("one"),
            "six.bin": key("six", 6),
            "burn.py": """
espefuse.burn_key(["flash_encryption"], [open("one.bin", "rb")], no_protect_key=True)
espefuse.burn_block_data(["BLOCK3"], [open("six.bin", "rb")], offset=8)
espefuse.read_protect_efuse(["BLOCK1"])
espefuse.burn_efuse({"FLASH_CRYPT_CNT": 0x7, "FLASH_CRYPT_CONFIG": 0xF})
""",
            "again.py": 'espefuse.burn_efuse({"FLASH_CRYPT_CNT": 0x8})\n',
        },
        peers=(5,),
    ),
    Case(
        "dialect 5: refusals",
        "esp32c3",
        (scripts("mac.py"), scripts("name.py"), scripts("wide.py"), scripts("bit.py"), scripts("key.py")),
        files={
            "one.bin": key("one"),
            "mac.py": 'espefuse.burn_custom_mac("01:cd:ef:01:02:03")\n',
            "name.py": 'espefuse.burn_efuse({"NOPE": 1})\n',
            "wide.py": 'espefuse.burn_efuse({"WDT_DELAY_SEL": 4})\n',
            "bit.py": 'espefuse.burn_bit("BLOCK3", [256])\n',
            "key.py": 'espefuse.burn_key(["BLOCK_KEY5"], [open("one.bin", "rb")], ["XTS_AES_128_KEY"])\n',
        },
        peers=(5,),
    ),
)
