"""Compiles the scripts of a run, once, before any port is opened. Runs nothing.

A script is a file, a text, or a function of the program that calls us (`CompiledFunction`).
"""

from __future__ import annotations

import hashlib
import re
import threading
from collections.abc import Callable, Iterable, Iterator
from functools import cached_property, partial
from pathlib import Path
from types import CodeType
from typing import Any

from parburn.config.files import ConfigFile
from parburn.errors import ScriptSyntaxError, UsageError
from parburn.job import Script

_BURNING = ("burn", "protect", "save", "voltage", "recovery")  # in the names of what stages something
_UNSEEN = frozenset({"import", "exec", "eval", "execute_scripts"})
_NAME = re.compile(rb"[A-Za-z_][A-Za-z0-9_]{2,}")
_NEVER_RUNS = 0x20 | 0x80 | 0x200  # generator, coroutine, asynchronous generator: a call only makes one


class CompiledScript:
    """One script: its code, and its file as it was when the run began. Nothing in it is ever changed."""

    function: Callable[..., object] | None = None  # called in place of the code

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

    @property
    def filename(self) -> str:
        """What frames of a traceback call its file."""
        return str(self.path)

    @property
    def words(self) -> frozenset[str]:
        """All words of its source."""
        return frozenset(word.decode() for word in _NAME.findall(self.source.content))


class CompiledFunction(CompiledScript):
    """A function that is called for each board. What else it calls is not seen here."""

    def __init__(self, script: Script, function: Callable[..., object], code: CodeType) -> None:
        digest = hashlib.sha256("\0".join(["function", script.name, script.version]).encode()).hexdigest()
        path = Path(f"<{script.name} {script.version}>")
        super().__init__(path, code, ConfigFile(path, b"", False, None, digest))
        self.function = function

    @cached_property
    def lines(self) -> list[str]:
        """Lines of the file that it was written in, as far as there is one."""
        import linecache  # here: only a function that failed needs it

        return linecache.getlines(self.filename)

    @property
    def filename(self) -> str:
        """The file that it was written in."""
        return self.code.co_filename

    @property
    def words(self) -> frozenset[str]:
        """Names and texts in its code."""
        return frozenset(word.decode() for word in _NAME.findall(" ".join(_said_in(self.code)).encode()))


def _said_in(code: CodeType) -> Iterator[str]:
    yield from code.co_names
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from _said_in(constant)
        else:
            yield str(constant)  # of tuples and sets, too


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
    def digests(self) -> dict[str, str]:
        """SHA-256 of each script that is not typed, by its name; also of those that others have run."""
        found = {str(script.path): script.source.digest for script in self.scripts if not script.typed}
        with self._lock:
            nested = tuple(self.nested.items())
        for name, script in nested:
            if found.setdefault(name, script.source.digest) != script.source.digest:
                found[f"{name} (as another script ran it)"] = script.source.digest
        return found

    @property
    def shows_only(self) -> bool:
        """Whether they all only show: then no index is spent and nothing is asked."""
        return bool(self.scripts) and all(script.shows_only for script in self.scripts)

    @cached_property
    def mentioned(self) -> frozenset[str]:
        """Words of the scripts' sources: among them are the fields and blocks they use."""
        return frozenset().union(*[script.words for script in self.scripts])

    @cached_property
    def may_burn(self) -> bool:
        """Whether anything in the sources hints at a burn, or at code that they do not show."""
        if any(script.function is not None for script in self.scripts):
            return True
        return any(part in word for word in self.mentioned for part in _BURNING) or not _UNSEEN.isdisjoint(
            self.mentioned
        )

    def script_at(self, path: str) -> CompiledScript:
        """Return the script of a nested execute_scripts, compiled once for all boards.

        Raises:
            UsageError: it cannot be read.
            ScriptSyntaxError: it does not compile.
        """
        with self._lock:
            found = self.nested.get(path)
            if found is None:
                found = self.nested[path] = compile_script(Path(path))
            return found

    def named(self, filename: str) -> CompiledScript | None:
        """Return the script that a frame of a traceback belongs to; None for another file's."""
        for script in (*self.scripts, *self.nested.values()):
            if script.filename == filename:
                return script
        return None


def compile_scripts(scripts: Iterable[Path | str | Script]) -> CompiledScripts:
    """Compile scripts; those that are no Script are paths.

    Raises:
        ScriptSyntaxError: one does not compile; it names file and line.
        UsageError: a file is missing, a Script holds nothing that can be run, or two have one name.
    """
    scripts = tuple(scripts)
    compiled = tuple(
        _compile_given(one) if isinstance(one, Script) else compile_script(Path(one)) for one in scripts
    )
    given = [
        str(one.path) for one, script in zip(compiled, scripts, strict=True) if isinstance(script, Script)
    ]
    if len({*given}) < len(given):
        raise UsageError(
            f"two scripts have one name: {', '.join(given)}", hint="Give each its own. Nothing was opened."
        )
    return CompiledScripts(compiled)


def compile_script(path: Path) -> CompiledScript:
    """Compile one script file.

    Raises:
        ScriptSyntaxError: it does not compile; it names file and line.
        UsageError: it cannot be read.
    """
    try:
        content = path.read_bytes()
    except (OSError, ValueError) as error:  # the latter: what no file can be called
        raise UsageError(
            f"script {path} cannot be read: {getattr(error, 'strerror', None) or error}"
        ) from error
    return _compile_source(path, content)


def _compile_given(script: Script) -> CompiledScript:
    if not (isinstance(script.name, str) and script.name and script.name.isprintable()):
        raise UsageError(f"a script's name must be a printable text, not {script.name!r}", hint=_GIVE)
    if script.text is not None and script.function is None and not script.version:
        return _compile_source(Path(f"<{script.name}>"), script.text.encode())
    if script.function is None or script.text is not None or not script.version:
        raise UsageError(
            f"the script {script.name!r} is neither a text nor a function with a version", hint=_GIVE
        )
    code = _code_of(script.function)
    if code is None:
        raise UsageError(f"the script {script.name!r} is no function that is written in Python", hint=_GIVE)
    if code.co_flags & _NEVER_RUNS:
        raise UsageError(
            f"the script {script.name!r} is a coroutine or a generator: to call it runs nothing of it",
            hint="Give a plain function: it runs in a thread of its own, and may wait there.",
        )
    return CompiledFunction(script, script.function, code)


_GIVE = (
    "Give Script(name, version, function), Script.of_text(text), or the path of a file. Nothing was opened."
)


def _code_of(function: Any) -> CodeType | None:
    """Return the code that runs when this is called."""
    while isinstance(function, partial):
        function = function.func
    for found in (function, vars(type(function)).get("__call__")):
        code = getattr(found, "__code__", None)  # of bound methods, too
        if isinstance(code, CodeType):
            return code
    return None


def _compile_source(path: Path, content: bytes) -> CompiledScript:
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
