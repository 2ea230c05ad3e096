"""The slots file: which socket of a rig is which place on USB. Opens no port.

It is TOML, one line a slot, made by `parburn slots learn` and fit to be changed by hand:

    # Rig 7, hall 2
    [slots]
    A1 = "pci-0000:00:14.0-usb-0:2.1:1.0"
    A2 = { place = "pci-0000:00:14.0-usb-0:2.2:1.0", also = ["pci-0000:00:14.0-usb-0:2.2:1.2"] }
    B1 = { place = "/dev/ttyAMA0", kind = "bridge", presence = "cts" }

`place` is a place on USB as `transport.slots` writes it, or a path (a simulated board, a fixed UART; from the
file's folder on), or an address. `also` are further nodes of the same board, which are never opened. `kind`
says whether the tty comes with the board (plug) or stays (bridge); `presence` how a bridge sees that a board
is there. Names and places are unique.
"""

from __future__ import annotations

import os
import re
import tomllib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Final, Literal, NamedTuple, cast, get_args

from parburn.errors import UsageError
from parburn.natural_order import natural_key
from parburn.nearest import did_you_mean, nearest_names
from parburn.printable import printable
from parburn.transport.slots import SCHEMES
from parburn.transport.tty_nodes import is_path, tty_at, usb_ttys

Kind = Literal["plug", "bridge"]
Presence = Literal["", "cts", "dsr", "dcd", "reset", "sync"]
KINDS: Final[tuple[Kind, ...]] = get_args(Kind)
PRESENCES: Final[tuple[Presence, ...]] = get_args(Presence)
BY_PATH: Final = "/dev/serial/by-path"
KEYS: Final = ("place", "kind", "presence", "also")
LEARN: Final = "`parburn slots learn {}` makes one."
MOST_SLOTS: Final = 256
_LONGEST_FILE: Final = 1 << 20
_NAME: Final = re.compile(r"[^\W_][\w.-]{0,19}")


class Slot(NamedTuple):
    """A socket of a rig. See the module for what the fields mean."""

    name: str
    place: str
    kind: Kind = "plug"
    presence: Presence = ""
    also: tuple[str, ...] = ()


class SlotsFile(NamedTuple):
    """A slots file as it was read: slots in natural order of their names."""

    path: Path
    slots: tuple[Slot, ...]

    def chosen(self, names: str) -> SlotsFile:
        """Return it with only the slots of `A1-A8,B2`; a range is one in natural order.

        Raises:
            UsageError: there is no such slot, or a range has no slot in it.
        """
        if not names.strip():
            raise UsageError(f"{self.path}#: no slot is named behind the #", hint="As in #A1-A8,B2.")
        wanted = {one for part in names.split(",") for one in self._range(part.strip())}
        return self._replace(slots=tuple(slot for slot in self.slots if slot.name in wanted))

    def _range(self, text: str) -> tuple[str, ...]:
        known = [slot.name for slot in self.slots]
        if text in known:
            return (text,)
        for dash in re.finditer("-", text):  # a name may have a dash in it
            first, last = text[: dash.start()], text[dash.end() :]
            if first in known and last in known:
                found = known[known.index(first) : known.index(last) + 1]
                if not found:
                    raise UsageError(f"{self.path}: {text} ends before it begins", hint=f"{last}-{first}")
                return tuple(found)
        missing = next((part for part in text.split("-") if part not in known), text)
        raise UsageError(
            f"{self.path} has no slot {missing!r}",
            hint=_sentence(did_you_mean(missing, known)) or _few(known),
        )


def _few(names: list[str]) -> str:
    return f"It has {', '.join(names[:8])}{', ..' if len(names) > 8 else ''}."


def _sentence(text: str) -> str:
    return text[:1].upper() + text[1:]


def places_now(slots: Iterable[Slot]) -> dict[str, str]:
    """Return the tty of each slot in which one is now, by the slot's name. It asks the kernel."""
    slots = tuple(slots)
    on_usb = usb_ttys() if any(not is_path(slot.place) for slot in slots) else {}
    found = {
        slot.name: tty_at(slot.place) if is_path(slot.place) else on_usb.get(slot.place) for slot in slots
    }
    return {name: one.path for name, one in found.items() if one is not None}


def named_path(slot: Slot) -> str:
    """Return the path of a slot in which nothing is: of a place on USB the link that udev would make."""
    return slot.place if is_path(slot.place) else f"{BY_PATH}/{slot.place}"


def port_now(slot: Slot) -> str:
    """Return the path by which a slot's tty is opened now. It asks the kernel."""
    return places_now((slot,)).get(slot.name) or named_path(slot)


def check_name(name: str) -> str:
    """Return the name of a slot. Raises UsageError: it is none."""
    if not _NAME.fullmatch(name):
        raise UsageError(
            f"{printable(name)!r} is no name of a slot",
            hint="Letters, digits, dots and dashes, at most 20, as A1 or rack-2.7.",
        )
    return name


# Reading --------------------------------------------------------------------------------------------


def read_slots(path: Path) -> SlotsFile:
    """Return a slots file, all of it checked.

    Raises:
        UsageError: it cannot be read, or something in it is wrong: file and line, and what it should be.
    """
    try:
        if path.stat().st_size > _LONGEST_FILE:
            raise UsageError(f"{path} is no slots file: it is too long", hint=LEARN.format(path))
        text = path.read_bytes().decode()
    except OSError as error:
        raise UsageError(
            f"{path} cannot be read: {error.strerror or error}",
            hint=LEARN.format(path),
        ) from error
    except UnicodeDecodeError as error:
        raise UsageError(f"{path} is no slots file: it is not UTF-8", hint=LEARN.format(path)) from error
    return SlotsFile(path, _Reader(path, text).slots())


