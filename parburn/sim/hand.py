"""The hand that plays a line's operator at simulated sockets: it puts boards in and takes them out.

It knows the sockets and the six words that a station shows, as far as a hand must: `verdict` tells it that a
board may leave. It looks at no chip and at no screen, and it decides nothing about a board.
"""

from __future__ import annotations

import random
import threading
import time
from collections import deque
from collections.abc import Callable
from types import TracebackType

from parburn.errors import ParburnError
from parburn.sim.control_client import ControlledRig

END_S = 20.0  # within which the thread ends: an answer's deadline, and a little
PAUSE_S = 0.4  # an operator's, between taking a board out and putting the next one in
PUT_BACK = frozenset({"RETRY"})  # words after which the same board is put in again
LEFT_IN = frozenset({"LEAVE IN"})
USED_NO_MORE = frozenset({"SOCKET OFF"})  # the board is taken out, and no other is put in


class Hand:
    """A context: a thread of its own moves boards inside it. An error of the rig ends it; see `failure`."""

    def __init__(
        self,
        rig: ControlledRig,
        *,
        rate: float,
        sockets: int | None = None,
        pause_s: float = PAUSE_S,
        seed: int | None = None,
        keeps_boards: bool = False,
        before_insert: Callable[[int], None] = lambda socket: None,
    ) -> None:
        """Remember how to work; entering the context begins.

        Args:
            rig: Where the sockets are; only this hand should move boards there.
            rate: Insertions a second, at most.
            sockets: It works at the first so many; None: at all.
            pause_s: From taking a board out to putting the next one into the same socket.
            seed: Of its random order.
            keeps_boards: The files of boards that were taken out for good stay. Of a long run they fill
                the folder.
            before_insert: Called with the socket before each new board: where faults are given.
        """
        self._rig = rig
        self._gap_s = 1.0 / rate
        self._pause_s = pause_s
        self._rng = random.Random(seed)
        self._keeps_boards = keeps_boards
        self._before_insert = before_insert
        count = len(rig.ports) if sockets is None else sockets
        self._count = count
        self._inside: set[int] = set()
        self._ready: dict[int, tuple[float, str]] = {}  # when a socket may be filled, and with which board
        self._verdicts: deque[tuple[int, str]] = deque()
        self._wake = threading.Event()
        self._ends = False
        self._thread = threading.Thread(target=self._work, name="hand", daemon=True)
        self.inserted = self.removed = 0
        self.failure: ParburnError | None = None

    def __enter__(self) -> Hand:
        found = list(self._rig.boards().values())[: self._count]
        self._inside = {socket for socket, board in enumerate(found) if board}
        self._ready = {socket: (0.0, "") for socket, board in enumerate(found) if not board}
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._ends = True
        self._wake.set()
        self._thread.join(END_S)

    def verdict(self, slot: int | str, word: str = "PASS") -> None:
        """Tell that a socket shows a verdict: its board is taken out, and put in again after RETRY.

        After LEAVE IN it stays; after SOCKET OFF the socket stays empty. This returns at once and may be
        called from a loop or a thread. A socket that has no board by then is left alone.

        Args:
            slot: The socket's number, or the name of its port, as `ttyUSB3` or a path that ends so.
            word: What the socket shows.
        """
        number = slot if isinstance(slot, int) else int(slot.rpartition("ttyUSB")[2])
        self._verdicts.append((number, word))
        self._wake.set()

    def _work(self) -> None:
        try:
            next_at = time.monotonic()
            while not self._ends:
                self._take_out()
                now = time.monotonic()
                socket = self._free_socket(now) if now >= next_at else None
                if socket is not None:
                    self._put_in(socket)
                    next_at = max(
                        next_at + self._gap_s, now - self._gap_s
                    )  # one may be late, none is caught up
                self._sleep(next_at)
        except ParburnError as error:
            self.failure = None if self._ends else error

    def _sleep(self, next_at: float) -> None:
        """Wait until something is to be done, and if no socket is free, until one may be."""
        now = time.monotonic()
        free_at = min((at for at, _ in self._ready.values()), default=float("inf"))
        at = max(next_at, free_at)
        self._wake.wait(None if at == float("inf") else max(0.0, at - now))
        self._wake.clear()

    def _free_socket(self, now: float) -> int | None:
        free = [socket for socket, (at, _) in self._ready.items() if at <= now]
        return self._rng.choice(free) if free else None

    def _put_in(self, socket: int) -> None:
        _, board = self._ready.pop(socket)
        if not board:
            self._before_insert(socket)
        self._rig.insert(socket, board)
        self._inside.add(socket)
        self.inserted += 1

    def _take_out(self) -> None:
        while self._verdicts:
            socket, word = self._verdicts.popleft()
            if socket not in self._inside or word in LEFT_IN:
                continue
            again = word in PUT_BACK
            name = self._rig.remove(socket, forget=not (again or self._keeps_boards))
            self.removed += 1
            self._inside.discard(socket)
            if word not in USED_NO_MORE:
                self._ready[socket] = (time.monotonic() + self._pause_s, name if again else "")
