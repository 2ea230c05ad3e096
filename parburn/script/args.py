"""`args` as a script sees it: argparse's namespace, but for its index, which only the allocator gives."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from typing import Any

from parburn.errors import EfuseError
from parburn.script.fatal_error import FatalError


def _refused() -> FatalError:
    return FatalError.of(
        EfuseError(
            "args.index cannot be changed: it is this board's own, and no other board has it",
            hint="Count with a variable of another name, and look records up by args.index.",
        )
    )


class ScriptArgs(argparse.Namespace):
    """The arguments of one script on one board. Anything but `index` may be set."""

    __slots__ = ("_own_index",)

    def __init__(self, index: int | None = None, **more: Any) -> None:  # scripts make others of its class
        object.__setattr__(self, "_own_index", index)
        object.__setattr__(self, "__dict__", _Names({**more, "index": index}))

    @property
    def index(self) -> int | None:
        """The board's index, whatever the namespace's dict holds."""
        found: int | None = self._own_index
        return found

    def __setattr__(self, name: str, value: Any) -> None:
        if name in _FIXED:
            raise _refused()
        super().__setattr__(name, value)

    def __delattr__(self, name: str) -> None:
        if name in _FIXED:
            raise _refused()
        super().__delattr__(name)


_FIXED = frozenset({"index", "_own_index", "__dict__", "__class__"})


class _Names(dict[str, Any]):
    """What `vars(args)` gives: it takes no other index either."""

    def __setitem__(self, name: str, value: Any) -> None:
        self._check(name)
        super().__setitem__(name, value)

    def __delitem__(self, name: str) -> None:
        self._check(name)
        super().__delitem__(name)

    def update(self, *args: Any, **more: Any) -> None:
        new = dict(*args, **more)
        for name in new:
            self._check(name)
        super().update(new)

    def __ior__(self, other: Mapping[str, Any]) -> _Names:  # type: ignore[override,misc]  # as update
        self.update(other)
        return self

    def pop(self, name: str, *default: Any) -> Any:
        self._check(name)
        return super().pop(name, *default)

    def popitem(self) -> tuple[str, Any]:
        raise _refused()

    def clear(self) -> None:
        raise _refused()

    @staticmethod
    def _check(name: str) -> None:
        if name == "index":
            raise _refused()
