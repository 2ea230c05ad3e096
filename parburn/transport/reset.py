"""How DTR and RTS put a chip into download mode, as data: steps of (dtr, rts, seconds to hold them).

True is "asserted", as pyserial counts it. On the usual auto-reset circuit the chip is held in reset by RTS
without DTR, and the boot pin is low with DTR without RTS; both or neither leave the chip alone. (Sequences:
"Boot Mode Selection" in the esptool documentation.)
"""

from __future__ import annotations

from typing import Final, Literal, get_args

from parburn.errors import UsageError
from parburn.transport.stream import USB_SERIAL_JTAG, ByteStream, LineStep

Sequence = tuple[LineStep, ...]

_SHORT: Final = 0.05  # seconds the boot pin stays low after reset
_LONG: Final = 0.55  # for boards whose capacitor holds the chip in reset for long


def _tight(boot_pin_s: float) -> Sequence:
    """Return steps in which the lines change together: no state in between reaches the circuit."""
    return (
        (False, False, 0),
        (True, True, 0),
        (False, True, 0.1),
        (True, False, boot_pin_s),
        (False, False, 0),
    )


def _classic(boot_pin_s: float) -> Sequence:
    """Return steps that move one line after the other, for circuits that differ from the usual one."""
    return (
        (False, False, 0),
        (False, True, 0.1),
        (True, True, 0),
        (True, False, boot_pin_s),
        (False, False, 0),
    )


CLASSIC: Final[tuple[Sequence, ...]] = (_tight(_SHORT), _tight(_LONG), _classic(_SHORT), _classic(_LONG))
REMOTE: Final[tuple[Sequence, ...]] = (_classic(_SHORT), _classic(_LONG))
USB_JTAG: Final[tuple[Sequence, ...]] = (
    (
        (False, False, 0.1),
        (True, False, 0.1),
        (True, True, 0),  # through "both" and not "neither", which the peripheral takes for idle
        (False, True, 0.1),
        (False, False, 0),
    ),
)
HARD_RESET: Final[Sequence] = ((False, True, 0.1), (False, False, 0))
HARD_RESET_USB: Final[Sequence] = ((False, True, 0.2), (False, False, 0.2))


ResetMode = Literal["default-reset", "usb-reset", "no-reset", "no-reset-no-sync", "hard-reset"]
MODES: Final[tuple[str, ...]] = get_args(ResetMode)


def sequence_for(stream: ByteStream, mode: ResetMode, attempt: int = 0) -> Sequence:
    """Return the steps for a mode; empty for a port without lines, and for the modes without a reset.

    Args:
        attempt: 0, 1, 2 ...; each takes the next variant of the sequence, and after the last the first again.

    Raises:
        UsageError: there is no such mode.
    """
    if mode not in MODES:
        raise UsageError(f"{mode} is not a reset mode", hint="one of " + ", ".join(MODES))
    if not stream.has_lines or mode.startswith("no-reset"):
        return ()
    over_usb_jtag = stream.usb_vid_pid == USB_SERIAL_JTAG
    if mode == "hard-reset":
        return HARD_RESET_USB if over_usb_jtag else HARD_RESET
    if mode == "usb-reset" or over_usb_jtag:
        variants = USB_JTAG
    else:
        variants = REMOTE if "://" in stream.port else CLASSIC
    return variants[attempt % len(variants)]


async def apply_reset(stream: ByteStream, mode: ResetMode, *, attempt: int = 0) -> None:
    """Move the lines as the mode says; a port without lines (pty, socket) is left alone.

    The whole sequence is handed over at once: its times are kept where the lines are, and a busy loop does
    not stretch them.

    Raises:
        PortGone: the port vanished.
        NoAnswer: the adapter did not carry it out in time.
        UsageError: there is no such mode.
    """
    if steps := sequence_for(stream, mode, attempt):
        await stream.move_lines(steps)
