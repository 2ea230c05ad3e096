# Burns a custom MAC address and a unique id, both by the board's index.
#
#   parburn --ports '/dev/ttyUSB*' --scripts examples/02_mac_and_unique_id.py \
#           --configfiles examples/mac_addresses.json examples/unique_id.json \
#           --extend-efuse-table examples/unique_id.csv --index 1
mac_addresses = json.load(args.configfiles[0])
unique_id = json.load(args.configfiles[1])

mac = mac_addresses[str(args.index)]
espefuse(esp, efuses, args, "burn_custom_mac {}".format(mac))
espefuse(esp, efuses, args, "burn_efuse UNIQUE_ID {}".format(unique_id[str(args.index)]))

efuses.burn_all()

if not efuses["CUSTOM_MAC"].get().startswith(mac):
    raise esptool.FatalError("the custom MAC is not what was burned")
espefuse(esp, efuses, args, "get_custom_mac")
