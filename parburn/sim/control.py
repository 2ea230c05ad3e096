"""Commands to a rig that serves: one a line, and one line back. What they do to boards is in `sockets`.

They come on standard input, whose end ends the rig, or on a Unix socket, on which several may talk at once.
Each answer is `ok`, with what the table says behind it, or `error` and a sentence. Empty lines get none.
"""

from __future__ import annotations

import json
import os
import select
import socket
import stat
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from types import TracebackType
from typing import NamedTuple

from parburn.errors import ParburnError, UsageError
from parburn.printable import printable
from parburn.sim.board import SimulatedBoard
from parburn.sim.sockets import SocketRig, mac_of

LONGEST_LINE = 4096
_CHUNK = 65536
_FORGET, _CHIP = "forget", "chip="


class Command(NamedTuple):
    """A command: how it is written, what it does and answers, and how many words it takes."""

    usage: str
    does: str
    least: int
    most: int
    run: Callable[[SocketRig, Sequence[str]], str]


def _insert(rig: SocketRig, words: Sequence[str]) -> str:
    name, chip, forget = _sorted(words[1:])
    if forget:
        raise UsageError("insert: forget means nothing here")
    return _said(rig.insert(rig.number_of(words[0]), name, chip=chip))


def _remove(rig: SocketRig, words: Sequence[str]) -> str:
    name, chip, forget = _sorted(words[1:])
    if name or chip:
        raise UsageError(f"remove: {name or chip} means nothing here")
    return rig.remove(rig.number_of(words[0]), forget=forget)


def _swap(rig: SocketRig, words: Sequence[str]) -> str:
    name, chip, forget = _sorted(words[1:])
    return _said(rig.swap(rig.number_of(words[0]), name, chip=chip, forget=forget))


def _replug(rig: SocketRig, words: Sequence[str]) -> str:
    return _said(rig.replug(*(rig.number_of(word) for word in words)))


def _twin(rig: SocketRig, words: Sequence[str]) -> str:
    return _said(rig.twin(rig.number_of(words[0]), rig.number_of(words[1])))


def _untwin(rig: SocketRig, words: Sequence[str]) -> str:
    return rig.untwin(rig.number_of(words[0]))


def _clone(rig: SocketRig, words: Sequence[str]) -> str:
    return _said(rig.clone(rig.number_of(words[0]), rig.number_of(words[1])))


def _fault(rig: SocketRig, words: Sequence[str]) -> str:
    rig.fault(rig.number_of(words[0]), " ".join(words[1:]))
    return ""


def _dead(rig: SocketRig, words: Sequence[str]) -> str:
    return _said(rig.dead(rig.number_of(words[0])))


def _forget(rig: SocketRig, words: Sequence[str]) -> str:
    rig.forget(words[0])
    return ""


def _boards(rig: SocketRig, words: Sequence[str]) -> str:
    return json.dumps(rig.boards())


def _witness(rig: SocketRig, words: Sequence[str]) -> str:
    if words and words[0] != "all":
        raise UsageError(f"witness: {words[0]} means nothing here")
    return rig.witness.summary(with_first=bool(words))


def _help(rig: SocketRig, words: Sequence[str]) -> str:
    return "; ".join(f"{one.usage}: {one.does}" for one in COMMANDS.values())


def _quit(rig: SocketRig, words: Sequence[str]) -> str:
    return ""


MANY = 100
COMMANDS: dict[str, Command] = {
    one.usage.split()[0]: one
    for one in (
        Command("insert SOCKET [BOARD] [chip=CHIP]", "put in; BOARD and MAC", 1, 3, _insert),
        Command("remove SOCKET [forget]", "take out; BOARD", 1, 2, _remove),
        Command("swap SOCKET [BOARD] [chip=CHIP] [forget]", "out and another in; BOARD and MAC", 1, 4, _swap),
        Command("replug SOCKET [OTHER]", "the same out and in again; BOARD and MAC", 1, 2, _replug),
        Command("twin SOCKET OTHER", "the board answers at OTHER too; BOARD and MAC", 2, 2, _twin),
        Command("untwin SOCKET", "only this node of the board goes; BOARD", 1, 1, _untwin),
        Command("clone SOCKET OTHER", "a blank chip with its identity at OTHER; BOARD and MAC", 2, 2, _clone),
        Command("fault SOCKET SENTENCE", "for the next board there, once more for more", 2, MANY, _fault),
        Command("dead SOCKET", "the board there, or a new one, answers nothing; BOARD and MAC", 1, 1, _dead),
        Command("forget BOARD", "delete the file of a board that was taken out", 1, 1, _forget),
        Command("boards", "what is where, in JSON", 0, 0, _boards),
        Command(
            "witness [all]", "line moves and closed ports, and those while a chip burned", 0, 1, _witness
        ),
        Command("help", "this", 0, 0, _help),
        Command("quit", "end", 0, 0, _quit),
    )
}


def answer(rig: SocketRig, line: str) -> tuple[str, bool]:
    """Do what a line says. Return the answer, without its end of line, and whether the rig is to end."""
    name, *words = line.split()
    command = COMMANDS.get(name)
    if command is None:
        return printable(f"error there is no command {name}; help tells them"), False
    if not command.least <= len(words) <= command.most:
        return f"error it reads: {command.usage}", False
    try:
        told = command.run(rig, words)
    except ParburnError as error:
        text = f"{error}. {error.hint}" if error.hint else str(error)
        text = " ".join(text.split())
        return printable(f"error {text}"), False
    except OSError as error:
        return printable(f"error {name} did not work: {error.strerror}"), False
    return printable(f"ok {told}".rstrip()), command.run is _quit


