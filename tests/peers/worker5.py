"""Runs sequences on the virtual chips of espefuse 5.x. Started by `Peer(5)` in that version's own venv.

Command lines go through the original's own command-line definitions onto its API object in batch mode. It
has no `execute_scripts` any more; a script here is one for its API, with `espefuse` as its command object.
"""

import importlib
import io
import json
import shlex
import sys
from typing import Any

from tests.peers import worker_common as common

interface: Any = importlib.import_module("espefuse.efuse_interface")
cli_util: Any = importlib.import_module("espefuse.cli_util")
bitstring: Any = importlib.import_module("espefuse.efuse.bitstring")


VALUED = ("--offset", "-o", "--format", "--file", "--file-name", "--file_name")


class Session5:
    """One virtual chip under espefuse 5.x."""

    def __init__(self, chip: str, start: dict[int, int], table: str | None) -> None:
        self.table = table
        self.chip = chip
        self.esp = interface.get_esp(chip=chip, virt=True)
        common.put_bits(self.esp, bitstring.BitStream, {0: start.get(0, 0)})
        common.put_bits(self.esp, bitstring.BitStream, start)
        self.half_staged = False
        self.look()

    def look(self) -> None:
        """Take the API object as a new run of the tool would have it."""
        table = io.StringIO(self.table) if self.table is not None else None
        self.api = interface.init_commands(esp=self.esp, do_not_confirm=True, extend_efuse_table=table)
        self.api.efuses.postpone = True

    def commands(self, lines: list[str]) -> dict[str, Any]:
        """Stage the commands, then burn."""
        self.half_staged = False
        commands = self.api
        commands.use_batch_mode()
        where = ""
        try:
            group = cli_util.EspefuseGroup(chain=True)
            group._esp = self.esp
            commands.add_cli_commands(group)
            state = {"commands": commands, "efuses": commands.efuses, "debug": False, "do_not_confirm": True}
            for where in lines:
                before = staged(commands)
                try:
                    group.main(options_last(shlex.split(where)), standalone_mode=False, obj=dict(state))
                except BaseException:
                    self.half_staged |= staged(commands) != before
                    raise
            where = "burn"
            commands.burn_all()
        except (Exception, SystemExit) as error:
            return common.refused(error, where, self.half_staged)
        return common.accepted(self.half_staged)

    def scripts(self, paths: list[str], index: int | None, configs: list[str]) -> dict[str, Any]:
        """Run scripts for the API of 5.x, then burn."""
        self.half_staged = False
        commands = self.api
        commands.use_batch_mode()
        names = {"espefuse": commands, "index": index, "configs": configs, "json": json}
        try:
            for path in paths:
                with open(path, encoding="utf-8") as file:  # noqa: PTH123 (the peer's Python, plain)
                    exec(compile(file.read(), path, "exec"), names)
            commands.burn_all()
        except (Exception, SystemExit) as error:
            return common.refused(error, "script", self.half_staged)
        return common.accepted()

    def state(self, *, with_summary: bool) -> dict[str, Any]:
        """All read registers, all fields, and the summary as JSON, in a new run of the tool."""
        self.look()
        state = {"blocks": common.read_blocks(self.esp), "fields": common.read_fields(self.api.efuses)}
        if with_summary:
            text = common.Kept()
            self.api.summary(format="json", file=text)
            state["summary"] = json.loads(text.text)
        return state


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


def staged(commands: Any) -> list[int]:
    """What is staged in each block."""
    return [block.wr_bitarray.uint for block in commands.efuses.blocks]


if __name__ == "__main__":
    sys.setrecursionlimit(5000)
    common.serve(Session5)
