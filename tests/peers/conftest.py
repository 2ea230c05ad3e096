"""The peers, started once a session and only when a test asks for them."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from tests.peers.client import Peer
from tests.peers.venvs import PeerMissingError, peers_are_off

StartPeer = Callable[[int], Peer]


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
