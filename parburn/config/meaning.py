"""What a record means, whatever way it is written, and the digest by which records are compared. Pure.

Line ends, the order of keys, spaces around and between words, the letter case of MACs and of what begins with
0x, and the separators of a MAC do not count. Neither does whether a number stands in quotes: a script burns
the same bits from both. An empty text, list or object says nothing, as if it were not there.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from functools import lru_cache
from hashlib import blake2b
from json.encoder import encode_basestring_ascii
from typing import Any, Final

FORM = "m1:"  # begins each digest of a meaning; digests of older ledgers are bare hex
DEEPEST = 100  # levels of a record; what differs deeper only counts as equal, and so is refused

# A MAC of 6 bytes, with or without separators, and one of 8 bytes with them.
MAC: Final = re.compile(
    r"[0-9A-Fa-f]{2}([:.-]?)[0-9A-Fa-f]{2}(?:\1[0-9A-Fa-f]{2}){4}"
    r"|[0-9A-Fa-f]{4}([:.-])[0-9A-Fa-f]{4}\2[0-9A-Fa-f]{4}"
    r"|[0-9A-Fa-f]{2}([:-])[0-9A-Fa-f]{2}(?:\3[0-9A-Fa-f]{2}){6}"
)
_SHORTEST_MAC = 12  # letters
_MACS = re.compile(r"[0-9A-Fa-f]{2}(?::[0-9A-Fa-f]{2}){5}(?:\n[0-9A-Fa-f]{2}(?::[0-9A-Fa-f]{2}){5})*")
# Lines that mean themselves: shorter than a MAC, nothing to quote, one space between words, no 0x.
_SHORT_WORDS = re.compile(
    r"(?:(?!0[xX])(?=[^\n]{1,11}(?:\n|\Z))[!#-\[\]-~]+(?: [!#-\[\]-~]+)*(?:\n(?=.)|\Z))+"
)
_NOTHING_YET = blake2b(digest_size=16)
_SHOWN_AT_MOST = 20  # characters of one value: a key is never shown
_SHOWN_IN_ALL = 60
_quoted: Callable[[str], str] = encode_basestring_ascii


def text_meaning(text: str) -> str:
    """Return what a text says, in one way of writing it."""
    if len(text) >= _SHORTEST_MAC and MAC.fullmatch(text):
        return _bare(text)
    plain = " ".join(text.split())
    if plain != text and MAC.fullmatch(plain):
        return _bare(plain)
    return plain.lower() if plain[:2] in ("0x", "0X") else plain


def _bare(mac: str) -> str:
    return (
        mac.replace(":", "").replace("-", "").replace(".", "").lower()
    )  # three times as fast as translate()


def meaning(value: Any, depth: int = 0) -> str:
    """Return what parsed data say, as ASCII text; empty when they say nothing."""
    if type(value) is str:
        said = text_meaning(value)
        return _quoted(said) if said else ""
    if value is None:
        return ""
    if isinstance(value, bool):
        return '"true"' if value else '"false"'
    if depth >= DEEPEST:
        return "..."
    if isinstance(value, dict):
        members = []
        for key, inner in value.items():
            if type(inner) is str:  # as above, without the call: there are millions
                said = text_meaning(inner)
                said = _quoted(said) if said else ""
            else:
                said = meaning(inner, depth + 1)
            if said:
                members.append(_key(key) + said)
        members.sort()
        return "{" + ",".join(members) + "}" if members else ""
    if isinstance(value, list):
        items = [meaning(inner, depth + 1) for inner in value]
        return "[" + ",".join(items) + "]" if any(items) else ""
    return _quoted(text_meaning(str(value)))


@lru_cache(1024)  # the same in each of a million records
def _key(key: str) -> str:
    return f"{_quoted(' '.join(key.split()))}:"


def digest_of(value: Any) -> str:
    """Return the digest by which a record is compared (BLAKE2b, 16 bytes); empty when it says nothing."""
    if type(value) is str:
        plain = text_meaning(value)
        said = _quoted(plain) if plain else ""
    else:
        said = meaning(value)
    return _digest(said.encode("ascii")) if said else ""


def digests_of(values: Sequence[Any]) -> list[str]:
    """Return `digest_of` for each of these.

    For many that are alike (MACs and short words, or objects of these) it takes half the time.
    """
    kinds = {*map(type, values)}
    said = None
    if kinds == {str}:
        said = _said_together(values)
    elif kinds == {dict}:
        said = _objects_together(values)
    if said is None:
        return list(map(digest_of, values))
    return list(map(_digest, "\n".join(said).encode("ascii").split(b"\n")))


def _said_together(texts: Sequence[str]) -> list[str] | None:
    """Return what these texts say, each in quotes; None where one needs a closer look."""
    text = "\n".join(texts)
    if text.count("\n") != len(texts) - 1:
        return None
    if _MACS.fullmatch(text):
        text = text.replace(":", "").lower()
    elif not _SHORT_WORDS.fullmatch(text):
        return None
    return ('"' + text.replace("\n", '"\n"') + '"').split("\n")


def _objects_together(values: Sequence[dict[str, Any]]) -> list[str] | None:
    """Return what these objects say; None where their keys differ, or one needs a closer look."""
    keys = values[0].keys()
    if not keys or any(one.keys() != keys for one in values):
        return None
    members = sorted((_key(key), key) for key in keys)
    if len({said for said, _ in members}) < len(members):  # two that mean the same: their values decide
        return None
    columns: list[list[str]] = []
    for _, key in members:
        texts = [one[key] for one in values]
        said = _said_together(texts) if {*map(type, texts)} == {str} else None
        if said is None:
            return None
        columns.append(said)
    form = "{" + ",".join(said.replace("%", "%%") + "%s" for said, _ in members) + "}"
    return [form % row for row in zip(*columns, strict=True)]


def _digest(said: bytes) -> str:
    digest = _NOTHING_YET.copy()
    digest.update(said)
    return FORM + digest.hexdigest()


def shown(value: Any) -> str:
    """Return a record in a few words for the operator; of a long value, as keys are, only its length."""
    if isinstance(value, dict):
        words = [_word(inner) for inner in value.values()]
    else:
        words = [_word(inner) for inner in value] if isinstance(value, list) else [_word(value)]
    text = ", ".join(word for word in words if word)
    return text if len(text) <= _SHOWN_IN_ALL else f"{text[: _SHOWN_IN_ALL - 3]}..."


def _word(value: Any) -> str:
    if isinstance(value, (dict, list)):
        return f"{len(value)} entries"
    text = "" if value is None else " ".join(str(value).split())
    text = "".join(letter if letter.isprintable() else "?" for letter in text)
    return text if len(text) <= _SHOWN_AT_MOST else f"({len(text)} characters)"
