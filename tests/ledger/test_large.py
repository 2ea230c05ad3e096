"""Ledgers of many units: nothing that looks at one takes more memory when it grows. Peaks are measured in a
process of their own; `python -m benchmarks.ledger_size` has the full figures, with a million units.
"""

from __future__ import annotations

import contextlib
import csv
import json
import os
import signal
import sqlite3
import subprocess
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pytest

from benchmarks.common import Cost, run
from benchmarks.large_ledger import custom_mac_of, mac_of, make_ledger
from parburn.errors import LedgerError, LedgerUnusable
from parburn.ledger import schema
from parburn.ledger.verify import verify
from tests.command import COMMAND, parburn

from .ledgers import batch, chip, claims_of, opened
from .ledgers import run as ledgers_run

SMALL, LARGE = 10_000, 20_000  # units
GROWTH_MB = (
    8.0  # what 10,000 units more may take: kept as they are they took 40 MB for `show`, 290 for `export`
)


@pytest.fixture(scope="module")
def ledgers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[int, Path]]:
    folder = tmp_path_factory.mktemp("large")
    found = {}
    for units in (SMALL, LARGE):
        place = folder / str(units)
        place.mkdir()
        found[units] = place / "ledger.sqlite3"
        make_ledger(found[units], units)
    yield found
    for path in found.values():
        path.unlink()


def cost(path: Path, *words: object) -> Cost:
    assert COMMAND
    group = () if words[0] == "report" else ("ledger",)
    done = run([COMMAND, *group, *words, "--ledger", path], env={"XDG_STATE_HOME": str(path.parent)})
    assert done.ok, done.said
    return done


@pytest.mark.parametrize(
    "words",
    [
        ("show",),
        ("show", "--batch", "large"),
        ("export", "-o", os.devnull),
        ("export", "--format", "csv", "-o", os.devnull),
        ("verify",),
        ("report", "-o", os.devnull),
        ("report", "--format", "json", "-o", os.devnull),
        ("report", "--since", "2026-01-01", "-o", os.devnull),
    ],
    ids=" ".join,
)
def test_memory_does_not_grow_with_the_ledger(ledgers: dict[int, Path], words: tuple[str, ...]) -> None:
    small, large = (cost(ledgers[units], *words).rss_mb for units in (SMALL, LARGE))
    assert large - small < GROWTH_MB, (small, large)
    assert large < 100


def test_all_of_it_is_exported(ledgers: dict[int, Path], tmp_path: Path) -> None:
    output = tmp_path / "export"
    cost(ledgers[SMALL], "export", "-o", output)
    record = json.loads(output.read_text())
    assert [unit["mac"] for unit in record["units"]] == [mac_of(n) for n in range(1, SMALL + 1)]
    assert record["units"][-1]["unique_values"] == {"CUSTOM_MAC": custom_mac_of(SMALL)}
    assert [one["sequence"] for one in record["history"]] == list(range(1, len(record["history"]) + 1))
    cost(ledgers[SMALL], "export", "--format", "csv", "-o", output)
    with output.open(newline="") as file:
        assert [row["index"] for row in csv.DictReader(file)] == [str(n) for n in range(1, SMALL + 1)]


def test_show_shows_the_last_50_and_totals(ledgers: dict[int, Path]) -> None:
    said = cost(ledgers[LARGE], "show").said
    assert len([line for line in said.splitlines() if " pass " in line]) == 50
    assert mac_of(LARGE) in said
    assert mac_of(LARGE - 50) not in said
    assert f"batch large: {LARGE} pass" in said
    assert max(map(len, said.splitlines()[:-1])) <= 80


FEW = 900  # units of a ledger that is cut in three: at the units 301 and 601


def cut_of(path: Path) -> int:
    """The first entry of the second share."""
    with closing(sqlite3.connect(path)) as connection:
        (last,) = connection.execute("SELECT max(seq) FROM history").fetchone()
    return int(last) // 3 + 1


