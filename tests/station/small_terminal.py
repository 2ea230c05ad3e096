"""A terminal of a few escapes, enough to see what the tiles leave on a screen. It knows nothing of tiles."""

from __future__ import annotations

import re

_PIECE = re.compile(r"\x1b\[(\??[0-9;]*)([A-Za-z])|([^\x1b])", re.DOTALL)


class SmallTerminal:
    """A screen of so many cells, and the one behind it."""

    def __init__(self, width: int, height: int) -> None:
        self.width, self.height = width, height
        self.rows = [[" "] * width for _ in range(height)]
        self.kept: list[list[str]] | None = None  # of the first screen, while the other one is shown
        self.row = self.column = 0
        self.bells = 0
        self.cursor = True

    def feed(self, text: str) -> None:
        """Take output; what it does not know is an error of whoever wrote it."""
        at = 0
        for found in _PIECE.finditer(text):
            assert found.start() == at, f"not understood: {text[at : at + 20]!r}"
            at = found.end()
            if found[3] is not None:
                self._letter(found[3])
            else:
                self._escape(found[1], found[2])
        assert at == len(text), f"not understood: {text[at : at + 20]!r}"

    @property
    def modes(self) -> tuple[bool, bool]:
        """Whether there is a cursor, and whether this is the other screen."""
        return self.cursor, self.kept is not None

    @property
    def lines(self) -> list[str]:
        """What stands on the screen, without spaces at the ends of lines."""
        return ["".join(row).rstrip() for row in self.rows]

    def _letter(self, letter: str) -> None:
        if letter == "\a":
            self.bells += 1
        elif letter == "\n":
            self.row, self.column = min(self.row + 1, self.height - 1), 0
        else:
            assert self.column < self.width, "a line is longer than the terminal"
            self.rows[self.row][self.column] = letter
            self.column += 1

    def _escape(self, words: str, final: str) -> None:
        if final == "m":
            return
        if final == "H":
            self.row, self.column = (int(word) - 1 for word in words.split(";"))
            assert 0 <= self.row < self.height, "below the last line"
        elif final == "K":
            self.rows[self.row][self.column :] = [" "] * (self.width - self.column)
        elif (words, final) == ("2", "J"):
            self.rows = [[" "] * self.width for _ in range(self.height)]
        elif words == "?1049":
            self._other(shown=final == "h")
        elif words == "?25":
            self.cursor = final == "h"
        else:
            raise AssertionError(f"not understood: {words}{final}")

    def _other(self, *, shown: bool) -> None:
        if shown and self.kept is None:
            self.kept, self.rows = self.rows, [[" "] * self.width for _ in range(self.height)]
        elif not shown and self.kept is not None:
            self.rows, self.kept = self.kept, None
            self.row = self.column = 0
