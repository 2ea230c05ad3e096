"""Threads that a script starts: their calls are taken in turn, and nothing that one stages is lost."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from parburn.errors import InternalError
from parburn.script.bridge import Bridge, ScriptStopped
from tests.script.board import Board, command, make_board, run

THREADS = """\
import threading, time
failed = []
def work(steps):
    try:
        for step in steps:
            if step == 'burn':
                efuses.burn_all()
            elif step == 'look':
                assert efuses['BLOCK3'].get_bitstring() is not None
            else:
                espefuse(esp, efuses, args, 'burn_bit BLOCK0 %d' % step)
    except BaseException as error:
        failed.append(error)
        raise
threads = [threading.Thread(target=work, args=(steps,)) for steps in {plans}]
for one in threads:
    one.start()
{join}
"""
JOIN = "for one in threads:\n    one.join()\nassert not failed, failed"


def free_bits(board: Board) -> list[int]:
    """Single-bit fields of BLOCK0 that end nothing and lock nothing."""
    chip = board.chip
    ends = {*chip.burned_last, *chip.usb_ends}
    return [
        one.start
        for one in chip.fields
        if one.block == 0 and one.start is not None and one.bits == 1 and one.name not in ends
        and one.name not in ("DIS_USB_JTAG", "DIS_USB_SERIAL_JTAG")
    ]  # fmt: skip


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_whatever_threads_stage_and_burn_all_of_it_is_burned(data: st.DataObject, tmp_path: Path) -> None:
    board = make_board("esp32s3")
    board.burn_s = 0.002
    free = free_bits(board)
    bits = st.sampled_from(free)
    plans = data.draw(
        st.lists(
            st.lists(st.one_of(bits, st.just("burn"), st.just("look")), max_size=6), min_size=2, max_size=5
        )
    )
    ran = run(board, THREADS.format(plans=plans, join=JOIN), folder=tmp_path)
    assert not ran.error, ran.error
    asked = {step for plan in plans for step in plan if isinstance(step, int)}
    assert {bit for bit in free if board.blocks[0] >> bit & 1} == asked


def test_what_is_staged_while_another_thread_burns_is_burned(tmp_path: Path) -> None:
    board = make_board("esp32s3")
    board.burn_s = 0.3
    text = (
        "import threading, time\n"
        + command("burn_bit BLOCK3 1")
        + "burning = threading.Thread(target=efuses.burn_all)\nburning.start()\ntime.sleep(0.1)\n"
        + command("burn_efuse DIS_PAD_JTAG 1")
        + "burning.join()\nprint('staged', efuses['DIS_PAD_JTAG'].get(from_read=False))\n"
    )
    ran = run(board, text, folder=tmp_path)
    assert not ran.error
    assert "staged True" in ran.output
    assert (board.blocks[3], board.bits("DIS_PAD_JTAG"), board.burns) == (2, 1, 2)


def test_two_burns_at_once_are_one_after_the_other(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    board = make_board("esp32s3")
    board.burn_s = 0.05
    whole, at_once = Board.burn, []

    async def burn(self: Board, *args: Any) -> Any:
        at_once.append("begins")
        try:
            return await whole(self, *args)
        finally:
            at_once.append("ends")

    monkeypatch.setattr(Board, "burn", burn)
    text = THREADS.format(plans=[[bit, "burn"] for bit in free_bits(board)[:6]], join=JOIN)
    ran = run(board, text, folder=tmp_path)
    assert not ran.error
    assert at_once == ["begins", "ends"] * board.burns
    assert board.burns


def test_a_burn_that_is_under_way_when_the_script_ends_is_ended_first(tmp_path: Path) -> None:
    """Nobody has joined the thread; what it waited for when the script ended is done, too."""
    board = make_board("esp32s3")
    board.burn_s = 0.3
    text = (
        "import threading, time\n"
        + command("burn_efuse DIS_PAD_JTAG 1")
        + "threading.Thread(target=efuses.burn_all).start()\ntime.sleep(0.1)\n"
        + "def later():\n    espefuse(esp, efuses, args, 'burn_efuse DIS_TWAI 1')\n"
        + "threading.Thread(target=later).start()\ntime.sleep(0.05)\n"
    )
    ran = run(board, text, folder=tmp_path)
    assert not ran.error
    assert (board.bits("DIS_PAD_JTAG"), board.bits("DIS_TWAI"), board.burns) == (1, 1, 2)


def test_what_a_thread_asks_for_after_the_script_has_ended_raises_in_it(tmp_path: Path) -> None:
    board = make_board("esp32s3")
    path = tmp_path / "late"
    text = (
        "import pathlib, threading, time\n"
        "def later():\n"
        "    time.sleep(0.3)\n"
        "    try:\n        espefuse(esp, efuses, args, 'burn_efuse DIS_TWAI 1')\n"
        "    except BaseException as error:\n"
        f"        pathlib.Path({str(path)!r}).write_text(type(error).__name__)\n"
        "threading.Thread(target=later).start()\n"
    )
    ran = run(board, text, folder=tmp_path)
    assert not ran.error
    import time

    deadline = time.monotonic() + 10
    while not (path.exists() and path.read_text()) and time.monotonic() < deadline:
        time.sleep(0.02)
    assert path.read_text() == "ScriptStopped"
    assert board.bits("DIS_TWAI") == 0


def test_a_nested_script_in_a_thread_is_refused(tmp_path: Path) -> None:
    board = make_board("esp32s3")
    (tmp_path / "nested.py").write_text(command("burn_efuse DIS_TWAI 1"))
    text = (
        "import threading\n"
        "def nest():\n"
        f"    try:\n        espefuse(esp, efuses, args, 'execute_scripts {tmp_path}/nested.py')\n"
        "    except esptool.FatalError as error:\n        print('refused:', error)\n"
        "one = threading.Thread(target=nest)\none.start()\none.join()\n"
    )
    ran = run(board, text, folder=tmp_path)
    assert not ran.error
    assert "refused: execute_scripts is refused in a thread" in ran.output
    assert board.bits("DIS_TWAI") == 0


@pytest.mark.parametrize("error", [RuntimeError("a defect"), KeyError("a defect")])
def test_no_script_passes_over_a_defect_of_a_burn(error: Exception, tmp_path: Path) -> None:
    board = make_board("esp32s3")
    board.fails = error  # type: ignore[assignment]  # what nobody expects
    text = command("burn_efuse DIS_TWAI 1") + "try:\n    efuses.burn_all()\nexcept Exception:\n    pass\n"
    ran = run(board, text, folder=tmp_path)
    assert isinstance(ran.outcome.error, InternalError)


def test_a_stop_that_comes_when_the_script_has_ended_loses_no_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It may come anywhere, also where the thread tells the loop that it has ended."""
    whole, late = Bridge.post, [True]

    def interrupted(self: Bridge, function: Callable[[], object]) -> None:
        if getattr(function, "__name__", "") == "end" and late:
            late.pop()
            raise ScriptStopped
        whole(self, function)

    monkeypatch.setattr(Bridge, "post", interrupted)
    began = time.monotonic()
    ran = run(make_board("esp32s3"), "print('here')\n", folder=tmp_path, timeout_s=20.0)
    assert time.monotonic() - began < 10
    assert not late
    assert ran.error
