"""Boards that are pulled: in each system call of opening, in each step of a run, in a probe.

Whatever the moment, the port is named and said to be gone, nothing is called a defect of parburn (`Bench`
looks at that), the other boards go on, and the same board passes when it is back.
"""

from __future__ import annotations

from typing import Any

import pytest

from tests.usb.bench import Bench
from tests.usb.devices import Cp2102, Ft232, UsbSerialJtag
from tests.usb.machine import Done

OPENING = ("open", "tcgetattr", "tcsetattr", "ioctl:TIOCMBIS", "tcflush", "ioctl:TIOCEXCL")


def results(done: Done) -> dict[str, dict[str, Any]]:
    """The result of each port."""
    return {event["port"]: event for event in done.events if event["event"] == "result"}


def again(bench: Bench, port: str, pty: str, words: list[str]) -> None:
    """Put the board back: all boards pass, without a burn too many."""
    bench.plug(port, pty)
    bench.node(port)
    done = bench.parburn(*words)
    assert done.code == 0, done.output


def test_while_it_is_opened(bench: Bench) -> None:
    """Six boards at once, each in another call."""
    nodes = bench.plug_each(bench.boards("esp32c3:6"))
    done = bench.pulled_at(dict(zip(nodes, OPENING, strict=True)), ["--dry-run", *bench.burn(*nodes)])
    assert done.code == 1
    found = results(done)
    assert set(found) == set(nodes)
    for node, result in found.items():
        assert result["error"] in (f"{node} is gone", f"there is no {node}")
        assert "cable" in result["hint"]


def test_while_it_is_opened_by_other_drivers(bench: Bench) -> None:
    nodes = bench.plug_each(bench.boards("esp32c3:4"), UsbSerialJtag, UsbSerialJtag, Cp2102, Cp2102)
    calls = ("tcsetattr", "tcflush", "tcsetattr", "tcflush")
    done = bench.pulled_at(dict(zip(nodes, calls, strict=True)), ["--dry-run", *bench.burn(*nodes)])
    assert {node: result["error"] for node, result in results(done).items()} == {
        node: f"{node} is gone" for node in nodes
    }


def test_in_a_probe_it_does_not_end_the_probe_of_the_others(bench: Bench) -> None:
    rig = bench.boards("esp32c3:2")
    one, other = bench.plug_each(rig)
    done = bench.pulled_at({one: "tcflush"}, ["ports", "--probe", "--json", one, other])
    assert done.code == 1
    rows = {row["port"]: row for row in done.events}
    assert f"{one} is gone" in rows[one]["error"]
    assert rows[other]["mac"] == rig.mac(1)


@pytest.mark.parametrize("step", ["connecting", "identifying", "burning"])
def test_in_a_step_of_the_run(bench: Bench, step: str) -> None:
    rig = bench.boards("esp32c3:3")
    nodes = bench.plug_each(rig, Ft232, Ft232, UsbSerialJtag)
    words = bench.burn(*nodes)
    running = bench.start(*words)
    running.until(f'"port": "{nodes[0]}", "step": "{step}"')
    bench.pull("2")
    done = bench.ended(running)
    assert done.code == 1, done.output
    found = results(done)
    assert [found[node]["result"] for node in nodes[1:]] == ["pass", "pass"]
    assert found[nodes[0]]["result"] in ("no-answer", "failed", "incomplete")
    assert nodes[0] in found[nodes[0]]["error"]
    again(bench, "2", rig.ports[0], words)


def test_while_it_waits_for_the_others_its_wait_ends_at_once(bench: Bench) -> None:
    held, pulled = bench.plug_each(bench.boards("esp32c3:2"))
    with bench.held({held: "tcsetattr"}, bench.burn(held, pulled)) as running:
        running.until(f'"port": "{pulled}", "step": "waiting"')
        bench.pull("3")
        running.until(f'"event": "result", "port": "{pulled}"', timeout_s=20)
    assert results(bench.ended(running))[held]["result"] == "pass"


def test_while_it_waits_for_the_others_it_is_not_counted(bench: Bench) -> None:
    rig = bench.boards("esp32c3:2")
    held, pulled = bench.plug_each(rig)
    with bench.held({held: "tcsetattr"}, ["--expect", "2", *bench.burn(held, pulled)]) as running:
        running.until(f'"port": "{pulled}", "step": "waiting"')
        bench.pull("3")
    assert bench.ended(running).code == 2
    assert rig.programs(0) == rig.programs(1) == 0
