"""A run as a list of events: four boards that end in four ways. Used by all tests of what is shown."""

from __future__ import annotations

import io
from collections.abc import Iterable

from parburn.events import (
    BlockBurned,
    Claimed,
    DeviceReport,
    Event,
    Finished,
    Identified,
    Note,
    Planned,
    PlannedBlock,
    Result,
    RunFinished,
    RunStarted,
    ScriptOutput,
    StepChanged,
)
from parburn.ui.fanout import Observer
from parburn.ui.nonblocking_writer import NonblockingWriter

PORTS = tuple(f"/dev/ttyUSB{number}" for number in (0, 1, 2, 10))
SLOTS = tuple(f"pci-0000:00:14.0-usb-0:1.{number}:1.0-port0" for number in (1, 2, 3, 4))
MACS = tuple(f"7c:df:a1:00:00:0{number}" for number in range(4))
BLOCKS = (
    PlannedBlock("BLOCK_KEY0", 131, ("BLOCK_KEY0",), locks=False),
    PlannedBlock("BLOCK0", 3, ("KEY_PURPOSE_0", "WR_DIS"), locks=True),
)

REPORTS = (
    DeviceReport(PORTS[0], SLOTS[0], Result.PASS, "esp32c3", MACS[0], 5, {"CUSTOM_MAC": "aa:bb"},
                 burned="all 2 steps were burned and verified", seconds=0.4123, blocks_done=2, blocks_total=2,
                 output="hello from 5\n", turns=10, tx_bytes=3297, rx_bytes=2640),
    DeviceReport(PORTS[1], SLOTS[1], Result.INCOMPLETE, "esp32c3", MACS[1], 6, error="the port vanished",
                 error_kind="PortGone", burned="1 of 2 steps were burned and verified",
                 next_step="Run the same command again with this board.", seconds=1.5, blocks_done=1,
                 blocks_total=2, output="".join(f"line {n}\n" for n in range(30))),
    DeviceReport(PORTS[2], SLOTS[2], Result.ALREADY_PASS, "esp32c3", MACS[2], 2, seconds=0.1),
    DeviceReport(PORTS[3], SLOTS[3], Result.QUARANTINED, "esp32c3", MACS[3], 7,
                 error="BLOCK1 shows\nother bits \x1b[31mthan planned", burned="all of BLOCK1",
                 next_step="Take the board out of the line.", seconds=12.0, traceback_text="line 1\nline 2"),
)  # fmt: skip
FINISHED = RunFinished("", 4, 2, 2, 5, "parburn --ports a --scripts b")


def started(**options: bool) -> RunStarted:
    return RunStarted("", PORTS, SLOTS, **options)


def story() -> list[Event]:
    """Everything from the first event to the last."""
    events: list[Event] = [Note("", "this is a new ledger"), started()]
    for port, report in zip(PORTS, REPORTS, strict=True):
        assert report.index is not None
        events += [
            StepChanged(port, "connecting"),
            Identified(port, report.chip, report.mac, "v0.4", 40),
            Claimed(port, report.index, known=report.result is Result.ALREADY_PASS),
            StepChanged(port, "scripting"),
            ScriptOutput(port, "printed \x1b[2Jby the script\n"),
            Planned(port, BLOCKS, 1),
            StepChanged(port, "burning"),
            BlockBurned(port, "BLOCK_KEY0", 1, 2),
        ]
    events.append(Note(PORTS[1], "the line is noisy", "warning"))
    events += [Finished(report.port, report) for report in REPORTS]
    return [*events, FINISHED]


def tell(observer: Observer, events: Iterable[Event]) -> None:
    for event in events:
        observer.emit(event)
    observer.close()


def captured() -> tuple[io.StringIO, NonblockingWriter]:
    """A stream without a descriptor, and a writer that writes straight into it."""
    stream = io.StringIO()
    return stream, NonblockingWriter(stream)
