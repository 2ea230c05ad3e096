"""The engineer's way into a running station: unlock a socket, resume after a halt. A Unix socket, no port.

Who may is the file system's affair: the socket is 0660, of the engineers' group where one is named. A request
is one line, an answer is one line, both JSON; each is short, each wait has an end. The file is in a folder of
the system for running programs, named by a digest of the job's real path: two stations of one job could not
be told apart, so the second one is refused.

Nothing here decides what unlock and resume mean: the station gives two callables. `command_client` asks.
"""

from __future__ import annotations

import asyncio
import fcntl
import json
import os
import socket
import struct
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import IO, Any, Final

from anyio import to_thread

from parburn.errors import InternalError, ParburnError, UsageError
from parburn.station.command_place import (
    LONGEST_LINE,
    LONGEST_PATH,
    LONGEST_WHY,
    SYSTEM_FOLDER,
    runtime_folder,
    socket_name,
    user_name,
)
from parburn.ui.words import one_line

MOST_CLIENTS: Final = 8
ASK_S: Final = 2.0  # how long a client may take to say its line
DO_S: Final = 1.0  # how long the station may take to do it
BUSY: Final = "the station is busy: it is not known whether it was done, look at its screen"

Answer = str | Awaitable[str]
Unlock = Callable[[str], Answer]  # slot; returns what was done, raises ParburnError with why not
Resume = Callable[[str | None, str, str], Answer]  # slot or None for the station, why, who


class CommandSocket:
    """The station's end: `open` once, `close` at the end. Everything happens on the loop that opened it."""

    def __init__(
        self, job: Path, *, unlock: Unlock, resume: Resume, group: str = "", folder: Path | None = None
    ) -> None:
        """Take whose station it is and what does what is asked.

        Args:
            job: The job file; clients find the station by its real path.
            unlock: Gets a slot.
            resume: Gets a slot or None, the reason, and who asks. Both answer with a sentence, at once or as
                an awaitable; a ParburnError is the answer "why not".
            group: The engineers' group; empty: the socket is for whoever is in this process's group.
            folder: Where; None: `runtime_folder`.
        """
        self._job = job
        self._unlock = unlock
        self._resume = resume
        self._group = group
        self._folder = folder
        self._server: asyncio.Server | None = None
        self._lock: IO[str] | None = None
        self._clients: set[asyncio.Task[None]] = set()
        self._doing: set[asyncio.Task[dict[str, Any]]] = set()
        self.path = Path()

    async def open(self) -> None:
        """Listen. What a dead station has left is replaced.

        Raises:
            UsageError: a station of this job runs, there is no such group, or no socket can be made.
        """
        listening = await to_thread.run_sync(self._made)
        try:
            self._server = await asyncio.start_unix_server(self._serve, sock=listening, limit=LONGEST_LINE)
        except BaseException:
            listening.close()
            await to_thread.run_sync(self._removed)
            raise

    def _made(self) -> socket.socket:
        """Make folder, lock and socket; in a thread, since a loop waits for no disk."""
        gid = _gid_of(self._group)
        folder = self._folder or runtime_folder(group=gid is not None)
        try:
            _make_folder(folder, gid)
            self.path = folder / socket_name(self._job)
            self._lock = _locked(self.path.with_suffix(".lock"), self._job)
            return _bound(self.path, gid)
        except OSError as error:
            self._unlocked()
            raise UsageError(
                f"no socket for commands can be made in {folder}: {error.strerror or error}",
                hint="Mend the rights of that folder, or set XDG_RUNTIME_DIR. Nothing was burned.",
            ) from error
        except UsageError:
            self._unlocked()
            raise

    async def close(self) -> None:
        """Listen no more, and remove the socket. A second time it does nothing."""
        server, self._server = self._server, None
        if server is None:
            return
        server.close()
        for task in self._clients:
            task.cancel()
        if self._clients:
            await asyncio.wait(self._clients, timeout=DO_S)
        await to_thread.run_sync(self._removed)

    def _removed(self) -> None:
        with suppress(OSError):
            self.path.unlink()
        self._unlocked()

    def _unlocked(self) -> None:
        lock, self._lock = self._lock, None
        if lock is not None:
            lock.close()  # the file stays: removing it would let two stations hold a lock each

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        full = len(self._clients) >= MOST_CLIENTS
        self._clients.add(task)
        try:
            answer = (
                _not_done("too many ask at once: try again in a moment")
                if full
                else await self._answer(reader, writer)
            )
            writer.write(json.dumps(answer).encode() + b"\n")
            with suppress(OSError, TimeoutError):
                await asyncio.wait_for(writer.drain(), ASK_S)
        finally:
            self._clients.discard(task)
            writer.close()

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> dict[str, Any]:
        try:
            line = await asyncio.wait_for(reader.readline(), ASK_S)
            asked = _parsed(line)
        except (TimeoutError, OSError):
            return _not_done("nothing was asked in time")
        except ValueError as error:
            return _not_done(f"that is no command of a station: {error}")
        doing = asyncio.create_task(self._done(asked, _uid_of(writer)))
        self._doing.add(
            doing
        )  # it goes on when nobody waits any more: half of a resume is worse than a late one
        doing.add_done_callback(self._doing.discard)
        done, _ = await asyncio.wait({doing}, timeout=DO_S)
        return doing.result() if done else _not_done(BUSY)

    async def _done(self, asked: Mapping[str, Any], uid: int) -> dict[str, Any]:
        """Do it; return the answer. It never raises: a mistake of ours must not end the station."""
        if asked["do"] == "which":
            return {"done": True, "said": str(self._job)}
        try:
            if asked["do"] == "unlock":
                said = self._unlock(asked["slot"])
            else:
                who = await to_thread.run_sync(user_name, uid)  # it may ask a server on the network
                said = self._resume(asked["slot"], asked["why"], who)
            return {"done": True, "said": said if isinstance(said, str) else await said}
        except ParburnError as error:
            return _not_done(str(error), error.hint)
        except Exception as error:
            internal = InternalError(error)
            return _not_done(str(internal), internal.hint)


