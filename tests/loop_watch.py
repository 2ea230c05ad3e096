"""Finds calls of ours that block an event loop: in the tests, and in the command that the tests start.

Imports nothing of the other tests: a command loads it by its path, before all else (`on_start/`).
"""

from __future__ import annotations

import os
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import blockbuster.blockbuster
from blockbuster import BlockBuster, BlockingError
from blockbuster.blockbuster import BlockBusterFunction

LOG = "PARBURN_TESTS_BLOCKED"  # of the environment: the file that tells who blocked a loop
ON_START = Path(__file__).with_name("on_start")
SYNCS = ("os.fsync", "os.fdatasync")  # blockbuster does not know them; a ledger is nothing without them

# Where our code may block the loop, and why: a file, and its functions with all that they call.
MAY_BLOCK = (
    # Chip rows: files of the package, once a process.
    ("parburn/chips/index.py", ("text_of",)),
    # The head of a trace file, before any port is opened.
    ("parburn/run/traces.py", ("__init__",)),
    # Names of config files, once a run; folders of Python and modules that are loaded already.
    ("parburn/script/inputs.py", ("__init__", "_python_folders", "_imported_before")),
    # Files that the kernel keeps in memory: /dev and /sys. No disk, and no other process, is asked.
    ("parburn/transport/tty.py", ("is_pty", "_sysfs_device", "usb_ids")),
    # A file of some bytes that stays in memory, and is made once a boot; a name in /proc.
    ("parburn/transport/lock_file.py", ("is_in_place", "lock_path", "_opened", "_make")),
    ("parburn/transport/lines_lock.py", ("_name_of",)),
    # The log goes where the caller of the library sends it.
    ("logging/__init__.py", ("emit",)),
    # A terminal that the loop has found readable.
    ("parburn/ui/prompt.py", ("take",)),
    # A test pulls a board at an event, which it hears of in the loop's thread.
    ("tests/run/test_lost_port.py", ("pull",)),
    # The bench that compares with espefuse drives a board without threads, all in its loop.
    ("tests/peers/board.py", ("_step", "_identify")),
    # A test makes its config files and reads them where a loop runs already.
    ("tests/ledger/test_batches.py", ("files",)),
)


class _Noted(BlockingError):
    """Notes itself: what our code makes of it (a board that failed) must not hide it."""

    def __init__(self, function: str) -> None:
        super().__init__(function)
        stack = "".join(traceback.format_stack(limit=30)[:-2])
        if LOG in os.environ:  # not between two tests
            with Path(os.environ[LOG]).open("a") as log:
                log.write(f"{function}:\n{stack}\n")


def watcher() -> BlockBuster:
    """What finds all blocking calls that come from our package while a loop runs in their thread.

    A simulator is a process of its own, whose loop serves nobody else.
    """
    blockbuster.blockbuster.BlockingError = _Noted  # type: ignore[assignment, misc]  # or none is heard of
    simulator = ["parburn.sim"]
    found = BlockBuster("parburn", excluded_modules=simulator)
    for name in SYNCS:
        found.functions[name] = BlockBusterFunction(
            None, name, scanned_modules="parburn", excluded_modules=simulator
        )
    for function in found.functions.values():
        for file, names in MAY_BLOCK:
            function.can_block_in(file, names)
    return found


@contextmanager
def watching(found: BlockBuster, log: Path) -> Iterator[None]:
    """Watch, here and in each `parburn` that is started. Raises AssertionError when a loop was blocked.

    `found` stays active: methods of C types are patched too, which is not to be done thousands of times.
    """
    before = {name: os.environ.get(name) for name in (LOG, "PYTHONPATH")}
    os.environ[LOG] = str(log)
    os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, (str(ON_START), before["PYTHONPATH"])))
    log.unlink(missing_ok=True)
    found.activate()
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value
    assert not log.exists(), f"the loop was blocked by {log.read_text()}"
