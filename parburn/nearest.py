"""Which names a mistyped one was perhaps meant to be. Pure; loads what it needs only once it is asked.

Names of the same parts in another order come alone: `KEY_BLOCK0` is BLOCK_KEY0, though BLOCK0 has more
letters in common with it.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable

MOST = 3
_PART = re.compile(r"[A-Z]+|\d+")


def nearest_names(name: str, known: Iterable[str]) -> list[str]:
    """Return up to three known names, the likeliest first; none where nothing is near."""
    from difflib import get_close_matches  # here: only a mistyped name needs it

    by_plain = {_plain(one): one for one in known}
    wanted = _parts(name)
    same = [one for plain, one in by_plain.items() if wanted and _parts(plain) == wanted]
    if same:
        return same[:MOST]
    near = get_close_matches(_plain(name), by_plain, n=MOST)
    within = [
        plain for plain in by_plain if plain not in near and len(wanted) > 1 and wanted <= _parts(plain)
    ]
    return [by_plain[plain] for plain in (*near, *within)][:MOST]


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """Return `did you mean A or B?`, or nothing where nothing is near."""
    near = nearest_names(name, known)
    return f"did you mean {' or '.join(near)}?" if near else ""


def _plain(name: str) -> str:
    return name.upper().replace("-", "_")


def _parts(name: str) -> Counter[str]:
    """Return the words and numbers of a name, whatever stands between them and in whatever order."""
    return Counter(_PART.findall(_plain(name)))
