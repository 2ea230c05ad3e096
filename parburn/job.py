"""What was asked for, as one frozen value. Made by the command line or a program, read by all below it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Literal, NamedTuple, get_args

from parburn.errors import UsageError
from parburn.ledger_place import Place

Before = Literal["default-reset", "usb-reset", "no-reset", "no-reset-no-sync"]  # how the loader is reached
After = Literal["no-reset", "hard-reset", "soft-reset", "watchdog-reset"]  # of a board that passed
BEFORE_MODES: tuple[Before, ...] = get_args(Before)
AFTER_MODES: tuple[After, ...] = get_args(After)
BAUD_RANGE = range(9600, 5_000_001)
MAX_SIMULATED = 256
LONGEST_NAME = 100  # characters, of a station or an operator


class TableOption(NamedTuple):
    """One `--extend-efuse-table [CHIP=]CSV`. `chip` is None when it is meant for every chip of the run."""

    chip: str | None
    path: Path


class Script(NamedTuple):
    """A script that is no file: a function of the program that calls parburn, or a text (`Script.of_text`).

    The function is called once for each board, in that board's thread, as `function(esp, efuses, args,
    espefuse)`: the objects that a script file finds under these names. What it returns is not looked at.
    `name` and `version` are its digest: whoever changes what it burns gives it another version, or boards
    that passed with the old one count as passed.
    """

    name: str
    version: str = ""
    function: Callable[..., object] | None = None
    text: str | None = None

    @classmethod
    def of_text(cls, text: str, *, name: str = "script") -> Script:
        """Make a script whose source is `text`. Its digest is that of a file with this content."""
        return cls(name, text=text)


class Job(NamedTuple):
    """One run. Paths are as the operator gave them; nothing here has been opened yet."""

    ports: tuple[str, ...]  # expanded, without doubles, naturally sorted
    scripts: tuple[Path | Script, ...] = ()
    commands: str = ""  # run after the scripts; separated by ;
    config_files: tuple[Path, ...] = ()
    index_first: int = 1
    index_last: int | None = None
    do_not_confirm: bool = False
    dry_run: bool = False
    expect: int | None = None
    chip: str = "auto"  # or the only chips to burn: esp32c6,esp32s3
    baud: int | None = 115200  # None: raised where that pays
    before: Before = "default-reset"
    after: After = "no-reset"
    tables: tuple[TableOption, ...] = ()
    ledger: Place | None = None
    batch: str | None = None
    connect_attempts: int = 7
    max_burning: int | None = None
    script_timeout_s: float = 60.0
    allow_fixed_index: bool = False
    one_at_a_time: bool = False  # a board's script begins when the one before has ended
    show_sensitive_info: bool = False
    show_output: bool = False
    report: Path | None = None
    trace: Path | None = None
    debug: bool = False
    station: str = ""  # where, for the record; empty: the name of this machine
    operator: str = ""  # who, for the record
    simulated: bool = False
    records: tuple[str, ...] = ()  # FILE=FORM: how records lie in a config file
    shares_with: str | None = None  # the batch whose chips may carry equal records and values
    same: tuple[str, ...] = ()  # values that may be equal on several chips
    unique: tuple[str, ...] = ()  # values that are each chip's own; parts of one number joined by +
    new_ledger: bool = False  # a ledger is made where none is: nothing else makes one for real boards
    overrides: frozenset[str] = frozenset()  # refusals of the ledger taken on, as "allow-shared-records"
    slot_names: Mapping[str, str] = MappingProxyType({})  # of ports whose place has a name of its own
    wait_s: float = 2.5  # the least that boards wait for one that does not come: two ways of reset


def check_values(job: Job, *, named: Callable[[str], str]) -> None:
    """Refuse what no run can do, whoever made the job.

    Args:
        job: Its ports are expanded. Whether there are any, and what to do, is asked by who makes it.
        named: How the caller's user calls a field: an option of the command, or the field itself.

    Raises:
        UsageError: a value is none, or two do not go together. No port was opened.
    """
    for holds, said in _rules(job, named):
        if not holds:
            raise UsageError(said, hint="Nothing was opened. Mend it and start again.")


def _rules(job: Job, named: Callable[[str], str]) -> Iterator[tuple[bool, str]]:
    """Yield what must hold, and what to say where it does not."""
    for name, number in (("index_first", job.index_first), ("connect_attempts", job.connect_attempts)):
        yield number >= 1, f"{named(name)} must be 1 or more"
    last = job.index_last
    yield last is None or last >= job.index_first, f"{named('index_last')} ends before it begins"
    boards = len(job.ports)
    told = f"{named('expect')} {job.expect} boards, but {named('ports')} gives {boards}"
    yield job.expect is None or 1 <= job.expect <= boards, told
    yield job.before in BEFORE_MODES, f"{named('before')} must be one of {', '.join(BEFORE_MODES)}"
    yield job.after in AFTER_MODES, f"{named('after')} must be one of {', '.join(AFTER_MODES)}"
    lowest, highest = BAUD_RANGE[0], BAUD_RANGE[-1]
    told = f"{named('baud')} {job.baud} is not a rate that a chip can do: {lowest} to {highest}"
    yield job.baud is None or job.baud in BAUD_RANGE, f"{told}; usual are 115200, 460800 and 921600"
    yield job.max_burning is None or job.max_burning >= 1, f"{named('max_burning')} must be 1 or more"
    yield job.wait_s > 0, f"{named('wait_s')} must be more than 0"
    yield job.script_timeout_s > 0, f"{named('script_timeout_s')} must be more than 0"
    for name, batch in (("batch", job.batch), ("shares_with", job.shares_with)):
        printable = batch is None or (bool(batch.strip()) and batch.isprintable())
        yield printable, f"{named(name)} needs a printable name, as that of your work order"
    for name, who in (("station", job.station), ("operator", job.operator)):
        holds = who.isprintable() and len(who) <= LONGEST_NAME
        yield holds, f"{named(name)} needs a printable name of at most {LONGEST_NAME} characters"
    apart = job.shares_with is None or job.batch not in (None, job.shares_with)
    yield apart, f"{named('shares_with')} needs a {named('batch')} of its own: two chips of one product"
