"""Makes and caches the venvs in which the originals run. It starts pip and nothing else of them.

One venv a version, in `$PARBURN_PEERS_DIR` or the user's cache folder. The folder's name carries a digest
of the requirements, the Python and this recipe, so that a change of any of them builds anew; a mark is
written last, so that a build that was cut off is never used. A file lock lets many processes ask at once.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

REQUIREMENTS: dict[int, tuple[str, ...]] = {
    4: ("esptool>=4.12,<5", "bitstring<5"),
    5: ("esptool>=5.6,<6",),
}
RECIPE = "1"
MARK = "complete"
BUILD_DEADLINE_S = 600.0


class PeerMissingError(Exception):
    """The venv of a peer cannot be made; the message says why."""


def peers_are_off() -> bool:
    """Whether PARBURN_NO_PEERS=1 asks to leave out every test that needs a peer."""
    return os.environ.get("PARBURN_NO_PEERS", "") == "1"


def cache_folder() -> Path:
    """Where the venvs are kept between runs."""
    named = os.environ.get("PARBURN_PEERS_DIR")
    if named:
        return Path(named)
    import platformdirs

    return platformdirs.user_cache_path("parburn") / "peers"


def peer_python(version: int) -> Path:
    """The Python of the peer's venv (4 or 5), which is made first where it is missing.

    Raises PeerMissingError where it cannot be installed.
    """
    requirements = REQUIREMENTS[version]
    ingredients = "\n".join((RECIPE, sys.version, *requirements))
    digest = hashlib.sha256(ingredients.encode()).hexdigest()[:12]
    folder = cache_folder()
    venv = folder / f"v{version}-{digest}"
    python = venv / "bin" / "python"
    if not (venv / MARK).exists():
        try:
            folder.mkdir(parents=True, exist_ok=True)
            with _locked(folder / f"v{version}.lock"):
                if not (venv / MARK).exists():
                    _build(version, venv, python, requirements)
        except OSError as error:
            raise PeerMissingError(f"the peers' folder {folder} cannot be used: {error}") from error
    return python


def _build(version: int, venv: Path, python: Path, requirements: tuple[str, ...]) -> None:
    if venv.exists():  # an earlier build was cut off
        shutil.rmtree(venv)
    _run([sys.executable, "-m", "venv", str(venv)], f"the venv of espefuse {version}.x")
    pip = [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-input"]
    _run([*pip, *requirements], " ".join(requirements))
    _run([str(python), "-c", "import espefuse"], f"espefuse {version}.x")
    (venv / MARK).write_text("\n".join(requirements) + "\n")


def _run(command: list[str], what: str) -> None:
    try:
        done = subprocess.run(
            command,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=BUILD_DEADLINE_S,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        raise PeerMissingError(f"{what}: not ready after {BUILD_DEADLINE_S:.0f} s") from error
    if done.returncode:
        tail = "\n".join((done.stdout + done.stderr).strip().splitlines()[-12:])
        raise PeerMissingError(
            f"{what} cannot be installed (network? PARBURN_NO_PEERS=1 leaves it out):\n{tail}"
        )


@contextlib.contextmanager
def _locked(path: Path) -> Iterator[None]:
    """Hold an exclusive lock on `path`; another process may be building, which takes a while."""
    deadline = time.monotonic() + BUILD_DEADLINE_S
    with path.open("w") as file:
        while True:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError as error:
                if time.monotonic() > deadline:
                    raise PeerMissingError(f"another process holds {path} for too long") from error
                time.sleep(0.2)
        yield
