"""A stop request: it cancels the boards at work, and keeps nothing of those that have ended."""

from __future__ import annotations

import gc

import anyio
import pytest
from anyio import CancelScope

from parburn.errors import Interrupted
from parburn.run.stop import StopRequest


def test_scopes_that_have_ended_are_not_kept() -> None:
    async def boards() -> None:
        stop = StopRequest()
        for _ in range(50):
            stop.cancels(CancelScope())
        gc.collect()
        assert len(stop._scopes) == 0

    anyio.run(boards)


def test_a_board_that_leads_to_its_own_scope_is_not_kept() -> None:
    class Board:
        def __init__(self, scope: CancelScope) -> None:
            self.scope = scope

        def is_begun(self) -> bool:
            return False

    async def boards() -> None:
        stop = StopRequest()
        for _ in range(50):
            board = Board(CancelScope())
            with stop.cancelling(board.scope, is_begun=board.is_begun):
                assert len(stop._scopes) == 1
        assert len(stop._scopes) == 0

    anyio.run(boards)


def test_a_request_cancels_those_at_work_and_those_that_come_later() -> None:
    async def boards() -> None:
        stop = StopRequest()
        first, second = CancelScope(), CancelScope()
        stop.cancels(first)
        stop.request()
        stop.cancels(second)
        assert first.cancel_called
        assert second.cancel_called

    anyio.run(boards)


def test_in_a_station_the_first_request_lets_boards_end_that_were_begun() -> None:
    async def boards() -> None:
        stop = StopRequest(begun_ends_whole=True)
        begun, fresh = CancelScope(), CancelScope()
        stop.cancels(begun, is_begun=lambda: True)
        stop.cancels(fresh)
        stop.request()
        stop.check(begun=True)
        with pytest.raises(Interrupted):
            stop.check(begun=False)
        assert (fresh.cancel_called, begun.cancel_called) == (True, False)
        stop.request()
        with pytest.raises(Interrupted):
            stop.check(begun=True)
        assert (fresh.cancel_called, begun.cancel_called) == (True, True)

    anyio.run(boards)
