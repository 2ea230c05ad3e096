"""From parsed options to a Job: every value is checked. Reads no file, opens no port."""

from __future__ import annotations

import argparse
import os
from collections.abc import Iterable, Sequence
from functools import partial
from pathlib import Path
from typing import NamedTuple

from parburn.cli.slots_ports import NamedPorts, named_ports
from parburn.errors import UsageError
from parburn.job import LONGEST_NAME, MAX_SIMULATED, Job, TableOption, check_values

TOKEN_COMMAND = "dump --format token"  # what --token runs
REMOTE = ("socket://", "rfc2217://")


class SimulatedGroup(NamedTuple):
    """`CHIP:N` of --sim: so many boards with this chip."""

    chip: str
    boards: int


def job_from(options: argparse.Namespace, *, simulated_ports: Sequence[str] | None = None) -> Job:
    """Return the Job of these options.

    Args:
        simulated_ports: the ports of simulated boards; None takes those of --ports.

    Raises:
        UsageError: an option is wrong, does not go with another, or names a file or port that is not there.
    """
    check_conflicts(options)
    first, last = options.index
    named = _ports_asked(options.ports, simulated_ports, expect=options.expect)
    job = Job(
        ports=named.ports,
        slot_names=named.slots,
        scripts=_files(options.scripts or (), "--scripts"),
        commands=TOKEN_COMMAND if options.token else options.commands,
        config_files=_files(options.configfiles or (), "--configfiles"),
        index_first=first,
        index_last=last,
        do_not_confirm=options.do_not_confirm,
        dry_run=options.dry_run,
        expect=options.expect,
        chip=chips_option(options.chip),
        baud=_baud(options.baud),
        before=options.before,
        after=options.after,
        tables=tuple(_table(text) for text in options.extend_efuse_table or ()),
        ledger=options.ledger,
        new_ledger=options.new_ledger,
        batch=options.batch,
        connect_attempts=options.connect_attempts,
        wait_s=options.wait,
        max_burning=options.max_burning,
        script_timeout_s=options.script_timeout,
        allow_fixed_index=options.allow_fixed_index,
        one_at_a_time=options.one_at_a_time,
        show_sensitive_info=options.show_sensitive_info,
        show_output=options.show_output,
        report=_report(options.report),
        trace=writeable(options.trace, "--trace"),
        debug=options.debug,
        station=_who(options, "station"),
        operator=_who(options, "operator"),
        simulated=simulated_ports is not None,
        records=tuple(options.records or ()),
        shares_with=options.shares_with,
        same=_names(options.same or (), "--same"),
        unique=_names(options.unique or (), "--unique"),
        overrides=frozenset(options.overrides or ()),
    )
    check_values(job, named=partial(_option, ports="--sim" if options.sim else "--ports"))
    return job


def _option(field: str, *, ports: str = "--ports") -> str:
    """Return what the command line calls a field of the job."""
    special = {"ports": ports, "index_first": "--index", "index_last": "--index",
               "script_timeout_s": "--script-timeout", "wait_s": "--wait"}  # fmt: skip
    return special.get(field) or "--" + field.replace("_", "-")


def rebuild_job(options: argparse.Namespace, *, simulated_ports: Sequence[str] | None = None) -> Job:
    """Return the Job of `ledger rebuild` and `ledger learn`: its boards are only read.

    Args:
        simulated_ports: the ports of simulated boards, or empty for none; None takes those of --ports.

    Raises:
        UsageError: an option is wrong, or names a file or port that is not there.
    """
    first, last = options.index
    named = _ports_asked(options.ports, simulated_ports)
    job = Job(
        ports=named.ports,
        slot_names=named.slots,
        scripts=_files(options.scripts or (), "--scripts"),
        config_files=_files(options.configfiles or (), "--configfiles"),
        index_first=first,
        index_last=last,
        do_not_confirm=True,
        before=options.before,
        tables=tuple(_table(text) for text in options.extend_efuse_table or ()),
        ledger=options.ledger,
        batch=options.batch,
        script_timeout_s=options.script_timeout,
        debug=options.debug,
        station=_who(options, "station"),
        operator=_who(options, "operator"),
        simulated=simulated_ports is not None,
        records=tuple(options.records or ()),
        same=_names(options.same or (), "--same"),
        unique=_names(options.unique or (), "--unique"),
    )
    check_values(job, named=_option)
    return job


