"""`parburn --token`: what the boards' reports say as tokens. It opens no port and burns nothing."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from typing import IO

from parburn.chips.registry import chip_named
from parburn.events import DeviceReport, TokenRead
from parburn.script.commands.token import parse_token, take_token_text
from parburn.ui.nonblocking_writer import NonblockingWriter


def tokens_read(reports: Iterable[DeviceReport]) -> tuple[TokenRead, ...]:
    """Return the tokens of the boards that gave one, in the order of their reports.

    Each is read back before it is handed out.

    Raises:
        BadValue: one cannot be read back: a defect.
    """
    found = []
    for report in reports:
        if report.result.passed:
            token, left_out = take_token_text(report.output)
            parse_token(token, chip_named)
            found.append(TokenRead(report.port, token, left_out))
    return tuple(found)


def print_tokens(tokens: Iterable[TokenRead], stdout: IO[str] | None = None) -> None:
    """Print a line `port token` for each board to stdout; what was left out is told on stderr."""
    out, err = NonblockingWriter(stdout or sys.stdout), NonblockingWriter(sys.stderr)
    for one in tokens:
        out.line(f"{one.port} {one.token}")
        if one.left_out:
            names = ", ".join(one.left_out)
            err.line(
                f"parburn: {one.port}: {names} left out of the token: a key that can be read\n"
                "  hint: --show-sensitive-info puts it in"
            )
    out.close()
    err.close()
