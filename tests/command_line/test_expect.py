"""Which boards count: several kinds of chip with --chip, foreign ones, ports that are not there, --expect."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from parburn import Job, burn
from parburn.cli.exit_code import RunFlags, exit_code
from parburn.errors import PortGone
from parburn.events import DeviceReport, Result
from tests.command import Outcome, parburn
from tests.rig import Rig, start_rig

MIX = "esp32:1,esp32c3:1,esp32s3:1"


@pytest.fixture
def rig(tmp_path: Path) -> Iterator[Rig]:
    with start_rig(MIX, tmp_path=tmp_path) as rig:
        yield rig


@pytest.fixture
def dead_port() -> Iterator[str]:
    master, slave = os.openpty()
    yield os.ttyname(slave)
    os.close(slave)
    os.close(master)


def burned(tmp_path: Path, ports: list[str], *more: object) -> Outcome:
    (tmp_path / "s.py").write_text("print(args.index)\nespefuse(esp, efuses, args, 'burn_bit BLOCK3 3')\n")
    return parburn(
        "--ports", *ports, "--scripts", tmp_path / "s.py", "--same", "BLOCK3", "--do-not-confirm", "--json",
        "--connect-attempts", 1, *more, state=tmp_path,
    )  # fmt: skip


def test_several_kinds_are_burned_and_a_foreign_board_gets_no_index(rig: Rig, tmp_path: Path) -> None:
    done = burned(tmp_path, rig.ports, "--chip", "esp32s3, ESP32-C3", "--expect", 2)
    assert done.words == ["refused", "pass", "pass"]
    assert [result["index"] for result in done.results] == [None, 1, 2]
    assert "--chip esp32s3,esp32c3 was asked for" in done.results[0]["error"]
    assert [rig.programs(n) > 0 for n in range(3)] == [False, True, True]
    again = burned(tmp_path, rig.ports[:1])  # its index is still free for it
    assert [result["index"] for result in again.results] == [3]


def test_a_foreign_board_does_not_count_for_expect(rig: Rig, tmp_path: Path) -> None:
    done = burned(tmp_path, rig.ports, "--chip", "esp32s3,esp32c3", "--expect", 3)
    assert done.exit == 2
    assert "2 of 3 expected boards" in done.results[1]["error"]
    assert [rig.programs(n) for n in range(3)] == [0, 0, 0]


def test_a_kind_that_there_is_not_is_told(tmp_path: Path) -> None:
    done = parburn("--sim", "esp32:1", "--commands", "summary", "--chip", "esp32,esp32s9", state=tmp_path)
    assert done.exit == 2
    assert "there is no chip 'esp32s9'" in done.stderr
    assert "esp32s3" in done.stderr


def test_a_program_may_name_several_kinds(rig: Rig) -> None:
    job = Job(ports=tuple(rig.ports), commands="get_custom_mac", chip="ESP32-C3, esp32s3", expect=2)
    assert [report.result.value for report in burn(job)] == ["refused", "pass", "pass"]


def test_nobody_that_answers_is_exit_2_too(dead_port: str, tmp_path: Path) -> None:
    done = burned(tmp_path, [dead_port], "--expect", 1)
    assert done.words == ["no-answer"]
    assert done.exit == 2
    notes = [event["text"] for event in done.events if event["event"] == "note"]
    assert "0 of 1 expected boards were identified: no board is burned" in notes


def test_missing_ports_are_told_together_with_what_is_there(rig: Rig, tmp_path: Path) -> None:
    gone = [str(tmp_path / "ttyUSB7"), str(tmp_path / "ttyUSB8")]
    done = burned(tmp_path, [gone[0], *rig.ports[:2], gone[1]])
    assert done.exit == 2
    said = done.stderr
    assert f"there are no ports {gone[0]}, {gone[1]}" in said
    assert f"There: {rig.ports[0]}, {rig.ports[1]}" in said
    assert "--expect 2 burns those that are there" in said
    assert not done.results
    done = burned(tmp_path, [gone[0], *rig.ports[:2], gone[1]], "--expect", 3)
    assert done.exit == 2
    assert "--expect 3 boards, but --ports gives 2: there are no ports" in done.stderr
    assert [rig.programs(n) for n in range(2)] == [0, 0]


def test_with_enough_others_a_missing_port_is_a_board_without_an_answer(rig: Rig, tmp_path: Path) -> None:
    gone = str(tmp_path / "ttyUSB7")
    done = burned(tmp_path, [gone, *rig.ports[:2]], "--expect", 2)
    assert {result["port"]: result["result"] for result in done.results} == {
        gone: "no-answer", rig.ports[0]: "pass", rig.ports[1]: "pass",
    }  # fmt: skip
    assert done.exit == 1


@pytest.mark.parametrize(
    ("ended", "expect", "code"),
    [
        ("no-answer no-answer", 1, 2),
        ("no-answer no-answer", None, 1),
        ("failed no-answer", 1, 1),
        ("failed no-answer", 2, 2),
        ("gone", 1, 2),
        ("pass no-answer", 2, 1),  # it was there, and is counted where it was decided
        ("quarantined no-answer", 2, 5),
        ("refused", 1, 3),
    ],
)
def test_one_exit_code_for_too_few_boards(ended: str, expect: int | None, code: int) -> None:
    reports = [
        DeviceReport("p", "s", Result.FAILED, chip="esp32", error_kind=PortGone.__name__)
        if word == "gone"
        else DeviceReport("p", "s", Result(word), chip="" if word == "no-answer" else "esp32")
        for word in ended.split()
    ]
    assert exit_code(reports, RunFlags(expect=expect)) == code
