"""The command line: from words to an exit code. The only part that prints, and that ends the process."""

# Nothing is loaded here: `start` must come before all that takes time.
