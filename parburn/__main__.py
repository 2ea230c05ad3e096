"""`python -m parburn` is the same as `parburn`."""

from parburn.cli import entry

entry()
