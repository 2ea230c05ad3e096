"""The fifteen commands, each defined once, with the signatures of dialect 5; `text` adds dialect 4.

Files are read before a command starts to stage, so that a command can start again after a block was read.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple, TextIO

from parburn.efuse.staging import StagedBurns, stage_recovery
from parburn.errors import BadValue, EfuseError
from parburn.script.commands import burn as burning
from parburn.script.commands import keys
from parburn.script.commands import show as showing
from parburn.script.commands.keys import KeyOrder, has_purposes
from parburn.script.session import Session, read_file

KeyFile = str | Path | bytes | BinaryIO
Words = list[str]
Given = Mapping[str, Any]
Nest = Callable[[Sequence[str], "int | None", "Sequence[str] | None"], None]


class _Unprotected(NamedTuple):
    """Which protections a key is left without."""

    write: bool
    read: bool


class Commands:
    """The commands of one device, with the signatures of dialect 5 (espefuse's names, esptool 5).

    All of them stage; none burns at once, but for `check_error(recovery=True)`. Each raises EfuseError
    (scripts see esptool.FatalError), and then nothing of the command is staged.
    """

    def __init__(self, session: Session, nest: Nest) -> None:
        self._session = session
        self._nest = nest

    # Burning ------------------------------------------------------------------------------------------

    def burn_efuse(
        self, name_value_pairs: Mapping[str, Any] | Sequence[tuple[str, Any]], force: bool = False
    ) -> None:
        """Burn fields by name and value.

        Args:
            name_value_pairs: Values as text, number, bytes or bool, by field name. None burns a bool, or the
                next bit of a count.
            force: Burn what breaks a rule of the chip, such as two settings that contradict each other.
        """
        pairs = list(name_value_pairs.items() if isinstance(name_value_pairs, Mapping) else name_value_pairs)
        self._session.change(lambda draft: burning.burn_efuse(draft, pairs, force=force))

    def burn_bit(self, block: str, bit_number: int | Sequence[int], *, force: bool | None = None) -> None:
        """Burn bits of a block, named or by an alias. Bit 0 is the lowest of word 0.

        `force` is `--force-write-always`, here and below: it skips the checks of what the block holds, and
        may spoil it.
        """
        bits = [bit_number] if isinstance(bit_number, int) else list(bit_number)
        self._session.keys.give_words([block])
        self._session.change(lambda draft: burning.burn_bit(draft, block, bits, force=force))

    def burn_block_data(
        self,
        block_names: str | Sequence[str | None],
        datafiles: KeyFile | Sequence[KeyFile | None],
        offset: int = 0,
        *,
        force: bool | None = None,
    ) -> None:
        """Burn files, paths or bytes into blocks.

        `offset` is the first byte, with a single block; without it the data must fill each block.
        """
        names, files = _listed(block_names), _listed(datafiles)
        self._session.keys.give_words(names)
        _same_length(blocks=names, files=files)
        parts = [(name, _content(self._session, file)) for name, file in zip(names, files, strict=True)]
        self._session.change(lambda draft: burning.burn_block_data(draft, parts, offset=offset, force=force))

    def burn_custom_mac(self, mac: str | bytes, *, force: bool | None = None) -> None:
        """Burn a custom MAC address: text as aa:bb:cc:dd:ee:ff, or six bytes."""
        if isinstance(mac, str):
            self._session.keys.give_words([mac])  # no address is so long
        self._session.change(lambda draft: burning.burn_custom_mac(draft, mac, force=force))

    def set_flash_voltage(self, voltage: str) -> None:
        """Fix the voltage of the flash regulator: 1.8V, 3.3V or OFF."""
        self._session.change(lambda draft: burning.set_flash_voltage(draft, voltage))

    def read_protect_efuse(self, efuse_names: str | Sequence[str]) -> None:
        """Read-protect fields or key blocks for ever."""
        names = _listed(efuse_names)
        self._session.keys.give_words(names)
        self._session.change(lambda draft: burning.read_protect_efuse(draft, names))

    def write_protect_efuse(self, efuse_names: str | Sequence[str]) -> None:
        """Write-protect fields or blocks for ever."""
        names = _listed(efuse_names)
        self._session.keys.give_words(names)
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
        force: bool = False,
        force_write_always: bool | None = None,
    ) -> None:
        """Burn keys from files, paths or bytes into blocks, and protect them as their purpose needs.

        Chips without key purposes take `(blocks, files, no_protect_key)`; there a block may be named by its
        use, such as flash_encryption.

        Args:
            blocks: Names or aliases of key blocks; `block` is the same.
            keyfiles: As many files; `keyfile` is the same, `digest` are bytes in place of files.
            keypurposes: As many names of purposes.
            no_write_protect: Leave the blocks writeable.
            no_read_protect: Leave keys readable that their purpose would hide.
            show_sensitive_info: Print the bytes.
            digest: Final bytes in place of files.
            no_protect_key: Leave them writeable and readable. Only for chips without key purposes, which take
                none of the two above.
            block: See blocks.
            keyfile: See keyfiles.
            force: Take a key whose bytes are all equal, fill up with zeros one that is shorter than its block
                says, and burn one that the chip will not use; all are refused without it.
            force_write_always: Skip the checks of what the block holds, which may spoil it.
        """
        if isinstance(keypurposes, bool):  # the form of chips without purposes; its fourth shows the key
            no_protect_key, keypurposes = keypurposes, ()
            no_write_protect, show_sensitive_info = False, show_sensitive_info or no_write_protect
        unprotected = self._unprotected(
            no_write_protect=no_write_protect,
            no_read_protect=no_read_protect,
            no_protect_key=no_protect_key,
        )
        files = _listed(digest) if digest is not None else _listed(keyfiles) or _listed(keyfile)
        orders = self._orders(_listed(blocks) or _listed(block), files, _listed(keypurposes))
        self._session.change(
            lambda draft: keys.burn_key(
                draft,
                orders,
                no_write_protect=unprotected.write,
                no_read_protect=unprotected.read,
                show_sensitive_info=show_sensitive_info,
                force=force,
                force_write_always=force_write_always,
                contents_are_keys=digest is not None,
            )
        )

    def burn_key_digest(
        self,
        blocks: str | KeyFile | Sequence[str | None] = (),
        keyfiles: KeyFile | Sequence[KeyFile | None] | bool = (),
        keypurposes: str | Sequence[str | None] | bool = (),
        no_write_protect: bool = False,
        no_read_protect: bool = False,
        show_sensitive_info: bool = False,
        *,
        no_protect_key: bool = False,
        keyfile: KeyFile | None = None,
        force: bool = False,
        force_write_always: bool | None = None,
    ) -> None:
        """Burn digests of public keys (PEM files) for secure boot V2.

        Chips with one place for it take `(keyfile, no_protect_key)`; the other arguments are those of
        `burn_key`.
        """
        if isinstance(keyfiles, bool):  # the form of chips with one place for it; its third shows the digest
            no_protect_key, keyfiles = keyfiles, ()
            if isinstance(keypurposes, bool):
                show_sensitive_info, keypurposes = keypurposes, ()
        unprotected = self._unprotected(
            no_write_protect=no_write_protect,
            no_read_protect=no_read_protect,
            no_protect_key=no_protect_key,
        )
        files = _listed(keyfiles)
        if keyfile is None and not files and blocks:
            keyfile = blocks  # type: ignore[assignment]  # the form with a file alone
        if keyfile is not None:
            orders = [KeyOrder("", self._key(_listed(keyfile)[0]))]
        else:
            orders = self._orders(_listed(blocks), files, _listed(keypurposes or ()))
        self._session.change(
            lambda draft: keys.burn_key_digest(
                draft,
                orders,
                no_write_protect=unprotected.write,
                no_read_protect=unprotected.read,
                show_sensitive_info=show_sensitive_info,
                force=force,
                force_write_always=force_write_always,
            )
        )

    def _unprotected(
        self, *, no_write_protect: bool, no_read_protect: bool, no_protect_key: bool
    ) -> _Unprotected:
        """Return which protections are left out. Raises BadValue for an option of another chip's form."""
        chip = self._session.chip
        both = no_protect_key
        if has_purposes(chip) and both:
            raise BadValue(
                f"{chip.title} has no --no-protect-key: that is for chips without key purposes",
                hint="--no-write-protect leaves the key writeable, --no-read-protect leaves it readable",
            )
        if not has_purposes(chip) and (no_write_protect or no_read_protect):
            given = "--no-write-protect" if no_write_protect else "--no-read-protect"
            raise BadValue(
                f"{chip.title} has no {given}: that is for chips with key purposes",
                hint="--no-protect-key leaves the key readable and writeable",
            )
        return _Unprotected(write=no_write_protect or both, read=no_read_protect or both)

    def _orders(self, blocks: list[Any], files: list[Any], purposes: list[Any]) -> list[KeyOrder]:
        if not has_purposes(self._session.chip):
            if purposes:
                raise BadValue(f"{self._session.chip.title} has no key purposes: give blocks and files")
            purposes = [None] * len(blocks)
        self._session.keys.give_words([*blocks, *purposes])
        _same_length(blocks=blocks, files=files, purposes=purposes)
        return [
            KeyOrder(block, self._key(file), purpose)
            for block, file, purpose in zip(blocks, files, purposes, strict=True)
        ]

    def _key(self, file: Any) -> bytes:
        """Return the bytes of a key, which no text shows from now on; also one given in place of a file."""
        keys = self._session.keys
        try:
            content = _content(self._session, file)
        except EfuseError:
            keys.give_words([file])
            raise
        keys.give_content(content)
        return content

    # Showing ------------------------------------------------------------------------------------------

    def summary(
        self,
        efuses_to_show: str | Sequence[str] = (),
        format: str = "summary",
        file: str | Path | TextIO | None = None,
        active: bool = False,
    ) -> None:
        """Show fields: all, or those named.

        Args:
            efuses_to_show: Names of fields.
            format: summary, json or value_only.
            file: Where to write; None prints.
            active: Only fields that are set or protected.
        """
        names = _listed(efuses_to_show)
        target = None if file is sys.stdout else file
        self._session.change(
            lambda draft: showing.summary(draft, names, format=format, file=target, active=active)
        )

    def dump(self, format: str = "default", file_name: str | Path | None = None) -> None:
        """Show or save the blocks as they are read.

        Args:
            format: default or joint, split (a file for each block), or token (one line that espefuse reads,
                too).
            file_name: Where to write; None prints.
        """
        target = None if file_name is sys.stdout else file_name
        self._session.change(lambda draft: showing.dump(draft, format=format, file_name=target))

    def adc_info(self) -> None:
        """Show the calibration values that this chip holds."""
        self._session.change(showing.adc_info)

    def get_custom_mac(self) -> None:
        """Show the custom MAC address."""
        self._session.change(showing.get_custom_mac)

    def check_error(self, recovery: bool = False, do_not_confirm: bool = False) -> None:
        """Look for coding errors in all blocks.

        Args:
            recovery: Burn the blocks that have any once more, at once.
            do_not_confirm: Taken for the originals' sake: the confirmation is that of the run.

        Raises:
            EfuseError: errors are left.
        """
        session = self._session
        found = self._errors()
        if found and recovery:
            with session.turn:
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
        """Run other scripts within this one.

        Args:
            scripts: Paths. They share this script's global names.
            index: Their `args.index`; refused unless it is this board's own, or `--allow-fixed-index` is
                given. None: they have none.
            configfiles: Paths of their `args.configfiles`; None: they have none.
        """
        names = [getattr(one, "name", one) for one in _listed(scripts)]
        files = None if configfiles is None else [getattr(one, "name", one) for one in _listed(configfiles)]
        self._nest(names, index, files)


def _listed(value: Any) -> list[Any]:
    """Return a list without the None that argparse leaves in it; one name or file is a list of one."""
    if isinstance(value, (str, bytes, Path)) or hasattr(value, "read"):
        return [value]
    return [one for one in value if one is not None]


def _same_length(**lists: list[Any]) -> None:
    counts = {name: len(values) for name, values in lists.items()}
    if len(set(counts.values())) > 1:
        found = ", ".join(f"{count} {name}" for name, count in counts.items())
        raise BadValue(f"there must be as many of each: {found} were given")


def _content(session: Session, file: Any) -> bytes:
    """Return the bytes of an open file, a path, or bytes themselves. An open file is left open."""
    if isinstance(file, (bytes, bytearray)):
        return bytes(file)
    if hasattr(file, "read"):
        content = file.read()
        if not isinstance(content, bytes):
            raise BadValue("a key or data file must be opened in binary mode: open(name, 'rb')")
        return content
    return read_file(session, file)