@pytest.mark.parametrize(
    ("statement", "says"),
    [
        ("UPDATE history SET at = '2020' WHERE seq = {cut}", "Entry {cut} was changed."),
        ("UPDATE history SET at = 'ä' WHERE seq = {cut} - 1", "Entry {before} was changed."),
        ("DELETE FROM history WHERE seq = {cut}", "Entry {cut} is missing."),
        ("DELETE FROM history WHERE seq = {before}", "Entry {before} is missing."),
        ("DELETE FROM history WHERE seq BETWEEN {cut} AND {cut} + 9", "Entry {cut} to {nine} is missing."),
        ("UPDATE units SET state = 'incomplete' WHERE id = 300", "is not what its history says: state."),
        (
            "UPDATE units SET mac = 'm', idx = 5000 WHERE id = 601",
            "is not what its history says: identity, index",
        ),
        ("DELETE FROM units WHERE id = 301", "Unit 301 has a history, but its row is missing."),
        ("DELETE FROM user_bits WHERE unit = 600", "what its user blocks hold"),
        (
            "INSERT INTO records VALUES ('x', 987654)",
            "A unit without a row is not what its history says: config",
        ),
        ("INSERT INTO attempt_steps VALUES (77777, 'KEY0', 'locked')", "they are of no attempt"),
        ("UPDATE attempt_steps SET state = 'burned' WHERE attempt = 3", "its history says: steps."),
        ("UPDATE history SET detail = '[' WHERE seq = {cut} AND unit IS NOT NULL", "Entry {cut}"),
        ("UPDATE units SET reason = ''", ""),
    ],
)
@pytest.mark.parametrize("processes", [1, 3])
def test_a_change_anywhere_shows_whoever_looks_for_it(
    tmp_path: Path, statement: str, says: str, processes: int
) -> None:
    """In one process and in three; what was changed lies around the places where the work is cut."""
    path = tmp_path / "ledger.sqlite3"
    make_ledger(path, FEW)
    cut = cut_of(path)
    words = {"cut": cut, "before": cut - 1, "nine": cut + 9}
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        for name in ("history_stays", "history_is_kept"):
            connection.execute(f"DROP TRIGGER {name}")
        connection.execute(statement.format(**words))
    if not says:
        assert "verifies" in verify(path, processes=processes)
        return
    with pytest.raises(LedgerUnusable, match="does not verify") as refused:
        verify(path, processes=processes)
    assert says.format(**words) in str(refused.value)


def test_a_process_that_is_killed_is_not_missed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its share is checked all the same, and what is wrong there is found."""
    path = tmp_path / "ledger.sqlite3"
    make_ledger(path, FEW)
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute("DELETE FROM passes WHERE unit = 450")
    begin = subprocess.Popen

    def killed(*words: Any, **options: Any) -> subprocess.Popen[bytes]:
        process: subprocess.Popen[bytes] = begin(*words, **options)
        process.kill()
        return process

    monkeypatch.setattr(subprocess, "Popen", killed)
    with pytest.raises(LedgerUnusable, match="its history says: passed jobs"):
        verify(path, processes=3)


def test_what_is_written_to_a_reader_that_goes_leaves_nothing_open(ledgers: dict[int, Path]) -> None:
    assert COMMAND
    words = f"{COMMAND} ledger export --ledger {ledgers[SMALL]} | head -c 1000"
    done = subprocess.run(["bash", "-c", words], capture_output=True, check=False, timeout=60)
    assert done.stderr == b""
    assert done.stdout.startswith(b'{"schema": 1')


def test_an_export_that_fails_leaves_the_file_as_it_was(tmp_path: Path) -> None:
    path, output = tmp_path / "ledger.sqlite3", tmp_path / "out" / "export.json"
    make_ledger(path, FEW)
    output.parent.mkdir()
    output.write_text("before")
    output.chmod(0o640)
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute("UPDATE attempts SET steps = 'x', closed = 0 WHERE id = 700")
    done = parburn("ledger", "export", "-o", output, "--ledger", path, state=tmp_path)
    assert (done.exit, output.read_text()) == (2, "before"), done
    assert "is damaged" in done.stderr
    assert [one.name for one in output.parent.iterdir()] == ["export.json"]
    done = parburn(
        "ledger", "export", "--format", "csv", "-o", output, "--ledger", ledger_of(tmp_path), state=tmp_path
    )
    assert done.exit == 0
    assert output.stat().st_mode & 0o777 == 0o640


def ledger_of(folder: Path) -> Path:
    path = folder / "good.sqlite3"
    make_ledger(path, 3)
    return path


def test_a_new_file_has_the_rights_that_the_umask_leaves(tmp_path: Path) -> None:
    for mask in (0o022, 0o077, 0o002):
        output = tmp_path / f"{mask:o}.json"
        before = os.umask(mask)
        try:
            done = parburn("ledger", "export", "-o", output, "--ledger", ledger_of(tmp_path), state=tmp_path)
        finally:
            os.umask(before)
        assert done.exit == 0, done
        assert output.stat().st_mode & 0o777 == 0o666 & ~mask
        (tmp_path / "good.sqlite3").unlink()


def test_claims_do_not_wait_for_the_ledger_that_is_large(ledgers: dict[int, Path]) -> None:
    """Steps of the database's machine, and not seconds: 64 claims cost the same in both."""
    steps = {units: claim_64(path) for units, path in ledgers.items()}
    assert steps[LARGE] < 1.3 * steps[SMALL], steps


