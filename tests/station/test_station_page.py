"""docs/station.md: its lists are what a station has, and its unit is one that systemd takes."""

from __future__ import annotations

import configparser
import re
import shutil
import subprocess
from pathlib import Path

from parburn.station.job_file import known_keys, load_job_file
from parburn.station.words import ACTIONS, LOOKS, Word
from tests.job_page import COMMAND, MEANINGS, NEEDED, PAGE, default_of, page

TEXT = PAGE.read_text()
OPERATOR = TEXT.partition("# To print: the operator's page")[2]


def test_the_table_of_keys_is_what_a_job_file_may_have() -> None:
    assert set(MEANINGS) == set(known_keys())
    assert page(TEXT) == TEXT, f"write it anew: {COMMAND}"


def test_the_defaults_are_those_of_the_smallest_job(tmp_path: Path) -> None:
    (tmp_path / "burn.py").write_text("")
    path = tmp_path / "lamp.toml"
    path.write_text('schema = 1\nname = "lamp"\nscripts = ["burn.py"]\nchips = ["esp32c3"]\n')
    smallest = load_job_file(path)
    named = ["baud", "after", "before", "retries", "script_timeout", "first_article", "rework"]
    lines = "".join(
        f"{key} = {value}\n" if value.isdigit() or value == "false" else f'{key} = "{value}"\n'
        for key in named
        if (value := default_of(key)) != NEEDED
    )
    for section in ("bounds", "stop"):
        lines += f"[{section}]\n"
        keys = [key for key in known_keys() if key.startswith(f"{section}.")]
        lines += "".join(f"{key.partition('.')[2]} = {default_of(key)}\n" for key in keys)
    path.write_text(path.read_text() + lines)
    assert load_job_file(path)._replace(digest="") == smallest._replace(digest="")


def test_the_operators_page_has_each_word_with_its_symbol_and_colour() -> None:
    rows = re.findall(r"^\| (\S) ([A-Z ]+) \| (\w+) \| (.+) \|$", OPERATOR, flags=re.MULTILINE)
    told = {(symbol, word): (colour, action) for symbol, word, colour, action in rows}
    shown = {(look.symbol, word.value) for word, look in LOOKS.items()}
    assert set(told) == shown | {(LOOKS[Word.PASS].hollow, "PASS")}
    for (_, word), (colour, action) in told.items():
        assert colour in LOOKS[Word(word)].style.split()
        key = ACTIONS[Word(word)].split(",")[0].split()[-1]  # out, again, tray, bin, in, socket
        assert key in action or word == "LEAVE IN", (word, action)
    assert "`" not in OPERATOR  # nothing to type
    assert "parburn" not in OPERATOR


def unit() -> str:
    (found,) = re.findall(r"```ini\n(.*?)```", TEXT, flags=re.DOTALL)
    return str(found)


def test_the_unit_has_what_a_station_needs() -> None:
    parsed = configparser.ConfigParser(interpolation=None, delimiters="=")
    parsed.optionxform = str  # type: ignore[assignment, method-assign]
    parsed.read_string(unit())
    service = parsed["Service"]
    assert service["Type"] == "notify"
    assert service["RuntimeDirectory"] == "parburn"
    assert int(service["WatchdogSec"]) > 0
    assert service["RestartPreventExitStatus"] == "2"
    assert service["KillMode"] == "mixed"  # scripts' own processes come to their end, too


def test_systemd_takes_the_unit_where_there_is_one(tmp_path: Path) -> None:
    path = tmp_path / "parburn-station@.service"
    path.write_text(re.sub(r"^ExecStart=\S+", "ExecStart=/bin/true", unit(), flags=re.MULTILINE))
    analyze = shutil.which("systemd-analyze")
    said = ""
    if analyze is not None:
        said = subprocess.run(
            [analyze, "verify", str(path)], capture_output=True, text=True, check=False, timeout=60
        ).stderr
    assert path.name not in said, said
