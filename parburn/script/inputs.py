"""What a board's scripts read, by digest: their job is what was read, not what the files say later.

Scripts read files in many ways: open(), pathlib, os.open, a module of the user's, a command that takes a key
file. All of them pass Python's audit events, so one hook sees them all, and knows by its context whose script
it is. It is installed with the first script, cannot be taken out again, and does nothing outside a script.

A file is digested just before it is opened: when it changes meanwhile, the digest is of the older content,
and the board's script runs once more at the next run. Left out are files of Python and of installed packages,
the config files of the run (they count by their records), and files that scripts of this run write.

`input()` passes them, too, and is refused there, whoever calls it for a script.

A pipe that scripts open themselves gives its bytes to one of them only: the second board that opens it is
refused. (What a command reads from a pipe is read once for all: `script.pipes`.)

A file that one board's script writes and another's reads is a state that all boards share (the next serial
number): both may have read the same. Unless the boards come one at a time, the second that touches it is
refused, and whatever its script makes of the refusal, its board goes no further.
"""

from __future__ import annotations

import contextvars
import functools
import hashlib
import hmac
import os
import stat
import sys
import threading
from collections.abc import Callable, Collection, Iterable
from contextlib import suppress
from importlib.util import source_from_cache
from pathlib import Path
from typing import Any

from parburn.errors import EfuseError
from parburn.script.pipes import Pipes, is_pipe

Digests = tuple[
    tuple[str, str], ...
]  # path and keyed digest, sorted; an empty digest: there was no such file

READER: contextvars.ContextVar[BoardInputs | None] = contextvars.ContextVar("parburn_inputs", default=None)

INPUT_WHY = "nobody could tell whose board it asks about; give the answer in a config file"

_CHUNK = 1 << 20
_KNOWN_AT_MOST = 4096  # files whose digests are kept: each board may have a key file of its own
_PACKAGES = ("site-packages", "dist-packages")
_NO_FILES = ("/proc/", "/sys/", "/dev/")
_MODULES = (".py", ".pyc", ".so", ".pyd")

_lock = threading.Lock()
_known: dict[str, tuple[tuple[int, ...], str]] = {}  # path -> what stat says of it, SHA-256; oldest first
_modules: dict[str, str] = {}  # user's modules of this process, as they were read: sys.modules is shared, too
_hooked = False


class RunInputs:
    """What the scripts of one run read and write. `key` is that of the ledger: a digest tells no key file."""

    def __init__(
        self, key: bytes = b"", config_files: Iterable[Path] = (), *, one_at_a_time: bool = False
    ) -> None:
        self._key = key
        self._config = frozenset(os.path.realpath(path) for path in config_files)
        self._one_at_a_time = one_at_a_time
        self._paths: dict[
            str | bytes, str
        ] = {}  # what names of files lead to; scripts do not change the folder
        self._pipe_readers: dict[tuple[int, int], BoardInputs] = {}
        self._readers: dict[str, set[BoardInputs]] = {}
        self._writers: dict[str, set[BoardInputs]] = {}
        self.pipes = Pipes()
        self._outputs: dict[str, str] = {}  # files that commands write, and for which chip, by its MAC
        self._modules: set[str] = set()  # code that scripts of this run have opened

    def board(self) -> BoardInputs:
        """Return the inputs of one more board."""
        _install()
        return BoardInputs(self)

    def path_of(self, name: Any) -> str:
        """Return where a file's name leads to.

        It is found once: each look at a folder lets all other boards' threads in.
        """
        name = os.fspath(name)
        path = self._paths.get(name)
        if path is None:
            path = self._paths[name] = os.path.realpath(os.fsdecode(name))
        return path

    def only_read(self) -> Collection[str]:
        """Files that scripts of this run have read and none has written."""
        with _lock:
            return [
                path for path, readers in self._readers.items() if readers and not self._writers.get(path)
            ]

    def moved(self) -> None:
        """Forget where names lead to: a file was moved or removed."""
        self._paths.clear()

    def writer_of(self, path: str, mac: str) -> str:
        """Return the MAC of the chip for which a command writes this file: the first that asked."""
        with _lock:
            return self._outputs.setdefault(path, mac)

    def _forget(self, board: BoardInputs) -> None:
        with _lock:
            for table in (self._readers, self._writers):
                for path in [path for path, boards in table.items() if board in boards]:
                    table[path].discard(board)
                    if not table[path]:
                        del table[path]
            for pipe in [pipe for pipe, reader in self._pipe_readers.items() if reader is board]:
                del self._pipe_readers[pipe]

    def changed(self, kept: Digests) -> str:
        """Return the first of these files that is not what it was; empty when all are. Reads them."""
        for path, digest in kept:
            if self._keyed(_digest_now(path)) != digest:
                return path
        return ""

    def _keyed(self, digest: str) -> str:
        return hmac.new(self._key, digest.encode(), "sha256").hexdigest() if digest else ""

    def _touched(self, board: BoardInputs, path: str, *, reads: bool, writes: bool) -> None:
        """Note what is read or written. Raises EfuseError for a state that boards would share at once."""
        with _lock:
            readers, writers = self._readers.setdefault(path, set()), self._writers.setdefault(path, set())
            shared = (reads and writers - {board}) or (writes and readers - {board})
            if reads:
                readers.add(board)
            if writes:
                writers.add(board)
        if shared and not self._one_at_a_time:
            raise EfuseError(
                f"{path} is read and written by the scripts of several boards at once: two boards may have "
                "read the same from it",
                hint="Give --one-at-a-time, so that each board's script begins when the one before has "
                "ended, or look up what is this board's own by args.index.",
            )

    def _kept(self, found: dict[str, str]) -> Digests:
        with _lock:
            written = {path for path, boards in self._writers.items() if boards}
            modules = {path: digest for path, digest in _modules.items() if path in self._modules}
            modules |= _imported_before(_modules.keys() - modules.keys())
            together = {**modules, **found}
        return tuple(
            (path.encode("utf-8", "backslashreplace").decode(), self._keyed(digest))
            for path, digest in sorted(together.items())
            if path not in written and path not in self._config
        )


