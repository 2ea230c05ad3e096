"""How scripts run: compiled once, one thread each, and whatever one does harms only its own board."""

from __future__ import annotations

import os
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from types import FrameType
from typing import Any

import anyio
import pytest

from parburn.errors import (
    BurnError,
    ScriptExited,
    ScriptFailed,
    ScriptSyntaxError,
    ScriptTimeout,
    UsageError,
    VerifyFailed,
)
from parburn.script import runner
from parburn.script.clock import ScriptClock
from parburn.script.compiled import compile_scripts
from parburn.script.session import ScriptOptions
from tests.script.board import Ran, command, make_board, run, run_async

BURN = command("burn_efuse DIS_PAD_JTAG")


def test_a_syntax_error_names_file_and_line(tmp_path: Path) -> None:
    path = tmp_path / "bad.py"
    path.write_text("x = 1\nif x\n")
    with pytest.raises(ScriptSyntaxError, match=r"bad\.py:2: "):
        compile_scripts([path])


def test_a_missing_script_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="cannot be read"):
        compile_scripts([tmp_path / "none.py"])


def test_names_and_digest_of_scripts(tmp_path: Path) -> None:
    (tmp_path / "a.py").write_text(BURN)
    (tmp_path / "b.py").write_text(BURN)
    one, other = compile_scripts([tmp_path / "a.py"]), compile_scripts([tmp_path / "b.py"])
    assert "DIS_PAD_JTAG" in one.mentioned
    assert one.digest == other.digest


def test_what_is_staged_is_left_for_the_device(tmp_path: Path) -> None:
    ran = run(make_board("esp32c3"), BURN, folder=tmp_path)
    assert ran.outcome.error is None
    assert ran.outcome.staged
    assert ran.outcome.had_staged
    assert ran.board.bits("DIS_PAD_JTAG") == 1


def test_a_script_that_raises_burns_nothing_and_says_its_line(tmp_path: Path) -> None:
    ran = run(make_board("esp32c3"), BURN + "def f():\n    return 1 / 0\n\nf()\n", folder=tmp_path)
    error = ran.outcome.error
    assert isinstance(error, ScriptFailed)
    assert str(error).endswith("script0.py:3: ZeroDivisionError: division by zero")
    assert "return 1 / 0" in error.traceback_text
    assert "in f\n" in error.traceback_text
    assert "parburn/script" not in error.traceback_text
    assert not ran.outcome.staged
    assert ran.outcome.had_staged
    assert ran.board.burns == 0


def test_a_refusal_that_nobody_catches_keeps_its_words_and_hint(tmp_path: Path) -> None:
    ran = run(make_board("esp32c3"), "x = 1\n" + command("burn_efuse DIS_PAD_JTAGG"), folder=tmp_path)
    assert "script0.py:2: " in ran.error
    assert "DIS_PAD_JTAGG" in ran.error
    assert "DIS_PAD_JTAG" in f"{ran.outcome.error and ran.outcome.error.hint}"
    assert isinstance(ran.outcome.error, ScriptFailed)
    assert "verbs.py" not in ran.outcome.error.traceback_text


def test_a_key_in_the_source_is_not_shown(tmp_path: Path) -> None:
    key = "5ec4e70a1b2c3d4f" * 4
    source = f"espefuse.burn_key(['BLOCK_KEY0'], [b''], ['HMAC_UP'], digest=[bytes.fromhex('{key}')])\n"
    ran = run(make_board("esp32c3"), source + f"k = int('{key}', 2)\n", folder=tmp_path)
    assert isinstance(ran.outcome.error, ScriptFailed)
    assert key not in ran.outcome.error.traceback_text
    assert "int('??', 2)" in ran.outcome.error.traceback_text


def test_a_digest_that_is_no_key_stays_in_what_a_script_says(tmp_path: Path) -> None:
    digest = "5ec4e70a1b2c3d4f" * 4
    ran = run(make_board("esp32c3"), BURN + f"raise ValueError('{digest}')\n", folder=tmp_path)
    assert ran.error.endswith(f"ValueError: {digest}")


