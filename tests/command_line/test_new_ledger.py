"""A ledger is begun on purpose: through the installed command, on ports of a rig and on a real terminal."""

from __future__ import annotations

import json
import os
import pty
import subprocess
import time
from pathlib import Path

import pytest

from tests.command import COMMAND, environment, parburn
from tests.provisioning import said, script
from tests.rig import Rig, start_rig

DEADLINE_S = 60


@pytest.fixture
def one_bit(tmp_path: Path) -> Path:
    return script(tmp_path, "one_bit", "espefuse(esp, efuses, args, 'burn_efuse DIS_DIRECT_BOOT 1')\n")


def place(tmp_path: Path) -> Path:
    return tmp_path / "state" / "parburn" / "ledger.sqlite3"


def on_a_terminal(words: list[str], state: Path, answers: dict[str, str]) -> tuple[int, str]:
    """The exit code and what was said; each question of `answers` must come, and is answered once."""
    assert COMMAND
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        [COMMAND, *words], stdin=theirs, stdout=theirs, stderr=theirs, env=environment(state)
    )
    os.close(theirs)
    seen, open_questions, deadline = b"", dict(answers), time.monotonic() + DEADLINE_S
    try:
        while time.monotonic() < deadline:
            try:
                seen += os.read(ours, 4096)
            except OSError:  # the other end closed: the command has ended
                break
            for question in [one for one in open_questions if one.encode() in seen]:
                os.write(ours, f"{open_questions.pop(question)}\n".encode())
        text = seen.decode(errors="replace")
        assert not open_questions, text
        return process.wait(DEADLINE_S), text
    finally:
        process.kill()
        process.wait()
        os.close(ours)


@pytest.mark.parametrize("quiet", [(), ("-q",), ("--do-not-confirm",), ("-q", "--do-not-confirm")])
def test_nobody_is_asked_and_nothing_is_begun(tmp_path: Path, one_bit: Path, quiet: tuple[str, ...]) -> None:
    with start_rig("esp32c3", 1, tmp_path) as rig:
        outcome = parburn(
            "--ports", *rig.ports, "--scripts", one_bit, *quiet, state=tmp_path / "state", as_typed=True
        )
        assert outcome.exit == 2, said(outcome)
        assert "--new-ledger" in outcome.stderr
        assert "parburn ledger import-used" in outcome.stderr
        assert "nothing was burned" in outcome.stderr
        assert not rig.programs(0)
    assert not place(tmp_path).exists()


def test_do_not_confirm_is_not_asked_on_a_terminal_either(tmp_path: Path, one_bit: Path) -> None:
    with start_rig("esp32c3", 1, tmp_path) as rig:
        words = ["--ports", *rig.ports, "--scripts", str(one_bit), "--do-not-confirm"]
        code, text = on_a_terminal(words, tmp_path / "state", {})
        assert (code, rig.programs(0)) == (2, 0), text
        assert "--new-ledger" in text


def test_a_second_machine_burns_nothing_unasked_and_takes_over_what_the_first_has_burned(
    tmp_path: Path, one_bit: Path
) -> None:
    first, second = tmp_path / "state", tmp_path / "second"
    with start_rig("esp32c3", 2, tmp_path) as rig:
        words = ("--scripts", one_bit, "--do-not-confirm", "--json")
        made = parburn("--ports", rig.ports[0], *words, "--new-ledger", state=first, as_typed=True)
        assert made.words == ["pass"], said(made)
        again = parburn("--ports", rig.ports[0], *words, state=first, as_typed=True)
        assert again.words == ["already-pass"], said(again)
        refused = parburn("--ports", rig.ports[1], *words, "-q", state=second, as_typed=True)
        assert (refused.exit, rig.programs(1)) == (2, 0), said(refused)
        why = ("--why", "a second PC")
        assert parburn("ledger", "init", *why, state=second).exit == 0
        taken = parburn("ledger", "import-used", place(tmp_path), *why, state=second)
        assert taken.exit == 0, said(taken)
        both = parburn("--ports", *rig.ports, *words, state=second, as_typed=True)
        assert both.words == ["already-pass", "pass"], said(both)
        assert [result["index"] for result in both.results] == [1, 2]
        dead = parburn("ledger", "scrap", rig.mac(1), "--why", "fell", state=second)
        assert "index 2 of default" in dead.stdout, said(dead)
        refused = parburn("--ports", rig.ports[1], *words, state=second, as_typed=True)
        assert "is written off: fell" in refused.results[0]["error"], said(refused)
        for wrong in ((), (rig.mac(1), "--all"), ("--all",)):
            assert parburn("ledger", "release", *wrong, *why, state=second).exit == 2
        assert parburn("ledger", "release", "--all", "--batch", "default", *why, state=second).exit == 3
        assert rig.mac(1) in parburn("ledger", "release", rig.mac(1), *why, state=second).stdout


