"""Whether scripts use `args.index`. Where that is not certain, they do: a function always. Runs nothing.

A script that uses no index gets the same config files whatever its index is: what these hold is shared data.
It is not certain where `args` is handed on to code that is not seen here. A nested script has an index only
where `--index` is given to it, in a text that holds this word.
"""

from __future__ import annotations

import ast

from parburn.script.commands.text import VERBS
from parburn.script.compiled import CompiledScript, CompiledScripts

_TAKE_ARGS = frozenset({*VERBS, "espefuse"})  # ours: they look at no index, but in the text of a command
_ALL_NAMES = frozenset({"eval", "exec", "globals", "locals", "vars", "compile", "__import__"})


def uses_the_index(scripts: CompiledScripts) -> bool:
    """Return whether any script of the command line, or one that it runs, may look at its index."""
    return any(_uses(script) for script in scripts.scripts)


def _uses(script: CompiledScript) -> bool:
    content = script.source.content
    if script.function is not None:
        return True
    if script.typed:
        return b"index" in content
    tree = ast.parse(content)
    taken = {
        id(argument)
        for node in ast.walk(tree)
        if isinstance(node, ast.Call) and _is_ours(node.func)
        for argument in (*node.args, *(keyword.value for keyword in node.keywords))
    }
    taken |= {
        id(node.value)
        for node in ast.walk(tree)
        if isinstance(node, ast.Attribute) and not node.attr.startswith("__")
    }
    return any(_is_use(node, taken) for node in ast.walk(tree))


def _is_use(node: ast.AST, taken: set[int]) -> bool:
    if isinstance(node, ast.Attribute):
        return node.attr == "index" and _of_args(node)
    if isinstance(node, ast.Constant):
        return isinstance(node.value, str) and ("--index" in node.value or node.value.strip() == "index")
    if isinstance(node, ast.keyword):
        return node.arg == "index"
    if isinstance(node, ast.Name):
        return node.id in _ALL_NAMES or (node.id == "args" and id(node) not in taken)
    return False


def _of_args(node: ast.Attribute) -> bool:
    """Return whether this `.index` may be that of `args`.

    `text.index(...)` and `[1, 2].index(...)` are other things; of any plain name it may be `args`.
    """
    return isinstance(node.value, ast.Name) or not isinstance(node.value, (ast.Constant, ast.List))


def _is_ours(function: ast.expr) -> bool:
    if isinstance(function, ast.Attribute):
        return isinstance(function.value, ast.Name) and function.value.id == "espefuse"
    return isinstance(function, ast.Name) and function.id in _TAKE_ARGS
