"""Adapters that hang: one takes no bytes, one answers no control request. They hold up nobody else.

A driver waits 5 s for each unanswered request. So nothing that may wait runs on the event loop. That is seen
by the thread that makes each system call: the machine is too slow to judge by time.
"""

from __future__ import annotations

from tests.usb.bench import Bench
from tests.usb.devices import Ft232, UsbSerialJtag
from tests.usb.test_pulled import results

MAY_WAIT = (
    "open",
    "tcsetattr",
    "tcgetattr",
    "tcflush",
    "ioctl:TIOCMSET",
    "ioctl:TIOCMGET",
    "ioctl:TIOCMBI",
    "close",
)


def test_a_device_that_takes_no_bytes(bench: Bench) -> None:
    rig = bench.boards("esp32c3:2")
    deaf, healthy = bench.plug_each(rig, UsbSerialJtag, Ft232)
    bench.adapters["2"].device.deaf = True
    done = bench.parburn(*bench.burn(deaf, healthy), "--connect-attempts", "2")
    found = results(done)
    assert found[healthy]["result"] == "pass", done.output
    assert found[deaf]["result"] == "no-answer"
    assert rig.programs(0) == 0


def test_a_device_that_answers_no_control_request(bench: Bench) -> None:
    rig = bench.boards("esp32c3:2")
    mute, healthy = bench.plug_each(rig, UsbSerialJtag, Ft232)
    bench.adapters["2"].device.mute.set()
    done = bench.parburn(*bench.burn(mute, healthy), "--connect-attempts", "1")
    found = results(done)
    assert found[healthy]["result"] == "pass", done.output
    assert found[mute]["result"] in ("no-answer", "failed")
    assert mute in found[mute]["error"]
    assert bench.adapters["2"].device.left_unanswered
    assert rig.programs(0) == 0


def calls(bench: Bench) -> list[list[str]]:
    """Each watched system call of a probe over two drivers: name, tty, thread."""
    nodes = bench.plug_each(bench.boards("esp32c3:2"), Ft232, UsbSerialJtag)
    log = bench.file("calls", "")
    done = bench.parburn("ports", "--probe", *nodes, USB_WATCH=f"{bench.work_in_guest}/{log}")
    assert done.code == 0, done.output
    found = [line.split() for line in (bench.work / log).read_text().splitlines()]
    assert len(found) > 10
    return found


def test_nothing_that_may_wait_runs_on_the_event_loop_and_no_line_is_asked_for(bench: Bench) -> None:
    made = calls(bench)
    assert [call for call in made if call[2] == "loop" and call[0].startswith(MAY_WAIT)] == []
    assert "ioctl:TIOCMGET" not in [call[0] for call in made]  # the state of the lines is known
