"""`parburn report`: a report of what runs did, made from the ledger at any time. It changes nothing."""

from __future__ import annotations

import argparse
from collections.abc import Generator
from pathlib import Path

from parburn.cli.lookups import findable
from parburn.cli.output import put_out
from parburn.errors import UsageError
from parburn.ledger.reading import reading
from parburn.ledger.run_records import DRY_RUN, RunRecord, run_records
from parburn.ui.report_rows import ReportRow, csv_header, csv_line, json_text

ROWS_A_PIECE = 200  # of the text that is handed on at once
TAKEN_OVER = "taken over from another ledger"
NOTHING = "nothing was burned in this run"


def report(options: argparse.Namespace) -> int:
    """Write the report, and return 0.

    Raises:
        ParburnError: there is no ledger or no such batch, or the report cannot be written.
    """
    text = report_text(
        options.ledger, form=options.format, batch=findable(options.of_batch), since=options.since
    )
    return put_out(text, options.output, ledger=options.ledger, own_only=True)


def report_text(
    path: Path | None, *, form: str, batch: str | None = None, since: str | None = None
) -> Generator[str, None, None]:
    """Yield a report in pieces of text: a row for each unit and each run that it was in.

    Args:
        path: The ledger's file; None for the user's own.
        form: `csv`, or `json`: a list with a row a line.
        batch: Only units of this batch; None for all.
        since: Only what ended at this time or later, as the ledger writes it; None for all.

    Raises:
        UsageError: there is no such batch.
        LedgerUnusable: there is no ledger, or it cannot be read.
    """
    with reading(path) as (connection, place):
        known = connection.execute("SELECT 1 FROM batches WHERE name = ? OR ? IS NULL", (batch, batch))
        if known.fetchone() is None and batch is not None:
            raise UsageError(f"The ledger {place} has no batch {batch}.", hint="See parburn ledger show.")
        (uuid,) = connection.execute("SELECT value FROM meta WHERE name = 'uuid'").fetchone()
        records = run_records(connection, batch=batch, since=since)
        rows = (row_of(one, ledger=str(place), uuid=str(uuid)) for one in records)
        yield from _pieces(rows, form)


def _pieces(rows: Generator[ReportRow, None, None], form: str) -> Generator[str, None, None]:
    is_csv = form == "csv"
    before = "\n" if is_csv else "\n "
    gathered = [csv_header() if is_csv else "["]
    for number, row in enumerate(rows):
        if is_csv:
            gathered.append(csv_line(row))
        else:
            gathered.append(f"{',' * bool(number)}{before}{json_text(row)}")
        if len(gathered) >= ROWS_A_PIECE:
            yield "".join(gathered)
            gathered.clear()
    yield "".join([*gathered, "" if is_csv else "\n]\n"])


def row_of(record: RunRecord, *, ledger: str, uuid: str) -> ReportRow:
    """Return the row of one unit in one run. What the ledger does not know stays empty."""
    files = record.facts.files
    return ReportRow(
        chip=record.chip,
        mac=record.mac,
        index=record.index,
        unique_values=record.unique_values,
        result=record.result,
        error="" if record.reason == DRY_RUN else record.reason,
        burned=_burned(record),
        blocks_done=record.steps_done,
        blocks_total=record.steps,
        scripts=files.get("scripts", {}),
        config_files=files.get("config_files", {}),
        tables=files.get("tables", {}),
        started=record.started,
        ended=record.ended,
        run=record.run,
        batch=record.batch,
        ledger=ledger,
        ledger_uuid=uuid,
        station=record.facts.station,
        operator=record.facts.operator,
        unique_id=record.unique_id,
        values=record.values,
        state=record.state,
        simulated=None,
        dry_run=record.reason == DRY_RUN,
    )


def _burned(record: RunRecord) -> str:
    if record.run is None:
        return TAKEN_OVER
    if not record.attempted:
        return NOTHING
    if record.steps_done >= record.steps:
        return f"all {record.steps} steps were burned and verified"
    done = f"{record.steps_done} of {record.steps} steps were burned and verified"
    return f"{done}, the rest may be burned in part"
