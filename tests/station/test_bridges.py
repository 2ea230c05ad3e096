"""The installed station on bridges: ttys that stay while chips come and go, seen by answers or by a line."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from parburn.sim.control_client import ControlledRig
from tests.station.at_work import (
    SCRIPT,
    Said,
    StationProcess,
    arm,
    bits_of,
    command,
    make_job,
    running,
    units,
    until_units,
)
from tests.station.killed_at_once import BURNED, held_script

MORE = "first_article = 0\nbounds.look_ms = 100\nbounds.debounce_ms = 100\n"
STAYS_S = 1.2  # many looks
OPTIONS = {"sync": ("--strapped",), "reset": (), "cts": ("--presence", "cts")}
ENDS_LINK = "espefuse(esp, efuses, args, 'burn_efuse DIS_DOWNLOAD_MODE 1')\n"


@contextmanager
def bridges(folder: Path, presence: str, sockets: int = 2) -> Iterator[ControlledRig]:
    options = OPTIONS[presence]
    chips = f"esp32c3:{sockets}"
    with ControlledRig(chips, folder=folder / "rig", lines=True, bridges=True, options=options) as rig:
        yield rig


@contextmanager
def at_work(
    folder: Path, presence: str, *, sockets: int = 2, more: str = MORE, script: str = ""
) -> Iterator[tuple[ControlledRig, StationProcess, Path]]:
    """A station at work on empty bridges, and its job."""
    with bridges(folder, presence, sockets) as rig:
        given = {"script": script} if script else {}
        job = make_job(folder, rig, more=more, presence=presence, **given)
        armed = arm(job)
        assert armed.returncode == 0, armed.stderr
        with running(job) as station:
            station.until(lambda one: one["event"] == "station", "start")
            yield rig, station, job
            assert station.stop() == 0
        assert rig.witness().during_burns == 0


def dimmed(one: Said) -> bool:
    """Whether a socket's board is silent."""
    return one["event"] == "socket" and bool(one["dimmed"])


def nothing_for(station: StationProcess, seconds: float = STAYS_S) -> list[Said]:
    """Let some time go by; return what was told of sockets meanwhile."""
    before = len(station.said)
    time.sleep(seconds)
    with pytest.raises(AssertionError, match="no end"):
        station.until(lambda one: one["event"] == "ended", "end", within_s=0.1)
    return [one for one in station.said[before:] if one["event"] == "socket"]


@pytest.mark.parametrize("presence", ["sync", "reset", "cts"])
def test_boards_come_and_go_on_bridges(tmp_path: Path, presence: str) -> None:
    with at_work(tmp_path, presence) as (rig, station, _):
        time.sleep(1.0)
        first = rig.insert(0)
        assert station.verdict("A1", "PASS")["mac"] == first.mac
        moves = rig.witness().moves
        assert not [one for one in nothing_for(station) if one["state"] != "verdict"]
        if presence != "reset":  # the other seat of a rig that pulses is empty, and is pulsed on
            assert rig.witness().moves == moves
        rig.remove(0)
        if presence != "cts":
            station.until(dimmed, "silence")
        station.state("A1", "empty")
        rig.insert(0, first.name)  # the same one again
        assert station.verdict("A1", "PASS")["hollow"]
        rig.remove(0)
        station.state("A1", "empty")
        second = rig.insert(0)
        found = station.verdict("A1", "PASS")
        assert (found["mac"], found["index"]) == (second.mac, 2)


@pytest.mark.parametrize("presence", ["sync", "cts"])
def test_another_board_directly_after_one_that_passed(tmp_path: Path, presence: str) -> None:
    with at_work(tmp_path, presence) as (rig, station, _):
        macs = [rig.insert(0).mac]
        assert station.verdict("A1", "PASS")["mac"] == macs[0]
        for number in range(2, 5):
            if presence == "cts":
                rig.remove(0)
                time.sleep(0.35)
                macs.append(rig.insert(0).mac)
            else:
                macs.append(rig.swap(0).mac)
            found = station.until(
                lambda one: one.get("state") == "verdict" and one["mac"] == macs[-1], "the next one"
            )
            assert (found["word"], found["index"]) == ("PASS", number)


def test_answers_are_asked_for_without_a_move_of_a_line(tmp_path: Path) -> None:
    with at_work(tmp_path, "sync", sockets=4) as (rig, station, _):
        time.sleep(1.0)
        opened = rig.witness().moves
        for number in range(3):
            rig.insert(number)
        station.verdicts(3)
        nothing_for(station)
        rig.swap(0)
        station.verdict("A1", "PASS")
        for number in range(3):
            rig.remove(number)
        for number in range(3):
            station.until(lambda one: one.get("state") == "empty", f"empty {number}")
        time.sleep(1.0)
        assert rig.witness().moves == opened


def test_no_pulse_is_given_after_a_verdict(tmp_path: Path) -> None:
    with at_work(tmp_path, "reset", sockets=1) as (rig, station, job):
        empty = rig.witness().moves
        time.sleep(2.5)
        assert rig.witness().moves > empty, "an empty seat is looked at by pulses"
        rig.insert(0, chip="esp32c6")
        assert station.verdict("A1")["word"] == "WRONG BOARD"
        moves = rig.witness().moves
        rig.remove(0)
        nothing_for(station, 2.5)
        rig.insert(0)
        assert not [one for one in nothing_for(station, 2.5) if one["state"] != "verdict"]
        assert rig.witness().moves == moves
        assert command("station", "unlock", "A1", "--job", str(job)).returncode == 0
        station.until(lambda one: one.get("word") == "PASS", "PASS")