def compare_job(options: argparse.Namespace, *, simulated_ports: Sequence[str] | None = None) -> Job:
    """Return the Job of `ledger verify --ports`: its boards are only read.

    Args:
        simulated_ports: the ports of simulated boards; None takes those of --ports.

    Raises:
        UsageError: an option is wrong, or names a file or port that is not there.
    """
    named = _ports_asked(options.ports, simulated_ports)
    job = Job(
        ports=named.ports,
        slot_names=named.slots,
        before=options.before,
        tables=tuple(_table(text) for text in options.extend_efuse_table or ()),
        ledger=options.ledger,
        debug=options.debug,
        simulated=simulated_ports is not None,
    )
    check_values(job, named=_option)
    return job


def check_conflicts(options: argparse.Namespace) -> None:
    """Check that no option is missing, and that all go together.

    Raises:
        UsageError: they do not; it names the options.
    """
    if options.ports and options.sim:
        raise UsageError("--ports and --sim do not go together", hint="Choose real boards or simulated ones.")
    if not options.ports and not options.sim:
        raise UsageError(
            "no boards are named",
            hint="Give --ports /dev/ttyUSB0 ... (`parburn ports` lists candidates), or try --sim esp32s3:8.",
        )
    _check_work(options)
    if isinstance(options.ledger, Path) and options.ledger.is_dir():
        raise UsageError(f"--ledger {options.ledger} is a folder", hint="Name the ledger's file.")


def _check_work(options: argparse.Namespace) -> None:
    if options.token and (options.scripts or options.commands):
        named = "--scripts" if options.scripts else "--commands"
        raise UsageError(f"--token and {named} do not go together", hint="--token only reads: give it alone.")
    if not (options.scripts or options.commands or options.token):
        raise UsageError(
            "no script is named",
            hint="Give --scripts FILE ..., the scripts to run for each board, or --commands.",
        )


def simulated_groups(text: str) -> tuple[SimulatedGroup, ...]:
    """Return the groups of `esp32:3,esp32c3:3`, as --sim has them. A chip alone is one board.

    Raises:
        UsageError: the text has another form, or a chip is unknown, or there are too many boards.
    """
    counts: dict[str, int] = {}
    for part in text.split(","):
        name, colon, number = part.strip().partition(":")
        if not name or (colon and not (number.isascii() and number.isdigit() and int(number) >= 1)):
            raise UsageError(
                f"--sim {text}: {part!r} is not CHIP:N", hint="Write it as esp32s3:8 or esp32:3,esp32c3:3."
            )
        chip = _chip(name, "--sim")
        counts[chip] = counts.get(chip, 0) + (int(number) if colon else 1)
    if sum(counts.values()) > MAX_SIMULATED:
        raise UsageError(f"--sim {text}: more than {MAX_SIMULATED} boards", hint="Ask for fewer boards.")
    return tuple(SimulatedGroup(chip, count) for chip, count in counts.items())


def _ports_asked(
    patterns: Iterable[str], simulated_ports: Sequence[str] | None, *, expect: int | None = None
) -> NamedPorts:
    if simulated_ports is not None:
        return NamedPorts(tuple(simulated_ports), {})
    return _ports(patterns, expect)


def _ports(patterns: Iterable[str], expect: int | None) -> NamedPorts:
    """Return the ports that are named.

    Ports that are not there are told together. With --expect that many others are enough: each that is not
    there then has its result, as one that does not answer.

    Raises:
        UsageError: ports are not there, or fewer than `expect`.
    """
    from parburn.transport.ports import told_missing

    named = named_ports(patterns)
    ports = named.ports
    if not ports:
        raise UsageError("--ports matches no port", hint="`parburn ports` lists candidates.")
    missing = [port for port in ports if not port.startswith(REMOTE) and not Path(port).exists()]
    there = len(ports) - len(missing)
    if missing and (expect is None or there < expect):
        raise told_missing(ports, missing, expect, called=named.slots)
    if expect is not None and there < expect:
        raise told_missing(ports, (), expect, called=named.slots)
    return named


