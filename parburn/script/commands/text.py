"""Dialect 4 of the commands: a string (`run_command`) or an argparse namespace (`run_with_args`).

Either becomes a call of a method of `Commands`. One table names every command with its options.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any, NamedTuple

from parburn.errors import BadValue, EfuseError, UnknownName
from parburn.script.commands import show as showing
from parburn.script.commands.keys import has_purposes
from parburn.script.commands.methods import Commands, Given, Words
from parburn.script.commands.mistyped import purposes_hint, refuse_old_use
from parburn.script.commands.options import Option, split_command, take_options
from parburn.script.session import nearest

_FORCE = Option("--force-write-always")
_SHOW = Option("--show-sensitive-info")
_PROTECT = (
    Option("--no-write-protect"),
    Option("--no-read-protect"),
    Option("--no-protect-key"),
    Option("--force"),  # a constant key, one shorter than its block says, one that is not used
    _FORCE,
    _SHOW,
)


class Verb(NamedTuple):
    """How the words of a command become a call, and the names its arguments have in an argparse namespace."""

    options: tuple[Option, ...]
    call: Callable[[Commands, Words, Given], None]
    args: Mapping[str, str]  # keyword of the method -> name in the namespace
    shows: bool = False  # it stages and burns nothing whatever the chip holds, but with an option that burns
    reads_all: bool = False  # it looks at every block

    def shows_only(self, given: Mapping[str, Any]) -> bool:
        """Return whether it stages and burns nothing, called with these options."""
        return self.shows and not any(option.burns and given.get(option.key) for option in self.options)


def _burn_efuse(commands: Commands, words: Words, given: Given) -> None:
    if not words:
        raise BadValue("burn_efuse needs the name of a field")
    pairs = [(words[0], None)] if len(words) == 1 else list(zip(words[::2], words[1::2], strict=True))
    commands.burn_efuse(pairs, **given)


def _burn_bit(commands: Commands, words: Words, given: Given) -> None:
    block, *numbers = _at_least(words, 2, "burn_bit BLOCK BIT [BIT ...]")
    try:
        bits = [int(number) for number in numbers]
    except ValueError:
        raise BadValue(f"burn_bit takes bit numbers, not {' '.join(numbers)!r}") from None
    commands.burn_bit(block, bits, **_forced(given))


def _burn_block_data(commands: Commands, words: Words, given: Given) -> None:
    blocks, files = _groups(words, 2, "burn_block_data BLOCK FILE [BLOCK FILE ...]")
    commands.burn_block_data(blocks, files, **_forced(given))


def _burn_key(commands: Commands, words: Words, given: Given) -> None:
    chip = commands._session.chip
    if has_purposes(chip):
        refuse_old_use(chip, words)
        blocks, files, purposes = _groups(words, 3, "burn_key BLOCK FILE PURPOSE [BLOCK FILE PURPOSE ...]")
        commands.burn_key(blocks, files, purposes, **_key_options(given))
    else:
        hint = purposes_hint(chip, words) if len(words) % 2 else ""
        blocks, files = _groups(words, 2, "burn_key BLOCK FILE [BLOCK FILE ...]", hint)
        commands.burn_key(blocks, files, **_key_options(given))


def _burn_key_digest(commands: Commands, words: Words, given: Given) -> None:
    if len(words) == 1:
        commands.burn_key_digest(keyfile=words[0], **_key_options(given))
        return
    blocks, files, purposes = _groups(words, 3, "burn_key_digest BLOCK FILE PURPOSE, or FILE alone")
    commands.burn_key_digest(blocks, files, purposes, **_key_options(given))


def _one(method: str, usage: str) -> Callable[[Commands, Words, Given], None]:
    def call(commands: Commands, words: Words, given: Given) -> None:
        if len(words) != 1:
            raise BadValue(f"usage: {usage}")
        given = _forced(given) if method == "burn_custom_mac" else given
        getattr(commands, method)(words[0], **given)

    return call


def _many(method: str, usage: str) -> Callable[[Commands, Words, Given], None]:
    def call(commands: Commands, words: Words, given: Given) -> None:
        getattr(commands, method)(_at_least(words, 1, usage), **given)

    return call


def _none(method: str) -> Callable[[Commands, Words, Given], None]:
    def call(commands: Commands, words: Words, given: Given) -> None:
        if words:
            raise BadValue(f"{method} takes no {words[0]!r}")
        getattr(commands, method)(**given)

    return call


def _summary(commands: Commands, words: Words, given: Given) -> None:
    commands.summary(words, **given)


def _at_least(words: Words, count: int, usage: str) -> Words:
    if len(words) < count:
        raise BadValue(f"usage: {usage}")
    return words


def _groups(words: Words, size: int, usage: str, hint: str = "") -> tuple[Words, ...]:
    if not words or len(words) % size:
        raise BadValue(f"usage: {usage}", hint=hint)
    return tuple(words[at::size] for at in range(size))


def _forced(given: Given) -> dict[str, Any]:
    """Return the options with `--force-write-always` as the methods take it.

    A command that has the option always sets it.
    """
    more = dict(given)
    more["force"] = more.pop("force_write_always", False)
    return more


def _key_options(given: Given) -> dict[str, Any]:
    """Return what `_forced` returns, for the commands that have a `--force` of their own beside it."""
    return {"force_write_always": False, **given}


_KEY_ARGS = {
    "no_write_protect": "no_write_protect",
    "no_read_protect": "no_read_protect",
    "no_protect_key": "no_protect_key",
    "show_sensitive_info": "show_sensitive_info",
    "force": "force",
    "force_write_always": "force_write_always",
}
_KEYS = {"blocks": "block", "keyfiles": "keyfile", "keypurposes": "keypurpose"}

VERBS: Mapping[str, Verb] = {
    "burn_efuse": Verb(
        (Option("--force"),), _burn_efuse, {"name_value_pairs": "name_value_pairs", "force": "force"}
    ),
    "burn_bit": Verb(
        (_FORCE,), _burn_bit, {"block": "block", "bit_number": "bit_number", "force": "force_write_always"}
    ),
    "burn_block_data": Verb(
        (Option("--offset", "int", "-o"), _FORCE),
        _burn_block_data,
        {"block_names": "block", "datafiles": "datafile", "offset": "offset", "force": "force_write_always"},
    ),
    "burn_key": Verb(_PROTECT, _burn_key, {**_KEYS, **_KEY_ARGS}),
    "burn_key_digest": Verb(_PROTECT, _burn_key_digest, {**_KEYS, **_KEY_ARGS}),
    "burn_custom_mac": Verb(
        (_FORCE,),
        _one("burn_custom_mac", "burn_custom_mac AA:CD:EF:01:02:03"),
        {"mac": "mac", "force": "force_write_always"},
    ),
    "set_flash_voltage": Verb(
        (), _one("set_flash_voltage", "set_flash_voltage 1.8V|3.3V|OFF"), {"voltage": "voltage"}
    ),
    "read_protect_efuse": Verb(
        (), _many("read_protect_efuse", "read_protect_efuse NAME [NAME ...]"), {"efuse_names": "efuse_name"}
    ),
    "write_protect_efuse": Verb(
        (), _many("write_protect_efuse", "write_protect_efuse NAME [NAME ...]"), {"efuse_names": "efuse_name"}
    ),
    "summary": Verb(
        (Option("--format", "text", choices=showing.FORMATS), Option("--file", "text"), Option("--active")),
        _summary,
        {"efuses_to_show": "efuses_to_show", "format": "format", "file": "file", "active": "active"},
        shows=True,
        reads_all=True,
    ),
    "dump": Verb(
        (Option("--format", "text", choices=showing.DUMP_FORMATS), Option("--file-name", "text")),
        _none("dump"),
        {"format": "format", "file_name": "file_name"},
        shows=True,
        reads_all=True,
    ),
    "adc_info": Verb((), _none("adc_info"), {}, shows=True),
    "get_custom_mac": Verb((), _none("get_custom_mac"), {}, shows=True),
    "check_error": Verb(
        (Option("--recovery", burns=True),),
        _none("check_error"),
        {"recovery": "recovery", "do_not_confirm": "do_not_confirm"},
        shows=True,
        reads_all=True,
    ),
    "execute_scripts": Verb(
        (Option("--index", "int"), Option("--configfiles", "texts")),
        _many("execute_scripts", "execute_scripts SCRIPT [SCRIPT ...] [--index N] [--configfiles F ...]"),
        {"scripts": "scripts", "index": "index", "configfiles": "configfiles"},
    ),
}


_MIND_KEYS = (_burn_efuse, _burn_key, _burn_key_digest, _burn_block_data)  # they know which words are keys


def verb_named(name: str) -> str:
    """Return a command's name with underscores.

    Raises:
        UnknownName: there is no such command; it names the nearest ones.
    """
    plain = name.replace("-", "_")
    if plain not in VERBS:
        raise UnknownName(f"there is no command {name!r}{nearest(plain, VERBS)}")
    return plain


def run_command(commands: Commands, command: str | Iterable[str]) -> None:
    """Run a command as dialect 4 writes it: one text, or its words.

    Raises:
        EfuseError: what the command raises, or it cannot be understood.
    """
    words = split_command(command) if isinstance(command, str) else [str(word) for word in command]
    if not words:
        raise BadValue("an empty command")
    try:
        verb = VERBS[verb_named(words[0])]
        rest, given = take_options(words[1:], verb.options)
        if verb.call is _burn_efuse and len(rest) > 1 and len(rest) % 2:
            raise BadValue(f"burn_efuse takes pairs of name and value; {rest[-1]} has no value")
    except EfuseError:
        commands._session.keys.give_words([*words, " ".join(words)])
        raise
    if verb.call not in _MIND_KEYS:
        commands._session.keys.give_words(rest)  # a key may stand where another word should
    verb.call(commands, rest, given)


def run_with_args(commands: Commands, name: str, args: object, **more: Any) -> None:
    """Run a command as the functions of dialect 4 take it.

    Args:
        commands: The device's commands.
        name: The command, with underscores.
        args: A namespace; what is set in it by the originals' names is taken.
        **more: Arguments of the method that go before those of `args`.

    Raises:
        EfuseError: what the command raises.
    """
    given = {
        keyword: getattr(args, attribute)
        for keyword, attribute in VERBS[name].args.items()
        if getattr(args, attribute, None) is not None
    }
    if "name_value_pairs" not in given and name == "burn_efuse":
        raise BadValue(
            "burn_efuse(esp, efuses, args) needs args.name_value_pairs, a dict of names and values"
        )
    getattr(commands, name)(**{**given, **more})
