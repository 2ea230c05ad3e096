"""What the soak's station burns: its folder, armed by the installed command, and what chips must then hold.

Every `DOUBLE_EVERY`-th index is given the MAC address of the one before it, but in no rehearsal: the ledger
is what stands between two chips with one address. A chip that came with `ODD` burned makes the script ask for
one bit more than was armed.
"""

from __future__ import annotations

import json
import os
import random
import subprocess
from pathlib import Path
from typing import NamedTuple

from parburn.chips.model import Chip
from parburn.sim.factory import Product, make_product, sibling
from parburn.sim.state_file import BoardFile
from tests.command import COMMAND
from tests.soak.jobs import Expectation, Work, custom_mac, key_of, set_bits

CHIP = "esp32c3"
OTHER_CHIPS = ("esp32", "esp32c6", "esp32s3")
ODD, ASKED_BY_ODD = "DIS_FORCE_DOWNLOAD", "DIS_PAD_JTAG"
DOUBLE_EVERY = 83

_HEAD = f"""\
number = args.index
twice = number % {DOUBLE_EVERY} == 0 and not args.rehearsal
mac = json.load(args.configfiles[0])[str(number - 1 if twice else number)]
entry = {{'mac': mac, 'key': os.path.join(KEYS, str(number))}}
if efuses['{ODD}'].get():
    espefuse(esp, efuses, args, 'burn_efuse {ASKED_BY_ODD} 1')
"""


class Wanted(Expectation):
    """Which cells a chip holds when it is done as an index."""

    def _mac(self, index: int) -> bytes:
        return custom_mac(owner_of(index))


class Drawn(NamedTuple):
    """What a seed says of the job."""

    work: Work
    after: str
    first_article: int
    debounce_ms: int
    look_ms: int


def owner_of(index: int) -> int:
    """The index whose MAC address an index is given."""
    return index - 1 if index % DOUBLE_EVERY == 0 else index


def draw(rng: random.Random, *, after: str = "") -> Drawn:
    """Draw a job."""
    burns = (rng.random() < 0.2, rng.random() < 0.2, rng.random() < 0.3)
    work = Work(burns=burns, hidden_key=rng.random() < 0.7)
    return Drawn(
        work,
        after or ("hard-reset" if rng.random() < 0.15 else "no-reset"),
        rng.choice((0, 1, 1, 2)),
        rng.choice((10, 20, 50)),
        rng.choice((20, 50, 100)),
    )


class Job:
    """A job's folder, with a ledger and an arming."""

    def __init__(self, folder: Path, drawn: Drawn, *, records: int) -> None:
        self.folder, self.work, self.records = folder, drawn.work, records
        self.path = folder / "lamp.toml"
        self.ledger = folder / "ledger.sqlite3"
        self.slots = folder / "rig.slots.toml"
        self.state = folder / "state-home"
        self._patterns: dict[str, Product] = {}
        keys = folder / "keys"
        keys.mkdir(parents=True)
        for index in range(1, records + 1):
            (keys / str(index)).write_bytes(key_of(index))
        macs = {str(index): custom_mac(index).hex(":") for index in range(1, records + 1)}
        (folder / "ids.json").write_text(json.dumps(macs))
        body = drawn.work.script().split("\n", 1)[1]
        (folder / "one.py").write_text("import os\n" + _HEAD.replace("KEYS", repr(str(keys))) + body)
        self.path.write_text(
            'schema = 1\nname = "lamp"\nscripts = ["one.py"]\nconfigfiles = ["ids.json"]\n'
            f'chips = ["{CHIP}"]\nslots = "rig.slots.toml"\nafter = "{drawn.after}"\n'
            f"first_article = {drawn.first_article}\n"
            f"[bounds]\ndebounce_ms = {drawn.debounce_ms}\nlook_ms = {drawn.look_ms}\nreplug_s = 1.0\n"
            "[stop]\nsame_script_error_on = 3\n"
            '[ledger]\npath = "ledger.sqlite3"\n'
        )

    def environment(self) -> dict[str, str]:
        """Of the station: nothing of it meets another station of this machine."""
        run = self.folder / "run"
        run.mkdir(exist_ok=True, mode=0o700)
        return {
            **os.environ,
            "XDG_STATE_HOME": str(self.state),
            "XDG_RUNTIME_DIR": str(run),
            "PARBURN_LINES_LOCK": str(run / "lines.lock"),
            "COLUMNS": "120",
        }

    def arm(self, slots: dict[str, str], *, seats: str) -> None:
        """Name the sockets, and let an engineer arm it."""
        more = "" if seats == "plug" else f', kind = "bridge", presence = "{seats}"'
        lines = [f'{name} = {{ place = "{port}"{more} }}\n' for name, port in slots.items()]
        self.slots.write_text("[slots]\n" + "".join(lines))
        self.parburn("arm", str(self.path), "--operator", "Eva", "--yes-burn", "--new-ledger")

    def parburn(self, *words: str) -> str:
        """Run the installed command to its good end; return what it says."""
        assert COMMAND
        done = subprocess.run(
            [COMMAND, *words], env=self.environment(), capture_output=True, text=True, check=False
        )
        if done.returncode:
            raise AssertionError(f"parburn {' '.join(words)}: {done.stdout}{done.stderr}")
        return done.stdout

    # Boards ---------------------------------------------------------------------------------------------

    def pattern(self, chip: str) -> Product:
        """A board of this chip as all of them come from the factory."""
        if chip not in self._patterns:
            made = make_product(chip, mac=bytes(6), settings={}, rng=random.Random(1))
            self._patterns[chip] = made
        return self._patterns[chip]

    def factory(self, made: Product, *, odd: bool) -> dict[int, int]:
        """The cells with which a board came."""
        chip, memory = made.chip, made.memory
        mac = memory.field_bits(chip.mac_field).to_bytes(6, "big")
        unique_id = memory.field_bits(chip.unique_id_field or "")
        blank = sibling(self.pattern(chip.name), mac=mac, unique_id=unique_id)
        if odd:
            set_bits(blank.memory, ODD, 1)
        return blank.memory.cells

    def write_odd(self, path: Path, rng: random.Random) -> None:
        """Write the file of a board in which somebody has burned a bit that changes what the script asks."""
        mac = b"\x02\x00" + rng.randbytes(4)
        made = sibling(self.pattern(CHIP), mac=mac, unique_id=rng.getrandbits(128))
        set_bits(made.memory, ODD, 1)
        BoardFile(path, made).write()

    def wanted(self, chip: Chip, factory: dict[int, int]) -> Wanted:
        """What a chip must hold."""
        return Wanted(chip, factory, self.work)
