"""Values by their bits, through the installed command: none twice, whatever field or command it came by."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.command import Outcome, finish, parburn, start
from tests.provisioning import custom_mac_of, every_bit, mac, rows, said
from tests.rig import Rig, start_rig

USER = 3  # the block of user data
SERIAL = "SERIAL, 3, 64, 32, Serial number\nWEEK, 3, 96, 16, Week of the load\n"


class Line:
    """A folder with a rig, and the command run on some of its boards."""

    def __init__(self, folder: Path, rig: Rig) -> None:
        self.folder, self.rig = folder, rig
        self.words: list[object] = []
        self.table(SERIAL)

    def table(self, text: str, name: str = "table.csv") -> None:
        path = self.folder / name
        path.write_text(text)
        self.words = ["--extend-efuse-table", path]

    def run(self, script: str, *boards: int, more: tuple[object, ...] = (), name: str = "job") -> Outcome:
        path = self.folder / f"{name}.py"
        path.write_text(script)
        ports = [self.rig.ports[n] for n in boards]
        return parburn(
            "--ports", *ports, "--scripts", path, "--do-not-confirm", "--json", "--report", self.report,
            *self.words, *more, state=self.folder / "state",
        )  # fmt: skip

    @property
    def report(self) -> Path:
        return self.folder / "report.jsonl"

    def row(self) -> dict[str, Any]:
        """The first board's row of the last report."""
        return rows(self.report)[0]

    def bits(self, board: int) -> int:
        return self.rig.bits(board, USER)


@pytest.fixture
def line(tmp_path: Path) -> Iterator[Line]:
    with start_rig("esp32c3:4", tmp_path=tmp_path) as rig:
        yield Line(tmp_path, rig)


def burn(text: str) -> str:
    return f"espefuse(esp, efuses, args, {text!r}.format(i=args.index, j=(args.index + 1) // 2))\n"


def bits_of(number: str, at: int) -> str:
    """A script that burns a number bit by bit."""
    return (
        f"bits = ' '.join(str({at} + n) for n in range(64) if ({number}) >> n & 1)\n"
        "espefuse(esp, efuses, args, 'burn_bit BLOCK_USR_DATA ' + bits)\n"
    )


def data_of(number: str, size: int, offset: int) -> str:
    """A script that burns a number as block data."""
    return (
        "name = os.path.join(os.path.dirname(os.path.abspath(__file__)), 'data%d.bin' % args.index)\n"
        "with open(name, 'wb') as file:\n"
        f"    file.write(({number}).to_bytes({size}, 'little'))\n"
        f"espefuse(esp, efuses, args, 'burn_block_data --offset {offset} BLOCK_USR_DATA ' + name)\n"
    )


MAC = int.from_bytes(bytes.fromhex(mac(1).replace(":", "")), "little")
# Two boards get one value, in one run: forms of it.
DOUBLED = {
    "a serial of 32 bits": burn("burn_efuse SERIAL 1001"),
    "by save()": "efuses['SERIAL'].save(1001)\n",
    "by single bits": bits_of("1001", 64),
    "by block data": data_of("1001", 4, 8),
    "a MAC by single bits": bits_of(str(MAC), 200),
    "a MAC by block data": data_of(str(MAC), 6, 25),
    "a block by save()": f"efuses.blocks[3].save(({MAC} << 200 | 5).to_bytes(32, 'little'))\n",
    "data in a block that takes keys": data_of("1001", 4, 8).replace("USR_DATA", "KEY1"),
}


@pytest.mark.parametrize("script", DOUBLED.values(), ids=DOUBLED.keys())
def test_one_value_for_two_boards_of_a_run_burns_neither(line: Line, script: str) -> None:
    before = every_bit(line.rig)
    outcome = line.run(script, 0, 1)
    assert outcome.words == ["refused", "refused"], said(outcome)
    assert outcome.exit == 3
    assert every_bit(line.rig) == before
    assert "is planned for more than one board" in outcome.results[0]["error"]
    assert line.rig.mac(1) in outcome.results[0]["error"]


FIRST = burn("burn_efuse SERIAL 1001")
# The value that the first board got by FIRST, in a later run: by another command or name.
AGAIN = {
    "by the same field": FIRST,
    "by single bits": bits_of("1001", 64),
    "by block data": data_of("1001", 4, 8),
    "by data of more bytes": data_of("1001", 8, 8),
}


