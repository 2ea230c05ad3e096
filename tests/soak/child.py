"""One run of the `parburn` command in a process of its own that may be killed: forked, or started by hand.

`python -m tests.soak.child CRASH MUTATION -- ARGUMENTS` is the same with a fresh interpreter; CRASH and
MUTATION may be "-". A crash is a SIGKILL of this process by itself at a place that is counted, not timed:

    packet ttyUSB3 17 before|torn|after    at the 17th frame to that port: not sent, sent by half, sent
    packet ttyUSB3 17 torn 8               the same, with 8 of its bytes sent
    program|read ttyUSB3 2 torn 8          at the 2nd that gives the eFuse controller this command
    ledger 9 before|after                  at the 9th transaction of the ledger: not begun, committed
    ledger 9 stalls                        not begun, and a while later than it was asked for
    witness 3 before|torn|after            at the 3rd time that its witness is replaced, after a commit
"""

from __future__ import annotations

import os
import select
import signal
import struct
import sys
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import NoReturn

from tests.soak import mutations

SHORT_FLOOR_S = 0.6  # silence that counts as no answer, where nothing but injected silence is to be met
HANG_S = 120.0
STALL_S = 0.3  # of a disk that hangs: many times what a program pulse takes
KILLED = -9
CHIPS = ("esp32", "esp32c3", "esp32s3", "esp32s2", "esp32c6", "esp32h2")
END = b"\xc0"
OP_CODES = {"program": 0x5A5A, "read": 0x5AA5}
WRITE_REG, HEADER_BYTES, ENTRY_BYTES = 0x09, 8, 16