def _not_done(said: str, hint: str = "") -> dict[str, Any]:
    return {"done": False, "said": said, "hint": hint}


def _parsed(line: bytes) -> dict[str, Any]:
    """Return a request. Raises ValueError for anything else; what others send is never trusted."""
    if not line.endswith(b"\n"):
        raise ValueError("it has no end")
    asked = json.loads(line)
    if not isinstance(asked, dict) or asked.get("do") not in ("which", "unlock", "resume"):
        raise ValueError("it asks for nothing that is known")
    slot, why = asked.get("slot"), asked.get("why", "")
    if not (slot is None or isinstance(slot, str)) or not isinstance(why, str):
        raise ValueError("slot and why are texts")
    if asked["do"] == "unlock" and not slot:
        raise ValueError("unlock needs a slot")
    why = one_line(why)
    if asked["do"] == "resume" and not 0 < len(why) <= LONGEST_WHY:
        raise ValueError(f"resume needs a reason of at most {LONGEST_WHY} characters")
    return {"do": asked["do"], "slot": one_line(slot) if slot else None, "why": why}


def _uid_of(writer: asyncio.StreamWriter) -> int:
    """Return the number of the user at the other end, as the kernel knows it."""
    raw = writer.get_extra_info("socket").getsockopt(
        socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i")
    )
    return int(struct.unpack("3i", raw)[1])


def _gid_of(group: str) -> int | None:
    import grp  # here: only a station with a group needs it

    try:
        return grp.getgrnam(group).gr_gid if group else None
    except KeyError:
        raise UsageError(
            f"there is no group {group}", hint="Make it (groupadd), or name the engineers' group."
        ) from None


def _locked(path: Path, job: Path) -> IO[str]:
    """Return the locked file that says that a station runs. The kernel unlocks it at any end."""
    file = path.open("a+")
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        file.seek(0)
        process = one_line(file.read(20)) or "unknown"
        file.close()
        raise UsageError(
            f"a station of {job} runs already: process {process}",
            hint="Each job has one station. Use that one, or end it first. Nothing was burned.",
        ) from None
    with suppress(OSError):  # a full disk: the lock holds without the number, too
        file.truncate(0)
        file.write(f"{os.getpid()}\n")
        file.flush()
    return file


def _bound(path: Path, gid: int | None) -> socket.socket:
    """Return a socket that has its rights before anybody can connect: nobody can until it listens."""
    if len(os.fsencode(path)) > LONGEST_PATH - 4:
        raise UsageError(f"{path} is too long for a socket", hint="Set XDG_RUNTIME_DIR to a shorter path.")
    new = path.with_suffix(".new")
    new.unlink(missing_ok=True)
    bound = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        bound.bind(os.fsencode(new))
        if gid is not None:
            os.chown(new, -1, gid)
        new.chmod(0o660)
        new.rename(path)  # in place of what a dead station has left
    except OSError:
        bound.close()
        new.unlink(missing_ok=True)
        raise
    return bound


def _make_folder(folder: Path, gid: int | None) -> None:
    """Make the folder; refuse one in which somebody else could put a socket of his own."""
    folder.mkdir(mode=0o700, parents=False, exist_ok=True)
    found = folder.lstat()
    mine = found.st_uid == os.getuid() and not found.st_mode & 0o022
    if not folder.is_dir() or folder.is_symlink() or not (mine or folder == SYSTEM_FOLDER):
        raise UsageError(
            f"the folder {folder} is not this user's alone: no socket for commands is made there",
            hint="Remove it, or set XDG_RUNTIME_DIR. Nothing was burned.",
        )
    if gid is not None and folder != SYSTEM_FOLDER:
        os.chown(folder, -1, gid)
        folder.chmod(0o750)
