"""The soak of identity: it holds, it plays every step, and its checker excuses a block and never a board."""

from __future__ import annotations

import random
from dataclasses import replace
from pathlib import Path

import pytest

from parburn.sim.efuse_memory import EfuseMemory
from tests.soak.bench import Bench, Made
from tests.soak.child import Crash, Ended, run_forked
from tests.soak.draw import theme_of
from tests.soak.identity import campaign
from tests.soak.identity.campaign import IDENTITY, STEP, IdentityCampaign, IdentityTheme, draw_product
from tests.soak.identity.checker import USED_BEFORE, IdentityChecker, Played, Unit
from tests.soak.identity.forms import FORMS
from tests.soak.identity.lines import Line
from tests.soak.identity.product import WEEK, People, Product
from tests.soak.test_soak import soak

BOARDS = 3


@pytest.mark.long
def test_some_hundred_board_runs_give_each_chip_one_identity() -> None:
    found = soak("--theme", "identity", "--runs", 300, "--seed", 1)
    assert found["violations"] == 0, found["text"]
    assert found["result pass"] >= 80
    assert found["sound boards end pass"] >= 40
    assert found["killed"] >= 5
    assert found["refused as a whole"] >= 1


def test_the_mixed_soak_plays_campaigns_of_both_kinds() -> None:
    kinds = [isinstance(theme_of(seed), IdentityTheme) for seed in range(40)]
    assert 10 <= sum(kinds) <= 30


def test_every_step_and_every_way_to_burn_is_drawn() -> None:
    assert {name for name, _ in IDENTITY.steps} == STEP.keys()
    products = [draw_product(random.Random(seed)) for seed in range(400)]
    assert {one.mac for one in products} == {"", "command", "bits"}
    assert {one.serial for one in products} == {"", "efuse", "save", "bits", "data", "flag"}
    assert {one.key for one in products} == {"", "own", "shared", "saved"}
    assert {one.uid for one in products} == {"", "rows", "halves"}
    for flag in ("whole", "hidden", "guarded", "burns", "counter", "tabled"):
        assert {getattr(one, flag) for one in products} == {True, False}


@pytest.mark.parametrize("how", ["", "line ends", "spaces"])
@pytest.mark.parametrize("form", FORMS)
def test_a_line_burns_what_its_files_say_in_every_form(tmp_path: Path, form: str, how: str) -> None:
    with Played3(tmp_path, Product(mac="command", serial="efuse", key="own"), form) as played:
        played.line.write_files(how)
        assert played.run() == []
        assert played.checker.passed == {0, 1, 2}
        assert sorted(owner.who for owner in played.checker.owners.values()) == [1, 2, 3]


@pytest.mark.parametrize("form", FORMS)
def test_a_deleted_record_is_seen_in_every_form_although_no_batch_is_named(tmp_path: Path, form: str) -> None:
    with Played3(tmp_path, Product(serial="flag"), form, name="") as played:
        assert played.run() == []
        del played.line.who[0]
        played.line.write_files()
        assert played.run(forbidden="a record is gone from its place") == []
        assert '"event": "error"' in played.told, played.told


