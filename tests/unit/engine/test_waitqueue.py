"""Requests that wait for one file go on last armed first, and keep that order while one of them settles."""

from collections.abc import Awaitable, Callable

import pytest
import trio
import trio.testing

from uringfs.engine.waitqueue import Armed, LastFirst


async def at_once() -> None:
    await trio.lowlevel.checkpoint_if_cancelled()


def later(turns: int) -> Callable[[], Awaitable[None]]:
    async def settle() -> None:
        for _ in range(turns):
            await trio.lowlevel.checkpoint()

    return settle


async def waiting(armed: Armed, event: trio.Event, settle: Callable[[], Awaitable[None]], gone: list[int]) -> None:
    with armed:
        await event.wait()
        await armed.go_on(settle)
        gone.append(armed.number)


@pytest.mark.parametrize("settling", [0, 1, 2, 3])
async def test_the_last_armed_goes_on_first_however_long_one_settles(settling: int) -> None:
    order, gone, event = LastFirst(), list[int](), trio.Event()
    async with trio.open_nursery() as nursery:
        for number in range(4):
            settle = later(5) if number == settling else at_once
            nursery.start_soon(waiting, order.arm("file"), event, settle, gone)
        await trio.testing.wait_all_tasks_blocked()
        event.set()
    assert gone == [3, 2, 1, 0]


async def test_who_settles_once_more_keeps_its_place() -> None:
    order, gone, event = LastFirst(), list[int](), trio.Event()

    async def again(armed: Armed) -> None:
        with armed:
            await event.wait()
            await armed.go_on(at_once)
            await armed.once_more(later(5))
            gone.append(armed.number)

    async with trio.open_nursery() as nursery:
        for _ in range(3):
            nursery.start_soon(again, order.arm("file"))
        await trio.testing.wait_all_tasks_blocked()
        event.set()
    assert gone == [2, 1, 0]


async def test_nobody_waits_for_one_that_settles_when_its_client_says() -> None:
    order, gone, event, never = LastFirst(), list[int](), trio.Event(), trio.Event()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(waiting, order.arm("file"), event, at_once, gone)
        nursery.start_soon(waiting, order.arm("file", by_itself=True), event, never.wait, gone)
        await trio.testing.wait_all_tasks_blocked()
        event.set()
        await trio.testing.wait_all_tasks_blocked()
        assert gone == [0]
        nursery.cancel_scope.cancel()


async def test_one_that_is_cancelled_lets_the_others_go_on() -> None:
    order, gone, event, never = LastFirst(), list[int](), trio.Event(), trio.Event()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(waiting, order.arm("file"), event, at_once, gone)
        async with trio.open_nursery() as first:
            first.start_soon(waiting, order.arm("file"), event, never.wait, gone)
            await trio.testing.wait_all_tasks_blocked()
            event.set()
            await trio.testing.wait_all_tasks_blocked()
            assert not gone
            first.cancel_scope.cancel()
    assert gone == [0]
    assert not order._queues


async def test_files_do_not_wait_for_each_other() -> None:
    order, gone, event, never = LastFirst(), list[int](), trio.Event(), trio.Event()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(waiting, order.arm("one"), event, never.wait, gone)
        nursery.start_soon(waiting, order.arm("another"), event, at_once, gone)
        await trio.testing.wait_all_tasks_blocked()
        event.set()
        await trio.testing.wait_all_tasks_blocked()
        assert gone == [1]
        nursery.cancel_scope.cancel()


@pytest.mark.usefixtures("as_they_come")
async def test_files_come_in_the_order_of_their_events() -> None:
    """The second is ready when those of the first have been let go on, and have not come to it."""
    gone, first, second = list[int](), trio.Event(), trio.Event()

    class Order(LastFirst):
        def _all_go_on(self) -> None:
            second.set()
            super()._all_go_on()

    order = Order()
    async with trio.open_nursery() as nursery:
        for _ in range(2):
            nursery.start_soon(waiting, order.arm("one"), first, at_once, gone)
        nursery.start_soon(waiting, order.arm("another"), second, at_once, gone)
        await trio.testing.wait_all_tasks_blocked()
        first.set()
    assert gone == [1, 0, 2]


async def test_an_event_of_one_that_was_cancelled_holds_up_nobody() -> None:
    order, gone, event = LastFirst(), list[int](), trio.Event()
    event.set()
    cancelled = order.arm("one")
    cancelled.happened()
    cancelled.close()
    with trio.fail_after(30):
        await waiting(order.arm("another"), event, at_once, gone)
    assert gone == [1]
