"""Makes a simulated board from an EFSR token, the line that `dump --format token` prints. Writes no token.

The simulator reads tokens by itself: it shares no code with what prints them. A token holds what a chip lets
be read: the cells of a read-protected block stay empty here, and the lines to the chip (crystal, magic word)
are the usual ones of its kind. Error counts of a token are made true by spoiling cells that only carry
redundancy, so that the data read as in the token.
"""

from __future__ import annotations

import base64
import binascii
import random
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from parburn.chips.model import Block, Chip, ControllerKind
from parburn.chips.registry import chip_named
from parburn.errors import UsageError
from parburn.sim import codes
from parburn.sim.efuse_memory import RS_BITS, EfuseMemory
from parburn.sim.factory import Product, crystal_of, factory_mac, set_composed, set_mac_crc, set_registers

KINDS = ("EFSR", "EFSW", "EFSRW")
ON_THE_BOARD = ("crystal", "magic", "clkdiv")  # settings that are not eFuses
SPOIL_TRIES = 300
LONGEST_REVISION = 5  # digits


@dataclass(frozen=True, slots=True)
class BoardToken:
    """What a token says: bits by block in the order of the chip row, words of the error registers."""

    chip: Chip
    revision: tuple[int, int]
    blocks: tuple[int, ...] = field(repr=False)
    errors: tuple[int, ...]


def read_token(text: str) -> BoardToken:
    """Take a token apart.

    Raises:
        UsageError: the text is no token.
        UnknownName: its chip is not known.
    """
    head, _, crc = text.strip().rpartition(":")
    kind, *parts = head.split(":")
    if kind not in KINDS or len(parts) < 4:
        raise _bad("it begins with EFSR: and has the chip, its revision, its blocks and a checksum")
    if _bytes_of(crc) != zlib.crc32(f"{head}:".encode(errors="replace")).to_bytes(4, "little"):
        raise _bad("its checksum is wrong: copy the whole line again")
    name, revision, *pieces, errors = parts
    if not revision.isdecimal() or len(revision) > LONGEST_REVISION:
        raise _bad(f"{revision!r} is no chip revision")
    chip = chip_named(name, revision=int(revision))
    if len(pieces) != len(chip.blocks):
        raise _bad(f"it has {len(pieces)} blocks, {chip.title} has {len(chip.blocks)}")
    words = _bytes_of(errors)
    return BoardToken(
        chip,
        divmod(int(revision), 100),
        tuple(_bits_of(block, piece, chip) for block, piece in zip(chip.blocks, pieces, strict=True)),
        tuple(int.from_bytes(words[at : at + 4], "little") for at in range(0, len(words), 4)),
    )


def product_of(
    token: BoardToken, *, copy: int, settings: Mapping[str, str], rng: random.Random
) -> tuple[Product, tuple[str, ...]]:
    """Return the board of a token, and sentences about what could not be made as the token says.

    A token without a MAC address, as virtual chips have it, gets one.

    Args:
        token: What it says.
        copy: The number of the board among those of this token, from 0. Copy 0 is the chip itself; the others
            are alike but for their MAC address and unique id, as no two chips share them.
        settings: See `factory.make_product`.
        rng: Where all that is random comes from.

    Raises:
        UsageError: a setting that the token decides.
    """
    wanted, chip = dict(settings), token.chip
    made = Product(chip, EfuseMemory(chip), crystal_of(chip, wanted.pop("crystal", None)), token.revision)
    set_registers(made, wanted)
    if wanted:
        raise UsageError(
            f"--set {next(iter(wanted))}: a board from a token is as the token says",
            hint=f"Beside --from-token, --set takes {', '.join(ON_THE_BOARD)}.",
        )
    for block, bits in zip(chip.blocks, token.blocks, strict=True):  # block 0 first: it has the coding scheme
        made.memory.preset(block.index, bits)
    _set_revision_registers(made)
    notes = _give_identity(made, copy, rng)
    return made, notes + tuple(_spoil(made, token.errors, rng))


def _bad(why: str) -> UsageError:
    return UsageError(f"--from-token: this is no eFuse token: {why}")


def _bytes_of(piece: str) -> bytes:
    try:
        return base64.b64decode(piece + "=" * (-len(piece) % 4), altchars=b"-_", validate=True)
    except (binascii.Error, ValueError):
        raise _bad("a piece of it is no base64url text") from None


