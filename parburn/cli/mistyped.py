"""Words of the command line that belong to the originals, or were mistyped: what is written here instead.

Reads the words before argparse does, which would take `--port P dump` for two ports. Parses and runs nothing.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Collection, Mapping, Sequence
from pathlib import PurePath
from typing import NamedTuple

# The commands of espefuse, with underscores. `script.commands.text` has what they do; it is not loaded here.
VERBS = frozenset({
    "adc_info", "burn_bit", "burn_block_data", "burn_custom_mac", "burn_efuse", "burn_key", "burn_key_digest",
    "check_error", "dump", "execute_scripts", "get_custom_mac", "read_protect_efuse", "set_flash_voltage",
    "summary", "write_protect_efuse",
})  # fmt: skip
SCRIPTS = "execute_scripts"
PROGRAMS = ("espefuse.py", "espefuse")
OWN_COMMANDS = ("sim", "ports", "check", "arm", "ledger", "report", "completion")
FOREIGN_OPTIONS = {
    "--virt": "--sim CHIP:1 burns a simulated board.",
    "--path-efuse-file": "--sim CHIP:1 --ledger PATH keeps a simulated board in PATH.boards.",
    "--postpone": "Leave it out: what ends the connection is always burned last.",
    "--no-postpone": "Leave it out: what ends the connection is always burned last.",
}
OF_COMMANDS = ("--show-sensitive-info",)  # ours, too, but behind a command it belongs to that
NAME_A_PORT = " (PORT is where the board is: `parburn ports` lists them)"


class Mistake(NamedTuple):
    """What is wrong with a command line, and what to type instead."""

    message: str
    hint: str


def foreign_words(words: Sequence[str], parser: argparse.ArgumentParser) -> Mistake | None:
    """Return what words of the originals mean here; None where there are none of them."""
    options = options_of(parser)
    at = 0
    files = False  # these words name files
    while at < len(words):
        word = words[at]
        name = word.partition("=")[0]
        if name in FOREIGN_OPTIONS:
            return Mistake(f"there is no {name} here", FOREIGN_OPTIONS[name])
        option = options.get(name) if word.startswith("-") else None
        if option is not None:
            files = option.dest in ("scripts", "configfiles")
            at += 1 if option.nargs is not None or "=" in word else 2
            continue
        if word.startswith("--") and len(word) > 2:
            return Mistake(f"unrecognized arguments: {name}", hint_of(name, long_options(options)))
        if word in OWN_COMMANDS:
            return None
        if not (files and word.endswith(".py")) and _is_program(word) and not os.path.lexists(word):
            return foreign_words([*words[:at], *words[at + 1 :]], parser) or Mistake(
                f"{word} is another program", "Write the words behind it without it."
            )
        if _is_verb(word, is_file=files and os.path.lexists(word)) and not _is_script(words, at, options):
            return _said_here(words, at, options)
        at += 1
    return None


def options_of(parser: argparse.ArgumentParser) -> Mapping[str, argparse.Action]:
    """Return the options of a parser by each of their names."""
    return {name: action for action in parser._actions for name in action.option_strings}


def _all_options(parser: argparse.ArgumentParser) -> dict[str, argparse.Action]:
    """Return the options of a parser and of all commands in it."""
    found = {**options_of(parser)}
    for action in parser._actions:
        for command in action.choices.values() if isinstance(action.choices, dict) else ():
            found.update(_all_options(command))
    return found


def long_options(options: Mapping[str, argparse.Action]) -> list[str]:
    """Return the long names among options."""
    return [name for name in options if name.startswith("--")]


def option_before(words: Sequence[str], at: int, options: Mapping[str, argparse.Action]) -> str:
    """Return the option that a word stands behind; empty where there is none."""
    return next((word for word in reversed(words[:at]) if word in options), "")


def _is_program(word: str) -> bool:
    return PurePath(word).name in PROGRAMS


def _is_verb(word: str, *, is_file: bool) -> bool:
    return word.replace("-", "_") in VERBS and not is_file


def _is_script(words: Sequence[str], at: int, options: Mapping[str, argparse.Action]) -> bool:
    return option_before(words, at, options) == "--scripts"


def _said_here(words: Sequence[str], at: int, options: Mapping[str, argparse.Action]) -> Mistake:
    """Return the same command line in our words."""
    import shlex  # here: only a mistake needs it

    from parburn.printable import typed_again

    verb = words[at].replace("-", "_")
    before, typed_before = _without_commands(words[:at])
    if verb == SCRIPTS:
        kept = ["--commands", "; ".join(typed_before)] if typed_before else []
        line = [*before, *kept, "--scripts", *words[at + 1 :]]
    else:
        commands, moved = _commands(words[at:], options)
        text = "; ".join([*typed_before, *(shlex.join(one) for one in commands)])
        line = [*before, *moved, "--commands", text]
    names_board = {"--port", "--ports", "-p", "--sim"} & {word.partition("=")[0] for word in line}
    if not names_board:
        line = ["--port", "PORT", *line]
    typed = _without_keys(words, typed_again(["parburn", *line]))
    return Mistake(
        f"{words[at]} is a command of espefuse.py; parburn takes it as an option",
        f"Type: {typed}" + ("" if names_board else NAME_A_PORT),
    )


def _without_commands(words: Sequence[str]) -> tuple[list[str], list[str]]:
    """Return the words without the command `run` and without `--commands`, and what stood behind that."""
    kept: list[str] = []
    commands: list[str] = []
    at = 0 if words[:1] != ["run"] else 1
    while at < len(words):
        name, equals, text = words[at].partition("=")
        if name == "--commands":
            commands += [text] if equals else words[at + 1 : at + 2]
            at += 1 if equals else 2
            continue
        kept.append(words[at])
        at += 1
    return kept, commands


def _commands(
    words: Sequence[str], options: Mapping[str, argparse.Action]
) -> tuple[list[list[str]], list[str]]:
    """Return the commands that follow each other, and those of our own options that stand among them."""
    commands: list[list[str]] = []
    moved: list[str] = []
    at = 0
    while at < len(words):
        word = words[at]
        option = options.get(word.partition("=")[0]) if word.startswith("-") else None
        if option is not None and word not in OF_COMMANDS:
            takes = 0 if option.nargs == 0 or "=" in word else 1
            moved += words[at : at + 1 + takes]
            at += 1 + takes
            continue
        if not commands or _is_verb(word, is_file=os.path.lexists(word)):
            commands.append([word])
        else:
            commands[-1].append(word)
        at += 1
    return commands, moved


def _without_keys(words: Sequence[str], text: str) -> str:
    """Mask what may be a key among words that are repeated."""
    from parburn.script.key_mask import KeyMask  # here: only a mistake needs it

    keys = KeyMask()
    keys.give_words(words)
    return keys.mask(text)


def hint_for(message: str, parser: argparse.ArgumentParser) -> str:
    """Return what was perhaps meant by a word that argparse does not know, or where help is."""
    if message.startswith("unrecognized arguments: "):
        word = message.removeprefix("unrecognized arguments: ").split()[0].partition("=")[0]
        return hint_of(word, long_options(_all_options(parser)), parser.prog)
    if "invalid choice: '" in message:
        word = message.partition("invalid choice: '")[2].partition("'")[0]
        if word.startswith("EFSR:"):
            return "--token prints tokens; `parburn sim --from-token TOKEN` makes a simulated board of one"
        if word.endswith(".py"):
            return f"did you mean --scripts {word}?"
        return hint_of(word, _choices(message), parser.prog)
    return hint_of("", (), parser.prog)


def hint_of(word: str, known: Collection[str], program: str = "parburn") -> str:
    """Return which known word was perhaps meant, or where help is."""
    from parburn.nearest import did_you_mean  # here: only a mistake needs it

    question = did_you_mean(word, known) if word.strip("-") else ""
    return f"{question} Else see `{program} --help`" if question else f"see `{program} --help`"


def _choices(message: str) -> list[str]:
    listed = message.partition("(choose from ")[2].rstrip(")")
    return [one.strip(" '") for one in listed.split(",")]
