"""Compiles the scripts of a run, once, before any port is opened. Runs nothing."""

from __future__ import annotations

import hashlib
import re
import threading
from collections.abc import Iterable
from functools import cached_property
from pathlib import Path
from types import CodeType

from parburn.config.files import ConfigFile
from parburn.errors import ScriptSyntaxError, UsageError

_BURNING = ("burn", "protect", "save", "voltage", "recovery")  # in the names of what stages something
_UNSEEN = frozenset({"import", "exec", "eval", "execute_scripts"})
_NAME = re.compile(rb"[A-Za-z_][A-Za-z0-9_]{2,}")


class CompiledScript:
    """One script: its code, and its file as it was when the run began. Nothing in it is ever changed."""

    def __init__(
        self,
        path: Path,
        code: CodeType,
        source: ConfigFile,
        *,
        typed: bool = False,
        shows_only: bool = False,
    ) -> None:
        self.path = path
        self.code = code
        self.source = source
        self.typed = typed  # its lines are commands of the command line, not Python
        self.shows_only = shows_only  # it stages and burns nothing, whatever the chip holds

    @cached_property
    def lines(self) -> list[str]:
        """Source lines, for tracebacks."""
        return self.source.content.decode(errors="replace").splitlines()


class CompiledScripts:
    """The scripts of the command line, in order. Scripts that they run are compiled when they are met."""

    def __init__(
        self, scripts: tuple[CompiledScript, ...] = (), nested: dict[str, CompiledScript] | None = None
    ) -> None:
        self.scripts = scripts
        self.nested = {} if nested is None else nested
        self._lock = threading.Lock()

    @cached_property
    def digest(self) -> str:
        """SHA-256 over the scripts' contents, in order; their names do not count."""
        joined = " ".join(script.source.digest for script in self.scripts)
        return hashlib.sha256(joined.encode()).hexdigest()

    @property
    def shows_only(self) -> bool:
        """Whether they all only show: then no index is spent and nothing is asked."""
        return bool(self.scripts) and all(script.shows_only for script in self.scripts)

    @cached_property
    def mentioned(self) -> frozenset[str]:
        """Words of the scripts' sources: among them are the fields and blocks they use."""
        return frozenset(
            word.decode() for script in self.scripts for word in _NAME.findall(script.source.content)
        )

    @cached_property
    def may_burn(self) -> bool:
        """Whether anything in the sources hints at a burn, or at code that they do not show."""
        return any(part in word for word in self.mentioned for part in _BURNING) or not _UNSEEN.isdisjoint(
            self.mentioned
        )

    def script_at(self, path: str) -> CompiledScript:
        """The script of a nested execute_scripts, compiled once for all boards."""
        with self._lock:
            found = self.nested.get(path)
            if found is None:
                found = self.nested[path] = compile_script(Path(path))
            return found

    def named(self, filename: str) -> CompiledScript | None:
        """The script that a frame of a traceback belongs to."""
        for script in (*self.scripts, *self.nested.values()):
            if str(script.path) == filename:
                return script
        return None


def compile_scripts(paths: Iterable[Path | str]) -> CompiledScripts:
    """Compile scripts. Raises ScriptSyntaxError naming file and line, UsageError for a missing file."""
    return CompiledScripts(tuple(compile_script(Path(path)) for path in paths))


def compile_script(path: Path) -> CompiledScript:
    """Compile one script; raises as `compile_scripts`."""
    try:
        content = path.read_bytes()
    except OSError as error:
        raise UsageError(f"script {path} cannot be read: {error.strerror}") from error
    try:
        code = compile(content, str(path), "exec", dont_inherit=True)
    except SyntaxError as error:
        raise ScriptSyntaxError(
            f"{path}:{error.lineno or 1}: {error.msg}", hint="Mend the script; nothing was burned."
        ) from error
    except ValueError as error:  # null bytes, on some Python versions
        raise ScriptSyntaxError(f"{path}:1: {error}") from error
    digest = hashlib.sha256(content).hexdigest()
    return CompiledScript(path, code, ConfigFile(path, content, False, None, digest))
