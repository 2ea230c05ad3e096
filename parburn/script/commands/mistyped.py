"""Commands as people type them who know the originals: what is meant, as an error with its remedy.

Looks at words only, before anything is opened. Runs nothing; what chips are called stands in their rows.
"""

from __future__ import annotations

import os
import shlex
from collections.abc import Collection, Iterator, Sequence
from itertools import pairwise
from pathlib import PurePath

from parburn.chips.model import Chip
from parburn.errors import BadValue, UnknownName

PROGRAMS = frozenset({"espefuse.py", "espefuse", "parburn"})
# Options of the originals, or of ours, that stand before the command there.
WITH_VALUE = frozenset({
    "--port", "--ports", "-p", "--chip", "-c", "--baud", "-b", "--before", "--after", "-a",
    "--extend-efuse-table", "--sim",
})  # fmt: skip
OUTER = WITH_VALUE | {"--debug", "-d", "--do-not-confirm", "--json", "--quiet", "-q"}
GONE = {
    "--virt": "--sim CHIP:1, outside of the commands, burns a simulated board",
    "--path-efuse-file": "--sim CHIP:1 --ledger PATH, outside of the commands, keeps a simulated board",
    "--postpone": "leave it out: what ends the connection is always burned last",
}
# Key blocks of chips without key purposes, by their use, and what burns such a key on all others.
USES = {
    "flash_encryption": "XTS_AES",
    "secure_boot_v1": "",
    "secure_boot_v2": "SECURE_BOOT_DIGEST",
}


def refuse_foreign_words(words: Sequence[str], options: Collection[str], verbs: Collection[str]) -> None:
    """Refuse the words of a command that only the originals' command line knows.

    Args:
        words: The whole command.
        options: The options that this command has; none where there is no such command.
        verbs: All commands.

    Raises:
        BadValue: it names the program, an option that stands elsewhere, or a second command.
    """
    program = _program(words)
    for word in words[program:]:
        name = _name(word)
        if name in GONE:
            raise BadValue(f"there is no {name} here", hint=GONE[name])
    outer, own = _apart(words[program:], options)
    if program or outer:
        what = " ".join(words[:program]) + " is a program, and no command" if program else ""
        raise BadValue(
            what or f"{_name(outer[0])} stands outside of the commands",
            hint=f"Write it as parburn {shlex.join([*outer, '--commands', shlex.join(own) or 'summary'])}",
        )
    starts = [0, *_second_commands(words, verbs), len(words)]
    if len(starts) > 2 and words[0].replace("-", "_") in verbs:
        apart = "; ".join(shlex.join(words[a:b]) for a, b in pairwise(starts))
        raise BadValue(
            f"two commands stand here, with no ';' between them: {words[starts[1]]} is one, too",
            hint=f"Write it as --commands {shlex.quote(apart)}",
        )


def _name(word: str) -> str:
    return word.partition("=")[0].replace("_", "-")


def _apart(words: Sequence[str], options: Collection[str]) -> tuple[list[str], list[str]]:
    """Return the options that stand before commands, with their values, and all other words."""
    outer: list[str] = []
    own: list[str] = []
    rest = iter(words)
    for word in rest:
        if _name(word) not in OUTER or _name(word) in options:
            own.append(word)
            continue
        outer.append(word)
        if _name(word) in WITH_VALUE and "=" not in word:
            outer += [value for value in [next(rest, "")] if value]
    return outer, own


def _program(words: Sequence[str]) -> int:
    """Return how many words at the start call a program: `espefuse.py`, `python -m espefuse`."""
    first = PurePath(words[0]).name
    if first in PROGRAMS:
        return 1
    if first.startswith("python"):
        after = 2 if words[1:2] == ["-m"] else 1
        return after + 1 if PurePath("".join(words[after : after + 1])).name in PROGRAMS else 0
    return 0


def _second_commands(words: Sequence[str], verbs: Collection[str]) -> Iterator[int]:
    """Yield where further commands begin; the value of an option, and a file that is there, is none."""
    for at in range(1, len(words)):
        is_value = words[at - 1].startswith("--") and "=" not in words[at - 1]
        if words[at].replace("-", "_") in verbs and not is_value and not os.path.lexists(words[at]):
            yield at


def refuse_old_use(chip: Chip, words: Sequence[str]) -> None:
    """Refuse a use such as `flash_encryption` on a chip whose keys have a purpose.

    Raises:
        UnknownName: the first word is one; it says which blocks and purposes there are.
    """
    use = words[0] if words else ""
    if use not in USES or use in chip.block_by_name:
        return
    blocks = [block.name for block in chip.blocks if block.for_keys]
    purposes = [one.name for one in chip.key_purposes if USES[use] and one.name.startswith(USES[use])]
    purposes.sort(key=len)  # the plain ones first
    if not purposes:
        hint = f"{chip.title} has no such key; its key purposes are {', '.join(chip.purpose_by_name)}"
    elif all(one.digest for one in chip.key_purposes if one.name in purposes):
        hint = f"write it as burn_key_digest {blocks[0]} FILE.pem {purposes[0]}"
    else:
        hint = f"write it as burn_key {blocks[0]} FILE {purposes[0]}"
    if len(purposes) > 1:
        hint += f"; other purposes of this kind are {', '.join(purposes[1:])}"
    if len(blocks) > 1:
        hint += f". Key blocks are {blocks[0]} to {blocks[-1]}"
    raise UnknownName(
        f"{chip.title} has no block {use!r}: its key blocks have numbers, and each key has a purpose",
        hint=hint,
    )


def purposes_hint(chip: Chip, words: Sequence[str]) -> str:
    """Return what to write where a purpose was given to a chip that has none; else nothing."""
    if len(words) % 3 or not words:
        return ""
    blocks = ", ".join(
        alias for block in chip.blocks if block.for_keys for alias in (block.name, *block.aliases)
    )
    return f"{chip.title} has no key purposes: leave the purpose out, and name the block by its use: {blocks}"
