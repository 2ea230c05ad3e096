"""Scripts on a virtual chip: what they would burn, and that they change nothing and come to an end."""

from __future__ import annotations

import asyncio
import os
import socket
import threading
from pathlib import Path

import pytest

from parburn.chips.registry import chip_named
from parburn.efuse.image import EfuseImage
from parburn.errors import UsageError
from parburn.script.computed_burns import Computed, Order, compute_all
from parburn.script.runner import compile_scripts
from parburn.script.session import DeviceFacts, ScriptOptions
from parburn.script.side_effects import SideEffectRefused, no_side_effects

CHIP = chip_named("esp32c3")


def order(index: int) -> Order:
    facts = DeviceFacts("no port", CHIP, index, bytes(6), 0, 4, 40, 0, None, False)
    return Order(facts, EfuseImage(CHIP, {block.index: 0 for block in CHIP.blocks}))


def computed(text: str, tmp_path: Path, *, count: int = 1, timeout_s: float = 20.0) -> list[Computed]:
    path = tmp_path / "script.py"
    path.write_text(text)
    found: list[Computed] = []
    orders = (order(n) for n in range(1, count + 1))
    scripts, options = compile_scripts([path]), ScriptOptions(timeout_s=timeout_s)
    asyncio.run(compute_all(scripts, orders, options, take=lambda _, one: found.append(one)))
    return found


def test_all_that_is_asked_for_is_kept_also_what_the_chip_hides(tmp_path: Path) -> None:
    (tmp_path / "key").write_bytes(bytes(range(32)))
    text = (
        f"espefuse(esp, efuses, args, 'burn_key BLOCK_KEY0 {tmp_path / 'key'} XTS_AES_128_KEY')\n"
        "efuses.burn_all()\n"
        "burn_bit(esp, efuses, args.__class__(block='BLOCK_USR_DATA', bit_number=[args.index]))\n"
    )
    one, two = computed(text, tmp_path, count=2)
    assert one.error is None, one.error
    assert (one.want[3], two.want[3]) == (1 << 1, 1 << 2)
    assert one.held.block(4) == int.from_bytes(bytes(reversed(range(32))), "little")
    assert [burn.before.block(3) for burn in one.burns] == [0, 0]
    assert len(one.burns) == 2
    assert one.burns[1].before.block(0) != 0  # the second burn sees what the first left


def test_a_script_that_raises_is_told_and_the_next_record_goes_on(tmp_path: Path) -> None:
    text = "if args.index == 1: raise ValueError('bad record')\nefuses['DIS_PAD_JTAG'].save(1)\n"
    one, two = computed(text, tmp_path, count=2)
    assert "bad record" in str(one.error)
    assert two.error is None
    assert two.want[0]


def test_a_script_without_end_is_stopped(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"did not end within 0\.2 s for index 1"):
        computed("while True: pass", tmp_path, timeout_s=0.2)


def test_a_thread_of_the_script_changes_nothing_either(tmp_path: Path) -> None:
    text = (
        "import threading, pathlib\n"
        f"def act(): pathlib.Path({str(tmp_path / 'out')!r}).write_text('x')\n"
        "caught = []\n"
        "threading.excepthook = lambda seen: caught.append(seen)\n"
        "one = threading.Thread(target=act); one.start(); one.join()\n"
        "assert 'for writing is refused' in str(caught[0].exc_value)\n"
    )
    hook = threading.excepthook
    try:
        (one,) = computed(text, tmp_path)
    finally:
        threading.excepthook = hook
    assert one.error is None, one.error
    assert not (tmp_path / "out").exists()


def test_only_the_guarded_thread_is_kept_from_changing_things(tmp_path: Path) -> None:
    seen: list[BaseException] = []

    def inside() -> None:
        with no_side_effects():
            for act in (
                lambda: (tmp_path / "a").write_text("x"),
                lambda: os.open(tmp_path / "a", os.O_RDWR | os.O_CREAT),
                lambda: (tmp_path / "b").rename(tmp_path / "c"),
                lambda: (tmp_path / "b").unlink(),
                socket.socket,
            ):
                with pytest.raises(SideEffectRefused) as refused:
                    act()
                seen.append(refused.value)
            assert (tmp_path / "b").read_text() == "kept"
            Path(os.devnull).write_text("nothing")

    (tmp_path / "b").write_text("kept")
    thread = threading.Thread(target=inside)
    thread.start()
    (tmp_path / "outside").write_text("this thread may")
    thread.join()
    assert len(seen) == 5
    assert sorted(path.name for path in tmp_path.iterdir()) == ["b", "outside"]
