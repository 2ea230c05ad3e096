"""`parburn ledger backup`: a whole copy while others write, that nobody burns with by mistake."""

from __future__ import annotations

import errno
import os
import resource
import shutil
import signal
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest
from anyio import to_thread

from parburn.errors import LedgerUnusable, UsageError
from parburn.ledger import backup as backup_module
from parburn.ledger import maintenance, schema
from parburn.ledger.backup import backup
from parburn.ledger.export import export, show, verify
from parburn.ledger.file_location import witness_path
from parburn.ledger.run_ledger import open_ledger
from parburn.ledger.without_run import note_armed
from tests.command import parburn

from .ledgers import batch, burn_on, chip, make_version_8, opened, run
from .test_processes import said_by, start


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "ledger.sqlite3"
    for number in (1, 2):
        assert run(burn_on(path, chip(number))) == number
    return path


def files(folder: Path) -> set[str]:
    return {one.name for one in folder.iterdir()}


def test_a_backup_is_the_ledger_of_that_moment(path: Path) -> None:
    to = path.with_name("copy.sqlite3")
    before = files(path.parent)
    said = backup(path, to)
    assert str(to) in said
    assert f"{to.stat().st_size / 1e6:.1f} MB, up to entry" in said
    assert files(path.parent) == before | {to.name}
    assert export(to) == export(path)
    assert show(to).replace(str(to), str(path)) == show(path)
    assert "The backup" in verify(to)
    assert "verifies" in verify(to)
    assert to.stat().st_mode & 0o777 == 0o600
    assert to.read_bytes()[18:20] == b"\1\1"  # no WAL: one file, also where it is only read
    assert "is a backup" not in verify(path)  # the ledger itself has no mark
    run(burn_on(path, chip(3)))


def test_a_backup_can_be_made_while_others_burn(tmp_path: Path) -> None:
    path = tmp_path / "ledger.sqlite3"
    run(burn_on(path, chip(900)))
    process = start(path, 0, 40)
    made = 0
    while process.poll() is None:
        to = tmp_path / f"copy {made}"
        backup(path, to)
        assert "verifies" in verify(to)
        made += 1
    assert len([one for one in said_by(process) if one[0] == "passed"]) == 40
    assert process.returncode == 0
    assert made > 1
    assert "verifies" in verify(path)


@pytest.mark.parametrize("beside", ["nothing", "the witness of then", "the witness of now"])
def test_nobody_burns_with_a_backup(path: Path, tmp_path: Path, beside: str) -> None:
    """On a second PC, or put back in the ledger's own place: what was burned since is not in it."""
    to = tmp_path / "copy"
    backup(path, to)
    witness = witness_path(path).read_bytes()
    run(burn_on(path, chip(3)))
    pc = tmp_path / "pc"
    pc.mkdir()
    ledger = pc / "ledger.sqlite3"
    shutil.copy(to, ledger)
    if beside != "nothing":
        witness_path(ledger).write_bytes(witness if "then" in beside else witness_path(path).read_bytes())
    content = ledger.read_bytes()
    for dry_run in (False, True):
        with pytest.raises(LedgerUnusable, match="is a backup, made") as refused:
            run(open_ledger(ledger, batch(), dry_run=dry_run))
        assert "adopt" in refused.value.hint
    with pytest.raises(LedgerUnusable, match="is a backup"):
        note_armed(ledger, batch="b", arming="a", operator="Eve")
    with pytest.raises(LedgerUnusable, match="is a backup"):
        maintenance.scrap(ledger, [chip(1).mac], why="dead")
    with pytest.raises(LedgerUnusable, match="is a backup"):
        backup(ledger, pc / "copy of a copy")
    assert "verifies" in verify(ledger)
    assert ledger.read_bytes()[100:] == content[100:]

    before = uuid_of(ledger)
    told = maintenance.adopt(ledger, why="the disk broke")
    assert "was adopted" in told
    assert "armed anew" in told
    assert uuid_of(ledger) != before, "the ledger that it was made of may be at work on another PC"
    assert "entries, its units and its witness agree" in verify(ledger)
    assert run(burn_on(ledger, chip(7))) == 3
    assert '"backup":"' in export(ledger)
    assert "verifies" in verify(ledger)


