"""What the commands do on a board of every kind: what they show, what they refuse, what they mend.

One run of the command serves all boards of a story; its script prints marks, by which the answers are told
apart. The bits are read from the boards' files.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest

from parburn.chips.model import ControllerKind, FieldCategory
from parburn.coding import CodingScheme
from parburn.sim.factory import Product
from parburn.sim.token_board import read_token
from tests.command import Outcome, parburn
from tests.every_kind import KINDS, NAMES, Boards, Kind, every_kind

ALL = range(len(KINDS))
SHOW = """
name = bytes(esp.read_mac()).hex()
for line in (
    "adc_info", "get_custom_mac", "check_error", "dump", "dump --format token",
    "summary", "summary --active", "summary --format json", "summary --active --format json",
    "summary MAC WR_DIS --format json", "summary MAC --format value_only",
):
    print("#### " + line)
    espefuse(esp, efuses, args, line)
espefuse(esp, efuses, args, f"dump --format joint --file_name {name}.bin")
espefuse(esp, efuses, args, f"dump --format split --file-name {name}_.bin")
espefuse(esp, efuses, args, f"dump --format token --file_name {name}.txt")
espefuse(esp, efuses, args, f"summary --format json --file {name}.json")
"""
BURN = """
mac = "02:00:00:00:01:%02x" % args.index
for line in (
    "burn_custom_mac 01:00:00:00:00:01", "set_flash_voltage 5V", "set_flash_voltage 3.3V",
    f"burn_custom_mac {mac}", "burn", "get_custom_mac", "summary CUSTOM_MAC --format value_only",
):
    print("#### " + line.replace(mac, "MAC"))
    try:
        efuses.burn_all() if line == "burn" else espefuse(esp, efuses, args, line)
    except esptool.FatalError as error:
        print("refused:", error)
"""
BURN_ANOTHER = """
espefuse(esp, efuses, args, "burn_custom_mac 02:00:00:00:03:%02x" % args.index)
"""

Said = Mapping[str, str]


def said_by(run: Outcome, boards: Boards) -> list[Said]:
    """What each board's script printed, by the command that it belongs to."""
    text = dict.fromkeys(boards.ports, "")
    for event in run.events:
        if event["event"] == "output":
            text[event["port"]] += event["text"]
    parts = [[part.partition("\n") for part in text[port].split("#### ")[1:]] for port in boards.ports]
    return [{line: answer for line, _, answer in board} for board in parts]


def run_script(boards: Boards, folder: Path, source: str) -> Outcome:
    (folder / "script.py").write_text(source)
    return parburn(
        "--ports", *boards.ports, "--json", "--show-output", "--do-not-confirm", "--scripts", "script.py",
        state=folder / "ledger",
    )  # fmt: skip


@dataclass(frozen=True)
class Story:
    """What the boards said, their bits before and after, and the folder with the files that were written."""

    said: list[Said]
    before: list[dict[int, int]]
    after: list[dict[int, int]]
    macs: list[str]
    folder: Path
    refusals: list[str]


def story_of(folder: Path, source: str, refused: str = "") -> Story:
    """Run a script on all boards, then one that each must refuse."""
    with pytest.MonkeyPatch.context() as patch, every_kind(folder, change=calibrated) as boards:
        patch.chdir(folder)
        before = [boards.visible_bits(board) for board in ALL]
        run = run_script(boards, folder, source)
        assert run.words == ["pass"] * len(KINDS), [one["error"] for one in run.results]
        after = [boards.visible_bits(board) for board in ALL]
        refusals = []
        if refused:
            again = run_script(boards, folder, refused)
            by_port = {one["port"]: one for one in again.results}
            refusals = [f"{by_port[port]['result']}: {by_port[port]['error']}" for port in boards.ports]
            assert after == [boards.visible_bits(board) for board in ALL]
        macs = [boards.mac(board) for board in ALL]
        return Story(said_by(run, boards), before, after, macs, folder, refusals)


