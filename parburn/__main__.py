"""`python -m parburn` is the same as `parburn`."""

from parburn.cli.main import entry

entry()
