"""What a run is made of, found out once: scripts compiled, config files and tables read. Opens no port.

Whatever comes later uses this value and reads no file of the command line again: so all that is told of a
file, its digest in a report too, is true of what was run, also when the file has changed since.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from hashlib import sha256
from typing import NamedTuple

from parburn.chips.registry import chip_names
from parburn.config.records import ConfigFiles, load_config_files
from parburn.efuse.user_values import Declared, check_declared
from parburn.job import Job
from parburn.ledger.base import BatchSpec, RunNote
from parburn.ledger.file_location import ledger_place
from parburn.run.overwriting import refuse_overwriting
from parburn.run.tables import TableSet
from parburn.script.commands.command_line import TypedCommand, parse_commands, typed_keys, with_parsed
from parburn.script.compiled import CompiledScripts, compile_scripts
from parburn.script.index_use import uses_the_index
from parburn.script.key_mask import KeyMask
from parburn.script.shared_output import refuse_one_file_for_all
from parburn.transport.tcp import host_and_port


class InputDigests(NamedTuple):
    """SHA-256 in hex of each file as it was read, by the file's name as the operator gave it."""

    scripts: Mapping[str, str]
    config_files: Mapping[str, str]
    tables: Mapping[str, str]


class CheckedJob(NamedTuple):
    """A job, and all that its files hold. Made by `check_job`, never changed."""

    job: Job
    scripts: CompiledScripts  # the commands of `--commands` are the last of them
    config: ConfigFiles  # without records where no script uses the index
    tables: TableSet
    uses_index: bool
    keys: KeyMask  # of this run, and of nothing that outlives it
    commands: tuple[TypedCommand, ...]  # of --commands

    def at(self, ports: Iterable[str]) -> CheckedJob:
        """Return the same job for the boards at these ports.

        Raises:
            UsageError: a command would write one file for all of them.
        """
        ports = tuple(ports)
        if len(ports) > 1:
            refuse_one_file_for_all(self.scripts)
        return self._replace(job=self.job._replace(ports=ports))

    @property
    def digest(self) -> str:
        """SHA-256 in hex of scripts and tables: of the job, without what the config files say."""
        return sha256(f"{self.scripts.digest}\n{self.tables.digest}".encode()).hexdigest()

    @property
    def batch(self) -> BatchSpec:
        """The index space of this job, as the ledger is asked for it."""
        return BatchSpec(
            name=self.job.batch,
            config_digest=self.config.digest,
            entries=self.config.entries,
            config=self.config,
            uses_index=self.uses_index,
            shares_with=self.job.shares_with,
            scripts=self.scripts.digest,
            same=self.job.same,
            unique=self.job.unique,
        )

    @property
    def note(self) -> RunNote:
        """What the ledger's history says of this run."""
        files = {
            kind: {
                name.encode("utf-8", "backslashreplace").decode("utf-8"): one for name, one in found.items()
            }
            for kind, found in self.digests._asdict().items()
            if found
        }
        return RunNote(station_of(self.job), self.job.operator, files)

    @property
    def digests(self) -> InputDigests:
        """Digests of what was read, for a report. Scripts that others run are known after the run."""
        return InputDigests(
            scripts=self.scripts.digests,
            config_files={str(one.path): one.file_digest for one in self.config.files},
            tables=self.tables.digests,
        )


def station_of(job: Job) -> str:
    """Return where a job is run: as it says, else the name of this machine."""
    return job.station or os.uname().nodename


def check_job(job: Job) -> CheckedJob:
    """Find out all that can be found out without a port; every file is read here, once.

    Raises:
        UsageError: a port's address or a command cannot be understood, a command writes one file for all
            boards, a config file cannot be read or parsed, or `same` or `unique` name no value.
        ScriptSyntaxError: a script does not compile.
        ChipDataError: a custom eFuse table breaks a rule.
    """
    for port in job.ports:
        if "://" in port:
            host_and_port(port)  # an address that is none is bad input, and no board's failure
    if job.ledger is not None:
        ledger_place(job.ledger)
    commands = parse_commands(job.commands) if job.commands else ()
    refuse_overwriting(job, commands)
    scripts = with_parsed(compile_scripts(job.scripts), commands)
    if len(job.ports) > 1:
        refuse_one_file_for_all(scripts)
    config = load_config_files(job.config_files, job.records)
    uses_index = uses_the_index(scripts)
    tables = TableSet(job.tables, chips=_chips_of(job))
    if job.same or job.unique:
        check_declared(Declared(job.same, job.unique), tables.extended())
    keys = KeyMask(shows_keys=job.show_sensitive_info)
    keys.give_words(typed_keys(commands, tables.extended))
    return CheckedJob(
        job, scripts, config if uses_index else config.all_shared(), tables, uses_index, keys, commands
    )


def _chips_of(job: Job) -> frozenset[str]:
    """Return the only chips that a job can meet; empty where only its boards can tell."""
    if job.chip != "auto":
        return frozenset(job.chip.split(","))
    if not (job.simulated and job.tables):
        return frozenset()
    return frozenset(port.partition("/")[0] for port in job.ports) & frozenset(chip_names())