def uuid_of(ledger: Path) -> str:
    with closing(sqlite3.connect(ledger)) as connection:
        return str(connection.execute("SELECT value FROM meta WHERE name = 'uuid'").fetchone()[0])


def test_a_backup_whose_mark_was_taken_off_is_an_older_copy(path: Path, tmp_path: Path) -> None:
    to = tmp_path / "copy"
    backup(path, to)
    with closing(sqlite3.connect(to, isolation_level=None)) as connection:
        connection.execute("DELETE FROM meta WHERE name = 'backup_of'")
    with pytest.raises(LedgerUnusable, match=r"witness .* is missing"):
        run(open_ledger(to, batch()))


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE units SET idx = 9 WHERE idx = 1",
        "INSERT INTO history SELECT seq + 1, at, run, unit, event, state, idx, detail, hash FROM history"
        " ORDER BY seq DESC LIMIT 1",
        "UPDATE meta SET value = replace(value, 'sequence\": ', 'sequence\": 1') WHERE name = 'backup_of'",
        "UPDATE meta SET value = 'odd' WHERE name = 'backup_of'",
    ],
)
def test_a_changed_backup_shows(path: Path, tmp_path: Path, statement: str) -> None:
    to = tmp_path / "copy"
    backup(path, to)
    with closing(sqlite3.connect(to, isolation_level=None)) as connection:
        assert connection.execute(statement).rowcount == 1
    with pytest.raises(LedgerUnusable):
        verify(to)


def test_what_was_burned_with_the_ledger_is_taken_over_from_its_backup(path: Path, tmp_path: Path) -> None:
    to, other = tmp_path / "copy", tmp_path / "other.sqlite3"
    backup(path, to)
    maintenance.init(other, why="new")
    assert "2" in maintenance.import_used(other, to, why="a second line")
    assert run(burn_on(other, chip(7))) == 3


def test_no_file_is_replaced_unasked(path: Path, tmp_path: Path) -> None:
    to = tmp_path / "copy"
    to.write_text("precious")
    for overwrite, said in ((False, "already"), (True, "no backup of a ledger")):
        with pytest.raises(UsageError, match=said):
            backup(path, to, overwrite=overwrite)
        assert to.read_text() == "precious"
    to.unlink()
    backup(path, to)
    run(burn_on(path, chip(3)))
    first = to.read_bytes()
    with pytest.raises(UsageError, match="already"):
        backup(path, to)
    assert to.read_bytes() == first
    backup(path, to, overwrite=True)
    assert export(to) == export(path)


def test_a_ledger_is_never_replaced_by_a_backup(path: Path, tmp_path: Path) -> None:
    other = tmp_path / "other.sqlite3"
    run(burn_on(other, chip(5)))
    names = [
        path,
        other,
        *(path.with_name(path.name + end) for end in ("-wal", ".witness", ".runs", ".boards")),
    ]
    link = tmp_path / "link"
    link.symlink_to(path)
    for to in [*names, link, tmp_path]:
        with pytest.raises(UsageError):
            backup(path, to, overwrite=True)
    other.unlink()  # lost: its witness still says that it is a ledger's place
    with pytest.raises(UsageError, match="place of a ledger"):
        backup(path, other)
    assert "verifies" in verify(path)


def test_a_ledger_that_no_run_would_take_is_not_backed_up(path: Path, tmp_path: Path) -> None:
    old = path.read_bytes()
    run(burn_on(path, chip(3)))
    path.write_bytes(old)
    for side in ("-wal", "-shm"):
        path.with_name(path.name + side).unlink(missing_ok=True)
    with pytest.raises(LedgerUnusable, match="older than its witness"):
        backup(path, tmp_path / "copy")
    with pytest.raises(LedgerUnusable, match="no ledger"):
        backup(tmp_path / "none", tmp_path / "copy")
    assert not (tmp_path / "copy").exists()


def test_a_ledger_of_before_is_copied_as_it_is(path: Path, tmp_path: Path) -> None:
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        make_version_8(connection)
    to = tmp_path / "copy"
    backup(path, to)
    assert "verifies" in verify(to)
    with pytest.raises(LedgerUnusable, match="is a backup"):
        run(open_ledger(to, batch()))
    with pytest.raises(LedgerUnusable, match="is a backup"):
        note_armed(to, batch="b", arming="a", operator="Eve")
    for one in (path, to):  # who was refused did not bring it to this version
        with closing(sqlite3.connect(one)) as connection:
            assert connection.execute("PRAGMA user_version").fetchone() == (8,)
    maintenance.adopt(to, why="test")
    assert "verifies" in verify(to)


