"""The rig: many simulated boards on pseudo-terminals, served by one loop. It makes no boards.

The loop sleeps until bytes come or until a board says that something of its is due; nothing is polled.
"""

from __future__ import annotations

import heapq
import select
import time
from collections.abc import Callable, Sequence

from parburn.sim.board import SimulatedBoard
from parburn.sim.pty_port import PtyPort

_EDGE = select.EPOLLIN | select.EPOLLHUP | select.EPOLLET
_NEVER = float("inf")


class Rig:
    """Ports, one loop, and the files of their boards."""

    def __init__(
        self,
        ports: Sequence[PtyPort],
        *,
        stay_powered: bool,
        new_board: Callable[[SimulatedBoard], SimulatedBoard],
    ) -> None:
        """Take the ports; `open` puts the boards on them.

        Args:
            ports: The ports with their boards.
            stay_powered: See `SimulatedBoard.give_faults`.
            new_board: Makes the board that a fault puts in another's place.
        """
        self.ports = list(ports)
        self.new_board = new_board
        self.stay_powered = stay_powered
        self._epoll = select.epoll()
        self._by_fd: dict[int, PtyPort] = {}
        self._due: list[tuple[float, int, PtyPort]] = []
        self._stops: set[int] = set()
        self._watched: dict[int, Callable[[], bool]] = {}
        self._events: list[tuple[int, int]] = []

    def open(self) -> None:
        """Put every board on its port."""
        for port in self.ports:
            self._plug_in(port)

    def close(self) -> None:
        """Take every port away."""
        for port in self.ports:
            port.close()
        self._epoll.close()

    def stop_on(self, fd: int) -> None:
        """Let `serve` return when this descriptor becomes readable."""
        self._stops.add(fd)
        self._epoll.register(fd, select.EPOLLIN)

    def watch(self, fd: int, heed: Callable[[], bool]) -> None:
        """Call `heed` whenever this descriptor is readable; what it returns tells whether the rig ends.

        It may be called once more than there is something to read, and must not wait then.
        """
        self._epoll.register(fd, select.EPOLLIN)
        self._watched[fd] = heed

    def unwatch(self, fd: int) -> None:
        """Let a descriptor be, before it is closed."""
        del self._watched[fd]
        self._epoll.unregister(fd)
        self._forget(fd)

    def serve(self) -> None:
        """Serve until a descriptor given to `stop_on` becomes readable, or one that is watched says so."""
        while True:
            wait_s = max(0.0, self._due[0][0] - time.monotonic()) if self._due else None
            select.select([self._epoll], [], [], 0.0 if self._events else wait_s)
            self._events += self._epoll.poll(0)
            if self._handle_events():
                return
            self._run_due()

    def serve_pending(self) -> None:
        """Handle what has come, without waiting for more."""
        self._events += self._epoll.poll(0)
        while self._handle_events():
            pass
        self._run_due()

    def _handle_events(self) -> bool:
        """Handle events up to the first that asks us to stop; return whether there was one."""
        while self._events:
            fd, event = self._events.pop(0)
            if fd in self._stops:
                return True
            port = self._by_fd.get(fd)
            if port is not None:
                self._on_event(port, event)
            elif fd in self._watched and self._watched[fd]():
                return True
        return False

    def _plug_in(self, port: PtyPort) -> None:
        port.open()
        self._by_fd[port.master] = port
        self._epoll.register(port.master, _EDGE)
        self._forget_hang_up(port)

    def _forget_hang_up(self, port: PtyPort) -> None:
        """Take out the event of our own opening of this port, and keep all others."""
        for fd, event in self._epoll.poll(0):
            self._events.append((fd, event & ~select.EPOLLHUP if fd == port.master else event))

    def _unplug(self, port: PtyPort) -> None:
        del self._by_fd[port.master]
        self._forget(port.master)
        port.close()

    def _forget(self, fd: int) -> None:
        """Drop what is known of a descriptor that is closed now: the next one may have its number."""
        self._events = [one for one in self._events if one[0] != fd]

    def _on_event(self, port: PtyPort, event: int) -> None:
        now = time.monotonic()
        data = port.read() if event & select.EPOLLIN else b""
        if data:
            port.attached = True
            port.board.receive(data, now, port.host_baud())
        if event & select.EPOLLHUP:
            self._on_hang_up(port, now)
        self._attend(port, now)

    def _on_hang_up(self, port: PtyPort, now: float) -> None:
        if port.attached and not self.stay_powered:
            port.board.power_cycle(now)
        port.attached = False
        if port.sweep():
            self._forget_hang_up(port)
        else:
            self._unplug(port)
            self._plug_in(port)

    def _attend(self, port: PtyPort, now: float) -> None:
        """Bring a board up to now, hand over what it has to say, and note when it wants to be seen again."""
        board = port.board
        board.advance(now)
        port.write(board.take_output(now))
        if board.unplugged and port.master >= 0:
            self._vanish(port, now)
        elif board.swapped:
            board = self._swap(port, now)
        wake_at = min(board.next_event(), port.comes_back_at)
        if wake_at != port.wake_at:
            port.wake_at = wake_at
            if wake_at != _NEVER:
                heapq.heappush(self._due, (wake_at, id(port), port))

    def _run_due(self) -> None:
        now = time.monotonic()
        while self._due and self._due[0][0] <= now:
            wake_at, _, port = heapq.heappop(self._due)
            if wake_at != port.wake_at:
                continue  # it has been seen to since
            port.wake_at = _NEVER
            if now >= port.comes_back_at:
                port.comes_back_at = _NEVER
                self._plug_in(port)
            self._attend(port, now)

    def _vanish(self, port: PtyPort, now: float) -> None:
        what, port.board.unplugged = port.board.unplugged, None
        self._unplug(port)
        port.board.lose_power(now)
        if what and what.name:
            port.link = port.link.with_name(what.name)
            port.comes_back_at = now + what.after_s

    def _swap(self, port: PtyPort, now: float) -> SimulatedBoard:
        """Put another board behind an open port; one that comes from another port leaves its own there."""
        gone, what = port.board, port.board.swapped
        gone.swapped = None
        gone.power_cycle(now)
        others = [one for n, one in enumerate(self.ports) if what and n == what.other and one is not port]
        for other in others:
            other.board.power_cycle(now)
            port.board, other.board = other.board, gone
        if not others:
            port.board = self.new_board(gone)
        return port.board
