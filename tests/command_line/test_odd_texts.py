"""Names and texts of others that hold escapes: none of them reaches a terminal, whatever shows them."""

from __future__ import annotations

import ast
import json
import os
import pty
import subprocess
from pathlib import Path
from typing import Any

import pytest

import parburn
from parburn.cli.main import main
from parburn.printable import is_printable, printable, typed_again
from tests.command import COMMAND, environment, on_purpose
from tests.command import parburn as run
from tests.rig import start_rig
from tests.transport.test_usb_ports import Machine

ESCAPE = "\x1b]0;stolen\x07"  # sets a terminal's title
HOSTILE = (
    "\x1b]0;",
    "\x1b[5m",
    "\x07",
    "\x9b",
    "\x08",
    "\x7f",
    "\u202e",
    "\u2066",
    "\u200f",
    "\u2028",
)
ODD = f"o{ESCAPE}\x1b[5m\x9b5m\x08\x7f\u202e\u2066\u200f\u2028dd"  # what a name may be, but for `/` and NUL
FILE_SYSTEM_ODD = ODD + os.fsdecode(b"\xff")


def on_terminal(*words: object, state: Path, folder: Path, term: str = "xterm") -> str:
    """Run the command with a terminal of its own, and return what it wrote. No burn is confirmed."""
    assert COMMAND
    master, slave = pty.openpty()
    with subprocess.Popen(
        [COMMAND, *on_purpose([str(word) for word in words], state)],
        cwd=folder, env={**environment(state), "TERM": term, "COLUMNS": "200", "LINES": "50"},
        stdin=slave, stdout=slave, stderr=slave, start_new_session=True,
    ) as child:  # fmt: skip
        os.close(slave)
        seen, answered = b"", 0
        while True:
            try:
                data = os.read(master, 65536)
            except OSError:
                break
            if not data:
                break
            seen += data
            if seen.count(b"Type BURN") > answered:
                answered += 1
                os.write(master, b"no\n")
        child.wait(60)
    os.close(master)
    return seen.decode("utf-8", "surrogateescape")


def assert_harmless(text: str) -> None:
    assert not [one for one in HOSTILE if one in text], repr(text)
    assert not any("\ud800" <= letter <= "\udfff" for letter in text), repr(text)


@pytest.fixture
def odd_folder(tmp_path: Path) -> Path:
    """A folder with odd names of a script, a config file and a folder of ports."""
    folder = tmp_path / FILE_SYSTEM_ODD
    folder.mkdir()
    (folder / f"{FILE_SYSTEM_ODD}.py").write_text(f"print({ODD!r})\nraise SystemExit({ODD!r})\n")
    (folder / f"good{FILE_SYSTEM_ODD}.py").write_text(
        f"print({ODD!r})\nespefuse(esp, efuses, args, 'burn_efuse DIS_PAD_JTAG 1')\n"
    )
    (folder / f"broken{FILE_SYSTEM_ODD}.py").write_text("1 +\n")
    (folder / f"{FILE_SYSTEM_ODD}.json").write_text(json.dumps({str(n): {"name": ODD} for n in range(1, 9)}))
    return folder


WAYS: dict[str, list[str]] = {
    "plain": [],
    "quiet": ["--quiet"],
    "debug": ["--debug"],
    "output": ["--show-output"],
    "json": ["--json", "--show-output"],
}


def odd_ports(folder: Path, ports: list[str]) -> list[Path]:
    """Return odd names for these ports."""
    named = [folder / f"tty{FILE_SYSTEM_ODD}{number}" for number in range(len(ports))]
    for name, port in zip(named, ports, strict=True):
        name.symlink_to(port)
    return named


@pytest.mark.parametrize("way", WAYS)
def test_no_output_of_a_run_has_an_escape_of_others(odd_folder: Path, tmp_path: Path, way: str) -> None:
    with start_rig("esp32c3", 2, tmp_path) as rig:
        ports = odd_ports(odd_folder, rig.ports)
        words: list[Any] = [*WAYS[way], "--ports", *ports, "--do-not-confirm"]
        words += ["--configfiles", odd_folder / f"{FILE_SYSTEM_ODD}.json"]
        for name, result in ((FILE_SYSTEM_ODD, 1), (f"good{FILE_SYSTEM_ODD}", 0)):
            more = [*words, "--scripts", odd_folder / f"{name}.py"]
            piped = run(*more, state=tmp_path / "state")
            assert piped.exit == result, piped
            assert_harmless(piped.stdout + piped.stderr)
            shown = on_terminal(*more, state=tmp_path / "state", folder=odd_folder)
            assert_harmless(shown)
            assert "tty" in shown


