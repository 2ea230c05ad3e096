"""The garbage collector, which our entry point has taken away, given back before boards are driven."""

from __future__ import annotations

import gc


def collect_only_what_comes(*threshold: int) -> None:
    """Have the collector look at nothing that is there already; do nothing where it was never taken away.

    Modules, tables and config files (a million ids) live as long as the command; to look through them for
    each board that allocates costs more than driving it.

    Args:
        threshold: As of `gc.set_threshold`.
    """
    if not gc.isenabled():
        gc.freeze()
        gc.set_threshold(*threshold)
        gc.enable()