@pytest.mark.parametrize("script", AGAIN.values(), ids=AGAIN.keys())
@pytest.mark.parametrize("batch", [(), ("--batch", "another")], ids=["same batch", "another batch"])
def test_a_value_that_another_chip_carries_is_refused(
    line: Line, script: str, batch: tuple[str, ...]
) -> None:
    assert line.run(FIRST, 0).words == ["pass"]
    outcome = line.run(script, 1, more=batch, name="again")
    assert outcome.words == ["refused"], said(outcome)
    error = outcome.results[0]["error"]
    assert line.rig.mac(0) in error
    assert line.rig.mac(1) in error
    assert "1001" in error or hex(1001) in error
    assert not line.bits(1)


@pytest.mark.parametrize(
    "table",
    ["UNIT, 3, 64, 32, Under another name\n", "SERIAL, 3, 64, 40, Longer\n", "SERIAL, 3, 64, 24, Shorter\n",
     "SERIAL, 3, 128, 32, Elsewhere\n"],
    ids=["name", "longer", "shorter", "place"],
)  # fmt: skip
def test_a_value_is_known_under_another_name_length_or_place(line: Line, table: str) -> None:
    assert line.run(FIRST, 0).words == ["pass"]
    line.table(table, "other.csv")
    name = table.partition(",")[0]
    value = "0x00000003e9" if "40" in table else "1001"
    outcome = line.run(burn(f"burn_efuse {name} {value}"), 1, name="again")
    assert outcome.words == ["refused"], said(outcome)
    assert not line.bits(1)


def test_a_value_burned_as_bits_is_known_when_a_table_names_it(line: Line) -> None:
    assert line.run(data_of("1001", 4, 8), 0).words == ["pass"]
    outcome = line.run(FIRST, 1, name="again")
    assert outcome.words == ["refused"], said(outcome)


def test_two_processes_at_once_burn_a_value_into_one_board_at_most(line: Line) -> None:
    (line.folder / "job.py").write_text(FIRST)
    runs = [
        start(
            "--ports", line.rig.ports[n], "--scripts", line.folder / "job.py", "--do-not-confirm", "--json",
            "--batch", f"batch {n}", *line.words, state=line.folder / "state",
        )
        for n in range(3)
    ]  # fmt: skip
    words = [word for process in runs for word in finish(process).words]
    assert words.count("pass") <= 1
    assert words.count("refused") + words.count("pass") == 3
    assert sum(bool(line.bits(n)) for n in range(3)) == words.count("pass")


def test_a_value_that_is_taken_sets_its_index_aside_and_the_next_board_gets_the_next(line: Line) -> None:
    assert line.run(burn("burn_efuse SERIAL 2"), 0, more=("--batch", "first")).words == ["pass"]
    script = burn("burn_efuse SERIAL {i}")
    good = line.run(script, 1, name="serial")
    assert (good.words, good.results[0]["index"]) == (["pass"], 1)
    taken = line.run(script, 2, name="serial")
    assert taken.words == ["refused"], said(taken)
    assert "Index 2 is set aside from now on: SERIAL 2 of its record belongs to the chip" in taken.stdout
    after = line.run(script, 2, name="serial")
    assert (after.words, after.results[0]["index"]) == (["pass"], 3), said(after)
    assert "Index 2 is set aside" in after.stdout
    assert line.rig.mac(0) in after.stdout


def test_a_name_of_forty_bits_is_the_same_on_every_unit_when_that_is_declared(line: Line) -> None:
    """And it is remembered for the batch, and taken over by a new batch with the same scripts."""
    line.table("PRODUCT, 3, 64, 40, Name of the product\n")
    script = burn("burn_efuse PRODUCT 4c616d7031") + burn("burn_custom_mac 02:00:00:00:00:0{i}")
    assert line.run(script, 0).words == ["pass"]
    refused = line.run(script, 1)
    assert refused.words == ["refused"]
    assert "--same PRODUCT" in line.row()["next_step"] == refused.results[0]["hint"]
    declared = line.run(script, 1, more=("--same", "PRODUCT"))
    assert declared.words == ["pass"], said(declared)
    assert line.run(script, 2).words == ["pass"]
    new = line.run(script, 3, more=("--batch", "new", "--index", "9"))
    assert new.words == ["pass"], said(new)
    assert "takes over" in new.stdout
    assert "--same PRODUCT" in new.stdout


def test_the_first_plan_says_how_each_value_is_taken(line: Line) -> None:
    script = burn("burn_efuse SERIAL {i}") + burn("burn_efuse WEEK 12")
    outcome = line.run(script, 0, more=("--unique", "SERIAL"))
    assert outcome.words == ["pass"], said(outcome)
    assert "SERIAL own value each" in outcome.stdout
    assert "WEEK undeclared: a second board with it will be refused, or give --same WEEK" in outcome.stdout
    assert line.run(script, 1).words == ["refused"]
    assert line.run(script, 1, more=("--same", "WEEK")).words == ["pass"]


