"""Names and texts as people read them."""

from __future__ import annotations

import pytest

from parburn.events import PlannedBlock
from parburn.natural_order import natural_key
from parburn.ui.plans import LATER, QUESTION, plan_lines, question_lines
from parburn.ui.words import (
    fold,
    name_ranges,
    one_line,
    planned_lines,
    ranges,
    safe_lines,
    short_ports,
    short_slots,
)
from tests.ui.story import BLOCKS


@pytest.mark.parametrize(
    ("names", "short"),
    [
        (["/dev/ttyUSB0", "/dev/ttyUSB1"], ["ttyUSB0", "ttyUSB1"]),
        (["/dev/ttyUSB0"], ["ttyUSB0"]),
        (["/tmp/a/ttyUSB0", "/tmp/b/ttyUSB0"], ["a/ttyUSB0", "b/ttyUSB0"]),
        (["socket://h:1", "/dev/ttyUSB0"], ["socket://h:1", "/dev/ttyUSB0"]),
        (["socket://h:1", "socket://h:2"], ["h:1", "h:2"]),
        (["COM1"], ["COM1"]),
        ([], []),
    ],
)
def test_ports_lose_the_folder_they_share(names: list[str], short: list[str]) -> None:
    assert list(short_ports(names).values()) == short


def test_slots_lose_what_they_share() -> None:
    slots = ["pci-0000:00:14.0-usb-0:1.2:1.0-port0", "pci-0000:00:14.0-usb-0:1.3:1.0-port0"]
    assert list(short_slots(slots).values()) == ["0:1.2:1.0-port0", "0:1.3:1.0-port0"]
    assert short_slots(slots[:1]) == {slots[0]: slots[0]}


def test_control_characters_are_taken_out() -> None:
    assert one_line("a\nb\x1b[31m\tc\x9b2J") == "a b[31m c2J"
    assert safe_lines("a\rb\r\nc\x1b[2J\td\n") == ["a", "b", "c[2J    d"]


def test_numbers_and_names_that_count_up_are_ranges() -> None:
    assert ranges([3, 1, 2, 9, 11, 10]) == "1-3, 9-11"
    assert ranges([]) == ""
    assert (
        name_ranges(["ttyUSB10", "ttyUSB2", "ttyUSB1", "ttyACM0", "h:1"])
        == "h:1, ttyACM0, ttyUSB1-2, ttyUSB10"
    )
    assert name_ranges(["board", "b01", "b02", "7"]) == "7, b01-2, board"
    assert sorted(["0:1.10", "0:1.9", "0:1.2:1.0"], key=natural_key) == ["0:1.2:1.0", "0:1.9", "0:1.10"]


def test_text_is_folded_between_words_behind_its_title() -> None:
    assert fold("who: ", "a board that is alone", 15) == [
        "who: a board that is",
        "     alone",
    ]  # 20 cells at least
    assert fold("who: ", "one two three four five six", 28) == ["who: one two three four five", "     six"]
    assert fold("", "/a/path/that-has-no-words-and-is-left-whole x", 20) == [
        "/a/path/that-has-no-words-and-is-left-whole", "x"
    ]  # fmt: skip
    assert fold("x", "y " * 100, None) == ["x" + "y " * 100]


def test_a_plan_in_words() -> None:
    ends = PlannedBlock("BLOCK0", 1, (), locks=True, ends_link="DIS_DOWNLOAD_MODE")
    assert planned_lines([ends]) == ["BLOCK0: 1 bit [locks, burned last] [ends the link: DIS_DOWNLOAD_MODE]"]
    assert planned_lines([]) == ["nothing to burn"]
    valued = PlannedBlock("BLOCK3", 9, ("MAC",), locks=False, values=(("MAC", "02:00"), ("DATA", "")))
    assert planned_lines([valued]) == ["BLOCK3: MAC = 02:00, DATA"]


class Plan:
    def __init__(
        self, port: str, index: int | None, blocks: tuple[PlannedBlock, ...], chip: str = "ESP32-C3"
    ) -> None:
        self.port, self.index, self.blocks, self.chip = port, index, blocks, chip
        self.mac = f"7c:df:a1:00:00:0{index}"
        self.taken = ""
        self.unique_values = {"CUSTOM_MAC": f"aa:bb:cc:00:00:0{index}"}


