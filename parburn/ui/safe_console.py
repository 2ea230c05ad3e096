"""A console of rich that shows no text of others that would steer the terminal. It draws nothing itself."""

from __future__ import annotations

from collections.abc import Iterable

from rich.console import Console, ConsoleOptions, RenderableType
from rich.segment import Segment

from parburn.printable import is_printable, printable


class SafeConsole(Console):
    """A Console whose segments are printable; its own control codes (cursor, erase) pass."""

    def render(self, renderable: RenderableType, options: ConsoleOptions | None = None) -> Iterable[Segment]:
        """Render as rich does it. Whoever wrote the renderable need not think of odd names."""
        for segment in super().render(renderable, options):
            if segment.control or is_printable(segment.text):
                yield segment
            else:
                yield Segment(printable(segment.text), segment.style)
