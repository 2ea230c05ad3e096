"""The fifteen commands, each defined once. Dialect 5 calls the methods of `Commands`; dialect 4 gives a
string (`run_command`) or an argparse namespace (`run_with_args`), which become calls of the same methods.

Files are read before a command starts to stage, so that a command can start again after a block was read.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, TextIO

from parburn.efuse.staging import StagedBurns, stage_recovery
from parburn.errors import BadValue, EfuseError, UnknownName
from parburn.script import burning, keys, showing
from parburn.script.keys import KeyOrder, has_purposes
from parburn.script.options import Option, split_command, take_options
from parburn.script.session import Session, nearest, read_file

KeyFile = str | Path | bytes | BinaryIO
Words = list[str]
Given = Mapping[str, Any]
Nest = Callable[[Sequence[str], "int | None", "Sequence[str] | None"], None]


class Commands:
    """The commands of one device, with the signatures of dialect 5. All of them stage; none burns at once,
    but for `check_error(recovery=True)`. Raises EfuseError, and then nothing of the command is staged."""

    def __init__(self, session: Session, nest: Nest) -> None:
        self._session = session
        self._nest = nest

    # Burning ------------------------------------------------------------------------------------------

    def burn_efuse(
        self, name_value_pairs: Mapping[str, Any] | Sequence[tuple[str, Any]], force: bool = False
    ) -> None:
        """Burn fields by name and value."""
        pairs = list(name_value_pairs.items() if isinstance(name_value_pairs, Mapping) else name_value_pairs)
        self._session.change(lambda draft: burning.burn_efuse(draft, pairs, force=force))

    def burn_bit(self, block: str, bit_number: int | Sequence[int], *, force: bool | None = None) -> None:
        """Burn bits of a block."""
        bits = [bit_number] if isinstance(bit_number, int) else list(bit_number)
        self._session.change(lambda draft: burning.burn_bit(draft, block, bits, force=force))

    def burn_block_data(
        self,
        block_names: str | Sequence[str | None],
        datafiles: KeyFile | Sequence[KeyFile | None],
        offset: int = 0,
        *,
        force: bool | None = None,
    ) -> None:
        """Burn files into blocks."""
        names, files = _listed(block_names), _listed(datafiles)
        _same_length(blocks=names, files=files)
        parts = [(name, _content(file)) for name, file in zip(names, files, strict=True)]
        self._session.change(lambda draft: burning.burn_block_data(draft, parts, offset=offset, force=force))

    def burn_custom_mac(self, mac: str | bytes, *, force: bool | None = None) -> None:
        """Burn a custom MAC address."""
        self._session.change(lambda draft: burning.burn_custom_mac(draft, mac, force=force))

    def set_flash_voltage(self, voltage: str) -> None:
        """Fix the flash voltage."""
        self._session.change(lambda draft: burning.set_flash_voltage(draft, voltage))

    def read_protect_efuse(self, efuse_names: str | Sequence[str]) -> None:
        """Read-protect fields."""
        names = _listed(efuse_names)
        self._session.change(lambda draft: burning.read_protect_efuse(draft, names))

    def write_protect_efuse(self, efuse_names: str | Sequence[str]) -> None:
        """Write-protect fields."""
        names = _listed(efuse_names)
        self._session.change(lambda draft: burning.write_protect_efuse(draft, names))

    def burn_key(
        self,
        blocks: str | Sequence[str | None] = (),
        keyfiles: KeyFile | Sequence[KeyFile | None] = (),
        keypurposes: str | Sequence[str | None] | bool = (),
        no_write_protect: bool = False,
        no_read_protect: bool = False,
        show_sensitive_info: bool = False,
        digest: Sequence[bytes | None] | None = None,
        *,
        no_protect_key: bool = False,
        block: str | Sequence[str | None] = (),
        keyfile: KeyFile | Sequence[KeyFile | None] = (),
        force: bool | None = None,
    ) -> None:
        """Burn keys. Chips without key purposes take `(blocks, files, no_protect_key)`."""
        if isinstance(keypurposes, bool):
            no_protect_key, keypurposes = keypurposes, ()
        files = _listed(digest) if digest is not None else _listed(keyfiles) or _listed(keyfile)
        orders = self._orders(_listed(blocks) or _listed(block), files, _listed(keypurposes))
        self._session.change(
            lambda draft: keys.burn_key(
                draft,
                orders,
                no_write_protect=no_write_protect or no_protect_key,
                no_read_protect=no_read_protect or no_protect_key,
                show_sensitive_info=show_sensitive_info,
                force=force,
                contents_are_keys=digest is not None,
            )
        )

    def burn_key_digest(
        self,
        blocks: str | KeyFile | Sequence[str | None] = (),
        keyfiles: KeyFile | Sequence[KeyFile | None] | bool = (),
        keypurposes: str | Sequence[str | None] = (),
        no_write_protect: bool = False,
        no_read_protect: bool = False,
        show_sensitive_info: bool = False,
        *,
        no_protect_key: bool = False,
        keyfile: KeyFile | None = None,
        force: bool | None = None,
    ) -> None:
        """Burn digests of public keys. Chips with one place for it take `(keyfile, no_protect_key)`."""
        if isinstance(keyfiles, bool):
            no_protect_key, keyfiles = keyfiles, ()
        files = _listed(keyfiles)
        if keyfile is None and not files and blocks:
            keyfile = blocks  # type: ignore[assignment]  # the form with a file alone
        if keyfile is not None:
            orders = [KeyOrder("", _content(_listed(keyfile)[0]))]
        else:
            orders = self._orders(_listed(blocks), files, _listed(keypurposes))
        self._session.change(
            lambda draft: keys.burn_key_digest(
                draft,
                orders,
                no_write_protect=no_write_protect or no_protect_key,
                no_read_protect=no_read_protect,
                show_sensitive_info=show_sensitive_info,
                force=force,
            )
        )

    def _orders(self, blocks: list[Any], files: list[Any], purposes: list[Any]) -> list[KeyOrder]:
        if not has_purposes(self._session.chip):
            if purposes:
                raise BadValue(f"{self._session.chip.title} has no key purposes: give blocks and files")
            purposes = [None] * len(blocks)
        _same_length(blocks=blocks, files=files, purposes=purposes)
        return [
            KeyOrder(block, _content(file), purpose)
            for block, file, purpose in zip(blocks, files, purposes, strict=True)
        ]

    # Showing ------------------------------------------------------------------------------------------

    def summary(
        self,
        efuses_to_show: str | Sequence[str] = (),
        format: str = "summary",
        file: str | Path | TextIO | None = None,
        active: bool = False,
    ) -> None:
        """Show fields."""
        names = _listed(efuses_to_show)
        target = None if file is sys.stdout else file
        self._session.change(
            lambda draft: showing.summary(draft, names, format=format, file=target, active=active)
        )

    def dump(self, format: str = "default", file_name: str | Path | None = None) -> None:
        """Show or save the blocks."""
        target = None if file_name is sys.stdout else file_name
        self._session.change(lambda draft: showing.dump(draft, format=format, file_name=target))

    def adc_info(self) -> None:
        """Show the calibration."""
        self._session.change(showing.adc_info)

    def get_custom_mac(self) -> None:
        """Show the custom MAC address."""
        self._session.change(showing.get_custom_mac)

    def check_error(self, recovery: bool = False, do_not_confirm: bool = False) -> None:
        """Look for coding errors; `recovery` burns the blocks that have any once more, at once.

        Raises EfuseError when errors are left. The confirmation is that of the run.
        """
        session = self._session
        found = self._errors()
        if found and recovery:
            kept, session.staged = session.staged, StagedBurns()
            try:
                if session.change(lambda draft: stage_recovery(draft.image, draft.staged)):
                    session.burn_all()
            finally:
                session.staged = kept
            found = self._errors()
        if found:
            raise EfuseError(
                "the coding of some eFuses has errors", hint="check_error --recovery may mend it"
            )
        session.say("No errors detected\n")

    def _errors(self) -> list[str]:
        session = self._session
        session.read(lambda image: [image.block(block.index) for block in image.chip.blocks])
        found = session.read(showing.errors_found)
        session.say("".join(f"{line}\n" for line in found))
        return found

    def execute_scripts(
        self,
        scripts: str | Sequence[str],
        index: int | None = None,
        configfiles: str | Sequence[str] | None = None,
    ) -> None:
        """Run other scripts within this one, with an index and config files of their own."""
        names = [getattr(one, "name", one) for one in _listed(scripts)]
        files = None if configfiles is None else [getattr(one, "name", one) for one in _listed(configfiles)]
        self._nest(names, index, files)


def _listed(value: Any) -> list[Any]:
    """A list without the None that argparse leaves in it; one name or file alone is a list of one."""
    if isinstance(value, (str, bytes, Path)) or hasattr(value, "read"):
        return [value]
    return [one for one in value if one is not None]


def _same_length(**lists: list[Any]) -> None:
    counts = {name: len(values) for name, values in lists.items()}
    if len(set(counts.values())) > 1:
        found = ", ".join(f"{count} {name}" for name, count in counts.items())
        raise BadValue(f"there must be as many of each: {found} were given")


def _content(file: Any) -> bytes:
    """The bytes of an open file, a path, or bytes themselves. An open file is left open."""
    if isinstance(file, (bytes, bytearray)):
        return bytes(file)
    if hasattr(file, "read"):
        content = file.read()
        if not isinstance(content, bytes):
            raise BadValue("a key or data file must be opened in binary mode: open(name, 'rb')")
        return content
    return read_file(file)


# Dialect 4: strings -----------------------------------------------------------------------------------

_FORCE = Option("--force-write-always")
_SHOW = Option("--show-sensitive-info")
_PROTECT = (
    Option("--no-write-protect"),
    Option("--no-read-protect"),
    Option("--no-protect-key"),
    _FORCE,
    _SHOW,
)


@dataclass(frozen=True, slots=True)
class Verb:
    """How the words of a command become a call, and the names its arguments have in an argparse namespace."""

    options: tuple[Option, ...]
    call: Callable[[Commands, Words, Given], None]
    args: Mapping[str, str]  # keyword of the method -> name in the namespace


def _burn_efuse(commands: Commands, words: Words, given: Given) -> None:
    if len(words) > 1 and len(words) % 2:
        raise BadValue(f"burn_efuse takes pairs of name and value; {words[-1]} has no value")
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
    if has_purposes(commands._session.chip):
        blocks, files, purposes = _groups(words, 3, "burn_key BLOCK FILE PURPOSE [BLOCK FILE PURPOSE ...]")
        commands.burn_key(blocks, files, purposes, **_forced(given))
    else:
        blocks, files = _groups(words, 2, "burn_key BLOCK FILE [BLOCK FILE ...]")
        commands.burn_key(blocks, files, **_forced(given))


def _burn_key_digest(commands: Commands, words: Words, given: Given) -> None:
    if len(words) == 1:
        commands.burn_key_digest(keyfile=words[0], **_forced(given))
        return
    blocks, files, purposes = _groups(words, 3, "burn_key_digest BLOCK FILE PURPOSE, or FILE alone")
    commands.burn_key_digest(blocks, files, purposes, **_forced(given))


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


def _groups(words: Words, size: int, usage: str) -> tuple[Words, ...]:
    if not words or len(words) % size:
        raise BadValue(f"usage: {usage}")
    return tuple(words[at::size] for at in range(size))


def _forced(given: Given) -> dict[str, Any]:
    """`--force-write-always` as the methods take it: a command that has the option always sets it."""
    more = dict(given)
    more["force"] = more.pop("force_write_always", False)
    return more


_KEY_ARGS = {
    "no_write_protect": "no_write_protect",
    "no_read_protect": "no_read_protect",
    "no_protect_key": "no_protect_key",
    "show_sensitive_info": "show_sensitive_info",
    "force": "force_write_always",
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
    ),
    "dump": Verb(
        (Option("--format", "text", choices=showing.DUMP_FORMATS), Option("--file-name", "text")),
        _none("dump"),
        {"format": "format", "file_name": "file_name"},
    ),
    "adc_info": Verb((), _none("adc_info"), {}),
    "get_custom_mac": Verb((), _none("get_custom_mac"), {}),
    "check_error": Verb(
        (Option("--recovery"),),
        _none("check_error"),
        {"recovery": "recovery", "do_not_confirm": "do_not_confirm"},
    ),
    "execute_scripts": Verb(
        (Option("--index", "int"), Option("--configfiles", "texts")),
        _many("execute_scripts", "execute_scripts SCRIPT [SCRIPT ...] [--index N] [--configfiles F ...]"),
        {"scripts": "scripts", "index": "index", "configfiles": "configfiles"},
    ),
}


def verb_named(name: str) -> str:
    """A command's name with underscores. Raises UnknownName with the nearest names."""
    plain = name.replace("-", "_")
    if plain not in VERBS:
        raise UnknownName(f"there is no command {name!r}{nearest(plain, VERBS)}")
    return plain


def run_command(commands: Commands, command: str | Iterable[str]) -> None:
    """Run a command as dialect 4 writes it."""
    words = split_command(command) if isinstance(command, str) else [str(word) for word in command]
    if not words:
        raise BadValue("an empty command")
    verb = VERBS[verb_named(words[0])]
    rest, given = take_options(words[1:], verb.options)
    verb.call(commands, rest, given)


def run_with_args(commands: Commands, name: str, args: object, **more: Any) -> None:
    """Run a command as the functions of dialect 4 take it: what is set in `args` by the originals' names."""
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
