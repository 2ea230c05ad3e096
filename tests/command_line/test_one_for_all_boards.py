"""Files that are one for several boards: a pipe that gives a key, a file that a command writes."""

from __future__ import annotations

import os
import threading
from pathlib import Path

from tests.command import finish, parburn, start
from tests.provisioning import KEY, key_of, said, script
from tests.rig import start_rig


def test_a_key_from_a_pipe_is_the_same_for_all_boards(tmp_path: Path, state: Path) -> None:
    pipe = tmp_path / "key"
    os.mkfifo(pipe)
    with start_rig("esp32c3", 4, tmp_path) as rig:
        process = start(
            "--ports", *rig.ports, "--commands", f"burn_key BLOCK_KEY0 {pipe} HMAC_UP", "--same",
            "BLOCK_KEY0", "--do-not-confirm", "--json", state=state,
        )  # fmt: skip
        threading.Thread(target=lambda: pipe.write_bytes(KEY), daemon=True).start()
        outcome = finish(process)
        assert outcome.words == ["pass"] * 4, said(outcome)
        assert [key_of(rig, n) for n in range(4)] == [KEY] * 4


def test_a_pipe_that_a_script_opens_goes_to_one_board_only(tmp_path: Path, state: Path) -> None:
    pipe = tmp_path / "key"
    os.mkfifo(pipe)
    text = f"data = open({str(pipe)!r}, 'rb').read()\nespefuse(esp, efuses, args, 'burn_efuse DIS_TWAI 1')\n"
    with start_rig("esp32s3", 3, tmp_path) as rig:
        process = start(
            "--ports", *rig.ports, "--scripts", script(tmp_path, "opens", text), "--do-not-confirm", "--json",
            state=state,
        )  # fmt: skip
        threading.Thread(target=lambda: pipe.write_bytes(KEY), daemon=True).start()
        outcome = finish(process)
        assert sorted(outcome.words) == ["pass", "refused", "refused"], said(outcome)
        assert sum(rig.programs(n) for n in range(3)) == 1
        assert sum("is a pipe" in result["error"] for result in outcome.results) == 2


def test_a_file_for_each_board(tmp_path: Path, state: Path) -> None:
    with start_rig("esp32c3", 3, tmp_path) as rig:
        for place, names in (
            ("{port}", [f"ttyUSB{n}" for n in range(3)]),
            ("{mac}", [rig.mac(n).replace(":", "") for n in range(3)]),
        ):
            outcome = parburn(
                "--ports", *rig.ports, "--commands",
                f"summary MAC --file {tmp_path}/sum-{place}; "
                f"dump --format joint --file_name {tmp_path}/d{place}",
                "--json", state=state,
            )  # fmt: skip
            assert outcome.words == ["pass"] * 3, said(outcome)
            for number, name in enumerate(names):
                assert rig.mac(number) in (tmp_path / f"sum-{name}").read_text()
                assert (
                    bytes.fromhex(rig.mac(number).replace(":", ""))[::-1]
                    in (tmp_path / f"d{name}").read_bytes()
                )
        burned = parburn(
            "--ports", *rig.ports, "--commands", f"burn_efuse DIS_TWAI 1; summary DIS_TWAI --file {tmp_path}/"
            "at-{index}-{slot}.txt", "--do-not-confirm", "--json", state=state,
        )  # fmt: skip
        assert burned.words == ["pass"] * 3, said(burned)
        for number in range(3):
            assert "True" in (tmp_path / f"at-{number + 1}-ttyUSB{number}.txt").read_text()


def test_one_file_for_all_boards_burns_nothing(tmp_path: Path, state: Path) -> None:
    shared = tmp_path / "all.txt"
    with start_rig("esp32c3", 2, tmp_path) as rig:
        refused = parburn(
            "--ports", *rig.ports, "--commands", f"burn_efuse DIS_TWAI 1; summary --file {shared}",
            "--do-not-confirm", "--json", state=state,
        )  # fmt: skip
        assert refused.exit == 2, said(refused)
        assert "for each board, one over the other" in refused.stdout + refused.stderr
        assert not shared.exists()
        # A name that is made up shows when the second board comes to it: that one is refused, and not burned.
        made_up = script(
            tmp_path,
            "made_up",
            f"espefuse(esp, efuses, args, 'burn_efuse DIS_TWAI 1')\nespefuse.summary(file={str(shared)!r})\n",
        )
        found = parburn(
            "--ports", *rig.ports, "--scripts", made_up, "--do-not-confirm", "--json", state=state
        )
        assert sorted(found.words) == ["pass", "refused"], said(found)
        assert sorted(rig.programs(n) for n in range(2)) == [0, 1]
        (passed,) = [n for n in range(2) if rig.programs(n)]
        assert rig.mac(passed) in shared.read_text()
        # One board alone may have any name.
        alone = parburn(
            "--ports", rig.ports[0], "--commands", f"summary --file {tmp_path}/one.txt", "--json", state=state
        )
        assert alone.words == ["pass"], said(alone)
