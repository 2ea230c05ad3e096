"""What is named as a ledger and is none: each command says so in a sentence, and ends by the rules."""

from __future__ import annotations

import os
import random
import re
import shutil
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from parburn.cli.main import main
from parburn.ledger.file_location import runs_path, witness_path

pytestmark = pytest.mark.usefixtures("no_hang")

COMMANDS = (
    ("ledger", "show"),
    ("ledger", "verify"),
    ("ledger", "export"),
    ("ledger", "export", "--format", "csv"),
    ("ledger", "show", "--value", "x"),
    ("ledger", "history", "1"),
    ("ledger", "verify", "--port", "ttyUSB0"),
    ("report",),
    ("report", "--format", "json", "--since", "1h"),
    ("ledger", "adopt", "--why", "x"),
    ("ledger", "init", "--why", "x"),
    ("ledger", "release", "aa:bb:cc:dd:ee:ff", "--why", "x"),
    ("ledger", "scrap", "aa:bb:cc:dd:ee:ff", "--why", "x"),
    ("ledger", "import-used", "used.csv", "--batch", "b", "--why", "x"),
    ("ledger", "learn", "--scripts", "s.py", "--index", "1-2", "--batch", "b", "--why", "x"),
    ("ledger", "rebuild", "--port", "ttyUSB0", "--scripts", "s.py", "--index", "1-2", "--why", "x"),
    ("--port", "ttyUSB0", "--scripts", "s.py", "--do-not-confirm"),
    ("--port", "ttyUSB0", "--scripts", "s.py", "--do-not-confirm", "--new-ledger"),
    ("--port", "ttyUSB0", "--scripts", "s.py", "--dry-run"),
)


def written(content: bytes) -> Callable[[Path], None]:
    def make(path: Path) -> None:
        path.write_bytes(content)

    return make


def changed(statement: str) -> Callable[[Path], None]:
    def make(path: Path) -> None:
        shutil.copy("good", path)
        shutil.copy(witness_path(Path("good")), witness_path(path))
        with closing(sqlite3.connect(path, isolation_level=None)) as connection:
            connection.execute(statement)

    return make


def with_deep_history(path: Path) -> None:
    changed("DROP TRIGGER history_stays")(path)
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute("UPDATE history SET unit = 1, detail = ?", ("[" * 100_000,))


def cut(path: Path) -> None:
    shutil.copy("good", path)
    shutil.copy(witness_path(Path("good")), witness_path(path))
    os.truncate(path, 8192)


def huge(path: Path) -> None:
    path.touch()
    os.truncate(path, 1 << 40)  # a file with holes: who reads all of it never ends


def read_only_beside(path: Path) -> None:
    """A folder where a companion should be, as after a careless copy."""
    shutil.copy("good", path)
    shutil.copy(witness_path(Path("good")), witness_path(path))
    runs_path(path).mkdir()


def witness_is(content: bytes | None) -> Callable[[Path], None]:
    def make(path: Path) -> None:
        shutil.copy("good", path)
        if content is None:
            witness_path(path).mkdir()
        else:
            witness_path(path).write_bytes(content)

    return make


