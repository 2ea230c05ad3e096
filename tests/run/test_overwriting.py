"""No output overwrites an input, a ledger, or what lies beside a ledger, by whatever name it is reached."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest

from parburn.cli.main import main
from parburn.ledger.file_location import COMPANIONS
from parburn.script.commands.text import VERBS
from tests.command import parburn

JOB = ["--port", "ttyUSB0", "--scripts", "s.py", "--configfiles", "ids.json"]
TABLE = ["--extend-efuse-table", "t.csv"]
INPUTS = ("s.py", "ids.json", "t.csv", "key.bin")
LEDGERS = ("own.sqlite3", "other.db", "state/parburn/ledger.sqlite3")


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Inputs, a ledger of the run, another one, and the user's own; all must be as they were at the end."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    for name, text in zip(INPUTS, ("pass\n", '{"1": 1}', "A, 3, 0, 8, x\n", "k" * 32), strict=True):
        (tmp_path / name).write_text(text)
    (tmp_path / "ttyUSB0").touch()
    (tmp_path / "state/parburn").mkdir(parents=True)
    for ledger in LEDGERS:
        with closing(sqlite3.connect(ledger)) as connection:
            connection.execute("CREATE TABLE one (two)")
        for suffix in COMPANIONS:
            beside = Path(f"{ledger}{suffix}")
            if suffix == ".boards":
                beside.mkdir()
                beside /= "esp32c3.json"
            beside.write_text(suffix)
    before = contents(tmp_path)
    yield tmp_path
    assert {name: before[name] for name in before} == {name: contents(tmp_path)[name] for name in before}


def contents(folder: Path) -> dict[str, bytes]:
    return {str(one.relative_to(folder)): one.read_bytes() for one in folder.rglob("*") if one.is_file()}


def kept_names() -> list[str]:
    beside = [f"{ledger}{suffix}" for ledger in LEDGERS for suffix in COMPANIONS]
    return [
        *INPUTS[:3],
        *LEDGERS,
        *(f"{one}/esp32c3.json" if one.endswith(".boards") else one for one in beside),
    ]


def by_link(name: str) -> str:
    Path("one").symlink_to(Path(name).absolute())
    Path("link.json").symlink_to("one")
    return "link.json"


def by_second_name(name: str) -> str:
    Path("hard.json").hardlink_to(name)
    return "hard.json"


WAYS: dict[str, Callable[[str], str]] = {
    "itself": str,
    "a link to a link": by_link,
    "a second name": by_second_name,
    "a long way": "./state/../{}".format,
}
# What lies beside a ledger that this run does not know tells nothing under another name.
CASES = [
    (name, way)
    for name in kept_names()
    for way in WAYS
    if way != "a second name" or not (".boards" in name or name.startswith(("other.db-", "other.db.")))
]


@pytest.mark.parametrize(("name", "way"), CASES)
def test_a_trace_overwrites_nothing_that_is_kept(
    folder: Path, capsys: pytest.CaptureFixture[str], name: str, way: str
) -> None:
    assert main([*JOB, *TABLE, "--ledger", "own.sqlite3", "--trace", WAYS[way](name)]) == 2
    said = capsys.readouterr().err
    assert "name the same file" in said or "would overwrite" in said
    assert "hint: Choose another file" in said


@pytest.mark.parametrize("ending", ["jsonl", "csv"])
def test_a_report_overwrites_no_input(folder: Path, capsys: pytest.CaptureFixture[str], ending: str) -> None:
    Path("ids.json").rename(f"ids.{ending}")
    job = ["--port", "ttyUSB0", "--scripts", "s.py", "--configfiles", f"ids.{ending}"]
    assert main([*job, "--report", f"ids.{ending}"]) == 2
    assert "--report and --configfiles name the same file" in capsys.readouterr().err
    Path(f"ids.{ending}").rename("ids.json")


def test_a_report_overwrites_no_table_and_no_trace(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*JOB, *TABLE, "--report", "t.csv"]) == 2
    assert main([*JOB, "--report", "x.csv", "--trace", "x.csv"]) == 2
    assert main([*JOB, "--ledger", "s.py"]) == 2
    assert capsys.readouterr().err.count("name the same file") == 3


@pytest.mark.parametrize("name", [*LEDGERS, "own.sqlite3.witness", "state/parburn/ledger.sqlite3-wal"])
def test_an_export_overwrites_no_ledger(folder: Path, capsys: pytest.CaptureFixture[str], name: str) -> None:
    assert main(["ledger", "export", "--ledger", "own.sqlite3", "-o", name]) == 2
    assert "would overwrite" in capsys.readouterr().err


@pytest.mark.parametrize("place", [".", "gone/out.json", "loop"])
def test_an_export_that_cannot_be_written_is_told(
    folder: Path, capsys: pytest.CaptureFixture[str], place: str
) -> None:
    Path("loop").symlink_to("loop")
    assert main(["ledger", "export", "--ledger", "own.sqlite3", "-o", place]) == 2
    said = capsys.readouterr().err
    assert "inside parburn" not in said
    assert "hint: " in said
    Path("loop").unlink()


@pytest.mark.parametrize(
    "command",
    [
        "summary --file {}",
        "dump --file_name {}",
        "dump --format joint --file_name {}",
        "summary --format json --file {}",
    ],
)
@pytest.mark.parametrize("name", ["s.py", "ids.json", "key.bin", "own.sqlite3", "t.csv", "x.trace", "n.json"])
def test_a_typed_command_overwrites_nothing(
    folder: Path, capsys: pytest.CaptureFixture[str], command: str, name: str
) -> None:
    """Before a port is opened, and whatever stands first."""
    (folder / "n.json").write_text("{}")
    key = "burn_key BLOCK_KEY0 key.bin USER; execute_scripts s.py --configfiles n.json"
    text = "; ".join((command.format(name), key))
    assert main([*JOB, *TABLE, "--ledger", "own.sqlite3", "--trace", "x.trace", "--commands", text]) == 2
    assert "name the same file" in (said := capsys.readouterr().err) or "would overwrite" in said
    assert not (folder / "x.trace").exists()


def test_every_command_that_writes_a_file_is_known() -> None:
    """A command that gets such an option must ask, too."""
    from parburn.run.overwriting import OUTPUTS

    found = {
        (verb, option.key) for verb, one in VERBS.items() for option in one.options if "file" in option.key
    }
    assert found == {("summary", "file"), ("dump", "file_name"), ("execute_scripts", "configfiles")}
    assert set(OUTPUTS) == {"file", "file_name"}


def test_a_script_overwrites_by_no_command_what_it_has_read(folder: Path) -> None:
    """And may write its own file twice, read it between, and go on after a refusal."""
    (folder / "read.py").write_text(
        "open('key.bin', 'rb').read()\n"
        "for target in ('key.bin', 'ids.json', 'own.sqlite3', 'own.sqlite3.boards/new', 'r.csv'):\n"
        "    try:\n"
        "        espefuse(esp, efuses, args, f'dump --format joint --file_name {target}')\n"
        "    except Exception as refused:\n"
        "        print('refused', target, refused)\n"
        "for _ in range(2):\n"
        "    espefuse(esp, efuses, args, 'summary --file out.txt')\n"
        "    print('wrote', len(open('out.txt').read()) > 100)\n"
    )
    done = parburn(
        "--sim", "esp32c3:1", "--scripts", "read.py", "--configfiles", "ids.json", "--show-output",
        "--do-not-confirm", "--report", "r.csv", state=folder / "mine",
    )  # fmt: skip
    told = done.stdout.splitlines()  # of a single board: what its scripts print, alone
    assert [line.split()[1] for line in told if line.startswith("refused")] == [
        "key.bin", "ids.json", "own.sqlite3", "own.sqlite3.boards/new", "r.csv",
    ], done.stdout  # fmt: skip
    assert told.count("wrote True") == 2
