"""The job file: what it says, and each mistake in one sentence with file and line."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from parburn.errors import UsageError
from parburn.job import Job, TableOption
from parburn.station.job_file import (
    NOT_YET,
    RETRIES,
    Bounds,
    StopRules,
    check_station_job,
    known_keys,
    load_job_file,
)
from parburn.station.words import ENGLISH, Word
from tests.station.jobs import JobFolder


@pytest.fixture
def folder(tmp_path: Path) -> JobFolder:
    return JobFolder(tmp_path)


def refusal(folder: JobFolder, **lines: str) -> UsageError:
    """The error of a job file with these lines."""
    folder.write(**lines)
    with pytest.raises(UsageError) as caught:
        load_job_file(folder.path)
    return caught.value


def test_the_smallest_job(folder: JobFolder) -> None:
    job = load_job_file(folder.path)
    assert (job.name, job.chips, job.slots) == ("lamp", ("esp32c3",), None)
    assert job.ledger == folder.ledger
    assert (job.bounds, job.stop) == (Bounds(), StopRules())
    assert (job.first_article, job.target, job.rework, job.words) == (1, None, False, ENGLISH)
    assert job.bells == ()
    assert job.job == Job(
        ports=(),
        scripts=(folder.folder / "burn.py",),
        config_files=(folder.folder / "ids.json",),
        do_not_confirm=True,
        chip="esp32c3",
        ledger=folder.ledger,
        batch="lamp",
        connect_attempts=RETRIES,
    )


def test_every_key(folder: JobFolder) -> None:
    (folder.folder / "rig.slots.toml").write_text("schema = 1\n")
    (folder.folder / "fields.csv").write_text("WEEK,3,0,8,week\n")
    folder.sections = """\
