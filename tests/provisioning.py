"""What tests of the installed command share: a script and its identities, and what the boards then hold.

The files themselves are fixtures in `conftest.py`, each test's own.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from parburn.natural_order import natural_key
from tests.command import Outcome
from tests.rig import Rig

KEY = bytes(range(0x61, 0x81))

PROVISION = """\
entry = json.load(args.configfiles[0])[str(args.index)]
espefuse(esp, efuses, args, 'burn_custom_mac ' + entry['mac'])
if esp.CHIP_NAME == 'ESP32':
    espefuse(esp, efuses, args, 'burn_efuse JTAG_DISABLE')
else:
    espefuse(esp, efuses, args, 'burn_key BLOCK_KEY0 {key} XTS_AES_128_KEY')
    espefuse(esp, efuses, args, 'burn_efuse DIS_DOWNLOAD_ICACHE 1')
"""


def mac(index: int) -> str:
    """The custom MAC of an index in `ids`."""
    return f"aa:cd:ef:00:02:{index:02x}"


def script(folder: Path, name: str, text: str) -> Path:
    """A script file."""
    path = folder / f"{name}.py"
    path.write_text(text)
    return path


def all_bits(rig: Rig, board: int) -> dict[str, str]:
    """The board's true bits, block by block."""
    return {name: block["bits"] for name, block in rig.state(board)["blocks"].items()}


def every_bit(rig: Rig) -> list[dict[str, str]]:
    """The true bits of all boards."""
    return [all_bits(rig, n) for n in range(len(rig.ports))]


def custom_mac_of(rig: Rig, board: int) -> str:
    """The custom MAC in the board's true bits; empty without one."""
    # The first generation keeps it behind its CRC byte, the later ones at the end of the user block.
    shift = 8 if rig.state(board)["chip"] == "esp32" else 200
    found = rig.bits(board, 3) >> shift & (1 << 48) - 1
    return found.to_bytes(6, "little").hex(":") if found else ""


def key_of(rig: Rig, board: int, block: int = 4) -> bytes:
    """The key in the board's true bits."""
    return rig.bits(board, block).to_bytes(32, "little")


def rows(path: Path) -> list[dict[str, Any]]:
    """The rows of the last run in a report, in the order of the ports."""
    found: list[dict[str, Any]] = [json.loads(line) for line in path.read_text().splitlines()]

    def run_of(row: dict[str, Any]) -> tuple[Any, ...]:
        return row["run"], row["ledger_uuid"]

    last = [row for row in found if run_of(row) == run_of(found[-1])]
    return sorted(last, key=lambda row: natural_key(row["port"]))


def said(outcome: Outcome) -> str:
    """All that a run said, for the message of an assertion."""
    return f"exit {outcome.exit}\n{outcome.stdout}\n{outcome.stderr}"
