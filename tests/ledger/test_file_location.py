"""Where a ledger may live, who may read it, and which ledger it must be: the witness."""

from __future__ import annotations

import contextlib
import os
import shutil
import sqlite3
import stat
from pathlib import Path

import pytest

from parburn.errors import LedgerUnusable
from parburn.ledger import export, file_location, schema
from parburn.ledger.file_location import check_place, default_path, file_system_type, witness_path
from parburn.ledger.witness import Witness, read_witness, write_witness

from .ledgers import batch, burn_on, chip, opened, run

MOUNTS = """\
/dev/sda1 / ext4 rw 0 0
proc /proc proc rw 0 0
server:/vol /mnt/line\\040one nfs4 rw 0 0
/dev/sdb1 /mnt/line\\040one/local xfs rw 0 0
//pc/share /srv cifs rw 0 0
/dev/sdc1 /srv ext4 rw 0 0
"""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "ledger.sqlite3"


async def notes_of(path: Path | None) -> tuple[str, ...]:
    async with opened(path) as ledger:
        return ledger.notes


@pytest.mark.parametrize(
    ("where", "kind"),
    [
        ("/home/x/l.db", "ext4"),
        ("/mnt/line one/l.db", "nfs4"),
        ("/mnt/line one/local/l.db", "xfs"),
        ("/mnt/line oneself/l.db", "ext4"),
        ("/srv/l.db", "ext4"),  # mounted over the share
    ],
)
def test_file_system_of_a_path(where: str, kind: str) -> None:
    assert file_system_type(Path(where), MOUNTS) == kind


def test_a_network_file_system_is_refused(tmp_path: Path) -> None:
    mounts = f"/dev/sda1 / ext4 rw 0 0\nserver:/vol {tmp_path} nfs4 rw 0 0\n"
    with pytest.raises(LedgerUnusable, match=r"network file system \(nfs4\)") as refused:
        check_place(tmp_path / "l.db", mounts=mounts)
    assert "local disk" in refused.value.hint


def test_the_first_run_makes_a_ledger_and_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    path = default_path()
    assert path == tmp_path / "state" / "parburn" / "ledger.sqlite3"
    (note,) = run(notes_of(None))
    assert note.startswith(f"A new ledger was made: {path}.")
    assert run(notes_of(None)) == ()
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700


def test_all_its_files_are_private(path: Path) -> None:
    async def work() -> None:
        async with opened(path):
            for file in path.parent.iterdir():
                with contextlib.suppress(FileNotFoundError):  # a scratch file of the witness
                    assert stat.S_IMODE(file.stat().st_mode) == 0o600, file

    old = os.umask(0)
    try:
        run(work())
    finally:
        os.umask(old)
    assert {file.name for file in path.parent.iterdir()} == {
        "ledger.sqlite3",
        "ledger.sqlite3.witness",
        "ledger.sqlite3.runs",
    }


