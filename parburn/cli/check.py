"""`parburn check`: a batch is rehearsed before a board is touched; what is wrong is told by its indexes."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from parburn.chips.registry import chip_named
from parburn.cli.job_folder import go_to_folder_of
from parburn.cli.options import chips_option, rebuild_job
from parburn.cli.saying import hand_out, say
from parburn.errors import UsageError
from parburn.job import Job
from parburn.run.checked_job import CheckedJob, check_job
from parburn.station.batch_rehearsal import (
    BatchRehearsal,
    ChipRehearsal,
    Finding,
    Steps,
    kinds,
    rehearse_batch,
)

GOOD = 0
FAULTS = 2
# Options that a job file stands for, by their name in the namespace.
IN_THE_JOB_FILE = {
    "chip": "--chip",
    "scripts": "--scripts",
    "commands": "--commands",
    "configfiles": "--configfiles",
    "records": "--records",
    "extend_efuse_table": "--extend-efuse-table",
    "batch": "--batch",
    "same": "--same",
    "unique": "--unique",
    "ledger": "--ledger",
}
KINDS = {
    "record": "no record",
    "script": "the script fails",
    "refused": "the burn is refused",
    "side effect": "the script does more than burn",
    "random": "random",
    "double": "doubled",
}


def check(options: argparse.Namespace) -> int:
    """Rehearse a batch; return 0 when no record has a fault, else 2.

    Raises:
        ParburnError: the options or files forbid it. Nothing was opened, burned or written.
    """
    checked, names = _of_options(options) if options.job is None else _of_job_file(options)
    with progress() as on_progress:
        found = rehearse_batch(
            checked,
            names,
            processes=options.jobs,
            allow_side_effects=options.allow_side_effects,
            on_progress=on_progress,
        )
    if options.json:
        hand_out("".join(_json_lines(found)))
    else:
        say(check_text(found))
    return GOOD if found.is_good else FAULTS


def _of_options(options: argparse.Namespace) -> tuple[CheckedJob, tuple[str, ...]]:
    if options.chip is None:
        raise UsageError(
            "which chips get the records is not said",
            hint="Give --chip CHIP[,CHIP...], or a station's job file: parburn check JOB.toml.",
        )
    names = _chips(options.chip)
    checked = check_job(rebuild_job(options, simulated_ports=())._replace(commands=options.commands))
    if not checked.scripts.scripts:
        raise UsageError("nothing is to be rehearsed", hint="Name the scripts: --scripts S, or --commands.")
    return checked, names


def _of_job_file(options: argparse.Namespace) -> tuple[CheckedJob, tuple[str, ...]]:
    """Return what a station's job file says; nothing of it is set otherwise by an option."""
    from parburn.station.armed_inputs import refuse_unfinished  # here: the options of a run need no job file
    from parburn.station.job_file import check_station_job, load_job_file

    given = [option for name, option in IN_THE_JOB_FILE.items() if getattr(options, name, None)]
    if options.index != (1, None):
        given.append("--index")
    if options.script_timeout != Job(()).script_timeout_s:
        given.append("--script-timeout")
    if given:
        raise UsageError(
            f"a job file and {', '.join(given)} do not go together: the file says it",
            hint="With a job file only --jobs, --json and --allow-side-effects are taken.",
        )
    station = load_job_file(go_to_folder_of(options.job))
    checked = check_station_job(station)
    refuse_unfinished(checked)
    return checked, station.chips


def _chips(text: str) -> tuple[str, ...]:
    """Return the chips of `--chip`.

    Raises:
        UsageError: there is no such chip, or it is left to boards that are not there.
    """
    names = chips_option(text)
    if names == "auto":
        raise UsageError("--chip auto: no board is there to tell", hint="Name the chips that will be burned.")
    return tuple(names.split(","))


@contextmanager
def progress() -> Iterator[Callable[[int, int], object] | None]:
    """Show on a terminal how far it is."""
    if not sys.stderr.isatty():
        yield None
        return
    from rich.console import Console
    from rich.progress import Progress

    # No thread draws beside us: the processes that work are forked from this one.
    console = Console(stderr=True)
    with Progress(
        console=console, transient=True, auto_refresh=False, redirect_stdout=False, redirect_stderr=False
    ) as bar:
        task = bar.add_task("rehearsing")
        yield lambda done, total: bar.update(task, completed=done, total=total, refresh=True)


def check_text(found: BatchRehearsal) -> str:
    """Return what was found for the engineer who has prepared the batch."""
    lines = [line for chip in found.chips for line in _chip_lines(chip, found)]
    if found.is_good:
        lines.append("No fault was found. Nothing was burned, and no ledger was looked at.")
    else:
        counts = ", ".join(f"{count} {KINDS[kind]}" for kind, count in kinds(found).items())
        lines.append(
            f"Faults were found ({counts}): mend them before a board is touched. Nothing was burned."
        )
    return "\n".join(lines) + "\n"


def _chip_lines(chip: ChipRehearsal, found: BatchRehearsal) -> Iterator[str]:
    title = chip_named(chip.chip).title
    total = found.last - found.first + 1
    yield f"{title}: index {found.first}-{found.last}, {chip.whole} of {total} without a fault"
    for finding in chip.findings:
        yield f"  {KINDS[finding.kind]}: {finding.said}"
        yield f"    {_indexes(finding)}"
        if finding.hint:
            yield f"    {finding.hint}"
    for name, count, first in chip.derived:
        yield f"  derived from the chip: {name}, of {_counted(count)} (the first: index {first})"
    for number, (steps, count, first) in enumerate(chip.plans):
        if number == SHOWN_PLANS:
            yield f"  {len(chip.plans) - SHOWN_PLANS} more plans differ from these"
            break
        where = f", the first: index {first}" if number else ""
        yield f"  plan of {_counted(count)}{where}: {_plan(steps)}"


SHOWN_PLANS = 3


def _indexes(finding: Finding) -> str:
    shown = ", ".join(map(str, finding.indexes))
    more = finding.records - len(finding.indexes)
    word = "index" if finding.records == 1 else "indexes"
    return f"{word} {shown}" + (f" and {more} more" if more > 0 else "")


def _counted(count: int) -> str:
    return f"{count} record" + ("" if count == 1 else "s")


def _plan(steps: Steps) -> str:
    if not steps:
        return "burns nothing"
    return "; ".join(
        f"burn {step.burn} {step.block}: {', '.join(step.fields)}"
        + (" [locks]" if step.locks else "")
        + (f" [ends the link: {step.ends_link}]" if step.ends_link else "")
        for step in steps
    )


def _json_lines(found: BatchRehearsal) -> Iterator[str]:
    for chip in found.chips:
        for finding in chip.findings:
            yield _line("fault", **finding._asdict())
        for name, count, first in chip.derived:
            yield _line("derived", chip=chip.chip, field=name, records=count, index=first)
        for steps, count, first in chip.plans:
            rows = [step._asdict() for step in steps]
            yield _line("plan", chip=chip.chip, records=count, index=first, steps=rows)
    yield _line(
        "checked",
        first=found.first,
        last=found.last,
        chips=[chip.chip for chip in found.chips],
        good=found.is_good,
    )


def _line(event: str, **values: Any) -> str:
    return json.dumps({"event": event, **values}) + "\n"
