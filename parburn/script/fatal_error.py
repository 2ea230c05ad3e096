"""The exceptions a script may catch: esptool.FatalError and its kin, as parburn raises them into scripts."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import ParamSpec, TypeVar

from parburn.errors import ParburnError

P = ParamSpec("P")
T = TypeVar("T")


class _Fixed(type):
    """Classes that all boards' scripts see: none can leave anything in them for another."""

    def __setattr__(cls, name: str, value: object) -> None:
        raise TypeError(f"{cls.__name__}.{name} cannot be set: the class is shared by all boards")


class FatalError(RuntimeError, metaclass=_Fixed):
    """`esptool.FatalError` as scripts see it. `error` is parburn's own error when it was one."""

    error: ParburnError | None = None

    @staticmethod
    def of(error: ParburnError) -> FatalError:
        """Return the same refusal for a script to catch."""
        text = f"{error}. {error.hint}" if error.hint else str(error)
        raised = FatalError(text)
        raised.error = error
        return raised


class NotSupportedError(FatalError):
    """`esptool.NotSupportedError`: nothing raises it here; scripts may catch it."""


class UnsupportedCommandError(FatalError, NotImplementedError):
    """`esptool.UnsupportedCommandError`: nothing raises it here; scripts may catch it."""


class NotImplementedInROMError(FatalError):
    """`esptool.NotImplementedInROMError`: nothing raises it here; scripts may catch it."""


def for_scripts(function: Callable[P, T]) -> Callable[P, T]:
    """Wrap a function that scripts call: what parburn refuses, it raises as FatalError."""

    @wraps(function)
    def called(*args: P.args, **kwargs: P.kwargs) -> T:
        try:
            return function(*args, **kwargs)
        except ParburnError as error:
            raise FatalError.of(error) from error

    return called
