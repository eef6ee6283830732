"""Who waits until the wire is read goes on in the order they came."""

from collections.abc import Callable

import pytest
import trio

from uringfs import native
from uringfs.host.files import closings
from uringfs.host.protocols.host import never


class Wire:
    """Messages are there for the first who asks, and for nobody else."""

    def __init__(self) -> None:
        self.asked = 0

    def unread(self, _: int) -> bool:
        self.asked += 1
        return self.asked == 1


async def went_on(*unless: Callable[[], bool]) -> list[int]:
    gone: list[int] = []

    async def one(number: int, needless: Callable[[], bool]) -> None:
        await closings.settled(needless, first=False)
        gone.append(number)

    async with trio.open_nursery() as nursery:
        for number, needless in enumerate(unless):
            nursery.start_soon(one, number, needless)
    return gone


@pytest.mark.usefixtures("as_they_come")
async def test_nobody_overtakes_who_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(native, "unread", Wire().unread)
    assert await went_on(never, never, never) == [0, 1, 2]


@pytest.mark.usefixtures("as_they_come")
async def test_nobody_overtakes_those_who_wait_until_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    """The wait becomes needless between two of them."""
    asked = 0

    def needless() -> bool:
        nonlocal asked
        asked += 1
        return asked > 1

    monkeypatch.setattr(native, "unread", lambda _: True)
    assert await went_on(needless, needless, needless) == [0, 1, 2]


@pytest.mark.usefixtures("as_they_come")
async def test_one_that_waits_once_more_comes_before_those_who_wait_already(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    gone, unread = list[int](), True
    monkeypatch.setattr(native, "unread", lambda _: unread)

    async def one(number: int, first: bool) -> None:
        await closings.settled(never, first=first)
        gone.append(number)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(one, 0, False)
        await trio.lowlevel.checkpoint()
        nursery.start_soon(one, 1, True)
        await trio.lowlevel.checkpoint()
        unread = False
    assert gone == [1, 0]


@pytest.mark.usefixtures("as_they_come")
async def test_who_need_not_wait_does_not(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(native, "unread", Wire().unread)
    assert await went_on(never, lambda: True) == [1, 0]
