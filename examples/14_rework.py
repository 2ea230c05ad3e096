# Another job for boards that have passed: turns the JTAG pads off. Each keeps its index and all that it has.
#
#   parburn --ports '/dev/ttyUSB*' --scripts examples/14_rework.py --batch spring \
#           --configfiles examples/units.csv examples/keys.csv
if esp.CHIP_NAME == "ESP32":
    espefuse(esp, efuses, args, "burn_efuse JTAG_DISABLE 1")
else:
    espefuse(esp, efuses, args, "burn_efuse DIS_PAD_JTAG 1")
