"""Burning over three drivers, and what the adapters were told meanwhile."""

from __future__ import annotations

from functools import partial

import pytest

from tests.usb.bench import Bench
from tests.usb.devices import Cp2102, Ft232, Lines, UsbSerialJtag

BOTH, NEITHER, HELD = Lines(True, True), Lines(False, False), Lines(False, True)


def test_every_driver_burns_and_only_the_reset_sequence_resets(bench: Bench) -> None:
    rig = bench.boards("esp32c3:2,esp32s3:1,esp32c6:1")
    nodes = bench.plug_each(rig, Ft232, Ft232, UsbSerialJtag, Cp2102)
    resets: list[str] = []
    for adapter in bench.adapters.values():
        adapter.on_reset(partial(resets.append, adapter.name))
    done = bench.parburn(*bench.burn(*nodes))
    assert done.code == 0, done.output
    assert all(rig.programs(number) for number in range(4))
    assert sorted(resets) == sorted(adapter.name for adapter in bench.adapters.values())  # one each
    for adapter in bench.adapters.values():
        history = adapter.chip.history
        assert history[0] == BOTH  # the kernel raises both at open, in one request: no reset
        assert history[-1] == NEITHER  # and the chip is free in the end
        assert HELD in history


def test_a_board_that_a_reset_takes_down_is_found(bench: Bench) -> None:
    """Its supply goes with each reset through the lines, as with a board that begins anew."""
    rig = bench.boards("esp32c3:2")
    nodes = bench.plug_each(rig, Ft232, Cp2102)
    for adapter in bench.adapters.values():
        adapter.on_reset(adapter.board.power_cycle)
    done = bench.parburn(*bench.burn(*nodes))
    assert done.code == 0, done.output
    assert all(adapter.board.power_cycles == 1 for adapter in bench.adapters.values())


def test_low_latency_is_asked_for(bench: Bench) -> None:
    (node,) = bench.plug_each(bench.boards("esp32c3:1"))
    chip = bench.adapters["2"].chip
    assert isinstance(chip, Ft232)
    with bench.held({node: "tcflush"}, ["ports", "--probe", node]) as running:
        before = chip.latency_ms
    assert bench.ended(running).code == 0
    assert before == 16
    assert 1 in chip.latencies


def test_low_latency_is_put_back_at_the_end(bench: Bench) -> None:
    (node,) = bench.plug_each(bench.boards("esp32c3:1"))
    assert bench.parburn("ports", "--probe", node).code == 0
    chip = bench.adapters["2"].chip
    assert isinstance(chip, Ft232)
    assert chip.latencies[-1] == 16


@pytest.mark.parametrize("chip", [Ft232, Cp2102, UsbSerialJtag])
def test_the_last_close_tells_the_adapter_nothing(
    bench: Bench, chip: type[Ft232 | Cp2102 | UsbSerialJtag]
) -> None:
    (node,) = bench.plug_each(bench.boards("esp32c3:1"), chip)
    history = bench.adapters["2"].chip.history
    with bench.held({node: "close"}, ["ports", "--probe", node]) as running:
        told = len(history)
    assert bench.ended(running).code == 0
    assert len(history) == told