@pytest.mark.parametrize("form", ["file", "json", "csv"])
def test_a_second_machine_knows_the_values_of_the_first(tmp_path: Path, form: str) -> None:
    first, second = tmp_path / "state", tmp_path / "second"
    (tmp_path / "table.csv").write_text("SERIAL, 3, 64, 32, Serial number\n")
    (tmp_path / "other.csv").write_text("UNIT, 3, 64, 32, The same bits\n")
    burned = script(tmp_path, "serial", "espefuse(esp, efuses, args, 'burn_efuse SERIAL 1001')\n")
    doubled = script(tmp_path, "unit", "espefuse(esp, efuses, args, 'burn_efuse UNIT 1001')\n")
    words = ("--do-not-confirm", "--json", "--extend-efuse-table")
    with start_rig("esp32c3", 2, tmp_path) as rig:
        made = parburn(
            "--ports", rig.ports[0], "--scripts", burned, *words, tmp_path / "table.csv", state=first
        )
        assert made.words == ["pass"], said(made)
        taken = place(tmp_path)
        if form != "file":
            taken = tmp_path / f"used.{form}"
            told = parburn("ledger", "export", "--format", form, "-o", taken, state=first)
            assert told.exit == 0, said(told)
        assert parburn("ledger", "init", "--why", "a second PC", state=second).exit == 0
        done = parburn("ledger", "import-used", taken, "--why", "a second PC", state=second)
        assert done.exit == 0, said(done)
        refused = parburn(
            "--ports", rig.ports[1], "--scripts", doubled, *words, tmp_path / "other.csv", state=second
        )
        assert refused.words == ["refused"], said(refused)
        assert rig.mac(0) in refused.results[0]["error"]
        assert not rig.programs(1)
        assert parburn("ledger", "verify", state=second).exit == 0


DECLARED = "--records ids.csv=row --same WEEK --unique SERIAL"


@pytest.mark.parametrize("form", ["file", "json", "csv", "older json"])
def test_a_second_machine_knows_what_was_declared_on_the_first(tmp_path: Path, form: str) -> None:
    """Without the declarations the second PC asks for the form of the file again, and refuses the week."""
    first, second = tmp_path / "state", tmp_path / "second"
    (tmp_path / "table.csv").write_text("SERIAL, 3, 64, 32, Serial\nWEEK, 3, 96, 16, Week\n")
    ids = tmp_path / "ids.csv"
    ids.write_text("1001\n1002\n")
    burned = script(
        tmp_path, "serial",
        "number = args.configfiles[0].read().split()[args.index - 1]\n"
        "espefuse(esp, efuses, args, f'burn_efuse SERIAL {number} WEEK 36')\n",
    )  # fmt: skip
    files = ("--scripts", burned, "--configfiles", ids, "--extend-efuse-table", tmp_path / "table.csv")
    words = (*files, "--do-not-confirm", "--json")
    with start_rig("esp32c3", 3, tmp_path) as rig:
        made = parburn("--ports", *rig.ports[:2], *words, *DECLARED.split(), state=first)
        assert made.words == ["pass", "pass"], said(made)
        taken = place(tmp_path)
        if form != "file":
            taken = tmp_path / f"used.{form.split()[-1]}"
            told = parburn("ledger", "export", "--format", taken.suffix[1:], "-o", taken, state=first)
            assert told.exit == 0, said(told)
        if form == "older json":  # an export of before declarations stood in it by themselves
            record = json.loads(taken.read_text())
            del record["declarations"]
            taken.write_text(json.dumps(record))
        assert parburn("ledger", "init", "--why", "a second PC", state=second).exit == 0
        done = parburn("ledger", "import-used", taken, "--why", "a second PC", state=second)
        assert done.exit == 0, said(done)
        ids.write_text("1001\n1002\n1003\n")
        third = parburn("--ports", rig.ports[2], *words, state=second)
        if form == "csv":
            assert "give --records, --same and --unique once more" in done.stdout
            assert (third.exit, rig.programs(2)) == (2, 0), said(third)
            assert "--records" in third.stderr
            return
        assert f"was taken over: {DECLARED}." in done.stdout, said(done)
        assert third.words == ["pass"], said(third)
        assert third.results[0]["index"] == 3
        assert parburn("ledger", "verify", state=second).exit == 0


