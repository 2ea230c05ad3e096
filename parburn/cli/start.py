"""The console script's first module: what must stand before everything else is loaded. Does nothing else."""

from __future__ import annotations

from typing import NoReturn

from parburn.cli.streams import interrupts_end_at_once, open_standard_streams


def entry() -> NoReturn:
    """Run the console script, and end the process with its exit code."""
    open_standard_streams()
    interrupts_end_at_once()
    from parburn.cli.main import entry as all_is_loaded

    all_is_loaded()
