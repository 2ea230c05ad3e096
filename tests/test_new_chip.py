"""Adding a chip is data: a chip that exists nowhere, three files in a folder, is simulated, found and burned.

It has another number of blocks, other addresses, other names of blocks, purposes and fields than any real
chip. $PARBURN_CHIPS names the folder; `parburn/chips/data` is one of the same form.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from parburn.chips import index, registry
from parburn.chips.registry import chip_named, chip_names, find_chip
from parburn.errors import ChipDataError
from tests.command import Outcome, parburn
from tests.rig import start_rig

INDEX = """\
# name, chip ids, magic values
nova7,777,
"""
ROW = """
title = "Nova-7"
controller = "pgm"
coding = "rs"
chip_ids = [777]
magics = []
efuse_base = 0x70003000
registers.PGM_DATA0 = 0x100
registers.CHECK_VALUE0 = 0x120
registers.CONF = 0x200
registers.STATUS = 0x204
registers.CMD = 0x208
registers.DATE = 0x20C
blocks = [
  ["BLOCK0", "", 0x00, 4, -1, [], ""],
  ["BLOCK_FACTORY", "BLOCK1", 0x10, 8, 20, [], ""],
  ["BLOCK_SECRET", "BLOCK2", 0x30, 8, 21, [0], "SECRET_USE"],
  ["BLOCK_OPEN", "BLOCK3 OPEN", 0x50, 8, 22, [1], "OPEN_USE"],
  ["BLOCK_OWNER", "BLOCK4", 0x70, 8, 23, [], ""],
]
block_errors = [[1, 0xB0, 0, 3], [2, 0xB0, 4, 7], [3, 0xB0, 8, 11], [4, 0xB0, 12, 15]]
block0_errors = [0xA0, 0xA4, 0xA8]
error_registers = [0xA0, 0xA4, 0xA8, 0xB0]
key_purposes = ["USER 0", "FLASH_KEY 2 reversed read-protect", "BOOT_DIGEST 5 digest"]
burned_last = ["WR_DIS", "RD_DIS", "LINK_OFF"]
link_ends = { LINK_OFF = "no-download" }
rules = []
revision_fields = ["STEPPING", "MASK_SET"]
dummy_register = 0x70000010
crystal = { fixed_mhz = 48 }
features = ["Radio", "Two Cores"]

[conditions]
trimmed = { field = "TRIM_STATE", at_least = 1 }

[timing]
48 = [[0x210, 0x5A, 0xFF], [0x214, 0x1200, 0xFF00]]

[[overlay]]
from = 200
key_purposes = ["USER 0", "FLASH_KEY 2 reversed read-protect", "BOOT_DIGEST 5 digest", "SEAL 6 read-protect"]
more_fields = "nova7_v2.csv"
"""
FIELDS = """\
# name,block,bit_start,bit_count,description,wr_dis,rd_dis,codec,category,shown_when,meanings
WR_DIS,0,0,32,Write protection
RD_DIS,0,32,2,Read protection,0
LINK_OFF,0,34,1,The chip never talks again,1,,,security
BROWNOUT_LEVEL,0,36,3,[BOR] Level of the brown-out detector,2,,,config,,0=low|5=high
BOOT_COUNT,0,40,4,Each bit is a step,3,,bitcount,security
SECRET_USE,0,44,3,What BLOCK_SECRET is for,4,,keypurpose,security
OPEN_USE,0,48,3,What BLOCK_OPEN is for,5,,keypurpose,security
TRIM_STATE,0,52,1,The trim values hold,6,,,calibration
MAC,1,0,48,Factory MAC address,20,,mac,MAC
STEPPING,1,64,2,Major revision,20,,,identity
MASK_SET,1,66,4,Minor revision,20,,,identity
TRIM,1,80,9,Trim of the converter,20,,,calibration,trimmed
BLOCK_SECRET,2,0,256,[SECRET] Key,21,0,keyblock,security
BLOCK_OPEN,3,0,256,Key,22,1,keyblock,security
CUSTOM_MAC,4,8,48,MAC address of the product,23,,custom_mac,MAC
BLOCK_OWNER,4,0,256,[OWNER_DATA] Free for the product,23
"""
LATER_FIELDS = "SEALED,0,60,1,The case is closed,7,,,security\n"
KEY, DIGEST = bytes(range(32)), bytes(range(0x40, 0x60))
SCRIPT = """
espefuse(esp, efuses, args, f"burn_custom_mac 02:00:00:00:00:{args.index:02x}")
espefuse(esp, efuses, args, "burn_key BLOCK_SECRET key.bin FLASH_KEY OPEN digest.bin BOOT_DIGEST")
espefuse(esp, efuses, args, "burn_efuse BOR 5 SERIAL " + str(0x1233 + args.index))
espefuse(esp, efuses, args, "burn_efuse BOOT_COUNT")
espefuse.burn_bit("BLOCK_OWNER", [200])
efuses.burn_all()
if efuses["BLOCK_SECRET"].is_readable() or efuses["BLOCK_OPEN"].is_writeable():
    raise esptool.FatalError("BLOCK_SECRET can be read, or BLOCK_OPEN written")
