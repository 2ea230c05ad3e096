"""Modules of the standard library as one board's scripts see them: its own, made as they are used.

What a script sets in such a module (`json.unit = args.index`) stays with its board, and what it draws from
`random` or sets in `os.environ` is no other board's. A name is fetched from the real module when it is first
asked for, so that a board that uses none of them pays for none. What user's modules import themselves is the
process's, shared by all boards.
"""

from __future__ import annotations

import builtins
import importlib
import os
import random
from collections.abc import Callable, Iterator, Mapping
from types import ModuleType
from typing import Any

from parburn.script.output import CHDIR_REFUSED

ENDS_ALL = "it would end or split the process that serves all boards; raise an error or call sys.exit()"
_ENDING = (
    "_exit", "abort", "fork", "forkpty", "execv", "execve", "execvp", "execvpe", "execl", "execle", "execlp",
    "execlpe",
)  # fmt: skip
_MOVING = ("chdir", "fchdir", "chroot")


class OwnModule(ModuleType):
    """One board's copy of a module. Names come from `real` when they are asked for, and are kept."""

    def __init__(self, real: ModuleType, **own: Any) -> None:
        super().__init__(real.__name__, real.__doc__)
        self.__dict__["_real"] = real
        self.__dict__.update(own)

    def __getattr__(self, name: str) -> Any:
        value = self._found(name)
        if isinstance(value, ModuleType) and not isinstance(value, OwnModule):
            value = OwnModule(value)  # os.path, json.decoder
        self.__dict__[name] = value
        return value

    def _found(self, name: str) -> Any:
        return getattr(self.__dict__["_real"], name)

    def __dir__(self) -> list[str]:
        return sorted({*dir(self.__dict__["_real"]), *self.__dict__} - {"_real"})


def refused(name: str, why: str) -> Callable[..., Any]:
    """Return a function that raises PermissionError: a script may not call it, and `why`."""

    def refuse(*_: Any, **__: Any) -> Any:
        raise PermissionError(f"{name} is refused in a script: {why}")

    return refuse


class OwnOs(OwnModule):
    """`os` without what would hit every board, and with an environment of its own."""

    def __init__(self) -> None:
        super().__init__(os)

    def _found(self, name: str) -> Any:
        if name in _ENDING and hasattr(os, name):
            return refused(f"os.{name}", ENDS_ALL)
        if name in _MOVING:
            return refused(f"os.{name}", CHDIR_REFUSED.partition(": ")[2])
        own = _ENVIRONMENT.get(name)
        return own(self) if own is not None else super()._found(name)


# A copy: what one board sets, no other sees. Programs that a script starts get it by `env=os.environ`.
_ENVIRONMENT: Mapping[str, Callable[[OwnOs], Any]] = {
    "environ": lambda own: dict(os.environ),
    "environb": lambda own: dict(os.environb),
    "getenv": lambda own: lambda key, default=None: own.environ.get(key, default),
    "getenvb": lambda own: lambda key, default=None: own.environb.get(key, default),
    "putenv": lambda own: lambda key, value: own.environ.__setitem__(os.fsdecode(key), os.fsdecode(value)),
    "unsetenv": lambda own: lambda key: own.environ.pop(os.fsdecode(key), None),
}


class OwnRandom(OwnModule):
    """`random` with a generator of its own behind its functions: a seed on one board is no other's."""

    def __init__(self) -> None:
        super().__init__(random)

    def _found(self, name: str) -> Any:
        if name == "_inst":
            return random.Random()
        value = super()._found(name)
        if isinstance(getattr(value, "__self__", None), random.Random):
            return getattr(self._inst, name)
        return value


class OwnModules(Mapping[str, ModuleType]):
    """What `import` finds for one board: the given stand-ins, and own modules made when asked for."""

    def __init__(
        self, stand_ins: Mapping[str, ModuleType], makers: Mapping[str, Callable[[], ModuleType]]
    ) -> None:
        self._made = dict(stand_ins)
        self._makers = makers

    def __getitem__(self, name: str) -> ModuleType:
        made = self._made.get(name)
        if made is None:
            made = self._made[name] = self._makers[name]()
        return made

    def __iter__(self) -> Iterator[str]:
        return iter(self._made.keys() | self._makers.keys())

    def __len__(self) -> int:
        return len(self._made.keys() | self._makers.keys())


def own_importlib(script_import: Callable[..., Any]) -> OwnModule:
    """Return an `importlib` whose import_module finds what `import` finds in this script."""

    def import_module(name: str, package: str | None = None) -> ModuleType:
        if name.startswith("."):
            return importlib.import_module(name, package)
        found: ModuleType = script_import(name)
        for step in name.split(".")[1:]:
            found = getattr(found, step)
        return found

    return OwnModule(importlib, import_module=import_module)


def own_builtins() -> ModuleType:
    """Return the built-in names of one board, as a module that its scripts may import and change."""
    module = ModuleType("builtins", builtins.__doc__)
    module.__dict__.update(vars(builtins))
    return module
