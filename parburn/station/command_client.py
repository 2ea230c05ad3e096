"""The engineer's end of a command socket: `parburn station unlock` and `resume`. No loop, no port."""

from __future__ import annotations

import json
import os
import socket
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

from parburn.errors import NoStation, NotDone
from parburn.station.command_place import LONGEST_LINE, LONGEST_WHY, folders_to_look_in, socket_name
from parburn.ui.words import one_line

WAIT_S: Final = 4.0  # how long a client waits for the answer: the station's own two bounds, and some more


def send_unlock(slot: str, *, job: Path | None = None) -> str:
    """Have a socket unlocked; return what the station says.

    Args:
        slot: Its name.
        job: The station's job file; None: the one station that runs on this machine.

    Raises:
        NoStation: none runs, or more than one and no job is named.
        NotDone: why not.
    """
    return _ask({"do": "unlock", "slot": slot}, job)


def send_resume(slot: str | None, why: str, *, job: Path | None = None) -> str:
    """Have a station go on after a halt, or, with a slot, with the board in it; return what it says.

    Raises:
        NoStation: none runs, or more than one and no job is named.
        NotDone: why not.
    """
    why = one_line(why)
    if not 0 < len(why) <= LONGEST_WHY:
        raise NotDone(
            f"a reason of at most {LONGEST_WHY} characters is needed", hint="--why REASON; it is kept."
        )
    return _ask({"do": "resume", "slot": slot, "why": why}, job)


def _ask(request: Mapping[str, Any], job: Path | None) -> str:
    found = _sockets(job)
    if job is None:
        found = [path for path in found if _names_itself(path)]
        if len(found) > 1:
            jobs = ", ".join(sorted(filter(None, map(_names_itself, found))))
            raise NoStation(f"more than one station runs here: {jobs}", hint="Say which one: --job JOB.toml.")
    for path in found:
        answer = _exchange(path, request)
        if answer is not None:
            if not answer["done"]:
                raise NotDone(one_line(str(answer["said"])), hint=one_line(str(answer.get("hint", ""))))
            return one_line(str(answer["said"]))
    of = f" of {job}" if job is not None else ""
    raise NoStation(f"no station{of} runs on this machine", hint="Start it: parburn station JOB.toml.")


def _sockets(job: Path | None) -> list[Path]:
    found = []
    for folder in folders_to_look_in():
        with suppress(OSError):
            found += [folder / socket_name(job)] if job is not None else sorted(folder.glob("*.sock"))
    return found


def _names_itself(path: Path) -> str:
    """Return the job of the station behind a socket; empty where none answers."""
    with suppress(NotDone):
        answer = _exchange(path, {"do": "which"})
        return one_line(str(answer["said"])) if answer is not None else ""
    return ""


def _exchange(path: Path, request: Mapping[str, Any]) -> dict[str, Any] | None:
    """Ask one station; None where none is behind this file."""
    data = json.dumps(request).encode() + b"\n"
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as asking:
        asking.settimeout(WAIT_S)
        try:
            asking.connect(os.fsencode(path))
            with suppress(BrokenPipeError):  # it sends us away unheard, and says why
                asking.sendall(data)
            line = _line_from(asking)
            answer = json.loads(line)
        except (FileNotFoundError, ConnectionRefusedError):
            return None
        except PermissionError:
            raise NotDone(
                f"no rights to give commands to the station ({path})",
                hint="The socket belongs to the engineers' group: log in as one of them.",
            ) from None
        except (OSError, ValueError):
            answer = None
    if not isinstance(answer, dict) or not isinstance(answer.get("done"), bool) or "said" not in answer:
        raise NotDone(
            "the station gave no answer: it is not known whether it was done", hint="Look at its screen."
        )
    return answer


def _line_from(asking: socket.socket) -> bytes:
    line = b""
    while not line.endswith(b"\n") and len(line) <= 4 * LONGEST_LINE:
        part = asking.recv(LONGEST_LINE)
        if not part:
            break
        line += part
    return line
