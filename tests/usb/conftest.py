"""One virtual machine for all tests of this folder; each test plugs and pulls its own adapters.

These tests run only when they are asked for (`-m usb`), and in one process: they share the machine.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.usb.bench import Bench
from tests.usb.image import NoMachineError, ready_image
from tests.usb.machine import Machine, running_machine

FOLDER = Path(__file__).parent


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave these tests out unless the mark asks for them; refuse to share the machine between workers."""
    ours = [item for item in items if FOLDER in item.path.parents]
    for item in ours:
        item.add_marker(pytest.mark.usb)
    if "usb" not in config.option.markexpr:
        items[:] = [item for item in items if item not in ours]
        config.hook.pytest_deselected(items=ours)
    elif hasattr(config, "workerinput"):
        for item in ours:
            item.add_marker(pytest.mark.skip(reason="the USB tests share one machine: run them without -n"))


@pytest.fixture(scope="session")
def machine() -> Iterator[Machine]:
    """The machine, switched on. Where there is none the tests are skipped, with the line that makes it."""
    try:
        image = ready_image()
    except NoMachineError as error:
        pytest.skip(str(error))
    with tempfile.TemporaryDirectory(prefix="usb") as name, running_machine(image, Path(name)) as machine:
        yield machine


@pytest.fixture
def bench(machine: Machine, tmp_path: Path) -> Iterator[Bench]:
    """An empty bench."""
    with ExitStack() as stack:
        bench = Bench(machine, tmp_path, stack)
        stack.callback(bench.clear)
        yield bench
