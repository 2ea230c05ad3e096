"""Hands each event to every observer. An observer that raises is named once and left out; the run goes on."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Protocol

from parburn.events import Event


class Observer(Protocol):
    """Anything that wants to see a run."""

    def emit(self, event: Event) -> None:
        """Take one event. Called on the event loop: must not block."""

    def close(self) -> None:
        """End: the run is over, well or not. Called once."""


class Fanout:
    """One `emit` for many observers."""

    def __init__(
        self, observers: Iterable[Observer], *, on_failure: Callable[[Observer, Exception], None]
    ) -> None:
        self._observers = list(observers)
        self._on_failure = on_failure

    @property
    def observers(self) -> tuple[Observer, ...]:
        """The observers that have not failed."""
        return tuple(self._observers)

    def emit(self, event: Event) -> None:
        """Tell all observers; nothing is raised."""
        for observer in tuple(self._observers):
            try:
                observer.emit(event)
            except Exception as error:
                self._leave_out(observer, error)

    def close(self) -> None:
        """Close all observers; nothing is raised."""
        for observer in tuple(self._observers):
            self.guard(observer, observer.close)
        self._observers.clear()

    def guard(self, observer: Observer, call: Callable[[], object]) -> None:
        """Call something of an observer; one that raises is left out from then on."""
        try:
            call()
        except Exception as error:
            self._leave_out(observer, error)

    def _leave_out(self, observer: Observer, error: Exception) -> None:
        if observer in self._observers:
            self._observers.remove(observer)
        try:
            self._on_failure(observer, error)
        except Exception:
            return  # nobody is left who could be told