KINDS: dict[str, Callable[[Path], None]] = {
    "noise": written(random.Random(1).randbytes(30_000)),
    "only its first bytes": written(b"SQLite format 3\0"),
    "empty": lambda path: path.touch(),
    "a folder": lambda path: path.mkdir(),
    "a pipe": lambda path: os.mkfifo(path),
    "a loop": lambda path: path.symlink_to(path.name),
    "a link to nothing": lambda path: path.symlink_to("gone/nothing"),
    "another database": changed("PRAGMA application_id = 7"),
    "a deep text": written(b'{"units": ' + b"[" * 100_000),
    "a history with a deep text": with_deep_history,
    "cut": cut,
    "huge": huge,
    "without units": changed("DROP TABLE units"),
    "without history": changed("DROP TABLE history"),
    "other columns": changed("ALTER TABLE units RENAME COLUMN idx TO idy"),
    "no uuid": changed("DELETE FROM meta"),
    "a number as uuid": changed("UPDATE meta SET value = 5 WHERE name = 'uuid'"),
    "a newer one": changed("PRAGMA user_version = 99"),
    "an older one": changed("PRAGMA user_version = 3"),
    "a version below 0": changed("PRAGMA user_version = -5"),
    "its witness is text": witness_is(b"\xff\xfe"),
    "its witness is a list": witness_is(b"[1, 2]"),
    "its witness is deep": witness_is(b"[" * 100_000),
    "its witness is a folder": witness_is(None),
    "a folder where runs are locked": read_only_beside,
}


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    (tmp_path / "s.py").write_text("espefuse(esp, efuses, args, 'burn_efuse DIS_PAD_JTAG 1')\n")
    (tmp_path / "used.csv").write_text("1-3\n")
    (tmp_path / "ttyUSB0").touch()
    assert main(["ledger", "init", "--ledger", "good", "--why", "x"]) == 0
    capsys.readouterr()
    return tmp_path


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_no_ledger_is_told(folder: Path, capsys: pytest.CaptureFixture[str], kind: str) -> None:
    for words in COMMANDS:
        path = folder / "bad"
        KINDS[kind](path)
        code = main([*words, "--ledger", "bad"])
        said = capsys.readouterr()
        for text in ("Traceback", "inside parburn", "Exception"):
            assert text not in said.err, (words, said.err)
        assert code in (0, 1, 2, 3), (words, said.err)
        assert code == 0 or said.err.startswith("parburn: ") or re.search("no.answer", said.out), (
            words,
            said,
        )
        for one in folder.glob("bad*"):
            shutil.rmtree(one) if one.is_dir() and not one.is_symlink() else one.unlink()


@pytest.mark.parametrize("kind", [*KINDS, "an address"])
def test_what_is_no_import_is_told(folder: Path, capsys: pytest.CaptureFixture[str], kind: str) -> None:
    if kind != "an address":
        KINDS[kind](folder / "bad")
    name = "bad" if kind != "an address" else "http://host/used.csv"
    code = main(["ledger", "import-used", name, "--ledger", "good", "--batch", "b", "--why", "x"])
    said = capsys.readouterr().err
    assert code in (0, 2, 3), said
    assert "inside parburn" not in said
    assert code == 0 or said.startswith("parburn: ")


@pytest.mark.parametrize(
    ("address", "words"),
    [
        ("something://host/db", "something://... is an address that is not understood"),
        ("sqlite:///ledger", "an address that is not understood"),
        ("file:///tmp/ledger", "an address that is not understood"),
    ],
)
def test_an_address_is_no_ledger_and_makes_no_folder(
    folder: Path, capsys: pytest.CaptureFixture[str], address: str, words: str
) -> None:
    before = sorted(folder.iterdir())
    more = (("--sim", "esp32c3:1", "--commands", "burn_efuse DIS_PAD_JTAG 1", "--do-not-confirm"),)
    for command in (*COMMANDS, *more):
        assert main([*command, "--ledger", address]) == 2, command
        said = capsys.readouterr().err
        assert words in said, (command, said)
        assert "--ledger PATH" in said
    assert sorted(folder.iterdir()) == before


@pytest.mark.parametrize("address", ["postgresql://user:secret@host/db", "postgres://h/d?password=secret"])
def test_a_pool_is_never_named_with_its_password(
    folder: Path, capsys: pytest.CaptureFixture[str], address: str
) -> None:
    before = sorted(folder.iterdir())
    more = (("--sim", "esp32c3:1", "--commands", "burn_efuse DIS_PAD_JTAG 1", "--do-not-confirm"),)
    for command in (*COMMANDS, *more):
        assert main([*command, "--ledger", address]) == 2, command
        said = capsys.readouterr()
        assert "holds a password" in said.err, (command, said)
        assert "secret" not in said.out + said.err
    assert sorted(folder.iterdir()) == before


@pytest.mark.parametrize("command", [("ledger", "show"), ("ledger", "verify"), ("ledger", "export")])
def test_a_pool_that_is_not_there_is_named(
    folder: Path, capsys: pytest.CaptureFixture[str], command: tuple[str, ...]
) -> None:
    address = "postgresql://station7@127.0.0.1:9/parburn"
    assert main([*command, "--ledger", address]) == 2
    assert f"No connection to the pool {address}" in capsys.readouterr().err
