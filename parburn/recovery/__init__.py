"""Boards and their records: which belong together after a loss, and whether they agree. Burns nothing."""
