"""Where the text of a command goes: to stdout, or whole or not at all into a file. Makes no text itself."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Generator, Iterator
from contextlib import AbstractContextManager, closing, contextmanager, nullcontext, suppress
from pathlib import Path
from typing import IO

from parburn.cli.saying import hand_out
from parburn.errors import UsageError

AS_NEW = 0o666  # rights of a new file, of which the umask takes away


def put_out(
    pieces: Generator[str, None, None],
    output: Path | None = None,
    *,
    ledger: Path | None = None,
    show: Callable[[str], None] = hand_out,
    own_only: bool = False,
) -> int:
    """Write pieces of text as they come, and return 0.

    Args:
        pieces: The text; closed at the end, however that comes.
        output: The file; None for stdout. It must be no ledger, and no part of one.
        ledger: A ledger that the command line names.
        show: Prints a piece; `say` for what people read.
        own_only: Replace no file but a report that was made from a ledger.

    Raises:
        UsageError: it cannot be written; a file that was there is as it was.
        ParburnError: what the text is made of cannot be read.
    """
    with closing(pieces):
        if output is None:
            for piece in pieces:
                show(piece)
            return 0
        _refuse(output, ledger)
        try:
            with _replacing(output, _place_of_own(output) if own_only else nullcontext()) as file:
                file.writelines(pieces)
        except OSError as error:
            raise UsageError(
                f"--output: {output} cannot be written: {error.strerror or error}",
                hint="Choose another place; the ledger is as it was.",
            ) from error
    return 0


def _refuse(output: Path, ledger: Path | None) -> None:
    from parburn.cli.options import writeable
    from parburn.run.overwriting import KeptFiles, refuse_link

    KeptFiles(ledgers=(ledger,) if ledger is not None else ()).refuse(output, "--output")
    refuse_link(output, "--output")
    writeable(output, "--output")


def _place_of_own(output: Path) -> AbstractContextManager[None]:
    """Return what holds the place of a report. Raises UsageError where it is another file's."""
    from parburn.ui.report_replacing import held, refuse_other_than_own

    refuse_other_than_own(output)
    return held(output)


@contextmanager
def _replacing(path: Path, place: AbstractContextManager[None]) -> Iterator[IO[str]]:
    """Open a file beside `path` that takes its place once all is written; with the rights of a new file.

    While it takes the place, `place` is entered; what that raises leaves all as it was.
    """
    if path.exists() and not path.is_file():  # /dev/stderr or a pipe
        with path.open("w", encoding="utf-8", errors="backslashreplace") as file:
            yield file
        return
    with tempfile.NamedTemporaryFile(
        "w", encoding="utf-8", errors="backslashreplace", dir=path.parent, prefix=".parburn-", delete=False
    ) as file:
        part = Path(file.name)
        try:
            yield file
            file.close()
            with place:
                part.chmod(_rights(path))
                part.replace(path)
        except BaseException:
            with suppress(OSError):
                part.unlink()
            raise


def _rights(path: Path) -> int:
    """Return the rights of a file that is there, and else those of a new one."""
    if path.exists():
        return path.stat().st_mode & 0o777
    mask = os.umask(0)
    os.umask(mask)
    return AS_NEW & ~mask
