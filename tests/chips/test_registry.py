"""Names, detection, overlays, the index against the rows, and what loading a chip costs."""

from __future__ import annotations

import subprocess
import sys
import time
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import parburn.chips
from parburn.chips import registry
from parburn.chips.registry import build_chip, chip_named, chip_names, find_chip
from parburn.chips.shape import check_row
from parburn.errors import ChipDataError, UnknownName

DATA = Path(parburn.chips.__file__).parent / "data"
LOAD_MS = 8.0  # the aim is 2 ms; the bound leaves room for a busy machine


def row_of(name: str) -> dict[str, Any]:
    return tomllib.loads((DATA / f"{name}.toml").read_text())


@pytest.mark.parametrize("written", ["esp32s3", "ESP32-S3", "esp32-s3", "ESP32S3", "esp32_s3"])
def test_a_chip_is_found_however_it_is_written(written: str) -> None:
    assert chip_named(written).title == "ESP32-S3"
    assert chip_named(written) is chip_named("esp32s3")


def test_an_unknown_name_names_the_nearest() -> None:
    with pytest.raises(UnknownName, match="esp32s33") as caught:
        chip_named("esp32s33")
    assert "esp32s3" in caught.value.hint


@pytest.mark.parametrize("name", chip_names())
def test_the_index_agrees_with_the_rows(name: str) -> None:
    chip = chip_named(name)
    assert chip.name == name
    assert chip.title.lower().replace("-", "") == name
    for chip_id in chip.chip_ids:
        assert find_chip(chip_id=chip_id) is chip
    for magic in chip.magics:
        assert find_chip(magic=magic) is chip
    assert chip.chip_ids or chip.magics


def test_an_unknown_chip_is_none() -> None:
    assert find_chip(chip_id=0xFFFF) is None
    assert find_chip(magic=0xFFF0C101) is None
    assert find_chip() is None


def test_every_data_file_belongs_to_a_chip() -> None:
    known = {"index.csv"}
    for name in chip_names():
        row = row_of(name)
        known |= {f"{name}.toml", row.get("fields", f"{name}.csv")}
        for overlay in row.get("overlay", ()):
            known |= {overlay[key] for key in ("fields", "more_fields") if key in overlay}
    assert {path.name for path in DATA.iterdir()} == known


def test_an_overlay_holds_for_its_revisions_only() -> None:
    old, new = chip_named("esp32c3", revision=100), chip_named("esp32c3", revision=101)
    assert old is chip_named("esp32c3")
    assert old.usb_jtag is not None
    assert new.usb_jtag is not None
    assert (old.usb_jtag.buf_no_address, new.usb_jtag.buf_no_address) == (0x3FCDF07C, 0x3FCDF078)
    assert new.fields == old.fields


@pytest.mark.parametrize("name", chip_names())
def test_our_own_rows_have_the_right_shape(name: str) -> None:
    check_row(row_of(name))  # which a run leaves out
    with pytest.raises(ValueError, match="blocks"):
        check_row(row_of(name) | {"blocks": []})


def test_the_chips_that_we_know_cost_no_import_of_what_checks_others() -> None:
    code = (
        "import sys\nfrom parburn.chips.registry import chip_named, chip_names\n"
        "[chip_named(name) for name in chip_names()]\nprint('msgspec' in sys.modules)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60
    )
    assert done.stdout.split() == ["False"]


@pytest.mark.parametrize(
    ("key", "value"),
    [("colour", "red"), ("key_purposes", ["USER 0 secret"]), ("blocks", [["BLOCK0"]]), ("title", None)],
)
def test_a_row_with_a_mistake_is_refused(key: str, value: object) -> None:
    row = row_of("esp32c3")
    row.pop("overlay")
    if value is None:
        del row[key]
    else:
        row[key] = value
    with pytest.raises((ChipDataError, ValueError, KeyError)):
        build_chip("esp32c3", row, ())


def test_finding_a_chip_loads_no_other_row() -> None:
    code = (
        "import pathlib, parburn.chips.registry as registry\n"
        "real, opened = pathlib.Path.read_text, []\n"
        "def read_text(self, *a, **k):\n"
        "    opened.append(self.name)\n"
        "    return real(self, *a, **k)\n"
        "pathlib.Path.read_text = read_text\n"
        "registry.chip_names()\n"
        "registry.find_chip(chip_id=5)\n"
        "print(*opened)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60
    )
    assert done.stdout.split() == ["index.csv", "esp32c3.toml", "esp32c3.csv"]


def clear_caches() -> None:
    for cached in (registry._read_row, registry._fields, registry._build):
        cached.cache_clear()


@pytest.mark.alone
@pytest.mark.parametrize("name", chip_names())
def test_a_chip_loads_fast(name: str, record_property: Callable[[str, object], None]) -> None:
    best = LOAD_MS
    for _ in range(15):
        clear_caches()
        start = time.perf_counter()
        chip_named(name)
        best = min(best, 1000 * (time.perf_counter() - start))
    clear_caches()
    record_property("load_ms", round(best, 2))
    sys.stdout.write(f"{name}: {best:.2f} ms\n")
    assert best < LOAD_MS
