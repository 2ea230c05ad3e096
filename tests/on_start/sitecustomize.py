"""Python imports this as it starts, where a test has this folder on PYTHONPATH: watch a command's loop."""

from __future__ import annotations

import os
import sys

line = sys.orig_argv[1:]
if line[:2] == ["-m", "parburn"]:
    line = line[1:]
name = os.path.basename(line[0]) if line else ""  # noqa: PTH119  # nothing is loaded yet
# A simulator's loop serves nobody else, a help has none, and another program is not ours.
if name == "parburn" and "--help" not in line and line[1:2] != ["sim"]:
    import runpy

    watch = os.path.join(os.path.dirname(os.path.dirname(__file__)), "loop_watch.py")  # noqa: PTH118, PTH120
    runpy.run_path(watch)["watcher"]().activate()
