"""Reset sequences: what the lines do, in order."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pytest

from parburn.errors import UsageError
from parburn.transport import reset
from parburn.transport.reset import apply_reset, sequence_for
from parburn.transport.stream import USB_SERIAL_JTAG, CallbackStream, LineStep


class Lines(CallbackStream):
    """Notes what is to be done with the lines."""

    def __init__(self, port: str = "/dev/ttyUSB0") -> None:
        super().__init__(port, 115200)
        self.moves: list[list[LineStep]] = []

    def write(self, data: bytes) -> None:
        raise AssertionError

    async def move_lines(self, steps: Sequence[LineStep]) -> None:
        self.moves.append([*steps])

    async def set_baud(self, baud: int) -> None:
        raise AssertionError

    async def aclose(self) -> None:
        raise AssertionError


def in_reset(dtr: bool, rts: bool) -> bool:
    """The auto-reset circuit: RTS alone holds EN low."""
    return rts and not dtr


def boot_pin_low(dtr: bool, rts: bool) -> bool:
    """The auto-reset circuit: DTR alone holds the boot pin low."""
    return dtr and not rts


@pytest.mark.parametrize("variant", [*reset.CLASSIC, *reset.REMOTE, *reset.USB_JTAG])
def test_out_of_reset_with_the_boot_pin_low_and_then_free(variant: reset.Sequence) -> None:
    held = [(dtr, rts) for dtr, rts, _ in variant]
    pulse = max(index for index, state in enumerate(held) if in_reset(*state))
    assert variant[pulse][2] >= 0.1
    assert held[-1] == (False, False)
    if variant not in reset.USB_JTAG:  # there the peripheral remembers the boot pin instead
        released = next(index for index in range(pulse, len(held)) if boot_pin_low(*held[index]))
        assert variant[released][2] >= 0.05


def test_hard_reset_ends_with_the_boot_pin_free() -> None:
    for variant in (reset.HARD_RESET, reset.HARD_RESET_USB):
        assert in_reset(*variant[0][:2])
        assert not any(boot_pin_low(dtr, rts) for dtr, rts, _ in variant)
        assert variant[-1][:2] == (False, False)


def test_attempts_go_round_the_variants() -> None:
    stream = Lines()
    chosen = [sequence_for(stream, "default-reset", attempt) for attempt in range(5)]
    assert tuple(chosen) == (*reset.CLASSIC, reset.CLASSIC[0])
    assert len(set(chosen)) == 4
    assert sum(step[2] for step in chosen[1]) > sum(step[2] for step in chosen[0]) + 0.4


def test_choice_of_sequence() -> None:
    usb = Lines("/dev/ttyACM0")
    usb.usb_vid_pid = USB_SERIAL_JTAG
    assert sequence_for(usb, "default-reset", 3) == reset.USB_JTAG[0]
    assert sequence_for(usb, "hard-reset") == reset.HARD_RESET_USB
    assert sequence_for(Lines(), "usb-reset") == reset.USB_JTAG[0]
    assert sequence_for(Lines(), "hard-reset") == reset.HARD_RESET
    assert sequence_for(Lines("rfc2217://host:1"), "default-reset", 1) == reset.REMOTE[1]
    assert sequence_for(Lines(), "no-reset") == sequence_for(Lines(), "no-reset-no-sync") == ()
    without = Lines()
    without.has_lines = False
    assert sequence_for(without, "default-reset") == ()
    with pytest.raises(UsageError) as caught:
        sequence_for(Lines(), "default_reset")  # type: ignore[arg-type]  # as untyped code may
    assert "default-reset" in caught.value.hint


def test_a_sequence_is_handed_over_whole() -> None:
    stream = Lines()
    asyncio.run(apply_reset(stream, "default-reset"))
    asyncio.run(apply_reset(stream, "default-reset", attempt=1))
    asyncio.run(apply_reset(stream, "no-reset"))
    assert [[(dtr, rts) for dtr, rts, _ in move] for move in stream.moves] == 2 * [
        [(False, False), (True, True), (False, True), (True, False), (False, False)]
    ]
    assert [[seconds for *_, seconds in move if seconds] for move in stream.moves] == [
        [0.1, 0.05],
        [0.1, 0.55],
    ]