def calibrated(kind: Kind, made: Product) -> None:
    """Values in all calibration fields, and whatever says that they are valid."""
    for one in kind.chip.fields:
        if one.category == FieldCategory.CALIBRATION and one.start is not None:
            made.memory.preset_field(one.name, 1 << one.bits - 1 | 1)
    if kind.has("BLK_VERSION_MINOR"):
        made.memory.preset_field("BLK_VERSION_MINOR", 2)


@pytest.fixture(scope="module")
def shown(tmp_path_factory: pytest.TempPathFactory) -> Story:
    return story_of(tmp_path_factory.mktemp("shown"), SHOW)


@pytest.mark.parametrize("board", ALL, ids=NAMES)
def test_showing_burns_nothing(shown: Story, board: int) -> None:
    assert shown.after[board] == shown.before[board]
    assert "No errors detected" in shown.said[board]["check_error"]


@pytest.mark.parametrize("board", ALL, ids=NAMES)
def test_adc_info_shows_every_calibration_value(shown: Story, board: int) -> None:
    said = shown.said[board]
    rows = json.loads(said["summary --format json"])
    values = {name: row["value"] for name, row in rows.items() if row["category"] == "calibration"}
    lines = dict(line.split(" = ") for line in said["adc_info"].splitlines() if " = " in line)
    assert lines == {name: str(value) for name, value in values.items()}
    if not values:
        assert "holds no calibration values" in said["adc_info"]
    assert ("Block version: " in said["adc_info"]) is KINDS[board].has("BLK_VERSION_MINOR")


@pytest.mark.parametrize("board", ALL, ids=NAMES)
def test_dump_in_all_forms(shown: Story, board: int) -> None:
    chip, bits = KINDS[board].chip, shown.before[board]
    name = shown.macs[board].replace(":", "")
    blocks = [bits[block.index].to_bytes(4 * block.words, "little") for block in chip.blocks]
    assert (shown.folder / f"{name}.bin").read_bytes() == b"".join(blocks)
    assert [(shown.folder / f"{name}_{n}.bin").read_bytes() for n in range(len(blocks))] == blocks
    text = (shown.folder / f"{name}.txt").read_text()
    token = read_token(text)
    known = any(chip.revision_fields)  # a chip without them has no revision
    assert (token.chip.name, token.revision) == (chip.name, KINDS[board].revision if known else (0, 0))
    assert dict(enumerate(token.blocks)) == bits
    assert text.strip() in shown.said[board]["dump --format token"]
    lines = shown.said[board]["dump"].splitlines()
    assert [line.split()[0] for line in lines] == [block.name for block in chip.blocks]
    for line, block in zip(lines, chip.blocks, strict=True):
        words = [int(word, 16) for word in line.partition("dump: ")[2].split()]
        assert sum(word << 32 * n for n, word in enumerate(words)) == bits[block.index]


@pytest.mark.parametrize("board", ALL, ids=NAMES)
def test_summary_in_all_forms(shown: Story, board: int) -> None:
    said, name = shown.said[board], shown.macs[board].replace(":", "")
    rows = json.loads(said["summary --format json"])
    assert json.loads((shown.folder / f"{name}.json").read_text()) == rows
    assert set(json.loads(said["summary MAC WR_DIS --format json"])) == {"MAC", "WR_DIS"}
    assert said["summary MAC --format value_only"].startswith(shown.macs[board])
    active = json.loads(said["summary --active --format json"])
    zero = {"0x" + "0" * n for n in range(1, 65)}
    assert active == {one: row for one, row in rows.items() if row["raw_value"] not in zero}
    assert 0 < len(active) < len(rows)
    for form, names in (("summary", rows), ("summary --active", active)):
        listed = {
            line.split()[0].removesuffix("[error]") for line in said[form].splitlines() if "(BLOCK" in line
        }
        assert listed == set(names)


@pytest.fixture(scope="module")
def burned(tmp_path_factory: pytest.TempPathFactory) -> Story:
    return story_of(tmp_path_factory.mktemp("burned"), BURN, BURN_ANOTHER)


