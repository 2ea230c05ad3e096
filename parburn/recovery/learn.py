"""`ledger learn`: what units of an older ledger hold, computed from their records. Opens and burns nothing.

The scripts run once for each unit whose values are not known, on a blank chip of its kind, with its index.
What comes out is kept where it agrees with all that the ledger kept: the records' digests in the old form,
and the values.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from anyio import CancelScope, to_thread

from parburn.chips.model import Chip
from parburn.chips.registry import chip_named
from parburn.config.records import ConfigFiles
from parburn.efuse.image import EfuseImage
from parburn.efuse.user_values import values_of
from parburn.errors import LedgerUnusable, ParburnError, UsageError
from parburn.events import Emit
from parburn.ledger.batches import Override
from parburn.ledger.file_location import ledger_place
from parburn.ledger.learning import Learned, UnknownUnit
from parburn.ledger.run_ledger import RunLedger, open_ledger
from parburn.run.burns import named_values
from parburn.run.checked_job import CheckedJob
from parburn.run.older_images import take_over_kept
from parburn.run.resume import user_record
from parburn.run.shared import SharedRun
from parburn.run.stop import StopRequest
from parburn.script.computed_burns import Computed, Order, compute_all, facts_of_none


class LearnReport(NamedTuple):
    """What `learn` did: units learned, units that were not and why, and the ledger's notes."""

    batch: str
    learned: int
    left: tuple[str, ...]
    notes: tuple[str, ...]


async def learn(
    checked: CheckedJob, emit: Emit, *, why: str, allow_side_effects: bool = False
) -> LearnReport:
    """Compute what the unknown units of the job's batch hold, and keep it.

    Args:
        checked: The job: the batch's name, its scripts and all of its files.
        emit: Gets the ledger's notes as events.
        why: The reason; it stays in the history.
        allow_side_effects: Let scripts write files and the like while they are only computed.

    Raises:
        UsageError: no reason or batch is given, or a script did not end within its time; nothing was learned.
        LedgerError: the ledger cannot be used; nothing was learned.
    """
    job = checked.job
    if not why.strip():
        raise UsageError("A reason is needed.", hint="--why REASON; it stays in the history.")
    if job.batch is None:
        raise UsageError(
            "Of which batch are these files?", hint="Give --batch NAME; see parburn ledger show."
        )
    place = await to_thread.run_sync(ledger_place, job.ledger)
    if isinstance(place, Path) and not await to_thread.run_sync(place.exists):
        raise LedgerUnusable(f"There is no ledger at {place}.", hint="Name its file with --ledger.")
    # What is learned is compared unit by unit: no refusal of the whole batch is needed before.
    overrides = {Override.SHARED_RECORDS, Override.CHANGED_CONFIG}
    ledger = await open_ledger(job.ledger, checked.batch, overrides=overrides, note=checked.note)
    try:
        run = SharedRun(checked, emit=emit, ledger=ledger, stop=StopRequest())
        return await _learned(run, ledger, run.config, allow_side_effects, why)
    finally:
        with CancelScope(shield=True):
            await ledger.aclose()


async def _learned(
    run: SharedRun, ledger: RunLedger, config: ConfigFiles, allow_side_effects: bool, why: str
) -> LearnReport:
    await take_over_kept(run, ledger)
    unknown = await ledger.find_unlearned()
    learned: list[Learned] = []
    left: list[str] = []
    kept: dict[int, UnknownUnit] = {}
    chips: dict[str, Chip] = {}

    def orders() -> Iterator[Order]:
        for unit in unknown:
            said = _why_not(unit, config)
            if said:
                left.append(f"{_name(unit)}: {said}")
                continue
            try:
                name = unit.identity.chip
                chip = chips.setdefault(name, run.extend(chip_named(name)))
            except ParburnError as error:
                left.append(f"{_name(unit)}: {error}")
                continue
            blank = _blank(chip, unit)
            if blank is None:
                left.append(
                    f"{_name(unit)}: how its blocks are coded was never recorded; put the board in again"
                )
                continue
            assert unit.index is not None
            kept[unit.index] = unit
            mac = bytes.fromhex(unit.identity.mac.replace(":", ""))
            yield Order(facts_of_none(chip, mac, index=unit.index), blank)

    def take(order: Order, computed: Computed) -> None:
        assert order.facts.index is not None
        unit = kept[order.facts.index]
        found = _computed(run, unit, order, computed, config, ledger.keyed_digest_key())
        if isinstance(found, str):
            left.append(f"{_name(unit)}: {found}")
        else:
            learned.append(found)

    await compute_all(
        run.scripts, orders(), run.script_options, take=take, allow_side_effects=allow_side_effects
    )
    count = await ledger.learn_all(learned, f"computed from its record: {why}")
    await ledger.tell_unknown()
    return LearnReport(ledger.batch, count, tuple(left), ledger.notes)


def _name(unit: UnknownUnit) -> str:
    return f"{unit.identity.mac}, index {unit.index}"


def _why_not(unit: UnknownUnit, config: ConfigFiles) -> str:
    """Return why these files do not tell what a unit holds; empty: they may."""
    if unit.index is None:
        return "it has no index"
    said = {*config.entries(unit.index).split(), *config.old_entries(unit.index).split()}
    single = [digest for digest in unit.records if " " not in digest]
    if any(digest not in said for digest in single):
        return "the files say something else for its index than what it was burned with"
    if config.has_records and not said:
        return "the files have no record for its index"
    return ""


def _blank(chip: Chip, unit: UnknownUnit) -> EfuseImage | None:
    """Return the chip before its first burn, with its coding scheme. None: nobody wrote that down.

    What fits into a block, and so what a script burns, depends on the scheme.
    """
    blocks = {block.index: 0 for block in chip.blocks}
    scheme = chip.scheme_field
    if scheme is not None:
        records = [text for text in (*unit.images_before, unit.image_passed) if text]
        held = [json.loads(text)["blocks"].get(str(scheme.block), "") for text in records]
        if not any(held):
            return None
        blocks[scheme.block] = int(next(filter(None, held)), 16) & scheme.mask
    return EfuseImage(chip, blocks)


def _computed(
    run: SharedRun, unit: UnknownUnit, order: Order, computed: Computed, config: ConfigFiles, key: bytes
) -> Learned | str:
    """Return what was learned of a unit, or why it was not."""
    if computed.error is not None:
        return str(computed.error)
    rules = run.value_rules(order.image.chip)
    found = values_of(computed.held, computed.written, rules)
    named = named_values(found)
    for name, value in unit.named.items():
        if named.get(name, value) != value:
            return f"the scripts give it {name} {named[name]}, and it carries {value}"
    assert unit.index is not None
    digests = sorted(set(config.entries(unit.index).split()))
    whole = [" ".join(digests)] if len(digests) > 1 else []
    record = user_record(found, computed.held, rules, key)
    return Learned(unit, named, record, (*digests, *whole))