@pytest.mark.parametrize("ending", ["exit()", "import sys; sys.exit(0)", "raise SystemExit", "quit(1)"])
def test_exit_drops_what_is_staged(tmp_path: Path, ending: str) -> None:
    ran = run(make_board("esp32c3"), BURN + ending + "\n", folder=tmp_path)
    assert isinstance(ran.outcome.error, ScriptExited)
    assert "script0.py:2: " in ran.error
    assert not ran.outcome.staged
    assert not sys.stdin.closed


def test_a_script_past_its_deadline_is_stopped(tmp_path: Path) -> None:
    source = BURN + "while True:\n    try:\n        pass\n    except Exception:\n        pass\n"
    ran = run(make_board("esp32c3"), source, folder=tmp_path, timeout_s=0.2)
    assert isinstance(ran.outcome.error, ScriptTimeout)
    assert "longer than 0.2 s" in ran.error
    assert not ran.outcome.staged


@pytest.fixture(params=["nobody looks on", "a tracer", "a tracer of the main thread"])
def looked_on(request: pytest.FixtureRequest) -> Iterator[str]:
    """A debugger or coverage, which has a trace function in each thread or in one."""

    def trace(frame: FrameType, event: str, arg: object) -> Any:
        return trace

    before = sys.gettrace(), threading.gettrace()
    if request.param != "nobody looks on":
        sys.settrace(trace)
    if request.param == "a tracer":
        threading.settrace(trace)
    yield request.param
    sys.settrace(before[0])
    threading.settrace(before[1])


@pytest.mark.usefixtures("looked_on")
def test_a_script_that_sleeps_is_stopped_when_it_wakes(tmp_path: Path) -> None:
    source = "import time\ntime.sleep(0.7)\nwhile True:\n    pass\n"
    ran = run(make_board("esp32c3"), source, folder=tmp_path, timeout_s=0.3)
    assert isinstance(ran.outcome.error, ScriptTimeout)
    assert "given up" not in ran.error
    assert "script0.py:" in ran.error


@pytest.mark.usefixtures("looked_on")
def test_a_script_that_cannot_be_stopped_is_given_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runner, "GRACE_S", 0.1)
    source = "import time\ntime.sleep(1.5)\nprint('late')\nefuses.burn_all()\n"
    board = make_board("esp32c3")
    started = time.monotonic()
    ran = run(
        board, BURN + source, folder=tmp_path, timeout_s=0.5
    )  # on a busy machine it sleeps by then, too
    assert isinstance(ran.outcome.error, ScriptTimeout)
    assert "given up" in ran.error
    assert time.monotonic() - started < 1.3
    for thread in threading.enumerate():
        if thread.name.startswith("script "):
            assert thread.daemon
            thread.join(5)
    assert board.burns == 0  # it went on, and reached no chip


def test_a_script_that_swallows_the_deadline_reaches_no_chip(tmp_path: Path) -> None:
    source = (
        "import time\n"
        "try:\n"
        "    while True: time.sleep(0.01)\n"
        "except BaseException: pass\n"
        "espefuse(esp, efuses, args, 'burn_efuse DIS_PAD_JTAG')\n"
        "efuses.burn_all()\n"
    )
    ran = run(make_board("esp32c3"), source, folder=tmp_path, timeout_s=0.2)
    assert isinstance(ran.outcome.error, ScriptTimeout)
    assert ran.board.burns == 0


def test_the_clock_stands_still_while_burning(tmp_path: Path) -> None:
    board = make_board("esp32c3")
    board.burn_s = 0.6
    ran = run(board, BURN + "efuses.burn_all()\n", folder=tmp_path, timeout_s=0.3)
    assert ran.outcome.error is None
    assert board.burns == 1


