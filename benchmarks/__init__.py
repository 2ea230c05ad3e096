"""Benchmarks: `python -m benchmarks.one_board` and its neighbours. See benchmarks/README.md."""
