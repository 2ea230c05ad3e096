"""`--report` on the command line: checked before a port is opened, told where it cannot be written."""

from __future__ import annotations

from typing import TYPE_CHECKING

from parburn.events import Note
from parburn.run.checked_job import CheckedJob
from parburn.ui.view import View

if TYPE_CHECKING:
    from parburn.ui.report_file import ReportFile

IN_THE_LEDGER = "what was burned is in the ledger, and `parburn report` makes one of it"


def report_of(checked: CheckedJob) -> ReportFile | None:
    """Return the report of this run; None where none was asked for.

    Raises:
        UsageError: it could not be appended to.
    """
    path = checked.job.report
    if path is None:
        return None
    from parburn.ui.report_appending import check_report  # here: who asks for no report does not wait for it
    from parburn.ui.report_file import ReportFile

    check_report(path)
    return ReportFile(path, lambda: checked.digests)


def is_written(report: ReportFile, view: View) -> bool:
    """Wait until the report has all rows of the run. Where it has not, say so and return False."""
    try:
        why = report.finish()
    except KeyboardInterrupt:
        why = f"{report.path}: interrupted"
    if not why:
        return True
    text = f"the report could not be written: {why}" + (f"; {IN_THE_LEDGER}" if report.is_of_a_record else "")
    if view.json:
        view.emit(Note("", text, "warning"))
    view.err.line(f"parburn: {text}")
    return False
