"""The fields and blocks that a script's `efuses` hands out. They hold no bits of their own.

Every question goes to the session's image, so an object that a script kept shows what the chip shows after
the next burn. Burning methods stage, but for `burn()`, which burns what is staged, as in the originals.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from parburn.chips.model import Block, Codec, Field
from parburn.coding import CodingScheme
from parburn.efuse import staging, values
from parburn.efuse.image import GOOD, BlockStatus
from parburn.script.commands import burn as burning
from parburn.script.fatal_error import for_scripts
from parburn.script.session import Draft, Session

if TYPE_CHECKING:
    from bitstring import BitStream

_SCHEME_NUMBERS = {CodingScheme.NONE: 0, CodingScheme.THREE_QUARTERS: 1, CodingScheme.RS: 4}
# What the originals call a field's class, where they have another word for it than the chip's row.
_CLASSES = {Codec.CUSTOM_MAC: "mac", Codec.MAC_CRC: "mac", Codec.CUSTOM_MAC_CRC: "mac"}


class _Protected:
    """What fields and blocks have in common."""

    __slots__ = ("_session", "_what")
    _what: Field | Block

    @property
    def name(self) -> str:
        """Its name."""
        return self._what.name

    @property
    def write_disable_bit(self) -> int | None:
        """Its bit in WR_DIS."""
        return self._what.wr_dis

    @property
    def read_disable_bit(self) -> int | list[int] | None:
        """Its bit in RD_DIS, or bits where its halves are protected apart."""
        bits = self._what.rd_dis
        return None if not bits else bits[0] if len(bits) == 1 else list(bits)

    @for_scripts
    def is_readable(self, blk_part: int | None = None) -> bool:
        """Return whether software can read it; `blk_part` asks for one half of a block."""
        return self._session.read(lambda image: image.is_readable(self._what, blk_part))

    @for_scripts
    def is_writeable(self) -> bool:
        """Return whether it can still be burned."""
        return self._session.read(lambda image: image.is_writeable(self._what))

    @for_scripts
    def disable_read(self) -> None:
        """Stage its read protection."""
        self._session.change(
            lambda draft: staging.stage_read_protection(
                draft.image, draft.staged, self._what, check_use=False
            )
        )

    @for_scripts
    def disable_write(self) -> None:
        """Stage its write protection."""
        self._session.change(
            lambda draft: staging.stage_write_protection(draft.image, draft.staged, self._what)
        )

    _session: Session


class FieldView(_Protected):
    """A field as scripts see it."""

    __slots__ = ()
    _what: Field

    def __init__(self, session: Session, field: Field) -> None:
        self._session = session
        self._what = field

    def __repr__(self) -> str:
        return f"<eFuse {self._what.name}>"

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, FieldView):
            return NotImplemented
        return self._what is other._what and self._session is other._session

    def __hash__(self) -> int:
        return hash((id(self._session), self._what.name))

    # What it is ---------------------------------------------------------------------------------------

    @property
    def alt_names(self) -> list[str]:
        """Its other names."""
        return list(self._what.alt_names)

    @property
    def all_names(self) -> list[str]:
        """All its names."""
        return list(self._what.names)

    @property
    def block(self) -> int:
        """Number of its block."""
        return self._what.block

    @property
    def word(self) -> int | None:
        """Word of the block where it starts; None when it is computed."""
        return self._what.word

    @property
    def pos(self) -> int | None:
        """Bit in that word."""
        return self._what.pos

    @property
    def bit_len(self) -> int:
        """How many bits it has."""
        return self._what.bits

    @property
    def description(self) -> str:
        """What it is for."""
        return self._what.description

    @property
    def category(self) -> str:
        """Its group in the summary."""
        return self._what.category

    @property
    def efuse_type(self) -> str:
        """bool, uint:N or bytes:N."""
        return self._what.type_name

    @property
    def efuse_class(self) -> str:
        """Its kind, as the originals call it."""
        return _CLASSES.get(self._what.codec, self._what.codec.value)

    @property
    def dict_value(self) -> dict[int, str]:
        """Meanings by value."""
        return dict(self._what.meanings)

    @property
    def num_errors(self) -> int:
        """Coding errors of its block."""
        return self._session.image.status.get(self._what.block, GOOD).errors if self._what.block else 0

    @property
    def fail(self) -> bool:
        """Whether its bits, or its block, have errors that are left."""
        if self._what.block:
            return self._session.image.status.get(self._what.block, GOOD).fail
        return bool(self._session.image.block0_errors & self._what.mask)

    def is_field_calculated(self) -> bool:
        """Return whether it has no bits of its own."""
        return self._what.start is None

    @for_scripts
    def need_reverse(self, key_purpose: str) -> bool:
        """Return whether a key of this purpose goes in with its bytes reversed."""
        purpose = self._session.chip.purpose_by_name.get(key_purpose)
        return purpose is not None and purpose.reversed

    @for_scripts
    def need_rd_protect(self, key_purpose: str) -> bool:
        """Return whether a key of this purpose is read-protected."""
        purpose = self._session.chip.purpose_by_name.get(key_purpose)
        return purpose is not None and purpose.read_protect

    # What it holds ------------------------------------------------------------------------------------

    @for_scripts
    def get(self, from_read: bool = True) -> values.Value:
        """Return its value as it is shown; bool fields give True or False."""
        return self._session.read(lambda image: values.get(image, self._what, self._staged(from_read)))

    @for_scripts
    def get_meaning(self, from_read: bool = True) -> values.Value:
        """Return the words for its value, or the value."""
        return self._session.read(
            lambda image: values.get_meaning(image, self._what, self._staged(from_read))
        )

    @for_scripts
    def get_raw(self, from_read: bool = True) -> int | bool | bytes:
        """Return its bits as a number, bool or bytes."""
        return self._session.read(lambda image: values.get_raw(image, self._what, self._staged(from_read)))

    @for_scripts
    def get_bitstring(self, from_read: bool = True) -> BitStream:
        """Return its bits as a BitStream of the caller's own, highest bit first."""
        return self._session.read(
            lambda image: values.bitstring_of(image, self._what, self._staged(from_read))
        )

    @property
    def bitarray(self) -> BitStream:
        """Its bits, as the originals keep them."""
        return self.get_bitstring()

    def _staged(self, from_read: bool) -> int | None:
        return None if from_read else self._session.staged.value(self._session.chip, self._what)

    @for_scripts
    def save(self, new_value: Any) -> None:
        """Stage a value: number, text, bytes or a bitstring.

        Raises:
            FatalError: the value does not fit, or the hardware forbids it; nothing is staged.
        """

        def save(draft: Draft) -> None:
            one = draft.image.field_named(self._what.name)
            burning.stage_value(draft, one, values.bits_of(draft.image, one, new_value))

        self._session.change(save)

    @for_scripts
    def burn(self, new_value: Any) -> None:
        """Stage a value and burn all that is staged.

        Raises:
            FatalError: refused before the first bit.
            ParburnError: the board failed, and its script goes no further.
        """
        self.save(new_value)
        self._session.burn_all()


