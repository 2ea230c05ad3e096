# ESP32: burns a flash encryption key and turns flash encryption on, then checks that the key is protected.
#
#   parburn --ports '/dev/ttyUSB*' --chip esp32 --scripts examples/03_flash_encryption.py
#
# demo_key.bin is in a public repository: make a key of your own (32 random bytes) for each product or board.
scheme = efuses["CODING_SCHEME"].get_meaning()
print("connected chip: {}, coding scheme {}".format(esp.get_chip_description(), scheme))

if efuses["BLOCK1"].is_readable() and efuses["BLOCK1"].is_writeable():
    key = os.path.join(os.path.dirname(__file__), "demo_key.bin")
    espefuse(esp, efuses, args, "burn_key flash_encryption '{}'".format(key))
else:
    print("BLOCK1 is protected already: it keeps its key")

if efuses["FLASH_CRYPT_CNT"].get() in [0, 3]:  # an even number of bits: flash encryption is off
    espefuse(esp, efuses, args, "burn_efuse FLASH_CRYPT_CNT")
else:
    print("flash encryption is on already")

efuses.burn_all()

if efuses["BLOCK1"].is_readable() or efuses["BLOCK1"].is_writeable():
    raise esptool.FatalError("BLOCK1 should be read and write protected")
if efuses["FLASH_CRYPT_CNT"].get() != 1:
    raise esptool.FatalError("FLASH_CRYPT_CNT should be 1")
