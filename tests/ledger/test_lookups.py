"""`ledger show` with filters and `ledger history`, through the installed command, after real runs."""

from __future__ import annotations

import argparse
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from parburn.cli.moments import moment
from parburn.cli.parser import UNIT_STATES
from parburn.ledger.base import State
from parburn.ledger.unit_filter import SCRAPPED
from tests.command import Outcome, parburn
from tests.provisioning import KEY, PROVISION, mac, said, script
from tests.rig import Rig, start_rig

from .ledgers import attempt, batch, chip, claim_of, opened
from .ledgers import run as ledgers_run

MORE = PROVISION + "efuses.burn_all()\nespefuse(esp, efuses, args, 'burn_efuse VDD_SPI_AS_GPIO 1')\n"


class Day:
    """What was burned, and the ledger of it."""

    def __init__(self, folder: Path, rig: Rig) -> None:
        self.folder, self.rig, self.ledger = folder, rig, folder / "ledger.sqlite"

    def burn(self, *words: object) -> Outcome:
        """Burn some boards."""
        return parburn(*words, "--ledger", self.ledger, "--do-not-confirm", "--json", state=self.folder)

    def ask(self, *words: object) -> Outcome:
        """Look something up."""
        return parburn("ledger", *words, "--ledger", self.ledger, state=self.folder, COLUMNS="200")


@pytest.fixture(scope="module")
def day(tmp_path_factory: pytest.TempPathFactory) -> Day:
    """Three boards by one operator, one that broke off, and a bit for the first by another one."""
    folder = tmp_path_factory.mktemp("day")
    key, ids = folder / "key.bin", folder / "ids.json"
    key.write_bytes(KEY)
    ids.write_text("{" + ", ".join(f'"{n}": {{"mac": "{mac(n)}"}}' for n in range(1, 9)) + "}")
    work = script(folder, "work", MORE.replace("{key}", str(key)))
    fault = "on board 3: the controller never becomes idle after program 1"
    with start_rig("esp32c3:4", tmp_path=folder, faults=[fault]) as rig:
        made = Day(folder, rig)
        job = ("--scripts", work, "--configfiles", ids, "--batch", "gateway")
        where = ("--station", "line 2", "--operator", "Kim = Ä")
        done = made.burn("--ports", *rig.ports, *job, *where)
        assert done.words == ["pass"] * 3 + ["incomplete"], said(done)
        bit = ("--commands", "burn_efuse DIS_USB_JTAG 1", "--batch", "rework", "--allow-other-batch")
        done = made.burn("--ports", rig.ports[0], *bit, "--operator", "Lee")
        assert done.words == ["pass"], said(done)
        done = made.ask("scrap", rig.mac(2), "--why", "fell on the floor")
        assert done.exit == 0, said(done)
    return made


def shown(day: Day, *words: object) -> list[str]:
    """The MACs of the units that are shown."""
    done = day.ask("show", *words)
    assert done.exit == 0, said(done)
    return [line.split()[2] for line in done.stdout.splitlines() if line[:1].isdigit() and ":" in line]


def test_show_filters(day: Day) -> None:
    macs = [day.rig.mac(n) for n in range(4)]
    assert shown(day) == [macs[1], macs[3], macs[0], macs[2]] or sorted(shown(day)) == sorted(
        [*macs, macs[0]]
    )
    assert shown(day, "--batch", "gateway") == macs
    assert shown(day, "--batch", "rework") == [macs[0]]
    assert shown(day, "--mac", macs[1].upper().replace(":", "-")) == [macs[1]]
    assert shown(day, "--index", "2") == [macs[1]]
    assert shown(day, "--index", "2-3") == macs[1:3]
    assert shown(day, "--value", mac(2)) == [macs[1]]
    assert shown(day, "--value", f"CUSTOM_MAC={mac(2).upper()}") == [macs[1]]
    assert shown(day, "--value", "nothing") == []
    assert shown(day, "--state", "incomplete") == [macs[3]]
    assert shown(day, "--state", "incomplete", "--state", "scrapped") == macs[2:]
    assert shown(day, "--state", "pass", "--batch", "gateway", "--index", "1-2") == macs[:2]
    assert shown(day, "--since", "1h", "--batch", "gateway") == macs
    assert shown(day, "--since", "2999-01-01") == []


def test_show_says_what_is_meant_by_no_unit_and_by_wrong_words(day: Day) -> None:
    assert "0 of 5 units are meant." in day.ask("show", "--index", "77").stdout
    for words in (("--since", "soon"), ("--state", "good"), ("--index", "0"), ("--index", "5-2")):
        done = day.ask("show", *words)
        assert done.exit == 2, said(done)
        assert done.stderr.startswith("parburn: argument")


