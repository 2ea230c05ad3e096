"""Names and texts as people read them."""

from __future__ import annotations

import pytest

from parburn.events import PlannedBlock
from parburn.ui.plans import LATER, QUESTION, plan_lines, question_lines
from parburn.ui.words import one_line, planned_lines, safe_lines, short_ports, short_slots
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


def test_a_plan_in_words() -> None:
    ends = PlannedBlock("BLOCK0", 1, (), locks=True, ends_link="DIS_DOWNLOAD_MODE")
    assert planned_lines([ends]) == [
        "BLOCK0: 1 bit  [locks, burned last]  [ends the link: DIS_DOWNLOAD_MODE]"
    ]
    assert planned_lines([]) == ["nothing to burn"]


class Plan:
    def __init__(
        self, port: str, index: int, blocks: tuple[PlannedBlock, ...], chip: str = "esp32c3"
    ) -> None:
        self.port, self.index, self.blocks, self.chip = port, index, blocks, chip
        self.mac = f"7c:df:a1:00:00:0{index}"
        self.taken = ""
        self.unique_values = {"CUSTOM_MAC": f"aa:bb:cc:00:00:0{index}"}


def test_plans_of_one_shape_are_shown_once_with_all_their_boards() -> None:
    fewer = (BLOCKS[0]._replace(bits=129), BLOCKS[1])
    plans = [Plan("p1", 1, BLOCKS), Plan("p2", 2, BLOCKS[:1]), Plan("p3", 3, fewer)]
    assert plan_lines(plans) == [
        "2 boards esp32c3:",
        "    BLOCK_KEY0: 129 to 131 bits  BLOCK_KEY0",
        "    BLOCK0: 3 bits  KEY_PURPOSE_0, WR_DIS  [locks, burned last]",
        "  p1 7c:df:a1:00:00:01 index 1 CUSTOM_MAC=aa:bb:cc:00:00:01",
        "  p3 7c:df:a1:00:00:03 index 3 CUSTOM_MAC=aa:bb:cc:00:00:03",
        "1 board esp32c3:",
        "    BLOCK_KEY0: 131 bits  BLOCK_KEY0",
        "  p2 7c:df:a1:00:00:02 index 2 CUSTOM_MAC=aa:bb:cc:00:00:02",
    ]


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
    assert question_lines(plans, simulated=False, one_at_a_time=True)[-1] == LATER
    assert LATER not in question_lines(plans, simulated=False)
