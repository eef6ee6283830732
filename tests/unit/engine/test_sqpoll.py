"""The poller of a ring with IORING_SETUP_SQPOLL, on a clock that jumps."""

import errno
import gc
import weakref

import pytest
import trio
import trio.testing

from tests.fakehost.host import FakeCaller, FakeHost, FakeThread
from tests.unit.support import enter
from uringfs.abi.constants import (
    IORING_ENTER_SQ_WAIT,
    IORING_ENTER_SQ_WAKEUP,
    IORING_SETUP_ATTACH_WQ,
    IORING_SETUP_SQ_AFF,
    IORING_SETUP_SQPOLL,
    IORING_SQ_NEED_WAKEUP,
)
from uringfs.abi.structs import SQ_FLAGS, SQE, Params, Sqe
from uringfs.engine.context import Context
from uringfs.engine.sqpoll import check
from uringfs.engine.tctx import TaskContexts
from uringfs.errors import UringError
from uringfs.memory.mapped import MappedMemory
from uringfs.ops.table import OPS
from uringfs.ring.geometry import Geometry
from uringfs.ring.ring import Ring

IDLE_MS = 20


class Polled:
    """A ring with a poller, and the thread it polls for."""

    def __init__(self, nursery: trio.Nursery) -> None:
        self.thread = FakeThread(100)
        self.host = FakeHost()
        self.host.threads[100] = self.thread
        memory = MappedMemory()
        self.ring = Ring(memory, Geometry.of(4, Params(flags=IORING_SETUP_SQPOLL)), (100, 0))
        self.context = Context(self.ring, nursery, TaskContexts(self.host, nursery), OPS)
        self.caller = self.host.caller(100, 0, 0)
        self.context.offload(self.caller, IDLE_MS)

    def nop(self, user_data: int) -> None:
        assert self.ring.sq.push(SQE.pack(*Sqe(user_data=user_data)))

    def asleep(self) -> bool:
        return bool(self.ring.memory.load(SQ_FLAGS) & IORING_SQ_NEED_WAKEUP)

    async def enter(self, to_submit: int, flags: int) -> int:
        return (await enter(self.context, self.caller, to_submit, flags=flags)).result


async def test_the_tail_is_seen_without_a_call(autojump_clock: trio.testing.MockClock) -> None:
    async with trio.open_nursery() as nursery:
        polled = Polled(nursery)
        await trio.sleep(IDLE_MS / 2000)
        polled.nop(7)
        await trio.sleep(0.002)
        assert [cqe.user_data for _, cqe in polled.ring.cq.peek()] == [7]
        assert not polled.asleep()
        polled.context.close()


async def test_idle_it_sleeps_until_it_is_woken(autojump_clock: trio.testing.MockClock) -> None:
    async with trio.open_nursery() as nursery:
        polled = Polled(nursery)
        await trio.sleep(1)
        assert polled.asleep()
        polled.nop(1)
        await trio.sleep(1)
        assert polled.ring.cq.ready() == 0
        assert await polled.enter(1, 0) == 1
        await trio.sleep(1)
        assert polled.ring.cq.ready() == 0
        assert await polled.enter(1, IORING_ENTER_SQ_WAKEUP) == 1
        await trio.sleep(0.001)
        assert polled.ring.cq.ready() == 1
        assert not polled.asleep()
        polled.context.close()


async def test_sq_wait_waits_for_room(autojump_clock: trio.testing.MockClock) -> None:
    async with trio.open_nursery() as nursery:
        polled = Polled(nursery)
        await trio.sleep(1)
        for user_data in range(4):
            polled.nop(user_data)
        assert await polled.enter(4, IORING_ENTER_SQ_WAKEUP | IORING_ENTER_SQ_WAIT) == 4
        assert polled.ring.sq.pending() == 0
        polled.context.close()


async def test_it_ends_with_its_thread(autojump_clock: trio.testing.MockClock) -> None:
    async with trio.open_nursery() as nursery:
        polled = Polled(nursery)
        await trio.sleep(0.001)
        polled.thread.exit()
        await trio.sleep(0.001)
        assert polled.asleep()
        with pytest.raises(UringError) as caught:
            await polled.enter(1, IORING_ENTER_SQ_WAKEUP)
        assert caught.value.errno == errno.EOWNERDEAD


async def test_sq_wait_ends_with_the_thread(autojump_clock: trio.testing.MockClock) -> None:
    async with trio.open_nursery() as nursery:
        polled = Polled(nursery)
        await trio.sleep(1)
        for user_data in range(4):
            polled.nop(user_data)
        with trio.fail_after(5):
            nursery.start_soon(polled.enter, 4, IORING_ENTER_SQ_WAIT)
            await trio.testing.wait_all_tasks_blocked()
            polled.thread.exit()


@pytest.mark.parametrize("when", [0.0, 0.005, 1.0])
async def test_closed_at_any_time(autojump_clock: trio.testing.MockClock, when: float) -> None:
    with trio.fail_after(5):
        async with trio.open_nursery() as nursery:
            polled = Polled(nursery)
            if when:
                await trio.sleep(when)
            polled.context.close()
            polled.ring.memory.close()


def refusal(flags: int, **params: int) -> int:
    thread = FakeThread(100)
    host = FakeHost()
    host.threads[100] = thread
    with pytest.raises(UringError) as caught:
        check(Params(flags=flags, **params), host.caller(100, 0, 0), lambda inode: None)
    return caught.value.errno


def test_what_is_attached_to_must_be_a_ring() -> None:
    assert refusal(IORING_SETUP_ATTACH_WQ, wq_fd=77) == errno.ENXIO


def test_a_cpu_that_is_not_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.sched_getaffinity", lambda tid: {0, 1})
    assert refusal(IORING_SETUP_SQPOLL | IORING_SETUP_SQ_AFF, sq_thread_cpu=2) == errno.EINVAL


async def test_what_its_caller_holds_goes_at_once(autojump_clock: trio.testing.MockClock) -> None:
    """Descriptors of ours, which must not wait for a garbage collection."""

    class Lasting(FakeCaller):
        def detached(self) -> FakeCaller:
            return self

    gc.disable()
    try:
        async with trio.open_nursery() as nursery:
            polled = Polled(nursery)
            polled.context.close()
            caller = Lasting(polled.thread)
            held = weakref.ref(caller)
            polled.context.offload(caller, IDLE_MS)
            del caller
            await trio.sleep(IDLE_MS / 2000)
            assert held() is not None
            polled.context.close()
            await trio.testing.wait_all_tasks_blocked()
            assert held() is None
            polled.thread.exit()
    finally:
        gc.enable()
