# Burns a MAC address and a serial number from a CSV file that may grow: row n behind the header is index n.
#
#   parburn --ports '/dev/ttyUSB*' --scripts examples/09_mac_and_serial.py \
#           --configfiles examples/units.csv --records examples/units.csv=row \
#           --extend-efuse-table examples/product.csv
import csv

units = next(file for file in args.configfiles if file.name.endswith("units.csv"))
unit = list(csv.DictReader(units))[args.index - 1]
espefuse(esp, efuses, args, "burn_custom_mac {}".format(unit["mac"]))
espefuse(esp, efuses, args, "burn_efuse SERIAL {}".format(unit["serial"]))
