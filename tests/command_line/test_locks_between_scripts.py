"""A lock that scripts of several boards share, held over burn_all(): the message names the wait."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.command import parburn
from tests.provisioning import said, script
from tests.rig import start_rig

HELD = {
    "a lock of a module": "import shared\nshared.LOCK.acquire()\n",
    "a lock with a timeout": "import shared\nwhile not shared.LOCK.acquire(timeout=0.2): pass\n",
    "a lock file": "import fcntl\nfile = open('{folder}/lock', 'a')\nfcntl.flock(file, fcntl.LOCK_EX)\n",
}
LINE = {"a lock of a module": 2, "a lock with a timeout": 2, "a lock file": 3}


@pytest.mark.parametrize("held", HELD)
def test_boards_that_wait_for_a_lock_that_another_holds_over_its_burn(
    held: str, tmp_path: Path, state: Path
) -> None:
    (tmp_path / "shared.py").write_text("import threading\nLOCK = threading.Lock()\n")
    text = (
        f"import sys\nsys.path.insert(0, {str(tmp_path)!r})\n".replace("\n", "; ", 1)
        + HELD[held].replace("{folder}", str(tmp_path))
        + "espefuse(esp, efuses, args, 'burn_efuse DIS_TWAI 1')\n"
        + "efuses.burn_all()\n"
        + ("file.close()\n" if "file" in held else "shared.LOCK.release()\n")
    )
    path = script(tmp_path, "locks", text)
    line = LINE[held] + 1
    with start_rig("esp32c3", 3, tmp_path) as rig:
        command = ("--ports", *rig.ports, "--scripts", path, "--do-not-confirm", "--json")
        outcome = parburn(*command, "--script-timeout", "1.5", state=state)
        assert sorted(outcome.words) == ["failed", "failed", "pass"], said(outcome)
        holder = next(result["port"] for result in outcome.results if result["result"] == "pass")
        for result in outcome.results:
            if result["port"] != holder:
                assert result["error"].startswith(f"{path}:{line}: the script waits here (1.5 s"), said(
                    outcome
                )
                assert (
                    f"{holder} ({path}:{line + 2}) waits with its burn for the other boards"
                    in result["error"]
                )
                assert "over burn_all()" in result["hint"]
                assert rig.programs(rig.ports.index(result["port"])) == 0
        one_by_one = parburn(*command, "--script-timeout", "10", "--one-at-a-time", state=state)
        assert sorted(one_by_one.words) == ["already-pass", "pass", "pass"], said(one_by_one)


def test_a_script_that_works_too_long_is_not_said_to_wait(tmp_path: Path, state: Path) -> None:
    text = (
        "espefuse(esp, efuses, args, 'burn_efuse DIS_TWAI 1')\n"
        "while args.port.endswith('0'):\n    pass\n"
        "efuses.burn_all()\n"
    )
    path = script(tmp_path, "works", text)
    with start_rig("esp32c3", 2, tmp_path) as rig:
        outcome = parburn(
            "--ports", *rig.ports, "--scripts", path, "--do-not-confirm", "--json", "--script-timeout", "1.5",
            state=state,
        )  # fmt: skip
        assert outcome.words == ["failed", "pass"], said(outcome)
        error = outcome.results[0]["error"]
        assert "the script ran longer than 1.5 s, and " in error
        assert f"{rig.ports[1]} ({path}:4) waits with its burn" in error
        assert "--script-timeout" in outcome.results[0]["hint"]
