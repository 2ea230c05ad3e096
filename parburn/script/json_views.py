"""Cheap copies of parsed config data, one per board. Nothing here reads a file or changes what is shared.

Every board may change what `json.load` gave it, and no board may see another's change. A file of a million
ids cannot be copied for each of 128 boards, so large containers are handed out as views that look into the
shared data and copy only what the board touches: a nested container when it is fetched, everything at the
first change.
"""

from __future__ import annotations

from collections.abc import Callable, ItemsView, Iterable, Iterator, KeysView, MutableSequence, ValuesView
from typing import Any, SupportsIndex, overload

SMALL = 64  # containers up to this many entries are copied at once: a real dict or list


def own_copy(shared: Any) -> Any:
    """Return parsed JSON that its owner may change. Only small containers are copied at once."""
    if type(shared) is dict:
        if len(shared) > SMALL:
            return OwnDict(shared)
        return {key: own_copy(value) if type(value) in _NESTED else value for key, value in shared.items()}
    if type(shared) is list:
        if len(shared) > SMALL:
            return OwnList(shared)
        return [own_copy(value) if type(value) in _NESTED else value for value in shared]
    return shared


def plain(value: Any) -> Any:
    """Return the same data as real dicts and lists, for code that looks into them from C."""
    if type(value) is OwnDict:
        return {key: plain(inner) for key, inner in value.items()}
    if type(value) is OwnList:
        return [plain(inner) for inner in value]
    if type(value) is dict:
        return {key: plain(inner) for key, inner in value.items()}
    if type(value) in (list, tuple):
        return type(value)(plain(inner) for inner in value)
    return value


_NESTED = frozenset({dict, list})


class OwnDict(dict[str, Any]):
    """A dict that looks into a shared one until it is changed.

    The underlying C dict holds a single entry while shared, so that code which asks it for its size does not
    take it for empty and goes on to `items()`.
    """

    __slots__ = ("_fetched", "_shared")

    def __init__(self, shared: dict[str, Any]) -> None:
        super().__init__({next(iter(shared)): None})
        self._shared: dict[str, Any] | None = shared
        self._fetched: dict[str, Any] = {}

    def _take(self) -> None:
        """Become a real copy: nested containers that were fetched before stay the very same objects."""
        shared = self._shared
        if shared is not None:
            fetched = self._fetched
            self._shared = None
            super().clear()
            super().update(
                (key, fetched[key] if key in fetched else own_copy(value)) for key, value in shared.items()
            )

    def __getitem__(self, key: str) -> Any:
        shared = self._shared
        if shared is None:
            return super().__getitem__(key)
        value = shared[key]
        if type(value) in _NESTED:
            if key not in self._fetched:
                self._fetched[key] = own_copy(value)
            return self._fetched[key]
        return value

    def get(self, key: str, default: Any = None) -> Any:
        """Return the value of a key, as dict does."""
        try:
            return self[key]
        except KeyError:
            return default

    def __contains__(self, key: object) -> bool:
        return super().__contains__(key) if self._shared is None else key in self._shared

    def __len__(self) -> int:
        return super().__len__() if self._shared is None else len(self._shared)

    def __iter__(self) -> Iterator[str]:
        return super().__iter__() if self._shared is None else iter(self._shared)

    def __reversed__(self) -> Iterator[str]:
        return super().__reversed__() if self._shared is None else reversed(self._shared)

    def keys(self) -> KeysView[str]:  # type: ignore[override]  # typeshed wants the private dict_keys
        """Return the keys, as dict does."""
        return super().keys() if self._shared is None else self._shared.keys()

    def values(self) -> ValuesView[Any]:  # type: ignore[override]  # typeshed wants the private dict_values
        """Return the values, as dict does; nested ones are this board's own."""
        return ValuesView(self)

    def items(self) -> ItemsView[str, Any]:  # type: ignore[override]  # typeshed wants the private dict_items
        """Return keys and values, as dict does; nested values are this board's own."""
        return ItemsView(self)

    def __repr__(self) -> str:
        self._take()
        return super().__repr__()

    def __eq__(self, other: object) -> bool:
        if type(other) is OwnDict:
            other._take()
        self._take()
        return super().__eq__(other)

    def __ne__(self, other: object) -> bool:
        return not self == other

    __hash__ = None  # as for every dict

    def copy(self) -> dict[str, Any]:
        """Return a real dict with the same entries."""
        self._take()
        return dict(super().items())

    def __or__(self, other: Any) -> Any:
        return self.copy() | other

    def __ror__(self, other: Any) -> Any:
        return other | self.copy()

    def __reduce_ex__(self, protocol: SupportsIndex) -> tuple[Callable[..., Any], tuple[Any, ...]]:
        return dict, (plain(self),)


def _taking(name: str) -> Callable[..., Any]:
    """Return a method of dict that changes it: the view becomes a real copy first."""
    method = getattr(dict, name)

    def change(self: OwnDict, *args: Any, **more: Any) -> Any:
        self._take()
        return method(self, *args, **more)

    change.__name__ = name
    return change


for _name in ("__setitem__", "__delitem__", "__ior__", "clear", "pop", "popitem", "setdefault", "update"):
    setattr(OwnDict, _name, _taking(_name))


class OwnList(MutableSequence[Any]):
    """A list that looks into a shared one until it is changed.

    Not a subclass of list: C code would read the empty list beneath and be silently wrong. It says it is a
    list to `isinstance`, and compares equal to one.
    """

    __slots__ = ("_fetched", "_items", "_shared")

    def __init__(self, shared: list[Any]) -> None:
        self._items = shared
        self._shared = True
        self._fetched: dict[int, Any] = {}

    @property  # type: ignore[misc]  # isinstance asks for it; nobody sets it
    def __class__(self) -> type[Any]:
        return list

    def _take(self) -> list[Any]:
        if self._shared:
            fetched = self._fetched
            self._items = [
                fetched[place] if place in fetched else own_copy(value)
                for place, value in enumerate(self._items)
            ]
            self._shared = False
        return self._items

    @overload
    def __getitem__(self, place: int) -> Any: ...
    @overload
    def __getitem__(self, place: slice) -> list[Any]: ...
    def __getitem__(self, place: int | slice) -> Any:
        if isinstance(place, slice):
            return [self[one] for one in range(*place.indices(len(self)))]
        value = self._items[place]
        if not self._shared or type(value) not in _NESTED:
            return value
        if place < 0:
            place += len(self._items)
        if place not in self._fetched:
            self._fetched[place] = own_copy(value)
        return self._fetched[place]

    def __len__(self) -> int:
        return len(self._items)

    def __setitem__(self, place: Any, value: Any) -> None:
        self._take()[place] = value

    def __delitem__(self, place: Any) -> None:
        del self._take()[place]

    def insert(self, place: int, value: Any) -> None:
        """Insert a value, as list does."""
        self._take().insert(place, value)

    def sort(self, **how: Any) -> None:
        """Sort in place, as list does."""
        self._take().sort(**how)

    def copy(self) -> list[Any]:
        """Return a real list with the same entries."""
        return list(self._take())

    def __add__(self, other: Iterable[Any]) -> list[Any]:
        return self.copy() + list(other)

    def __eq__(self, other: object) -> bool:
        return self._take() == (other._take() if type(other) is OwnList else other)

    __hash__ = None  # type: ignore[assignment]  # as for every list

    def __repr__(self) -> str:
        return repr(self._take())

    def __reduce_ex__(self, protocol: SupportsIndex) -> tuple[Callable[..., Any], tuple[Any, ...]]:
        return list, (plain(self),)
