"""Runs sequences on the virtual chips of espefuse 4.x. Started by `Peer(4)` in that version's own venv.

Commands go through the original's `espefuse()`, the function that its scripts call, in its batch mode, and
are burned by `burn_all()`. A command that the original refuses may leave a part of itself staged; that is
noted (`half_staged`) and taken back, so that the rest of a sequence can still be compared.
"""

import argparse
import importlib
import io
import json
import sys
from typing import Any

from tests.peers import worker_common as common

espefuse_package: Any = importlib.import_module("espefuse")
bitstring: Any = importlib.import_module("bitstring")


class Session4(common.Session):
    """One virtual chip under espefuse 4.x."""

    def __init__(self, chip: str, start: dict[int, int], table: str | None) -> None:
        self.table = table
        library = espefuse_package.SUPPORTED_CHIPS[chip].efuse_lib
        esp = library.EmulateEfuseController(None, False)
        if (
            chip == "esp32p4"
        ):  # its virtual chip says v3.0 whatever it holds; the tool reads it from real ones
            esp.get_major_chip_version = lambda: major_of_p4(esp)
        super().__init__(esp, bitstring.BitStream, start)
        self.operations = library.operations
        self.operations.json = json  # the documented example uses it
        self.original = self.operations.espefuse
        self.common_args = {
            "chip": chip, "baud": 115200, "port": "/dev/ttyUSB0", "before": "default_reset", "debug": False,
            "virt": True, "path_efuse_file": None, "do_not_confirm": True, "postpone": False,
            "extend_efuse_table": None,
        }  # fmt: skip

    def look(self) -> None:
        """See the eFuses as a new run of the tool would."""
        table = io.StringIO(self.table) if self.table is not None else None
        self.efuses, _ = espefuse_package.get_efuses(self.esp, False, False, True, table)

    def restore(self, staged: list[int]) -> None:
        """Put back what was staged before."""
        for block, bits in zip(self.efuses.blocks, staged, strict=True):
            block.wr_bitarray = bitstring.BitStream(uint=bits, length=block.wr_bitarray.len)

    def espefuse(self, esp: Any, efuses: Any, args: Any, command: str) -> None:
        """The original's function, and what a refusal left staged taken back."""
        before = self.staged()
        try:
            self.original(esp, efuses, args, command)
        except BaseException:
            if self.staged() != before:
                self.half_staged = True
                self.restore(before)
            raise

    def commands(self, lines: list[str]) -> dict[str, Any]:
        """Stage the commands, then burn."""
        where = ""
        self.efuses.batch_mode_cnt = 1
        try:
            for where in lines:
                self.espefuse(self.esp, self.efuses, argparse.Namespace(**self.common_args), where)
            where = "burn"
            self.efuses.batch_mode_cnt = 0
            self.efuses.burn_all()
        except (Exception, SystemExit) as error:
            return common.refused(error, where, self.half_staged)
        return common.accepted(self.half_staged)

    def scripts(self, paths: list[str], index: int | None, configs: list[str]) -> dict[str, Any]:
        """Run scripts through the original's execute_scripts."""
        line = ["execute_scripts", *paths]
        if index is not None:
            line += ["--index", str(index)]
        for config in configs:  # `--configfiles a b` is documented, and dies in the original
            line += ["--configfiles", config]
        parser = argparse.ArgumentParser()
        self.operations.add_commands(parser.add_subparsers(dest="operation"), self.efuses)
        self.operations.espefuse = self.espefuse
        try:
            args = parser.parse_args(line, argparse.Namespace(**self.common_args))
            self.operations.execute_scripts(self.esp, self.efuses, args)
        except (Exception, SystemExit) as error:
            return common.refused(error, "script", self.half_staged)
        finally:
            self.operations.espefuse = self.original
        return common.accepted(self.half_staged)

    def write_summary(self, file: io.StringIO) -> None:
        """Have the original write its JSON summary."""
        wanted = argparse.Namespace(format="json", file=file, efuses_to_show=[])
        self.operations.summary(self.esp, self.efuses, wanted)


def major_of_p4(esp: Any) -> int:
    """Bits 4, 5 and 23 of word 2 of BLOCK1."""
    word = int(esp.read_reg(esp.Blocks.get(esp.Blocks.BLOCKS[1]).rd_addr + 8))
    return (word >> 23 & 1) << 2 | word >> 4 & 3


if __name__ == "__main__":
    sys.setrecursionlimit(5000)
    common.serve(Session4)