class _Reader:
    """One file while it is read: what is wrong is told with its line."""

    def __init__(self, path: Path, text: str) -> None:
        self._path = path
        self._lines = text.splitlines()
        self._text = text

    def slots(self) -> tuple[Slot, ...]:
        """Return what the file says."""
        found = self._parsed()
        for key in found:
            if key != "slots":
                raise self._wrong(key, f"there is no {printable(key)!r} here", did_you_mean(key, ["slots"]))
        slots = found.get("slots")
        if not isinstance(slots, dict) or not slots:
            raise self._wrong("slots", "no slot is in it", "a table [slots] with lines NAME = PLACE")
        if len(slots) > MOST_SLOTS:
            raise self._wrong("slots", f"it has more than {MOST_SLOTS} slots")
        made = [self._slot(name, value) for name, value in slots.items()]
        self._check_unique(made)
        return tuple(sorted(made, key=lambda slot: natural_key(slot.name)))

    def _parsed(self) -> dict[str, Any]:
        try:
            return tomllib.loads(self._text)
        except tomllib.TOMLDecodeError as error:
            said, _, where = str(error).rpartition(" (at ")
            line = re.search(r"line (\d+)", where)
            number = int(line[1]) if line else len(self._lines)
            if said.startswith("Cannot overwrite a value"):
                name = self._lines[number - 1].partition("=")[0].strip() if line else ""
                said = f"{printable(name)} stands in it twice"
            raise UsageError(
                f"{self._path}:{number}: {printable(said) or printable(str(error))}",
                hint="Each line is NAME = PLACE, the place in quotes.",
            ) from error
        except RecursionError as error:
            raise UsageError(f"{self._path} is no slots file: it is nested too deeply") from error

    def _slot(self, name: str, value: Any) -> Slot:
        try:
            check_name(name)
        except UsageError as error:
            raise self._wrong(name, str(error), error.hint) from error
        table = {"place": value} if isinstance(value, str) else value
        if not isinstance(table, dict):
            raise self._wrong(name, f"{name} needs a place in quotes", f'{name} = "pci-.."')
        for key in table:
            if key not in KEYS:
                near = did_you_mean(key, KEYS) or f"there are {', '.join(KEYS)}"
                raise self._wrong(key, f"{name}: there is no {printable(key)!r}", near)
        kind = self._word(name, table, "kind", KINDS, "plug")
        presence = self._word(name, table, "presence", PRESENCES, "")
        if presence and kind != "bridge":
            raise self._wrong(
                name, f"{name}: presence is for a bridge", 'add kind = "bridge", or leave it out'
            )
        also = table.get("also", [])
        if not isinstance(also, list):
            raise self._wrong(name, f"{name}: also is a list of places", 'also = ["pci-.."]')
        return Slot(
            name,
            self._place(name, table.get("place")),
            cast(Kind, kind),
            cast(Presence, presence),
            tuple(self._place(name, one) for one in also),
        )

    def _place(self, name: str, place: Any) -> str:
        if not isinstance(place, str) or not place.strip() or not place.isprintable():
            raise self._wrong(name, f"{name} needs a printable place", "`parburn ports` lists places (slots)")
        if place.startswith(SCHEMES) or not is_path(place):
            return place
        return os.path.normpath(self._path.absolute().parent / Path(place).expanduser())

    def _word(self, name: str, table: Mapping[str, Any], key: str, words: tuple[str, ...], usual: str) -> str:
        word = table.get(key, usual)
        if word not in words:
            near = nearest_names(str(word), [one for one in words if one])
            known = ", ".join(one for one in words if one)
            hint = f"did you mean {' or '.join(near)}?" if near else f"it is one of {known}"
            raise self._wrong(name, f"{name}: {printable(repr(word))} is no {key}", hint)
        return cast(str, word)

    def _check_unique(self, slots: Iterable[Slot]) -> None:
        names: dict[str, str] = {}
        places: dict[str, str] = {}
        for slot in slots:
            other = names.setdefault(slot.name.casefold(), slot.name)
            if other != slot.name:
                raise self._wrong(
                    slot.name, f"{other} and {slot.name} are one name to who reads them", "name one otherwise"
                )
            for place in (slot.place, *slot.also):
                if place in places:
                    who = places[place]
                    both = f"{who} twice" if who == slot.name else f"{who} and of {slot.name}"
                    raise self._wrong(
                        slot.name, f"{printable(place)} is a place of {both}", "each socket has its own place"
                    )
                places[place] = slot.name

    def _wrong(self, key: str, said: str, hint: str = "") -> UsageError:
        line = self._line_of(key)
        where = f"{self._path}:{line}" if line else str(self._path)
        return UsageError(f"{where}: {said}", hint=_sentence(hint))

    def _line_of(self, key: str) -> int:
        """Return the line in which a key stands first, from 1; 0 where it is written in some other way."""
        stands = re.compile(rf"""(^|[\s\[{{,."'])["']?{re.escape(key)}["']?\s*([=\].]|$)""")
        for number, line in enumerate(self._lines, 1):
            if not line.lstrip().startswith("#") and stands.search(line):
                return number
        return 0