def claim_64(path: Path) -> int:
    counted = [0]

    def count() -> None:
        counted[0] += 1

    connect = schema.connect

    def counting(place: Path, *, durable: bool = True) -> sqlite3.Connection:
        connection = connect(place, durable=durable)
        connection.set_progress_handler(count, 10)
        return connection

    async def work() -> None:
        async with opened(path, batch(name="large")) as ledger:
            before = counted[0]
            claims = await claims_of(ledger, [chip(n) for n in range(64)])
            assert all(not isinstance(one, LedgerError) for one in claims)
            counted.append(counted[0] - before)

    with patch.object(schema, "connect", counting):
        ledgers_run(work())
    return counted[1]


def test_ctrl_c_ends_it_at_once_and_leaves_no_process(ledgers: dict[int, Path]) -> None:
    """Also while SQLite is at a long statement. The group of the process is what a terminal sends it to."""
    assert COMMAND
    words = [COMMAND, "ledger", "verify", "--ledger", str(ledgers[LARGE])]
    process = subprocess.Popen(
        words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
    )
    deadline = time.monotonic() + 60
    while not shares_of(process.pid) and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.01)
    os.killpg(process.pid, signal.SIGINT)
    stdout, stderr = process.communicate(timeout=60)
    assert (process.returncode, stdout, stderr) == (130, "", "parburn: interrupted\n")
    while shares_of(process.pid) and time.monotonic() < deadline:
        time.sleep(0.01)
    assert not shares_of(process.pid)


def test_shares_import_nothing_of_the_folder_they_are_started_in(
    ledgers: dict[int, Path], tmp_path: Path
) -> None:
    """A folder of scripts may have a file of any name."""
    assert COMMAND
    for name in ("msgspec", "sqlite3", "json", "parburn"):
        (tmp_path / f"{name}.py").write_text("import pathlib; pathlib.Path('imported').touch()\n")
    words = [COMMAND, "ledger", "verify", "--ledger", str(ledgers[LARGE])]
    done = subprocess.run(words, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert "verifies" in done.stdout
    assert not (tmp_path / "imported").exists()


def test_shares_end_when_nobody_waits_for_them(ledgers: dict[int, Path]) -> None:
    assert COMMAND
    words = [COMMAND, "ledger", "verify", "--ledger", str(ledgers[LARGE])]
    process = subprocess.Popen(words, stdout=subprocess.DEVNULL, start_new_session=True)
    deadline = time.monotonic() + 60
    while not shares_of(process.pid) and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.01)
    process.kill()
    process.wait()
    while shares_of(process.pid) and time.monotonic() < deadline:
        time.sleep(0.01)
    assert not shares_of(process.pid)


def shares_of(session: int) -> list[int]:
    """The processes of a session that check a share."""
    found = []
    for place in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError, IndexError, ValueError):
            fields = (place / "stat").read_text().rpartition(")")[2].split()
            if int(fields[3]) == session and b"verify_share" in (place / "cmdline").read_bytes():
                found.append(int(place.name))
    return found
