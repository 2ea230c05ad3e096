"""Holds the layer picture of ARCHITECTURE.md: who may import whom, who may await, who may open a port."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

import parburn

ROOT = Path(parburn.__file__).parent

# Each part of the package, and the parts it may import. `errors` and `events` may be imported by all.
MAY_IMPORT: dict[str, set[str]] = {
    "errors": set(),
    "events": set(),
    "job": set(),
    "coding": set(),
    "config": set(),
    "chips": set(),
    "protocol": {"chips"},
    "transport": set(),
    "rom": {"pace", "protocol", "rom_search", "transport", "chips"},
    "pace": set(),
    "rom_search": {"protocol", "transport"},
    "efuse": {"chips", "coding"},
    "controller": {"rom", "efuse", "chips"},
    "commit": {"controller", "efuse"},
    "silicon": {"chips", "efuse"},
    "crystal": {"chips"},
    "identify": {
        "rom", "controller", "crystal", "efuse", "chips", "protocol", "silicon", "transport"
    },
    "first_contact": {"identify", "rom"},
    "script": {"config", "efuse", "chips", "coding"},
    "ledger": set(),
    "records": {"efuse", "chips", "ledger"},
    "tables": {"chips", "job"},
    "tracebook": {"chips", "protocol"},
    "rate": {"chips"},
    "run": {
        "chips", "config", "efuse", "identify", "job", "ledger", "rate", "script", "tables", "tracebook",
        "transport",
    },
    "board": {"identify", "ledger", "rom"},
    "foreign": {"chips", "efuse"},
    "calls": {
        "board", "chips", "commit", "efuse", "first_contact", "foreign", "identify", "ledger", "records",
        "run", "script",
    },
    "device": {
        "board", "calls", "commit", "first_contact", "identify", "ledger", "rate", "rom", "run", "script",
        "transport",
    },
    "doubled": {"efuse", "run"},
    "fleet": {
        "coding", "config", "device", "doubled", "efuse", "identify", "job", "kept", "ledger", "protocol",
        "rate", "run", "script", "tables", "transport",
    },
    "carried": {"efuse"},
    "bound": {
        "calls", "chips", "efuse", "identify", "ledger", "records", "run", "script",
    },
    "kept": {"calls", "chips", "efuse", "ledger", "records", "run"},
    "learn": {
        "calls", "chips", "config", "efuse", "fleet", "job", "kept", "ledger", "records", "run", "script",
        "tables",
    },
    "rebuild": {
        "bound", "carried", "chips", "config", "efuse", "first_contact", "fleet", "identify", "job", "kept",
        "ledger", "rom", "run", "script", "tables", "transport",
    },
    "ui": set(),
    "sim": {"chips"},
}  # fmt: skip
EVERYWHERE = {"errors", "events", "__version__"}
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
    if part not in MAY_IMPORT:
        assert part in {"__init__", "__main__", "simulated"} or part.startswith(("cli", "command_line")), (
            f"{part} has no place in the layer picture: give it one"
        )
        return
    extra = imported_parts(ast.parse(path.read_text())) - MAY_IMPORT[part] - EVERYWHERE - {part}
    assert not extra, f"{path.relative_to(ROOT)} must not import parburn.{', parburn.'.join(sorted(extra))}"


@pytest.mark.parametrize("part", ["errors", "events"])
def test_the_lowest_modules_import_nothing_of_ours(part: str) -> None:
    assert not imported_parts(ast.parse((ROOT / f"{part}.py").read_text()))


def test_pure_parts_never_await() -> None:
    for path in modules():
        if part_of(path) in PURE:
            for node in ast.walk(ast.parse(path.read_text())):
                assert not isinstance(node, ast.AsyncFunctionDef | ast.Await), f"{path} awaits"


def test_only_transport_and_the_simulator_open_ports() -> None:
    for path in modules():
        if part_of(path) in {"transport", "sim"}:
            continue
        for node in ast.walk(ast.parse(path.read_text())):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            assert not {name.split(".")[0] for name in names} & {"serial", "serial_asyncio"}, path


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
