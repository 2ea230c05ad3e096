"""Makes up hostile input with Hypothesis: what all tests of readers share.

Whatever is in a line, a file or a token, its reader answers with what it was asked for or with a sentence for
the operator: never a hang, never an exception that is not ours, never a burn.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import contextmanager

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st

from parburn.chips.registry import chip_names
from parburn.errors import ParburnError

CHIPS = ("esp32", "esp32c3", "esp32s3")
OURS = frozenset(chip_names())  # before a test adds one
JSON_LIKE = st.recursive(
    st.one_of(
        st.none(),
        st.booleans(),
        st.integers(),
        st.floats(),
        st.text(max_size=5),
    ),
    lambda inner: st.one_of(
        st.lists(inner, max_size=4),
        st.dictionaries(
            st.one_of(st.sampled_from(["1", "2", "mac"]), st.text(max_size=3)), inner, max_size=4
        ),
    ),
    max_leaves=12,
)


def examples(number: int) -> settings:
    """So many examples, without a time limit for one of them."""
    return settings(max_examples=number, deadline=None, suppress_health_check=[HealthCheck.too_slow])


@contextmanager
def may_refuse(kind: type[ParburnError]) -> Iterator[None]:
    """Allow this refusal, which must say something."""
    try:
        yield
    except kind as refused:
        if not str(refused):
            raise


def damaged(data: bytes, rng: random.Random, *, times: int = 3) -> bytes:
    """Bytes changed, lost, doubled or put in, or the end cut off."""
    found = bytearray(data)
    for _ in range(rng.randint(1, times)):
        at = rng.randrange(len(found) + 1)
        how = rng.randrange(6)
        if how == 0:
            found[at : at + 1] = bytes([rng.randrange(256)])
        elif how == 1:
            del found[at : at + rng.randint(1, 8)]
        elif how == 2:
            found[at:at] = found[at : at + rng.randint(1, 8)]
        elif how == 3:
            found[at:at] = rng.randbytes(rng.randint(1, 8))
        elif how == 4 and at < len(found):
            found[at] ^= 1 << rng.randrange(8)
        elif rng.randrange(4) == 0:
            del found[at:]
    return bytes(found)
