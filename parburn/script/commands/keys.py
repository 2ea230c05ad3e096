"""burn_key and burn_key_digest: whole keys, their purposes and protections, in all forms of the originals.

Key bytes are never printed unless the operator asked for it. What a key block accepts is in
`parburn.efuse`; here is how files become key bytes, and which blocks a key of two halves takes.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from parburn.chips.model import Block, Chip, Field, KeyPurpose
from parburn.efuse.staging import key_field, next_key_block, sound_key, stage_key
from parburn.efuse.user_values import Kind
from parburn.errors import BadValue, EfuseError, UnknownName
from parburn.script.session import Draft, nearest

DOUBLE_BYTES = 64
HALF_BYTES = 32


class KeyOrder(NamedTuple):
    """One key to burn: block name, the file's bytes, purpose name (None: by the block's name)."""

    block: str
    content: bytes
    purpose: str | None = None

    def __repr__(self) -> str:  # without the key
        return f"KeyOrder({self.block}, {self.purpose})"


class _Placed(NamedTuple):
    block: Block
    key: bytes
    purpose: KeyPurpose | None
    field: Field

    def __repr__(self) -> str:  # without the key
        return f"_Placed({self.block.name})"


def has_purposes(chip: Chip) -> bool:
    """Return whether keys of this chip are burned with a purpose (triples), or only for a use (pairs)."""
    return chip.takes_purposes


def burn_key(
    draft: Draft,
    orders: Sequence[KeyOrder],
    *,
    no_write_protect: bool = False,
    no_read_protect: bool = False,
    show_sensitive_info: bool = False,
    force: bool = False,
    force_write_always: bool | None = None,
    contents_are_keys: bool = False,
) -> None:
    """Burn keys into blocks, with their purposes and protections.

    Args:
        draft: The command at work.
        orders: The keys. A purpose of two halves takes its second block from those that are free.
        no_write_protect: Leave the key blocks writeable.
        no_read_protect: Leave keys readable that their purpose would hide.
        show_sensitive_info: Print the bytes.
        force: Take a constant key, one that is shorter than its block says, and one that the chip will not
            use.
        force_write_always: As the option of that name; None leaves it as it was.
        contents_are_keys: The bytes are final, no PEM to look into.

    Raises:
        EfuseError: no such block or purpose, bytes that do not fit, or the hardware forbids it.
    """
    if not orders:
        raise BadValue("burn_key needs a block and a key file")
    if contents_are_keys:
        draft.session.keys.give(*(one.content for one in orders if not _is_digest(draft, one.purpose)))
    placed = _place(draft, orders, contents_are_keys, force)
    draft.session.keys.give(*(one.key for one in placed if one.purpose is None or not one.purpose.digest))
    _refuse_shared_places(placed)
    if force_write_always is not None:
        draft.staged.force = force_write_always
    for one in placed:
        purpose = one.purpose
        read_protect = purpose is not None and purpose.read_protect and not no_read_protect
        stage_key(
            draft.image,
            draft.staged,
            one.block,
            one.key,
            purpose.name if purpose is not None else None,
            write_protect=not no_write_protect,
            read_protect=read_protect,
            any_key=force,
        )
        kind = Kind.DATA if purpose is not None and purpose.code == 0 else Kind.KEY
        where = one.field
        draft.wrote(kind, where.name, where.block, where.start or 0, where.bits, by_key_command=True)
        _say(draft, one, read_protect, not no_write_protect, show_sensitive_info)


def burn_key_digest(
    draft: Draft,
    orders: Sequence[KeyOrder],
    *,
    no_write_protect: bool = False,
    no_read_protect: bool = False,
    show_sensitive_info: bool = False,
    force: bool = False,
    force_write_always: bool | None = None,
) -> None:
    """Burn the digest of the public key in a PEM file, for secure boot V2.

    Args and errors are those of `burn_key`; an order without a block goes to the block named like the
    purpose, else to the only key block.
    """
    from parburn.script.commands.pem import secure_boot_digest  # cryptography: only who needs it waits for it

    if not orders:
        raise BadValue("burn_key_digest needs a key file in PEM format")
    digests = []
    only = None if force else draft.chip.secure_boot_keys
    for order in orders:
        purpose = _digest_purpose(draft, order)
        block = order.block or _digest_block(draft, purpose)
        digests.append(KeyOrder(block, secure_boot_digest(order.content, only=only), purpose.name))
    if not has_purposes(draft.chip):
        _check_secure_boot_v2(draft)
    burn_key(
        draft,
        digests,
        no_write_protect=no_write_protect,
        no_read_protect=no_read_protect,
        show_sensitive_info=show_sensitive_info,
        force=force,
        force_write_always=force_write_always,
        contents_are_keys=True,
    )


def _is_digest(draft: Draft, purpose: str | None) -> bool:
    """Tell whether a purpose is for the digest of a public key, which is no secret."""
    found = draft.chip.purpose_by_name.get(purpose or "")
    return found is not None and found.digest


def _digest_purpose(draft: Draft, order: KeyOrder) -> KeyPurpose:
    if order.purpose is None:
        found = next((purpose for purpose in draft.chip.key_purposes if purpose.digest), None)
        if found is None:
            raise EfuseError(f"{draft.chip.title} has no key purpose for a digest")
        return found
    purpose = _purpose_named(draft, order.purpose)
    if not purpose.digest:
        names = ", ".join(one.name for one in draft.chip.key_purposes if one.digest)
        raise BadValue(f"{purpose.name} is no purpose for a digest", hint=f"one of {names}")
    return purpose


def _digest_block(draft: Draft, purpose: KeyPurpose) -> str:
    """Return the block of the form without a block name.

    It is the one named like the purpose, else the only key block.
    """
    if purpose.name in draft.chip.block_by_name:
        return purpose.name
    return next(block.name for block in draft.chip.blocks if block.for_keys)


def _check_secure_boot_v2(draft: Draft) -> None:
    if "revision_3" in draft.chip.conditions and not draft.image.condition("revision_3"):
        raise EfuseError(
            f"secure boot V2 needs {draft.chip.title} v3.0 or later, this chip is "
            f"v{draft.session.facts.major}.{draft.session.facts.minor}"
        )


# Where keys go --------------------------------------------------------------------------------------


def _purpose_named(draft: Draft, name: str) -> KeyPurpose:
    purpose = draft.chip.purpose_by_name.get(name)
    if purpose is None:
        known = draft.chip.purpose_by_name
        raise UnknownName(f"{draft.chip.title} has no key purpose {name!r}{nearest(name, known)}")
    return purpose


def _place(draft: Draft, orders: Sequence[KeyOrder], contents_are_keys: bool, force: bool) -> list[_Placed]:
    """Return blocks, bytes and purposes; a purpose of two halves takes its second block from free ones."""
    placed: list[_Placed] = []
    taken = {draft.block(order.block).name for order in orders}
    for order in orders:
        block = draft.block(order.block)
        if not block.for_keys:
            names = ", ".join(one.name for one in draft.chip.blocks if one.for_keys)
            raise EfuseError(f"{block.name} is no key block", hint=f"key blocks: {names}")
        if not has_purposes(draft.chip):
            placed.append(_placed(draft, block, order.content, draft.chip.purpose_by_name.get(order.block)))
            continue
        if order.purpose is None:
            raise BadValue(f"burn_key {block.name} needs a key purpose")
        purpose = _purpose_named(draft, order.purpose)
        key = order.content
        if purpose.needs_ecdsa and not contents_are_keys:
            from parburn.script.commands.pem import ecdsa_private_key  # cryptography: as above

            key = ecdsa_private_key(key, double=bool(purpose.split_into))
        if not purpose.split_into:
            placed.append(_placed(draft, block, key, purpose))
            continue
        key = sound_key(purpose.name, key, DOUBLE_BYTES, any_key=force)
        if len(key) != DOUBLE_BYTES:
            raise BadValue(f"a key for {purpose.name} has {DOUBLE_BYTES} bytes, the file has {len(key)}")
        second = next_key_block(draft.image, draft.staged, block, frozenset((*taken, *purpose.not_in_blocks)))
        if second is None:
            raise EfuseError(f"{purpose.name} needs two free key blocks, and there is no second one")
        taken.add(second.name)
        first_half, second_half = (_purpose_named(draft, name) for name in purpose.split_into)
        placed.append(_placed(draft, block, key[:HALF_BYTES], first_half))
        placed.append(_placed(draft, second, key[HALF_BYTES:], second_half))
    return placed


def _placed(draft: Draft, block: Block, key: bytes, purpose: KeyPurpose | None) -> _Placed:
    return _Placed(block, key, purpose, key_field(draft.image, block, purpose))


def _refuse_shared_places(placed: Sequence[_Placed]) -> None:
    """Raise BadValue when two keys would overlap; the halves of one block may have a key each."""
    for number, one in enumerate(placed):
        for other in placed[:number]:
            if one.field.block == other.field.block and one.field.mask & other.field.mask:
                raise BadValue(f"two keys would go into the same place: {one.block.name} is named twice")


def _say(draft: Draft, one: _Placed, read_protect: bool, write_protect: bool, show: bool) -> None:
    show = show or draft.session.options.show_sensitive_info
    size = one.field.bits // 8
    shown = one.key[:size].hex(" ") if show else f"{size} bytes, not shown"
    purpose = f" as {one.purpose.name}" if one.purpose is not None else ""
    protections = [word for word, on in (("read", read_protect), ("write", write_protect)) if on]
    protected = f"{' and '.join(protections)}-protected" if protections else "left unprotected"
    draft.show(f"{one.field.name}: key staged{purpose} ({shown}), {protected}")
