"""The installed command with scripts and input files that go wrong: only their own boards are harmed."""

from __future__ import annotations

import fcntl
import os
import time
from pathlib import Path

import pytest

from tests.command import parburn
from tests.provisioning import all_bits, custom_mac_of, every_bit, rows, said, script
from tests.rig import start_rig

SCRIPTS_GONE_WRONG = """\
import time
where = os.path.basename(args.port)
mac = 'burn_custom_mac aa:cd:ef:00:04:{:02x}'.format(args.index)
if where == 'ttyUSB0':                       # prints, reads in between, several burns, 5.x style at the end
    espefuse(esp, efuses, args, mac)
    assert efuses['CUSTOM_MAC'].get_meaning().startswith('00:00:00:00:00:00')
    efuses.burn_all()
    assert efuses['CUSTOM_MAC'].get_meaning().startswith(mac[-17:])
    espefuse.burn_efuse({'DIS_DOWNLOAD_ICACHE': 1})
    espefuse.burn_all()
    assert efuses['DIS_DOWNLOAD_ICACHE'].get() is True
    print('all three are there')
    espefuse.burn_bit('BLOCK8', [1])
if where == 'ttyUSB1':                       # raises after a burn
    espefuse(esp, efuses, args, mac)
    efuses.burn_all()
    espefuse(esp, efuses, args, 'burn_bit BLOCK9 2')
    raise esptool.FatalError('the printer is out of paper')
if where == 'ttyUSB2':                       # exits: what is staged is dropped
    espefuse(esp, efuses, args, mac)
    raise SystemExit(0)
if where == 'ttyUSB3':
    input('whose board is it? ')
if where == 'ttyUSB4':                       # hangs where no exception reaches it
    espefuse(esp, efuses, args, mac)
    time.sleep(3600)
if where == 'ttyUSB5':                       # hangs and takes no no for an answer
    espefuse(esp, efuses, args, mac)
    while True:
        try:
            time.sleep(0.05)
        except BaseException:
            pass
if where == 'ttyUSB6':                       # a refused command stages nothing; the script goes on without it
    try:
        espefuse(esp, efuses, args, 'burn_key BLOCK_KEY0 nowhere.bin USER')
    except esptool.FatalError as error:
        print('refused:', error)
    espefuse(esp, efuses, args, mac)
if where == 'ttyUSB7':
    espefuse(esp, efuses, args, 'execute_scripts {nested} --index 7')
if where == 'ttyUSB8':
    espefuse(esp, efuses, args, 'execute_scripts {nested}')
if where == 'ttyUSB9':
    espefuse(esp, efuses, args, 'burn_efuse NO_SUCH_FIELD 1')
if where == 'ttyUSB10':                      # hangs after a burn
    espefuse(esp, efuses, args, mac)
    efuses.burn_all()
    time.sleep(3600)
"""


def test_scripts_that_go_wrong_harm_only_their_own_board(tmp_path: Path, state: Path) -> None:
    nested = script(
        tmp_path, "nested", "espefuse(esp, efuses, args, 'burn_bit BLOCK3 {}'.format(args.index or 3))\n"
    )
    path = script(tmp_path, "wrong", SCRIPTS_GONE_WRONG.replace("{nested}", str(nested)))
    report = tmp_path / "report.jsonl"
    with start_rig("esp32c3", 11, tmp_path=tmp_path) as rig:
        before = every_bit(rig)
        started = time.monotonic()
        outcome = parburn(
            "--ports", *rig.ports, "--scripts", path, "--do-not-confirm", "--json", "--report", report,
            "--script-timeout", 1.5, state=state, timeout_s=30,
        )  # fmt: skip
        assert time.monotonic() - started < 15
        found = rows(report)
        assert [row["result"] for row in found] == [
            "pass", "incomplete", *["failed"] * 4, "pass", "failed", "pass", "failed", "incomplete",
        ], said(outcome)  # fmt: skip
        assert outcome.exit == 1
        for number in (2, 3, 4, 5, 7, 9):
            assert all_bits(rig, number) == before[number]
            assert found[number]["burned"] == "nothing was burned"
        for number in (0, 1, 6, 10):
            assert custom_mac_of(rig, number) == f"aa:cd:ef:00:04:{found[number]['index']:02x}"
        assert rig.bits(0, 8) == 1 << 1
        assert rig.bits(1, 9) == 0  # staged when it raised
        assert rig.bits(6, 4) == 0
        assert rig.bits(8, 3) == 1 << 3
        assert "out of paper" in found[1]["error"]
        assert "wrong.py" in found[1]["error"]
        assert "exit" in found[2]["error"].lower()
        assert "input" in found[3]["error"]
        for number in (4, 5, 10):
            assert "1.5 s" in found[number]["error"]
        assert "--index 7" in found[7]["error"]
        assert "NO_SUCH_FIELD" in found[9]["error"]
        kept = found[1]["index"]

        # The record of the board that raised after its burn is its own: the mended script goes on with it.
        text = path.read_text().replace("    raise esptool", "    print('mended')#")
        mended = script(tmp_path, "wrong", text)
        again = parburn(
            "--ports", rig.ports[1], "--scripts", mended, "--do-not-confirm", "--json", state=state
        )
        assert again.words == ["pass"], said(again)
        assert again.results[0]["index"] == kept
        assert custom_mac_of(rig, 1) == f"aa:cd:ef:00:04:{kept:02x}"
        assert rig.bits(1, 9) == 1 << 2


@pytest.mark.parametrize(
    ("name", "text", "word"),
    [
        ("bad.py", "espefuse(esp, efuses, args\n", ":1:"),
        ("ids.json", '{"1": {"mac": }}', ":1:"),
        ("empty.json", "", "empty"),
    ],
)
def test_input_files_are_judged_before_any_port_is_opened(
    name: str, text: str, word: str, tmp_path: Path, state: Path
) -> None:
    """The port is locked by us: whoever opens it first would say that it is busy."""
    path = tmp_path / name
    path.write_text(text)
    good = script(tmp_path, "good", "espefuse(esp, efuses, args, 'burn_bit BLOCK3 1')\n")
    files = ["--scripts", path] if name.endswith(".py") else ["--scripts", good, "--configfiles", path]
    master, slave = os.openpty()
    try:
        fcntl.flock(slave, fcntl.LOCK_EX)
        port = os.ttyname(slave)
        outcome = parburn("--ports", port, *files, "--do-not-confirm", "--json", state=state)
        assert outcome.exit == 2, said(outcome)
        (error,) = [event for event in outcome.events if event["event"] == "error"]
        assert name in error["error"]
        assert word in error["error"]
        assert "held" not in outcome.stdout
        assert not outcome.results
        if name == "empty.json":
            missing = parburn("--ports", port, "--scripts", tmp_path / "none.py", state=state)
            assert missing.exit == 2
            assert "none.py" in missing.stderr
    finally:
        os.close(master)
        os.close(slave)
