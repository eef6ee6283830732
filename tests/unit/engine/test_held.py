"""Requests behind those that the kernel performs inline, without rings."""

from typing import Any

import trio
import trio.testing

from uringfs.engine.held import PATIENCE, Held
from uringfs.engine.request import Holds


class One:
    def __init__(self, holds: Holds | None = None, fills_slot: bool = False) -> None:
        self.holds, self.fills_slot = holds, fills_slot


def a_held(nursery: trio.Nursery) -> tuple[Held, list[Any]]:
    started: list[Any] = []

    def go_on() -> None:
        while (found := held.next()) is not None:
            started.append(found)

    held = Held(nursery, go_on)
    return held, started


async def test_they_start_in_order_once_it_is_complete(nursery: trio.Nursery) -> None:
    held, started = a_held(nursery)
    holder: Any = One(Holds.ALL)
    first: Any = One()
    second: Any = One(fills_slot=True)
    assert not held.must_wait(holder)
    held.hold(holder)
    for each in (first, second):
        assert held.must_wait(each)
        held.wait(each)
    assert started == []
    held.let_go(holder)
    assert started == [first, second]
    assert not held.must_wait(first)


async def test_slots_are_filled_side_by_side(nursery: trio.Nursery) -> None:
    held, started = a_held(nursery)
    holder: Any = One(Holds.SLOTS, fills_slot=True)
    other: Any = One()
    late: Any = One(Holds.SLOTS, fills_slot=True)
    held.hold(holder)
    assert not held.must_wait(late)
    assert held.must_wait(other)
    held.wait(other)
    assert held.must_wait(late)  # nothing overtakes what waits
    held.wait(late)
    held.let_go(holder)
    assert started == [other, late]


async def test_patience_ends(autojump_clock: trio.testing.MockClock, nursery: trio.Nursery) -> None:
    held, started = a_held(nursery)
    holder: Any = One(Holds.ALL)
    behind: Any = One()
    held.hold(holder)
    held.wait(behind)
    await trio.sleep(PATIENCE / 2)
    assert started == []
    await trio.sleep(PATIENCE)
    assert started == [behind]
    held.let_go(holder)  # too late
