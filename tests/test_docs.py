"""The documents: their commands run, their links lead somewhere, and what they list is what parburn has."""

from __future__ import annotations

import csv
import json
import re
import subprocess
from collections.abc import Iterator
from dataclasses import fields
from pathlib import Path
from typing import Any, get_args

import pytest

from parburn.cli.parser import build_parser
from parburn.events import (
    BlockBurned,
    Claimed,
    DeviceReport,
    Event,
    Finished,
    Identified,
    LedgerOpened,
    Note,
    Planned,
    PlannedBlock,
    Result,
    RunFinished,
    RunStarted,
    ScriptOutput,
    StepChanged,
    TokenRead,
)
from parburn.ledger.base import State
from parburn.ledger.declarations import Declarations
from parburn.ledger.export import HISTORY_COLUMNS, ExportedUnit
from parburn.script.commands.text import VERBS
from parburn.ui.json_lines import JsonLines
from parburn.ui.report_rows import COLUMNS
from tests.command import parburn
from tests.doc_commands import follow, pieces
from tests.provisioning import rows as report_rows
from tests.rig import ROOT, start_rig
from tests.states_page import COMMAND, MEANINGS, PAGE, page
from tests.test_readme import every_parser

DOCS = sorted((ROOT / "docs").glob("*.md"))
TOP = [
    ROOT / name for name in ("README.md", "ARCHITECTURE.md", "CONTRIBUTING.md", "CHANGELOG.md", "SECURITY.md")
]
PAGES = [*DOCS, *TOP, ROOT / "examples" / "README.md", ROOT / "benchmarks" / "README.md"]
RUN_HERE = [path for path in (*DOCS, ROOT / "CONTRIBUTING.md") if "```sh" in path.read_text()]


def name_of(path: Path) -> str:
    return str(path.relative_to(ROOT))


# Commands ---------------------------------------------------------------------------------------------


@pytest.mark.long
@pytest.mark.parametrize("path", RUN_HERE, ids=name_of)
def test_the_commands_do_what_the_page_says(path: Path, tmp_path: Path) -> None:
    assert follow(path, tmp_path) > 0


def test_the_pages_that_users_type_from_have_commands() -> None:
    for name in ("line.md", "scripting.md", "json-and-reports.md"):
        assert ROOT / "docs" / name in RUN_HERE


def test_a_wrong_promise_is_seen(tmp_path: Path) -> None:
    """The check itself: a page that promises another word, code or sentence fails."""
    run = (
        "<!-- boards: esp32c3:1 -->\n\n```sh\nparburn --ports /dev/ttyUSB0 --commands get_custom_mac\n```\n\n"
    )
    for number, (promise, holds) in enumerate(
        (("You see `pass`.", True), ("You see `refused`.", False), ("You see `pass`, exit code 3.", False),
         ('You see `pass`, "unheard of".', False), ("", False))
    ):  # fmt: skip
        document, folder = tmp_path / f"{number}.md", tmp_path / str(number)
        document.write_text(f"{run}{promise}\n")
        folder.mkdir()
        if holds:
            assert follow(document, folder) == 1
        else:
            with pytest.raises(AssertionError):
                follow(document, folder)


def test_the_options_that_the_pages_name_exist() -> None:
    known = {word for parser in every_parser(build_parser()) for word in parser._option_string_actions}
    of_commands = {option.name for verb in VERBS.values() for option in verb.options}
    of_tools = {"--fault"}  # of `parburn sim`, which has a parser of its own
    for path in (*DOCS, ROOT / "CONTRIBUTING.md", ROOT / "SECURITY.md"):
        text = re.sub(r"```.*?```", "", path.read_text(), flags=re.DOTALL)
        named = {
            word for code in re.findall(r"`([^`]*)`", text) for word in re.findall(r"--[a-z][a-z-]+", code)
        }
        assert not named - known - of_commands - of_tools, path


def test_the_worked_diff_applies(tmp_path: Path) -> None:
    (diff,) = [piece.text for piece in pieces((ROOT / "CONTRIBUTING.md").read_text()) if piece.kind == "diff"]
    folder = tmp_path / "parburn" / "chips" / "data"
    folder.mkdir(parents=True)
    (folder / "index.csv").write_bytes((ROOT / "parburn/chips/data/index.csv").read_bytes())
    subprocess.run(["git", "apply", "-"], input=diff, cwd=tmp_path, text=True, check=True)
    assert len(list(folder.iterdir())) == 3


