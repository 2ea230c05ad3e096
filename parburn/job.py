"""What the operator asked for, as one frozen value. Made by the command line, read by everything below it."""

from __future__ import annotations

from pathlib import Path
from typing import Literal, NamedTuple

Before = Literal["default-reset", "usb-reset", "no-reset", "no-reset-no-sync"]  # how the loader is reached
After = Literal["no-reset", "hard-reset", "soft-reset", "watchdog-reset"]  # of a board that passed


class TableOption(NamedTuple):
    """One `--extend-efuse-table [CHIP=]CSV`. `chip` is None when it is meant for every chip of the run."""

    chip: str | None
    path: Path


class Job(NamedTuple):
    """One run. Paths are as the operator gave them; nothing here has been opened yet."""

    ports: tuple[str, ...]  # expanded, without doubles, naturally sorted
    scripts: tuple[Path, ...]
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
