import trio
import trio.testing

from uringfs.engine.position import Turn, Turns


async def use(turn: Turn, name: str, seen: list[str], go: trio.Event | None = None) -> None:
    async with turn:
        seen.append(name)
        if go is not None:
            await go.wait()


async def test_they_go_in_the_order_they_asked(nursery: trio.Nursery) -> None:
    turns, seen, go = Turns(), list[str](), trio.Event()
    first, second, third = turns.take("file"), turns.take("file"), turns.take("file")
    nursery.start_soon(use, third, "third", seen)
    nursery.start_soon(use, second, "second", seen)
    nursery.start_soon(use, first, "first", seen, go)
    nursery.start_soon(use, turns.take("other file"), "other", seen)
    await trio.testing.wait_all_tasks_blocked()
    assert sorted(seen) == ["first", "other"]
    go.set()
    await trio.testing.wait_all_tasks_blocked()
    assert seen[-2:] == ["second", "third"]
    del first, second, third
    assert len(turns) == 0


async def test_who_is_cancelled_or_dropped_holds_up_nobody(nursery: trio.Nursery) -> None:
    turns, seen, go = Turns(), list[str](), trio.Event()
    nursery.start_soon(use, turns.take("file"), "first", seen, go)
    dropped, cancelled = turns.take("file"), turns.take("file")
    last = turns.take("file")
    del dropped
    with trio.move_on_after(0):
        await use(cancelled, "cancelled", seen)
    nursery.start_soon(use, last, "last", seen)
    go.set()
    await trio.testing.wait_all_tasks_blocked()
    assert seen == ["first", "last"]


async def test_who_leaves_early_lets_nobody_past_those_before(nursery: trio.Nursery) -> None:
    turns, seen, go = Turns(), list[str](), trio.Event()
    nursery.start_soon(use, turns.take("file"), "first", seen, go)
    turns.take("file").leave()
    nursery.start_soon(use, turns.take("file"), "last", seen)
    await trio.testing.wait_all_tasks_blocked()
    assert seen == ["first"]
    go.set()
    await trio.testing.wait_all_tasks_blocked()
    assert seen == ["first", "last"]


async def test_patience_ends(autojump_clock: trio.testing.MockClock, nursery: trio.Nursery) -> None:
    turns, go = Turns(), trio.Event()
    nursery.start_soon(use, turns.take("file"), "first", [], go)
    turn = turns.take("file")
    await turn.reached(1)
    assert trio.current_time() == 1
    turn.leave()
    go.set()
