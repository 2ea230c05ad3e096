"""`parburn sim` as a command: it makes the rig that was asked for, and serves until it is told to end."""

from __future__ import annotations

import argparse
import os
import signal
import socket
import sys
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext

from parburn.errors import ParburnError
from parburn.printable import printable
from parburn.sim.options import parse
from parburn.sim.pty_port import PtyPort
from parburn.sim.rig import Rig
from parburn.sim.state_file import describe, read_board
from parburn.sim.workshop import Workshop


@contextmanager
def _stop_signals(rig: Rig, *, with_parent: bool) -> Iterator[None]:
    """Let SIGINT, SIGTERM, SIGHUP and, if asked, the end of the parent end the rig's loop."""
    ours, theirs = socket.socketpair()
    theirs.setblocking(False)
    rig.stop_on(ours.fileno())
    old_fd = signal.set_wakeup_fd(theirs.fileno(), warn_on_full_buffer=False)
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda *_: None)
    parent = os.pidfd_open(os.getppid()) if with_parent else -1
    if with_parent:
        rig.stop_on(parent)
    try:
        yield
    finally:
        signal.set_wakeup_fd(old_fd)
        ours.close()
        theirs.close()
        if with_parent:
            os.close(parent)


def _rig_of(given: argparse.Namespace, workshop: Workshop) -> tuple[Rig, AbstractContextManager[object]]:
    """Return the rig, and a context in which it takes commands, if it takes any."""
    if not (given.control or given.lines or given.witness or given.cut_pulses):
        ports = [PtyPort(workshop.first_board(place), place.link) for place in workshop.places()]
        return Rig(ports, stay_powered=given.stay_powered, new_board=workshop.new_board), nullcontext()
    from parburn.sim.control import control_of  # here: boards that only stay need none of it
    from parburn.sim.sockets import SocketRig

    sockets = SocketRig(given, workshop)
    return sockets, control_of(given.control, sockets) if given.control else nullcontext()


def main(argv: Sequence[str] | None = None) -> int:
    """Run `parburn sim`. Return the exit code: 0 when it was told to end, 2 for bad input."""
    given = parse(argv)
    try:
        if given.show:
            sys.stdout.write(printable(describe(read_board(given.show))))
            return 0
        what = "sockets" if given.control else "boards"
        rig, control = _rig_of(given, Workshop(given))
        try:
            with _stop_signals(rig, with_parent=given.with_parent):
                rig.open()
                with control:
                    sys.stdout.write(printable(f"ready: {len(rig.ports)} {what} in {given.dir}\n"))
                    sys.stdout.flush()
                    rig.serve()
        finally:
            rig.close()
    except ParburnError as error:
        hint = f"  {error.hint}\n" if error.hint else ""
        sys.stderr.write(printable(f"parburn sim: {error}\n{hint}"))
        return 2
    return 0
