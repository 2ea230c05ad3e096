"""`--commands`: what it takes, what it burns and shows; and options before and after the word `run`."""

from __future__ import annotations

from pathlib import Path

import anyio
import pytest

from parburn.chips.registry import chip_named
from parburn.cli.options import job_from
from parburn.cli.parser import parse
from parburn.errors import UsageError
from parburn.run.checked_job import check_job
from parburn.run.needed_blocks import blocks_mentioned
from parburn.script.commands.command_line import parse_commands, with_commands
from parburn.script.compiled import CompiledScripts, compile_scripts
from parburn.script.session import ScriptOptions
from tests.command import parburn
from tests.rig import Rig, start_rig
from tests.script.board import Board, Ran, make_board, run_async


def run_typed(board: Board, text: str, *, scripts: CompiledScripts | None = None) -> Ran:
    """Run commands on a board in memory."""
    compiled = with_commands(scripts or CompiledScripts(), text)
    return anyio.run(lambda: run_async(board, compiled, ScriptOptions(timeout_s=30.0)))


# What is a command ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "verbs"),
    [
        ("summary", ["summary"]),
        (" burn_efuse A 1 ; summary ;; ", ["burn_efuse", "summary"]),
        ("burn-efuse A 1\nget-custom-mac", ["burn_efuse", "get_custom_mac"]),
        ("""burn_key BLOCK_KEY0 "a;b.bin" USER; dump --file-name 'c;d'""", ["burn_key", "dump"]),
        (r"""dump --file-name a\;b; dump --file-name "x\"; y"; adc_info""", ["dump", "dump", "adc_info"]),
    ],
)
def test_commands_are_split_outside_quotes(text: str, verbs: list[str]) -> None:
    assert [command.verb for command in parse_commands(text)] == verbs


def test_quoted_names_keep_their_semicolon() -> None:
    first, second = parse_commands("""execute_scripts 'a;b.py' c\\;d.py; summary "A;B" """)
    assert first.words == ("a;b.py", "c;d.py")
    assert second.words == ("A;B",)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (" ; ", "names no command"),
        ("summary; burn_efus A 1", "burn_efus A 1: there is no command 'burn_efus'; did you mean burn_efuse"),
        ("burn_efuse A 1 --hard; summary", "burn_efuse A 1 --hard: unknown option --hard"),
        ("dump --format wav", "dump --format wav: --format must be one of"),
        ("summary; burn_custom_mac 'aa", "burn_custom_mac 'aa: the command cannot be split"),
    ],
)
def test_what_is_no_command_is_refused_by_its_name(text: str, words: str) -> None:
    with pytest.raises(UsageError) as caught:
        parse_commands(text)
    assert words in str(caught.value)
    assert caught.value.hint


def test_what_may_be_a_key_is_not_repeated() -> None:
    with pytest.raises(UsageError) as caught:
        parse_commands(f"burn_kei BLOCK_KEY0 {'a1b2c3d4' * 8}")
    assert "burn_kei BLOCK_KEY0 ??" in str(caught.value)
    assert "a1b2" not in str(caught.value)


