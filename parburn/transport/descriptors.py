"""Room for the descriptors of many ports, made before the first is opened. Opens no port."""

from __future__ import annotations

import contextlib
import os
import resource
from typing import Final

PER_PORT: Final = 5  # the port, and the two pipes by which pyserial could be woken
BESIDE: Final = 64  # ledger, terminal, loop, what scripts open


def make_room(ports: int) -> None:
    """Let the process hold this many open ports: raise its soft limit, and let the kernel's table grow now.

    The kernel doubles the table of a process step by step. In a process with threads each step waits until
    every processor has let go of the old table: 8 to 15 ms (measured, Linux 6.18) in the middle of opening 64
    ports, with all boards waiting. Called before the first thread it costs nothing. A limit that may not be
    raised stays as it is: opening a port then tells.
    """
    wanted = ports * PER_PORT + BESIDE
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        allowed = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
        with contextlib.suppress(OSError, ValueError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (allowed, hard))
            soft = allowed
    place = wanted if soft == resource.RLIM_INFINITY else min(wanted, soft - 1)
    with contextlib.suppress(OSError):
        source = os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC)
        try:
            if not _is_open(place):
                os.dup2(source, place, inheritable=False)
                os.close(place)
        finally:
            os.close(source)


def _is_open(number: int) -> bool:
    try:
        os.fstat(number)
    except OSError:
        return False
    return True
