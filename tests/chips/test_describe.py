"""Revision, description and features of chips whose fields have given values."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from parburn.chips.describe import chip_description, chip_features, chip_revision, holds
from parburn.chips.model import Condition
from parburn.chips.registry import chip_named


def of(**values: int) -> Callable[[str], int]:
    """Values of fields by name; any other is 0."""
    return lambda name: values.get(name, 0)


@pytest.mark.parametrize(
    ("name", "values", "expected"),
    [
        ("esp32", {}, "ESP32-D0WDQ6 (revision v0.0)"),
        ("esp32", {"PKG_VERSION": 1, "WAFER_VERSION_MAJOR": 3}, "ESP32-D0WD-V3 (revision v3.0)"),
        (
            "esp32",
            {"PKG_VERSION": 1, "DISABLE_APP_CPU": 1, "WAFER_VERSION_MAJOR": 3},
            "ESP32-S0WD (revision v3.0)",
        ),
        ("esp32", {"PKG_VERSION": 3}, "Unknown ESP32 (revision v0.0)"),
        ("esp32c3", {"WAFER_VERSION_MINOR": 4, "PKG_VERSION": 1}, "ESP8685 (QFN28) (revision v0.4)"),
        ("esp32s2", {"FLASH_VERSION": 2, "PSRAM_VERSION": 1}, "ESP32-S2FNR2 (revision v0.0)"),
        ("esp32s2", {"FLASH_VERSION": 3}, "Unknown ESP32-S2 (revision v0.0)"),
        ("esp32c5", {"TEMP": 1, "FLASH_CAP": 1, "PSRAM_CAP": 2}, "ESP32-C5HF4R8 (revision v0.0)"),
        ("esp32c5", {"TEMP": 3}, "Unknown ESP32-C5? (revision v0.0)"),
        ("esp32e22", {}, "ESP32-E22 (revision v0.0)"),
    ],
)
def test_description(name: str, values: dict[str, int], expected: str) -> None:
    assert chip_description(chip_named(name), of(**values)) == expected


def test_features_follow_the_fields() -> None:
    s3 = chip_named("esp32s3")
    assert chip_features(s3, of()) == ("Wi-Fi", "BT 5 (LE)", "Dual Core + LP Core", "240MHz")
    assert chip_features(s3, of(FLASH_CAP=1, FLASH_VENDOR=2, PSRAM_CAP_3=1, PSRAM_VENDOR=2))[4:] == (
        "Embedded Flash 8MB (GD)",
        "Embedded PSRAM 4MB (AP_1v8)",
    )
    assert chip_features(chip_named("esp32"), of(DISABLE_BT=1, DISABLE_APP_CPU=1, CODING_SCHEME=1)) == (
        "Wi-Fi",
        "Single Core + LP Core",
        "Coding Scheme 3/4",
    )


def test_a_revision_that_other_fields_deny_is_zero() -> None:
    chip = chip_named("esp32s3")
    values = {
        "WAFER_VERSION_MAJOR": 2,
        "WAFER_VERSION_MINOR": 8,
        "BLK_VERSION_MAJOR": 1,
        "BLK_VERSION_MINOR": 1,
    }
    assert chip_revision(chip, of(**values)) == (0, 0)
    assert chip_revision(chip, of(**values | {"BLK_VERSION_MINOR": 2})) == (2, 8)


def test_a_condition_may_have_an_alternative() -> None:
    condition = Condition("MAJOR", at_least=1, or_else=Condition("MINOR", values=(2, 3)))
    assert [
        holds(condition, of(MAJOR=major, MINOR=minor)) for major, minor in ((0, 0), (0, 2), (1, 0), (0, 1))
    ] == [
        False,
        True,
        True,
        False,
    ]
