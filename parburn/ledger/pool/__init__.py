"""A ledger that several stations share: a database in PostgreSQL, under the same rules as a file.

Only what works with a pool imports these modules: psycopg, which they need, is an extra.
"""

from parburn.errors import LedgerUnusable

try:
    import psycopg as psycopg
except ImportError as missing:
    raise LedgerUnusable(
        "A pool in PostgreSQL needs psycopg, which is not installed.",
        hint="pip install 'parburn[postgresql]'. No port was opened, nothing was burned.",
    ) from missing
