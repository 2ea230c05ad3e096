"""What the package depends on: declared, used, whole, under licences that go with ours, quiet when imported.

Advisories are not looked up here: that needs a database on the net (`pip-audit`).
"""

from __future__ import annotations

import ast
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from importlib.metadata import distribution, packages_distributions
from pathlib import Path

import pytest
from packaging.requirements import Requirement

import parburn

ROOT = Path(parburn.__file__).parent.parent
PERMISSIVE = re.compile(
    r"\b(MIT|MIT-0|BSD|BSD-[23]-Clause|Apache-2\.0|Apache Software|PSF-2\.0|Python Software|Unlicense|ISC)\b"
)
COPYLEFT = re.compile(r"\b(L?A?GPL|GNU|MPL|EUPL|CDDL|SSPL)", re.IGNORECASE)
BUILD_ONLY = {"cffi", "setuptools"}  # what makes the native part; a run does without
EXTRA = {"psycopg": Path("ledger/pool")}  # installed on request, and imported in one folder only


def plain(name: str) -> str:
    """A distribution's name as all spell it."""
    return re.sub(r"[-_.]+", "-", name).lower()


def declared() -> dict[str, Requirement]:
    """The runtime dependencies of pyproject.toml."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    return {plain(one.name): one for one in map(Requirement, project["dependencies"])}


def closure() -> set[str]:
    """The distributions that a plain installation brings."""
    found: set[str] = set()
    waiting = list(declared())
    while waiting:
        name = waiting.pop()
        if name in found:
            continue
        found.add(name)
        for one in map(Requirement, distribution(name).requires or ()):
            if one.marker is None or one.marker.evaluate({"extra": ""}):
                waiting.append(plain(one.name))
    return found


def imports_of(tree: ast.Module) -> Iterator[str]:
    """The top-level modules that a module imports, also within functions; not those for types alone."""
    for_types = {
        id(inner)
        for node in ast.walk(tree)
        if isinstance(node, ast.If) and ast.unparse(node.test) in ("TYPE_CHECKING", "typing.TYPE_CHECKING")
        for inner in ast.walk(node)
    }
    for node in ast.walk(tree):
        if id(node) in for_types:
            continue
        if isinstance(node, ast.Import):
            yield from (alias.name.partition(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            yield node.module.partition(".")[0]


def imported() -> set[str]:
    """The distributions that parburn imports something of."""
    modules = {
        name for path in sorted(Path(parburn.__file__).parent.rglob("*.py"))
        for name in imports_of(ast.parse(path.read_text()))
    } - set(sys.stdlib_module_names) - {"parburn"}  # fmt: skip
    known = packages_distributions()
    missing = modules - known.keys()
    assert not missing, f"imported and not installed: {missing}"
    return {plain(known[name][0]) for name in modules}


def test_what_is_imported_is_declared_and_what_is_declared_is_imported() -> None:
    assert imported() - BUILD_ONLY - EXTRA.keys() == declared().keys()


@pytest.mark.parametrize("name", EXTRA)
def test_an_extra_is_imported_in_its_own_folder_only(name: str) -> None:
    package = Path(parburn.__file__).parent
    users = {path for path in package.rglob("*.py") if name in imports_of(ast.parse(path.read_text()))}
    assert users
    assert all((package / EXTRA[name]) in path.parents for path in users), users


def test_nothing_that_is_installed_conflicts() -> None:
    done = subprocess.run([sys.executable, "-m", "pip", "check"], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize("name", sorted(closure()))
def test_licences_go_with_ours(name: str) -> None:
    about = distribution(name).metadata
    classifiers = [one for one in about.get_all("Classifier", []) if one.startswith("License ::")]
    named = [line for text in about.get_all("License", []) for line in text.strip().splitlines()[:1]]
    words = " ".join([*about.get_all("License-Expression", []), *named, *classifiers])
    assert PERMISSIVE.search(words), f"{name}: {words!r}"
    assert not COPYLEFT.search(words), f"{name}: {words!r}"


def test_the_originals_are_no_part_of_it() -> None:
    assert not closure() & {"esptool", "espefuse", "espsecure"}


QUIET = """
import sys
heard = []
parts = ("socket", "subprocess", "pty", "urllib", "ftplib", "smtplib", "webbrowser")
whole = ("os.system", "os.exec", "os.fork", "os.posix_spawn", "os.remove", "os.rename", "os.putenv")
def hook(event, args):
    if event == "open" and isinstance(args[1], str) and set(args[1]) & set("wax+"):
        heard.append((event, args[0]))
    elif event.split(".")[0] in parts or event in whole:
        heard.append((event, repr(args)[:80]))
sys.dont_write_bytecode = True
sys.addaudithook(hook)
for name in sys.argv[1:]:
    __import__(name)
print(heard)
"""


def test_importing_them_starts_no_process_and_no_connection_and_writes_no_file() -> None:
    known = packages_distributions()
    modules = sorted(
        name for name, owners in known.items()
        if {plain(one) for one in owners} & closure() and not name.startswith("_") and name.isidentifier()
    )  # fmt: skip
    assert {"serial_asyncio", "reedsolo", "rich_argparse", "argcomplete", "platformdirs"} <= set(modules)
    done = subprocess.run(
        [sys.executable, "-c", QUIET, *modules], capture_output=True, text=True, check=True, timeout=60
    )
    assert done.stdout.splitlines()[-1] == "[]"
