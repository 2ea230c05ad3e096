"""Makes bad text and bytes from good ones, by one generator of random numbers: one seed, one text."""

from __future__ import annotations

import random
from collections.abc import Sequence

from tests.fuzz.fuzzing import damaged

# What readers stumble over: ends of ranges, other digits, marks of other formats, what terminals obey.
MARKS = (
    *(
        "",
        " ",
        "\t",
        "\r",
        "\n",
        "\0",
        ",",
        ";",
        "'",
        '"',
        '""',
        "#",
        "=",
        "[",
        "]",
        "{",
        "}",
        ":",
        "-",
        "--",
    ),
    *("\\", "0", "-1", "255", "256", "4294967296", "9" * 40, "9" * 5000, "0x" + "f" * 70, "1e999", "nan"),
    *(
        "٣",
        "²",
        "1_0",
        "\ufeff",
        "\u2028",
        "\x1b[2J",
        "é",
        "\U0001f4a9",
        "%s",
        "%n",
        "{0}",
        "$HOME",
        "~",
        "/",
    ),
    *("../", "/dev/null", "/dev/zero", "[" * 3000, "null", "true", "A", "A.B", "MAC", "WR_DIS", "BLOCK3"),
    *("BLOCK_KEY0", "CUSTOM_MAC", "USER", "index"),
)


def spoiled(text: str, rng: random.Random, *, others: Sequence[str] = ()) -> bytes:
    """One to six changes of a text: of words, of lines, of its encoding, of its bytes."""
    for _ in range(rng.choice((1, 1, 2, 3, 6))):
        text = rng.choice((_with_mark, _with_line, _with_other_words))(text, rng, others)
        text = text[:400_000]
    content = text.encode(rng.choice(("utf-8",) * 12 + ("utf-8-sig", "utf-16", "latin-1")), "replace")
    if rng.randrange(6) == 0:
        content = content.replace(b"\n", rng.choice((b"\r\n", b"\r", b"\n\n", b"")))
    return damaged(content, rng) if rng.randrange(4) == 0 else content


def _with_mark(text: str, rng: random.Random, others: Sequence[str]) -> str:
    at, end = sorted((rng.randrange(len(text) + 1), rng.randrange(len(text) + 1)))
    end = at if rng.randrange(2) else min(end, at + 12)
    return text[:at] + rng.choice(MARKS) + text[end:]


def _with_line(text: str, rng: random.Random, others: Sequence[str]) -> str:
    lines = text.split("\n")
    at, other = rng.randrange(len(lines)), rng.randrange(len(lines))
    how = rng.randrange(5)
    if how == 0:
        del lines[at]
    elif how == 1:
        lines.insert(at, lines[other])
    elif how == 2:
        lines[at], lines[other] = lines[other], lines[at]
    elif how == 3:
        lines[at] = lines[at] * rng.choice((2, 50))
    elif others:
        lines.insert(at, rng.choice(rng.choice(others).split("\n")))
    return "\n".join(lines)


def _with_other_words(text: str, rng: random.Random, others: Sequence[str]) -> str:
    """Words of one cell put into another: what only rules between values can refuse."""
    pieces = text.replace(",", " , ").split(" ")
    pieces[rng.randrange(len(pieces))] = rng.choice((*pieces, *MARKS[:40]))
    return " ".join(pieces)
