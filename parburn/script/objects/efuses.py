"""The `efuses` object of a script: fields and blocks by name, burn_all, and more of the originals' one."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from parburn.chips.model import Chip, RegisterWrite
from parburn.errors import UnknownName
from parburn.script.commands import burn as burning
from parburn.script.commands import show as showing
from parburn.script.fatal_error import for_scripts
from parburn.script.objects.fields import BlockView, FieldView
from parburn.script.session import Session, nearest


class Efuses:
    """`efuses`: fields by name, and what the originals' object of that name can do."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self.batch_mode_cnt = 0  # scripts count here; everything is staged anyway
        self.postpone = True
        self.debug = session.options.debug
        self.do_not_confirm = session.options.do_not_confirm

    @for_scripts
    def __getitem__(self, name: str) -> FieldView | BlockView:
        session = self._session
        try:
            return FieldView(session, session.field_named(name))
        except UnknownName:
            block = session.chip.block_by_name.get(name)
            if block is not None:
                return BlockView(session, block)
        raise KeyError(
            f"{session.chip.title} has no eFuse {name!r}{nearest(str(name), _names(session.chip))}"
        )

    def __contains__(self, name: object) -> bool:
        try:
            self[str(name)]
        except KeyError:
            return False
        return True

    def __iter__(self) -> Iterator[FieldView]:
        return iter(self.efuses)

    def __len__(self) -> int:
        return len(self.efuses)

    @property
    def efuses(self) -> list[FieldView]:
        """The fields this chip shows, in the order of its table."""
        return self.get_efuses()

    @for_scripts
    def get_efuses(self) -> list[FieldView]:
        """Return what `efuses` holds."""
        fields = self._session.read(lambda image: image.fields())
        return [FieldView(self._session, field) for field in fields]

    @property
    def blocks(self) -> list[BlockView]:
        """All blocks."""
        return [BlockView(self._session, block) for block in self._session.chip.blocks]

    @property
    def BURN_BLOCK_DATA_NAMES(self) -> list[str]:  # noqa: N802  # the originals' name
        """Names that burn_block_data and burn_bit take."""
        return [name for block in self._session.chip.blocks for name in block.names]

    @property
    def BLOCKS_FOR_KEYS(self) -> list[str]:  # noqa: N802  # the originals' name
        """Names that burn_key takes."""
        return [name for block in self._session.chip.blocks if block.for_keys for name in block.names]

    @property
    def coding_scheme(self) -> int:
        """Number of the coding scheme of the blocks after BLOCK0."""
        return BlockView(self._session, self._session.chip.blocks[1]).get_coding_scheme()

    @property
    def force_write_always(self) -> bool:
        """What `--force-write-always` sets."""
        return self._session.staged.force

    @force_write_always.setter
    def force_write_always(self, force: bool | None) -> None:
        self._session.staged.force = bool(force)

    @for_scripts
    def burn_all(self, check_batch_mode: bool = False) -> bool:
        """Burn what is staged; then fields show what the chip shows.

        Args:
            check_batch_mode: Burn nothing yet, and return False, as the originals do in batch mode.

        Raises:
            FatalError: the burn was refused before its first bit; what is staged stays staged.
            ParburnError: the board failed, and its script goes no further.
        """
        return False if check_batch_mode else self._session.burn_all()

    @for_scripts
    def read_reg(self, addr: int) -> int:
        """Return a register of the chip (32 bits)."""
        return self._session.read_registers((addr,))[0]

    @for_scripts
    def write_reg(self, addr: int, value: int, mask: int = 0xFFFFFFFF, delay_us: int = 0, **_: int) -> None:
        """Write a register that is not the eFuse controller's.

        Args:
            addr: Its address.
            value: What is written.
            mask: Bits to change.
            delay_us: How long the ROM waits before it, in microseconds.

        Raises:
            FatalError: it is a register of the eFuse controller.
        """
        self._session.write_register(RegisterWrite(addr, value, mask, delay_us))

    def get_index_block_by_name(self, name: str) -> int | None:
        """Return the number of a block by name or alias; None: there is none."""
        block = self._session.chip.block_by_name.get(name)
        return None if block is None else block.index

    @for_scripts
    def get_block_version(self) -> int:
        """Return the version of the eFuse blocks' layout, major * 100 + minor."""
        return self._session.read(showing.block_version)

    def get_major_chip_version(self) -> int:
        """Return the major silicon revision."""
        return self._session.facts.major

    def get_minor_chip_version(self) -> int:
        """Return the minor silicon revision."""
        return self._session.facts.minor

    def get_chip_version(self) -> int:
        """Return the silicon revision, major * 100 + minor."""
        return self._session.facts.revision

    def get_pkg_version(self) -> int:
        """Return the package code; 0 where it is not known."""
        return self._session.facts.package or 0

    def get_crystal_freq(self) -> int:
        """Return the crystal's frequency in MHz."""
        return self._session.facts.crystal_mhz

    def get_block_errors(self, block_num: int) -> tuple[int, bool]:
        """Return the number of errors of a block, and whether it failed to be corrected."""
        block = BlockView(self._session, self._session.chip.blocks[block_num])
        return block.num_errors, block.fail

    @for_scripts
    def get_coding_scheme_warnings(self, silent: bool = False) -> bool:
        """Return whether any block has coding errors; say which unless `silent`."""
        session = self._session
        session.read(lambda image: [image.block(block.index) for block in image.chip.blocks])
        found = session.read(showing.errors_found)
        if found and not silent:
            session.say("".join(f"{line}\n" for line in found))
        return bool(found)

    @for_scripts
    def summary(self) -> str:
        """Return in words what the eFuses say about the flash voltage."""
        return self._session.change(burning.flash_voltage_words)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):
            raise AttributeError(name)
        raise AttributeError(f"efuses has no {name!r} in parburn; see the scripting page of its README")

    def confirm(self, action: str = "", do_not_confirm: bool = False) -> None:
        """Do nothing: one answer of the operator serves the whole run, before its first burn."""


def _names(chip: Chip) -> dict[str, object]:
    return {**dict.fromkeys(chip.field_by_name), **dict.fromkeys(chip.block_by_name)}