def of_values(*, chip: str, index: int, lock: bool = False, key: bool = False) -> Plan:
    """A plan as the efuses describe it: a MAC of its own, a flag, and perhaps a lock and a key."""
    mac = PlannedBlock("BLOCK3", 9 + index, ("CUSTOM_MAC",), False, "", (("CUSTOM_MAC", f"02:0{index}"),))
    flag = PlannedBlock("BLOCK0", 1, ("DIS_PAD_JTAG",), False, "", (("DIS_PAD_JTAG", "1"),))
    locks = PlannedBlock("BLOCK0 locks", 1, ("WR_DIS",), True, "", (("WR_DIS", "0x40"),))
    keys = PlannedBlock("BLOCK_KEY0", 128, ("BLOCK_KEY0",), False, "", (("BLOCK_KEY0", "(key)"),))
    return Plan(f"/dev/ttyUSB{index}", index, (*[keys] * key, mac, flag, *[locks] * lock), chip)


def test_plans_of_one_shape_are_shown_once_with_all_their_boards() -> None:
    fewer = (BLOCKS[0]._replace(bits=129), BLOCKS[1])
    plans = [Plan("p1", 1, BLOCKS), Plan("p2", 2, BLOCKS[:1]), Plan("p3", 3, fewer)]
    assert plan_lines(plans) == [
        "2 boards ESP32-C3: p1, p3",
        "    BLOCK_KEY0: 129 to 131 bits, BLOCK_KEY0",
        "    BLOCK0: 3 bits, KEY_PURPOSE_0, WR_DIS [locks, burned last]",
        "  p1 index 1 7c:df:a1:00:00:01 CUSTOM_MAC=aa:bb:cc:00:00:01",
        "  p3 index 3 7c:df:a1:00:00:03 CUSTOM_MAC=aa:bb:cc:00:00:03",
        "1 board ESP32-C3: p2",
        "    BLOCK_KEY0: 131 bits, BLOCK_KEY0",
        "  p2 index 2 7c:df:a1:00:00:02 CUSTOM_MAC=aa:bb:cc:00:00:02",
    ]


def test_fields_and_values_stand_in_a_plan() -> None:
    plans = [of_values(chip="ESP32", index=1), of_values(chip="ESP32", index=2)]
    assert plan_lines(plans)[1:3] == [
        "    BLOCK3: CUSTOM_MAC (own value each)",
        "    BLOCK0: DIS_PAD_JTAG = 1",
    ]
    assert plan_lines(plans[:1])[1] == "    BLOCK3: CUSTOM_MAC = 02:01"


def test_the_last_lines_before_the_question_are_the_sum_of_all() -> None:
    plans = [of_values(chip="ESP32-C3" if n < 5 else "ESP32", index=n) for n in range(1, 9)]
    lines = question_lines(plans, simulated=False, width=80)
    assert lines[-2:] == [
        "8 boards: 4 ESP32-C3, 4 ESP32, index 1-8, CUSTOM_MAC (own value each),",
        "DIS_PAD_JTAG = 1, no locks, no keys",
    ]


def test_the_sum_names_locks_keys_and_values_of_some_boards() -> None:
    plans = [of_values(chip="ESP32", index=1, lock=True, key=True), of_values(chip="ESP32", index=2)]
    assert question_lines(plans, simulated=False)[-1] == (
        "2 boards: 2 ESP32, index 1-2, CUSTOM_MAC (own value each), DIS_PAD_JTAG = 1, LOCKS: WR_DIS, "
        "KEYS: BLOCK_KEY0"
    )
    alone = [plans[1], Plan("p3", None, plans[1].blocks[1:])]
    assert (
        "index 2, CUSTOM_MAC = 02:02 (on 1), DIS_PAD_JTAG = 1, no locks"
        in question_lines(alone, simulated=False)[-1]
    )


def test_the_question_says_irreversible_later_burns_and_simulated() -> None:
    text = "\n".join(question_lines([Plan("p1", 1, BLOCKS)], simulated=True))
    assert "IRREVERSIBLE" in text
    assert "later burns" in text
    assert "simulated" in text
    assert "BURN" in QUESTION
    assert "simulated" not in "\n".join(question_lines([Plan("p1", 1, BLOCKS)], simulated=False))


def test_the_question_says_once_how_values_are_taken() -> None:
    plans = [Plan("p1", 1, BLOCKS), Plan("p2", 2, BLOCKS)]
    for plan in plans:
        plan.taken = "Values: WEEK undeclared."
    lines = question_lines(plans, simulated=False)
    assert lines.count("Values: WEEK undeclared.") == 1


def test_one_at_a_time_the_question_says_what_else_the_answer_covers() -> None:
    plans = [Plan("p1", 1, BLOCKS)]
    assert LATER in question_lines(plans, simulated=False, one_at_a_time=True)
    assert LATER not in question_lines(plans, simulated=False)