def test_clock() -> None:
    now = [0.0]
    clock = ScriptClock(10, now=lambda: now[0])
    now[0] = 4
    with clock.paused():
        now[0] = 100
        assert clock.is_paused
        assert clock.remaining() == 6
    now[0] = 103
    assert clock.remaining() == 3
    clock.pause()
    clock.pause()
    clock.resume()
    clock.resume()
    assert not clock.is_paused


def test_output_goes_to_the_board_and_nowhere_else(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source = (
        "import sys, logging, threading\n"
        "print('printed', end='!')\n"
        "sys.stdout.write('written\\n')\n"
        "print('to stderr', file=sys.stderr)\n"
        "log = logging.getLogger('x'); log.propagate = False; log.addHandler(logging.StreamHandler())\n"
        "log.warning('logged')\n"
        "thread = threading.Thread(target=lambda: print('from a thread'))\n"
        "thread.start(); thread.join()\n"
    )
    before = sys.stdout
    ran = run(make_board("esp32c3"), source, folder=tmp_path)
    assert ran.output.startswith("printed!written\nto stderr\n")
    assert "logged" in ran.output
    assert "from a thread" in ran.output
    assert sys.stdout is before
    captured = capsys.readouterr()
    assert captured.out == captured.err == ""


def test_what_the_device_prints_meanwhile_is_not_the_scripts(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    board = make_board("esp32c3", known=())
    read = board.read_blocks

    async def talkative(indexes: frozenset[int]) -> object:
        sys.stdout.write("the device reads")
        return await read(indexes)

    board.read_blocks = talkative  # type: ignore[method-assign,assignment]  # a board that prints
    ran = run(board, "print(efuses['DIS_PAD_JTAG'].get())", folder=tmp_path)
    assert ran.output == "False\n"
    assert "the device reads" in capsys.readouterr().out


def test_many_boards_at_once_keep_apart(tmp_path: Path) -> None:
    source = (
        "import time\n"
        "name = 'board %d' % args.index\n"
        "def who(): return name\n"
        "for _ in range(20):\n"
        "    print(who()); time.sleep(0.001)\n"
        "if args.index == 3: raise ValueError('three')\n"
        "if args.index == 4: exit()\n"
        "espefuse(esp, efuses, args, 'burn_efuse DIS_PAD_JTAG')\n"
    )
    (tmp_path / "s.py").write_text(source)
    scripts = compile_scripts([tmp_path / "s.py"])
    results: dict[int, Ran] = {}

    async def all_boards() -> None:
        async def one(index: int) -> None:
            results[index] = await run_async(make_board("esp32c3"), scripts, ScriptOptions(), index=index)

        async with anyio.create_task_group() as group:
            for index in range(1, 9):
                group.start_soon(one, index)

    anyio.run(all_boards)
    for index, ran in results.items():
        burned = "" if index in (3, 4) else "DIS_PAD_JTAG: False -> True\n"
        assert ran.output == f"board {index}\n" * 20 + burned
        assert (ran.outcome.error is None) == (index not in (3, 4))
        assert ran.board.bits("DIS_PAD_JTAG") == (index not in (3, 4))


def test_a_cancelled_run_lets_its_script_reach_nothing(tmp_path: Path) -> None:
    (tmp_path / "s.py").write_text("import time\ntime.sleep(0.3)\n" + BURN + "efuses.burn_all()\n")
    board = make_board("esp32c3")
    scripts = compile_scripts([tmp_path / "s.py"])

    async def cancelled() -> None:
        with anyio.move_on_after(0.1):
            await run_async(board, scripts, ScriptOptions())

    anyio.run(cancelled)
    for thread in threading.enumerate():
        if thread.name.startswith("script "):
            thread.join(5)
    assert board.burns == 0


@pytest.mark.parametrize(
    ("source", "words"),
    [
        ("input('which?')", "input() is refused"),
        ("import os; os.chdir('/')", "os.chdir is refused"),
        ("os.chdir('/')", "os.chdir is refused"),
        ("import contextlib\nwith contextlib.chdir('/'): pass", "os.chdir is refused"),
        ("import os\nos._exit(3)", "os._exit is refused"),
        ("os.fork()", "os.fork is refused"),
    ],
)
def test_what_would_hit_other_boards_is_refused(tmp_path: Path, source: str, words: str) -> None:
    here = Path.cwd()
    ran = run(make_board("esp32c3"), source, folder=tmp_path)
    assert words in ran.error
    assert Path.cwd() == here


def test_os_and_imports_are_otherwise_as_ever(tmp_path: Path) -> None:
    source = (
        "import os.path, json.decoder\nfrom os.path import join\nfrom os import sep\n"
        "import collections.abc as abc\n"
        "assert os.path.join('a', 'b') == join('a', 'b')\n"
        "assert json.loads('[1]') == [1]\n"
        "assert isinstance({}, abc.Mapping) and sep\n"
        "print(json.decoder.JSONDecodeError.__name__)\n"
    )
    ran = run(make_board("esp32c3"), source, folder=tmp_path)
    assert ran.error == ""
    assert ran.output == "JSONDecodeError\n"
    assert os.chdir.__name__ == "chdir"


def test_scripts_share_one_namespace_and_helpers_see_it(tmp_path: Path) -> None:
    first = "count = 1\ndef helper():\n    return count + esp.get_chip_revision()\n"
    second = (
        "count += 1\nprint(helper(), __file__.endswith('script1.py'), args.scripts[1].name == file.name)\n"
    )
    ran = run(make_board("esp32c3"), first, second, folder=tmp_path)
    assert ran.output == "303 True True\n"


def test_a_burn_that_failed_ends_the_board_whatever_the_script_makes_of_it(tmp_path: Path) -> None:
    board = make_board("esp32c3")
    board.fails = VerifyFailed("the chip shows other bits")
    source = (
        "try:\n    efuses.burn_all()\nexcept esptool.FatalError as error:\n    print('caught', error)\n"
        "try:\n    efuses['DIS_PAD_JTAG'].get()\nexcept esptool.FatalError:\n    print('still broken')\n"
    )
    ran = run(board, BURN + source, folder=tmp_path)
    assert "caught the chip shows other bits" in ran.output
    assert "still broken" in ran.output
    assert ran.outcome.error is board.fails
    assert isinstance(ran.outcome.error, BurnError)
    assert not ran.outcome.staged


def test_a_refused_plan_can_be_caught(tmp_path: Path) -> None:
    board = make_board("esp32c3")
    board.blocks[3] = 1
    source = (
        command("burn_bit BLOCK3 2")
        + "try:\n    efuses.burn_all()\nexcept esptool.FatalError as error:\n    print('refused')\n"
    )
    (tmp_path / "s.py").write_text(source)
    scripts = compile_scripts([tmp_path / "s.py"])

    async def only_the_script() -> object:
        from tests.script.board import facts_of

        return await runner.run_scripts(
            scripts, facts_of(board), board.image, board, ScriptOptions(), on_output=lambda text: None
        )

    outcome = anyio.run(only_the_script)
    assert getattr(outcome, "error", "missing") is None
    assert board.burns == 0


def test_blocks_that_are_not_known_are_read_when_they_are_asked_for(tmp_path: Path) -> None:
    board = make_board("esp32c3", known=(0, 1))
    ran = run(board, "efuses['BLOCK_KEY0'].get()\nefuses['BLOCK_KEY0'].get()\n", folder=tmp_path)
    assert ran.error == ""
    assert board.reads == [frozenset({4})]


def test_import_of_the_script_package_is_light() -> None:
    import subprocess

    code = (
        "import sys, parburn.script.runner\n"
        "heavy = ('rich', 'serial', 'bitstring', 'cryptography', 'sqlite3')\n"
        "print([name for name in heavy if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
