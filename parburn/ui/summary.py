"""The end of a run in words: failures first, each with what happened, what was burned, and what to do."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from parburn.events import DeviceReport, Planned, Result, RunFinished
from parburn.ui.words import board, one_line, planned_lines, plural, safe_lines, seconds

ORDER = (Result.QUARANTINED, Result.INCOMPLETE, Result.FAILED, Result.REFUSED, Result.NO_ANSWER)
LAST_LINES = 20  # of a failed board's script output


def summary_lines(
    reports: Sequence[DeviceReport],
    finished: RunFinished,
    *,
    debug: bool = False,
    output_was_shown: bool = False,
    dry_run: bool = False,
) -> list[str]:
    """Return the summary, line by line: failures first, then the totals and the next command."""
    lines: list[str] = []
    failed = [report for report in reports if not report.result.passed]
    for report in sorted(failed, key=lambda report: ORDER.index(report.result)):
        lines += _failure(report, debug=debug, with_output=not output_was_shown)
        lines.append("")
    lines.append(_totals(reports, dry_run=dry_run))
    if finished.next_command:
        mend = any(report.result in (Result.FAILED, Result.REFUSED) and report.next_step for report in failed)
        lines += ["", "When that is mended, go on with:" if mend else "To go on, run:"]
        lines.append(f"  {finished.next_command}")
        if "??" in finished.next_command:
            lines.insert(-1, "(?? stands for what may be a key: write it there again)")
    return lines


def dry_run_lines(reports: Sequence[DeviceReport], planned: Mapping[str, Sequence[Planned]]) -> list[str]:
    """Return what would be burned into each board."""
    lines: list[str] = []
    for report in reports:
        burns = planned.get(report.port, ())
        if not burns:
            continue
        lines.append(f"Would be burned into {board(report)}:")
        for burn in burns:
            if len(burns) > 1:
                lines.append(f"  burn {burn.burn}")
            lines += [f"  {line}" for line in planned_lines(burn.blocks)]
        lines.append("")
    return lines


def _failure(report: DeviceReport, *, debug: bool, with_output: bool) -> list[str]:
    lines = [f"{report.result.value.upper()}: {board(report)}"]
    lines.append(f"  what happened: {one_line(report.error) or report.result.value}")
    lines.append(f"  burned:        {one_line(report.burned)}")
    if report.next_step:
        lines.append(f"  what to do:    {one_line(report.next_step)}")
    if report.traceback_text:
        lines += [f"    {line}" for line in safe_lines(report.traceback_text)]
    if report.output and with_output:
        text = safe_lines(report.output)
        left_out = 0 if debug else max(0, len(text) - LAST_LINES)
        lines.append(
            "  the script printed" + (f" (last {LAST_LINES} of {len(text)} lines):" if left_out else ":")
        )
        lines += [f"    | {line}" for line in text[left_out:]]
    return lines


def _totals(reports: Sequence[DeviceReport], *, dry_run: bool) -> str:
    counts = {result: sum(report.result is result for report in reports) for result in Result}
    passed = counts[Result.PASS] + counts[Result.ALREADY_PASS]
    text = f"{passed} of {plural(len(reports), 'board')} passed"
    if counts[Result.ALREADY_PASS]:
        text += f" ({counts[Result.ALREADY_PASS]} had passed before)"
    for result in ORDER:
        if counts[result]:
            text += f", {counts[result]} {result.value}"
    if reports:
        text += f", slowest {seconds(max(report.seconds for report in reports))}"
    return text + ("; dry run: nothing was burned" if dry_run else "")
