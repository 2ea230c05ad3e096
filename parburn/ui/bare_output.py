"""What the commands of a single board print, alone on stdout: as the originals print it, without its port.

`parburn --port P --commands "summary --format json" | jq` works so, and a script that greps what they
print. A reader (a pipe, a file) gets the text to the letter, a terminal without what would steer it; all
else that parburn says goes to stderr. Only where the live table stands on the same screen, it shows the
text above itself. An observer: it changes nothing.
"""

from __future__ import annotations

from typing import IO

from parburn.events import Event, ScriptOutput
from parburn.ui.nonblocking_writer import NonblockingWriter


class BareOutput:
    """An observer that writes what scripts print."""

    def __init__(self, stream: IO[str]) -> None:
        self._writer = NonblockingWriter(stream)
        self._write = self._writer.write if stream.isatty() else self._writer.write_as_it_is

    def emit(self, event: Event) -> None:
        """Write the text of a script."""
        if isinstance(event, ScriptOutput):
            self._write(event.text)

    def close(self) -> None:
        """Wait until the reader has taken all."""
        self._writer.close()
