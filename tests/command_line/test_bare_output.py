"""What commands print: alone on stdout with one port, as the originals print it; as events with several."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.command import COMMAND, environment, parburn
from tests.command_line.test_odd_texts import on_terminal
from tests.peers.venvs import PeerMissingError, peer_python, peers_are_off
from tests.rig import ROOT, Rig, start_rig

SHOWS = ("dump", "summary --format json", "get_custom_mac", "check_error", "summary --format value_only MAC")


@pytest.fixture
def rig(tmp_path: Path) -> Iterator[Rig]:
    with start_rig("esp32c3", 2, tmp_path) as rig:
        yield rig


@pytest.mark.parametrize("quiet", [[], ["-q"], ["--debug"]])
def test_with_one_port_only_the_text_stands_on_stdout(rig: Rig, tmp_path: Path, quiet: list[str]) -> None:
    done = parburn("--port", rig.ports[0], "--commands", "summary --format json", *quiet, state=tmp_path)
    assert done.exit == 0
    assert json.loads(done.stdout)["MAC"]["value"].startswith(rig.mac(0))
    assert "pass" in done.stderr
    assert "1 of 1 board passed" in done.stderr


@pytest.mark.peer
@pytest.mark.skipif(peers_are_off(), reason="PARBURN_NO_PEERS=1")
@pytest.mark.parametrize("shown", SHOWS)
def test_it_is_what_the_original_prints(rig: Rig, tmp_path: Path, shown: str) -> None:
    try:
        python = peer_python(4)
    except PeerMissingError as error:
        pytest.skip(str(error))
    words = [str(python.with_name("espefuse.py")), "--port", rig.ports[0], *shown.split()]
    original = subprocess.run(words, capture_output=True, text=True, check=True).stdout
    _, _, theirs = original.partition(" command ===\n")
    ours = parburn("--port", rig.ports[0], "--commands", shown, "-q", state=tmp_path).stdout
    if "json" in shown:
        # The descriptions are our own.
        assert [[one[key] for key in one if key != "description"] for one in json.loads(ours).values()] == [
            [one[key] for key in one if key != "description"] for one in json.loads(theirs).values()
        ]
    else:
        assert ours.split("\n") == theirs.split("\n")


def test_commands_that_burn_print_there_too(rig: Rig, tmp_path: Path) -> None:
    text = "burn_custom_mac AA:CD:EF:01:02:03; get_custom_mac"
    done = parburn("--port", rig.ports[0], "--do-not-confirm", "--commands", text, state=tmp_path)
    assert done.exit == 0
    assert "Custom MAC Address: aa:cd:ef:01:02:03 (OK)\n" in done.stdout
    assert "pass" not in done.stdout + done.stdout
    assert rig.ports[0] not in done.stdout


def test_a_failed_board_leaves_stdout_to_the_commands(rig: Rig, tmp_path: Path) -> None:
    text = "get_custom_mac; burn_efuse NO_SUCH_FIELD 1"
    done = parburn("--port", rig.ports[0], "--do-not-confirm", "--commands", text, state=tmp_path)
    assert done.exit in (1, 3)
    assert done.stdout == "Custom MAC Address: 00:00:00:00:00:00 (OK)\n"
    assert "NO_SUCH_FIELD" in done.stderr
    assert "the script printed" not in done.stderr


def test_what_a_script_prints_is_there_when_it_is_asked_for(rig: Rig, tmp_path: Path) -> None:
    (tmp_path / "s.py").write_text("print('no end', end='')\n")
    words = ["--port", rig.ports[0], "--scripts", tmp_path / "s.py", "--do-not-confirm"]
    assert parburn(*words, "--show-output", state=tmp_path).stdout == "no end"
    assert "1 of 1 board passed" in parburn(*words, state=tmp_path).stdout  # as before


def test_a_terminal_shows_the_text_without_a_port(rig: Rig, tmp_path: Path) -> None:
    words = ["--port", rig.ports[0], "--commands", "get_custom_mac"]
    for more in ([], ["-q"], ["--debug"]):
        shown = on_terminal(*words, *more, state=tmp_path, folder=tmp_path)
        lines = re.split(r"\x1b\[[0-9;?]*[A-Za-z]|[\r\n]", shown)  # the table comes and goes around it
        assert "Custom MAC Address: 00:00:00:00:00:00 (OK)" in lines
        assert "| Custom" not in shown
    shown = on_terminal(*words, state=tmp_path, folder=tmp_path, term="dumb")
    assert "\nCustom MAC Address" in f"\n{shown}"
    assert "| Custom" not in shown


def test_a_reader_that_goes_early_is_no_mistake(rig: Rig, tmp_path: Path) -> None:
    done = subprocess.run(
        ["bash", "-o", "pipefail", "-c", f"{COMMAND} --port {rig.ports[0]} --commands summary -q | head -1"],
        capture_output=True, text=True, env=environment(tmp_path),
    )  # fmt: skip
    assert done.returncode == 0
    assert done.stdout.count("\n") == 1
    assert "Traceback" not in done.stderr


def test_with_several_ports_each_line_has_its_own(rig: Rig, tmp_path: Path) -> None:
    done = parburn("--ports", *rig.ports, "--commands", "get_custom_mac", "-q", state=tmp_path)
    lines = [f"{port}: | Custom MAC Address: 00:00:00:00:00:00 (OK)" for port in rig.ports]
    assert set(lines) <= set(done.stdout.splitlines())


@pytest.mark.parametrize("count", [1, 2])
def test_events_have_the_text_also_where_little_is_shown(rig: Rig, tmp_path: Path, count: int) -> None:
    ports = rig.ports[:count]
    done = parburn("--ports", *ports, "--commands", "get_custom_mac", "--json", "-q", state=tmp_path)
    said = {event["port"]: event["text"] for event in done.events if event["event"] == "output"}
    assert said == dict.fromkeys(ports, "Custom MAC Address: 00:00:00:00:00:00 (OK)\n")


def test_the_documented_lines_do_what_they_say(rig: Rig, tmp_path: Path) -> None:
    if not shutil.which("jq"):
        pytest.skip("jq is not installed")
    page = (ROOT / "docs" / "json-and-reports.md").read_text()
    lines = [line for line in page.splitlines() if re.match(r"parburn .*--commands .* [|>] ", line)]
    assert len(lines) == 5
    folder = Path(rig.ports[0]).parent
    env = {**environment(tmp_path), "PATH": f"{Path(str(COMMAND)).parent}{os.pathsep}{os.environ['PATH']}"}
    said = []
    for line in lines:
        typed = line.replace("/dev/ttyUSB0", rig.ports[0]).replace("/dev/ttyUSB*", f"{folder}/ttyUSB*")
        done = subprocess.run(
            ["bash", "-o", "pipefail", "-c", typed], capture_output=True, text=True, env=env, cwd=tmp_path
        )
        assert done.returncode == 0, done
        said.append(done.stdout)
    assert said[0] == f"{rig.mac(0)} (OK)\n"
    assert said[1].startswith("DIS_PAD_JTAG (BLOCK0) ")
    assert (tmp_path / "dump.txt").read_text().startswith("BLOCK0 ")
    assert said[3].count("Custom MAC Address") == 2
    assert sorted(said[4].splitlines()) == [f"{port} {rig.mac(n)} (OK)" for n, port in enumerate(rig.ports)]


@pytest.mark.peer
@pytest.mark.skipif(peers_are_off(), reason="PARBURN_NO_PEERS=1")
@pytest.mark.parametrize("number", [0, 1])
def test_a_summary_has_the_layout_of_the_original(number: int, tmp_path: Path) -> None:
    """What scripts look for stands where it stood, whatever the descriptions say."""
    try:
        python = peer_python(4)
    except PeerMissingError as error:
        pytest.skip(str(error))
    with start_rig("esp32c3:1,esp32:1", tmp_path=tmp_path) as rig:
        port = rig.ports[number]
        words = [str(python.with_name("espefuse.py")), "--port", port, "summary"]
        theirs = subprocess.run(words, capture_output=True, text=True, check=True).stdout
        ours = parburn("--port", port, "--commands", "summary", state=tmp_path).stdout

    def looked_for(text: str) -> list[str]:
        """Values with the names of their fields, as `grep -A3` and `sed` find them."""
        found = re.findall(r"^  Purpose: \w+$|^.* fuses:$", text, re.MULTILINE)
        for record in re.split(r"\n(?=\w+ \(BLOCK)", text):
            value = re.search(r"^(?:  |.{101}) = ([^=]* [R-]/[W-] .*)$", record, re.MULTILINE)
            found += [f"{record.split()[0]} {value[1]}"] if value else []
        return found

    assert len(looked_for(ours)) > 40
    assert looked_for(ours) == looked_for(theirs)
