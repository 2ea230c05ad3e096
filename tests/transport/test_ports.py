"""Port names: patterns, doubles, order, slots, candidates."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from parburn.errors import NoAnswer, NotConfirmed, ParburnError, PartialBurn, UsageError
from parburn.natural_order import natural_key
from parburn.transport import ports
from parburn.transport.ports import expand_ports, list_candidates, told_of_reader
from parburn.transport.slots import slots_of
from parburn.transport.usb_ports import UsbPort


@pytest.fixture
def devices(tmp_path: Path) -> Path:
    """Twelve plain files named like ports."""
    for number in range(12):
        (tmp_path / f"ttyUSB{number}").touch()
    return tmp_path


def test_patterns_sort_naturally(devices: Path) -> None:
    found = expand_ports([str(devices / "ttyUSB*")])
    assert [Path(port).name for port in found] == [f"ttyUSB{number}" for number in range(12)]
    found = expand_ports([str(devices / "ttyUSB[13]"), str(devices / "ttyUSB2")])
    assert [Path(port).name for port in found] == ["ttyUSB1", "ttyUSB2", "ttyUSB3"]


def test_relative_patterns(devices: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(devices)
    assert expand_ports(["ttyUSB1?"]) == ("ttyUSB10", "ttyUSB11")


def test_two_paths_to_one_node_are_one_port(devices: Path) -> None:
    link = devices / "by-path-of-3"
    link.symlink_to(devices / "ttyUSB3")
    assert expand_ports([str(link), str(devices / "ttyUSB3"), str(devices / "ttyUSB3")]) == (str(link),)
    assert expand_ports([str(devices / "ttyUSB3"), str(link)]) == (str(devices / "ttyUSB3"),)


def test_two_nodes_with_one_device_number_are_one_port(tmp_path: Path) -> None:
    master, slave = os.openpty()
    try:
        name = os.ttyname(slave)
        (tmp_path / "ttyUSB0").symlink_to(name)
        assert expand_ports([name, str(tmp_path / "ttyUSB0")]) == (name,)
        assert slots_of([str(tmp_path / "ttyUSB0")]).popitem()[1] == "ttyUSB0"
    finally:
        os.close(master)
        os.close(slave)


def test_what_is_not_there(tmp_path: Path) -> None:
    absent = str(tmp_path / "ttyUSB5")
    assert expand_ports([absent]) == (absent,)
    with pytest.raises(UsageError, match="no port matches") as caught:
        expand_ports([str(tmp_path / "ttyUSB*")])
    assert caught.value.hint


def test_a_name_with_magic_characters_that_exists(tmp_path: Path) -> None:
    odd = tmp_path / "tty[1]"
    odd.touch()
    assert expand_ports([str(odd)]) == (str(odd),)


def test_addresses_pass_through() -> None:
    found = expand_ports(["socket://b:2", "rfc2217://a:1", "socket://B:2", "socket://b:10"])
    assert found == ("rfc2217://a:1", "socket://b:2", "socket://b:10")
    assert slots_of(["socket://b:2"]).popitem()[1] == "b:2"


@given(st.lists(st.integers(0, 2000), unique=True))
def test_natural_order_is_numeric(numbers: list[int]) -> None:
    names = [f"/dev/ttyUSB{number}" for number in numbers]
    assert sorted(names, key=natural_key) == [f"/dev/ttyUSB{number}" for number in sorted(numbers)]


@given(st.lists(st.text("ab1２²/-", max_size=6)))
def test_any_names_can_be_sorted(names: list[str]) -> None:
    keys = [natural_key(name) for name in sorted(names, key=natural_key)]
    assert all(one <= other for one, other in pairwise(keys))


def test_candidates_are_usb_ports(monkeypatch: pytest.MonkeyPatch) -> None:
    some = (
        UsbPort("/dev/ttyUSB10", 0x10C4, 0xEA60, "on ttyUSB10"),
        UsbPort("/dev/ttyUSB9", 0x1234, 1, "on ttyUSB9"),
    )
    monkeypatch.setattr(ports, "usb_ports", lambda: some)
    found = list_candidates()
    assert [(info.port, info.vid, info.pid, info.may_hold_chip) for info in found] == [
        ("/dev/ttyUSB9", 0x1234, 1, False),
        ("/dev/ttyUSB10", 0x10C4, 0xEA60, True),
    ]
    assert found[1].slot == "ttyUSB10"


def test_a_holder_is_named(tmp_path: Path) -> None:
    held = tmp_path / "ttyUSB0"
    held.touch()
    assert ports.holder_of(str(held)) == ""
    code = f"import time; f = open({str(held)!r}); print('open', flush=True); time.sleep(60)"
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE) as process:
        try:
            assert process.stdout is not None
            process.stdout.readline()
            assert str(process.pid) in ports.holder_of(str(held))
        finally:
            process.kill()


READER = "import sys, time; f = open(sys.argv[1]); print('open', flush=True); time.sleep(60)"


@contextmanager
def reader_of(port: str) -> Iterator[int]:
    """Another program that has the port open; its process id."""
    with subprocess.Popen([sys.executable, "-c", READER, port], stdout=subprocess.PIPE) as process:
        try:
            assert process.stdout is not None
            process.stdout.readline()
            yield process.pid
        finally:
            process.kill()


def test_many_who_ask_at_once_look_once(monkeypatch: pytest.MonkeyPatch) -> None:
    looks: list[float] = []

    def look() -> dict[str, str]:
        looks.append(time.monotonic())
        time.sleep(0.1)
        return {"/dev/ttyUSB0": "cat (process 1)"}

    monkeypatch.setattr(ports, "_open_in_programs", look)
    with ThreadPoolExecutor(20) as pool:
        assert set(pool.map(ports.holder_of, ["/dev/ttyUSB0"] * 20)) == {"cat (process 1)"}
    assert len(looks) <= 3
    looks.clear()
    ports.holder_of("/dev/ttyUSB0")
    assert len(looks) == 1  # what was found before is not believed


@pytest.mark.parametrize("wrapped", [False, True])
def test_another_reader_is_named_in_an_error_of_the_line(tmp_path: Path, wrapped: bool) -> None:
    port = tmp_path / "ttyUSB0"
    port.touch()
    error: ParburnError = NoAnswer(f"{port}: no answer", hint="is it powered?")
    if wrapped:
        error, cause = PartialBurn("step 1 was not finished", remaining=1), error
        error.__cause__ = cause
    before = str(error)
    told_of_reader(str(port), error)
    assert str(error) == before
    with reader_of(str(port)) as process:
        told_of_reader(str(port), error)
        assert str(error).startswith(before)
        assert f"(process {process}) has {port} open too, and may have taken the answers" in str(error)
        assert "powered" not in error.hint
        assert "close the other program" in error.hint or "ModemManager" in error.hint
        refused = NotConfirmed("not confirmed")
        told_of_reader(str(port), refused)
        assert str(refused) == "not confirmed"


def test_names_cost_no_heavy_import() -> None:
    code = (
        "import sys, parburn.transport.ports, parburn.transport.open; "
        "print([name for name in ('serial', 'serial_asyncio', 'asyncio') if name in sys.modules])"
    )
    outcome = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "serial" not in outcome.stdout
