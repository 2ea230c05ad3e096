"""Runs under the peer's own Python: makes and reads EFSR tokens with espefuse 5.x. Tests only.

It is never imported. A list of orders comes on stdin as JSON, a list of answers goes out the same way:
`{"chip", "blocks": [[word, ..], ..], "errors": [..]}` asks for the token of a virtual chip that shows these
words; `{"token"}` for the token and the words of the virtual chip that the peer makes of it.
"""

from __future__ import annotations

import contextlib
import importlib
import io
import json
import sys
import tempfile
from pathlib import Path
from typing import Any

interface: Any = importlib.import_module("espefuse.efuse_interface")


def answer(order: dict[str, Any], folder: str) -> dict[str, Any]:
    """One order done."""
    esp = interface.get_esp(chip=order.get("chip", "auto"), virt=True, token=order.get("token"))
    for index, words in enumerate(order.get("blocks", ())):
        for number, word in enumerate(words):
            esp.direct_write_efuse(number, word, index)
    for number, word in enumerate(order.get("errors", ())):
        esp.update_reg(esp.REGS.ERRORS[number], 0xFFFFFFFF, word)
    path = Path(folder) / "token.txt"
    interface.init_commands(esp=esp, do_not_confirm=True).dump(format="token", file_name=str(path))
    blocks = [esp.Blocks.get(one) for one in esp.Blocks.BLOCKS]
    words = [[esp.read_reg(one.rd_addr + 4 * n) for n in range(one.len)] for one in blocks]
    return {"token": path.read_text(), "revision": esp.get_chip_revision(), "blocks": words}


def main() -> None:
    """Answer all orders."""
    orders = json.load(sys.stdin)
    with tempfile.TemporaryDirectory() as folder, contextlib.redirect_stdout(io.StringIO()):
        answers = [answer(order, folder) for order in orders]
    json.dump(answers, sys.stdout)


main()
