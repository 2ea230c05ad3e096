"""A property of every chip: what a plan says is what the chip shows after its commit, through the driver."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from parburn.chips.model import ControllerKind
from parburn.efuse.plan import plan_burns
from parburn.errors import EfuseError
from parburn.hardware.commit import commit
from parburn.sim.board import SimulatedBoard
from tests.efuse.test_properties import requests, scheme_value, sparse
from tests.hardware.commit_bench import Book, connected, in_virtual_time
from tests.peers.kinds import KINDS, Kind
from tests.sim.boards import make_board


def used_board(kind: Kind, draw: st.DataObject) -> SimulatedBoard:
    """A board of this kind, of which some fields of BLOCK0 were burned before."""
    major, minor = kind.revision or ((3, 0) if kind.chip.controller is ControllerKind.CLASSIC else (0, 0))
    coding = (
        draw.draw(st.sampled_from(["none", "3/4"]))
        if kind.chip.controller is ControllerKind.CLASSIC
        else "none"
    )
    board = make_board(kind.chip_name, f"revision={major}.{minor}", f"coding={coding}")
    kept = {one.name for one in board.chip.identity_fields} | {*board.chip.link_end_by_field}
    kept |= {board.chip.coding_field or "", *(name for name in board.chip.revision_fields if name)}
    places = [one for one in board.chip.fields if one.start is not None and one.block == 0]
    free = [one for one in places if one.name not in kept]
    for one in draw.draw(st.lists(st.sampled_from(free), max_size=4)):
        board.memory.preset_field(one.name, draw.draw(sparse(one.bits)))
    board.controller.load()
    return board


@pytest.mark.parametrize("kind", KINDS.values(), ids=KINDS)
@settings(max_examples=25, deadline=None)
@given(data=st.data())
def test_what_a_plan_says_is_what_the_chip_shows_after_its_commit(kind: Kind, data: st.DataObject) -> None:
    board = used_board(kind, data)

    async def job() -> None:
        device = await connected(board)
        try:
            assert device.chip is kind.chip or kind.chip.controller is ControllerKind.CLASSIC
            staged = data.draw(requests(device.chip, device.image))
            try:
                plan = plan_burns(device.image, staged)
            except EfuseError:
                return
            if not plan or any(step.ends_link for step in plan.steps):
                return
            if scheme_value(plan.apply(device.image)) != scheme_value(device.image):
                return  # the blocks are read in another way then
            result = await commit(plan, device.controller, device.image, Book().hooks(device))
            shown = {block.index: board.memory.visible(block.index) for block in board.chip.blocks}
            assert shown == dict(plan.apply(device.image).blocks) == dict(result.image.blocks)
        finally:
            await device.rom.aclose()

    in_virtual_time(job())