def _said(board: SimulatedBoard) -> str:
    return f"{board.name} {mac_of(board)}"


def _sorted(words: Sequence[str]) -> tuple[str | None, str | None, bool]:
    """Return the name, the chip and whether to forget, of the words behind a socket."""
    chips = [word.removeprefix(_CHIP) for word in words if word.startswith(_CHIP)]
    names = [word for word in words if not word.startswith(_CHIP) and word != _FORGET]
    if len(chips) > 1 or len(names) > 1:
        raise UsageError("one board and one chip at most")
    return next(iter(names), None), next(iter(chips), None), _FORGET in words


class _Talker:
    """One who sends lines and reads answers."""

    def __init__(self, rig: SocketRig, write: Callable[[bytes], None]) -> None:
        self._rig = rig
        self._write = write
        self._left = b""

    def take(self, data: bytes) -> bool:
        """Answer all whole lines; return whether the rig is to end.

        Raises:
            OSError: the answers cannot be written, or a line has no end.
        """
        *lines, self._left = (self._left + data).split(b"\n")
        for line in lines:
            text = line.decode(errors="replace").strip()
            if not text:
                continue
            said, ends = answer(self._rig, text)
            self._write(said.encode() + b"\n")
            if ends:
                return True
        if len(self._left) > LONGEST_LINE:
            self._write(b"error this line is too long\n")
            raise OSError("a line without end")
        return False


class StandardControl:
    """Commands on standard input."""

    def __init__(self, rig: SocketRig) -> None:
        """Take the rig; entering the context begins."""
        self._rig = rig
        self._talker = _Talker(rig, self._say)

    def __enter__(self) -> StandardControl:
        try:
            self._rig.watch(0, self._heed)
        except OSError as error:
            raise UsageError(
                "--control -: standard input is no pipe and no terminal",
                hint="Commands from a file: `cat FILE | parburn sim --control - ...`.",
            ) from error
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._rig.unwatch(0)

    def _heed(self) -> bool:
        if not select.select([0], [], [], 0)[0]:
            return False  # the rig may have been told twice, and a read would wait
        try:
            data = os.read(0, _CHUNK)
            return not data or self._talker.take(data)
        except OSError:  # who started us has gone
            return True

    def _say(self, text: bytes) -> None:
        sys.stdout.buffer.write(text)
        sys.stdout.buffer.flush()


class SocketControl:
    """Commands on a Unix socket. A client that does not read its answers is cut off."""

    def __init__(self, path: str, rig: SocketRig) -> None:
        """Take the rig and where to listen; entering the context begins."""
        self._path, self._rig = path, rig
        self._listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
        self._clients: dict[int, socket.socket] = {}
        self._place: tuple[int, int] | None = None

    def __enter__(self) -> SocketControl:
        try:
            self._make_way()
            self._listener.bind(self._path)
            Path(self._path).chmod(0o600)
            found = os.lstat(self._path)
            self._place = (found.st_dev, found.st_ino)
            self._listener.listen()
        except OSError as error:
            self._listener.close()
            raise UsageError(f"--control {self._path} cannot be made: {error.strerror or error}") from error
        except UsageError:
            self._listener.close()
            raise
        self._listener.setblocking(False)
        self._rig.watch(self._listener.fileno(), self._meet)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for fd in list(self._clients):
            self._part(fd)
        self._rig.unwatch(self._listener.fileno())
        self._listener.close()
        try:
            found = os.lstat(self._path)
            if self._place == (found.st_dev, found.st_ino):
                Path(self._path).unlink()
        except OSError:  # somebody has taken it away
            return

    def _make_way(self) -> None:
        """Take away the socket of a simulator that is gone."""
        try:
            mode = os.lstat(self._path).st_mode
        except FileNotFoundError:
            return
        if not stat.S_ISSOCK(mode):
            raise UsageError(f"--control {self._path}: something is in the way that is no socket")
        with socket.socket(socket.AF_UNIX) as trial:
            try:
                trial.connect(self._path)
            except ConnectionRefusedError:
                Path(self._path).unlink()
                return
        raise UsageError(f"--control {self._path}: another process listens there")

    def _meet(self) -> bool:
        try:
            client, _ = self._listener.accept()
        except OSError:  # gone already, or no descriptor is left
            return False
        client.setblocking(False)
        talker = _Talker(self._rig, client.sendall)
        self._clients[client.fileno()] = client
        self._rig.watch(client.fileno(), lambda: self._heed(client, talker))
        return False

    def _heed(self, client: socket.socket, talker: _Talker) -> bool:
        try:
            data = client.recv(_CHUNK)
        except BlockingIOError:
            return False
        except OSError:
            data = b""
        try:
            if data:
                return talker.take(data)
        except OSError:  # it is gone, or does not read
            data = b""
        self._part(client.fileno())
        return False

    def _part(self, fd: int) -> None:
        self._rig.unwatch(fd)
        self._clients.pop(fd).close()


def control_of(path: str, rig: SocketRig) -> StandardControl | SocketControl:
    """Return the context in which a rig takes commands: `-` is standard input, else a Unix socket's path."""
    return StandardControl(rig) if path == "-" else SocketControl(path, rig)
