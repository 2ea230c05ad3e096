"""Which blocks the scripts seem to need, by the names they mention. A guess: a wrong one costs one turn."""

from __future__ import annotations

from parburn.chips.model import Chip
from parburn.script.commands.text import VERBS

WHOLE_CHIP = frozenset(name for name, verb in VERBS.items() if verb.reads_all)


def blocks_mentioned(chip: Chip, words: frozenset[str]) -> frozenset[int]:
    """Return indexes of blocks that one of these words names, or a field of which it names.

    `words` are all words of the scripts' sources.
    """
    found: set[int] = set()
    for word in words:
        block = chip.block_by_name.get(word)
        if block is not None:
            found.add(block.index)
        found.update(one.block for one in chip.field_by_name.get(word, ()))
    if not words.isdisjoint(WHOLE_CHIP):
        found.update(block.index for block in chip.blocks)
    if "burn_custom_mac" in words:
        found.update(one.block for one in chip.field_by_name.get("CUSTOM_MAC", ()))
    return frozenset(found)