@pytest.mark.parametrize(
    ("text", "only"),
    [
        ("summary; dump; get_custom_mac; adc_info; check_error", True),
        ("check-error --recovery", False),
        ("summary; burn_efuse A 1", False),
        ("execute_scripts a.py", False),
    ],
)
def test_which_commands_only_show(
    text: str, only: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a.py").write_text("")
    assert with_commands(CompiledScripts(), text).shows_only is only
    assert not with_commands(compile_scripts(["a.py"]), text).shows_only


def test_the_digest_tells_jobs_apart(tmp_path: Path) -> None:
    script = tmp_path / "a.py"
    script.write_text("pass")
    scripts = compile_scripts([script])
    nested = f"execute_scripts {script}"
    texts = ("", "summary", "summary;dump", "burn_efuse A 1", nested)
    digests = [with_commands(scripts, text).digest for text in texts]
    assert len(set(digests)) == len(texts)
    assert digests[1] == with_commands(scripts, " summary ; ").digest
    script.write_text("pass  # another")
    assert with_commands(CompiledScripts(), nested).digest != digests[-1]


def test_named_blocks_are_read_ahead() -> None:
    chip = chip_named("esp32s3")

    def blocks(text: str) -> frozenset[int]:
        return blocks_mentioned(chip, with_commands(CompiledScripts(), text).mentioned)

    assert blocks("burn_efuse BLOCK_USR_DATA 1") == {3}
    assert blocks("summary") == {block.index for block in chip.blocks}


# What they do -----------------------------------------------------------------------------------------


def test_commands_burn_once_and_what_follows_shows_it() -> None:
    board = make_board("esp32s3")
    ran = run_typed(
        board,
        "summary WDT_DELAY_SEL --format value_only; burn_efuse WDT_DELAY_SEL 1; burn_bit BLOCK3 4; "
        "summary WDT_DELAY_SEL --format value_only",
    )
    assert not ran.error
    assert board.burns == 1
    assert (board.bits("WDT_DELAY_SEL"), board.blocks[3]) == (1, 1 << 4)
    shown = [line for line in ran.output.splitlines() if line.isdigit()]
    assert shown == ["40000", "80000"]


def test_what_scripts_left_to_burn_is_shown_as_burned(tmp_path: Path) -> None:
    script = tmp_path / "a.py"
    script.write_text("espefuse(esp, efuses, args, 'burn_efuse WDT_DELAY_SEL 1')\nespefuse = efuses = None\n")
    board = make_board("esp32s3")
    ran = run_typed(board, "summary WDT_DELAY_SEL --format value_only", scripts=compile_scripts([script]))
    assert not ran.error
    assert board.burns == 1
    assert ran.output.endswith("80000\n")


def test_an_error_names_the_command_and_nothing_is_burned() -> None:
    board = make_board("esp32s3")
    ran = run_typed(board, "burn_efuse WDT_DELAY_SEL 1; burn_efuse WDT_DELAY_SEL 9; summary")
    assert ran.error.startswith("<commands>: burn_efuse WDT_DELAY_SEL 9: 9 does not fit")
    assert board.burns == 0
    assert not ran.outcome.staged


# The command line -------------------------------------------------------------------------------------


@pytest.fixture
def files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    for name in ("s.py", "t.py", "a.csv", "b.csv", "ttyUSB1", "ttyUSB2"):
        (tmp_path / name).write_text("")
    return tmp_path


def test_commands_reach_the_job_with_and_without_scripts(files: Path) -> None:
    job = job_from(parse(["--ports", "ttyUSB1", "--commands", "summary"]))
    assert (job.scripts, job.commands) == ((), "summary")
    job = job_from(parse(["run", "--ports", "ttyUSB1", "--scripts", "s.py", "--commands", "summary"]))
    assert (job.scripts, job.commands) == ((Path("s.py"),), "summary")


@pytest.mark.parametrize(
    "words",
    [
        ["--commands", "sumary"],
        ["--token", "--commands", "summary"],
        ["--token", "--scripts", "s.py"],
        ["--commands", ""],
        [],
    ],
)
def test_mistakes_are_refused_before_a_port_is_opened(files: Path, words: list[str]) -> None:
    with pytest.raises(UsageError):
        check_job(job_from(parse(["--ports", "ttyUSB1", *words])))


def test_lists_before_and_after_the_word_run_add_up(files: Path) -> None:
    before = ["--ports", "ttyUSB2", "--scripts", "t.py", "--extend-efuse-table", "a.csv"]
    after = ["--ports", "ttyUSB1", "--scripts", "s.py", "--extend-efuse-table", "b.csv"]
    marks = ["--allow-shared-records"], ["--allow-other-batch"]
    job = job_from(parse([*before, *marks[0], "run", *after, *marks[1]]))
    assert job.ports == ("ttyUSB1", "ttyUSB2")
    assert job.scripts == (Path("t.py"), Path("s.py"))
    assert [table.path.name for table in job.tables] == ["a.csv", "b.csv"]
    assert job.overrides == {"allow-shared-records", "allow-other-batch"}
    options = vars(parse(["run", "--port", "ttyUSB1", "-p", "ttyUSB2"]))
    assert options["ports"] == ["ttyUSB1", "ttyUSB2"]
    assert options["scripts"] is None
    assert not [name for name in options if name.endswith("after_run")]


# On a rig ---------------------------------------------------------------------------------------------


def bits(rig: Rig, board: int) -> list[int]:
    return [rig.bits(board, block) for block in range(len(rig.state(board)["blocks"]))]


def test_commands_that_only_show_ask_nothing_and_leave_no_record(tmp_path: Path) -> None:
    state = tmp_path / "state"
    with start_rig("esp32:1,esp32s3:2", tmp_path=tmp_path) as rig:
        before = [bits(rig, n) for n in range(3)]
        command = ("--ports", *rig.ports, "--index", "5-5", "--commands", "summary MAC; get_custom_mac")
        outcome = parburn(*command, state=state)
        assert outcome.exit == 0, outcome.stdout + outcome.stderr
        assert all(rig.mac(n) in outcome.stdout for n in range(3))
        assert "Custom MAC" in outcome.stdout
        shown = parburn(*command, "--json", state=state)
        assert [result["index"] for result in shown.results] == [None] * 3
        assert {event["port"] for event in shown.events if event["event"] == "output"} == set(rig.ports)
        assert not [event for event in shown.events if event["event"] in ("claimed", "burned")]
        assert [bits(rig, n) for n in range(3)] == before
    assert not state.exists()


def test_commands_burn_boards_like_a_script(tmp_path: Path) -> None:
    state = tmp_path / "state"
    with start_rig("esp32s3:2", tmp_path=tmp_path) as rig:
        command = (
            "--ports",
            *rig.ports,
            "--json",
            "--commands",
            "burn_bit BLOCK3 7; burn_efuse WDT_DELAY_SEL 1",
        )
        asked = parburn(*command, state=state)
        assert asked.exit == 3  # nobody to ask
        assert rig.bits(0, 3) == 0
        burned = parburn(*command, "--do-not-confirm", state=state)
        assert burned.words == ["pass", "pass"]
        assert [result["index"] for result in burned.results] == [1, 2]
        assert not [event for event in burned.events if event["event"] == "output"]
        assert [rig.bits(n, 3) for n in range(2)] == [1 << 7] * 2
        again = parburn(*command, "--do-not-confirm", state=state)
        assert again.words == ["already-pass"] * 2
        other = parburn(*command[:-1], "burn_efuse WDT_DELAY_SEL 3", "--do-not-confirm", state=state)
        assert other.words == ["pass", "pass"]


def test_a_failing_command_is_named_and_the_other_board_goes_on(tmp_path: Path) -> None:
    with start_rig("esp32:1,esp32s3:1", tmp_path=tmp_path) as rig:
        outcome = parburn(
            "--ports", *rig.ports, "--json", "--do-not-confirm",
            "--commands", "burn_efuse DIS_FORCE_DOWNLOAD 1",
            state=tmp_path / "state",
        )  # fmt: skip
        assert outcome.exit == 1
        assert outcome.words == ["failed", "pass"]
        assert "<commands>: burn_efuse DIS_FORCE_DOWNLOAD 1: " in outcome.results[0]["error"]
        assert rig.programs(1) == 1
