"""Says what a chip's fields tell about it: revision, description, features. Pure: reads no chip.

`value_of` gives the value of a field by name; the texts are those that `esptool` shows, since scripts compare
them.
"""

from __future__ import annotations

from collections.abc import Callable

from parburn.chips.model import Chip, Condition, FeatureOf

ValueOf = Callable[[str], int]


def holds(condition: Condition | None, value_of: ValueOf) -> bool:
    """Tell whether a condition, or one of those behind `or_else`, is met; None never is."""
    while condition:
        if condition.holds(value_of(condition.field)):
            return True
        condition = condition.or_else
    return False


def chip_revision(chip: Chip, value_of: ValueOf) -> tuple[int, int]:
    """Return major and minor silicon revision; a chip without such fields is 0.0."""
    zero = chip.revision_zero_when
    if zero and all(value_of(name) == value for name, value in zero.items()):
        return 0, 0
    major, minor = (value_of(name) if name else 0 for name in chip.revision_fields)
    return major, minor


def chip_description(chip: Chip, value_of: ValueOf) -> str:
    """Return the name with package and revision, as esptool shows it: `ESP32-D0WD-V3 (revision v3.1)`."""
    major, minor = chip_revision(chip, value_of)
    return f"{_name(chip, value_of)} (revision v{major}.{minor})"


def _name(chip: Chip, value_of: ValueOf) -> str:
    if chip.name_parts:
        name = chip.title + "".join(_text(part, chip, value_of) for part in chip.name_parts)
        return chip.unknown_package or f"Unknown {name}" if "?" in name else name
    packages = dict(chip.packages)
    for condition, more in chip.packages_when.items():
        if holds(chip.conditions[condition], value_of):
            packages |= more
    package = value_of(chip.package_field) if chip.package_field else 0
    return packages.get(package, chip.unknown_package)


def chip_features(chip: Chip, value_of: ValueOf) -> tuple[str, ...]:
    """Return what the chip has, in esptool's words: radios, cores, flash and PSRAM in the package."""
    found = (_text(feature, chip, value_of) for feature in chip.more_features)
    return (*chip.features, *(text for text in found if text))


def _text(feature: FeatureOf, chip: Chip, value_of: ValueOf) -> str:
    shift = value = 0
    for name in feature.fields:
        value |= value_of(name) << shift
        shift += chip.field_by_name[name][0].bits
    return feature.text(value, value_of(feature.detail_field) if feature.detail_field else 0)
