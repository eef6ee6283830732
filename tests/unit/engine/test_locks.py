import trio
import trio.testing

from uringfs.engine.locks import TicketLock, TicketLocks


async def use(lock: TicketLock, name: str, seen: list[str], go: trio.Event | None = None) -> None:
    async with lock:
        seen.append(name)
        if go is not None:
            await go.wait()


async def test_they_go_in_the_order_they_asked(nursery: trio.Nursery) -> None:
    locks, seen, go = TicketLocks(), list[str](), trio.Event()
    first, second, third = locks.ask("file"), locks.ask("file"), locks.ask("file")
    nursery.start_soon(use, third, "third", seen)
    nursery.start_soon(use, second, "second", seen)
    nursery.start_soon(use, first, "first", seen, go)
    nursery.start_soon(use, locks.ask("other file"), "other", seen)
    await trio.testing.wait_all_tasks_blocked()
    assert sorted(seen) == ["first", "other"]
    go.set()
    await trio.testing.wait_all_tasks_blocked()
    assert seen[-2:] == ["second", "third"]
    del first, second, third
    assert len(locks) == 0


async def test_who_is_cancelled_or_dropped_holds_up_nobody(nursery: trio.Nursery) -> None:
    locks, seen, go = TicketLocks(), list[str](), trio.Event()
    nursery.start_soon(use, locks.ask("file"), "first", seen, go)
    dropped, cancelled = locks.ask("file"), locks.ask("file")
    last = locks.ask("file")
    del dropped
    with trio.move_on_after(0):
        await use(cancelled, "cancelled", seen)
    nursery.start_soon(use, last, "last", seen)
    go.set()
    await trio.testing.wait_all_tasks_blocked()
    assert seen == ["first", "last"]


async def test_who_releases_early_lets_nobody_past_those_before(nursery: trio.Nursery) -> None:
    locks, seen, go = TicketLocks(), list[str](), trio.Event()
    nursery.start_soon(use, locks.ask("file"), "first", seen, go)
    locks.ask("file").release()
    nursery.start_soon(use, locks.ask("file"), "last", seen)
    await trio.testing.wait_all_tasks_blocked()
    assert seen == ["first"]
    go.set()
    await trio.testing.wait_all_tasks_blocked()
    assert seen == ["first", "last"]


async def test_patience_ends(autojump_clock: trio.testing.MockClock, nursery: trio.Nursery) -> None:
    locks, go = TicketLocks(), trio.Event()
    nursery.start_soon(use, locks.ask("file"), "first", [], go)
    lock = locks.ask("file")
    await lock.acquire(1)
    assert trio.current_time() == 1
    lock.release()
    go.set()
