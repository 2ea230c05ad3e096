"""What commands print: stdout for what was asked for, stderr beside it. Nothing in it steers a terminal.

The only place of `cli` that writes to the standard streams, but for the parser's help and signal handlers. A
run has its writers in `ui`.
"""

from __future__ import annotations

import sys
from typing import TextIO

from parburn.cli.streams import silence_stdout
from parburn.errors import UsageError
from parburn.printable import printable


def say(text: str) -> None:
    """Print to stdout, and be sure that it is written; a reader that has gone is no mistake.

    Raises:
        UsageError: it cannot be written.
    """
    _printed(printable(text))


def _printed(text: str) -> None:
    try:
        _write(sys.stdout, text)
        sys.stdout.flush()
    except BrokenPipeError:
        raise
    except OSError as error:
        silence_stdout()
        raise UsageError(
            f"what was to be shown cannot be written: {error.strerror or error}",
            hint="Write it somewhere else.",
        ) from error


def hand_out(text: str) -> None:
    """Print what a program reads to stdout: to the letter, but for a terminal as `say` does.

    Raises:
        UsageError: it cannot be written.
    """
    _printed(text if not sys.stdout.isatty() else printable(text))


def tell(text: str) -> None:
    """Print to stderr."""
    _write(sys.stderr, printable(text))


def _write(stream: TextIO, text: str) -> None:
    """Write; what the stream's encoding does not have becomes `?`."""
    encoding = stream.encoding or "utf-8"
    stream.write(text if text.isascii() else text.encode(encoding, "replace").decode(encoding))
