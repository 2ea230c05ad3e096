# A script that runs another: the same index and files must be handed on, or they are None in there.
#
#   parburn --ports '/dev/ttyUSB*' --scripts examples/06_nested.py --configfiles examples/ids.json
other = os.path.join(os.path.dirname(__file__), "04_mixed_chips.py")
files = " ".join("'{}'".format(handle.name) for handle in args.configfiles)
command = "execute_scripts '{}' --index {} --configfiles {}".format(other, args.index, files)
espefuse(esp, efuses, args, command)
espefuse(esp, efuses, args, "summary CUSTOM_MAC")
