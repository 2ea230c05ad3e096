"""The end of a run in words: who did not pass first, what many have in common once, then the sum. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from parburn.events import DeviceReport, Result, RunFinished
from parburn.ui.groups import Group, grouped
from parburn.ui.names import Names
from parburn.ui.short_words import RESULT_WORDS
from parburn.ui.who_helps import Who, who_helps
from parburn.ui.words import fold, one_line, plural, safe_lines, seconds

ORDER = (Result.QUARANTINED, Result.INCOMPLETE, Result.FAILED, Result.REFUSED, Result.NO_ANSWER)
LAST_LINES = 20  # of a failed board's script output
LONG_COMMAND = 320  # characters; what is longer is not shown again, but named
SCRIPT_IS_ASKED = ("Script", "Plan", "BadValue", "UnknownName", "Efuse", "Internal")  # kinds begin with these


def summary_lines(
    reports: Sequence[DeviceReport],
    finished: RunFinished,
    *,
    names: Names | None = None,
    width: int | None = None,
    debug: bool = False,
    output_was_shown: bool = False,
    dry_run: bool = False,
    stamp: str = "",
) -> list[str]:
    """Return the summary, line by line: groups of boards that did not pass, the sum, the next command.

    Args:
        reports: How the boards ended.
        finished: The last event.
        names: What the boards are called; None: as their reports say.
        width: Cells of the terminal, at which text is folded; None: it is not.
        debug: All that a script printed, and not only its last lines.
        output_was_shown: What scripts printed is on the screen already.
        dry_run: Say that nothing was burned.
        stamp: What stands before the sum, as the time of day.
    """
    names = names or Names()
    failed = [one for one in reports if not one.result.passed and one.result is not Result.STOPPED]
    lines: list[str] = []
    for group in grouped(sorted(failed, key=lambda report: ORDER.index(report.result))):
        lines += _group(group, names, width=width, debug=debug, with_output=not output_was_shown)
        lines.append("")
    lines += fold(stamp, sum_line(reports, dry_run=dry_run), width)
    return [*lines, *_to_go_on(reports, finished, width)]


def sum_line(reports: Sequence[DeviceReport], *, dry_run: bool = False) -> str:
    """Return how the boards ended, in one line; those of earlier runs do not count as passes of this one."""
    counts = dict.fromkeys(Result, 0)
    for report in reports:
        counts[report.result] += 1
    before, all_of = counts[Result.ALREADY_PASS], len(reports)
    if all_of and before == all_of:
        return f"0 new, {before} had passed before: are these the next boards?"
    good = Result.WOULD_BURN if dry_run and not counts[Result.PASS] else Result.PASS
    parts = [
        f"{counts[good]} of {plural(all_of, 'board')} {'would burn' if good.value != 'pass' else 'passed'}"
    ]
    if counts[Result.STOPPED]:
        parts = [f"stopped; {plural(counts[Result.STOPPED], 'board')} untouched"]
        parts += [f"{counts[good]} passed"] if counts[good] else []
    parts += [f"{before} had passed before"] if before else []
    parts += [f"{counts[result]} {RESULT_WORDS[result]}" for result in ORDER if counts[result]]
    if reports and not counts[Result.STOPPED]:
        parts.append(f"slowest {seconds(max(report.seconds for report in reports))}")
    return ", ".join(parts) + ("; dry run: nothing was burned" if dry_run else "")


def all_passed_before(reports: Sequence[DeviceReport]) -> bool:
    """Return whether no board was new: perhaps nobody has put the next ones in."""
    return bool(reports) and all(report.result is Result.ALREADY_PASS for report in reports)


def _to_go_on(reports: Sequence[DeviceReport], finished: RunFinished, width: int | None) -> list[str]:
    """Return the command again, where it helps: at once, or once an engineer has mended something."""
    helpers = {who_helps(one) for one in reports if not one.result.passed}
    if not finished.next_command or helpers == {Who.NOBODY}:
        return []
    mend = bool(helpers) and helpers <= {Who.ENGINEER, Who.NOBODY}
    when = "When an engineer has mended that, go on with" if mend else "To go on, run"
    command = finished.next_command
    if width is not None and len(command) > LONG_COMMAND:
        return ["", f"{when} the same command again (arrow up)."]
    masked = ["(?? stands for what may be a key: write it there again)"] if "??" in command else []
    return ["", f"{when}:", *masked, f"  {command}"]


def _group(group: Group, names: Names, *, width: int | None, debug: bool, with_output: bool) -> list[str]:
    said, first = group.said, group.reports[0]
    error = names.without_path(said.error, first.port)
    rows = [
        ("  what happened: ", one_line(error).removeprefix("(its port): ") or said.result.value),
        ("  burned:        ", one_line(names.without_path(said.burned, first.port))),
        ("  what to do:    ", one_line(names.without_path(said.next_step, first.port))),
        ("  who:           ", who_helps(first).value),
    ]
    lines = fold(f"{said.result.value.upper()}: ", names.boards(group.reports), width)
    for title, text in rows:
        lines += fold(title, text, width) if text else []
    lines += [f"    {line}" for line in safe_lines(said.traceback_text)]
    if with_output and _tells(first):
        lines += _output(first, names.port(first.port) if len(group.reports) > 1 else "", debug=debug)
    return lines


def _tells(report: DeviceReport) -> bool:
    """Return whether what the script printed may tell why: not where the operator, ledger or line said no."""
    return bool(report.output) and (
        report.result in (Result.FAILED, Result.INCOMPLETE, Result.QUARANTINED)
        or report.error_kind.startswith(SCRIPT_IS_ASKED)
    )


def _output(report: DeviceReport, where: str, *, debug: bool) -> list[str]:
    text = safe_lines(report.output)
    left_out = 0 if debug else max(0, len(text) - LAST_LINES)
    some = f" (last {LAST_LINES} of {len(text)} lines)" if left_out else ""
    at = f" at {where}" if where else ""
    return [f"  the script printed{at}{some}:", *(f"    | {line}" for line in text[left_out:])]
