"""Custom tables as espefuse 5.x reads them: the same fields, and the differences that are meant."""

from __future__ import annotations

import json
import subprocess
from typing import Any

import pytest

from parburn.chips.table import parse_custom_table
from parburn.errors import ChipDataError
from tests.peers.venvs import peer_python, peers_are_off

pytestmark = [
    pytest.mark.peer,
    pytest.mark.skipif(peers_are_off(), reason="PARBURN_NO_PEERS=1"),
]

SAME = (
    "UNIQUE_ID, EFUSE_BLK3, 0, 64, [UID] Number of this unit",
    "A, 3, 0, 1\nB, EFUSE_BLK4, 16, 40, [C D] two names",
    "# only a comment\n\n",
    "A, 3, 0, MAX_BLK_LEN,",
    "A, 0x3, 0x10, 0x20, hex",
    "LINE, 3, 0, 16, all\nLINE.STATION, 3, 0, 4, [ST.N] part\nLINE.DAY, 3, 4, 12",
    "TRIM, 3, 0, 4, low\n, 3, 16, 4, high\n, 3, 32, 4, top\nAFTER, 3, 40, 8",
    "TRIM, 3, 0, 4, [T] low\n, 3, 16, 4, [T] high",
    "A, 3, 0, 1, comment with \\\\",
    "A, 3, 0, 1\nA, 3, 8, 1",
    "A.B, 3, 0, 1\nA_B, 3, 8, 1",
    ", 3, 0, 1",
    "A, , 0, 1",
    "A, 3, 0, 0",
    "A, 3, 0",
    "A, X, 0, 1",
    "A, 3, zero, 1",
)
# Taken here, refused there: an empty bit_start is described by ESP-IDF, but the peer stumbles over it.
ONLY_HERE = ("A, 3, , 4\nB, 3, , 5",)
# Refused here, taken there: these would burn bits outside of the block, or make a name that nobody can type.
ONLY_THERE = ("A, 3, 250, 10", "A, 3, -8, 4", "A B, 3, 0, 4")

SCRIPT = """
import io, json, sys
from espefuse.efuse.csv_table_parser import CSVFuseTable
out, sys.stdout, sys.stderr = sys.stdout, io.StringIO(), io.StringIO()
found = []
for text in json.load(sys.stdin):
    try:
        found.append([
            [p.field_name, p.efuse_block, p.bit_start, p.bit_count, p.alt_names.split()]
            for p in CSVFuseTable.from_csv(text)
        ])
    except Exception:
        found.append(None)
json.dump(found, out)
"""


@pytest.fixture(scope="module")
def peer() -> dict[str, Any]:
    """What the peer makes of every table; None: refused."""
    texts = [*SAME, *ONLY_HERE, *ONLY_THERE]
    done = subprocess.run(
        [str(peer_python(5)), "-c", SCRIPT],
        input=json.dumps(texts),
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
    return dict(zip(texts, json.loads(done.stdout), strict=True))


def ours(text: str) -> Any:
    try:
        rows = parse_custom_table(text, file="t.csv")
    except ChipDataError:
        return None
    return [[row.name, row.block, row.start, row.bits, list(row.alt_names)] for row in rows]


@pytest.mark.parametrize("text", SAME)
def test_the_same_fields(peer: dict[str, Any], text: str) -> None:
    assert ours(text) == peer[text]


@pytest.mark.parametrize("text", ONLY_HERE)
def test_taken_here_only(peer: dict[str, Any], text: str) -> None:
    assert ours(text) is not None
    assert peer[text] is None


@pytest.mark.parametrize("text", ONLY_THERE)
def test_refused_here_only(peer: dict[str, Any], text: str) -> None:
    assert ours(text) is None
    assert peer[text] is not None
