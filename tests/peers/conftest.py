"""The peers, started once a session and only when a test asks for them.

The scripts of their corpus leave files open, as their users do; some of these die in a traceback's cycle.
They are collected here, where nobody minds: an open file of ours is an error in all other tests.
"""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.peers.client import Peer
from tests.peers.venvs import PeerMissingError, peers_are_off

StartPeer = Callable[[int], Peer]
FOLDER = Path(__file__).parent
LEFT_OPEN = "ignore:unclosed file <_io.\\w+ name=.\\w+.(bin|pem). :ResourceWarning"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Let the tests of this folder leave open what their scripts have opened."""
    for item in items:
        if FOLDER in item.path.parents:
            item.add_marker(pytest.mark.filterwarnings(LEFT_OPEN))


@pytest.fixture(autouse=True)
def _nothing_open_is_left_to_others() -> Iterator[None]:
    yield
    gc.collect()


@pytest.fixture(scope="session")
def peer() -> Iterator[StartPeer]:
    """`peer(4)` and `peer(5)` are running workers. Where one cannot be installed the test fails."""
    if peers_are_off():
        pytest.skip("PARBURN_NO_PEERS=1")
    running: dict[int, Peer] = {}

    def start(version: int) -> Peer:
        if version not in running:
            try:
                running[version] = Peer(version)
            except PeerMissingError as error:
                pytest.fail(str(error), pytrace=False)
        return running[version]

    yield start
    for one in running.values():
        one.close()
