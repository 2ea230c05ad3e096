"""One config file as it was when the run began. It is read here once; nothing here knows of records."""

from __future__ import annotations

import hashlib
import io
import json
from pathlib import Path
from typing import Any

from parburn.errors import UsageError

_JSON_STARTS = (b"{", b"[")


class ConfigFile:
    """One file as it was when the run began. `value` is the parsed JSON, shared: hand out copies of it.

    `digest` is of the content without a byte order mark, `file_digest` of the whole file. What is found out
    about a file later is kept in its `__dict__`: the file itself never changes.
    """

    def __init__(
        self, path: Path, content: bytes, is_json: bool, value: Any, digest: str, file_digest: str = ""
    ) -> None:
        self.path = path
        self.content = content
        self.is_json = is_json
        self.value = value
        self.digest = digest  # SHA-256 of `content`
        self.file_digest = file_digest or digest  # of the file, with its byte order mark

    @property
    def text(self) -> str:
        """The content as one string, decoded once."""
        text: str | None = self.__dict__.get("_text")
        if text is None:
            with io.TextIOWrapper(io.BytesIO(self.content), encoding="utf-8") as lines:
                text = self.__dict__["_text"] = lines.read()  # with the line ends that `open` gives
        return text


def read_file(path: Path) -> ConfigFile:
    """Read one file, and parse it when it is JSON: `*.json` must be, any other file may be.

    Raises:
        UsageError: it cannot be read, is empty, is not UTF-8, or is named like JSON and is not JSON; the
            sentence names the file and, where known, line and column.
    """
    try:
        content = path.read_bytes()
    except (OSError, ValueError) as error:  # ValueError: a path that no system takes
        reason = error.strerror if isinstance(error, OSError) else error
        raise UsageError(
            f"config file {path} cannot be read: {reason}", hint="Check the path after --configfiles."
        ) from error
    whole = ""
    if content.startswith(b"\xef\xbb\xbf"):
        whole = hashlib.sha256(content).hexdigest()
        content = content[3:]  # a byte order mark, as some editors write it
    _check_text(path, content)
    digest = hashlib.sha256(content).hexdigest()
    must_be = path.suffix.lower() == ".json"
    if not must_be and not content[:4096].lstrip().startswith(_JSON_STARTS):
        return ConfigFile(path, content, False, None, digest, whole)
    try:
        return ConfigFile(path, content, True, json.loads(content), digest, whole)
    except json.JSONDecodeError as error:
        if not must_be:
            return ConfigFile(path, content, False, None, digest, whole)
        raise UsageError(
            f"{path}:{error.lineno}:{error.colno}: not valid JSON: {error.msg}",
            hint="Correct the file; nothing was burned.",
        ) from error
    except RecursionError as error:
        raise UsageError(f"{path}:1:1: nested too deeply for JSON") from error
    except ValueError as error:
        raise UsageError(f"{path}: holds a number that is too long") from error


def _check_text(path: Path, content: bytes) -> None:
    if not content.isascii():
        try:
            content.decode()
        except UnicodeDecodeError as error:
            line = content.count(b"\n", 0, error.start) + 1
            column = error.start - content.rfind(b"\n", 0, error.start)
            raise UsageError(
                f"{path}:{line}:{column}: not UTF-8 text", hint="Save the file as UTF-8."
            ) from error
    if not content[:4096].strip() and not content.strip():
        raise UsageError(f"{path}:1:1: the file is empty", hint="Give a file with one entry per index.")
