"""Files that summary and dump write: one for each board, never one over the other."""

from __future__ import annotations

from pathlib import Path

import pytest

from parburn.errors import EfuseError, UsageError
from parburn.script.commands.command_line import with_commands
from parburn.script.compiled import CompiledScripts, compile_scripts
from parburn.script.index_use import uses_the_index
from parburn.script.output_files import filled_in
from parburn.script.shared_output import refuse_one_file_for_all
from tests.script.board import facts_of, make_board

BOARD = make_board("esp32c3")


@pytest.mark.parametrize(
    ("name", "filled"),
    [
        ("a{port}.txt", "attyUSB0.txt"),
        ("out/{mac}-{index}.json", "out/240ac4000102-7.json"),
        ("{slot}", "pci-0000_00_14.0-usb-0_1_1.0-port0"),
        ("{other}{}.bin", "{other}{}.bin"),
    ],
)
def test_a_name_is_filled_in_for_each_board(name: str, filled: str) -> None:
    facts = facts_of(BOARD, 7)._replace(slot="pci-0000:00:14.0-usb-0:1:1.0-port0")
    assert filled_in(name, facts) == filled


@pytest.mark.parametrize(
    ("port", "slot"),
    [("socket://10.0.0.7:4000", "../../etc"), ("/dev/ttyÜ $(x)", "a/b\\c\nd"), ("/dev/..", "...")],
)
def test_what_is_filled_in_stays_in_its_folder(port: str, slot: str) -> None:
    facts = facts_of(BOARD, 7)._replace(port=port, slot=slot)
    for place in ("{port}", "{slot}"):
        name = filled_in(f"{place}", facts)
        assert name
        assert not set(name) - set("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-")
        assert not name.startswith(".")


def test_there_is_no_index_where_scripts_only_show() -> None:
    with pytest.raises(EfuseError, match="no index"):
        filled_in("{index}.txt", facts_of(BOARD, None))


def scripts(text: str, tmp_path: Path) -> CompiledScripts:
    path = tmp_path / "script.py"
    path.write_text(text)
    return compile_scripts([path])


COMMANDS = [
    ("summary --file all.txt", False),
    ("summary --format json --file=all.txt", False),
    ("dump --file_name all.bin", False),
    ("dump --format joint --file-name all.bin", False),
    ("dump --file 'my file'", False),
    ("summary --file {port}.txt", True),
    ("dump --file_name dump-{mac}-", True),
    ("summary", True),
    ("dump --format split", True),
]


@pytest.mark.parametrize(("command", "taken"), COMMANDS)
@pytest.mark.parametrize("typed", [True, False], ids=["typed", "in a script"])
def test_one_file_for_all_boards_is_refused_before_a_port_is_opened(
    command: str, taken: bool, typed: bool, tmp_path: Path
) -> None:
    if typed:
        found = with_commands(CompiledScripts(), f"burn_efuse DIS_TWAI 1; {command}")
    else:
        found = scripts(f"def show():\n    espefuse(esp, efuses, args, {command!r})\nshow()\n", tmp_path)
    if taken:
        refuse_one_file_for_all(found)
    else:
        with pytest.raises(UsageError, match=r"writes .* for each board") as caught:
            refuse_one_file_for_all(found)
        assert "{port}" in caught.value.hint


def test_a_name_that_the_script_makes_up_is_left_to_the_run(tmp_path: Path) -> None:
    refuse_one_file_for_all(
        scripts("espefuse(esp, efuses, args, 'summary --file {}.txt'.format(args.index))\n", tmp_path)
    )


def test_a_name_with_the_index_uses_the_index(tmp_path: Path) -> None:
    assert uses_the_index(scripts("espefuse(esp, efuses, args, 'dump --file_name {index}.bin')\n", tmp_path))
