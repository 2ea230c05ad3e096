"""Config files as scripts see them: open text files, and a `json` that does not parse them again.

Each script of each board gets fresh handles at position 0. `json.load(handle)` of such a handle gives the
parsed data without parsing again (`ScriptJson`), as a copy that the board may change.
"""

from __future__ import annotations

import io
import json
from typing import Any
from weakref import WeakValueDictionary

from parburn.config.files import ConfigFile
from parburn.script.board_modules import OwnModule
from parburn.script.json_views import own_copy, plain

# Whole texts that scripts have read, by identity, so that `json.loads(handle.read())` need not parse again.
# The file holds its text, so an identity stays its own for as long as the file is here.
_WHOLE_TEXTS: WeakValueDictionary[int, ConfigFile] = WeakValueDictionary()


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
        """Read as every text file does. The whole text of a file is one shared string for all boards."""
        if (size is None or size < 0) and self.tell() == 0:
            self.seek(0, io.SEEK_END)
            text = self.source.text
            _WHOLE_TEXTS[id(text)] = self.source
            return text
        return super().read(size)

    @property
    def mode(self) -> str:
        """The mode, as an open text file has it."""
        return "r"


class ScriptJson(OwnModule):
    """`json` as one board's scripts see it: the standard module, but config files are not parsed again."""

    def __init__(self) -> None:
        super().__init__(json, load=_load_json, loads=_loads, dump=_dump, dumps=_dumps)


def _load_json(file: Any, **how: Any) -> Any:
    """Return the data of an open file. A config file keeps its position, so it can be loaded twice."""
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
