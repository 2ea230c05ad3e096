"""Runs that are killed, that the operator stops or that share a ledger: what was begun is finished later."""

from __future__ import annotations

import json
import random
import re
import signal
import time
from pathlib import Path
from typing import Any

import pytest

from parburn.sim.factory import make_product
from tests.command import finish, parburn, start
from tests.provisioning import KEY, PROVISION, all_bits, custom_mac_of, key_of, mac, said, script
from tests.rig import Rig, start_rig

# --- killed and taken up again

TWO_BURNS = """\
import time
count = 'FLASH_CRYPT_CNT' if esp.CHIP_NAME == 'ESP32' else 'SPI_BOOT_CRYPT_CNT'
espefuse(esp, efuses, args, 'burn_efuse ' + count)
espefuse(esp, efuses, args, 'burn_custom_mac aa:cd:ef:00:05:{:02x}'.format(args.index))
efuses.burn_all()
print('first burn done')
if os.path.exists('{gate}'):
    time.sleep(60)
espefuse(esp, efuses, args, 'burn_bit BLOCK{} 5'.format(2 if esp.CHIP_NAME == 'ESP32' else 10 - 2))
efuses.burn_all()
espefuse(esp, efuses, args, 'burn_efuse ' + ('JTAG_DISABLE' if esp.CHIP_NAME == 'ESP32' else 'DIS_PAD_JTAG'))
"""


def crypt_count(rig: Rig, board: int) -> int:
    """How many bits of the flash encryption counter are burned."""
    name = rig.state(board)["chip"]
    chip = make_product(name, mac=bytes(6), settings={}, rng=random.Random(1)).chip
    one = chip.field_by_name["FLASH_CRYPT_CNT" if name == "esp32" else "SPI_BOOT_CRYPT_CNT"][0]
    return (rig.bits(board, 0) & one.mask).bit_count()


def test_killed_between_two_burns_and_taken_up_again(tmp_path: Path, state: Path) -> None:
    gate = tmp_path / "gate"
    gate.touch()
    text = TWO_BURNS.replace("{gate}", str(gate))
    path = script(tmp_path, "two", text)
    with start_rig("esp32:1,esp32c3:1,esp32s3:1", tmp_path=tmp_path) as rig:
        command = ("--ports", *rig.ports, "--scripts", path, "--do-not-confirm", "--json", "--show-output")
        process = start(*command, state=state)
        assert process.stdout is not None
        heard = 0
        while heard < 3:
            line = process.stdout.readline()
            assert line, "it ended before the first burn was done"
            heard += "first burn done" in line
        process.kill()
        process.communicate()
        assert [crypt_count(rig, n) for n in range(3)] == [1, 1, 1]
        indexes = [int(custom_mac_of(rig, n)[-2:], 16) for n in range(3)]
        assert sorted(indexes) == [1, 2, 3]

        # Another script in its place makes another plan: it is refused, and nothing is changed.
        gate.unlink()
        other = script(tmp_path, "other", text.replace("00:05", "00:66"))
        before = all_bits(rig, 1)
        swapped = parburn(
            "--ports", rig.ports[1], "--scripts", other, "--do-not-confirm", "--json", state=state
        )
        assert swapped.words == ["refused"], said(swapped)
        assert swapped.exit == 3
        assert "another plan" in swapped.results[0]["error"]
        assert all_bits(rig, 1) == before

        # A script that asks for nothing does not make a pass of what was begun.
        idle = script(tmp_path, "idle", "print(efuses['MAC'].get())\n")
        nothing = parburn("--ports", rig.ports[0], "--scripts", idle, "--json", state=state)
        assert nothing.words == ["incomplete"], said(nothing)

        again = parburn(*command, state=state)
        assert again.words == ["pass", "pass", "pass"], said(again)
        assert [result["index"] for result in again.results] == indexes
        for number in range(3):
            assert crypt_count(rig, number) == 1
            assert custom_mac_of(rig, number) == f"aa:cd:ef:00:05:{indexes[number]:02x}"
            assert rig.bits(number, 2 if number == 0 else 8) == 1 << 5
        once_more = parburn(*command, state=state)
        assert once_more.words == ["already-pass"] * 3
        assert crypt_count(rig, 0) == 1


