"""Holds the layer picture of ARCHITECTURE.md: who may import whom, who may await, who may open a port."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

import parburn

ROOT = Path(parburn.__file__).parent

# Each part of the package, highest first, and the parts below it that it may import. All may import `errors`
# and `events`.
MAY_IMPORT: dict[str, set[str]] = {
    "__init__": {"api", "job"},
    "__main__": {"cli"},
    "cli": {
        "api", "chips", "fleet", "hardware", "job", "ledger", "natural_order", "nearest", "printable",
        "recovery", "run", "script", "sim", "station", "transport", "ui",
    },
    "api": {"chips", "fleet", "job", "ledger", "run", "sim", "transport"},
    "station": {
        "chips", "coding", "device", "efuse", "hardware", "job", "ledger", "natural_order", "nearest",
        "printable", "run", "script", "sim", "transport", "ui",
    },
    "recovery": {
        "chips", "config", "efuse", "hardware", "job", "ledger", "run", "script", "transport"
    },
    "fleet": {"coding", "device", "hardware", "job", "ledger", "natural_order", "run", "transport"},
    "device": {"hardware", "ledger", "run", "script"},
    "run": {
        "chips", "config", "efuse", "hardware", "job", "ledger", "natural_order", "protocol", "script",
        "transport",
    },
    "script": {"chips", "coding", "config", "efuse", "job", "nearest"},
    "hardware": {"chips", "efuse", "protocol", "transport"},
    "efuse": {"chips", "coding", "nearest"},
    "ledger": {"csv_cells", "scratch"},
    "sim": {"chips", "printable", "scratch"},
    "chips": {"coding", "nearest"},
    "config": set(),
    "transport": {"natural_order"},
    "protocol": set(),
    "ui": {"csv_cells", "natural_order", "printable"},
    "coding": set(),
    "job": set(),
    "scratch": set(),
    "csv_cells": set(),
    "printable": set(),
    "nearest": set(),
    "natural_order": set(),
    "events": set(),
    "ledger_place": set(),
    "errors": set(),
}  # fmt: skip
EVERYWHERE = {"errors", "events", "ledger_place", "__version__"}
PURE = ("protocol", "coding", "chips", "efuse")


def modules() -> list[Path]:
    return sorted(path for path in ROOT.rglob("*.py"))


def part_of(path: Path) -> str:
    return path.relative_to(ROOT).parts[0].removesuffix(".py")


def imported_parts(tree: ast.AST) -> set[str]:
    found: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.module and node.module.split(".")[0] == "parburn":
            rest = node.module.split(".")[1:]
            found.update(rest[:1] or (alias.name for alias in node.names))
        elif isinstance(node, ast.Import):
            found.update(
                alias.name.split(".")[1] for alias in node.names if alias.name.startswith("parburn.")
            )
    return found


@pytest.mark.parametrize("path", modules(), ids=lambda path: str(path.relative_to(ROOT)))
def test_imports_follow_the_layers(path: Path) -> None:
    part = part_of(path)
    assert part in MAY_IMPORT, f"{part} has no place in the layer picture: give it one"
    extra = imported_parts(ast.parse(path.read_text())) - MAY_IMPORT[part] - EVERYWHERE - {part}
    assert not extra, f"{path.relative_to(ROOT)} must not import parburn.{', parburn.'.join(sorted(extra))}"


def test_the_picture_has_no_arrow_upwards_and_no_room_too_many() -> None:
    """Each row may name rows below it only, and each arrow of it is drawn by some import."""
    rows = [*MAY_IMPORT]
    drawn: dict[str, set[str]] = {part: set() for part in rows}
    for path in modules():
        drawn[part_of(path)] |= imported_parts(ast.parse(path.read_text()))
    for n, part in enumerate(rows):
        assert not MAY_IMPORT[part] & set(rows[: n + 1]), f"{part} may import what stands above it"
        assert not MAY_IMPORT[part] - drawn[part], f"{part}: an arrow that nothing draws"


def imported_modules(path: Path) -> set[Path]:
    """The modules of the package that a module imports, wherever in it."""
    found: set[Path] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if not isinstance(node, ast.ImportFrom) or not (node.module or "").startswith("parburn"):
            continue
        place = ROOT.joinpath(*(node.module or "").split(".")[1:])
        names = [place / f"{alias.name}.py" for alias in node.names]
        names += [place / alias.name / "__init__.py" for alias in node.names]
        whole = [place.with_suffix(".py"), place / "__init__.py"]
        inside = [one for one in names if one.exists()]
        found.update(inside or [one for one in whole if one.exists()])
    return found


def layers_table() -> str:
    """The layers as ARCHITECTURE.md shows them: each part, what its docstring says first, what it imports."""
    rows = ["| part | what it is | imports |", "|---|---|---|"]
    for part, below in MAY_IMPORT.items():
        path = ROOT / part / "__init__.py" if (ROOT / part).is_dir() else ROOT / f"{part}.py"
        if part not in {"__init__", "__main__"}:
            first = (ast.get_docstring(ast.parse(path.read_text())) or "").split("\n")[0]
            rows.append(f"| `{part}` | {first} | {', '.join(one for one in MAY_IMPORT if one in below)} |")
    return "\n".join(rows) + "\n"


def test_the_page_shows_the_layers_as_they_are() -> None:
    """To make it anew: `python -m tests.test_layers`."""
    assert layers_table() in (ROOT.parent / "ARCHITECTURE.md").read_text()


def test_no_modules_import_each_other_in_a_circle() -> None:
    below = {path: imported_modules(path) for path in modules()}
    done: set[Path] = set()

    def walk(path: Path, way: tuple[Path, ...]) -> None:
        assert path not in way, " -> ".join(str(one.relative_to(ROOT)) for one in (*way, path))
        if path not in done:
            for one in below[path]:
                walk(one, (*way, path))
            done.add(path)

    for path in below:
        walk(path, ())


@pytest.mark.parametrize("part", ["errors", "events"])
def test_the_lowest_modules_import_nothing_of_ours(part: str) -> None:
    assert not imported_parts(ast.parse((ROOT / f"{part}.py").read_text()))


def test_pure_parts_never_await() -> None:
    for path in modules():
        if part_of(path) in PURE:
            for node in ast.walk(ast.parse(path.read_text())):
                assert not isinstance(node, ast.AsyncFunctionDef | ast.Await), f"{path} awaits"


OPENING_MODULES = {"serial", "serial_asyncio", "socket", "termios", "pty"}
OPENING_CALLS = {
    "open_connection",
    "create_connection",
    "open_unix_connection",
    "connect_tcp",
    "create_serial_connection",
}
# Files of the ledger, a report, a trace, folders, and the hole that closed output goes to: no devices.
OS_OPEN = {
    "script/pipes.py",
    "ledger/backup.py",
    "ledger/file_location.py",
    "ledger/schema.py",
    "ledger/liveness.py",
    "transport/lock_file.py",
    "ui/nonblocking_writer.py",
    "ui/report_appending.py",
    "run/traces.py",
    "cli/streams.py",
    "station/slots_writing.py",
    "scratch.py",
    "station/armed.py",
}


ASKS = "ui/prompt.py"  # forgets what was typed before it asks, on the operator's own terminal
# Unix sockets on the same machine: an engineer talks to a station, and it to systemd. No device, no network.
LOCAL_SOCKETS = {"station/command_socket.py", "station/command_client.py", "station/service.py"}


def test_only_transport_and_the_simulator_open_ports() -> None:
    for path in modules():
        if part_of(path) in {"transport", "sim"}:
            continue
        for node in ast.walk(ast.parse(path.read_text())):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            if str(path.relative_to(ROOT)) not in {ASKS, *LOCAL_SOCKETS}:
                assert not {name.split(".")[0] for name in names} & OPENING_MODULES, path
            if isinstance(node, ast.Attribute):
                assert node.attr not in OPENING_CALLS, f"{path}: {node.attr}"
                by_os = isinstance(node.value, ast.Name) and node.value.id == "os" and node.attr == "open"
                assert not by_os or str(path.relative_to(ROOT)) in OS_OPEN, f"{path}: os.open"


def literals(text: str) -> Iterator[tuple[int, str]]:
    """Line and text of every string and bytes literal that is no docstring, parts of f-strings too."""
    tree = ast.parse(text)
    docstrings = {
        id(node.body[0].value)
        for node in ast.walk(tree)
        if isinstance(node, (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef))
        and node.body
        and isinstance(node.body[0], ast.Expr)
    }
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and id(node) not in docstrings:
            if isinstance(node.value, bytes):
                yield node.lineno, node.value.decode(errors="replace")
            elif isinstance(node.value, str):
                yield node.lineno, node.value


def chips_named(text: str) -> list[tuple[int, str]]:
    """Literals that name a chip, or a family of chips by the beginning of their names.

    `esp32s3:8` is how an operator asks for simulated boards: texts for him show it as an example.
    """
    return [
        (line, literal)
        for line, literal in literals(text)
        if re.search("esp-?32", re.sub(r"\besp32\w*:\d", "", literal), re.IGNORECASE)
    ]


def test_no_chip_is_named_outside_its_data() -> None:
    for path in modules():
        if part_of(path) != "chips" or path.parent.name != "data":
            assert not chips_named(path.read_text()), path


@pytest.mark.parametrize(
    "text",
    [
        'if name == "esp32c3": pass',
        'if chip.title == "ESP32-S3": pass',
        'name.startswith("esp32c")',
        'raise Error(f"no such command on the ESP32-{letter}")',
        'TABLE = {b"esp32": 1}',
        'match name:\n    case "esp32p4":\n        pass',
    ],
)
def test_a_chip_that_is_named_is_found(text: str) -> None:
    assert chips_named(text)


def test_examples_and_docstrings_may_name_chips() -> None:
    assert not chips_named('"""ESP32 has it."""\nHELP = "as in esp32s3:8 or esp32:3,esp32c3:3"')


if __name__ == "__main__":
    page = ROOT.parent / "ARCHITECTURE.md"
    before, mark, rest = page.read_text().partition("<!-- layers -->\n\n")
    after = rest[rest.index("\n\n", rest.rindex("| `")) :] if "| `" in rest else "\n\n" + rest.lstrip("\n")
    page.write_text(before + mark + layers_table().rstrip("\n") + after)
