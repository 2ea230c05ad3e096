"""Errors where nobody waits, in a thread or a callback: a sentence; with --debug what Python prints."""

from __future__ import annotations

import asyncio
import threading
from typing import Any

import pytest

from parburn.cli import background


def thread_that_fails(module: str) -> None:
    """A thread whose code belongs to this module."""
    names: dict[str, Any] = {"__name__": module}
    exec("def fails():\n    raise ValueError('from the far side')\n", names)
    thread = threading.Thread(target=names["fails"])
    thread.start()
    thread.join()


def run(module: str, *, debug: bool = False) -> list[str]:
    said: list[str] = []

    async def main() -> None:
        with background.told(said.append, debug=debug):
            await asyncio.to_thread(thread_that_fails, module)
            await asyncio.sleep(0.01)

    asyncio.run(main())
    return said


def quiet_pytest(monkeypatch: pytest.MonkeyPatch) -> list[threading.ExceptHookArgs]:
    """What reaches the hook that was there before."""
    passed: list[threading.ExceptHookArgs] = []
    monkeypatch.setattr(threading, "excepthook", passed.append)
    return passed


@pytest.mark.parametrize(
    "module", sorted({*background.LIBRARIES, "serial.rfc2217", "parburn.transport.serial"})
)
def test_a_thread_of_a_library_prints_no_traceback(
    module: str, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    passed = quiet_pytest(monkeypatch)
    (said,) = run(module)
    assert "ValueError: from the far side" in said
    assert "--debug" in said
    assert passed == []
    assert capfd.readouterr().err == ""


@pytest.mark.parametrize(
    ("module", "debug"), [("__main__", False), ("a_users_module", False), ("serial", True)]
)
def test_a_scripts_own_thread_and_debug_show_what_python_shows(
    module: str, debug: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    passed = quiet_pytest(monkeypatch)
    assert run(module, debug=debug) == []
    assert len(passed) == 1


def test_the_hooks_are_put_back(monkeypatch: pytest.MonkeyPatch) -> None:
    before = threading.excepthook

    async def main() -> None:
        with background.told(print, debug=False):
            assert threading.excepthook is not before
        assert asyncio.get_running_loop().get_exception_handler() is None

    asyncio.run(main())
    assert threading.excepthook is before


def test_a_callback_that_fails_prints_no_traceback(capfd: pytest.CaptureFixture[str]) -> None:
    said: list[str] = []

    def fails() -> None:
        raise KeyError("a callback")

    async def main() -> None:
        with background.told(said.append, debug=False):
            asyncio.get_running_loop().call_soon(fails)
            await asyncio.sleep(0.01)

    asyncio.run(main())
    assert len(said) == 1
    assert "KeyError" in said[0]
    assert capfd.readouterr().err == ""