LOCKED = """\
espefuse(esp, efuses, args, 'burn_custom_mac aa:cd:ef:00:06:{:02x}'.format(args.index))
if esp.CHIP_NAME == 'ESP32':
    espefuse(esp, efuses, args, 'burn_key flash_encryption {key}')
    espefuse(esp, efuses, args, 'burn_efuse FLASH_CRYPT_CNT')
else:
    espefuse(esp, efuses, args, 'burn_key BLOCK_KEY0 {key} XTS_AES_128_KEY')
    espefuse(esp, efuses, args, 'burn_efuse SPI_BOOT_CRYPT_CNT')
efuses.burn_all()
espefuse(esp, efuses, args, 'burn_key BLOCK%d {key} ' % (2 if esp.CHIP_NAME == 'ESP32' else 5)
         + ('' if esp.CHIP_NAME == 'ESP32' else 'HMAC_UP'))
"""


def test_killed_again_and_again_while_keys_are_locked(tmp_path: Path, state: Path, key: Path) -> None:
    path = script(tmp_path, "locked", LOCKED.replace("{key}", str(key)))
    rng = random.Random(11)
    with start_rig("esp32:2,esp32c3:2", tmp_path=tmp_path, baud_limit=115200) as rig:
        command = ("--ports", *rig.ports, "--scripts", path, "--do-not-confirm", "--json")
        for _ in range(3):
            process = start(*command, state=state)
            time.sleep(rng.uniform(0.7, 1.4))
            process.kill()
            process.communicate()
        outcome = parburn(*command, state=state)
        assert set(outcome.words) <= {"pass", "already-pass"}, said(outcome)
        indexes = [result["index"] for result in outcome.results]
        assert sorted(indexes) == [1, 2, 3, 4]
        for number, index in enumerate(indexes):
            assert custom_mac_of(rig, number) == f"aa:cd:ef:00:06:{index:02x}"
            assert key_of(rig, number, 1 if number < 2 else 4) == KEY[::-1]
            assert crypt_count(rig, number) == 1
            assert key_of(rig, number, 2 if number < 2 else 5) in (KEY, KEY[::-1])


DYNAMIC = """\
import time
espefuse(esp, efuses, args, 'burn_bit BLOCK3 1')
espefuse(esp, efuses, args, 'burn_bit BLOCK3 1')
for number in (5, 6):
    espefuse(esp, efuses, args, 'burn_key BLOCK%d {key} HMAC_UP' % number)
efuses.burn_all()
espefuse(esp, efuses, args, 'burn_bit BLOCK3 1')
efuses.burn_all()
print('first burn done')
if os.path.exists('{gate}'):
    time.sleep(60)
if not efuses.blocks[8].get_bitstring().any(True):
    espefuse(esp, efuses, args, 'burn_block_data BLOCK8 {key}')
"""


def test_blocks_that_the_source_does_not_name_are_read_again_on_resume(
    tmp_path: Path, state: Path, key: Path
) -> None:
    """Locked keys, a burn that has nothing to do, and a block that is looked at after the kill."""
    gate = tmp_path / "gate"
    gate.touch()
    path = script(tmp_path, "dyn", DYNAMIC.replace("{gate}", str(gate)).replace("{key}", str(key)))
    with start_rig("esp32s3", tmp_path=tmp_path) as rig:
        command = ("--ports", *rig.ports, "--scripts", path, "--do-not-confirm", "--json", "--show-output")
        for _ in range(2):  # killed twice at the same place
            process = start(*command, state=state)
            assert process.stdout is not None
            while line := process.stdout.readline():
                if "first burn done" in line:
                    break
            else:
                raise AssertionError(f"it did not come to the second burn: {process.communicate()}")
            process.kill()
            process.communicate()
        gate.unlink()
        outcome = parburn(*command, state=state)
        assert outcome.words == ["pass"], said(outcome)
        assert [key_of(rig, 0, block) for block in (5, 6, 8)] == [KEY] * 3
        assert rig.bits(0, 3) == 2
        assert outcome.results[0]["index"] == 1