def test_short_fields_may_be_the_same_unless_they_are_declared_unique(line: Line) -> None:
    line.table("VARIANT, 3, 64, 4, Of the board\n")
    script = burn("burn_efuse VARIANT 5")
    assert line.run(script, 0, 1).words == ["pass", "pass"]
    outcome = line.run(script, 2, more=("--unique", "VARIANT"))
    assert outcome.words == ["refused"], said(outcome)


def test_parts_of_one_number_are_compared_together(line: Line) -> None:
    line.table("LOW, 3, 64, 32, Low\nHIGH, 3, 96, 32, High\n")
    script = burn("burn_efuse LOW {i}") + burn("burn_efuse HIGH 7")
    unique = ("--unique", "LOW+HIGH")
    assert line.run(script, 0, 1, more=unique).words == ["pass", "pass"]
    doubled = burn("burn_efuse LOW 2") + burn("burn_efuse HIGH 7")
    outcome = line.run(doubled, 2, name="doubled", more=unique)
    assert outcome.words == ["refused"], said(outcome)
    assert "LOW+HIGH 0x700000002" in outcome.results[0]["error"]


def test_an_id_in_two_rows_is_not_burned_twice(line: Line) -> None:
    line.table("UID, 3, 64, 32, Unique id\n, 3, 96, 32,\n")
    script = burn("burn_efuse UID_0 {j} UID_1 7")
    assert line.run(script, 0, 1).words == ["refused", "refused"]


def test_parts_of_a_block_can_be_declared(line: Line) -> None:
    script = data_of("77", 4, 8)
    line.words = []
    same = line.run(script, 0, 1, more=("--same", "BLOCK3[64:96]"))
    assert same.words == ["pass", "pass"], said(same)


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("--same", "CUSTOM_MAC"), "never the same"),
        (("--same", "NOTHING"), "no chip and no table has a field or block 'NOTHING'"),
        (("--unique", "SERIAL+NOTHING"), "no chip and no table"),
        (("--unique", "BLOCK3[64:60]"), "no chip and no table"),
        (("--same", "SERIAL", "--unique", "SERIAL"), "in --same and in --unique"),
        (("--same", "A+B"), "one name each"),
    ],
)
def test_what_cannot_be_declared_is_refused_before_any_port_is_opened(
    line: Line, words: tuple[str, ...], says: str
) -> None:
    outcome = line.run(FIRST, 0, more=words)
    assert outcome.exit == 2
    assert says in outcome.stderr
    assert not outcome.results


# Keys -----------------------------------------------------------------------------------------------


def key_job(keys: str) -> str:
    """A script that burns the key of this name for each index."""
    return (
        f"name = os.path.join(os.path.dirname(os.path.abspath(__file__)), {keys}[args.index])\n"
        "espefuse(esp, efuses, args, 'burn_key BLOCK_KEY0 ' + name + ' XTS_AES_128_KEY')\n"
    )


@pytest.fixture
def keys(line: Line) -> Line:
    for number, name in enumerate("ab"):
        (line.folder / name).write_bytes(bytes(range(1 + number, 33 + number)))
    return line


def test_equal_keys_are_taken_from_the_first_board_on_and_that_is_said(keys: Line) -> None:
    script = key_job("'aaaaa'")
    outcome = keys.run(script, 0, 1)
    assert outcome.words == ["pass", "pass"], said(outcome)
    assert "BLOCK_KEY0: the same key on every board" in outcome.stdout
    assert keys.run(script, 2).words == ["pass"]
    assert keys.run(script, 3, more=("--unique", "BLOCK_KEY0")).words == ["refused"]


def test_after_two_different_keys_an_equal_one_is_refused_unless_declared(keys: Line) -> None:
    script = key_job("'xabba'")
    assert keys.run(script, 0, 1).words == ["pass", "pass"]
    refused = keys.run(script, 2)
    assert refused.words == ["refused"], said(refused)
    assert "--same BLOCK_KEY0" in keys.row()["next_step"]
    assert bytes(range(2, 34)).hex() not in refused.stdout + refused.stderr
    assert keys.run(script, 2, more=("--same", "BLOCK_KEY0")).words == ["pass"]


