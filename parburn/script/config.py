"""The config files of a run: read and parsed once, handed to every board as its own. Opens no port.

A file that is JSON is parsed; any other is text that the scripts read themselves. Each script of each board
gets fresh handles at position 0. `json.load(handle)` of such a handle gives the parsed data without parsing
again (`ScriptJson`), as a copy that the board may change.

What a file says for an index is the entry under the key `str(index)`: at the top, or one level below
(`{"mac": {"1": ..}, "id": {"1": ..}}`). The ledger compares digests of these entries between batches.
"""

from __future__ import annotations

import hashlib
import io
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from parburn.errors import UsageError
from parburn.script.own_copy import own_copy, plain
from parburn.script.own_modules import OwnModule

_JSON_STARTS = ("{", "[")

# Whole texts that scripts have read, by identity, so that `json.loads(handle.read())` need not parse again.
# The file holds its text, so an identity stays its own.
_WHOLE_TEXTS: dict[int, ConfigFile] = {}


@dataclass(frozen=True)
class ConfigFile:
    """One file as it was when the run began. `value` is the parsed JSON, shared: hand out `own_copy`s."""

    path: Path
    content: bytes = field(repr=False)
    is_json: bool
    value: Any = field(repr=False)
    digest: str

    def open(self) -> ConfigHandle:
        """A fresh text handle at position 0."""
        return ConfigHandle(self)

    def entry(self, index: int) -> Any:
        """What the file says for an index; None when it says nothing."""
        key = str(index)
        if type(self.value) is not dict:
            return None
        if key in self.value:
            return self.value[key]
        below = {name: inner[key] for name, inner in self._tables if key in inner}
        return below or None

    @property
    def text(self) -> str:
        """The content as one string, decoded once."""
        text = self.__dict__.get("_text")
        if text is None:
            with io.TextIOWrapper(io.BytesIO(self.content), encoding="utf-8") as lines:
                text = self.__dict__["_text"] = lines.read()  # with the line ends that `open` gives
            _WHOLE_TEXTS[id(text)] = self
        return text

    @property
    def _tables(self) -> tuple[tuple[str, dict[str, Any]], ...]:
        found = self.__dict__.get("_found_tables")
        if found is None:
            found = tuple((name, inner) for name, inner in self.value.items() if type(inner) is dict)
            self.__dict__["_found_tables"] = found  # a cache; the value itself never changes
        return found


@dataclass(frozen=True)
class ConfigFiles:
    """All config files of a run, in the order of the command line. Their names do not count in `digest`."""

    files: tuple[ConfigFile, ...] = ()
    digest: str = ""

    def open_all(self) -> list[ConfigHandle]:
        """Fresh handles for one script on one board."""
        return [one.open() for one in self.files]

    def entry(self, index: int) -> Mapping[str, Any]:
        """What the files say for an index, by file path; files that say nothing are left out."""
        found = {str(one.path): one.entry(index) for one in self.files}
        return {path: entry for path, entry in found.items() if entry is not None}

    def entry_digest(self, index: int) -> str:
        """Digests of the entries for an index, one per file that has one, separated by spaces."""
        return " ".join(
            hashlib.sha256(json.dumps(entry, sort_keys=True, separators=(",", ":")).encode()).hexdigest()
            for one in self.files
            if (entry := one.entry(index)) is not None
        )


def load_config_files(paths: Iterable[Path]) -> ConfigFiles:
    """Read and parse config files.

    Raises UsageError that names file, line and column: a file that cannot be read, is empty, is no UTF-8, or
    is named or begins like JSON and is none.
    """
    files = tuple(_load(Path(path)) for path in paths)
    digests = " ".join(one.digest for one in files)
    return ConfigFiles(files, hashlib.sha256(digests.encode()).hexdigest() if files else "")


def _load(path: Path) -> ConfigFile:
    try:
        content = path.read_bytes()
    except (OSError, ValueError) as error:  # ValueError: a path that no system takes
        reason = error.strerror if isinstance(error, OSError) else error
        raise UsageError(
            f"config file {path} cannot be read: {reason}", hint="Check the path after --configfiles."
        ) from error
    if content.startswith(b"\xef\xbb\xbf"):
        content = content[3:]  # a byte order mark, as some editors write it
    digest = hashlib.sha256(content).hexdigest()
    try:
        text = content.decode()
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        column = error.start - content.rfind(b"\n", 0, error.start)
        raise UsageError(f"{path}:{line}:{column}: not UTF-8 text", hint="Save the file as UTF-8.") from error
    if not text.strip():
        raise UsageError(f"{path}:1:1: the file is empty", hint="Give a file with one entry per index.")
    try:
        value = json.loads(text)
    except json.JSONDecodeError as error:
        if path.suffix.lower() != ".json" and not text.lstrip().startswith(_JSON_STARTS):
            return ConfigFile(path, content, False, None, digest)
        raise UsageError(
            f"{path}:{error.lineno}:{error.colno}: not valid JSON: {error.msg}",
            hint="Mend the file; nothing was burned.",
        ) from error
    except RecursionError as error:
        raise UsageError(f"{path}:1:1: nested too deeply for JSON") from error
    except ValueError as error:
        raise UsageError(f"{path}: holds a number that is too long") from error
    return ConfigFile(path, content, True, value, digest)


class _NamedBytes(io.BytesIO):
    """The file's bytes, shared with every other handle until somebody writes (CPython copies on write)."""

    def __init__(self, content: bytes, name: str) -> None:
        super().__init__(content)
        self.name = name


class ConfigHandle(io.TextIOWrapper):
    """A config file as a script sees it: an open text file. Its content is that of the start of the run."""

    def __init__(self, source: ConfigFile) -> None:
        super().__init__(_NamedBytes(source.content, str(source.path)), encoding="utf-8")
        self.source = source

    def read(self, size: int | None = -1) -> str:
        """As for every text file. The whole text of a file is one shared string for all boards."""
        if (size is None or size < 0) and self.tell() == 0:
            self.seek(0, io.SEEK_END)
            return self.source.text
        return super().read(size)

    @property
    def mode(self) -> str:
        """As an open text file says it."""
        return "r"


class ScriptJson(OwnModule):
    """`json` as one board's scripts see it: the standard module, but config files are not parsed again."""

    def __init__(self) -> None:
        super().__init__(json, load=_load_json, loads=_loads, dump=_dump, dumps=_dumps)


def _load_json(file: Any, **how: Any) -> Any:
    """The data of an open file. A config file keeps its position, so it can be loaded twice."""
    if isinstance(file, ConfigHandle) and file.source.is_json and not how and file.tell() == 0:
        return own_copy(file.source.value)
    return json.load(file, **how)


def _loads(text: str | bytes | bytearray, **how: Any) -> Any:
    source = _WHOLE_TEXTS.get(id(text))
    if source is not None and source.is_json and not how and text is source.text:
        return own_copy(source.value)
    return json.loads(text, **how)


def _dump(value: Any, file: Any, **how: Any) -> None:
    json.dump(plain(value), file, **how)


def _dumps(value: Any, **how: Any) -> str:
    return json.dumps(plain(value), **how)
