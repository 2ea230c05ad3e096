"""A file that is written anew: whole or not at all. For exports, not for the rows of a run."""

from __future__ import annotations

import secrets
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path


def replace_file(path: Path, text: str | Iterable[str]) -> None:
    """Write beside it first, then put it in its place: a full disk leaves the old file as it was.

    A new file gets the rights that the umask leaves, one that is replaced keeps its own.

    Raises:
        OSError: it cannot be written; an older file stays as it was.
    """
    pieces = [text] if isinstance(text, str) else text
    if path.exists() and not path.is_file():  # a device or a pipe
        with path.open("w", encoding="utf-8", errors="backslashreplace") as out:
            out.writelines(pieces)
        return
    part = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    try:
        with part.open("x", encoding="utf-8", errors="backslashreplace") as out:
            if path.exists():
                part.chmod(path.stat().st_mode & 0o777)
            out.writelines(pieces)
        part.replace(path)
    except BaseException:
        with suppress(OSError):
            part.unlink()
        raise