def test_contributing_sets_up_as_the_readme_does() -> None:
    """The README's line is run by CI."""
    ours = re.search(r"^python3 -m venv .*$", (ROOT / "CONTRIBUTING.md").read_text(), flags=re.MULTILINE)
    assert ours
    assert f"{ours[0]} && pytest -n auto" in (ROOT / "README.md").read_text()


def test_the_glossary_has_twenty_words() -> None:
    text = (ROOT / "CONTRIBUTING.md").read_text().partition("## A glossary of twenty words")[2]
    assert len(re.findall(r"^\| (?!word)\w", text, flags=re.MULTILINE)) == 20


# Links ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", PAGES, ids=name_of)
def test_every_relative_link_leads_somewhere(path: Path) -> None:
    text = re.sub(r"```.*?```", "", path.read_text(), flags=re.DOTALL)
    for link in re.findall(r"\]\(([^)\s]+)\)", text):
        if re.match(r"[a-z]+:", link):
            continue
        name, _, anchor = link.partition("#")
        target = (path.parent / name).resolve() if name else path
        assert target.exists(), f"{name_of(path)}: {link}"
        if anchor:
            assert anchor in anchors_of(target), f"{name_of(path)}: {link}"


def anchors_of(path: Path) -> set[str]:
    """The anchors that GitHub makes of a page's headings."""
    text = re.sub(r"```.*?```", "", path.read_text(), flags=re.DOTALL)
    titles = re.findall(r"^#+ (.*)$", text, flags=re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}


@pytest.mark.parametrize("path", DOCS, ids=name_of)
def test_the_readme_leads_to_every_page(path: Path) -> None:
    assert f"]({name_of(path)})" in (ROOT / "README.md").read_text()


# Lists ------------------------------------------------------------------------------------------------


def listed(path: Path, title: str) -> list[str]:
    """The first cells of the first table below a heading, without their ticks."""
    text = path.read_text()
    found = re.search(rf"^#+ {re.escape(title)}\n(.*?)(?=^#|\Z)", text, flags=re.DOTALL | re.MULTILINE)
    assert found, title
    return re.findall(r"^\| `([^`]+)` \|", found[1].split("\n\nEach of")[0], flags=re.MULTILINE)


LISTS = ROOT / "docs" / "json-and-reports.md"
NAMED_TWICE = {"identified": ("revision",)}  # what an event tells, and later ones of its board say again
REPORT = DeviceReport("p", "s", Result.FAILED, output="printed")
BLOCK = PlannedBlock("BLOCK3", 8, ("CUSTOM_MAC",), locks=False)
SAMPLES: tuple[Event, ...] = (
    LedgerOpened("", 1, "demo", "ledger.sqlite3", "ab", "bench", "Ana"),
    RunStarted("", ("p",), ("s",)),
    Note("p", "text"),
    StepChanged("p", "burning"),
    Identified("p", "ESP32-C3", "aa:bb:cc:dd:ee:ff", "v0.4", 40),
    Claimed("p", 1, known=False),
    Planned("p", (BLOCK,), 1),
    BlockBurned("p", "BLOCK3", 1, 1),
    ScriptOutput("p", "printed"),
    TokenRead("p", "EFSR"),
    Finished("p", REPORT),
    RunFinished("", 1, 0, 1, 1, "parburn again"),
)


