"""The report file: a row per board, as CSV or JSON. Written whole or not at all; never key material."""

from __future__ import annotations

import csv
import io
import json
import platform
import tempfile
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

from parburn import __version__
from parburn.events import DeviceReport
from parburn.ui.words import one_line

COLUMNS = (
    "slot", "port", "chip", "mac", "index", "unique_values", "result", "error", "burned", "next_step",
    "seconds", "blocks_done", "blocks_total", "turns", "tx_bytes", "rx_bytes", "retries",
    "parburn_version", "python_version", "scripts", "config_files", "tables",
)  # fmt: skip


class Inputs(NamedTuple):
    """Names and SHA-256 digests of the files that this run was made of, as they were when they were read."""

    scripts: Mapping[str, str]
    config_files: Mapping[str, str]
    tables: Mapping[str, str]


def write_report(path: Path, reports: Sequence[DeviceReport], inputs: Inputs) -> None:
    """Write all rows to `path`, whole or not at all: `.csv` makes it CSV, any other ending JSON.

    Raises:
        OSError: it cannot be written; an older report stays as it was.
    """
    rows = [row_of(report, inputs) for report in reports]
    text = (
        _as_csv(rows)
        if path.suffix.lower() == ".csv"
        else json.dumps(rows, indent=2, ensure_ascii=False) + "\n"
    )
    replace_file(path, text)


def row_of(report: DeviceReport, inputs: Inputs) -> dict[str, Any]:
    """Return one board's row, by column."""
    values = (
        report.slot, report.port, report.chip, report.mac, report.index, dict(report.unique_values),
        report.result.value, report.error, report.burned, report.next_step,
        round(report.seconds, 3), report.blocks_done, report.blocks_total, report.turns, report.tx_bytes,
        report.rx_bytes, report.retries,
        __version__, platform.python_version(), dict(inputs.scripts), dict(inputs.config_files),
        dict(inputs.tables),
    )  # fmt: skip
    return dict(zip(COLUMNS, values, strict=True))


def _as_csv(rows: Sequence[Mapping[str, Any]]) -> str:
    out = io.StringIO()
    writer = csv.DictWriter(out, COLUMNS, lineterminator="\n")
    writer.writeheader()
    for row in rows:
        writer.writerow({name: _cell(value) for name, value in row.items()})
    return out.getvalue()


def _cell(value: object) -> object:
    if isinstance(value, Mapping):
        return "; ".join(f"{name}={item}" for name, item in value.items())
    return one_line(value) if isinstance(value, str) else value


def replace_file(path: Path, text: str) -> None:
    """Write beside it first, then put it in its place: a full disk leaves the old file as it was."""
    if path.exists() and not path.is_file():  # /dev/stderr or a pipe
        path.write_text(text, encoding="utf-8")
        return
    with tempfile.NamedTemporaryFile(
        "w", encoding="utf-8", dir=path.parent, prefix=f".{path.name}.", delete=False
    ) as out:
        part = Path(out.name)
        try:
            out.write(text)
            out.close()
            part.chmod(0o644)
            part.replace(path)
        except BaseException:
            with suppress(OSError):
                part.unlink()
            raise