def test_random_keys_that_a_resumed_script_makes_anew_are_not_burned(tmp_path: Path, state: Path) -> None:
    path = script(
        tmp_path,
        "fresh",
        "open('k.bin', 'wb').write(os.urandom(32))\n"
        "espefuse(esp, efuses, args, 'burn_key BLOCK_KEY0 k.bin XTS_AES_128_KEY --no-read-protect')\n",
    )
    path.write_text(path.read_text().replace("k.bin", str(tmp_path / "k.bin")))
    fault = ["the controller never becomes idle after program 2"]
    with start_rig("esp32c3", tmp_path=tmp_path, faults=fault) as rig:
        command = ("--ports", *rig.ports, "--scripts", path, "--do-not-confirm", "--json")
        first = parburn(*command, state=state)
        assert first.words == ["incomplete"], said(first)
        held = rig.bits(0, 4)
        assert held
    with start_rig("esp32c3", tmp_path=tmp_path) as rig:
        again = parburn(*command, state=state)
        assert again.words == ["refused"], said(again)
        assert again.exit == 3
        assert rig.bits(0, 4) == held


# --- two at once


def test_a_board_that_was_begun_is_not_held_up_by_another_record_with_its_value(
    tmp_path: Path, state: Path
) -> None:
    ids = tmp_path / "ids.json"
    ids.write_text(json.dumps({str(n): {"mac": mac(1), "name": f"unit {n}"} for n in range(1, 4)}))
    text = PROVISION.partition("if esp")[0] + "efuses.burn_all()\n"
    broken = script(tmp_path, "burn", text + "raise ValueError('halfway')\n")
    options = ("--scripts", broken, "--configfiles", ids, "--do-not-confirm", "--json")
    with start_rig("esp32c3", 3, tmp_path) as rig:
        both = parburn("--ports", *rig.ports[:2], *options, state=state)
        assert both.words == ["refused", "refused"], said(both)  # neither has it: who is right?
        assert rig.programs(0) == rig.programs(1) == 0
        first = parburn("--ports", rig.ports[0], *options, state=state)
        assert first.words == ["incomplete"], said(first)
        broken.write_text(text)
        done = parburn("--ports", *rig.ports[1:], rig.ports[0], *options, state=state)
        words = {Path(one["port"]).name: (one["result"], one["index"]) for one in done.results}
        assert words["ttyUSB0"] == ("pass", 1), said(done)
        assert {words["ttyUSB1"][0], words["ttyUSB2"][0]} == {"refused"}, said(done)
        assert (custom_mac_of(rig, 0), rig.programs(1), rig.programs(2)) == (mac(1), 0, 0)


def test_two_runs_share_one_ledger_and_one_port_goes_to_one_of_them(
    tmp_path: Path, state: Path, provision: Path, ids: Path
) -> None:
    slow = script(tmp_path, "slow", "import time\ntime.sleep(1.5)\n" + provision.read_text())
    with start_rig("esp32c3:2,esp32:2", tmp_path=tmp_path) as rig:
        options = ("--scripts", slow, "--configfiles", ids, "--do-not-confirm", "--json")
        runs = [start("--ports", *rig.ports[a : a + 2], *options, state=state) for a in (0, 2)]
        time.sleep(1.3)
        third = parburn("--ports", rig.ports[0], *options, state=state)
        assert third.words == ["failed"], said(third)
        assert third.exit == 1
        assert "held by" in third.results[0]["error"]
        assert rig.ports[0] in third.results[0]["error"]
        outcomes = [finish(process, timeout_s=30) for process in runs]
        for outcome in outcomes:
            assert outcome.words == ["pass", "pass"], said(outcome)
        results = [result for outcome in outcomes for result in outcome.results]
        indexes = [result["index"] for result in results]
        assert sorted(indexes) == [1, 2, 3, 4]
        for number, result in enumerate(sorted(results, key=lambda one: str(one["port"]))):
            assert custom_mac_of(rig, number) == mac(result["index"])


# --- the operator stops it