class BlockView(_Protected):
    """A block as scripts see it."""

    __slots__ = ()
    _what: Block

    def __init__(self, session: Session, block: Block) -> None:
        self._session = session
        self._what = block

    def __repr__(self) -> str:
        return f"<eFuse block {self._what.name}>"

    @property
    def id(self) -> int:
        """Its number."""
        return self._what.index

    @property
    def alias(self) -> list[str]:
        """Its other names."""
        return list(self._what.aliases)

    @property
    def len(self) -> int:
        """Words of its read registers."""
        return self._what.words

    @property
    def rd_addr(self) -> int:
        """Its first read register."""
        return self._what.read_address

    @property
    def key_purpose_name(self) -> str | None:
        """The field that holds the purpose of its key."""
        return self._what.key_purpose

    @property
    def _status(self) -> BlockStatus:
        return self._session.image.status.get(self._what.index, GOOD)

    @property
    def num_errors(self) -> int:
        """Coding errors that were corrected; in BLOCK0 the error bits."""
        return self._status.errors if self._what.index else self._session.image.block0_errors.bit_count()

    @property
    def fail(self) -> bool:
        """Whether its coding has errors that are left."""
        return self._status.fail if self._what.index else bool(self._session.image.block0_errors)

    @for_scripts
    def get_block_len(self) -> int:
        """Return how many bytes it holds for its user: 24 with 3/4 coding, else as many as it has."""
        return self._session.read(lambda image: image.block_bits(self._what.index)) // 8

    @for_scripts
    def get_coding_scheme(self) -> int:
        """Return the number of its coding scheme, as the originals count them."""
        return _SCHEME_NUMBERS[self._session.read(lambda image: image.scheme(self._what.index))]

    def _bits(self, from_read: bool) -> tuple[int, int]:
        length = 8 * self.get_block_len()
        index = self._what.index
        bits = (
            self._session.read(lambda image: image.block(index))
            if from_read
            else self._session.staged.block(index)
        )
        return bits & ((1 << length) - 1), length

    @for_scripts
    def get_bitstring(self, from_read: bool = True) -> BitStream:
        """Return its bits as a BitStream, highest first."""
        return values.block_bitstring(*self._bits(from_read))

    def get(self, from_read: bool = True) -> BitStream:
        """Return what get_bitstring() returns."""
        return self.get_bitstring(from_read)

    @for_scripts
    def get_raw(self, from_read: bool = True) -> bytes:
        """Return its bytes, highest first."""
        bits, length = self._bits(from_read)
        return bits.to_bytes(length // 8, "big")

    @for_scripts
    def get_words(self) -> list[int]:
        """Return its words, lowest first."""
        bits, length = self._bits(True)
        return [bits >> at & 0xFFFFFFFF for at in range(0, length, 32)]

    @for_scripts
    def save(self, new_data: bytes) -> None:
        """Stage the bytes of the whole block, byte of the lowest bits first.

        Raises:
            FatalError: there are not as many as the block holds, or the hardware forbids it.
        """
        self._session.change(lambda draft: burning.stage_data(draft, self._what, bytes(new_data)))

    @for_scripts
    def burn(self) -> None:
        """Burn what is staged for this block, and nothing else.

        Raises:
            FatalError: refused before the first bit.
            ParburnError: the board failed, and its script goes no further.
        """
        self._session.burn_block(self._what.index)