def test_a_full_disk_leaves_no_half_file(path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = files(tmp_path)

    class Room:
        f_bavail, f_frsize = 3, 4096

    monkeypatch.setattr(os, "statvfs", lambda _folder: Room)
    with pytest.raises(LedgerUnusable, match=r"the disk is full: 0\.\d MB are needed"):
        backup(path, tmp_path / "copy")
    assert files(tmp_path) == before


@pytest.mark.parametrize("pages", [1, 5, 20])
def test_a_disk_that_gets_full_meanwhile_leaves_no_half_file(path: Path, tmp_path: Path, pages: int) -> None:
    """A limit for the size of files stands for the disk."""
    done = subprocess.run(
        [sys.executable, "-m", "parburn", "ledger", "backup", tmp_path / "copy", "--ledger", path],
        capture_output=True, text=True, timeout=60, check=False,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (pages * 4096, pages * 4096)),
    )  # fmt: skip
    assert done.returncode == 2, done
    assert "cannot be written" in done.stderr
    assert "Traceback" not in done.stderr
    assert not list(tmp_path.glob("copy*"))
    assert "verifies" in verify(path)


def test_a_killed_backup_leaves_nothing_in_its_place(
    path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pid = os.fork()
    if not pid:
        monkeypatch.setattr(backup_module, "_put", lambda *_a, **_k: os.kill(os.getpid(), signal.SIGKILL))
        backup(path, tmp_path / "copy")
        os._exit(9)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == -signal.SIGKILL
    assert not (tmp_path / "copy").exists()
    (left,) = tmp_path.glob("copy.new-*")
    os.utime(left, (0, 0))
    backup(path, tmp_path / "copy")
    assert not left.exists()
    assert "verifies" in verify(tmp_path / "copy")


def test_a_disk_without_links_gets_a_backup_too(
    path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_links(*_names: object) -> None:
        raise OSError(errno.EPERM, "Operation not permitted")

    def no_sync(_folder: Path) -> None:
        raise OSError(errno.EINVAL, "Invalid argument")

    monkeypatch.setattr(os, "link", no_links)
    monkeypatch.setattr(backup_module, "sync_folder", no_sync)
    backup(path, tmp_path / "copy")
    assert "verifies" in verify(tmp_path / "copy")


def test_a_file_that_came_meanwhile_stays(
    path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    copy = backup_module._copy

    def slow(*arguments: object) -> None:
        copy(*arguments)  # type: ignore[arg-type]
        (tmp_path / "copy").write_text("precious")

    monkeypatch.setattr(backup_module, "_copy", slow)
    with pytest.raises(UsageError, match="now"):
        backup(path, tmp_path / "copy")
    assert (tmp_path / "copy").read_text() == "precious"
    assert not list(tmp_path.glob("copy.new-*"))


def test_a_folder_that_cannot_be_written_is_told(path: Path, tmp_path: Path) -> None:
    with pytest.raises(LedgerUnusable, match="cannot be written: No such file"):
        backup(path, tmp_path / "nowhere" / "copy")


def test_the_command(path: Path, tmp_path: Path) -> None:
    to = tmp_path / "copy"
    done = parburn("ledger", "backup", to, "--ledger", path, state=tmp_path)
    assert done.exit == 0, done.stderr
    assert "MB, up to entry" in done.stdout
    done = parburn("ledger", "backup", to, "--ledger", path, state=tmp_path)
    assert (done.exit, done.stdout) == (2, "")
    assert "--overwrite" in done.stderr
    assert parburn("ledger", "backup", to, "--overwrite", "--ledger", path, state=tmp_path).exit == 0
    assert "The backup" in parburn("ledger", "verify", "--ledger", to, state=tmp_path).stdout


def test_a_backup_while_this_process_has_the_ledger_open(path: Path, tmp_path: Path) -> None:
    """As a station does it, in a thread."""

    async def work() -> None:
        async with opened(path) as ledger:
            await to_thread.run_sync(backup, path, tmp_path / "copy")
            assert ledger.run is not None

    run(work())
    assert "verifies" in verify(tmp_path / "copy")
    assert schema.is_older(tmp_path / "copy") is False
