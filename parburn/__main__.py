"""`python -m parburn` is the same as `parburn`."""

from parburn.cli.start import entry

entry()