print(esp.CHIP_NAME, esp.get_chip_revision(), efuses["BROWNOUT_LEVEL"].get_meaning())
"""


@pytest.fixture
def chips(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder with the chip, which this process and its children know until the test ends."""
    folder = tmp_path / "chips"
    folder.mkdir()
    (folder / "index.csv").write_text(INDEX)
    (folder / "nova7.toml").write_text(ROW)
    (folder / "nova7.csv").write_text(FIELDS)
    (folder / "nova7_v2.csv").write_text(LATER_FIELDS)
    monkeypatch.setenv(index.MORE_CHIPS, str(folder))
    _forget()
    yield folder
    _forget()


def _forget() -> None:
    for cached in (index.entries, registry._read_row, registry._build):
        cached.cache_clear()


def _burn(rig_ports: list[str], folder: Path, *more: object) -> Outcome:
    (folder / "key.bin").write_bytes(KEY)
    (folder / "digest.bin").write_bytes(DIGEST)
    (folder / "burn.py").write_text(SCRIPT)
    (folder / "own.csv").write_text("SERIAL, 4, 64, 32, Number of the unit\n")
    return parburn(
        "--ports", *rig_ports, "--json", "--show-output", "--do-not-confirm",
        "--extend-efuse-table", "nova7=own.csv", "--scripts", "burn.py", *more, state=folder / "ledger",
    )  # fmt: skip


