"""Splits the words of a command into options and the rest. Knows no command; stages and prints nothing.

As lenient as the originals are: options anywhere, `--name=value`, unique beginnings of names, `_` for `-`, a
negative number is no option, `--` ends the options.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Sequence
from typing import Any, Literal, NamedTuple

from parburn.errors import BadValue

_QUOTING = re.compile(r"""["'\\]""")
_NUMBER = re.compile(r"-\d+$")


Takes = Literal["", "int", "text", "texts"]


class Option(NamedTuple):
    """One option. `takes` is "" for a flag; "texts" are as many words as follow."""

    name: str
    takes: Takes = ""
    short: str = ""
    choices: tuple[str, ...] = ()
    burns: bool = False  # with it, a command that else only shows may burn

    @property
    def key(self) -> str:
        """Its name as a Python keyword."""
        return self.name.removeprefix("--").replace("-", "_")


def split_command(command: str) -> list[str]:
    """Split a command into words as a shell does.

    Raises:
        BadValue: an open quote or an empty command.
    """
    if not _QUOTING.search(command):
        words = command.split()  # what shlex would give, without its price
    else:
        try:
            words = shlex.split(command)
        except ValueError as error:
            raise BadValue(f"the command cannot be split into words: {error}") from error
    if not words:
        raise BadValue("an empty command")
    return words


def take_options(words: Sequence[str], options: Sequence[Option]) -> tuple[list[str], dict[str, Any]]:
    """Return the words that are no options, and the options that were given, by key.

    Raises:
        BadValue: an unknown or ambiguous option, a missing or unfit value.
    """
    rest: list[str] = []
    given: dict[str, Any] = {}
    at, end = 0, len(words)
    while at < end:
        word = words[at]
        at += 1
        if word == "--":
            rest += words[at:]
            break
        if not word.startswith("-") or word == "-" or _NUMBER.match(word):
            rest.append(word)
            continue
        name, has_value, value = word.partition("=")
        option = _named(name, options)
        if not option.takes:
            if has_value:
                raise BadValue(f"{option.name} takes no value")
            given[option.key] = True
            continue
        values = [value] if has_value else []
        while at < end and not values and _is_value(words[at]):
            values.append(words[at])
            at += 1
        while option.takes == "texts" and at < end and _is_value(words[at]):
            values.append(words[at])
            at += 1
        if not values:
            raise BadValue(f"{option.name} needs a value")
        if option.takes == "texts":
            given.setdefault(option.key, []).extend(values)
        else:
            given[option.key] = _converted(option, values[0])
    return rest, given


def _is_value(word: str) -> bool:
    return not word.startswith("-") or word == "-" or _NUMBER.match(word) is not None


def _named(word: str, options: Sequence[Option]) -> Option:
    if not word.startswith("--"):
        for option in options:
            if word == option.short:
                return option
        raise BadValue(f"unknown option {word}")
    word = word.replace("_", "-")
    found = [option for option in options if option.name == word] or [
        option for option in options if option.name.startswith(word)
    ]
    if len(found) == 1:
        return found[0]
    if found:
        raise BadValue(f"option {word} could be {' or '.join(option.name for option in found)}")
    known = ", ".join(option.name for option in options) or "none"
    raise BadValue(f"unknown option {word}; this command's options: {known}")


def _converted(option: Option, text: str) -> Any:
    if option.choices and text not in option.choices:
        raise BadValue(f"{option.name} must be one of {', '.join(option.choices)}, not {text!r}")
    if option.takes != "int":
        return text
    try:
        return int(text, 0)
    except ValueError:
        raise BadValue(f"{option.name} needs a number, not {text!r}") from None