def test_a_verdict_that_is_no_pass_stays_until_another_chip_answers(tmp_path: Path) -> None:
    with at_work(tmp_path, "sync") as (rig, station, job):
        wrong = rig.insert(0, chip="esp32c6")
        assert station.verdict("A1")["word"] == "WRONG BOARD"
        rig.remove(0)
        station.until(dimmed, "silence")
        assert not [one for one in nothing_for(station) if one["state"] != "verdict"]
        board = rig.insert(0)
        found = station.until(lambda one: one.get("word") == "PASS", "PASS of the next one")
        assert found["mac"] == board.mac
        rig.swap(0, wrong.name)
        assert station.until(lambda one: one.get("word") == "WRONG BOARD", "the wrong one")
        rig.remove(0)
        station.until(dimmed, "silence")
        said = command("station", "unlock", "A1", "--job", str(job))
        assert said.returncode == 0, said.stderr
        station.state("A1", "empty")


def test_a_presence_line_ends_every_verdict(tmp_path: Path) -> None:
    with at_work(tmp_path, "cts", more=f"{MORE}retries = 1\n") as (rig, station, _):
        rig.dead(0)
        assert station.verdict("A1")["word"] == "RETRY"
        rig.remove(0)
        station.state("A1", "empty")
        rig.insert(0, chip="esp32c6")
        assert station.verdict("A1")["word"] == "WRONG BOARD"
        rig.remove(0)
        station.state("A1", "empty")
        rig.insert(0)
        station.verdict("A1", "PASS")


@pytest.mark.parametrize("presence", ["sync", "cts"])
def test_a_board_that_ended_its_link_is_not_taken_for_removed(tmp_path: Path, presence: str) -> None:
    with at_work(tmp_path, presence, script=SCRIPT + ENDS_LINK) as (rig, station, job):
        rig.insert(0)
        station.verdict("A1", "PASS")
        assert not [one for one in nothing_for(station) if one["state"] != "verdict"]
        rig.remove(0)
        if presence == "sync":
            assert not [one for one in nothing_for(station) if one["state"] != "verdict"]
            assert command("station", "unlock", "A1", "--job", str(job)).returncode == 0
        station.state("A1", "empty")
        board = rig.insert(0)
        assert station.verdict("A1", "PASS")["mac"] == board.mac


@pytest.mark.parametrize("presence", ["sync", "reset", "cts"])
def test_a_board_that_was_reset_at_its_end_is_not_taken_for_removed(tmp_path: Path, presence: str) -> None:
    with at_work(tmp_path, presence, sockets=1, more=f'{MORE}after = "hard-reset"\n') as (rig, station, job):
        first = rig.insert(0)
        station.verdict("A1", "PASS")
        moves = rig.witness().moves
        assert not [one for one in nothing_for(station) if one["state"] != "verdict"]
        rig.remove(0)
        if presence != "cts":
            assert not [one for one in nothing_for(station) if one["state"] != "verdict"]
            assert rig.witness().moves == moves
            assert command("station", "unlock", "A1", "--job", str(job)).returncode == 0
        station.state("A1", "empty")
        rig.insert(0, first.name)
        assert station.verdict("A1", "PASS")["hollow"]


@pytest.mark.parametrize("presence", ["sync", "reset", "cts"])
def test_a_board_pulled_in_mid_burn_is_asked_back(tmp_path: Path, presence: str) -> None:
    hold = tmp_path / "hold"
    with at_work(tmp_path, presence, sockets=1, script=held_script(hold)) as (rig, station, _):
        hold.touch()
        board = rig.insert(0)
        until_units(tmp_path, 1, *BURNED)
        rig.remove(0)
        hold.unlink()
        left = station.until(lambda one: "put it back" in one.get("detail", ""), "the call to put it back")
        assert left["word"] == "LEAVE IN"
        other = rig.insert(0)  # it waits
        waits = station.until(lambda one: one.get("state") == "hold", "another board that waits")
        assert waits["mac"] == other.mac
        assert "put it back" in waits["detail"]
        rig.remove(0)
        station.until(
            lambda one: one.get("state") != "hold" and "put it back" in one["detail"], "put it back"
        )
        rig.insert(0, board.name)
        found = station.until(lambda one: one.get("word") == "PASS", "PASS")
        assert (found["mac"], found["index"]) == (board.mac, 1)


@pytest.mark.parametrize("presence", ["sync", "reset"])
def test_a_board_swapped_in_mid_burn_gets_nothing_of_the_other_one(tmp_path: Path, presence: str) -> None:
    hold = tmp_path / "hold"
    with at_work(tmp_path, presence, sockets=1, script=held_script(hold)) as (rig, station, _):
        hold.touch()
        first = rig.insert(0)
        until_units(tmp_path, 1, *BURNED)
        second = rig.swap(0)
        hold.unlink()
        blank = bits_of(rig, second.name)
        station.until(lambda one: "put it back" in one.get("detail", ""), "the call to put it back")
        time.sleep(STAYS_S)
        assert bits_of(rig, second.name) == blank
        assert units(tmp_path)[first.mac].state == "incomplete"
        rig.swap(0, first.name)
        found = station.until(lambda one: one.get("word") == "PASS", "PASS of the first")
        assert found["mac"] == first.mac
        rig.remove(0)
        station.state("A1", "empty")
        rig.insert(0, second.name)
        station.until(lambda one: one.get("word") == "PASS" and one["index"] == 2, "PASS of the second")