class Played3:
    """Three boards and one line with its checker."""

    def __init__(
        self, folder: Path, product: Product, form: str = "json object", *, name: str = "main"
    ) -> None:
        self.folder, self.told = folder, ""
        self.people = People(folder, product)
        self.line = Line(name, folder / "main", self.people, range(1, 7), forms=[form])
        self.bench = Bench(folder, [Made("esp32c3")] * BOARDS, seed=1, stay_powered=False)
        self.checker = IdentityChecker(self.bench, folder / "ledger.sqlite", self.people, one_layout=True)
        self.checker.meet()

    def __enter__(self) -> Played3:
        return self

    def __exit__(self, *exception: object) -> None:
        self.bench.close()

    def run(
        self,
        *,
        said: tuple[str, str] = ("", ""),
        fired: tuple[str, ...] = (),
        crash: Crash | None = None,
        forbidden: str = "",
    ) -> list[str]:
        """A run, of which the first of `said` is replaced by the second in all that it told."""
        ports = self.bench.set_up(range(BOARDS), {}, seed=1)
        report = self.folder / "report.jsonl"
        ledger = self.folder / "ledger.sqlite"
        words = self.line.command(ports, ledger, declares=True, rng=random.Random(1))
        ended = run_forked([*words, "--report", str(report)], folder=self.folder, crash=crash)
        self.bench.settle()
        self.told = ended.stdout
        if said[0]:
            ended = Ended(ended.exit, ended.stdout.replace(*said), ended.stderr)
        boards = dict(zip(ports, range(BOARDS), strict=True))
        played = Played(self.line.name, tuple(self.line.who), boards, ended, report, forbidden=forbidden)
        return list(self.checker.violations([played], {0: list(fired)}))

    def change(self, board: int, block: str, bits: int) -> None:
        """Burn bits that nobody asked for."""
        kept = self.bench.product(board)
        memory: EfuseMemory = kept.product.memory
        memory.cells[memory.chip.block_by_name[block].index] |= bits
        kept.write()


def test_a_fault_excuses_the_cells_of_its_block_and_no_others(tmp_path: Path) -> None:
    with Played3(tmp_path, Product(mac="command", key="own")) as played:
        assert played.run() == []
        leak = "bit 99 of BLOCK_KEY0 burns its neighbour too"
        played.change(0, "BLOCK_KEY1", 1 << 100)
        played.checker._before[0] = played.bench.memory(0).cells
        found = played.run(fired=(leak,))
        assert any("1 cells in BLOCK_KEY1" in line for line in found), found


def test_one_value_in_two_chips_is_seen_whatever_the_ledger_says(tmp_path: Path) -> None:
    with Played3(tmp_path, Product(serial="efuse")) as played:
        assert played.run() == []
        first, second = played.bench.product(0), played.bench.product(1)
        second.product.memory.cells[3] = first.product.memory.cells[3]
        second.write()
        played.checker._before[1] = played.bench.memory(1).cells
        found = played.run()
        assert any("both carry SERIAL" in line for line in found), found


@pytest.mark.parametrize(
    ("said", "seen"),
    [
        (('"result": "pass"', '"result": "failed"'), "failed, and its bits changed"),
        (('"passed": 3', '"passed": 2'), "the summary says"),
        (('"index": 1', '"index": 4'), "pass as identity 4, and it is 1"),
        (('"event": "burned"', '"event": "note"'), "0 were told one by one"),
    ],
)
def test_what_was_said_is_held_against_the_chips(tmp_path: Path, said: tuple[str, str], seen: str) -> None:
    with Played3(tmp_path, Product(mac="command", key="own")) as played:
        found = played.run(said=said)
        assert any(seen in line for line in found), found


def test_a_pass_of_a_chip_that_is_not_whole_is_seen(tmp_path: Path) -> None:
    with Played3(tmp_path, Product(mac="command", key="own")) as played:
        assert played.run() == []
        kept = played.bench.product(0)
        kept.product.memory.cells[4] &= ~0xFF
        kept.write()
        played.checker._before[0] = played.bench.memory(0).cells
        found = played.run()
        assert any("is not whole" in line for line in found), found


def test_a_new_week_stands_in_the_whole_blocks_of_every_line(tmp_path: Path) -> None:
    product = Product(mac="command", serial="efuse", week="file", whole=True)
    with Played3(tmp_path, product) as played:
        other = Line("other", tmp_path / "other", played.people, range(1000, 1006), forms=["csv"])
        played.people.turn_week()
        played.line = other
        assert played.run() == []
        assert sorted(owner.who for owner in played.checker.owners.values()) == [1000, 1001, 1002]
        assert played.checker.passed == {0, 1, 2}