def wait_for(process: Any, *words: str) -> None:
    """Read the run's lines until one has all these words."""
    while line := process.stdout.readline():
        if all(word in line for word in words):
            return
    raise AssertionError(f"{words} never came: {process.stderr.read()}")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_during_a_commit_lets_it_finish(
    number: signal.Signals, tmp_path: Path, state: Path, provision: Path, ids: Path
) -> None:
    with start_rig("esp32c3", 2, tmp_path=tmp_path, baud_limit=115200, usb_latency_ms=2) as rig:
        command = ("--ports", *rig.ports, "--scripts", provision, "--configfiles", ids, "--do-not-confirm",
                   "--json")  # fmt: skip
        process = start(*command, "--max-burning", 1, state=state)
        wait_for(process, '"burned"')
        process.send_signal(number)
        outcome = finish(process, timeout_s=20)
        assert outcome.exit == 130, said(outcome)
        words = {}
        for line in outcome.stdout.splitlines():
            event = json.loads(line)
            if event["event"] == "result":
                words[event["result"]] = event
        # The board in its commit was finished; the one that waited for its slot was not begun.
        assert set(words) == {"pass", "stopped"}, said(outcome)
        assert words["stopped"]["error"].startswith("stopped by the operator")
        begun = rig.ports.index(words["pass"]["port"])
        assert custom_mac_of(rig, begun) == mac(words["pass"]["index"])
        assert rig.programs(1 - begun) == 0
        again = parburn(*command, state=state)
        assert sorted(again.words) == ["already-pass", "pass"], said(again)
        assert sorted(custom_mac_of(rig, n) for n in range(2)) == [mac(1), mac(2)]


def test_a_stopped_run_is_one_line_and_no_board_has_failed(tmp_path: Path, state: Path) -> None:
    slow = script(tmp_path, "slow", "import time\nprint('unheard of')\ntime.sleep(30)\n")
    with start_rig("esp32c3", 4, tmp_path) as rig:
        process = start("--ports", *rig.ports, "--scripts", slow, "--do-not-confirm", state=state)
        wait_for(process, "4 boards")
        process.send_signal(signal.SIGINT)
        outcome = finish(process, timeout_s=20)
        assert outcome.exit == 130, said(outcome)
        assert not re.search(r"ttyUSB\d: stopped", outcome.stdout)
        assert "stopped; 4 boards untouched\n" in outcome.stdout
        assert "FAILED" not in outcome.stdout
        assert "failed" not in outcome.stdout
        assert "unheard of" not in outcome.stdout
        assert "To go on, run:\n" in outcome.stdout
        assert not any(rig.programs(n) for n in range(4))


def test_a_second_signal_stops_between_two_blocks_and_it_goes_on_later(
    tmp_path: Path, state: Path, provision: Path, ids: Path
) -> None:
    with start_rig("esp32c3", tmp_path=tmp_path, baud_limit=38400) as rig:
        command = ("--ports", *rig.ports, "--scripts", provision, "--configfiles", ids, "--do-not-confirm",
                   "--json")  # fmt: skip
        process = start(*command, state=state)
        wait_for(process, '"burned"')
        process.send_signal(signal.SIGINT)
        wait_for(process, "stopping")
        process.send_signal(signal.SIGINT)
        outcome = finish(process, timeout_s=30)
        assert outcome.exit == 130, said(outcome)
        assert '"result": "incomplete"' in outcome.stdout
        assert "stopped by the operator" in outcome.stdout
        again = parburn(*command, state=state)
        assert again.words == ["pass"], said(again)
        assert again.results[0]["index"] == 1
        assert custom_mac_of(rig, 0) == mac(1)


def test_a_reader_that_goes_away_does_not_stop_the_burn(
    tmp_path: Path, state: Path, provision: Path, ids: Path
) -> None:
    with start_rig("esp32c3", tmp_path=tmp_path) as rig:
        process = start(
            "--ports", *rig.ports, "--scripts", provision, "--configfiles", ids, "--do-not-confirm", "--json",
            state=state,
        )  # fmt: skip
        assert process.stdout is not None
        process.stdout.close()
        assert process.wait(30) == 0
        assert process.stderr is not None
        process.stderr.close()
        assert custom_mac_of(rig, 0) == mac(1)
