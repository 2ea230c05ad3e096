"""The main path through real ptys: the installed command, the simulator in another process, real scripts."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

import pytest

from tests.command import finish, parburn, start
from tests.provisioning import all_bits, custom_mac_of, mac
from tests.rig import start_rig

SCRIPT = """\
entry = json.load(args.configfiles[0])[str(args.index)]
espefuse(esp, efuses, args, 'burn_custom_mac {}'.format(entry['mac']))
print('index %d on %s' % (args.index, esp.CHIP_NAME))
"""


@pytest.fixture
def script(tmp_path: Path) -> Path:
    path = tmp_path / "provision.py"
    path.write_text(SCRIPT)
    return path


def test_the_demo_burns_eight_mixed_boards_and_says_that_they_are_simulated(
    state: Path, script: Path, ids: Path
) -> None:
    outcome = parburn(
        "--sim", "esp32:3,esp32c3:3,esp32s3:2", "--scripts", script, "--configfiles", ids,
        "--do-not-confirm", state=state,
    )  # fmt: skip
    assert outcome.exit == 0, outcome.stdout + outcome.stderr
    assert "simulated" in outcome.stdout + outcome.stderr
    assert outcome.stdout.count("pass") >= 8


def test_real_ports_are_burned_and_the_second_run_burns_nothing(
    tmp_path: Path, state: Path, script: Path, ids: Path
) -> None:
    with start_rig("esp32:1,esp32c3:1,esp32s3:1", tmp_path=tmp_path) as rig:
        command = (
            "--ports",
            *rig.ports,
            "--scripts",
            script,
            "--configfiles",
            ids,
            "--do-not-confirm",
            "--json",
        )
        first = parburn(*command, state=state)
        assert first.exit == 0, first.stdout + first.stderr
        assert first.words == ["pass"] * 3
        assert [result["index"] for result in first.results] == [1, 2, 3]
        assert [custom_mac_of(rig, n) for n in range(3)] == [mac(1), mac(2), mac(3)]
        bits = [all_bits(rig, n) for n in range(3)]

        second = parburn(*command, state=state)
        assert second.exit == 0
        assert second.words == ["already-pass"] * 3
        assert [all_bits(rig, n) for n in range(3)] == bits


def test_json_has_a_schema_first_a_result_a_board_and_the_summary_last(
    tmp_path: Path, state: Path, script: Path, ids: Path
) -> None:
    with start_rig("esp32c3:2", tmp_path=tmp_path) as rig:
        outcome = parburn(
            "--json", "--configfiles", ids, "--ports", *rig.ports, "--do-not-confirm", "--scripts", script,
            state=state,
        )  # fmt: skip
    assert outcome.exit == 0, outcome.stderr
    assert isinstance(outcome.events[0]["schema"], int)
    assert outcome.events[-1] == {"event": "summary", "boards": 2, "passed": 2, "failed": 0, "exit": 0} | {
        key: value
        for key, value in outcome.events[-1].items()
        if key not in {"boards", "passed", "failed", "exit"}
    }
    for result in outcome.results:
        assert {
            "event",
            "port",
            "slot",
            "chip",
            "mac",
            "index",
            "result",
            "error",
            "seconds",
        } <= result.keys()


def test_a_script_that_raises_harms_only_its_own_board_and_its_index_comes_back(
    tmp_path: Path, state: Path, ids: Path
) -> None:
    script = tmp_path / "picky.py"
    script.write_text("if args.index == 2:\n    raise esptool.FatalError('no such product')\n" + SCRIPT)
    with start_rig("esp32c3:3", tmp_path=tmp_path) as rig:
        command = ("--ports", *rig.ports, "--configfiles", ids, "--do-not-confirm", "--json", "--scripts")
        outcome = parburn(*command, script, state=state)
        assert outcome.exit == 1
        assert outcome.words == ["pass", "failed", "pass"]
        failed = outcome.results[1]
        assert "no such product" in failed["error"]
        assert not rig.bits(1, 3)
        script.write_text(SCRIPT)
        again = parburn(*command, script, state=state)
        assert again.exit == 0
        assert again.results[1]["index"] == 2
        assert {custom_mac_of(rig, n) for n in range(3)} == {mac(1), mac(2), mac(3)}


def test_dry_run_shows_the_plan_and_burns_and_spends_nothing(
    tmp_path: Path, state: Path, script: Path, ids: Path
) -> None:
    with start_rig("esp32s3:2", tmp_path=tmp_path) as rig:
        before = [all_bits(rig, n) for n in range(2)]
        command = ("--ports", *rig.ports, "--configfiles", ids, "--scripts", script)
        outcome = parburn(*command, "--dry-run", state=state)
        assert outcome.exit == 0, outcome.stdout + outcome.stderr
        assert "BLOCK_USR_DATA" in outcome.stdout
        assert [all_bits(rig, n) for n in range(2)] == before
        burned = parburn(*command, "--do-not-confirm", "--json", state=state)
        assert [result["index"] for result in burned.results] == [1, 2]


def test_nothing_is_burned_without_a_terminal_and_without_do_not_confirm(
    tmp_path: Path, state: Path, script: Path, ids: Path
) -> None:
    with start_rig("esp32c3:1", tmp_path=tmp_path) as rig:
        before = all_bits(rig, 0)
        outcome = parburn("--ports", *rig.ports, "--configfiles", ids, "--scripts", script, state=state)
        assert outcome.exit == 3
        assert all_bits(rig, 0) == before


def test_fewer_boards_than_expected_is_exit_2_and_burns_nothing(
    tmp_path: Path, state: Path, script: Path, ids: Path
) -> None:
    with start_rig("esp32c3:2", tmp_path=tmp_path) as rig:
        before = [all_bits(rig, n) for n in range(2)]
        outcome = parburn(
            "--ports", *rig.ports, "--configfiles", ids, "--scripts", script, "--do-not-confirm",
            "--expect", 3, state=state,
        )  # fmt: skip
        assert outcome.exit == 2
        assert [all_bits(rig, n) for n in range(2)] == before


def test_another_chip_than_asked_for_is_refused_untouched(
    tmp_path: Path, state: Path, script: Path, ids: Path
) -> None:
    with start_rig("esp32:1,esp32c3:1", tmp_path=tmp_path) as rig:
        before = all_bits(rig, 0)
        outcome = parburn(
            "--ports", *rig.ports, "--configfiles", ids, "--scripts", script, "--do-not-confirm", "--json",
            "--chip", "esp32c3", state=state,
        )  # fmt: skip
        assert outcome.words == ["refused", "pass"]
        assert outcome.exit == 1
        assert all_bits(rig, 0) == before


def test_indexes_beyond_the_range_are_exit_4(tmp_path: Path, state: Path, script: Path, ids: Path) -> None:
    with start_rig("esp32c3:3", tmp_path=tmp_path) as rig:
        outcome = parburn(
            "--ports", *rig.ports, "--configfiles", ids, "--scripts", script, "--do-not-confirm", "--json",
            "--index", "7-8", state=state,
        )  # fmt: skip
        assert outcome.exit == 4
        assert sorted(outcome.words) == ["pass", "pass", "refused"]
        assert [result["index"] for result in outcome.results if result["result"] == "pass"] == [7, 8]


def test_two_boards_with_one_value_are_both_refused(tmp_path: Path, state: Path) -> None:
    script = tmp_path / "same.py"
    script.write_text("espefuse(esp, efuses, args, 'burn_custom_mac aa:cd:ef:01:02:03')\n")
    with start_rig("esp32c3:2", tmp_path=tmp_path) as rig:
        before = [all_bits(rig, n) for n in range(2)]
        outcome = parburn(
            "--ports", *rig.ports, "--scripts", script, "--do-not-confirm", "--json", state=state
        )
        assert outcome.words == ["refused", "refused"]
        assert outcome.exit == 3
        assert [all_bits(rig, n) for n in range(2)] == before


def test_a_port_that_nobody_answers_on_is_no_answer_and_the_others_go_on(
    tmp_path: Path, state: Path, script: Path, ids: Path
) -> None:
    master, slave = os.openpty()
    try:
        with start_rig("esp32c3:1", tmp_path=tmp_path) as rig:
            outcome = parburn(
                "--ports", *rig.ports, os.ttyname(slave), "--configfiles", ids, "--scripts", script,
                "--do-not-confirm", "--json", "--connect-attempts", 2, state=state,
            )  # fmt: skip
    finally:
        os.close(master)
        os.close(slave)
    assert sorted(outcome.words) == ["no-answer", "pass"]
    assert outcome.exit == 1


def test_ctrl_c_during_a_script_burns_nothing_and_is_exit_130(tmp_path: Path, state: Path) -> None:
    script = tmp_path / "slow.py"
    script.write_text("import time\ntime.sleep(30)\nespefuse(esp, efuses, args, 'burn_bit BLOCK3 1')\n")
    with start_rig("esp32c3:1", tmp_path=tmp_path) as rig:
        before = all_bits(rig, 0)
        process = start("--ports", *rig.ports, "--scripts", script, "--do-not-confirm", "--json", state=state)
        assert process.stdout is not None
        while '"scripting"' not in (line := process.stdout.readline()):
            assert line, finish(process).stderr
        process.send_signal(signal.SIGINT)
        outcome = finish(process, timeout_s=20)
        assert outcome.exit == 130, outcome.stdout + outcome.stderr
        assert all_bits(rig, 0) == before


@pytest.mark.parametrize("seed", range(6))
def test_kill_at_any_moment_then_the_same_command_again(
    seed: int, tmp_path: Path, state: Path, script: Path, ids: Path
) -> None:
    """No index on two chips, none lost that was not attempted, whatever the moment of the kill."""
    with start_rig("esp32:2,esp32c3:2", tmp_path=tmp_path, baud_limit=115200) as rig:
        command = (
            "--ports",
            *rig.ports,
            "--configfiles",
            ids,
            "--scripts",
            script,
            "--do-not-confirm",
            "--json",
        )
        process = start(*command, state=state)
        time.sleep(0.45 + 0.17 * seed)
        process.kill()
        process.communicate()
        outcome = parburn(*command, state=state)
        assert outcome.exit == 0, f"seed {seed}\n{outcome.stdout}\n{outcome.stderr}"
        assert set(outcome.words) <= {"pass", "already-pass"}
        indexes = [result["index"] for result in outcome.results]
        assert sorted(indexes) == [1, 2, 3, 4], f"seed {seed}"
        assert [custom_mac_of(rig, n) for n in range(4)] == [mac(index) for index in indexes]
