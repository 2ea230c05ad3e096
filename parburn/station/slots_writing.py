"""Writes a slots file: all of it or nothing. It checks nothing of it and opens no port."""

from __future__ import annotations

import json
import os
import re
import tempfile
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Final

from parburn.errors import UsageError
from parburn.natural_order import natural_key
from parburn.station.slots_file import Slot, SlotsFile

_BARE: Final = re.compile(r"[A-Za-z0-9_-]+")
_HEAD: Final = "# Slots of a rig: name and place of each socket. Made by `parburn slots learn`.\n"


def write_slots(file: SlotsFile, *, new: bool = False) -> None:
    """Write a slots file: all of it or nothing. Comments at the head of the old one are kept.

    Args:
        file: What is to be written; its slots are put in natural order.
        new: There must be no file of this name yet.

    Raises:
        UsageError: it cannot be written. The old file is as it was.
    """
    path = Path(os.path.realpath(file.path))
    text = (_head_of(path) or _HEAD) + "".join(_written(file))
    made = ""
    try:
        descriptor, made = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
        with open(descriptor, "wb") as out:  # noqa: PTH123  # a descriptor
            out.write(text.encode())
            out.flush()
            os.fsync(out.fileno())
        Path(made).chmod(_mode_of(path))
        _put_in_place(Path(made), path, new=new)
        made = ""
        _sync_folder(path.parent)
    except FileExistsError as error:
        raise UsageError(
            f"{path} was made meanwhile, by somebody else", hint="Learn into another file."
        ) from error
    except OSError as error:
        raise UsageError(
            f"{path} cannot be written: {error.strerror or error}", hint="It is as it was before."
        ) from error
    finally:
        if made:
            with suppress(OSError):
                Path(made).unlink()


def _put_in_place(made: Path, path: Path, *, new: bool) -> None:
    if new and path.exists():
        raise FileExistsError
    if new:
        with suppress(PermissionError):  # a file system without hard links
            path.hardlink_to(made)
            made.unlink()
            return
    made.replace(path)


def _sync_folder(folder: Path) -> None:
    """Make the new name durable, where a folder can be synced."""
    with suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def _mode_of(path: Path) -> int:
    with suppress(OSError):
        return path.stat().st_mode & 0o777
    return 0o644  # the station's user is to read it, too


def _head_of(path: Path) -> str:
    """Return the lines of comment with which a file begins, and the empty lines among them."""
    with suppress(OSError, UnicodeDecodeError):
        lines = path.read_text(encoding="utf-8").splitlines()
        end = next(
            (n for n, line in enumerate(lines) if line.strip() and not line.startswith("#")), len(lines)
        )
        return "".join(f"{line}\n" for line in lines[:end])
    return ""


def _written(file: SlotsFile) -> Iterator[str]:
    yield "[slots]\n"
    for slot in sorted(file.slots, key=lambda slot: natural_key(slot.name)):
        name = slot.name if _BARE.fullmatch(slot.name) else _quoted(slot.name)
        yield f"{name} = {_value(slot)}\n"


def _value(slot: Slot) -> str:
    parts = [f"place = {_quoted(slot.place)}"]
    if slot.kind != "plug":
        parts.append(f"kind = {_quoted(slot.kind)}")
    if slot.presence:
        parts.append(f"presence = {_quoted(slot.presence)}")
    if slot.also:
        parts.append(f"also = [{', '.join(map(_quoted, slot.also))}]")
    return _quoted(slot.place) if len(parts) == 1 else f"{{ {', '.join(parts)} }}"


def _quoted(text: str) -> str:
    return json.dumps(text, ensure_ascii=False)  # a basic string of TOML knows all of JSON's escapes