def test_equal_and_different_keys_in_one_run_refuse_the_equal_ones(keys: Line) -> None:
    outcome = keys.run(key_job("'xaab'"), 0, 1, 2)
    assert outcome.words == ["refused", "refused", "pass"], said(outcome)


# What the chip holds --------------------------------------------------------------------------------


IDS = "espefuse(esp, efuses, args, 'burn_custom_mac 02:00:00:00:00:%02x' % args.index)\n"
STATE_MARKS = """\
if not int(efuses['SERIAL'].get()):
    espefuse(esp, efuses, args, 'burn_efuse SERIAL %d' % args.index)
"""


def lose_ledger(line: Line) -> None:
    for path in (line.folder / "state").rglob("*"):
        if path.is_file():
            path.unlink()


@pytest.mark.parametrize("script", [IDS, burn("burn_efuse SERIAL {i}")], ids=["mac", "serial"])
def test_values_that_are_in_the_chip_already_bind_its_index(line: Line, script: str) -> None:
    assert line.run(script, 0).words == ["pass"]
    lose_ledger(line)
    again = line.run(script, 0)
    assert (again.words, again.results[0]["index"]) == (["pass"], 1), said(again)
    other = line.run(script, 1)
    assert (other.words, other.results[0]["index"]) == (["pass"], 2), said(other)
    assert line.bits(0) != line.bits(1)


def test_what_stands_in_a_chip_whose_script_asks_for_nothing_is_recorded_without_an_index(line: Line) -> None:
    assert line.run(STATE_MARKS, 0).words == ["pass"]
    lose_ledger(line)
    again = line.run(STATE_MARKS, 0)
    assert (again.words, again.results[0]["index"]) == (["pass"], None), said(again)
    assert "nothing asked, no index; what it holds is bound to it in the ledger: SERIAL 1" in again.stdout
    assert "nothing asked, no index" in line.row()["burned"]
    refused = line.run(STATE_MARKS, 1)
    assert refused.words == ["refused"], said(refused)
    assert line.rig.mac(0) in refused.results[0]["error"]
    good = line.run(STATE_MARKS, 1)
    assert (good.words, good.results[0]["index"]) == (["pass"], 2), said(good)


@pytest.mark.parametrize(
    ("first", "then"),
    [(1, 2), (1, 3), (3, 1)],
)
def test_a_chip_with_the_values_of_another_record_is_refused_with_both_named(
    line: Line, first: int, then: int
) -> None:
    assert line.run(burn(f"burn_efuse SERIAL {first}"), 0).words == ["pass"]
    lose_ledger(line)
    before = every_bit(line.rig)
    script = f"try:\n    {burn(f'burn_efuse SERIAL {then}')}except Exception:\n    pass\n"
    outcome = line.run(script, 0)
    assert outcome.words == ["refused"], said(outcome)
    error = outcome.results[0]["error"]
    assert f"SERIAL {first}" in error
    assert f"asks for {then} for index 1" in error
    assert every_bit(line.rig) == before


def test_custom_macs_are_one_space_over_all_kinds_of_chips(tmp_path: Path) -> None:
    with start_rig("esp32:1,esp32c2:1,esp32c3:1", tmp_path=tmp_path) as rig:
        line = Line(tmp_path, rig)
        line.words = []
        script = burn(f"burn_custom_mac {mac(1)}")
        assert line.run(script, 0, 1, 2).words == ["refused"] * 3
        assert line.run(script, 0).words == ["pass"]
        assert custom_mac_of(rig, 0) == mac(1)
        for board in (1, 2):
            outcome = line.run(script, board, more=("--batch", str(board)))
            assert outcome.words == ["refused"], said(outcome)
        assert line.run(bits_of(str(MAC), 200), 2, name="bits").words == ["refused"]


def test_a_field_is_compared_by_its_name_over_kinds_of_chips_and_in_blocks_that_take_keys(
    tmp_path: Path,
) -> None:
    with start_rig("esp32:2,esp32c3:1", tmp_path=tmp_path) as rig:
        line = Line(tmp_path, rig)
        script = burn("burn_efuse SERIAL 1001")
        assert line.run(script, 0, 2).words == ["refused"] * 2
        assert line.run(script, 0).words == ["pass"]
        assert line.run(script, 2).words == ["refused"]
        line.table("UNIT, 3, 64, 40, Another name and length\n", "other.csv")
        outcome = line.run(burn("burn_efuse UNIT 0x00000003e9"), 1, name="again")
        assert outcome.words == ["refused"], said(outcome)
        verified = parburn("ledger", "verify", state=line.folder / "state")
        assert verified.exit == 0, said(verified)
