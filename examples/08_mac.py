# Burns a custom MAC address by the board's index, and nothing else; any chip.
#
#   parburn --ports '/dev/ttyUSB*' --scripts examples/08_mac.py --configfiles examples/mac_addresses.json
mac = json.load(args.configfiles[0])[str(args.index)]
espefuse(esp, efuses, args, "burn_custom_mac {}".format(mac))
