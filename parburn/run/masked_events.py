"""What a run tells, without the keys that it has met. Knows no board."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from parburn.events import DeviceReport, Emit, Event, Note, PlannedBlock
from parburn.script.key_mask import KeyMask

SHORTEST_KEY = 20  # characters that a key has at least, however it is written


def masked_emit(emit: Emit, keys: KeyMask) -> Emit:
    """Return an `emit` that takes keys out of the sentences that pass.

    What a script prints has none any more (`script.output`), nor has a report (`masked_report`); all other
    events hold names and numbers.
    """

    def emit_masked(event: Event) -> None:
        if type(event) is Note:
            event = event._replace(text=keys.mask(event.text))
        emit(event)

    return emit_masked


def masked_texts(values: Mapping[str, str], keys: KeyMask) -> dict[str, str]:
    """Return values by name, without keys. Mostly there is none: all are looked at together first."""
    together = "\n".join(values.values())
    if keys.mask(together) == together:
        return dict(values)
    return {name: keys.mask(value) for name, value in values.items()}


def masked_report(report: DeviceReport, output: Sequence[str], keys: KeyMask) -> DeviceReport:
    """Return the report without keys. `output` is what the board has put out, in pieces."""
    return report._replace(
        error=keys.mask(report.error),
        next_step=keys.mask(report.next_step),
        traceback_text=keys.mask(report.traceback_text),
        unique_values=masked_texts(report.unique_values, keys),
        values=masked_texts(report.values, keys),
        output=keys.mask_output(output),
    )


def masked_rows(blocks: tuple[PlannedBlock, ...], keys: KeyMask) -> tuple[PlannedBlock, ...]:
    """Return the rows of a plan without what may be a key in a value's text."""
    rows = []
    for row in blocks:
        texts = []
        for name, text in row.values:
            texts.append((name, text if len(text) < SHORTEST_KEY else keys.mask(text)))
        rows.append(row._replace(values=tuple(texts)) if texts else row)
    return tuple(rows)
