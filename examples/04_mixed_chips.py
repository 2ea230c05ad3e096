# One script for boards of several chips: what differs goes by esp.CHIP_NAME, the MAC by the shared index.
#
#   parburn --ports '/dev/ttyUSB*' --scripts examples/04_mixed_chips.py --configfiles examples/ids.json
#
# Without boards:  parburn --sim esp32:3,esp32c3:3,esp32s3:2 --scripts examples/04_mixed_chips.py \
#                          --configfiles examples/ids.json --do-not-confirm
unit = json.load(args.configfiles[0])[str(args.index)]
espefuse(esp, efuses, args, "burn_custom_mac {}".format(unit["mac"]))

if esp.CHIP_NAME == "ESP32":
    jtag_off = "JTAG_DISABLE"
elif esp.CHIP_NAME in ("ESP32-S3", "ESP32-C3"):
    jtag_off = "DIS_PAD_JTAG"
else:
    raise esptool.FatalError("this script does not know {}".format(esp.CHIP_NAME))

espefuse(esp, efuses, args, "burn_efuse {} 1".format(jtag_off))
print("{}: unit {} gets {}".format(esp.get_chip_description(), unit["serial"], unit["mac"]))
