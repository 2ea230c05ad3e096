"""The slots file: what is read, what is refused and how, what is written; and where its slots are now."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from parburn.errors import UsageError
from parburn.station import slots_file
from parburn.station.slots_file import KINDS, PRESENCES, Slot, SlotsFile, places_now, port_now, read_slots
from parburn.station.slots_writing import write_slots
from parburn.transport.tty_nodes import FoundTty
from tests.station.sockets import Sockets

USB = "pci-0000:00:14.0-usb-0"
RIG = f"""\
# Rig 7, hall 2
# the left one

[slots]
A2 = "{USB}:2.2:1.0"
A10 = "{USB}:2.10:1.0"
A1 = {{ place = "{USB}:2.1:1.0", also = ["{USB}:2.1:1.2"] }}
B1 = {{ place = "/dev/ttyAMA0", kind = "bridge", presence = "cts" }}
"""


def written(folder: Path, text: str) -> Path:
    path = folder / "rig7.slots.toml"
    path.write_text(text)
    return path


def test_a_file_is_read_in_natural_order(tmp_path: Path) -> None:
    path = written(tmp_path, RIG)
    assert read_slots(path) == SlotsFile(
        path,
        (
            Slot("A1", f"{USB}:2.1:1.0", also=(f"{USB}:2.1:1.2",)),
            Slot("A2", f"{USB}:2.2:1.0"),
            Slot("A10", f"{USB}:2.10:1.0"),
            Slot("B1", "/dev/ttyAMA0", "bridge", "cts"),
        ),
    )


def test_a_path_is_one_from_the_folder_of_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    written(tmp_path, '[slots]\nA1 = "./ttyUSB0"\nA2 = "socket://b:4000"\n')
    monkeypatch.chdir(tmp_path)
    (tmp_path / "elsewhere").mkdir()
    assert read_slots(Path("rig7.slots.toml")).slots == (
        Slot("A1", str(tmp_path / "ttyUSB0")),
        Slot("A2", "socket://b:4000"),
    )


@pytest.mark.parametrize(
    ("text", "line", "said", "hint"),
    [
        ("", 0, "no slot is in it", "[slots]"),
        ("[slots]\n", 1, "no slot is in it", "[slots]"),
        ("[slot]\nA1 = 'x'\n", 1, "there is no 'slot' here", "did you mean slots?"),
        ("[slots]\nA1 = 'x'\nA1 = 'y'\n", 3, "A1 stands in it twice", "NAME = PLACE"),
        ("[slots]\nA1 = 'x'\nA2 = 'x'\n", 3, "x is a place of A1 and of A2", "its own place"),
        ("[slots]\nA1 = {place = 'x', also = ['y', 'x']}\n", 2, "x is a place of A1 twice", "its own"),
        ("[slots]\nA1 = 'y'\nA2 = {place = 'x', also = ['y']}\n", 3, "y is a place of A1 and of A2", ""),
        ("[slots]\nA1 = 'x'\na1 = 'y'\n", 3, "A1 and a1 are one name", "otherwise"),
        ("[slots]\nA1 = {place = 'x', als = ['y']}\n", 2, "A1: there is no 'als'", "did you mean also?"),
        ("[slots]\nA1 = {place = 'x', kind = 'brige'}\n", 2, "'brige' is no kind", "mean bridge?"),
        ("[slots]\nA1 = {place = 'x', kind = 'bridge', presence = 'rts'}\n", 2, "is no presence", "cts"),
        ("[slots]\nA1 = {place = 'x', kind = ['bridge']}\n", 2, "is no kind", "bridge"),
        ("[slots]\nA1 = {place = 'x', presence = 'cts'}\n", 2, "presence is for a bridge", "leave it out"),
        ("[slots]\nA1 = {place = 'x', also = 'y'}\n", 2, "also is a list", "also = ["),
        ("[slots]\nA1 = {}\n", 2, "A1 needs a printable place", "lists places"),
        ("[slots]\nA1 = 5\n", 2, "A1 needs a place", "A1 ="),
        ("[slots]\nA1 = ' '\n", 2, "A1 needs a printable place", "lists places"),
        ("[slots]\nA1 = \"x\\u001b[2J\"\n", 2, "A1 needs a printable place", "lists places"),
        ("[slots]\n'A 1' = 'x'\n", 2, "'A 1' is no name", "Letters"),
        ("[slots]\n'' = 'x'\n", 2, "'' is no name", "Letters"),
        ("[slots]\n# A1 = 'x'\nA1 = 'x\n", 3, "", "NAME = PLACE"),
        ("# one\n\nname = 'rig'\n[slots]\nA1 = 'x'\n", 3, "there is no 'name' here", ""),
        ("[slots.A1]\nplace = 'x'\n[slots.A2]\nplace = 'x'\n", 3, "x is a place of A1 and of A2", ""),
    ],
)  # fmt: skip
def test_each_mistake_has_its_sentence_with_its_line(
    tmp_path: Path, text: str, line: int, said: str, hint: str
) -> None:
    path = written(tmp_path, text)
    with pytest.raises(UsageError) as caught:
        read_slots(path)
    assert str(caught.value).startswith(f"{path}:{line}: " if line else f"{path}: ")
    assert said in str(caught.value)
    assert hint.lower() in caught.value.hint.lower()
    assert "\x1b" not in str(caught.value)


def test_files_that_are_none(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="cannot be read") as caught:
        read_slots(tmp_path / "no.toml")
    assert "slots learn" in caught.value.hint
    with pytest.raises(UsageError, match="cannot be read"):
        read_slots(tmp_path)
    odd = tmp_path / "odd"
    odd.write_bytes(b"\xff\xfe\0")
    with pytest.raises(UsageError, match="UTF-8"):
        read_slots(odd)
    odd.write_text("[slots]\nA1 = " + "[" * 5000)
    with pytest.raises(UsageError, match=str(odd)):
        read_slots(odd)
    odd.write_text("#" * (2 << 20))
    with pytest.raises(UsageError, match="too long"):
        read_slots(odd)


# --- what is chosen of it


def rig(*names: str) -> SlotsFile:
    return SlotsFile(Path("rig.toml"), tuple(Slot(name, f"p{n}") for n, name in enumerate(names)))


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("A1", "A1"),
        ("A1,A10", "A1 A10"),
        ("A10, A1", "A1 A10"),
        ("A2-A10", "A2 A3 A10"),
        ("A2-A2", "A2"),
        ("A3-b-2", "A3 A10 b-2"),
        ("b-2", "b-2"),
        ("b-2-b-10,A1", "A1 b-2 b-10"),
    ],
)
def test_slots_are_chosen_by_name_and_range(text: str, names: str) -> None:
    chosen = rig("A1", "A2", "A3", "A10", "b-2", "b-10").chosen(text)
    assert [slot.name for slot in chosen.slots] == names.split()


@pytest.mark.parametrize(
    ("text", "said"),
    [("", "no slot is named"), ("A4", "no slot 'A4'"), ("A1-A9", "no slot 'A9'"), ("A10-A1", "ends before"),
     ("A1,,A2", "no slot ''")],
)  # fmt: skip
def test_what_is_not_there_cannot_be_chosen(text: str, said: str) -> None:
    with pytest.raises(UsageError, match=said) as caught:
        rig("A1", "A2", "A10").chosen(text)
    assert caught.value.hint


# --- writing

NAMES = st.from_regex(r"[A-Za-zÄé1-9][A-Za-z0-9_.ß-]{0,19}", fullmatch=True)
PLACES = st.text(st.characters(exclude_categories=["C", "Z"]), min_size=1, max_size=12).filter(
    lambda text: "/" not in text and text.isprintable()
)


@st.composite
def slot_lists(draw: st.DrawFn) -> list[Slot]:
    names = draw(st.lists(NAMES, min_size=1, max_size=6, unique_by=str.casefold))
    places = iter(draw(st.lists(PLACES, min_size=18, max_size=18, unique=True)))
    found = []
    for name in names:
        kind = draw(st.sampled_from(KINDS))
        presence = draw(st.sampled_from(PRESENCES)) if kind == "bridge" else ""
        also = [next(places) for _ in range(draw(st.integers(0, 2)))]
        found.append(Slot(name, next(places), kind, presence, tuple(also)))
    return found


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(slots=slot_lists())
def test_what_is_written_is_read_again(tmp_path: Path, slots: list[Slot]) -> None:
    path = tmp_path / "rig.toml"
    write_slots(SlotsFile(path, tuple(slots)))
    assert sorted(read_slots(path).slots) == sorted(slots)


def test_comments_at_the_head_and_the_rights_are_kept(tmp_path: Path) -> None:
    path = written(tmp_path, RIG)
    path.chmod(0o640)
    write_slots(read_slots(path))
    lines = path.read_text().splitlines()
    assert lines[:5] == ["# Rig 7, hall 2", "# the left one", "", "[slots]", lines[4]]
    assert [line.split()[0] for line in lines[4:]] == ["A1", "A2", "A10", "B1"]
    assert path.stat().st_mode & 0o777 == 0o640


def test_a_new_file_can_be_read_by_the_users_of_the_station(tmp_path: Path) -> None:
    path = tmp_path / "rig.toml"
    write_slots(SlotsFile(path, (Slot("A1", "x"),)), new=True)
    assert path.stat().st_mode & 0o777 == 0o644
    assert path.read_text().startswith("# Slots of a rig")
    with pytest.raises(UsageError, match="was made meanwhile"):
        write_slots(SlotsFile(path, (Slot("A2", "x"),)), new=True)
    assert [slot.name for slot in read_slots(path).slots] == ["A1"]
    assert [one.name for one in tmp_path.iterdir()] == ["rig.toml"]


def test_a_link_to_a_file_stays_one(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    path = written(tmp_path / "real", RIG)
    link = tmp_path / "rig.toml"
    link.symlink_to(path)
    write_slots(SlotsFile(link, (Slot("A1", "x"),)))
    assert link.is_symlink()
    assert [slot.name for slot in read_slots(path).slots] == ["A1"]


def test_a_file_that_cannot_be_written_is_as_it_was(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = written(tmp_path, RIG)

    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(UsageError, match="No space left"):
        write_slots(SlotsFile(path, (Slot("A1", "x"),)))
    assert path.read_text() == RIG
    assert [one.name for one in tmp_path.iterdir()] == [path.name]


# --- where they are now


def test_slots_are_where_a_tty_is(sockets: Sockets) -> None:
    slots = [Slot("A1", sockets.path(0)), Slot("A2", sockets.path(1)), Slot("A3", f"{USB}:9.9:1.0")]
    (sockets.folder / "ttyUSB1").write_text("no tty")
    assert places_now(slots) == {}
    sockets.insert(0)
    assert places_now(slots) == {"A1": sockets.path(0)}


def test_a_place_on_usb_is_opened_by_the_tty_that_is_there_now(monkeypatch: pytest.MonkeyPatch) -> None:
    """A bridge of a rig stands in the file by its place: that is no path."""
    place = "pci-0000:00:14.0-usb-0:2.1:1.0"
    slot = Slot("B1", place, "bridge")
    assert port_now(slot) == f"/dev/serial/by-path/{place}"
    found = FoundTty(place, "/dev/ttyUSB7", ("key",))
    monkeypatch.setattr(slots_file, "usb_ttys", lambda: {place: found})
    assert port_now(slot) == "/dev/ttyUSB7"
    assert port_now(Slot("B2", "/dev/ttyAMA0", "bridge")) == "/dev/ttyAMA0"
