# The second station: burns the key of the board's index. For chips with key purposes.
# All stations of a product use one --batch and all of its files, so that a board has one index everywhere; a
# script then looks for its file by name, since their order does not count.
#
#   parburn --ports '/dev/ttyUSB*' --scripts examples/13_key_by_index.py --batch spring \
#           --configfiles examples/units.csv examples/keys.csv
#
# keys.csv is in a public repository: make keys of your own.
import csv
import io

file = next(file for file in args.configfiles if file.name.endswith("keys.csv"))
key = next(row["key"] for row in csv.DictReader(file) if row["index"] == str(args.index))
espefuse.burn_key(["BLOCK_KEY1"], [io.BytesIO(bytes.fromhex(key))], ["HMAC_UP"])
