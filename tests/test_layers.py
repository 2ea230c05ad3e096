"""Holds the layer picture of ARCHITECTURE.md: who may import whom, who may await, who may open a port."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

import parburn
from parburn.chips.registry import chip_names

ROOT = Path(parburn.__file__).parent

# Each part of the package, and the parts it may import. `errors` and `events` may be imported by all.
MAY_IMPORT: dict[str, set[str]] = {
    "errors": set(),
    "events": set(),
    "job": set(),
    "coding": set(),
    "chips": set(),
    "protocol": {"chips"},
    "transport": set(),
    "rom": {"protocol", "rom_search", "transport", "chips"},
    "rom_search": {"protocol", "transport"},
    "efuse": {"chips", "coding"},
    "controller": {"rom", "efuse", "chips"},
    "commit": {"controller", "efuse"},
    "identify": {"rom", "controller", "efuse", "chips", "protocol", "transport"},
    "script": {"efuse", "chips", "coding"},
    "ledger": set(),
    "records": {"efuse", "chips"},
    "tables": {"chips", "job"},
    "tracebook": {"chips", "protocol"},
    "rate": {"chips"},
    "run": {"chips", "identify", "job", "ledger", "rate", "script", "tables", "tracebook", "transport"},
    "board": {"identify", "ledger", "rom"},
    "calls": {"board", "chips", "commit", "efuse", "identify", "ledger", "records", "run", "script"},
    "device": {
        "board", "calls", "commit", "identify", "protocol", "rate", "rom", "run", "script", "transport"
    },
    "fleet": {
        "coding", "device", "identify", "job", "ledger", "protocol", "rate", "run", "script", "tables",
        "transport",
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


def test_no_chip_is_named_outside_its_data() -> None:
    names = set(chip_names()) | {name.upper().replace("ESP32", "ESP32-", 1) for name in chip_names()}
    names |= {"ESP32"}
    for path in modules():
        if part_of(path) == "chips" and path.parent.name == "data":
            continue
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Constant) and isinstance(node.value, str):
                assert node.value not in names, f"{path.name}:{node.lineno} names the chip {node.value!r}"