def test_a_chip_with_the_week_of_an_earlier_load_is_seen(tmp_path: Path) -> None:
    product = Product(mac="command", serial="efuse", week="file", whole=True)
    with Played3(tmp_path, product) as played:
        played.people.week += 1  # the files still hold the week before
        found = played.run()
        assert any("is not exact in BLOCK_USR_DATA" in line for line in found), found
        assert any("BLOCK_USR_DATA that identity 1 has not" in line for line in found), found


def test_a_begun_board_goes_on_with_the_week_of_its_plan_and_with_no_other(tmp_path: Path) -> None:
    with Played3(tmp_path, Product(mac="command", serial="efuse", week="file")) as played:
        checker = played.checker
        assert played.run(crash=Crash("program", 1, "before", "ttyUSB0")) == []
        begun = set(checker.begun) - set(checker.owners)
        assert 0 in begun
        played.people.turn_week()
        assert played.run() == []  # it is refused, and nothing of it is changed
        assert {checker.week_of(board) for board in begun} == {WEEK}
        assert not begun & checker.passed
        for path in tmp_path.glob("ledger.sqlite*"):  # as if nobody had known that it was begun
            path.unlink()
        found = played.run()
        assert any("board 0 (esp32c3): pass, and it holds the week" in line for line in found), found


@pytest.mark.parametrize(
    ("product", "block", "told"),
    [
        (Product(serial="flag", key="saved"), "BLOCK_KEY0", False),  # its key is the chip's, whoever it is
        (Product(serial="flag", key="saved"), "BLOCK_USR_DATA", True),
        (Product(serial="flag", key="own"), "BLOCK_KEY0", True),
    ],
)
def test_a_chip_is_free_under_a_new_ledger_only_where_nothing_in_it_tells_whose_it_is(
    tmp_path: Path, product: Product, block: str, *, told: bool
) -> None:
    with Played3(tmp_path, product) as played:
        checker = played.checker
        assert played.run() == []
        kept = played.bench.product(0)
        memory = kept.product.memory
        for index, cells in checker.factory[0].items():  # as if it had ended behind this block
            if index != memory.chip.block_by_name[block].index:
                memory.cells[index] = cells
        kept.write()
        checker.unbind()
        assert checker.unbound == set()  # this ledger knows them
        for path in tmp_path.glob("ledger.sqlite*"):
            path.unlink()
        checker.unbind()
        assert checker.unbound == (set() if told else {0})
        assert not list(checker._bits(0, memory))
        memory.cells[10] |= 1
        assert list(checker._bits(0, memory)) != []


def test_a_line_without_a_name_is_the_batch_whose_records_chips_carry(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    used = Unit("config-1", "esp32", "24:0a:c4:00:00:01", 1, "pass", True, USED_BEFORE)
    burned = Unit("renamed", "esp32", "24:0a:c4:00:00:02", 3, "pass", True, "")
    units = [used]
    monkeypatch.setattr(campaign, "units_of", lambda ledger: units)
    one = IdentityCampaign(1, tmp_path, IDENTITY, "")
    one.main.name = ""
    assert (one.batch_by_content(), one.used(one.main), one.carried(one.main)) == ("config-1", [1], [])
    units.append(burned)
    assert (one.batch_by_content(), one.used(one.main), one.carried(one.main)) == ("renamed", [3], [3])


@pytest.mark.parametrize("seed", range(1, 3))
def test_an_old_copy_is_put_back_with_its_witness_and_without(tmp_path: Path, seed: int) -> None:
    chips = (Made("esp32c3"),)
    theme = replace(IDENTITY, steps=(("run", 1.0), ("old", 3.0)), runs=(8, 8), chips=chips, kill_share=0.0)
    one = IdentityCampaign(seed, tmp_path, replace(theme, fault_share=0.0, boards=(4, 5)), "")
    one.play()
    assert one.result.violations == []
