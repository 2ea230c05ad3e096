"""Commands in scripts that would write one file for all boards. Runs nothing, writes nothing."""

from __future__ import annotations

import re
from collections.abc import Iterator
from types import CodeType

from parburn.errors import ParburnError, UsageError
from parburn.script.commands.options import split_command, take_options
from parburn.script.commands.text import VERBS, verb_named
from parburn.script.compiled import CompiledScripts
from parburn.script.output_files import NAME_IT, PLACES

_WRITERS = {"summary": "file", "dump": "file_name"}  # verb -> its option
_MADE_UP = re.compile(r"[{}%]")  # perhaps a text that the script has yet to fill in


def refuse_one_file_for_all(scripts: CompiledScripts) -> None:
    """Raise UsageError where a command writes the same file for each of several boards."""
    for script in scripts.scripts:
        for text in _texts_in(script.code):
            name = _written_by(text)
            if name and not any(place in name for place in PLACES) and not _MADE_UP.search(text):
                raise UsageError(
                    f"{script.path}: {text.split()[0]} writes {name} for each board, one over the other",
                    hint=f"{NAME_IT} Nothing was opened.",
                )


def _texts_in(code: CodeType) -> Iterator[str]:
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from _texts_in(constant)
        elif isinstance(constant, str) and constant.lstrip().startswith(tuple(_WRITERS)):
            yield constant.strip()


def _written_by(text: str) -> str:
    """Return the file that a command of dialect 4 writes; empty where it is none, or writes none."""
    try:
        words = split_command(text)
        verb = verb_named(words[0])
        _, given = take_options(words[1:], VERBS[verb].options)
    except ParburnError:
        return ""
    return str(given.get(_WRITERS.get(verb, ""), ""))
