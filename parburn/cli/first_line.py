"""The first line on a terminal: it stands there before anything is loaded, while the run gets ready."""

from __future__ import annotations

import argparse
import sys

from parburn import __version__
from parburn.cli.saying import say


def say_what_begins(options: argparse.Namespace) -> None:
    """Say on a terminal which scripts with which files begin; nothing where the table will not be shown."""
    if options.json or options.quiet or options.token or not options.scripts or not sys.stdout.isatty():
        return
    files = [*options.scripts, *(options.configfiles or ())]
    names = ", ".join("".join(c for c in path.name if c.isprintable()) for path in files)
    say(f"parburn {__version__}: {names}\n")