class BoardInputs:
    """What one board's scripts have read so far."""

    def __init__(self, run: RunInputs) -> None:
        self._run = run
        self._found: dict[str, str] = {}
        self.refuse: Callable[[EfuseError], object] = _raise  # told of a refusal; then it is raised as well

    def note(self, path: Path, digest: str) -> None:
        """Note a file that was read for this board by us; `digest` is its SHA-256 in hex."""
        self._found[os.path.realpath(path)] = digest

    def kept(self) -> Digests:
        """Return path and keyed digest of all that counts for this board's job, sorted."""
        return self._run._kept(self._found)

    def ended(self) -> None:
        """Forget what this board shares with others: its scripts read nothing any more.

        Who comes after them is not at work at the same time, as with boards one at a time. Only a station,
        which never ends, lets boards be forgotten.
        """
        self._run._forget(self)

    def opened(self, name: Any, flags: int) -> None:
        """Note a file that is about to be opened; `flags` are those of open(2).

        Raises:
            EfuseError: boards would share its state at once.
        """
        path = self._run.path_of(name)
        if _is_installed(path):
            if path.startswith(_NO_FILES):
                self._pipe(_look(os.fsdecode(os.fspath(name))), str(name), flags)
            return
        access = flags & (os.O_WRONLY | os.O_RDWR)
        if path.endswith(_MODULES):
            if access == os.O_RDONLY:
                self._run._modules.add(_read_module(path))
            elif not path.endswith(".pyc"):
                self._touch(path, reads=False, writes=True)
            return
        found = _look(path)
        if found is None or stat.S_ISREG(found.st_mode):  # no device, pipe or folder
            self._touch(path, reads=access != os.O_WRONLY, writes=access != os.O_RDONLY, found=found)
        else:
            self._pipe(found, path, flags)

    def taken_up(self, descriptor: int) -> None:
        """Take note of an open descriptor, as that of the standard input, that is about to be read."""
        with suppress(OSError):
            self._pipe(os.fstat(descriptor), f"the open file {descriptor}", os.O_RDONLY)

    def _pipe(self, found: os.stat_result | None, name: str, flags: int) -> None:
        """Take note of a pipe that is about to be read. Raises EfuseError where another board reads it."""
        writes_only = flags & (os.O_WRONLY | os.O_RDWR) == os.O_WRONLY
        if found is None or writes_only or not is_pipe(found) or self._run._one_at_a_time:
            return
        with _lock:
            reader = self._run._pipe_readers.setdefault((found.st_dev, found.st_ino), self)
        if reader is not self:
            error = EfuseError(
                f"{name} is a pipe that another board's script reads: each byte of it goes to one of them",
                hint="Write what it gives into a file, and name that; or give it as a config file.",
            )
            self.refuse(error)
            raise error

    def replaced(self, name: Any) -> None:
        """Note a file that is about to be replaced, cut off or deleted.

        Raises:
            EfuseError: boards would share its state at once.
        """
        path = self._run.path_of(name)
        self._run.moved()
        if not path.endswith(_MODULES):
            self._touch(path, reads=False, writes=True)

    def _touch(self, path: str, *, reads: bool, writes: bool, found: os.stat_result | None = None) -> None:
        try:
            self._run._touched(self, path, reads=reads, writes=writes)
        except EfuseError as error:
            self.refuse(error)
            raise
        if reads and path not in self._found:
            self._found[path] = _digest_of(path, found)