def _bits_of(block: Block, piece: str, chip: Chip) -> int:
    """Return a piece as bits.

    Of a block in 3/4 coding it has six words or all eight, of which six hold data.
    """
    data = _bytes_of(piece)
    sizes = {0, 4 * block.words}
    if chip.controller is ControllerKind.CLASSIC and block.index:
        sizes.add(3 * block.words)
    if len(data) not in sizes:
        raise _bad(f"{block.name} has {len(data)} bytes in it, not {4 * block.words}")
    return int.from_bytes(data, "little")


def _set_revision_registers(made: Product) -> None:
    """Set the register beside the eFuses that holds a part of the revision, where there is one."""
    for name, value in zip(made.chip.revision_fields, made.revision, strict=True):
        for composed in made.chip.field_by_name.get(name, ()) if name else ():
            if any(source.address is not None for source in composed.sources):
                set_composed(made, composed, value, registers_only=True)


def _give_identity(made: Product, copy: int, rng: random.Random) -> tuple[str, ...]:
    chip, memory = made.chip, made.memory
    has_mac = bool(memory.field_bits(chip.mac_field))
    if has_mac and not copy:
        return ()
    memory.preset_field(chip.mac_field, int.from_bytes(factory_mac(rng), "big"))
    set_mac_crc(made)
    if not has_mac:
        return () if copy else ("the token has no MAC address: the board was given one",)
    if chip.unique_id_field:
        place = memory.field_place(chip.unique_id_field)
        memory.preset_field(chip.unique_id_field, rng.getrandbits(place.bits if place else 1))
    return ()


# Errors of a token --------------------------------------------------------------------------------------


def _spoil(made: Product, errors: tuple[int, ...], rng: random.Random) -> Iterator[str]:
    """Make the error registers true; return which could not be."""
    words = dict(zip(made.chip.error_registers, errors, strict=False))
    if not any(words.values()):
        return
    if made.chip.controller is ControllerKind.CLASSIC:
        _spoil_groups(made, words.get(made.chip.registers["DEC_STATUS"], 0))
        return
    _spoil_copies(made, words)
    for block in made.chip.blocks:
        place = block.errors
        if not block.index or place is None or place.address not in words:
            continue
        count, fail = place.read({place.fail_address or place.address: 0, **words})
        if (count or fail) and not _spoil_word(made.memory, block.index, count, fail, rng):
            yield f"{count} errors in {block.name} cannot be made: the board has none there"


def _spoil_groups(made: Product, warnings: int) -> None:
    """Make the warnings of 3/4 coding true, a bit a group of eight bytes.

    Two bits of the group's first check byte are flipped.
    """
    for number, block in enumerate(made.chip.blocks[1:]):
        for group in range(block.words // 2):
            if warnings >> (4 * number + group) & 1:
                made.memory.cells[block.index] ^= 3 << (64 * group + 48)


def _spoil_copies(made: Product, words: Mapping[int, int]) -> None:
    """Make the errors of BLOCK0 true: one of a bit's four copies differs from the others."""
    block = made.chip.blocks[0]
    unreported = block.words - len(made.chip.block0_errors)
    for number, address in enumerate(made.chip.block0_errors):
        made.memory.cells[0] ^= words.get(address, 0) << 32 * (3 * block.words + number + unreported)
    made.memory.load_protections()


def _spoil_word(memory: EfuseMemory, index: int, count: int, fail: bool, rng: random.Random) -> bool:
    """Spoil check bytes of an RS block until the decoder reports this much. False: it never did."""
    cells, wanted = memory.cells[index], memory.reading(index).bits
    spoiled = codes.CHECK_BYTES if fail else min(count, codes.CHECK_BYTES)
    for _ in range(SPOIL_TRIES):
        places = rng.sample(range(codes.CHECK_BYTES), spoiled)
        noise = sum(rng.randrange(1, 256) << 8 * (codes.DATA_BYTES + place) for place in places)
        memory.cells[index] = (cells ^ noise) & ((1 << RS_BITS) - 1)
        seen = memory.reading(index)
        if (seen.fail, seen.bits) == (fail, wanted) and (seen.errors == count or (fail and not count)):
            return True
    memory.cells[index] = cells
    return False
