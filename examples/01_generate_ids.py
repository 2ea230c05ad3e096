"""Make mac_addresses.json and unique_id.json for a batch. Run it once, by itself, before the batch:

    python examples/01_generate_ids.py --count 1000 --first-mac 02:00:00:00:10:00 --dir .

The keys are the indexes 1 .. count. An existing file is never overwritten: it may have been burned from.
"""

import argparse
import json
import pathlib
import secrets


def mac_text(number: int) -> str:
    """02:00:00:00:10:00 for 0x020000001000."""
    return number.to_bytes(6, "big").hex(":")


def main() -> None:
    parser = argparse.ArgumentParser(description="Make MAC addresses and unique ids for a batch.")
    parser.add_argument("--count", type=int, required=True)
    parser.add_argument("--first-mac", required=True, metavar="AA:BB:CC:DD:EE:FF")
    parser.add_argument("--dir", type=pathlib.Path, default=pathlib.Path())
    options = parser.parse_args()

    first = bytes.fromhex(options.first_mac.replace(":", ""))
    if len(first) != 6 or first[0] & 1:
        parser.error("the first MAC must have six bytes and be a unicast address (first byte even)")
    start = int.from_bytes(first, "big")
    ids: set[str] = set()
    while len(ids) < options.count:
        ids.add(secrets.token_hex(5))  # 40 bits, as UNIQUE_ID in unique_id.csv

    batch = range(1, options.count + 1)
    files = {
        "mac_addresses.json": {str(index): mac_text(start + index - 1) for index in batch},
        "unique_id.json": {str(index): one for index, one in zip(batch, sorted(ids), strict=True)},
    }
    for name, content in files.items():
        with (options.dir / name).open("x") as file:
            json.dump(content, file, indent=1)


if __name__ == "__main__":
    main()
