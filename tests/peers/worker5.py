"""Runs sequences on the virtual chips of espefuse 5.x. Started by `Peer(5)` in that version's own venv.

Command lines go through the original's own command-line definitions onto its API object in batch mode. It
has no `execute_scripts` any more; a script here is one for its API, with `espefuse` as its command object.
"""

import importlib
import io
import json
import shlex
import sys
from pathlib import Path
from typing import Any

from tests.peers import worker_common as common

interface: Any = importlib.import_module("espefuse.efuse_interface")
cli_util: Any = importlib.import_module("espefuse.cli_util")
bitstring: Any = importlib.import_module("espefuse.efuse.bitstring")


VALUED = ("--offset", "-o", "--format", "--file", "--file-name", "--file_name")


class Session5(common.Session):
    """One virtual chip under espefuse 5.x."""

    def __init__(self, chip: str, start: dict[int, int], table: str | None) -> None:
        self.table = table
        super().__init__(interface.get_esp(chip=chip, virt=True), bitstring.BitStream, start)

    def look(self) -> None:
        """Take the API object as a new run of the tool would have it."""
        table = io.StringIO(self.table) if self.table is not None else None
        self.api = interface.init_commands(esp=self.esp, do_not_confirm=True, extend_efuse_table=table)
        self.efuses = self.api.efuses
        self.efuses.postpone = True

    def commands(self, lines: list[str]) -> dict[str, Any]:
        """Stage the commands, then burn."""
        self.api.use_batch_mode()
        where = ""
        try:
            group = cli_util.EspefuseGroup(chain=True)
            group._esp = self.esp
            self.api.add_cli_commands(group)
            state = {"commands": self.api, "efuses": self.efuses, "debug": False, "do_not_confirm": True}
            for where in lines:
                before = self.staged()
                try:
                    group.main(options_last(shlex.split(where)), standalone_mode=False, obj=dict(state))
                except BaseException:
                    self.half_staged |= self.staged() != before
                    raise
            where = "burn"
            self.api.burn_all()
        except (Exception, SystemExit) as error:
            return common.refused(error, where, self.half_staged)
        return common.accepted(self.half_staged)

    def scripts(self, paths: list[str], index: int | None, configs: list[str]) -> dict[str, Any]:
        """Run scripts for the API of 5.x, then burn."""
        self.api.use_batch_mode()
        names = {"espefuse": self.api, "index": index, "configs": configs, "json": json}
        try:
            for path in paths:
                with Path(path).open(encoding="utf-8") as file:
                    exec(compile(file.read(), path, "exec"), names)
            self.api.burn_all()
        except (Exception, SystemExit) as error:
            return common.refused(error, "script", self.half_staged)
        return common.accepted()

    def write_summary(self, file: io.StringIO) -> None:
        """Have the original write its JSON summary."""
        self.api.summary(format="json", file=file)


def options_last(words: list[str]) -> list[str]:
    """Two options before the arguments make the original's command line miscount them; its API does not."""
    rest: list[str] = []
    options: list[str] = []
    left = iter(words)
    for word in left:
        if not word.startswith("-") or word.lstrip("-").isdigit():
            rest.append(word)
            continue
        options.append(word)
        if word in VALUED:
            options += [value for value in [next(left, None)] if value is not None]
    several = sum(word.startswith("--") for word in options) > 1
    return rest + options if several else words


if __name__ == "__main__":
    sys.setrecursionlimit(5000)
    common.serve(Session5)
