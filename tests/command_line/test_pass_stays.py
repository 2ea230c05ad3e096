"""A PASS stays a PASS, and a quarantine is for what the chip shows: through the installed command."""

from __future__ import annotations

import itertools
import json
import sqlite3
from contextlib import closing
from hashlib import sha256
from pathlib import Path

import pytest

from parburn.config.records import load_config_files
from parburn.ledger import export
from parburn.run.tables import TableSet
from parburn.script.runner import compile_scripts
from parburn.sim.state_file import read_board
from tests.command import parburn
from tests.provisioning import every_bit, rows, said, script
from tests.rig import start_rig

# Keys are made once a board and kept beside the script, in the folder that the run is started in.
WITH_KEYS = """\
import os

entry = json.load(args.configfiles[0])[str(args.index)]
path = "key-%d.bin" % args.index
if not os.path.exists(path):
    with open(path, "wb") as file:
        file.write(os.urandom(32))
espefuse(esp, efuses, args, "burn_custom_mac " + entry["mac"])
espefuse(esp, efuses, args, "burn_key BLOCK_KEY0 %s XTS_AES_128_KEY" % path)
efuses.burn_all()
if os.path.exists("stop"):
    raise RuntimeError("no more today")
espefuse(esp, efuses, args, "burn_efuse DIS_DIRECT_BOOT 1")
"""
BOARDS = 16


@pytest.fixture
def ids(tmp_path: Path) -> Path:
    path = tmp_path / "ids.json"
    path.write_text(json.dumps({str(n): {"mac": f"aa:cd:ef:00:07:{n:02x}"} for n in range(1, 99)}))
    return path


def units(state: Path) -> list[dict[str, object]]:
    text = export.export(state / "parburn" / "ledger.sqlite3")
    found: list[dict[str, object]] = json.loads(text)["units"]
    return found