def chips_option(text: str) -> str:
    """Return the chips of `esp32c6,esp32s3`, each by its own name and once; or `auto`."""
    names = dict.fromkeys(_chip(one, "--chip", also=("auto",)) for one in text.split(","))
    if "auto" in names and len(names) > 1:
        raise UsageError("--chip: auto means any chip", hint="Leave it out of the list, or the list out.")
    return ",".join(names)


def _chip(text: str, option: str, *, also: tuple[str, ...] = ()) -> str:
    from parburn.chips.registry import chip_names
    from parburn.nearest import nearest_names

    known = (*also, *chip_names())
    wanted = _plain(text)
    for name in known:
        if _plain(name) == wanted:
            return name
    near = nearest_names(wanted, known)
    hint = f"Did you mean {' or '.join(near)}?" if near else f"Known are {', '.join(known)}."
    raise UsageError(f"{option}: there is no chip {text!r}", hint=hint)


def _plain(name: str) -> str:
    return name.strip().lower().replace("-", "").replace("_", "")


def _files(paths: Iterable[Path], option: str) -> tuple[Path, ...]:
    paths = tuple(paths)
    for path in paths:
        if path.is_dir():
            raise UsageError(f"{option}: {path} is a folder", hint="Name the file in it.")
        if not path.exists():
            raise UsageError(f"{option}: there is no file {path}", hint=f"The folder now is {Path.cwd()}.")
        if not os.access(path, os.R_OK):
            raise UsageError(f"{option}: {path} cannot be read", hint="Check the rights of the file.")
    return paths


def _table(text: str) -> TableOption:
    option = "--extend-efuse-table"
    head, equals, tail = text.partition("=")
    if not equals or Path(text).exists():  # a file's name may hold '=' itself
        return TableOption(None, _files([Path(text)], option)[0])
    return TableOption(_chip(head, option), _files([Path(tail)], option)[0])


def _names(texts: Iterable[str], option: str) -> tuple[str, ...]:
    """Return the names of values, each once; which of them a chip knows is found out with the tables."""
    for text in texts:
        if not text or not text.isprintable() or " " in text or "" in text.split("+"):
            raise UsageError(f"{option} {text!r} names no value", hint="Name a field, as in --same WEEK.")
        if option == "--same" and "+" in text:
            raise UsageError(f"--same {text}: one name each", hint="Write --same A --same B.")
    return tuple(dict.fromkeys(texts))


def _baud(text: str) -> int | None:
    """Return the rate, or None for `auto`."""
    if text == "auto":
        return None
    if not (text.isascii() and text.isdecimal() and len(text) < 10):
        raise UsageError(
            f"--baud {text} is not a number", hint="Or write `auto`: it raises the rate where that pays."
        )
    return int(text)


def _report(path: Path | None) -> Path | None:
    """Return the report's file or folder. Whether it can be appended to is looked at later."""
    if path is not None and not path.is_dir():
        from parburn.ui.report_appending import check_ending

        check_ending(path)
    return path


def _who(options: argparse.Namespace, what: str) -> str:
    """Return the station or the operator: of the option, else of the environment; empty where neither says.

    Raises:
        UsageError: what the environment says is no name that can be recorded.
    """
    name = f"PARBURN_{what.upper()}"
    said: str | None = getattr(options, what, None)
    if said is not None:
        return said
    found = os.environ.get(name, "").strip()
    if not found.isprintable() or len(found) > LONGEST_NAME:
        raise UsageError(
            f"{name} is no printable name of at most {LONGEST_NAME} characters",
            hint=f"Mend it, or give --{what}.",
        )
    return found


def writeable(path: Path | None, option: str) -> Path | None:
    """Return a file that an option names, if it can be written as far as is seen. Raises UsageError."""
    if path is None:
        return None
    if path.is_dir():
        raise UsageError(f"{option}: {path} is a folder", hint="Name a file in it.")
    if not path.parent.is_dir():
        raise UsageError(
            f"{option}: there is no folder {path.parent}", hint="Make it first; nothing was burned."
        )
    if not os.access(path if path.exists() else path.parent, os.W_OK):
        raise UsageError(
            f"{option}: {path} cannot be written", hint="Check the rights of the file and its folder."
        )
    return path
