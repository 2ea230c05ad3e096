"""Words of the originals, and mistyped ones, on our command line: what to type instead is said."""

from __future__ import annotations

import shlex
from pathlib import Path

import pytest

from parburn.cli.main import main
from parburn.cli.mistyped import VERBS as NAMES
from parburn.cli.parser import parse
from parburn.nearest import nearest_names
from parburn.script.commands.text import VERBS
from tests.command import parburn
from tests.rig import start_rig


def test_the_commands_are_those_of_the_scripts() -> None:
    assert set(VERBS) == NAMES


@pytest.mark.parametrize(
    ("typed", "instead"),
    [
        ("execute_scripts s.py", "--port PORT --scripts s.py"),
        (
            "--port P execute_scripts s.py t.py --index 3 --configfiles a.json",
            "--port P --scripts s.py t.py --index 3 --configfiles a.json",
        ),
        (
            "-c esp32s3 -b 921600 -p P burn_efuse DIS_PAD_JTAG 1 summary --format json",
            "-c esp32s3 -b 921600 -p P --commands 'burn_efuse DIS_PAD_JTAG 1; summary --format json'",
        ),
        ("-p P burn-efuse DIS_PAD_JTAG 1", "-p P --commands 'burn-efuse DIS_PAD_JTAG 1'"),
        ("dump --port P --do-not-confirm", "--port P --do-not-confirm --commands dump"),
        ("espefuse.py --port P get_custom_mac", "--port P --commands get_custom_mac"),
        ("run --port P summary", "--port P --commands summary"),
    ],
)
def test_commands_of_the_originals_are_told_in_our_words(
    typed: str, instead: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(shlex.split(typed)) == 2
    said = capsys.readouterr().err
    assert "is a command of espefuse.py" in said
    assert f"Type: parburn {instead}" in said
    parse(shlex.split(instead))  # is understood


@pytest.mark.parametrize(
    ("typed", "hint"),
    [
        ("--script s.py", "did you mean --scripts"),
        ("--do_not_confirm", "did you mean --do-not-confirm?"),
        ("s.py", "did you mean --scripts s.py?"),
        ("-p P --token EFSR:esp32:000", "parburn sim --from-token"),
        ("leger show", "did you mean ledger?"),
        ("ports --prob", "did you mean --probe"),
        ("--port P --virt summary", "--sim CHIP:1"),
        ("--postpone --port P", "burned last"),
        ("qqqqqqqq", "see `parburn --help`"),
    ],
)
def test_a_mistyped_word_comes_with_what_was_meant(
    typed: str, hint: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(shlex.split(typed)) == 2
    assert hint in capsys.readouterr().err


@pytest.mark.parametrize(
    "typed",
    [
        "--port P --commands summary",
        "--port P --commands=dump",
        "--port P --batch summary --scripts a.py",
        "ledger release summary --why dump",
        "--port P --scripts summary",
    ],
)
def test_the_same_words_as_values_are_taken(typed: str) -> None:
    parse(shlex.split(typed))


def test_a_file_that_is_called_as_a_command_is_a_file_where_files_stand(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("summary").touch()  # as `parburn ... > summary` leaves it
    assert parse(["--port", "P", "--configfiles", "summary"]).configfiles == [Path("summary")]
    assert main(["--port", "P", "summary"]) == 2
    assert "Type: parburn --port P --commands summary" in capsys.readouterr().err
    assert main(["--port", "P", "burn_block_data", "BLOCK3", "summary", "dump"]) == 2
    assert "--commands 'burn_block_data BLOCK3 summary; dump'" in capsys.readouterr().err


def test_short_names_of_the_originals_are_ours() -> None:
    options = parse(["-c", "esp32", "-b", "460800", "-p", "P", "-a", "no_reset", "-d"])
    assert (options.chip, options.baud, options.ports, options.after, options.debug) == (
        "esp32", "460800", ["P"], "no-reset", True,
    )  # fmt: skip


def test_a_key_that_was_typed_is_not_repeated(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["-p", "P", "burn_efuse", "BLOCK_KEY0", "a1b2c3d4" * 8]) == 2
    said = capsys.readouterr()
    assert "a1b2" not in said.out + said.err
    assert "??" in said.err


def test_what_is_hinted_works(tmp_path: Path) -> None:
    with start_rig("esp32c3", 1, tmp_path) as rig:
        words = ["-p", rig.ports[0], "--do-not-confirm", "burn_efuse", "DIS_PAD_JTAG", "1", "get_custom_mac"]
        refused = parburn(*words, state=tmp_path)
        assert refused.exit == 2
        _, _, typed = refused.stderr.partition("Type: parburn ")
        done = parburn(*shlex.split(typed), state=tmp_path)
        assert done.exit == 0
        assert done.stdout.endswith("Custom MAC Address: 00:00:00:00:00:00 (OK)\n")
        assert rig.programs(0) == 1


@pytest.mark.parametrize(
    ("name", "nearest"),
    [
        ("KEY_BLOCK0", ["BLOCK_KEY0"]),
        ("block_key0", ["BLOCK_KEY0"]),
        ("KEYBLOCK0", ["BLOCK0", "BLOCK_KEY0", "BLOCK4"]),
        ("BLOK0", ["BLOCK0", "BLOCK4"]),
        ("ZZZ", []),
    ],
)
def test_names_of_the_same_parts_are_nearest(name: str, nearest: list[str]) -> None:
    found = nearest_names(name, ["BLOCK0", "BLOCK4", "BLOCK_KEY0", "BLOCK_KEY1"])
    assert found[: len(nearest)] == nearest or set(nearest) >= set(found[:1]) != set()
