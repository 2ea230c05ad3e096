"""What no output may overwrite: inputs, what scripts have read, any ledger. Looks, and writes nothing.

`--report`, `--trace`, `ledger export --output`, and files that commands write (`summary --file`,
`dump --file_name`) all ask here, and nowhere else. A link counts as what it leads to, and a second name as
the first; what the command line writes may be no link at all.
"""

from __future__ import annotations

import stat
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from parburn.errors import UsageError
from parburn.job import Job
from parburn.ledger.file_location import default_path, ledger_of
from parburn.run.traces import refuse_other_than_trace
from parburn.script.commands.command_line import TypedCommand

HINT = "Choose another file for it. Nothing was overwritten."
OUTPUTS = ("file", "file_name")  # options of commands that name a file to write


class KeptFiles(NamedTuple):
    """Files that are read in this run, each with what it is, and the ledgers that are known by name."""

    inputs: tuple[tuple[Path, str], ...] = ()
    ledgers: tuple[Path, ...] = ()

    def and_also(self, inputs: Iterable[tuple[Path, str]]) -> KeptFiles:
        """Return the same with more inputs."""
        return self._replace(inputs=(*self.inputs, *inputs))

    def refuse(self, path: Path, option: str) -> None:
        """Raise UsageError where `option` would write over one of them, or over any other ledger."""
        place = _place(path, option)
        ledger = ledger_of(place, (*self.ledgers, default_path()))
        if ledger is not None:
            what = "a ledger" if ledger == place else f"a part of the ledger {ledger}"
            raise UsageError(f"{option} {path} would overwrite {what}", hint=HINT)
        for kept, what in self.inputs:
            if _are_one(place, kept):
                raise UsageError(f"{option} and {what} name the same file {path}", hint=HINT)


def kept_files(job: Job, commands: Sequence[TypedCommand]) -> KeptFiles:
    """Return what the command line reads, files that its commands name among it, and the ledger."""
    inputs = [(path, "--scripts") for path in job.scripts if isinstance(path, Path)]
    inputs += [(path, "--configfiles") for path in job.config_files]
    inputs += [(table.path, "--extend-efuse-table") for table in job.tables]
    inputs += [(path, "--commands") for path in _read_by_commands(commands)]
    return KeptFiles(tuple(inputs), (job.ledger,) if isinstance(job.ledger, Path) else ())


def outputs_of(job: Job) -> tuple[tuple[Path, str], ...]:
    """Return what the command line writes."""
    return tuple((path, name) for path, name in ((job.report, "--report"), (job.trace, "--trace")) if path)


def refuse_link(path: Path, option: str) -> None:
    """Raise UsageError where `option` names a link, or a file with a second name: it may be somebody's."""
    try:
        found = path.lstat()
    except (OSError, ValueError):  # nothing is there, or whoever writes it will say why it cannot
        return
    second = stat.S_ISREG(found.st_mode) and found.st_nlink > 1
    if stat.S_ISLNK(found.st_mode) or second:
        what = "a file that has a second name" if second else f"a link to {_leads_to(path)}"
        raise UsageError(f"{option} {path} is {what}: it may be somebody else's file", hint=HINT)


def refuse_overwriting(job: Job, commands: Sequence[TypedCommand]) -> None:
    """Raise UsageError where an output of the command line would overwrite what must be kept."""
    kept, outputs = kept_files(job, commands), outputs_of(job)
    for n, (path, option) in enumerate(outputs):
        kept.and_also(outputs[:n]).refuse(path, option)
        refuse_link(path, option)
    if job.trace is not None:
        refuse_other_than_trace(job.trace)
    for path, option in _written_by_commands(commands):
        kept.and_also(outputs).refuse(path, option)
    if isinstance(job.ledger, Path):
        for path, what in kept.inputs:
            if _are_one(_place(job.ledger, "--ledger"), path):
                raise UsageError(f"--ledger and {what} name the same file {path}", hint=HINT)


def _leads_to(path: Path) -> str:
    try:
        return str(path.readlink())
    except OSError:
        return "another file"


def _read_by_commands(commands: Sequence[TypedCommand]) -> Iterator[Path]:
    for one in commands:
        words = list(one.words)
        for name, value in one.options.items():
            if name not in OUTPUTS:
                words += value if isinstance(value, list) else [value]
        yield from (Path(word) for word in words if isinstance(word, str | Path) and _is_file(Path(word)))


def _written_by_commands(commands: Sequence[TypedCommand]) -> Iterator[tuple[Path, str]]:
    for one in commands:
        for name in OUTPUTS:
            value = one.options.get(name)
            if isinstance(value, str | Path):
                yield Path(value), f"{one.verb} --{name}"


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except (OSError, ValueError):  # a word that no file can be called
        return False


def _place(path: Path, option: str) -> Path:
    """Where a name leads to. Raises UsageError for links that lead to themselves, and for no name at all."""
    try:
        return path.resolve()
    except (OSError, RuntimeError, ValueError) as error:
        raise UsageError(
            f"{option} {path} leads nowhere: {error.__class__.__name__}, a link that leads to itself?",
            hint="Name a file. Nothing was overwritten.",
        ) from error


def _are_one(place: Path, other: Path) -> bool:
    try:
        return other.resolve() == place or (place.exists() and place.samefile(other))
    except (OSError, RuntimeError, ValueError):  # it is not there any more
        return False
