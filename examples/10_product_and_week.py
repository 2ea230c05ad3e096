# Burns a product's name and a week, equal on many boards, beside a serial number that is each board's own.
#
#   parburn --ports '/dev/ttyUSB*' --scripts examples/10_product_and_week.py \
#           --extend-efuse-table examples/product.csv --same PRODUCT --same WEEK --unique SERIAL
product = "SENSOR".encode("ascii").hex()  # a field of more than 32 bits takes its bytes in hex
week = 2648
serial = 26480000 + args.index
espefuse(esp, efuses, args, "burn_efuse PRODUCT {} WEEK {} SERIAL {}".format(product, week, serial))
