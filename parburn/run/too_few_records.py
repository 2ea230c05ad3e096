"""A script that asks a config file for a record that is not there: too few records, no mistake of its own.

Where a file has several parts with numbers, the longest one says how many boards may come; a part that is
shorter shows it only when a script looks there.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from parburn.config.records import ConfigFiles
from parburn.errors import OutOfIndexes, ParburnError, ScriptFailed

_KEY = re.compile(r"KeyError: (?P<stem>.*?)0*(?P<number>[1-9]\d*)", re.DOTALL)
_DEEPEST = 5  # parts within parts


def told_of_records(error: ParburnError, config: ConfigFiles, index: int | None) -> ParburnError:
    """Return `error`, or that no record is left: the script asked a file for its own index, beyond the last.

    It may take long with files of many records: call it in a thread.
    """
    found = _KEY.fullmatch(_last_words(error)) if isinstance(error, ScriptFailed) else None
    if found is None or index is None or int(found["number"]) != index:
        return error
    for name, file in zip(config.names, config.files, strict=True):
        for numbers in _numbers(file.value, found["stem"], _DEEPEST):
            if index > max(numbers):
                left = OutOfIndexes(
                    f"No record is left: {name} has {len(numbers)}, all are used.",
                    hint="Append records behind those that are there.",
                )
                left.__cause__ = error
                return left
    return error


def _last_words(error: ParburnError) -> str:
    return "KeyError: " + str(error).partition("KeyError: ")[2]


def _numbers(value: Any, stem: str, deepest: int) -> Iterator[list[int]]:
    """Yield the numbers of each part of a file whose keys are `stem` and a number."""
    if not isinstance(value, dict) or not deepest:
        return
    texts = (key.removeprefix(stem) for key in value if key.startswith(stem))
    numbers = [int(text) for text in texts if text.isascii() and text.isdecimal() and len(text) < 16]
    if numbers:
        yield numbers
        return  # what is within a record is no part with records
    for part in value.values():
        yield from _numbers(part, stem, deepest - 1)