def test_a_new_chip_is_found_and_burned(chips: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with start_rig("nova7:2,esp32c3:1", tmp_path=tmp_path) as rig:
        burned = _burn(rig.ports[:2], tmp_path)
        assert burned.words == ["pass", "pass"], [one["error"] for one in burned.results]
        assert [one["chip"] for one in burned.results] == ["nova7", "nova7"]
        said = "".join(event["text"] for event in burned.events if event["event"] == "output")
        assert said.count("Nova-7 2 high") == 2
        for board in range(2):
            mac = int.from_bytes(bytes((2, 0, 0, 0, 0, board + 1)), "little")
            assert rig.bits(board, 4) == mac << 8 | (0x1234 + board) << 64 | 1 << 200
            assert rig.bits(board, 2) == int.from_bytes(KEY, "big")
            assert rig.bits(board, 3) == int.from_bytes(DIGEST, "little")
            protections = 1 << 21 | 1 << 22 | 1 << 4 | 1 << 5
            fields = 1 << 32 | 5 << 36 | 1 << 40 | 2 << 44 | 5 << 48
            assert rig.bits(board, 0) == protections | fields
            assert rig.state(board)["crystal_mhz"] == 48
            assert all(not burn["note"] for burn in rig.state(board)["burns"])  # the right timing
        other = parburn("--ports", rig.ports[2], "--chip", "nova7", "--token", "--json", state=tmp_path / "l")
        assert other.words == ["refused"]  # the other chip is still what it was


def test_commands_and_refusals_follow_its_data(
    chips: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "key.bin").write_bytes(KEY)
    with start_rig("nova7", 1, tmp_path, settings=["TRIM_STATE=1", "TRIM=300"]) as rig:

        def run(text: str) -> tuple[str, str, str]:
            done = parburn(
                "--ports", *rig.ports, "--json", "--do-not-confirm", "--commands", text, state=tmp_path / "l"
            )  # fmt: skip
            said = "".join(event["text"] for event in done.events if event["event"] == "output")
            return done.words[0], done.results[0]["error"], said

        shown = json.loads(run("summary --format json")[2])
        assert shown["TRIM"]["value"] == 300
        assert shown["MAC"]["value"].startswith(rig.mac(0))
        assert "TRIM = 300" in run("adc_info")[2]
        word, error, _ = run("set_flash_voltage 3.3V")
        assert (word, "Nova-7" in error) == ("failed", True)
        word, error, _ = run("burn_key BLOCK_SECRET key.bin SEAL")
        assert (word, "no key purpose 'SEAL'" in error) == ("failed", True)
        assert rig.programs(0) == 0
        word, error, _ = run("burn_key BLOCK_FACTORY key.bin USER")
        assert "no key block" in error


def test_its_later_revision_has_what_the_overlay_says(
    chips: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "key.bin").write_bytes(KEY)
    assert "SEALED" not in chip_named("Nova-7", revision=100).field_by_name
    with start_rig("nova7", 1, tmp_path, settings=["revision=2.1"]) as rig:
        done = parburn(
            "--ports", *rig.ports, "--json", "--do-not-confirm",
            "--commands", "burn_key BLOCK_SECRET key.bin SEAL; burn_efuse SEALED 1", state=tmp_path / "l",
        )  # fmt: skip
        assert done.words == ["pass"], done.results
        assert rig.bits(0, 0) >> 60 & 1
        assert rig.bits(0, 2) == int.from_bytes(KEY, "little")


def test_it_stands_beside_the_known_chips(chips: Path) -> None:
    assert chip_names()[-1] == "nova7"
    assert len(chip_names()) > 14
    found = find_chip(chip_id=777)
    assert found is not None
    assert found.title == "Nova-7"


@pytest.mark.parametrize(
    ("file", "old", "new", "words"),
    [
        ("index.csv", "nova7,777,", "esp32c3,777,", "index.csv:2:1: esp32c3: this chip is known already"),
        ("index.csv", "777", "5", "index.csv:2:1: nova7: esp32c3, which answers the same, is known already"),
        ("index.csv", "777", "seven", "index.csv:2:1: cannot read this line"),
        ("nova7.toml", "efuse_base", "fuse_base", "nova7.toml: Object contains unknown field `fuse_base`"),
        ("nova7.toml", "rules = []", "colour = 'red'", "nova7.toml: Object contains unknown field `colour`"),
        ("nova7.toml", "rules = []", "rules = ", "nova7.toml: this is not TOML"),
        ("nova7.toml", "48 = [[0x210", "40 = [[0x210", "every_crystal_has_timing: there is no timing for 48"),
        ("nova7.csv", "BOOT_COUNT,0,40", "BOOT_COUNT,0,38", "fields_are_apart_or_inside"),
        (
            "nova7.csv",
            "BOOT_COUNT,0,40",
            "BOOT_COUNT,0,forty",
            "nova7.csv:6:1: cannot read this field: bit_start must be",
        ),
        ("nova7.csv", "TRIM,1,80,9", "TRIM,9,80,9", "TRIM: there is no block 9"),
    ],
)
def test_wrong_data_are_refused_where_they_are_wrong(
    chips: Path, file: str, old: str, new: str, words: str
) -> None:
    text = (chips / file).read_text()
    assert old in text
    (chips / file).write_text(text.replace(old, new))
    with pytest.raises(ChipDataError) as caught:
        chip_named("nova7")
    assert words in str(caught.value)


def test_a_folder_that_is_not_there_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, chips: Path
) -> None:
    port = tmp_path / "ttyUSB0"
    port.touch()
    words = ("--ports", port, "--chip", "nova7", "--commands", "summary")
    done = parburn(*words, state=tmp_path / "l", PARBURN_CHIPS=str(tmp_path / "nowhere"))
    assert done.exit == 2
    assert str(tmp_path / "nowhere") in done.stderr
    assert "PARBURN_CHIPS" in done.stderr
    assert "Traceback" not in done.stderr