def test_what_is_shown_fits_80_columns_and_has_totals(day: Day) -> None:
    lines = day.ask("show").stdout.splitlines()
    assert max(map(len, lines[:-1])) <= 80
    assert "batch gateway: 3 pass, 1 incomplete" in lines
    assert "batch rework: 1 pass" in lines
    assert "5 units, 5 with an index, 1 scrapped." in lines
    assert [line.strip() for line in lines if "scrapped:" in line] == ["scrapped: fell on the floor"]


def test_the_states_of_the_filter_are_those_of_the_ledger() -> None:
    assert set(UNIT_STATES) == {state.value for state in State} | {SCRAPPED}


def test_history_tells_one_units_life(day: Day) -> None:
    done = day.ask("history", day.rig.mac(0))
    assert done.exit == 0, said(done)
    text = " ".join(done.stdout.split())
    assert f"esp32c3 {day.rig.mac(0)}: index 1 of the batch gateway" in text
    assert f"esp32c3 {day.rig.mac(0)}: index 1 of the batch rework" in text
    assert text.count("state: pass, whole since") == 2
    assert f"values: CUSTOM_MAC={mac(1)}" in text
    assert "key: BLOCK_KEY0: burned and verified, purpose XTS_AES_128_KEY, read and write locked" in text
    assert ", run 1, station line 2, operator Kim = Ä " in text
    assert ", operator Lee " in text
    assert "DIS_USB_JTAG=1" in text
    steps = text.partition("burn begun: ")[2]
    for step in ("BLOCK_KEY0", "BLOCK_USR_DATA"):
        assert f"{step} burned and verified" in steps
    assert max(map(len, done.stdout.splitlines())) <= 80
    assert KEY.hex() not in done.stdout


@pytest.mark.parametrize("word", ["2", mac(2), mac(2).upper().replace(":", "-"), f"CUSTOM_MAC={mac(2)}"])
def test_history_finds_a_unit_by_index_and_by_value(day: Day, word: str) -> None:
    done = day.ask("history", word)
    assert done.exit == 0, said(done)
    assert done.stdout.startswith(f"esp32c3 {day.rig.mac(1)}: index 2 of the batch gateway\n")


def test_history_tells_what_is_left_and_what_people_did(day: Day) -> None:
    text = " ".join(day.ask("history", day.rig.mac(3)).stdout.split())
    assert "state: incomplete, half burned since" in text
    assert "begun and not whole: no step is verified; left: BLOCK_KEY0, BLOCK_USR_DATA, BLOCK0" in text
    assert "incomplete: " in text
    text = " ".join(day.ask("history", "3", "--batch", "gateway").stdout.split())
    assert "scrapped: fell on the floor" in text
    assert "outside of a run" in text
    assert "written off: fell on the floor" in text


def test_history_of_nothing_is_an_error(day: Day) -> None:
    for words in (("77",), ("1", "--batch", "none"), ("%",), ("'; DROP TABLE units",), ("\udcff",)):
        done = day.ask("history", *words)
        assert done.exit == 2, said(done)
        assert "has no unit" in done.stderr, said(done)


def test_times_are_taken_as_people_write_them() -> None:
    now = datetime(2026, 11, 30, 12, tzinfo=UTC)
    for text, expected in {
        "2026-11-29": "2026-11-29T00:00:00.000+00:00",
        "2026-11-29 06:40": "2026-11-29T06:40:00.000+00:00",
        "2026-11-29T06:40Z": "2026-11-29T06:40:00.000+00:00",
        "2026-11-29T06:40+02:00": "2026-11-29T04:40:00.000+00:00",
        "8h": "2026-11-30T04:00:00.000+00:00",
        "30m": "2026-11-30T11:30:00.000+00:00",
        "2w": (now - timedelta(14)).isoformat(timespec="milliseconds"),
    }.items():
        assert moment(text, now) == expected
    for text in ("", "h", "-8h", "2026-13-01", "99999999w", "0001-01-01T00:00+23:00", "1.5h"):
        with pytest.raises(argparse.ArgumentTypeError, match="is no time"):
            moment(text, now)


def test_what_scripts_and_people_named_moves_no_cursor_and_fits(tmp_path: Path) -> None:
    odd = "a\x1b[2J" + "very long " * 20 + "\u202e"

    async def work() -> None:
        async with opened(tmp_path / "ledger.sqlite", batch(name=odd)) as ledger:
            claim = await claim_of(ledger, chip(1))
            await claim.planned("plan", {odd: odd, "W": "x" * 200})
            await claim.burn_attempted(attempt())
            await claim.quarantined(odd)

    ledgers_run(work())
    for words in (("show",), ("history", "1"), ("show", "--state", "quarantined")):
        done = parburn("ledger", *words, "--ledger", tmp_path / "ledger.sqlite", state=tmp_path)
        assert done.exit == 0, said(done)
        lines = [line for line in done.stdout.splitlines() if not line.startswith("Ledger:")]
        assert max(map(len, lines)) <= 80
        assert all(line.isprintable() for line in lines), done.stdout
