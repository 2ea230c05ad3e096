"""A job's folder for tests of the station: script, records, job file, and what belongs to it."""

from __future__ import annotations

import json
from pathlib import Path

SCRIPT = """\
entry = json.load(args.configfiles[0])[str(args.index)]
espefuse(esp, efuses, args, 'burn_custom_mac ' + entry['mac'])
espefuse(esp, efuses, args, 'burn_efuse DIS_DOWNLOAD_ICACHE 1')
"""


def records(count: int) -> dict[str, dict[str, str]]:
    """Records with a MAC each."""
    return {str(n): {"mac": f"aa:cd:ef:01:{n >> 8:02x}:{n & 255:02x}"} for n in range(1, count + 1)}


class JobFolder:
    """A folder with a job in it. `lines` are those of the job file, each a key and its value in TOML."""

    def __init__(self, folder: Path, *, count: int = 5, script: str = SCRIPT) -> None:
        self.folder = folder
        self.path = folder / "lamp.toml"
        self.armed = folder / "lamp.armed"
        self.ledger = folder / "ledger.sqlite3"
        self.lines: dict[str, str] = {
            "schema": "1",
            "name": '"lamp"',
            "scripts": '["burn.py"]',
            "configfiles": '["ids.json"]',
            "chips": '["esp32c3"]',
        }
        self.sections = '[ledger]\npath = "ledger.sqlite3"\n'
        self.records = records(count)
        self.script = script
        self.write()

    def write(self, **lines: str) -> Path:
        """Write all files anew; `lines` are keys of the job file, as TOML."""
        self.lines |= lines
        (self.folder / "burn.py").write_text(self.script)
        (self.folder / "ids.json").write_text(json.dumps(self.records))
        text = "".join(f"{key} = {value}\n" for key, value in self.lines.items())
        self.path.write_text(text + self.sections)
        return self.path
