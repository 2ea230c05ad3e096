"""Signals that stop a command are heard wherever its main thread waits."""

from __future__ import annotations

import signal
import subprocess
import sys
import time

import pytest

HEARD = """
import os, signal, threading, time
from parburn.cli.signals import stop_signals_interrupt
with stop_signals_interrupt():
    threading.Thread(target=time.sleep, args=(60,), daemon=True).start()
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.Signals(%d)})  # another thread gets it: the read goes on
    print("reading", flush=True)
    try:
        os.read(0, 1)
    except KeyboardInterrupt:
        print("heard", flush=True)
"""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_that_ends_no_read_is_heard_all_the_same(number: signal.Signals) -> None:
    """As one that comes in the moment before the main thread begins to read."""
    with subprocess.Popen(
        [sys.executable, "-c", HEARD % number], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        start_new_session=True, preexec_fn=lambda: signal.signal(number, signal.SIG_DFL),
    ) as child:  # fmt: skip
        try:
            assert child.stdout is not None
            assert child.stdout.readline() == "reading\n"
            time.sleep(0.2)
            child.send_signal(number)
            child.wait(20)  # its input stays open
            assert child.stdout.read() == "heard\n"
        finally:
            child.kill()