def answered(rig: Rig, tmp_path: Path, one_bit: Path, answers: dict[str, str]) -> tuple[int, str]:
    return on_a_terminal(["--ports", *rig.ports, "--scripts", str(one_bit)], tmp_path / "state", answers)


def test_who_types_the_word_begins_one(tmp_path: Path, one_bit: Path) -> None:
    with start_rig("esp32c3", 1, tmp_path) as rig:
        code, text = answered(rig, tmp_path, one_bit, {"Type NEW": "NEW", "Type BURN": "BURN"})
        assert code == 0, text
        assert "If this product was burned with another one, stop." in text
        assert rig.programs(0)
    assert place(tmp_path).exists()


def test_who_types_another_word_does_not_and_no_port_is_opened(tmp_path: Path, one_bit: Path) -> None:
    with start_rig("esp32c3", 1, tmp_path) as rig:
        code, text = answered(rig, tmp_path, one_bit, {"Type NEW": "yes", "That was not NEW": "\x04"})
        assert (code, rig.programs(0)) == (3, 0), text
        assert "no new ledger was begun; no port was opened" in text
        assert "connecting" not in text
    assert not place(tmp_path).exists()


def test_a_dry_run_makes_none_and_needs_none(tmp_path: Path, one_bit: Path) -> None:
    with start_rig("esp32c3", 1, tmp_path) as rig:
        outcome = parburn(
            "--ports", *rig.ports, "--scripts", one_bit, "--dry-run", state=tmp_path / "state", as_typed=True
        )
        assert outcome.exit == 0, said(outcome)
    assert not place(tmp_path).exists()


def test_simulated_boards_begin_the_one_that_is_named_and_say_so(tmp_path: Path, one_bit: Path) -> None:
    ledger = tmp_path / "play.sqlite3"
    outcome = parburn(
        "--sim", "esp32c3:1", "--scripts", one_bit, "--do-not-confirm", "--ledger", ledger,
        state=tmp_path / "state", as_typed=True,
    )  # fmt: skip
    assert outcome.exit == 0, said(outcome)
    assert f"A new ledger was made: {ledger}" in outcome.stdout + outcome.stderr


def test_the_option_where_there_is_one_makes_nothing_and_is_told(tmp_path: Path, one_bit: Path) -> None:
    state = tmp_path / "state"
    with start_rig("esp32c3", 1, tmp_path) as rig:
        words = ("--ports", *rig.ports, "--scripts", one_bit, "--do-not-confirm", "--new-ledger")
        assert parburn(*words, state=state, as_typed=True).exit == 0
        again = parburn(*words, state=state, as_typed=True)
        assert again.exit == 0, said(again)
        assert "--new-ledger was not needed" in again.stdout + again.stderr
        place(tmp_path).unlink()
        lost = parburn(*words, state=state, as_typed=True)
        assert lost.exit == 2, said(lost)
        assert "witness" in lost.stderr
