"""Lets `python -m parburn.sim` be `parburn sim`."""

from __future__ import annotations

import sys

from parburn.sim.command import main

if __name__ == "__main__":
    sys.exit(main())
