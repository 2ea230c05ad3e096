"""The forms in which records lie in files, as a line's operators have them: how each is written, how a script
reads one board's record from it, and what must be declared. Knows nothing of the driver.
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

Row = Mapping[str, str] | None  # None: an index that was blanked
COLUMNS = ("mac", "serial", "uid", "key", "note")
TITLE = "title"  # no column: the name of a record


class Form(NamedTuple):
    """`read` is an expression of Python: the record of `args.index` in the open file `f`, as a dict.

    `declared` is what `--records` must say once; empty: the file names its indexes itself.
    `blanks`: an index can be left without a record. `titled`: each record has a name of its own, which moves
    with it; a row then says it as TITLE.
    """

    ending: str
    write: Callable[[Sequence[Row]], str]
    read: str
    declared: str = ""
    blanks: bool = True
    titled: bool = False


def _numbered(rows: Sequence[Row]) -> list[tuple[int, Mapping[str, str]]]:
    return [(n, row) for n, row in enumerate(rows, 1) if row is not None]


def _object(rows: Sequence[Row]) -> str:
    return json.dumps({str(n): row for n, row in _numbered(rows)}, indent=1)


def _units(rows: Sequence[Row]) -> str:
    return json.dumps({"version": 3, "units": {f"dev{n:04d}": row for n, row in _numbered(rows)}})


def _list(rows: Sequence[Row]) -> str:
    return json.dumps(list(rows), indent=1)


def _devices(rows: Sequence[Row]) -> str:
    return json.dumps({"version": 3, "devices": list(rows)})


def _csv(rows: Sequence[Row], *, header: bool = True, index: str = "", delimiter: str = ",") -> str:
    out = io.StringIO()
    columns = next(tuple(row) for row in rows if row is not None)
    writer = csv.writer(out, delimiter=delimiter, lineterminator="\n")
    if header:
        writer.writerow([*([index] if index else []), *columns])
    for n, row in enumerate(rows, 1):
        if index and row is None:
            continue
        cells = ["" if row is None else row[name] for name in columns]
        writer.writerow([*([str(n)] if index else []), *cells])
    return out.getvalue()


def _objects(rows: Sequence[Row]) -> str:
    return "".join(json.dumps({"index": n, **row}) + "\n" for n, row in _numbered(rows))


def _objects_in_order(rows: Sequence[Row]) -> str:
    return "".join((json.dumps(row) if row is not None else "") + "\n" for row in rows)


def _lines(rows: Sequence[Row]) -> str:
    return "".join(" ".join(row.values() if row is not None else ()) + "\n" for row in rows)


def _sections(rows: Sequence[Row], *, quote: str = "") -> str:
    parts = []
    for n, row in _numbered(rows):
        cells = "".join(f"{k} = {quote}{v}{quote}\n" for k, v in row.items() if k != TITLE)
        parts.append(f"[{row.get(TITLE, n)}]\n{cells}")
    return "\n".join(parts)


FORMS: Mapping[str, Form] = {
    "json object": Form("json", _object, "json.load(f)[str(args.index)]"),
    "json units": Form("json", _units, "json.load(f)['units']['dev%04d' % args.index]"),
    "json list": Form("json", _list, "json.load(f)[args.index - 1]", "item"),
    "json devices": Form("json", _devices, "json.load(f)['devices'][args.index - 1]", "item"),
    "csv": Form("csv", _csv, "list(csv.DictReader(f))[args.index - 1]", "row"),
    "csv bare": Form(
        "csv", lambda rows: _csv(rows, header=False),
        "dict(zip(columns, list(csv.reader(f))[args.index - 1]))", "row",
    ),
    "csv index": Form(
        "csv", lambda rows: _csv(rows, index="index", delimiter=";"),
        "next(r for r in csv.DictReader(f, delimiter=';') if int(r['index']) == args.index)",
    ),
    "csv number": Form(
        "csv", lambda rows: _csv(rows, index="unit", delimiter="\t"),
        "next(r for r in csv.DictReader(f, delimiter='\\t') if int(r['unit']) == args.index)", "column:unit",
    ),
    "json lines": Form(
        "jsonl", _objects, "next(r for r in map(json.loads, f) if r['index'] == args.index)"
    ),
    "json lines in order": Form("jsonl", _objects_in_order, "json.loads(list(f)[args.index - 1])", "item"),
    "lines": Form("txt", _lines, "dict(zip(columns, f.read().split('\\n')[args.index - 1].split()))", "line"),
    "ini": Form("ini", _sections, "dict(ini_of(f)[str(args.index)])"),
    "ini named": Form(
        "ini", _sections,
        "[dict(one) for name, one in ini_of(f).items() if name != 'DEFAULT'][args.index - 1]", "section",
        blanks=False, titled=True,
    ),
    "toml": Form("toml", lambda rows: _sections(rows, quote='"'),
                 "tomllib.loads(f.read())[str(args.index)]"),
}  # fmt: skip


def rewritten(text: str, how: str, form: Form) -> str:
    """The same records, written in another way: other line ends, or spaces where they mean nothing."""
    if how == "line ends":
        return text.replace("\n", "\r\n")
    if how == "spaces":  # a line that is put before others would move them
        return "\n " + text if form.ending == "json" else text + "\n"
    return text
