"""`--commands`: commands typed on the command line, compiled as a script of one command a line. Runs nothing.

`burn_efuse A 1; burn_custom_mac aa:..; summary` becomes the script `<commands>`. What its commands ask for is
burned once, after the last command that burns, so that the showing commands after it show the chip as burned;
and what scripts before them left to burn, before commands that only show.
Commands that only show need no plan, no index and no confirmation: `CompiledScripts.shows_only`.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator
from itertools import zip_longest
from pathlib import Path
from typing import Any, NamedTuple

from parburn.chips.model import Chip, FieldKind
from parburn.config.files import ConfigFile
from parburn.efuse.key_blocks import may_hold_key
from parburn.errors import ParburnError, UsageError
from parburn.script.commands.mistyped import refuse_foreign_words
from parburn.script.commands.options import split_command, take_options
from parburn.script.commands.text import VERBS, verb_named
from parburn.script.compiled import CompiledScript, CompiledScripts
from parburn.script.key_mask import KeyMask, keys_in_word

NAME = "<commands>"
SCRIPTS = "execute_scripts"
# The stand-in for the device itself: a script before us may have given the name `espefuse` to something else.
_BOARD = "__import__('espefuse')"


class TypedCommand(NamedTuple):
    """One command: its text as typed, its verb with underscores, its words, its options."""

    text: str
    verb: str
    words: tuple[str, ...]
    options: dict[str, Any]

    @property
    def shows_only(self) -> bool:
        """Whether it stages and burns nothing, whatever the chip holds."""
        return VERBS[self.verb].shows_only(self.options)


def parse_commands(text: str) -> tuple[TypedCommand, ...]:
    """Return the commands of `--commands`.

    Raises:
        UsageError: one cannot be understood; it is named.
    """
    found: list[TypedCommand] = []
    for one in _split(text):
        try:
            words = split_command(one)
            refuse_foreign_words(words, _options_of(words[0]), VERBS)
            verb = verb_named(words[0])
            rest, given = take_options(words[1:], VERBS[verb].options)
        except ParburnError as error:
            keys = KeyMask()
            keys.give_words([one, *one.split()])  # any word of what nobody understands may be a key
            raise keys.mask_error(
                UsageError(f"--commands: {one}: {error}", hint=error.hint or _HINT)
            ) from None
        found.append(TypedCommand(one, verb, tuple(rest), given))
    if not found:
        raise UsageError("--commands names no command", hint=_HINT)
    return tuple(found)


def _options_of(name: str) -> frozenset[str]:
    """Return the options of a command, long and short; none where there is no such command."""
    verb = VERBS.get(name.replace("-", "_"))
    return (
        frozenset(text for one in verb.options for text in (one.name, one.short) if text)
        if verb
        else frozenset()
    )


_HINT = "Write it as --commands 'burn_efuse NAME VALUE; summary'. Nothing was opened."


def typed_keys(commands: Iterable[TypedCommand], chips: Callable[[], Iterable[Chip]]) -> Iterator[str]:
    """Yield the words of `--commands` that may be keys, before anything knows which chips will be there.

    Args:
        commands: The commands.
        chips: Gives all chips that may be there; asked only where a word looks long enough.
    """
    for one in commands:
        if one.shows_only:
            continue
        if one.verb != "burn_efuse":
            yield from one.words
            continue
        for name, value in zip_longest(one.words[::2], one.words[1::2], fillvalue=""):
            yield name
            if keys_in_word(value) and not all(_holds_no_key(chip, name) for chip in chips()):
                yield value


def _holds_no_key(chip: Chip, name: str) -> bool:
    """Tell whether a chip knows no such field, or one of bytes that no key block has."""
    return all(
        f.kind is FieldKind.BYTES and not may_hold_key(chip, chip.blocks[f.block])
        for f in chip.field_by_name.get(name, ())
    )


def with_commands(scripts: CompiledScripts, text: str) -> CompiledScripts:
    """Return the scripts with these commands after them; the same scripts when there are no commands.

    Scripts that the commands execute are compiled now.

    Raises:
        UsageError: a command cannot be understood, or a script cannot be read.
        ScriptSyntaxError: a script does not compile.
    """
    return with_parsed(scripts, parse_commands(text) if text else ())


def with_parsed(scripts: CompiledScripts, commands: tuple[TypedCommand, ...]) -> CompiledScripts:
    """Do what `with_commands` does, with commands that are parsed already."""
    if not commands:
        return scripts
    paths = [path for one in commands if one.verb == SCRIPTS for path in one.words]
    nested = [scripts.script_at(path).source.digest for path in paths]
    compiled = _compiled(commands, nested, after_scripts=bool(scripts.scripts))
    return CompiledScripts((*scripts.scripts, compiled), scripts.nested)


def _compiled(
    commands: tuple[TypedCommand, ...], nested: list[str], *, after_scripts: bool
) -> CompiledScript:
    """Compile the commands: line n of the code is command n, and the source that is shown are they."""
    burning = [number for number, one in enumerate(commands) if not one.shows_only]
    lines = [f"{_BOARD}(None, None, None, {one.text!r})" for one in commands]
    if burning and burning[-1] < len(commands) - 1:
        lines[burning[-1]] += f"; {_BOARD}.burn_all()"
    elif after_scripts and not burning:
        lines[0] = f"{_BOARD}.burn_all(); {lines[0]}"
    code = compile("\n".join(lines), NAME, "exec", dont_inherit=True)
    content = "\n".join(one.text.replace("\n", " ") for one in commands).encode()
    digest = hashlib.sha256(b"\0".join([b"commands", content, *(one.encode() for one in nested)]))
    source = ConfigFile(Path(NAME), content, False, None, digest.hexdigest())
    return CompiledScript(Path(NAME), code, source, typed=True, shows_only=not burning)


def _split(text: str) -> Iterator[str]:
    """Return the commands between `;` and line ends that stand outside quotes, without empty ones."""
    start, quote, at = 0, "", 0
    while at < len(text):
        letter = text[at]
        if letter == "\\" and quote != "'":
            at += 1  # the next letter stands for itself
        elif quote:
            quote = "" if letter == quote else quote
        elif letter in "\"'":
            quote = letter
        elif letter in ";\n":
            if text[start:at].strip():
                yield text[start:at].strip()
            start = at + 1
        at += 1
    if text[start:].strip():
        yield text[start:].strip()
