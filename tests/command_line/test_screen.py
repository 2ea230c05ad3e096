"""What stands on a terminal of 80x24 and of 200x50, and in a pipe, by the installed command."""

from __future__ import annotations

import codecs
import fcntl
import json
import os
import pty
import re
import select
import signal
import struct
import termios
import time
from pathlib import Path

import pytest

from tests.command import COMMAND, environment, parburn
from tests.provisioning import said
from tests.rig import Rig, start_rig

SIZES = ((80, 24), (200, 50))
DEADLINE_S = 90
MACS = (
    "one = json.load(args.configfiles[0])[str(args.index)]\n"
    "espefuse(esp, efuses, args, 'burn_custom_mac ' + one['mac'])\n"
    "flag = 'DIS_PAD_JTAG' if any(e.name == 'DIS_PAD_JTAG' for e in efuses) else 'JTAG_DISABLE'\n"
    "espefuse(esp, efuses, args, 'burn_efuse {} 1'.format(flag))\n"
)
CODES = re.compile(r"\x1b\[[?\d;]*[A-Za-z]")


class Bench:
    """Boards, a script and its ids, and a terminal of a size."""

    def __init__(self, folder: Path, rig: Rig, *, records: int = 200) -> None:
        self.folder, self.rig, self.state = folder, rig, folder / "state"
        self.script, self.ids = folder / "burn.py", folder / "ids.json"
        self.script.write_text(MACS)
        ids = {str(n): {"mac": f"02:00:00:00:00:{n:02x}"} for n in range(1, records + 1)}
        self.ids.write_text(json.dumps(ids))

    def words(self, *more: object) -> list[str]:
        return ["--ports", *self.rig.ports, "--scripts", str(self.script), "--configfiles", str(self.ids),
                *map(str, more)]  # fmt: skip

    def on_terminal(self, *more: str, size: tuple[int, int], answers: dict[str, str] | None = None) -> Shown:
        """Run it on a terminal; each question of `answers` is answered once it is shown."""
        assert COMMAND
        pid, master = pty.fork()
        if pid == 0:
            os.execve(
                COMMAND,
                [COMMAND, *self.words(*more)],
                environment(self.state, TERM="xterm", LINES="", COLUMNS=""),
            )
        fcntl.ioctl(master, termios.TIOCSWINSZ, struct.pack("HHHH", size[1], size[0], 0, 0))
        left, text, first, began = dict(answers or {}), "", 0.0, time.monotonic()
        decoder = codecs.getincrementaldecoder("utf-8")()  # a read may end within a letter
        while time.monotonic() < began + DEADLINE_S:
            if not select.select([master], [], [], 1.0)[0]:
                continue
            try:
                data = os.read(master, 65536)
            except OSError:
                break
            first = first or time.monotonic() - began
            text += decoder.decode(data)
            for question in [one for one in left if one in text]:
                os.write(master, left.pop(question).encode())
        else:
            os.kill(pid, signal.SIGKILL)
        os.close(master)
        code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
        return Shown(code, text, CODES.sub("", text).replace("\r", ""))


class Shown:
    """What a terminal got: the exit code, the raw text, and the text without codes."""

    def __init__(self, exit: int, raw: str, text: str) -> None:
        self.exit, self.raw, self.text = exit, raw, text

    @property
    def last(self) -> list[str]:
        """The lines of the last frame and all behind it."""
        return self.text[self.text.rindex("port ") :].splitlines()


@pytest.mark.parametrize("size", SIZES)
def test_the_question_ends_with_the_sum_and_the_table_has_what_was_burned(
    size: tuple[int, int], tmp_path: Path
) -> None:
    with start_rig("esp32c3:2,esp32:2", 4, tmp_path) as rig:
        bench = Bench(tmp_path, rig)
        shown = bench.on_terminal(
            "--new-ledger", "--index", "9", size=size,
            answers={"Type BURN": "burn\n", "That was not BURN": "BURN\n"},
        )  # fmt: skip
        assert shown.exit == 0, shown.text
        question = shown.text.partition("Type BURN")[0]
        lines = " ".join(question.splitlines()[-2:]) if size[0] == 80 else question.splitlines()[-1]
        assert lines == (
            "4 boards: 2 ESP32-C3, 2 ESP32, index 9-12, CUSTOM_MAC (own value each), "
            "DIS_PAD_JTAG = 1 (on 2), JTAG_DISABLE = 1 (on 2), no locks, no keys"
        )
        assert "    BLOCK_USR_DATA: CUSTOM_MAC (own value each)\n    BLOCK0: DIS_PAD_JTAG = 1\n" in question
        assert re.search(r"ttyUSB0 +9 +ESP32-C3 .*02:00:00:00:00:09 .*✓ pass", shown.last[1])
        assert "esp32c3" not in shown.text
        assert max(map(len, shown.last)) <= size[0]
        assert shown.text.splitlines()[0].startswith("parburn ")