@dataclass(frozen=True)
class Crash:
    """See the module docstring. `sent`: bytes of a torn frame, at most all but its last; 0: the half."""

    kind: str
    number: int
    when: str
    port: str = ""
    sent: int = 0

    def __str__(self) -> str:
        sent = str(self.sent) if self.sent else ""
        return " ".join(part for part in (self.kind, self.port, str(self.number), self.when, sent) if part)

    @classmethod
    def parse(cls, text: str) -> Crash:
        """The reverse of `str()`."""
        kind, *rest = text.split()
        port = "" if kind in ("ledger", "witness") else rest.pop(0)
        return cls(kind, int(rest[0]), rest[1], port, int(rest[2]) if rest[2:] else 0)

    def part_of(self, frame: bytes) -> bytes:
        """What of the frame at which the process dies is sent."""
        torn = frame[: min(self.sent, len(frame) - 1) or len(frame) // 2]
        return {"before": b"", "torn": torn, "after": frame}[self.when]


def die() -> NoReturn:
    """As a power cut or the kernel would end us."""
    os.kill(os.getpid(), signal.SIGKILL)
    raise AssertionError("still alive")


def frames_of(data: bytes) -> list[bytes]:
    """The SLIP frames of what is written at once."""
    parts = data.split(END)
    return [END + body + END for body in parts if body]


@cache
def _op_code_registers() -> frozenset[int]:
    from parburn.chips.registry import chip_named

    return frozenset(chip_named(name).registers["CONF"] for name in CHIPS)


def command_of(frame: bytes) -> str:
    """Which command to the eFuse controller a frame holds, as a chip's row knows it: a name of OP_CODES."""
    packet = frame.strip(END).replace(b"\xdb\xdc", END).replace(b"\xdb\xdd", b"\xdb")
    entries = packet[HEADER_BYTES:]
    if len(packet) < HEADER_BYTES or packet[1] != WRITE_REG or len(entries) % ENTRY_BYTES:
        return ""
    op_codes = [
        value & mask & 0xFFFF
        for address, value, mask, _ in struct.iter_unpack("<4I", entries)
        if address in _op_code_registers()
    ]
    return next((name for name, op_code in OP_CODES.items() if op_code in op_codes), "")


def warm_up() -> None:
    """Import what a run needs, once, in the process that forks: a run then costs no start."""
    from parburn.chips.registry import chip_named
    from parburn.efuse.layout import layout_of

    for name in ("cli", "cli.run", "fleet", "transport.serial", "ui.report_file", "ledger.run_ledger"):
        import_module(f"parburn.{name}")
    for name in CHIPS:
        layout_of(chip_named(name))


def arm(crash: Crash) -> None:
    """Let this process die there."""
    if crash.kind == "ledger":
        _arm_ledger(crash)
    elif crash.kind == "witness":
        _arm_witness(crash)
    else:
        _arm_packets(crash)


def _arm_packets(crash: Crash) -> None:
    from parburn.hardware.rom_link import RomLink

    whole = RomLink._write
    counted = 0

    def write(self: RomLink, data: bytes) -> None:
        nonlocal counted
        frames = frames_of(data) if Path(self.stream.port).name == crash.port else []
        for at, frame in enumerate(frames):
            counted += crash.kind in ("packet", command_of(frame))
            if counted == crash.number:
                self.stream.write(b"".join(frames[:at]) + crash.part_of(frame))
                die()
        whole(self, data)

    RomLink._write = write  # type: ignore[method-assign]  # the one place where a child is made to die


def _arm_ledger(crash: Crash) -> None:
    from parburn.ledger.writer import Writer

    whole = Writer._transact
    begun = 0

    def transact(self: Writer, connection: object, requests: object) -> None:
        nonlocal begun
        begun += 1
        if begun == crash.number and crash.when != "after":
            time.sleep(STALL_S if crash.when == "stalls" else 0.0)
            die()
        whole(self, connection, requests)  # type: ignore[arg-type]  # handed on as it came
        if begun == crash.number:
            die()

    Writer._transact = transact  # type: ignore[method-assign]  # as above


def _arm_witness(crash: Crash) -> None:
    from parburn.ledger import sqlite_store
    from parburn.ledger.witness import Witness
    from parburn.ledger.witness import write_witness as whole

    replace = Path.replace
    begun = 0

    def torn(self: Path, target: Path) -> Path:
        die() if target.name.endswith(".witness") else None
        return replace(self, target)

    def write(ledger: Path, witness: Witness) -> None:
        nonlocal begun
        begun += 1
        if begun == crash.number and crash.when == "before":
            die()
        if begun == crash.number and crash.when == "torn":
            Path.replace = torn  # type: ignore[method-assign, assignment]  # the last that this process does
        whole(ledger, witness)
        if begun == crash.number:
            die()

    sqlite_store.write_witness = write  # type: ignore[attr-defined]  # where it is called


def count_into(path: Path) -> Callable[[], object]:
    """Count the frames that each port is sent, those before its burn, those with each command to the eFuse
    controller, and the ledger's transactions.

    What is returned writes the counts, once the run is over.
    """
    import json

    from parburn.efuse.plan import BurnStep
    from parburn.hardware.controller import Controller
    from parburn.hardware.rom_link import RomLink
    from parburn.ledger.writer import Writer

    counts: dict[str, int] = {"ledger": 0}
    commands: Counter[str] = Counter()
    write_whole, transact_whole = RomLink._write, Writer._transact

    def write(self: RomLink, data: bytes) -> None:
        name, frames = Path(self.stream.port).name, frames_of(data)
        counts[name] = counts.get(name, 0) + len(frames)
        commands.update(filter(None, map(command_of, frames)))
        write_whole(self, data)

    def transact(self: Writer, connection: object, requests: object) -> None:
        counts["ledger"] += 1
        transact_whole(self, connection, requests)  # type: ignore[arg-type]  # handed on as it came

    RomLink._write = write  # type: ignore[method-assign]  # only counts
    Writer._transact = transact  # type: ignore[method-assign]  # only counts
    stage_whole = Controller.stage

    async def stage(self: Controller, step: BurnStep, also_read: Sequence[int] = ()) -> Mapping[int, int]:
        counts.setdefault("before the burn", sum(counts.values()) - counts["ledger"])
        return await stage_whole(self, step, also_read)

    Controller.stage = stage  # type: ignore[method-assign]  # only counts
    return lambda: path.write_text(json.dumps(counts | commands))


@dataclass(frozen=True)
class Ended:
    """How a run ended. `exit` is -9 for one that was killed."""

    exit: int
    stdout: str
    stderr: str


@dataclass
class Running:
    """The command at work in a forked process. `terminal`: where its operator sits, if it asks one."""

    arguments: Sequence[str]
    pid: int
    handle: int
    out: Path
    err: Path
    terminal: int | None = None
    shown: str = ""

    def waits(self, timeout_s: float) -> bool:
        """Wait so long at most; whether it has ended."""
        return bool(select.select([self.handle], [], [], timeout_s)[0])

    def kill(self) -> None:
        """Let it die at once."""
        os.kill(self.pid, signal.SIGKILL)

    def asks(self, pattern: str) -> bool:
        """Read its terminal until the pattern is shown; False: it ended without."""
        assert self.terminal is not None
        deadline = time.monotonic() + HANG_S
        while pattern not in self.shown:
            left = max(0.0, deadline - time.monotonic())
            if not left or not select.select([self.terminal], [], [], left)[0]:
                return False
            try:
                data = os.read(self.terminal, 65536)
            except OSError:  # nobody has the other end
                return False
            self.shown += data.decode("utf-8", "replace")
        return True

    def answer(self, text: str) -> None:
        """Type a line."""
        assert self.terminal is not None
        os.write(self.terminal, text.encode() + b"\n")

    def ended(self, *, kill_after_s: float | None = None) -> Ended:
        """Wait for its end, or kill it after so long. Raises AssertionError when it hangs."""
        hangs = False
        if kill_after_s is not None and not self.waits(kill_after_s):
            self.kill()
        elif self.terminal is not None:
            self.asks("\0")  # nothing that it says: to the end
        if not self.waits(HANG_S):
            hangs = True
            self.kill()
        os.close(self.handle)
        if self.terminal is not None:
            os.close(self.terminal)
        _, status = os.waitpid(self.pid, 0)
        err = self.err.read_text() if self.terminal is None else self.shown
        ended = Ended(os.waitstatus_to_exitcode(status), self.out.read_text(), err)
        if hangs:
            raise AssertionError(f"parburn hangs: {' '.join(self.arguments)}\n{ended.stdout}\n{ended.stderr}")
        return ended


def start_forked(
    arguments: Sequence[str],
    *,
    folder: Path,
    name: str = "",
    crash: Crash | None = None,
    mutation: str = "",
    hasty: bool = False,
    asking: bool = False,
    counts: Path | None = None,
) -> Running:
    """Start the command in a forked process. `name` tells the runs apart that are at work at once.

    `hasty`: silence is believed sooner, so that a silent line costs less time. `asking`: on a terminal.
    """
    out, err = folder / f"stdout{name}.txt", folder / f"stderr{name}.txt"
    sys.stdout.flush()
    master, slave = os.openpty() if asking else (None, None)
    pid = os.fork()
    if pid == 0:
        try:
            _become(out, err, slave)
            code = _main(arguments, crash=crash, mutation=mutation, hasty=hasty, counts=counts)
            sys.stdout.flush()
            sys.stderr.flush()
        except BaseException:
            import traceback

            traceback.print_exc()
            sys.stderr.flush()
            code = 70
        os._exit(code)
    if slave is not None:
        os.close(slave)
    return Running(arguments, pid, os.pidfd_open(pid), out, err, master)


def run_forked(
    arguments: Sequence[str],
    *,
    folder: Path,
    crash: Crash | None = None,
    mutation: str = "",
    hasty: bool = False,
    counts: Path | None = None,
) -> Ended:
    """Run the command in a forked process and wait for its end. Raises AssertionError when it hangs."""
    running = start_forked(
        arguments, folder=folder, crash=crash, mutation=mutation, hasty=hasty, counts=counts
    )
    return running.ended()


def _become(out: Path, err: Path, terminal: int | None) -> None:
    null = os.open(os.devnull, os.O_RDONLY)
    os.dup2(null if terminal is None else terminal, 0)
    for number, path in ((1, out), (2, err)):
        fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644)
        os.dup2(fd, number)
        os.close(fd)
    if terminal is not None:
        os.dup2(terminal, 2)
    sys.stdin = open(0, closefd=False)  # noqa: SIM115 - the process's own, for all its life
    sys.stdout = open(1, "w", closefd=False)  # noqa: SIM115 - the same
    sys.stderr = open(2, "w", closefd=False)  # noqa: SIM115 - the same
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.default_int_handler if number == signal.SIGINT else signal.SIG_DFL)


def _main(
    arguments: Sequence[str], *, crash: Crash | None, mutation: str, hasty: bool, counts: Path | None
) -> int:
    from parburn.cli.main import main as cli_main
    from parburn.hardware import reply_deadline

    if hasty:
        reply_deadline.FLOOR_S = SHORT_FLOOR_S  # type: ignore[misc]  # a constant, but for this
    write_counts = count_into(counts) if counts is not None else None
    if mutation:
        mutations.apply(mutation)
    if crash is not None:
        arm(crash)
    code = cli_main(list(arguments))
    if write_counts is not None:
        write_counts()
    return code


def main() -> int:
    """Start by hand: see the module docstring."""
    crash, mutation, _, *arguments = sys.argv[1:]
    began = time.monotonic()
    code = _main(
        arguments,
        crash=None if crash == "-" else Crash.parse(crash),
        mutation="" if mutation == "-" else mutation,
        hasty=False,
        counts=None,
    )
    sys.stderr.write(f"{time.monotonic() - began:.2f} s\n")
    return code


if __name__ == "__main__":
    sys.exit(main())
