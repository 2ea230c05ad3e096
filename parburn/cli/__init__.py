"""The command line: from words to an exit code. The only part that prints, and that ends the process."""

from parburn.cli.main import entry, main

__all__ = ["entry", "main"]
