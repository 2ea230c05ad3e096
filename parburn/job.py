"""What was asked for, as one frozen value. Made by the command line or a program, read by all below it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Literal, NamedTuple

Before = Literal["default-reset", "usb-reset", "no-reset", "no-reset-no-sync"]  # how the loader is reached
After = Literal["no-reset", "hard-reset", "soft-reset", "watchdog-reset"]  # of a board that passed


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
    chip: str = "auto"
    baud: int | None = 115200  # None: raised where that pays
    before: Before = "default-reset"
    after: After = "no-reset"
    tables: tuple[TableOption, ...] = ()
    ledger: Path | None = None
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
    simulated: bool = False
    records: tuple[str, ...] = ()  # FILE=FORM: how records lie in a config file
    shares_with: str | None = None  # the batch whose chips may carry equal records and values
    same: tuple[str, ...] = ()  # values that may be equal on several chips
    unique: tuple[str, ...] = ()  # values that are each chip's own; parts of one number joined by +
    new_ledger: bool = False  # a ledger is made where none is: nothing else makes one for real boards
    overrides: frozenset[str] = frozenset()  # refusals of the ledger taken on, as "allow-shared-records"