[bounds]
debounce_ms = 300
look_ms = 50
open_ms = 400
replug_s = 2.5
[stop]
consecutive_failures = 5
yield_below = 92.5
insertions = 40000
same_script_error_on = 2
[ledger]
path = "ledger.sqlite3"
[words]
pass = "GUT"
retry = "NOCHMAL"
wrong_board = "FALSCHE PLATINE"
red_bin = "ROTE KISTE"
leave_in = "DRIN LASSEN"
socket_off = "SOCKEL AUS"
put_it_back = "Diese Platine ist nicht fertig: wieder einsetzen"
"""
    folder.write(
        chips='["ESP32-C3", "esp32s3"]',
        index='"2-4"',
        records='{"ids.json" = "names"}',
        tables='["esp32c3=fields.csv"]',
        slots='"rig.slots.toml"',
        before='"usb_reset"',
        after='"hard-reset"',
        baud='"auto"',
        max_burning="16",
        script_timeout="2.5",
        retries="3",
        first_article="0",
        target="500",
        rework="true",
        bells='["red_bin", "leave_in"]',
        same='["WEEK"]',
        unique='["A+B"]',
    )
    job = load_job_file(folder.path)
    assert job.bounds == Bounds(0.3, 0.05, 0.4, 2.5)
    assert job.stop == StopRules(5, 92.5, 40000, 2)
    assert (job.retries, job.first_article, job.target, job.rework) == (3, 0, 500, True)
    assert job.slots == folder.folder / "rig.slots.toml"
    assert job.words.text(Word.LEAVE_IN) == "DRIN LASSEN"
    assert job.bells == (Word.RED_BIN, Word.LEAVE_IN)
    plain = job.job
    assert (plain.chip, plain.index_first, plain.index_last) == ("esp32c3,esp32s3", 2, 4)
    assert plain.tables == (TableOption("esp32c3", folder.folder / "fields.csv"),)
    assert (plain.before, plain.after, plain.baud) == ("usb-reset", "hard-reset", None)
    assert (plain.max_burning, plain.script_timeout_s, plain.connect_attempts) == (16, 2.5, 3)
    assert (plain.records, plain.same, plain.unique) == (("ids.json=names",), ("WEEK",), ("A+B",))
    written = folder.path.read_text()
    for key in known_keys():  # none was forgotten here
        assert re.search(rf"^{key.rpartition('.')[2]} = ", written, re.MULTILINE), key


@pytest.mark.parametrize(
    ("key", "value", "says"),
    [
        ("scrips", '["burn.py"]', "scrips is not known"),
        ("schema", "2", "schema 2 is not known"),
        ("schema", '"1"', "does not say its schema"),
        ("name", '""', "name must be a text"),
        ("name", '"a\\u202eb"', "cannot be shown"),
        ("scripts", '["none.py"]', "there is no file none.py"),
        ("scripts", '["."]', ". is a folder"),
        ("scripts", "[]", "scripts must be a list of files"),
        ("scripts", "7", "scripts must be a list of files"),
        ("configfiles", '["gone.json"]', "there is no file gone.json"),
        ("chips", '["esp32c33"]', "there is no chip 'esp32c33'"),
        ("chips", '["auto"]', "there is no chip 'auto'"),
        ("index", '"5-2"', "the range ends before it begins"),
        ("index", '"0-2"', "indexes begin at 1"),
        ("index", '"-2"', "index must be a range"),
        ("index", "true", "index must be a range"),
        ("after", '"hard-rest"', "after: it must be one of"),
        ("baud", "100", "baud must be a rate"),
        ("max_burning", "0", "max_burning must be a whole number"),
        ("retries", "1.5", "retries must be a whole number"),
        ("first_article", "true", "first_article must be a whole number"),
        ("rework", "1", "rework must be true or false"),
        ("bells", '["red_bon"]', "did you mean red_bin?"),
        ("bells", '["put_it_back"]', "is no word"),
        ("target", "-1", "target must be a whole number"),
        ("script_timeout", "0", "script_timeout must be a number"),
        ("script_timeout", "nan", "script_timeout must be a number"),
        ("tables", '["esp99=x.csv"]', "there is no chip 'esp99'"),
        ("slots", '"none.toml"', "there is no file none.toml"),
        ("same", '["A+B"]', "one name each"),
        ("records", '["ids.json"]', "records must be a list"),
    ],
)
def test_a_mistake_is_told_with_its_line(folder: JobFolder, key: str, value: str, says: str) -> None:
    error = refusal(folder, **{key: value})
    line = [*folder.lines].index(key) + 1
    assert str(error).startswith(f"{folder.path}:{line}: "), error
    assert says in str(error)
    assert error.hint


@pytest.mark.parametrize(
    ("text", "line", "says", "hint"),
    [
        ("[bounds]\ndebounce = 3\n", 7, "[bounds] debounce is not known", "DEBOUNCE_MS"),
        ("[bounds]\n\n# x\nlook_ms = 1\n", 9, "[bounds] look_ms must be a whole number from 10", ""),
        ("[stop]\nyield_below = 101\n", 7, "[stop] yield_below must be a number from 0 to 100", ""),
        ("[words]\npasss = 'x'\n", 7, "[words] passs is not known", "PASS"),
        ("[words]\nput_it_back = '\\u0007'\n", 7, "put_it_back", ""),
        ("[ledger]\npath = 'mysql://x'\n", 7, "a ledger is a file on this machine, or a pool", ""),
        ("[ledger]\npath = 'postgresql://a:b@x/y'\n", 7, "holds a password", ""),
        ("[legder]\npath = 'x'\n", 6, "legder is not known", "LEDGER"),
        ("[words\n", 6, "not valid TOML", ""),
    ],
)
def test_a_mistake_in_a_section(folder: JobFolder, text: str, line: int, says: str, hint: str) -> None:
    folder.sections = text.replace("\\u0007", "\u202e")
    error = refusal(folder)
    assert str(error).startswith(f"{folder.path}:{line}: "), error
    assert says in str(error)
    assert hint.lower() in error.hint.lower()


@pytest.mark.parametrize("name", NOT_YET)
def test_what_a_later_version_will_have_is_refused(folder: JobFolder, name: str) -> None:
    folder.sections = f"[{name}]\nurl = 'http://x'\n"
    error = refusal(folder)
    assert str(error) == f"{folder.path}:6: [{name}] is not in this version of parburn"


@pytest.mark.parametrize("missing", ["schema", "name", "scripts", "chips"])
def test_what_a_job_needs(folder: JobFolder, missing: str) -> None:
    del folder.lines[missing]
    assert missing in str(refusal(folder))


def test_a_file_that_cannot_be_read(tmp_path: Path) -> None:
    for path, content in ((tmp_path / "none.toml", None), (tmp_path / "odd.toml", b"\xff\xfe")):
        if content is not None:
            path.write_bytes(content)
        with pytest.raises(UsageError, match="cannot be read"):
            load_job_file(path)


def test_the_end_of_the_indexes_is_that_of_the_records(folder: JobFolder) -> None:
    assert check_station_job(load_job_file(folder.path)).job.index_last == 5
    folder.write(index='"2-4"')
    assert check_station_job(load_job_file(folder.path)).job.index_last == 4
    folder.write(index='"6"')
    with pytest.raises(UsageError, match="no record is left"):
        check_station_job(load_job_file(folder.path))
    folder.script = "espefuse(esp, efuses, args, 'burn_efuse DIS_DOWNLOAD_ICACHE 1')\n"
    folder.write(index='"1"', configfiles="[]")
    with pytest.raises(UsageError, match="the indexes have no end"):
        check_station_job(load_job_file(folder.path))


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.binary(max_size=60), st.integers(0, 10))
def test_any_text_is_a_job_or_a_sentence(folder: JobFolder, odd: bytes, at: int) -> None:
    lines = folder.write().read_bytes().splitlines(keepends=True)
    odd_file = folder.folder / "odd.toml"
    odd_file.write_bytes(b"".join([*lines[:at], odd, b"\n", *lines[at:]]))
    said = ""
    try:
        load_job_file(odd_file)
    except UsageError as error:
        said = str(error)
    assert said.isprintable()
    assert not said or str(odd_file) in said
