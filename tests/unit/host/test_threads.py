"""Serial work: its order, its cancellation, its failures. Errors of threads."""

import errno
import gc
import threading
import weakref

import pytest
import trio
import trio.lowlevel

from tests.unit.support import Spawned
from uringfs.errors import UringError
from uringfs.host.threads import Threads, in_thread


async def test_work_on_one_key_keeps_its_order_and_another_s_goes_on(nursery: trio.Nursery) -> None:
    serial, seen, go = Threads().serial, list[int](), threading.Event()
    done = list[int]()

    def work(number: int) -> int:
        if number == 0:
            go.wait()
        seen.append(number)
        return number

    async def ask(key: str, number: int) -> None:
        done.append(await serial.run(key, lambda: work(number)))

    for number in range(5):
        nursery.start_soon(ask, "file", number)
        await trio.testing.wait_all_tasks_blocked()
    await ask("other file", 9)
    assert seen == [9]
    go.set()
    while len(done) < 6:
        await trio.lowlevel.checkpoint()
    assert seen == [9, 0, 1, 2, 3, 4]
    while len(serial):
        await trio.lowlevel.checkpoint()


async def test_what_has_not_begun_is_cancelled(nursery: trio.Nursery) -> None:
    serial, began, go, seen = Threads().serial, threading.Event(), threading.Event(), list[str]()

    def first() -> None:
        began.set()
        go.wait()
        seen.append("first")

    nursery.start_soon(serial.run, "file", first)
    await trio.to_thread.run_sync(began.wait)
    with trio.move_on_after(0) as scope:
        await serial.run("file", lambda: seen.append("never"))
    assert scope.cancelled_caught
    go.set()
    await serial.run("file", lambda: seen.append("last"))
    assert seen == ["first", "last"]


async def test_begun_work_ends_before_its_cancellation() -> None:
    serial, began, go = Threads().serial, threading.Event(), threading.Event()
    token = trio.lowlevel.current_trio_token()

    def work() -> str:
        began.set()
        go.wait()
        return "done"

    with trio.CancelScope() as scope:

        def cancel() -> None:
            began.wait()
            token.run_sync_soon(scope.cancel)
            token.run_sync_soon(go.set)

        thread = threading.Thread(target=cancel)
        thread.start()
        assert await serial.run("file", work) == "done"
    thread.join()


async def test_a_failure_is_its_own() -> None:
    serial = Threads().serial

    def fail() -> None:
        raise OSError("this one")

    with pytest.raises(OSError, match="this one"):
        await serial.run("file", fail)
    assert await serial.run("file", lambda: 5) == 5


async def test_it_costs_no_task_of_its_own() -> None:
    serial = Threads().serial
    with Spawned() as spawned:
        for number in range(100):
            assert await serial.run("file", lambda number=number: number) == number
    assert spawned.count == 0


async def test_with_all_threads_busy_it_waits_for_one(nursery: trio.Nursery) -> None:
    threads, seen = Threads(), list[str]()
    threads.limiter.total_tokens = 1
    async with threads.limiter:
        nursery.start_soon(threads.serial.run, "file", lambda: seen.append("first"))
        await trio.testing.wait_all_tasks_blocked()
        assert seen == []
        assert threads.limiter.statistics().tasks_waiting == 1
    await threads.serial.run("file", lambda: seen.append("second"))
    assert seen == ["first", "second"]
    while len(threads.serial):
        await trio.lowlevel.checkpoint()
    assert threads.limiter.borrowed_tokens == 0


async def test_an_error_of_a_thread_keeps_nothing() -> None:
    """No cycle of it and the frames it has come through: what those hold is let go at once."""

    class Held:
        pass

    held = Held()
    there = weakref.ref(held)

    def fail(what: Held) -> None:
        raise UringError(errno.EIO, "of the thread")

    gc.disable()
    try:
        with pytest.raises(UringError, match="of the thread") as raised:
            await in_thread(fail, held, limiter=trio.CapacityLimiter(1))
        assert raised.value.__cause__ is None
        del held, raised
        with trio.fail_after(10):  # the thread itself may be on its way out
            while there() is not None:
                await trio.lowlevel.checkpoint()
    finally:
        gc.enable()
