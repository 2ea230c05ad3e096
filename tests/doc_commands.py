"""Runs the commands of a document on simulated boards, and holds what the document says of them.

A document says to its test in comments which boards are plugged in:

* `<!-- boards: esp32c3:2 -->` begins a day: a new folder with the examples, no ledger, new boards;
* `<!-- boards: esp32c3:2; on board 1: the port vanishes after 700 bytes -->` gives them a fault;
* `<!-- power cycle -->` takes the boards out and plugs them in again without faults; they keep their bits;
* `<!-- boards again: esp32c3:3 -->` does so, and more boards of the rig are there.

A block of `python` that begins with `# NAME.py` is a file of that name; what a `diff` adds goes into the
folder `chips`. A block of `sh` is run; its exit code is 0, or what the paragraph behind it says (`exit code
3`). The result words in that paragraph are those of the boards, all of them and no others, and what it quotes
in "..." was said.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from parburn.events import Result
from tests.command import COMMAND, environment
from tests.rig import ROOT, Rig, start_rig

RESULTS = frozenset(result.value for result in Result)
DEADLINE_S = 120
# Burning commands are asked for NEW and BURN by a terminal only: here options answer, and each board's end is
# told as JSON, from which the words are taken.
SHELL = """\
parburn() {
  case "$1" in ledger|ports|report|sim|completion|-h|--help|--version) command parburn "$@"; return ;; esac
  local more="--do-not-confirm --json --show-output"
  case " $* " in
    *" --ports "*) [ -e "$LEDGER" ] || [ -e "$LEDGER.witness" ] || more="$more --new-ledger" ;;
  esac
  command parburn "$@" $more
}
"""


@dataclass(frozen=True)
class Piece:
    """A block or a comment of a document, with the paragraph behind it."""

    kind: str  # sh, python, diff, or "" for a comment
    text: str
    behind: str = ""

    @property
    def exit(self) -> int:
        """The exit code that the paragraph behind it tells."""
        found = re.search(r"exit code (\d+)", self.behind)
        return int(found[1]) if found else 0

    @property
    def words(self) -> frozenset[str]:
        """The result words that the paragraph behind it tells."""
        return frozenset(re.findall(r"`([\w-]+)`", self.behind)) & RESULTS

    @property
    def quoted(self) -> list[str]:
        """What the paragraph behind it quotes."""
        return [" ".join(text.split()) for text in re.findall(r'"([^"]+)"', self.behind)]


def pieces(text: str) -> Iterator[Piece]:
    """The blocks and comments of a document, in their order."""
    block = (
        r"^```(?P<kind>sh|python|diff)\n(?P<text>.*?)^```\n(?P<behind>(?:\n*(?!```|<!--|#)(?:[^\n]+\n)+)?)"
    )
    comment = r"^<!-- (?P<said>.*?) -->$"
    for found in re.finditer(f"{block}|{comment}", text, flags=re.DOTALL | re.MULTILINE):
        if found["kind"]:
            yield Piece(found["kind"], found["text"], found["behind"] or "")
        else:
            yield Piece("", found["said"])


class Day:
    """A folder with the examples and a ledger, and boards that keep their bits."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._stack = ExitStack()
        self._boards = ""
        self.rig: Rig | None = None
        shutil.copytree(ROOT / "examples", folder / "examples", ignore=shutil.ignore_patterns("__pycache__"))

    def plug_in(self, boards: str = "", faults: tuple[str, ...] = ()) -> None:
        """Boards, as in `esp32c3:2`; the same again where nothing is said."""
        self.end()
        self._boards = boards or self._boards
        self.rig = self._stack.enter_context(start_rig(self._boards, tmp_path=self.folder, faults=faults))

    def end(self) -> None:
        """Take the boards out."""
        self._stack.close()
        self.rig = None

    def write(self, piece: Piece) -> None:
        """A block of Python as the file that its first line names; of a diff, the lines that it adds."""
        if piece.kind == "diff":
            (self.folder / "chips").mkdir(exist_ok=True)
            for file, text in added_lines(piece.text):
                (self.folder / "chips" / file).write_text(text)
            return
        name = re.match(r"# ([\w/]+\.py)", piece.text)
        if name:
            (self.folder / name[1]).write_text(piece.text)

    def run(self, piece: Piece) -> None:
        """Run a block, and hold what is said of it."""
        assert COMMAND
        state = self.folder / "state"
        text = piece.text
        if self.rig is not None:
            text = text.replace("/dev/", f"{Path(self.rig.ports[0]).parent}/")
        text = text.replace("~/.local/state", str(state))
        path = f"{Path(COMMAND).parent}{os.pathsep}{os.environ['PATH']}"
        ledger = state / "parburn" / "ledger.sqlite3"
        done = subprocess.run(
            ["bash", "-euc", SHELL + text],
            cwd=self.folder,
            env=environment(state, PATH=path, LEDGER=str(ledger)),
            capture_output=True,
            text=True,
            stdin=subprocess.DEVNULL,
            timeout=DEADLINE_S,
            check=False,
        )
        shown = f"{piece.text}\nexit {done.returncode}\n{done.stdout}\n{done.stderr}"
        assert done.returncode == piece.exit, shown
        events = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]
        words = {event["result"] for event in events if event.get("event") == "result"}
        assert words == set(piece.words), f"{shown}\nsaid in the document: {sorted(piece.words)}"
        said = " ".join([done.stdout, done.stderr, *texts_of(events)])
        said = " ".join(said.split())
        for quoted in piece.quoted:
            assert quoted in said, f"{shown}\nnot said: {quoted}"


def added_lines(diff: str) -> Iterator[tuple[str, str]]:
    """For each file of a diff its name without folders, and the lines that are added to it."""
    for part in re.split(r"^--- .*\n", diff, flags=re.MULTILINE)[1:]:
        head, *lines = part.splitlines()
        yield Path(head).name, "".join(f"{line[1:]}\n" for line in lines if line.startswith("+"))


def texts_of(events: list[dict[str, Any]]) -> Iterator[str]:
    """The sentences of the events."""
    for event in events:
        yield from (value for value in event.values() if isinstance(value, str))


def follow(document: Path, folder: Path) -> int:
    """Do all that a document says, from its top to its end; how many blocks were run."""
    ran = 0
    day: Day | None = None
    text = document.read_text()
    found = list(pieces(text))
    scripts: list[Piece] = []
    assert text.count("```sh") == sum(piece.kind == "sh" for piece in found), (
        f"{document.name}: an indented block"
    )
    try:
        for number, piece in enumerate(found):
            if piece.kind == "sh":
                assert day is not None, f"{document.name}: no boards are said ahead of\n{piece.text}"
                day.run(piece)
                ran += 1
            elif piece.kind in ("python", "diff"):
                scripts.append(piece)
                if day is not None:
                    day.write(piece)
            elif piece.text.startswith("boards: "):
                if day is not None:
                    day.end()
                place = folder / f"day{number}"
                place.mkdir()
                day = Day(place)
                for script in scripts:
                    day.write(script)
                boards, _, fault = piece.text.removeprefix("boards: ").partition("; ")
                day.plug_in(boards, (fault,) if fault else ())
            elif piece.text.startswith("boards again: "):
                assert day is not None
                boards, _, fault = piece.text.removeprefix("boards again: ").partition("; ")
                day.plug_in(boards, (fault,) if fault else ())
            elif piece.text == "power cycle":
                assert day is not None
                day.plug_in()
    finally:
        if day is not None:
            day.end()
    return ran
