"""What was seen at one look compared with the next: who left, who came. Pure; looks at nothing itself."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from parburn.station.arrivals import Node, OnArrival, OnLeaving


class Change(NamedTuple):
    """A node that left its slot, or came to it."""

    slot: str
    node: Node
    came: bool


class SeenNodes:
    """The nodes in slots as they were last seen."""

    def __init__(self) -> None:
        self._seen: dict[str, Node] = {}

    def all_now(self, found: Mapping[str, Node]) -> list[Change]:
        """Take in a look at all slots; return what changed: first all that left, then all that came.

        Args:
            found: Node by slot; an empty slot is not in it.
        """
        left = [
            Change(slot, node, came=False) for slot, node in self._seen.items() if found.get(slot) != node
        ]
        came = [Change(slot, node, came=True) for slot, node in found.items() if self._seen.get(slot) != node]
        self._seen = dict(found)
        return left + came

    def one_now(self, slot: str, node: Node) -> list[Change]:
        """Take in that this node is in a slot. It is in no other one any more, nor another one in this."""
        found = {place: one for place, one in self._seen.items() if place != slot and one.path != node.path}
        return self.all_now({**found, slot: node})

    def path_gone(self, path: str) -> list[Change]:
        """Take in that a path is gone."""
        return self.all_now({slot: node for slot, node in self._seen.items() if node.path != path})


def tell(changes: list[Change], on_arrival: OnArrival, on_leaving: OnLeaving) -> None:
    """Tell changes in their order."""
    for change in changes:
        (on_arrival if change.came else on_leaving)(change.slot, change.node)