def test_begun_boards_are_not_quarantined_by_a_run_from_another_folder(
    tmp_path: Path, ids: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    state, here, there = tmp_path / "state", tmp_path / "here", tmp_path / "there"
    here.mkdir()
    there.mkdir()
    (here / "stop").touch()
    path = script(tmp_path, "with_keys", WITH_KEYS)
    with start_rig("esp32c3", BOARDS, tmp_path) as rig:
        words = ("--ports", *rig.ports, "--scripts", path, "--configfiles", ids, "--do-not-confirm", "--json")
        monkeypatch.chdir(here)
        begun = parburn(*words, state=state)
        assert begun.words == ["incomplete"] * BOARDS, said(begun)
        left, bits = units(state), every_bit(rig)

        monkeypatch.chdir(there)
        report = tmp_path / "report.jsonl"
        elsewhere = parburn(*words, "--report", report, state=state)
        assert elsewhere.words == ["refused"] * BOARDS, said(elsewhere)
        assert elsewhere.exit == 3
        error = elsewhere.results[0]["error"]
        assert "begun with another plan" in error
        assert str(left[0]["changed"])[:10] in rows(report)[0]["next_step"]
        assert units(state) == left  # INCOMPLETE, with the reason and the time of then
        assert every_bit(rig) == bits

        monkeypatch.chdir(here)
        (here / "stop").unlink()
        again = parburn(*words, state=state)
        assert again.words == ["pass"] * BOARDS, said(again)
        assert {unit["state"] for unit in units(state)} == {"pass"}


def test_an_edited_comment_leaves_a_pass_in_the_ledger(
    tmp_path: Path, ids: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The key cannot be read any more, so the script cannot ask for it again: it fails, the unit does not."""
    state = tmp_path / "state"
    monkeypatch.chdir(tmp_path)
    path = script(tmp_path, "with_keys", WITH_KEYS)
    with start_rig("esp32c3", 2, tmp_path) as rig:
        words = ("--ports", *rig.ports, "--scripts", path, "--configfiles", ids, "--do-not-confirm", "--json")
        assert parburn(*words, state=state).words == ["pass"] * 2
        bits = every_bit(rig)
        script(tmp_path, "with_keys", f"# a comment\n{WITH_KEYS}")
        report = tmp_path / "report.jsonl"
        edited = parburn(*words, "--report", report, state=state)
        assert edited.words == ["failed"] * 2, said(edited)
        assert "that PASS stays in the ledger" in rows(report)[0]["burned"]
        assert every_bit(rig) == bits
        for unit in units(state):
            assert unit["state"] == "pass"
            assert str(unit["reason"]).startswith("passed; a later run: ")
        script(tmp_path, "with_keys", WITH_KEYS)
        assert parburn(*words, state=state).words == ["already-pass"] * 2


BY_NAME = """\
files = {file.name.split("/")[-1]: json.load(file) for file in args.configfiles}
with open("key.bin", "rb") as key:
    assert key.read()
espefuse(esp, efuses, args, "burn_custom_mac " + files["macs.json"][str(args.index)])
espefuse(esp, efuses, args, "burn_key BLOCK_KEY0 key.bin XTS_AES_128_KEY")
"""


def test_in_which_order_files_are_named_does_not_count(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The key is hidden: a script that runs again fails. Ledgers from before hold the order in the digest."""
    state, names = tmp_path / "state", ("macs.json", "names.json", "wifi.json")
    monkeypatch.chdir(tmp_path)
    (tmp_path / "key.bin").write_bytes(bytes(range(32)))
    (tmp_path / "macs.json").write_text(json.dumps({str(n): f"aa:cd:ef:00:07:{n:02x}" for n in range(1, 9)}))
    (tmp_path / "names.json").write_text(json.dumps({str(n): f"unit {n}" for n in range(1, 9)}))
    (tmp_path / "wifi.json").write_text('{"ssid": "test"}')
    path = script(tmp_path, "by_name", BY_NAME)
    job = ("--scripts", path, "--batch", "X", "--records", "wifi.json=none")
    with start_rig("esp32c3", 1, tmp_path) as rig:
        words = (*job, "--do-not-confirm", "--json", "--ports", *rig.ports)
        assert parburn(*words, "--configfiles", *names, state=state).words == ["pass"]
        orders = list(itertools.permutations(names))
        for order in orders[1:]:
            again = parburn(*words, "--configfiles", *order, state=state)
            assert again.words == ["already-pass"], said(again)
        digest = sha256(f"{compile_scripts([path]).digest}\n{TableSet(()).digest}".encode()).hexdigest()
        read = [load_config_files([Path(name)]).of_job(1) for name in names]
        told = {
            sha256(f"{digest}\n{' '.join(order)}".encode()).hexdigest()
            for order in itertools.permutations(read)
        }
        assert len(told) == len(orders)
        for old_digest in told:
            with closing(sqlite3.connect(state / "parburn" / "ledger.sqlite3")) as ledger, ledger:
                (before,) = ledger.execute("SELECT job FROM passes").fetchone()
                assert before in told
                ledger.execute("UPDATE passes SET job = ?", (old_digest,))
                ledger.execute("UPDATE pass_inputs SET job = ?", (old_digest,))
            old = parburn(*words, "--configfiles", *names, state=state)
            assert old.words == ["already-pass"], said(old)
        # What its script has read is still looked at.
        (tmp_path / "key.bin").write_bytes(bytes(range(1, 33)))
        changed = parburn(*words, "--configfiles", *names, state=state)
        assert changed.words == ["failed"], said(changed)


NAMED = "NAME = 'JTAG_DISABLE' if esp.CHIP_NAME == 'ESP32' else 'DIS_DIRECT_BOOT'\n"
MAC_ONLY = "espefuse(esp, efuses, args, 'burn_custom_mac aa:cd:ef:00:08:%02x' % args.index)\n"


def test_another_version_that_finds_all_there_is_already_pass_and_one_that_asks_for_more_burns_it(
    tmp_path: Path,
) -> None:
    state = tmp_path / "state"
    path = script(tmp_path, "mac", MAC_ONLY)
    with start_rig("esp32:1,esp32c3:1", tmp_path=tmp_path) as rig:
        words = ("--ports", *rig.ports, "--scripts", path, "--do-not-confirm", "--json")
        assert parburn(*words, state=state).words == ["pass"] * 2
        script(tmp_path, "mac", f"# a comment\n{MAC_ONLY}")
        edited = parburn(*words, state=state)
        assert edited.words == ["already-pass"] * 2, said(edited)
        assert "by an earlier version of the script" in edited.stdout
        before = [rig.programs(n) for n in range(2)]
        script(tmp_path, "mac", f"{MAC_ONLY}{NAMED}espefuse(esp, efuses, args, 'burn_efuse %s 1' % NAME)\n")
        more = parburn(*words, state=state)
        assert more.words == ["pass"] * 2, said(more)
        assert all(rig.programs(n) > before[n] for n in range(2))


def test_a_chip_of_another_ledger_is_told_as_that(
    tmp_path: Path, ids: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    path = script(tmp_path, "with_keys", WITH_KEYS)
    with start_rig("esp32c3", 3, tmp_path) as rig:
        words = ("--scripts", path, "--configfiles", ids, "--do-not-confirm", "--json")
        assert parburn("--ports", rig.ports[0], *words, state=tmp_path / "first").exit == 0
        bits = every_bit(rig)
        second = parburn("--ports", rig.ports[0], *words, state=tmp_path / "second")
        assert second.words == ["refused"], said(second)
        error = second.results[0]["error"]
        assert "carries MAC aa:cd:ef:00:07:01, a key in BLOCK_KEY0, unknown to this ledger" in error
        assert "another PC's?" in error
        assert "coding" not in error
        assert "protected" not in error
        assert every_bit(rig) == bits
        # Neither its index nor that of others is lost by it.
        own = parburn("--ports", rig.ports[1], *words, state=tmp_path / "second")
        assert own.results[0]["index"] == 1, said(own)


def test_a_chip_that_this_ledger_knows_is_told_what_is_in_the_way(tmp_path: Path) -> None:
    state = tmp_path / "state"
    path = script(tmp_path, "mac", MAC_ONLY)
    with start_rig("esp32c3", 1, tmp_path) as rig:
        words = ("--ports", *rig.ports, "--scripts", path, "--do-not-confirm", "--json")
        assert parburn(*words, state=state).words == ["pass"]
        script(tmp_path, "mac", MAC_ONLY.replace("aa:cd", "aa:ce"))
        other = parburn(*words, state=state)
        assert "unknown to this ledger" not in other.results[0]["error"], said(other)
        assert other.words != ["pass"]


FLAG = "espefuse(esp, efuses, args, 'burn_efuse %s 1' % FLAG)\n"
FLAGGED = "FLAG = 'JTAG_DISABLE' if esp.CHIP_NAME == 'ESP32' else 'DIS_DIRECT_BOOT'\n" + FLAG
MORE_BITS = "espefuse(esp, efuses, args, 'burn_bit BLOCK3 %d')\n"


@pytest.mark.parametrize("chip", ["esp32c3", "esp32"])
def test_a_chip_that_lacks_what_an_earlier_job_burned_is_no_passed_unit(tmp_path: Path, chip: str) -> None:
    """The job that passed last touched BLOCK0 only: what the one before it burned is looked for, too."""
    state, boards = tmp_path / "state", tmp_path / "boards"
    first, second = script(tmp_path, "mac", MAC_ONLY), script(tmp_path, "flag", FLAGGED)
    with start_rig(chip, 1, tmp_path, state=boards) as rig:
        words = ("--ports", *rig.ports, "--do-not-confirm", "--json", "--scripts")
        assert parburn(*words, first, state=state).words == ["pass"]
        assert parburn(*words, second, state=state).words == ["pass"]
        for path in (second, first):
            assert parburn(*words, path, state=state).words == ["already-pass"]
    (file,) = boards.glob("*.json")
    board = read_board(file)
    block = board.product.chip.block_by_name["BLOCK3"]
    assert board.product.memory.cells[block.index]
    board.product.memory.cells[block.index] = 0
    board.write()
    with start_rig(chip, 1, tmp_path, state=boards) as rig:
        other = parburn(*words, second, state=state)
        assert other.words == ["quarantined"], said(other)
        assert f"{block.name} lacks bits" in other.results[0]["error"]


def test_bits_that_other_jobs_add_are_no_other_chip(tmp_path: Path) -> None:
    """Of this batch and of another one, in a block that takes keys and is kept as a digest."""
    state = tmp_path / "state"
    with start_rig("esp32", 1, tmp_path) as rig:
        words = ("--ports", *rig.ports, "--do-not-confirm", "--json", "--scripts")
        bits = [script(tmp_path, f"bit{n}", MORE_BITS % n) for n in (40, 50, 60)]
        flag = script(tmp_path, "flag", FLAGGED)
        for path, more in (
            (bits[0], ()),
            (bits[1], ()),
            (flag, ()),
            (bits[2], ("--batch", "Y", "--allow-other-batch")),
        ):
            done = parburn(*words, path, *more, state=state)
            assert done.words == ["pass"], said(done)
        for path in (*bits[:2], flag):
            again = parburn(*words, path, state=state)
            assert again.words == ["already-pass"], said(again)
        assert rig.bits(0, 3) == 1 << 40 | 1 << 50 | 1 << 60
