"""Rehearsal of one record: what the scripts would burn, on three chips that are none. Opens no port.

Each index is computed on a chip fresh from the factory, and on one with another MAC address and unique id.
Only where these two differ a third time, on the first chip again: what differs from its first time is random
(nobody can finish such a unit after a power cut), and the rest was derived from the chip.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from hashlib import blake2b
from random import Random
from typing import Final, NamedTuple

from parburn.chips.describe import chip_revision
from parburn.efuse.image import EfuseImage
from parburn.efuse.layout import layout_of
from parburn.efuse.user_values import Declared, Take, ValueRules, rules_of, values_of
from parburn.errors import EfuseError, ParburnError, causes
from parburn.run.checked_job import CheckedJob
from parburn.run.shared import script_options
from parburn.script.computed_burns import Computed, Order, compute_all, facts_of_none
from parburn.script.session import ScriptOptions
from parburn.script.side_effects import SideEffectRefused
from parburn.sim.factory import factory_mac, make_product
from parburn.station.shapes import Shape, shape_of

_PLACE: Final = re.compile(r"((?:\S+:\d+: )?)(.*)", re.DOTALL)  # of a line in a script, and what is said


class Step(NamedTuple):
    """One step of a plan, without values. `burn` counts the burns of the scripts from 1."""

    burn: int
    block: str
    fields: tuple[str, ...]
    locks: bool
    ends_link: str


class RecordFault(NamedTuple):
    """Why a record cannot be burned, or must not be.

    `sentence` is without the index, so that those of many records are equal.
    """

    kind: str  # record, script, refused, random
    sentence: str
    said: str  # the same with its index, as a run would say it
    hint: str = ""


class GivenValue(NamedTuple):
    """A value that a record gives to a chip. `digest` is keyed, and no key can be found from it."""

    name: str
    take: Take
    digest: bytes
    shown: str


class Rehearsed(NamedTuple):
    """What one record does to one kind of chip."""

    chip: str
    number: int  # the record's index
    fault: RecordFault | None
    steps: tuple[Step, ...] = ()
    values: tuple[GivenValue, ...] = ()
    derived: tuple[str, ...] = ()  # fields that are another chip's own
    shapes: tuple[Shape, ...] = ()  # where they were asked for: on both chips, once where they are equal


class BlankChips(NamedTuple):
    """Two chips of one kind as the factory makes them, alike but for who they are."""

    one: Order
    other: Order
    rules: ValueRules


def blank_chips(checked: CheckedJob, name: str, revision: str | None = None) -> BlankChips:
    """Return the chips on which records are rehearsed.

    Args:
        checked: The job, for its tables and its declared values.
        name: The chip's name.
        revision: As `1.0`; None takes what simulated boards have.

    Raises:
        UsageError: there is no such chip, or none of that revision.
        ChipDataError: a custom table does not fit it.
    """
    settings = {} if revision is None else {"revision": revision}
    orders = [_order(checked, name, settings, seed) for seed in ("one", "other")]
    rules = rules_of(orders[0].image.chip, _declared(checked))
    return BlankChips(orders[0], orders[1], rules)


def _order(checked: CheckedJob, name: str, settings: Mapping[str, str], seed: str) -> Order:
    rng = Random(seed)
    mac = factory_mac(rng)
    made = make_product(name, mac=mac, settings=settings, rng=rng)
    chip = checked.tables.extend(made.chip)
    image = EfuseImage(chip, {block.index: made.memory.visible(block.index) for block in chip.blocks})
    revision = chip_revision(chip, lambda field: image.field_bits(image.field_named(field)))
    return Order(facts_of_none(chip, mac, revision=revision, crystal_mhz=made.crystal_mhz), image)


def _declared(checked: CheckedJob) -> Declared:
    return Declared(checked.job.same, checked.job.unique)


def rehearsal_options(checked: CheckedJob) -> ScriptOptions:
    """Return what scripts feel of the command line: as in a run, and `args.rehearsal` is true."""
    options = script_options(checked.job, checked.config, _declared(checked), b"", checked.commands)
    return options._replace(inputs=None, rehearsal=True)


async def rehearse(
    checked: CheckedJob,
    chips: BlankChips,
    indexes: Iterable[int],
    *,
    secret: bytes,
    allow_side_effects: bool = False,
    shapes: bool = False,
) -> list[Rehearsed]:
    """Rehearse records on one kind of chip, in order.

    Args:
        checked: The job.
        chips: What they are rehearsed on.
        indexes: Which records.
        secret: The key of the values' digests; equal for all that are to be compared.
        allow_side_effects: Let scripts write files and the like, two or three times a record.
        shapes: Tell also what a plan template is made of.

    Raises:
        UsageError: a script did not end within its time.
    """
    judge = _Judge(checked, chips, secret, shapes=shapes)

    def orders() -> Iterator[Order]:
        for index in indexes:
            if judge.has_record(index):
                for order in (chips.one, chips.other):
                    yield order._replace(facts=order.facts._replace(index=index))
                if judge.wants_it_again():
                    yield chips.one._replace(facts=chips.one.facts._replace(index=index))
                judge.judge(index)

    await compute_all(
        checked.scripts,
        orders(),
        rehearsal_options(checked),
        take=judge.take,
        allow_side_effects=allow_side_effects,
    )
    return judge.found


class _Judge:
    """Takes what was computed, three for each record, and says what it means."""

    def __init__(self, checked: CheckedJob, chips: BlankChips, secret: bytes, *, shapes: bool) -> None:
        self.found: list[Rehearsed] = []
        self._config = checked.config
        self._chips = chips
        self._chip = chips.one.image.chip
        self._secret = secret
        self._shapes = shapes
        self._computed: list[Computed] = []

    def has_record(self, index: int) -> bool:
        """Tell whether the files have a record; where they lack it, that is what is found of the index."""
        if not self._config.has_records or self._config.entries(index):
            return True
        sentence = f"{self._config.counts()}, and no record for this index"
        fault = RecordFault(
            "record", sentence, sentence, "Add it to the files, or leave the index out with --index."
        )
        self._keep(index, fault)
        return False

    def take(self, order: Order, computed: Computed) -> None:
        """Take one answer; `judge` ends a record."""
        self._computed.append(computed)

    def wants_it_again(self) -> bool:
        """Tell whether the two chips were treated otherwise: a script that is the same each time does not."""
        first, other = self._computed
        if first.error is not None:
            return False
        same_plans = [burn.plan for burn in first.burns] == [burn.plan for burn in other.burns]
        return other.error is not None or first.want != other.want or not same_plans

    def judge(self, index: int) -> None:
        """Say what the answers for a record mean: first chip, other chip, and perhaps the first again."""
        first, other, *more = self._computed
        self._computed = []
        self._judge(index, first, more[0] if more else first, other)

    def _judge(self, index: int, first: Computed, again: Computed, other: Computed) -> None:
        fault = (
            _fault_of(index, first.error)
            or _fault_of(index, again.error)
            or self._random(first, again)
            or _fault_of(index, other.error)
        )
        if fault is not None:
            self._keep(index, fault)
            return
        found = values_of(first.held, first.written, self._chips.rules)
        self.found.append(
            Rehearsed(
                self._chip.name,
                index,
                None,
                tuple(_steps(first)),
                tuple(
                    GivenValue(value.name, value.take, self._digest(value.bits), value.shown)
                    for value in found
                    if value.take is not Take.SAME
                ),
                self._names_of_difference(first, other),
                self._shapes_of(first, other) if self._shapes else (),
            )
        )

    def _shapes_of(self, first: Computed, other: Computed) -> tuple[Shape, ...]:
        one = shape_of(self._chip, first)
        if [(a.bits, a.wanted) for a in first.asked] == [(a.bits, a.wanted) for a in other.asked]:
            return (one,)
        return (one, shape_of(self._chip, other))

    def _keep(self, index: int, fault: RecordFault) -> None:
        self.found.append(Rehearsed(self._chip.name, index, fault))

    def _random(self, first: Computed, again: Computed) -> RecordFault | None:
        names = self._names_of_difference(first, again)
        if not names and _steps(first) == _steps(again):
            return None
        what = ", ".join(names) or "the order of its burns"
        sentence = f"{what} comes out otherwise each time that the script runs"
        return RecordFault(
            "random",
            sentence,
            sentence,
            "A unit that is begun with it cannot be finished after a power cut: make it once and keep it, "
            'see "Random keys" in docs/scripting.md.',
        )

    def _names_of_difference(self, one: Computed, other: Computed) -> tuple[str, ...]:
        layout = layout_of(self._chip)
        blocks = sorted(one.want.keys() | other.want.keys())
        differing = ((n, one.want.get(n, 0) ^ other.want.get(n, 0)) for n in blocks)
        names = (layout.names(n, bits) or (self._chip.blocks[n].name,) for n, bits in differing if bits)
        return tuple(dict.fromkeys(name for found in names for name in found))

    def _digest(self, bits: int) -> bytes:
        data = bits.to_bytes((bits.bit_length() + 7) // 8, "little")
        return blake2b(data, key=self._secret, digest_size=16).digest()


def _steps(computed: Computed) -> list[Step]:
    return [
        Step(number, row.block, row.fields, row.locks, row.ends_link)
        for number, burn in enumerate(computed.burns, start=1)
        for row in burn.plan.describe()
    ]


def _fault_of(index: int, error: ParburnError | None) -> RecordFault | None:
    if error is None:
        return None
    said, hint = str(error), error.hint
    kind = "refused" if any(isinstance(one, EfuseError) for one in causes(error)) else "script"
    if SideEffectRefused.__name__ in said:
        kind, hint = "side effect", "In a rehearsal args.rehearsal is true: let the script leave it out then."
    place, sentence = _PLACE.fullmatch(said).groups()  # type: ignore[union-attr]  # it matches any text
    return RecordFault(kind, place + re.sub(rf"\b0*{index}\b", "N", sentence), said, hint)