@pytest.mark.parametrize("board", ALL, ids=NAMES)
def test_the_custom_mac_is_burned_once_and_shown(burned: Story, board: int) -> None:
    kind, said = KINDS[board], burned.said[board]
    value = said["summary CUSTOM_MAC --format value_only"].strip()
    mac = value[:17]
    assert mac.startswith("02:00:00:00:01:")
    assert said["get_custom_mac"].strip().endswith(value)
    assert "refused: " in said["burn_custom_mac 01:00:00:00:00:01"]
    assert "refused: " not in said["burn_custom_mac MAC"]
    assert burned.refusals[board].startswith(("refused: ", "failed: "))
    field = kind.chip.field_by_name["CUSTOM_MAC"][0]
    assert field.start is not None
    bits = burned.after[board]
    assert (bits[field.block] >> field.start & (1 << 48) - 1).to_bytes(6, "little").hex(":") == mac
    if kind.chip.controller is ControllerKind.CLASSIC:
        assert "(CRC 0x" in value
        assert "OK)" in value
        assert "version 1" in said["get_custom_mac"]
        version = kind.chip.field_by_name["MAC_VERSION"][0]
        assert bits[version.block] & version.mask == 1 << (version.start or 0)
    if kind.has("CUSTOM_MAC_USED"):
        used = kind.chip.field_by_name["CUSTOM_MAC_USED"][0]
        assert bits[used.block] & used.mask


@pytest.mark.parametrize("board", ALL, ids=NAMES)
def test_the_flash_voltage_is_set_where_there_is_one(burned: Story, board: int) -> None:
    chip, said = KINDS[board].chip, burned.said[board]
    assert "refused: " in said["set_flash_voltage 5V"]
    fields = [one for one in chip.fields if one.name.startswith(("VDD_SPI_", "XPD_SDIO_"))]
    names = {one.name for one in fields if burned.after[board][0] & one.mask}
    if not chip.flash_voltage:
        assert said["set_flash_voltage 3.3V"] == (
            f"refused: {chip.title} has no eFuses for the flash voltage\n"
        )
        assert not names
    else:
        assert "flash voltage 3.3V" in said["set_flash_voltage 3.3V"]
        assert {name[name.rindex("_") :] for name in names} >= {"_FORCE", "_TIEH"}


# Coding errors ----------------------------------------------------------------------------------------


def worn(kind: Kind, made: Product) -> None:
    """Two bits of a written block, and one of the four copies of a bit of BLOCK0, have not burned well."""
    memory = made.memory
    if memory.pgm:
        memory.preset(3, (1 << 256) - 1)
        memory.cells[3] &= ~(1 << 77 | 1 << 180)
        memory.preset(0, 1 << free_bit_of_block0(kind))
        memory.cells[0] &= ~(1 << free_bit_of_block0(kind))


def free_bit_of_block0(kind: Kind) -> int:
    """A bit that the error registers know, of a field that does nothing here."""
    field = kind.chip.field_by_name["UART_PRINT_CONTROL"][0]
    assert field.start is not None
    return field.start


def test_coding_errors_are_told_and_mended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    coded = [board for board in ALL if KINDS[board].chip.coding is CodingScheme.RS]
    with every_kind(tmp_path, change=worn) as boards:

        def run(text: str) -> Outcome:
            ports = [boards.ports[board] for board in coded]
            return parburn(
                "--ports", *ports, "--json", "--do-not-confirm", "--commands", text, state=tmp_path / "l"
            )  # fmt: skip

        found = run("check_error")
        assert found.words == ["failed"] * len(coded)
        assert all("errors" in one["error"] for one in found.results)
        told = {event["port"]: event["text"] for event in found.events if event["event"] == "output"}
        for board in coded:
            assert "BLOCK0: UART_PRINT_CONTROL" in told[boards.ports[board]]
            assert f"{KINDS[board].chip.blocks[3].name}: 2 errors, fail 0" in told[boards.ports[board]]
        mended = run("check-error --recovery")
        assert mended.words == ["pass"] * len(coded), [one["error"] for one in mended.results]
        assert run("check_error").exit == 0
        for board in coded:
            assert boards.programs(board) == 2
            assert boards.true_bits(board)[3] == (1 << 256) - 1
            assert boards.visible_bits(board)[0] >> free_bit_of_block0(KINDS[board]) & 1
