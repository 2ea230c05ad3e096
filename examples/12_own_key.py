# Makes a random key for each board and saves it in keys/ beside this script. For chips with key purposes.
# The file is whole before its key is staged: a board that was interrupted goes on with the very same key.
# Keep keys/ as you keep the ledger: a key that is hidden in a chip can be read nowhere else.
#
#   parburn --ports '/dev/ttyUSB*' --scripts examples/12_own_key.py --batch sensor
import pathlib
import secrets

keys = pathlib.Path(__file__).with_name("keys")
keys.mkdir(mode=0o700, exist_ok=True)
path = keys / "{}.bin".format(bytes(esp.read_mac()).hex())  # by the chip's factory MAC
if not path.exists():
    if not efuses["BLOCK_KEY0"].is_readable():
        raise esptool.FatalError("this chip has a key already, and {} is not there: find it".format(path))
    part = path.with_suffix(".part")
    with part.open("wb") as file:
        file.write(secrets.token_bytes(32))
        file.flush()
        os.fsync(file.fileno())  # a power cut must not leave an empty key behind
    part.rename(path)
espefuse(esp, efuses, args, "burn_key BLOCK_KEY0 '{}' HMAC_UP".format(path))
