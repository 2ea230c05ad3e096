"""What to do next where a burn is refused: the remedy of that very case, as a sentence. It decides nothing.

None of them offers to skip a check: whoever does so after a refusal spoils boards. What the options of that
kind do stands in docs/scripting.md.
"""

from __future__ import annotations

from typing import Final

from parburn.chips.model import Block, Field

ANOTHER_UNIT: Final = (
    "nothing of this command is staged; compare `summary` with what this unit is to hold: it may be another "
    "unit's board. Go on with another board, and set this one aside"
)
CONTRADICTION: Final = "two commands of the script contradict each other: correct the script"
HIDDEN: Final = (
    "it was given its content before, which cannot be compared. A board that passed shows already-pass with "
    "the very same scripts and files; other content needs another block"
)
NOT_ITS_VALUE: Final = (
    "nothing was burned; compare what the chip holds with what it is to hold: it may be another unit's board"
)
ONE_BURN: Final = (
    "such a block takes one burn: in a new board bring all that goes into it together, before one "
    "burn_all(). On this board leave it as it is, or take another block; if it holds another unit's "
    "data, set it aside"
)
ONE_BURN_A_CHUNK: Final = (
    "each six bytes of such a block take one burn: on this board other data fit only into those that are "
    "empty; in a new board bring them together. If it holds another unit's data, set this board aside"
)
IDENTITY: Final = "take these bits out of the script: what says who a chip is stays as the factory made it"
HIDDEN_FIELDS: Final = (
    "on this board leave these fields out of the script; on a new one burn them in the run that hides them"
)
LOCKED_FIELDS: Final = (
    "on this board leave these fields out of the script: they stay as they are. If it is to hold another "
    "value, use a board on which they are not locked yet"
)
CODING_HIDDEN: Final = (
    "nothing can be burned there on this board any more: leave it out, or use another board"
)
READABLE_ONLY: Final = "take this read protection out of the script; the key is no secret, or must be read"
RULE: Final = (
    "leave one of the two out of the script; where this board has one of them already, the other must stay "
    "unburned"
)
LOCK_IS_LOCKED: Final = "on this board it stays as it is: take this protection out of the script"


def locked(what: Block | Field) -> str:
    """Return what to do where a block or field cannot be burned any more."""
    if isinstance(what, Block) and what.for_keys:
        return (
            "give another key block in the script, as one that `summary` shows empty and writeable; a board "
            "that passed shows already-pass with the very same scripts and files"
        )
    return (
        f"compare `summary` with what this unit is to hold: where {what.name} is right, leave it out of the "
        "script; if it is another unit's board, set it aside"
    )
