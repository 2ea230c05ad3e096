# The same work in the style of esptool 5: methods instead of strings. For chips with key purposes.
#
#   parburn --ports '/dev/ttyUSB*' --scripts examples/05_dialect_5.py --configfiles examples/ids.json
import json
import pathlib

from espefuse import init_commands

with init_commands(port=args.port) as espefuse:  # the board this script runs on
    unit = json.load(args.configfiles[0])[str(args.index)]
    key = pathlib.Path(__file__).with_name("demo_key.bin")
    espefuse.burn_custom_mac(unit["mac"])
    espefuse.burn_key(["BLOCK_KEY0"], [key], ["HMAC_UP"])
    espefuse.burn_efuse({"SPI_BOOT_CRYPT_CNT": 0x7})
    espefuse.burn_all()
    if espefuse.efuses["KEY_PURPOSE_0"].get() != "HMAC_UP":
        raise RuntimeError("the key has another purpose")