def _raise(error: EfuseError) -> None:
    raise error


def _imported_before(paths: Collection[str]) -> dict[str, str]:
    """Return modules that an earlier run of this process has imported, with their digests as read then.

    Nobody opens them again; only those of `paths` that are still loaded count.
    """
    if not paths:
        return {}
    files = [getattr(module, "__file__", None) or "" for module in tuple(sys.modules.values())]
    names = tuple(os.sep + Path(path).name for path in paths)
    loaded = {os.path.realpath(file) for file in files if file.endswith(names)}
    return {path: _modules[path] for path in loaded.intersection(paths)}


def _read_module(path: str) -> str:
    """Note the code of a module that is read, or what Python compiled of it; return the file that counts.

    That is the source where there is one.
    """
    if path.endswith(".pyc"):
        try:
            source = source_from_cache(path)
        except (ValueError, NotImplementedError):
            source = path
        path = source if Path(source).exists() else path
    if path not in _modules:
        _modules[path] = _digest_now(path)
    return path


def _look(path: str) -> os.stat_result | None:
    """Return what stat says; None for nothing, and for a name that no file can have."""
    try:
        return Path(path).stat()
    except (OSError, ValueError):
        return None


def _digest_now(path: str) -> str:
    """Return the SHA-256 of a file as it is now; empty where it cannot be read.

    It is read once for all boards.
    """
    return _digest_of(path, _look(path))


def _digest_of(path: str, found: os.stat_result | None) -> str:
    if found is None or not stat.S_ISREG(found.st_mode):
        return ""
    signature = (found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns)
    with _lock:
        known = _known.get(path)
    if known is not None and known[0] == signature:
        return known[1]
    digest = hashlib.sha256()
    try:
        with Path(path).open("rb", buffering=0) as file:
            while chunk := file.read(_CHUNK):
                digest.update(chunk)
    except OSError:
        return ""
    with _lock:
        while len(_known) >= _KNOWN_AT_MOST:
            del _known[next(iter(_known))]
        _known[path] = (signature, digest.hexdigest())
    return digest.hexdigest()


@functools.cache
def _python_folders() -> tuple[str, ...]:
    """Return where Python and parburn themselves lie."""
    places = [Path(os.__file__).parent, Path(threading.__file__).parent, Path(__file__).parent.parent]
    return tuple(os.path.realpath(place) + os.sep for place in dict.fromkeys(places))


def _is_installed(path: str) -> bool:
    return path.startswith((*_python_folders(), *_NO_FILES)) or any(
        f"{os.sep}{name}{os.sep}" in path for name in _PACKAGES
    )


# The hook ---------------------------------------------------------------------------------------------


def _install() -> None:
    global _hooked
    with _lock:
        if not _hooked:
            _hooked = True
            _python_folders()
            sys.addaudithook(_heard)


def _heard(event: str, arguments: tuple[Any, ...]) -> None:
    """Take each audit event of the process from Python."""
    hears = _EVENTS.get(event)
    if hears is None:
        return
    board = READER.get()
    if board is None:
        return
    token = READER.set(None)  # what we open ourselves is nobody's
    try:
        hears(board, arguments)
    finally:
        READER.reset(token)


def _open(board: BoardInputs, arguments: tuple[Any, ...]) -> None:
    name, _mode, flags = arguments
    if isinstance(name, (str, bytes, os.PathLike)):
        board.opened(name, flags or 0)
    elif isinstance(name, int):
        board.taken_up(name)


def _import(board: BoardInputs, arguments: tuple[Any, ...]) -> None:
    if isinstance(arguments[1], str):  # a module of machine code
        board.opened(arguments[1], os.O_RDONLY)


def _rename(board: BoardInputs, arguments: tuple[Any, ...]) -> None:
    board.replaced(arguments[0])
    board.replaced(arguments[1])


def _link(board: BoardInputs, arguments: tuple[Any, ...]) -> None:
    board.replaced(arguments[1])


def _remove(board: BoardInputs, arguments: tuple[Any, ...]) -> None:
    if not isinstance(arguments[0], int):
        board.replaced(arguments[0])


def _input(board: BoardInputs, arguments: tuple[Any, ...]) -> None:
    """Refuse to ask at the terminal: a user's module's `input` is not the script's own."""
    raise PermissionError(f"input() is refused in a script: {INPUT_WHY}")


_EVENTS: dict[str, Callable[[BoardInputs, tuple[Any, ...]], None]] = {
    "open": _open,
    "import": _import,
    "builtins.input": _input,
    "os.rename": _rename,
    "os.remove": _remove,
    "os.truncate": _remove,
    "os.symlink": _link,
    "os.link": _link,
}
