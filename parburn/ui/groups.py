"""Boards that did not pass, by what happened to them: what many have in common is said once. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import NamedTuple

from parburn.events import DeviceReport, Result
from parburn.ui.words import ranges

_INDEX = re.compile(r"(?<=\bindex )\d+\b")
OWN_INDEX = "(its own)"


class Said(NamedTuple):
    """What is said of a board, with words in place of what is the board's own."""

    result: Result
    kind: str
    error: str
    burned: str
    next_step: str
    traceback_text: str


class Group(NamedTuple):
    """Boards of which the same is said. `said` is literal where they do not differ in a letter."""

    said: Said
    reports: tuple[DeviceReport, ...]


def grouped(reports: Iterable[DeviceReport]) -> list[Group]:
    """Return the boards in groups, in the order in which their first ones come."""
    found: dict[Said, list[DeviceReport]] = {}
    for report in reports:
        found.setdefault(_in_common(report), []).append(report)
    return [Group(_literal(said, boards), tuple(boards)) for said, boards in found.items()]


def _literal(said: Said, boards: list[DeviceReport]) -> Said:
    literal = {_said(board) for board in boards}
    if len(literal) == 1:
        return literal.pop()
    indexes = {int(number) for one in literal for number in _INDEX.findall(one.error)}
    return said._replace(error=said.error.replace(OWN_INDEX, ranges(indexes)))


def _said(report: DeviceReport) -> Said:
    return Said(
        report.result, report.error_kind, report.error, report.burned, report.next_step, report.traceback_text
    )


def _in_common(report: DeviceReport) -> Said:
    """Return what is said without the board's own port, slot, MAC, values and index."""
    own = [(report.port, "(its port)"), (report.slot, "(its slot)"), (report.mac, "(its MAC)")]
    own += [(value, "(its own)") for value in report.unique_values.values()]
    said = _said(report)

    def common(text: str) -> str:
        for name, words in own:
            if len(name) > 2:
                text = re.sub(rf"(?<![\w:/]){re.escape(name)}(?![\w:/]*\w)", words, text)
        text = _INDEX.sub(OWN_INDEX, text)  # of this batch, or of the one that the chip belongs to
        if report.index is not None:
            text = re.sub(rf"(?<=KeyError: )'?{report.index}\b'?", "(its index)", text)
        return text

    return said._replace(
        error=common(said.error),
        burned=common(said.burned),
        next_step=common(said.next_step),
        traceback_text=common(said.traceback_text),
    )