def test_no_refusal_and_no_word_of_the_ledger_has_one(odd_folder: Path, tmp_path: Path) -> None:
    state = tmp_path / "state"
    with start_rig("esp32c3", 1, tmp_path) as rig:
        (port,) = odd_ports(odd_folder, rig.ports)
        good = odd_folder / f"good{FILE_SYSTEM_ODD}.py"
        asked = on_terminal("--ports", port, "--scripts", good, state=state, folder=odd_folder)
        assert "Type BURN" in asked
        assert_harmless(asked)
        said = run("--ports", port, "--scripts", good, "--do-not-confirm", state=state)
        assert said.exit == 0
        for name in (f"broken{FILE_SYSTEM_ODD}", f"none{FILE_SYSTEM_ODD}"):
            said = run("--ports", port, "--scripts", odd_folder / f"{name}.py", state=state)
            assert said.exit == 2
            assert_harmless(said.stderr)
        said = run("--ports", odd_folder / f"gone{FILE_SYSTEM_ODD}", "--scripts", good, state=state)
        assert said.exit
        assert_harmless(said.stdout + said.stderr)
        mac = rig.mac(0)
    why = ["--why", ODD]
    actions = [["release", mac, *why], ["release", ODD, *why], ["scrap", mac, *why], ["show"], ["verify"]]
    for ledger in [*actions, ["export"], ["export", "--format", "csv"]]:
        assert_harmless(on_terminal("ledger", *ledger, state=state, folder=odd_folder))


@pytest.mark.parametrize("words", [["--probe"], ["--json"], []])
def test_no_list_of_ports_has_one(odd_folder: Path, tmp_path: Path, words: list[str]) -> None:
    with start_rig("esp32c3", 1, tmp_path) as rig:
        named = odd_folder / f"tty{FILE_SYSTEM_ODD}"
        named.symlink_to(rig.ports[0])
        gone = odd_folder / f"gone{FILE_SYSTEM_ODD}"
        assert_harmless(
            on_terminal("ports", named, gone, *words, state=tmp_path / "state", folder=odd_folder)
        )


def test_what_a_usb_device_calls_itself_cannot_steer(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    Machine(tmp_path, monkeypatch).plug(
        "ttyUSB0", {"idVendor": "0403", "idProduct": "6001", "product": f"UART {ODD}"}, interface=ODD
    )
    for words in (["ports"], ["ports", "--json"]):
        assert main(words) == 0
        out, err = capsys.readouterr()
        assert "UART" in out
        assert_harmless(out + err)


def test_a_mistyped_word_is_repeated_without_its_escapes(tmp_path: Path) -> None:
    for words in (
        [ODD],
        ["--chip", ODD],
        ["ledger", ODD],
        ["sim", "--chip", ODD, "--dir", tmp_path],
        ["ports", ODD],
    ):
        done = run(*words, state=tmp_path)
        assert done.exit in (1, 2)
        assert_harmless(done.stdout + done.stderr)


def test_what_is_to_be_typed_again_is_the_same_and_harmless() -> None:
    words = ["parburn", "a b", "it's", FILE_SYSTEM_ODD, "tab\tline\n", "grün", "back\\slash\x1b"]
    line = typed_again(words)
    assert is_printable(line)
    said = subprocess.run(
        ["bash", "-c", f"for word in {line}; do printf '%s\\0' \"$word\"; done"],
        capture_output=True,
        check=True,
    )
    assert [os.fsdecode(word) for word in said.stdout.split(b"\0")[:-1]] == words


def test_letters_of_all_languages_stay() -> None:
    for text in ("grün Ωμέγα 工厂 عربي עברית 🙂 naïve\ttab\nline", ""):
        assert printable(text) == text
        assert is_printable(text)
    assert not is_printable("a\x85b")


def test_only_the_border_writes_to_the_standard_streams() -> None:
    """Another place would have to remember to make text printable."""
    allowed = {
        "cli/saying.py", "cli/parser.py", "cli/streams.py", "script/output.py", "sim/command.py",
        "sim/workshop.py",
    }  # fmt: skip
    root = Path(parburn.__file__).parent
    for path in root.rglob("*.py"):
        if str(path.relative_to(root)) in allowed:
            continue
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call):
                called = ast.unparse(node.func)
                assert called not in {"print", "sys.stdout.write", "sys.stderr.write"}, f"{path}: {called}"
