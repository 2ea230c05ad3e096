# What a station burns into each board: a custom MAC address and a serial number that are counted from its
# index, and one security setting. The job file examples/station.toml names this script.
#
#   parburn station --sim esp32c3:8
mac = "02:00:5e:{:02x}:{:02x}:{:02x}".format(args.index >> 16, args.index >> 8 & 255, args.index & 255)
espefuse(esp, efuses, args, "burn_custom_mac {}".format(mac))
espefuse(esp, efuses, args, "burn_efuse SERIAL {}".format(26480000 + args.index))
espefuse(esp, efuses, args, "burn_efuse DIS_DIRECT_BOOT 1")