class Kept:
    """A writer that keeps what is written."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def line(self, text: str) -> None:
        self.lines.append(text)


def emitted() -> Iterator[dict[str, Any]]:
    """An object of each kind, as `--json` writes it."""
    kept = Kept()
    observer = JsonLines(kept, show_output=True)  # type: ignore[arg-type]  # all that it needs of a writer
    observer.error("what ended the run", "what to do")
    for event in SAMPLES:
        observer.emit(event)
    for line in kept.lines:
        yield own_fields(json.loads(line))


def own_fields(value: dict[str, Any]) -> dict[str, Any]:
    """An object without what every object has: all that the page says, and in the first one the schema."""
    every = listed(LISTS, "Fields of every object")
    if value.get("port"):
        every += listed(LISTS, "Fields of an object of a board")
    assert set(every) <= set(value), value
    twice = NAMED_TWICE.get(value["event"], ())
    return {name: one for name, one in value.items() if name in twice or name not in {*every, "schema"}}


def test_each_kind_of_event_has_a_sample() -> None:
    assert {type(event) for event in SAMPLES} == set(get_args(Event))


def test_every_event_and_field_is_listed_and_no_other() -> None:
    objects = {value["event"]: list(value) for value in emitted()}
    titles = re.findall(r"^### `(\w+)`$", LISTS.read_text(), flags=re.MULTILINE)
    assert set(titles) == set(objects)
    for name, keys in objects.items():
        assert set(listed(LISTS, f"`{name}`")) == set(keys), name
    (planned,) = [value for value in emitted() if value["event"] == "planned"]
    parts = LISTS.read_text().partition("Each of `blocks`:")[2].partition("\n### ")[0]
    assert re.findall(r"^\| `([^`]+)` \|", parts, flags=re.MULTILINE) == list(planned["blocks"][0])


def test_a_real_run_emits_nothing_else(tmp_path: Path) -> None:
    known = {value["event"]: set(value) for value in emitted()}
    with start_rig(
        "esp32c3:2", tmp_path=tmp_path, faults=("on board 1: the link is silent after 1 bytes",)
    ) as rig:
        job = (
            "--scripts",
            ROOT / "examples/08_mac.py",
            "--configfiles",
            ROOT / "examples/mac_addresses.json",
        )
        report = tmp_path / "run.jsonl"
        words = ("--json", "--do-not-confirm", "--connect-attempts", 1, "--report", report)
        done = parburn("--ports", *rig.ports, *job, *words, state=tmp_path)
        ports = parburn("ports", "--probe", "--json", rig.ports[0], state=tmp_path)
        shown = parburn("ledger", "show", state=tmp_path).stdout.splitlines()
    assert done.exit == 1
    assert done.events[0]["schema"] == 1
    for event in done.events:
        assert set(own_fields(event)) == known[event["event"]]
    steps = {event["step"] for event in done.events if event["event"] == "step"}
    told = re.search(r"^\| `step` \| text \| (`connecting`.*) \|$", LISTS.read_text(), flags=re.MULTILINE)
    assert told
    assert steps <= set(re.findall(r"`(\w+)`", told[1]))
    assert all(list(row) == listed(LISTS, "Columns of `--report`") for row in report_rows(report))
    assert set(ports.events[0]) == set(listed(LISTS, "Objects of `parburn ports --json`"))
    rows = re.findall(r"^\| (`[A-Z].*?`) \|", (ROOT / "docs" / "line.md").read_text(), flags=re.MULTILINE)
    assert re.findall(r"`([^`]+)`", " ".join(rows)) == re.split(r"  +", shown[0])


def test_every_column_is_listed_and_no_other(tmp_path: Path) -> None:
    assert tuple(listed(LISTS, "Columns of `--report`")) == COLUMNS
    assert listed(LISTS, "Columns of a unit") == [one.name for one in fields(ExportedUnit)]
    assert tuple(listed(LISTS, "Members of a history entry")) == HISTORY_COLUMNS
    assert listed(LISTS, "Members of a declaration") == [one.name for one in fields(Declarations)]
    assert parburn("ledger", "init", "--why", "a test", state=tmp_path).exit == 0
    file = tmp_path / "record.json"
    assert parburn("ledger", "export", "--output", file, state=tmp_path).exit == 0
    whole = json.loads(file.read_text())
    assert listed(LISTS, "`parburn ledger export`") == list(whole)
    rows = parburn("ledger", "export", "--format", "csv", state=tmp_path).stdout.splitlines()
    assert next(csv.reader(rows)) == listed(LISTS, "Columns of a unit")


def test_the_line_page_has_every_result_and_exit_code() -> None:
    from parburn.cli import exit_code as cli_exit

    text = ROOT / "docs" / "line.md"
    assert listed(text, "Results of a board") == [result.value for result in Result]
    codes = re.findall(r"^\| (\d+) \|", text.read_text(), flags=re.MULTILINE)
    assert [*map(int, codes)] == [
        int(code) for code in re.findall(r"^(\d+) ", cli_exit.__doc__ or "", flags=re.MULTILINE)
    ]


# States -----------------------------------------------------------------------------------------------


def test_the_states_page_is_what_the_ledger_says() -> None:
    assert set(MEANINGS) == set(State)
    assert PAGE.read_text() == page(), f"write it anew: {COMMAND}"


def test_the_blocks_are_all_seen() -> None:
    for path in RUN_HERE:
        assert path.read_text().count("```sh") == sum(
            piece.kind == "sh" for piece in pieces(path.read_text())
        )
