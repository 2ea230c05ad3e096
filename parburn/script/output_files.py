"""Files that `summary --file` and `dump --file_name` write: one for each board.

A name may have `{port}`, `{slot}`, `{index}` and `{mac}`, which are filled in for each board. With several
boards a name without any of them would be written by all boards, one over the other: where it stands in a
command it is refused before a port is opened (`shared_output`), and where a script makes it up, the second
board that would write it is refused.
"""

from __future__ import annotations

import os
import re
from pathlib import Path, PurePath

from parburn.errors import EfuseError
from parburn.script.session import DeviceFacts, Draft

PLACES = ("{port}", "{slot}", "{index}", "{mac}")
NAME_IT = "Give each board a file of its own: put {port}, {slot}, {index} or {mac} into the name."
_UNSAFE = re.compile(r"[^A-Za-z0-9._-]+")


def output_file(draft: Draft, name: str | Path) -> Path:
    """Return the file that a command writes for this board.

    Raises EfuseError, after which this board goes no further, where another board writes the same.
    """
    session = draft.session
    path = Path(filled_in(str(name), session.facts))
    mac = session.facts.mac.hex(":")
    writer = session.files.writer_of(os.path.realpath(path), mac)
    if writer != mac:
        refused = EfuseError(f"{path} is written for the chip {writer}, too", hint=NAME_IT)
        session.stop_with(refused)
        raise refused
    return path


def filled_in(name: str, facts: DeviceFacts) -> str:
    """Return the name for one board; what is filled in has letters, digits, `.`, `_` and `-` only.

    Raises EfuseError where it asks for an index and there is none.
    """
    if "{index}" in name and facts.index is None:
        raise EfuseError(
            f"{name}: there is no index in a run that only shows",
            hint="Use {port}, {slot} or {mac} in the name.",
        )
    values = {
        "{port}": _safe(PurePath(facts.port).name or facts.port),
        "{slot}": _safe(facts.slot or PurePath(facts.port).name),
        "{index}": str(facts.index),
        "{mac}": facts.mac.hex(),
    }
    for place, value in values.items():
        name = name.replace(place, value)
    return name


def _safe(text: str) -> str:
    return _UNSAFE.sub("_", text).lstrip(".") or "_"
