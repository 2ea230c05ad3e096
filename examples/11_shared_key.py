# Burns one key into all boards of a product, beside each board's own MAC. For chips with key purposes.
#
#   parburn --ports '/dev/ttyUSB*' --scripts examples/11_shared_key.py --configfiles examples/ids.json
#
# demo_key.bin is in a public repository: make a key of your own (32 random bytes) for each product.
unit = json.load(args.configfiles[0])[str(args.index)]
key = os.path.join(os.path.dirname(__file__), "demo_key.bin")
espefuse(esp, efuses, args, "burn_custom_mac {}".format(unit["mac"]))
espefuse(esp, efuses, args, "burn_key BLOCK_KEY0 '{}' HMAC_UP".format(key))