def test_rights_of_others_are_taken_away_and_said(path: Path) -> None:
    run(notes_of(path))
    path.chmod(0o644)
    (note,) = run(notes_of(path))
    assert "rights were mended" in note
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_no_room_is_said_before_anything(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(file_location, "LEAST_ROOM", 1 << 62)
    with pytest.raises(LedgerUnusable, match="is full"):
        run(notes_of(path))
    assert list(path.parent.iterdir()) == []


def test_no_rights_are_said_before_anything(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "access", lambda *_args: False)
    with pytest.raises(LedgerUnusable, match="cannot be written") as refused:
        run(notes_of(path))
    assert refused.value.hint
    assert list(path.parent.iterdir()) == []


def test_a_folder_that_cannot_be_made(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(LedgerUnusable, match="cannot be made"):
        run(notes_of(tmp_path / "file" / "ledger.sqlite3"))


def test_something_that_is_no_file(tmp_path: Path) -> None:
    with pytest.raises(LedgerUnusable, match="is a folder"):
        run(notes_of(tmp_path))


@pytest.mark.parametrize(
    "content", [b"not a database, whatever it is called" * 30, b"", b"SQLite format 3\0" * 99]
)
def test_a_file_that_is_no_ledger(path: Path, content: bytes) -> None:
    path.write_bytes(content)
    with pytest.raises(LedgerUnusable) as refused:
        run(notes_of(path))
    assert refused.value.hint
    assert path.read_bytes() == content


@pytest.mark.parametrize(
    "content", [b"not a database, whatever it is called" * 30, b"SQLite format 3\0" * 99]
)
def test_a_file_that_is_no_ledger_is_let_go(path: Path, content: bytes) -> None:
    """The tests of this folder count the connections that are left open."""
    path.write_bytes(content)
    with pytest.raises(LedgerUnusable):
        export.show(path)


def test_an_older_ledger_that_cannot_be_migrated_is_let_go(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run(burn_on(path, chip(1)))
    monkeypatch.setattr(schema, "MIGRATIONS", (*schema.MIGRATIONS, "CREATE TABLE units (x);"))
    monkeypatch.setattr(schema, "VERSION", schema.VERSION + 1)
    with pytest.raises(LedgerUnusable):
        export.show(path)


def test_a_database_of_somebody_else(path: Path) -> None:
    connection = sqlite3.connect(path)
    connection.execute("CREATE TABLE guests (name)")
    connection.commit()
    connection.close()
    with pytest.raises(LedgerUnusable, match="is not a ledger of parburn"):
        run(notes_of(path))


def test_a_newer_ledger_is_refused(path: Path) -> None:
    run(notes_of(path))
    connection = sqlite3.connect(path)
    connection.execute(f"PRAGMA user_version = {schema.VERSION + 1}")
    connection.close()
    with pytest.raises(LedgerUnusable, match="of a newer parburn") as refused:
        run(notes_of(path))
    assert refused.value.hint == "Use the newer parburn."


def test_an_older_schema_is_migrated(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run(burn_on(path, chip(1)))
    monkeypatch.setattr(
        schema, "MIGRATIONS", (*schema.MIGRATIONS, "CREATE TABLE later (x);\nCREATE TABLE too (y);")
    )
    monkeypatch.setattr(schema, "VERSION", schema.VERSION + 1)
    assert run(burn_on(path, chip(2))) == 2
    connection = sqlite3.connect(path)
    assert connection.execute("PRAGMA user_version").fetchone() == (schema.VERSION,)
    assert connection.execute("SELECT count(*) FROM too").fetchone() == (0,)
    assert connection.execute("SELECT count(*) FROM history WHERE event = 'migrated'").fetchone() == (1,)
    connection.close()


# The witness ----------------------------------------------------------------------------------------


def test_a_missing_ledger_is_refused(path: Path) -> None:
    run(burn_on(path, chip(1)))
    path.unlink()
    with pytest.raises(LedgerUnusable, match=r"is missing\. Its witness says that there was one") as refused:
        run(notes_of(path))
    assert f"ledger init --ledger {path} --why" in refused.value.hint
    assert not path.exists()


def test_a_missing_ledger_whose_log_is_left_is_refused(path: Path) -> None:
    run(burn_on(path, chip(1)))
    path.rename(path.with_name(path.name + "-wal"))
    witness_path(path).unlink()
    with pytest.raises(LedgerUnusable, match="shows that there was one"):
        run(notes_of(path))


def test_an_older_ledger_is_refused(path: Path) -> None:
    run(burn_on(path, chip(1)))
    shutil.copy(path, path.with_name("backup"))
    run(burn_on(path, chip(2)))
    shutil.copy(path.with_name("backup"), path)
    with pytest.raises(
        LedgerUnusable, match=r"older than its witness: \d+ of \d+ entries are missing"
    ) as refused:
        run(notes_of(path))
    assert "ledger adopt" in refused.value.hint


def test_a_foreign_ledger_is_refused(path: Path) -> None:
    other = path.with_name("other.sqlite3")
    run(burn_on(path, chip(1)))
    run(burn_on(other, chip(1)))
    shutil.copy(other, path)
    with pytest.raises(LedgerUnusable, match="is another one"):
        run(notes_of(path))


def test_another_history_of_the_same_length_is_refused(path: Path) -> None:
    run(burn_on(path, chip(1)))
    shutil.copy(path, path.with_name("backup"))
    shutil.copy(witness_path(path), path.with_name("witness"))
    run(burn_on(path, chip(2)))
    shutil.copy(path.with_name("backup"), path)
    kept = witness_path(path).read_text()
    shutil.copy(path.with_name("witness"), witness_path(path))
    run(burn_on(path, chip(3)))  # the copy went its own way
    witness_path(path).write_text(kept)
    with pytest.raises(LedgerUnusable, match="another history"):
        run(notes_of(path))


def test_a_missing_witness_is_refused_unless_the_ledger_was_just_made(path: Path) -> None:
    schema.make(path, why="first run")
    run(notes_of(path))
    witness_path(path).unlink()
    with pytest.raises(LedgerUnusable, match=r"The witness of the ledger .* is missing"):
        run(notes_of(path))


@pytest.mark.parametrize("text", ["", "{", "[]", '{"uuid": 1, "sequence": "x", "head": null}', "\udcff"])
def test_a_damaged_witness_is_refused(path: Path, text: str) -> None:
    run(notes_of(path))
    witness_path(path).write_bytes(text.encode("utf-8", "surrogateescape"))
    with pytest.raises(LedgerUnusable, match="damaged"):
        run(notes_of(path))


def test_a_witness_that_lags_behind_is_fine(path: Path) -> None:
    run(burn_on(path, chip(1)))
    lagging = witness_path(path).read_text()
    run(burn_on(path, chip(2)))
    witness_path(path).write_text(lagging)
    assert run(burn_on(path, chip(3))) == 3


def test_at_the_end_of_a_run_the_witness_is_at_the_end_of_the_chain(path: Path) -> None:
    run(burn_on(path, chip(1)))
    connection = sqlite3.connect(path)
    last = connection.execute("SELECT seq, hash FROM history ORDER BY seq DESC LIMIT 1").fetchone()
    connection.close()
    witness = read_witness(path)
    assert witness is not None
    assert (witness.sequence, witness.head) == last


def test_a_witness_is_replaced_whole(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_witness(path, Witness("u", 1, "a"))

    def fails(_descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", fails)
    with pytest.raises(OSError, match="No space"):
        write_witness(path, Witness("u", 2, "b"))
    assert read_witness(path) == Witness("u", 1, "a")
    assert [file.name for file in path.parent.iterdir()] == [witness_path(path).name]


def test_a_ledger_behind_a_link_is_the_same_ledger(path: Path, tmp_path: Path) -> None:
    run(burn_on(path, chip(1)))
    link = tmp_path / "elsewhere" / "link"
    link.parent.mkdir()
    link.symlink_to(path)
    assert run(burn_on(link, chip(2), batch())) == 2
    assert [file.name for file in link.parent.iterdir()] == ["link"]


def test_scratch_files_of_the_dead_are_swept(path: Path) -> None:
    run(notes_of(path))
    old, young = (path.with_name(f"{path.name}.witness.{name}") for name in ("old", "young"))
    for file in (old, young):
        file.write_text("half")
    os.utime(old, (0, 0))
    run(notes_of(path))
    assert not old.exists()
    assert young.exists()
