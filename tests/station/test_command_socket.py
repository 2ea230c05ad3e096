"""Unlock and resume by the command socket: answers, rights, dead and second stations, strangers' bytes."""

from __future__ import annotations

import asyncio
import contextlib
import grp
import json
import os
import pwd
import socket
import stat
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from parburn.errors import NoStation, NotDone, UsageError
from parburn.station import command_client, command_place, command_socket
from parburn.station.command_client import send_resume, send_unlock
from parburn.station.command_place import folders_to_look_in, runtime_folder, socket_name
from parburn.station.command_socket import CommandSocket
from parburn.station.next_start import WrittenResume, take_for_next_start, write_for_next_start

ME = pwd.getpwuid(os.getuid()).pw_name
ROOT = Path(__file__).parents[2]


@pytest.fixture
def runtime(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder for running programs with a short name: the path of a socket may have 107 bytes."""
    with tempfile.TemporaryDirectory(prefix="pb-") as name:
        monkeypatch.setenv("XDG_RUNTIME_DIR", name)
        yield Path(name)


def unlock(slot: str) -> str:
    if slot == "B1":
        raise NotDone("B1 is not locked", hint="Look again.")
    return f"{slot} is unlocked"


def resume(slot: str | None, why: str, who: str) -> str:
    return f"resumed {slot} for {who}: {why}"


@asynccontextmanager
async def station(job: Path, **options: Any) -> AsyncIterator[CommandSocket]:
    made = CommandSocket(job, **{"unlock": unlock, "resume": resume, **options})
    await made.open()
    try:
        yield made
    finally:
        await made.close()


def with_station(job: Path, asked: Callable[[], Any], **options: Any) -> Any:
    """What a client gets that asks from another thread while a station runs."""

    async def run() -> Any:
        async with station(job, **options):
            return await asyncio.to_thread(asked)

    return asyncio.run(run())


# Answers ----------------------------------------------------------------------------------------------


def test_unlock_and_resume_are_answered(runtime: Path, tmp_path: Path) -> None:
    job = tmp_path / "job.toml"
    assert with_station(job, lambda: send_unlock("A1", job=job)) == "A1 is unlocked"
    assert with_station(job, lambda: send_unlock("A1")) == "A1 is unlocked"
    said = with_station(job, lambda: send_resume("A1", "looked\nat it", job=job))
    assert said == f"resumed A1 for {ME}: looked at it"
    assert with_station(job, lambda: send_resume(None, "x")) == f"resumed None for {ME}: x"


def test_why_not_is_told_with_what_to_do(runtime: Path, tmp_path: Path) -> None:
    with pytest.raises(NotDone, match="B1 is not locked") as raised:
        with_station(tmp_path / "job.toml", lambda: send_unlock("B1"))
    assert raised.value.hint == "Look again."


def test_an_answer_may_take_its_time_but_not_for_ever(runtime: Path, tmp_path: Path) -> None:
    done = []

    def slow(seconds: float) -> Callable[[str], Awaitable[str]]:
        async def unlocked(slot: str) -> str:
            await asyncio.sleep(seconds)
            done.append(slot)
            return "unlocked at last"

        return unlocked

    job = tmp_path / "job.toml"
    assert with_station(job, lambda: send_unlock("A1"), unlock=slow(0.1)) == "unlocked at last"
    began = time.monotonic()

    def late() -> None:
        with pytest.raises(NotDone, match="not known whether it was done"):
            send_unlock("A2")
        assert 0.9 < time.monotonic() - began < 2
        time.sleep(0.6)

    with_station(job, late, unlock=slow(1.3))
    assert done == ["A1", "A2"]  # what was begun is not broken off


def test_a_defect_in_the_station_is_an_answer_too(runtime: Path, tmp_path: Path) -> None:
    def broken(slot: str) -> str:
        raise ZeroDivisionError("oops")

    with pytest.raises(NotDone, match="ZeroDivisionError: oops"):
        with_station(tmp_path / "job.toml", lambda: send_unlock("A1"), unlock=broken)


@pytest.mark.parametrize("why", ["", "  \n", "x" * 501])
def test_a_resume_needs_a_reason(runtime: Path, tmp_path: Path, why: str) -> None:
    with pytest.raises(NotDone, match="reason"):
        with_station(tmp_path / "job.toml", lambda: send_resume(None, why))
    answer = with_station(
        tmp_path / "job.toml", lambda: raw(runtime, {"do": "resume", "slot": None, "why": why})
    )
    assert not answer["done"]


def test_no_station_is_told(runtime: Path, tmp_path: Path) -> None:
    with pytest.raises(NoStation, match="no station runs"):
        send_unlock("A1")
    with pytest.raises(NoStation, match=r"no station of .*job\.toml runs"):
        send_resume(None, "x", job=tmp_path / "job.toml")


def test_of_two_stations_one_must_be_named(runtime: Path, tmp_path: Path) -> None:
    jobs = [tmp_path / "a.toml", tmp_path / "b.toml"]

    async def run() -> None:
        async with station(jobs[0]), station(jobs[1], unlock=lambda slot: "of b"):
            with pytest.raises(NoStation, match=r"more than one station runs here: .*a\.toml, .*b\.toml"):
                await asyncio.to_thread(send_unlock, "A1")
            assert await asyncio.to_thread(lambda: send_unlock("A1", job=jobs[1])) == "of b"

    asyncio.run(run())


def test_a_job_is_known_by_its_real_path(runtime: Path, tmp_path: Path) -> None:
    job = tmp_path / "job.toml"
    (tmp_path / "link.toml").symlink_to(job)
    assert with_station(job, lambda: send_unlock("A1", job=tmp_path / "link.toml")) == "A1 is unlocked"
    assert socket_name(job) != socket_name(tmp_path / "other.toml")


# Rights, dead and second stations ---------------------------------------------------------------------


def test_the_socket_is_for_user_and_group_only(runtime: Path, tmp_path: Path) -> None:
    async def run() -> None:
        async with station(tmp_path / "job.toml") as made:
            found = made.path.stat()
            assert stat.S_ISSOCK(found.st_mode)
            assert stat.S_IMODE(found.st_mode) == 0o660
            assert stat.S_IMODE(made.path.parent.stat().st_mode) == 0o700
        assert not made.path.exists()

    asyncio.run(run())


def test_a_group_is_given_the_socket_and_the_way_to_it(runtime: Path, tmp_path: Path) -> None:
    gid = os.getgroups()[-1] if os.getgroups() else os.getgid()
    folder = runtime / "of-group"

    async def run() -> None:
        async with station(tmp_path / "job.toml", group=grp.getgrgid(gid).gr_name, folder=folder) as made:
            assert made.path.stat().st_gid == gid
            assert folder.stat().st_gid == gid
            assert stat.S_IMODE(folder.stat().st_mode) == 0o750

    asyncio.run(run())


def test_a_group_that_is_none_is_refused(runtime: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no group nobodys"):
        with_station(tmp_path / "job.toml", lambda: "", group="nobodys")


def test_a_folder_in_which_others_may_write_is_refused(runtime: Path, tmp_path: Path) -> None:
    (runtime / "parburn").mkdir()
    (runtime / "parburn").chmod(0o777)
    with pytest.raises(UsageError, match="not this user's alone"):
        with_station(tmp_path / "job.toml", lambda: "")
    (runtime / "parburn").rmdir()
    (runtime / "parburn").symlink_to(tmp_path)
    with pytest.raises(UsageError, match="not this user's alone"):
        with_station(tmp_path / "job.toml", lambda: "")


def test_a_folder_that_cannot_be_made_and_a_path_too_long_are_told(
    runtime: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(runtime / "not" / "there"))
    with pytest.raises(UsageError, match="no socket for commands can be made"):
        with_station(tmp_path / "job.toml", lambda: "")
    long = runtime / ("x" * 100)
    long.mkdir()
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(long))
    with pytest.raises(UsageError, match="too long for a socket"):
        with_station(tmp_path / "job.toml", lambda: "")


HOLDS = """\
import asyncio, sys
from pathlib import Path
from parburn.station.command_socket import CommandSocket
async def main():
    await CommandSocket(Path(sys.argv[1]), unlock=lambda slot: "by another process", resume=None).open()
    print("open", flush=True)
    await asyncio.sleep(60)
asyncio.run(main())
"""


def test_a_second_station_is_refused_with_the_process_and_a_killed_one_is_replaced(
    runtime: Path, tmp_path: Path
) -> None:
    job = tmp_path / "job.toml"
    first = subprocess.Popen([sys.executable, "-c", HOLDS, job], stdout=subprocess.PIPE, cwd=ROOT)
    assert first.stdout is not None
    with first.stdout:
        assert first.stdout.readline() == b"open\n"
        assert send_unlock("A1") == "by another process"
        with pytest.raises(UsageError, match=f"runs already: process {first.pid}"):
            with_station(job, lambda: "")
        assert send_unlock("A1") == "by another process"  # the refused one has taken nothing away
        first.kill()
        first.wait(10)
    assert (runtime / "parburn" / socket_name(job)).exists()
    for named in (None, job):
        with pytest.raises(NoStation):
            send_unlock("A1", job=named)
    assert with_station(job, lambda: send_unlock("A1")) == "A1 is unlocked"


def test_a_station_may_be_opened_again_after_its_end(runtime: Path, tmp_path: Path) -> None:
    for _ in range(3):
        assert with_station(tmp_path / "job.toml", lambda: send_unlock("A1")) == "A1 is unlocked"


def test_no_rights_to_the_socket_are_told(
    runtime: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(*args: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(socket.socket, "connect", refused)
    (runtime / "parburn").mkdir()
    (runtime / "parburn" / socket_name(tmp_path / "job.toml")).touch()
    with pytest.raises(NotDone, match="no rights to give commands") as raised:
        send_unlock("A1", job=tmp_path / "job.toml")
    assert "group" in raised.value.hint


def test_where_the_socket_is(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    own = Path("/tmp", f"parburn-{os.getuid()}")
    monkeypatch.setenv("XDG_RUNTIME_DIR", "/run/user/7")
    monkeypatch.setattr(command_place, "SYSTEM_FOLDER", tmp_path / "none")
    assert runtime_folder() == Path("/run/user/7/parburn")
    assert runtime_folder(group=True) == own  # nobody else gets into a session's folder
    assert folders_to_look_in() == (Path("/run/user/7/parburn"), tmp_path / "none", own)
    monkeypatch.delenv("XDG_RUNTIME_DIR")
    assert runtime_folder() == own
    monkeypatch.setattr(command_place, "SYSTEM_FOLDER", tmp_path)
    assert runtime_folder() == runtime_folder(group=True) == tmp_path


def test_an_engineer_finds_a_station_of_another_user_that_was_given_to_his_group(
    runtime: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(command_place, "TEMPORARY", runtime)
    monkeypatch.setattr(command_place, "SYSTEM_FOLDER", runtime / "none")
    monkeypatch.delenv("XDG_RUNTIME_DIR")
    folder = runtime / f"parburn-{os.getuid()}"
    gid = os.getgid()

    def asked() -> str:
        os_getuid = os.getuid
        monkeypatch.setattr(os, "getuid", lambda: os_getuid() + 1)
        try:
            assert folders_to_look_in()[-1] == folder
            return send_unlock("A1")
        finally:
            monkeypatch.setattr(os, "getuid", os_getuid)

    job = tmp_path / "job.toml"
    assert with_station(job, asked, group=grp.getgrgid(gid).gr_name) == "A1 is unlocked"
    folder.chmod(0o700)  # not given to anybody
    with pytest.raises(AssertionError):
        with_station(job, asked)
    folder.rename(runtime / f"parburn-{os.getuid() + 7}")  # a name that is not its owner's
    with pytest.raises(AssertionError):
        with_station(job, asked, folder=runtime / f"parburn-{os.getuid() + 7}")


# What strangers say -----------------------------------------------------------------------------------


def raw(
    runtime: Path, asked: object = None, *, data: bytes | None = None, end: bool = False
) -> dict[str, Any]:
    """The answer to any bytes."""
    (path,) = (runtime / "parburn").glob("*.sock")
    with socket.socket(socket.AF_UNIX) as client:
        client.settimeout(10)
        client.connect(str(path))
        with contextlib.suppress(BrokenPipeError):  # who is sent away may not be heard
            client.sendall(json.dumps(asked).encode() + b"\n" if data is None else data)
        if end:
            client.shutdown(socket.SHUT_WR)
        answer = json.loads(client.makefile("rb").readline())
    assert isinstance(answer, dict)
    return answer


@pytest.mark.parametrize(
    "asked",
    [None, 7, [], {}, {"do": "stop"}, {"do": "unlock"}, {"do": "unlock", "slot": 3},
     {"do": "unlock", "slot": ""}, {"do": "resume", "slot": [], "why": "x"}, {"do": "resume", "why": 3},
     {"do": ["unlock"], "slot": "A1"}],
)  # fmt: skip
def test_what_is_no_command_is_refused(runtime: Path, tmp_path: Path, asked: object) -> None:
    answer = with_station(tmp_path / "job.toml", lambda: raw(runtime, asked))
    assert answer["done"] is False
    assert "no command of a station" in answer["said"]


@settings(deadline=None, max_examples=60)
@given(st.binary(max_size=200))
def test_no_bytes_do_anything(data: bytes) -> None:
    called: list[str] = []
    with tempfile.TemporaryDirectory(prefix="pb-") as name:
        folder = Path(name, "parburn")

        async def run() -> dict[str, Any]:
            async with station(Path(name, "j"), unlock=called.append, resume=called.append, folder=folder):
                return await asyncio.to_thread(lambda: raw(Path(name), data=data, end=True))

        assert asyncio.run(run())["done"] is False
    assert not called


def test_a_line_too_long_is_refused(runtime: Path, tmp_path: Path) -> None:
    data = b'{"do":"unlock","slot":"' + b"x" * 10_000 + b'"}\n'
    assert not with_station(tmp_path / "job.toml", lambda: raw(runtime, data=data))["done"]


def test_a_command_without_its_end_is_not_carried_out(runtime: Path, tmp_path: Path) -> None:
    data = json.dumps({"do": "unlock", "slot": "A1"}).encode()
    answer = with_station(tmp_path / "job.toml", lambda: raw(runtime, data=data, end=True))
    assert not answer["done"]
    assert with_station(tmp_path / "job.toml", lambda: raw(runtime, data=data + b"\n", end=True))["done"]


def test_odd_texts_come_to_the_station_without_escapes(runtime: Path, tmp_path: Path) -> None:
    said = with_station(tmp_path / "job.toml", lambda: send_resume("A\x1b[2J1", "a\x1b[31m\nb"))
    assert said == f"resumed A[2J1 for {ME}: a[31m b"


def test_clients_who_say_nothing_are_sent_away_and_more_than_some_at_once(
    runtime: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(command_socket, "ASK_S", 0.5)
    job = tmp_path / "job.toml"

    def crowd() -> list[dict[str, Any]]:
        (path,) = (runtime / "parburn").glob("*.sock")
        silent = [socket.socket(socket.AF_UNIX) for _ in range(command_socket.MOST_CLIENTS)]
        for one in silent:
            one.connect(str(path))
        time.sleep(0.1)
        turned_away = raw(runtime, {"do": "unlock", "slot": "A1"})
        told = [json.loads(one.makefile("rb").readline()) for one in silent]
        for one in silent:
            one.close()
        return [turned_away, *told, {"done": True, "said": send_unlock("A1", job=job)}]

    first, *told, last = with_station(job, crowd)
    assert "too many" in first["said"]
    assert {one["said"] for one in told} == {"nothing was asked in time"}
    assert last["done"]


def test_a_station_ends_while_a_client_is_silent(runtime: Path, tmp_path: Path) -> None:
    async def run() -> float:
        made = CommandSocket(tmp_path / "job.toml", unlock=unlock, resume=resume)
        await made.open()
        _, writer = await asyncio.open_unix_connection(str(made.path))
        await asyncio.sleep(0.05)
        began = time.monotonic()
        await made.close()
        await made.close()
        writer.close()
        return time.monotonic() - began

    assert asyncio.run(run()) < 0.5


@pytest.mark.parametrize("answer", [b"", b"\n", b"[]\n", b'{"done":1,"said":""}\n', b"x" * 100_000])
def test_an_answer_that_is_none_is_told(
    runtime: Path, tmp_path: Path, answer: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(command_client, "WAIT_S", 1.0)
    (runtime / "parburn").mkdir()
    job = tmp_path / "job.toml"
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(runtime / "parburn" / socket_name(job)))
        server.listen()

        def serve() -> None:
            client, _ = server.accept()
            with client:
                client.recv(1000)
                client.sendall(answer)

        thread = threading.Thread(target=serve)
        thread.start()
        with pytest.raises(NotDone, match="not known whether it was done"):
            send_unlock("A1", job=job)
        thread.join(5)


# For the next start -----------------------------------------------------------------------------------


def test_what_is_written_for_the_next_start_is_taken_once_and_in_order(tmp_path: Path) -> None:
    path = tmp_path / "resume"
    assert take_for_next_start(path) == ()
    write_for_next_start(path, None, "mended\nthe script", "anna")
    write_for_next_start(path, "A1", "looked at it", "anna")
    first, second = take_for_next_start(path)
    assert first[:3] == (None, "mended the script", "anna")
    assert second[:3] == ("A1", "looked at it", "anna")
    assert take_for_next_start(path) == ()
    assert not list(tmp_path.iterdir())


def test_a_torn_line_and_a_strangers_are_left_out(tmp_path: Path) -> None:
    path = tmp_path / "resume"
    good = {"slot": "A1", "why": "w", "who": "me", "at": "now"}
    lines = [
        b"\xff\xfe",
        b"[]",
        b"7",
        b'{"slot": 3, "why": "", "who": "", "at": ""}',
        json.dumps(good).encode(),
    ]
    path.write_bytes(b"\n".join([*lines, json.dumps(good).encode()[:-1]]))
    assert take_for_next_start(path) == (WrittenResume("A1", "w", "me", "now"),)


def test_a_line_after_a_torn_one_is_whole(tmp_path: Path) -> None:
    path = tmp_path / "resume"
    path.write_text('{"slot": null, "wh')
    write_for_next_start(path, "A1", "w", "me")
    write_for_next_start(path, "A2", "w", "me")
    assert [one.slot for one in take_for_next_start(path)] == ["A1", "A2"]


def test_a_file_that_nobody_reads_has_an_end(tmp_path: Path) -> None:
    path = tmp_path / "resume"
    while path.stat().st_size < 65_000 if path.exists() else True:
        write_for_next_start(path, None, "x" * 400, "me")
    with pytest.raises(NotDone, match="is full"):
        write_for_next_start(path, None, "x" * 600, "me")


def test_a_folder_that_is_not_there_is_told(tmp_path: Path) -> None:
    with pytest.raises(NotDone, match="could not be written down"):
        write_for_next_start(tmp_path / "none" / "resume", None, "x", "me")
    assert take_for_next_start(tmp_path / "none" / "resume") == ()
    with pytest.raises(NotDone, match="cannot be taken"):
        take_for_next_start(tmp_path)


def test_nothing_is_lost_between_writers_and_a_reader(tmp_path: Path) -> None:
    path = tmp_path / "resume"
    taken: list[str] = []

    def write(writer: int) -> None:
        for number in range(25):
            write_for_next_start(path, None, f"{writer}.{number}", "me")

    writers = [threading.Thread(target=write, args=(number,)) for number in range(4)]
    for one in writers:
        one.start()
    while any(one.is_alive() for one in writers):
        taken += [one.why for one in take_for_next_start(path)]
    taken += [one.why for one in take_for_next_start(path)]
    assert sorted(taken) == sorted(f"{n}.{i}" for n in range(4) for i in range(25))