@pytest.mark.parametrize("size", SIZES)
def test_states_are_short_and_sentences_fold(size: tuple[int, int], tmp_path: Path) -> None:
    faults = [
        "on board 1: the link is silent after 0 bytes",
        "on board 2: the port vanishes after 2500 bytes",
    ]
    with start_rig("esp32c3:3,esp32:1", 4, tmp_path, faults=faults) as rig:
        bench = Bench(tmp_path, rig)
        shown = bench.on_terminal("--new-ledger", "--do-not-confirm", "--chip", "esp32c3", size=size)
        assert shown.exit == 1, shown.text
        rows = shown.last[1:5]
        for row, word in zip(
            rows, ("✓ pass", "∅ no answer, left out", "◐ half burned", "⊘ wrong chip: ESP32"), strict=True
        ):
            assert word in row
        told = shown.text.partition("INCOMPLETE: ")[2].partition("To go on")[0]
        assert all(len(line) <= size[0] for line in told.splitlines())
        assert str(tmp_path) not in told.replace(str(bench.script), "")
        assert "who:           the operator (board, cable)" in told


@pytest.mark.parametrize("size", SIZES)
def test_the_next_boards_were_forgotten(size: tuple[int, int], tmp_path: Path) -> None:
    with start_rig("esp32c3", 3, tmp_path) as rig:
        bench = Bench(tmp_path, rig)
        assert parburn(*bench.words("--do-not-confirm", "--json"), state=bench.state).words == ["pass"] * 3
        shown = bench.on_terminal("--do-not-confirm", size=size)
        asked = "0 new, 3 had passed before: are these the next boards?"
        assert shown.last[-1] == asked
        assert f"\x1b[1;36m{asked}\x1b[0m" in shown.raw  # another colour than a pass has
        assert shown.last[1].rstrip().endswith("= already-pass")


def test_sixty_four_boards_stand_on_a_small_screen_with_their_indexes(tmp_path: Path) -> None:
    with start_rig("esp32c3", 64, tmp_path) as rig:
        shown = Bench(tmp_path, rig).on_terminal("--new-ledger", "--do-not-confirm", size=(80, 24))
        assert shown.exit == 0, shown.text
        frame = shown.text[shown.text.rindex("ttyUSB0 ") :].splitlines()
        assert re.match(r"ttyUSB0 +1 ✓ pass +ttyUSB22 23 ✓ pass +ttyUSB44 45 ✓ pass", frame[0])
        assert frame[-1].startswith("64 of 64 boards passed, slowest ")
        assert len(frame) <= 26


def test_a_pipe_gets_a_line_at_the_start_one_a_verdict_and_the_sum(tmp_path: Path) -> None:
    with start_rig("esp32c3", 8, tmp_path) as rig:
        bench = Bench(tmp_path, rig)
        outcome = parburn(*bench.words("--do-not-confirm"), state=bench.state)
        lines = [line for line in outcome.stdout.splitlines() if line]
        assert len(lines) == 3 + 8 + 1, outcome.stdout  # the new ledger, the start, how values are taken
        assert all(re.match(r"\d\d:\d\d:\d\d ", line) for line in lines)
        assert lines[1][9:] == "8 boards"
        verdicts = sorted(line[9:] for line in lines[3:-1])
        assert re.fullmatch(r"ttyUSB0: pass index 1 CUSTOM_MAC 02:00:00:00:00:01 in \d\.\d s", verdicts[0])
        assert lines[-1][9:].startswith("8 of 8 boards passed, slowest ")
        verbose = parburn(*bench.words("--do-not-confirm", "-v"), state=bench.state).stdout
        assert re.search(r"\d\d:\d\d:\d\d ttyUSB7: connecting attempt 1\n", verbose)


def test_boards_of_another_batch_are_told_once(tmp_path: Path) -> None:
    with start_rig("esp32c3", 8, tmp_path) as rig:
        bench = Bench(tmp_path, rig)
        assert (
            parburn(*bench.words("--do-not-confirm", "--json", "--batch", "a"), state=bench.state).exit == 0
        )
        bench.ids.write_text(json.dumps({str(n): {"mac": f"02:00:00:00:01:{n:02x}"} for n in range(1, 9)}))
        other = parburn(*bench.words("--do-not-confirm", "--batch", "b"), state=bench.state)
        assert other.exit == 3, said(other)
        summary = other.stdout.partition("REFUSED: ")[2]
        assert summary.startswith("8 boards: ttyUSB0-7"), other.stdout
        assert "REFUSED" not in summary
        assert "what happened: This chip carries index 1-8 of the batch a." in summary
        assert len(summary.splitlines()) <= 10


def test_turns_to_burn_are_taken_in_the_order_of_the_slots(tmp_path: Path) -> None:
    with start_rig("esp32c3", 12, tmp_path) as rig:
        bench = Bench(tmp_path, rig)
        outcome = parburn(*bench.words("--do-not-confirm", "--json", "--max-burning", 1), state=bench.state)
        assert outcome.exit == 0, said(outcome)
        begun = [one["port"] for one in outcome.events if one.get("step") == "burning"]
        assert begun == rig.ports
