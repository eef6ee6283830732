"""A client's thread that polls an IORING_SETUP_SQPOLL ring in the daemon's place: docs/lane.md, "Polled rings"."""

import errno
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import pytest
import trio
import trio.testing
from trio.testing import wait_all_tasks_blocked

from tests.fakehost.host import FakeCaller, FakeThread
from tests.unit.engine.test_sqpoll import Polled
from tests.unit.laneclient import BASE
from uringfs.abi import lane as abi
from uringfs.abi.constants import IORING_ENTER_SQ_WAIT, IORING_ENTER_SQ_WAKEUP
from uringfs.engine.sqpoll import SqPoller
from uringfs.errors import UringError
from uringfs.ops.table import LANE_OPS


class Shared(Polled):
    """A ring with a poller and a lane, and a thread of the creator's process that may poll it."""

    def __init__(self, nursery: trio.Nursery) -> None:
        super().__init__(nursery)
        self.client = self.another(101, of=self.thread)

    @property
    def poller(self) -> SqPoller:
        assert self.context.poller is not None
        return self.context.poller

    def another(self, tid: int, of: FakeThread | None = None) -> FakeThread:
        thread = self.host.thread(tid)
        if of is not None:
            thread.process = of.process
        return thread

    async def attach(self) -> None:
        await self.context.sharing.attach(self.caller, LANE_OPS)

    async def serve(self, to_submit: int = 0, thread: FakeThread | None = None) -> int:
        return await self.poller.serve(FakeCaller(thread or self.client), to_submit)

    def load(self, offset: int) -> int:
        return self.ring.memory.load(BASE + offset)

    def seen(self) -> list[int]:
        return [cqe.user_data for _, cqe in self.ring.cq.peek()]


@asynccontextmanager
async def attached() -> AsyncIterator[Shared]:
    """A client has attached to the ring, which is closed at the end."""
    async with trio.open_nursery() as nursery:
        shared = Shared(nursery)
        await shared.attach()
        yield shared
        shared.context.close()


async def refusal(call: Callable[[], Awaitable[object]]) -> int:
    with pytest.raises(UringError) as caught:
        await call()
    return caught.value.errno


async def test_the_daemon_leaves_it_to_the_client(autojump_clock: trio.testing.MockClock) -> None:
    async with attached() as shared:
        assert await shared.serve() == 0
        assert shared.load(abi.LANE_POLLER) == 101
        shared.nop(1)
        shared.nop(2)
        await trio.sleep(10)
        assert (shared.seen(), shared.asleep()) == ([], False)
        assert await shared.serve(1) == 1
        assert shared.seen() == [1]
        assert await shared.serve(8) == 1
        assert shared.seen() == [1, 2]


async def test_asleep_it_leaves_no_flag_behind(autojump_clock: trio.testing.MockClock) -> None:
    """From then on NEED_WAKEUP is the client's to set and clear."""
    async with attached() as shared:
        await trio.sleep(1)
        assert shared.asleep()
        await shared.serve()
        assert not shared.asleep()


async def test_a_wakeup_is_handed_on(autojump_clock: trio.testing.MockClock) -> None:
    async with attached() as shared:
        await shared.serve()
        before = shared.load(abi.LANE_WAKEUPS)
        assert await shared.enter(1, IORING_ENTER_SQ_WAKEUP) == 1
        assert shared.load(abi.LANE_WAKEUPS) == before + 1


async def test_when_it_has_ended_the_daemon_goes_on(autojump_clock: trio.testing.MockClock) -> None:
    async with attached() as shared:
        await shared.serve()
        shared.nop(1)
        shared.client.exit()
        await trio.sleep(0.002)
        assert shared.seen() == [1]
        assert shared.load(abi.LANE_POLLER) == 0
        shared.client = shared.another(102, of=shared.thread)
        await shared.serve()
        assert shared.load(abi.LANE_POLLER) == 102


async def test_when_the_creator_has_ended_it_is_told(autojump_clock: trio.testing.MockClock) -> None:
    async with trio.open_nursery() as nursery:
        shared = Shared(nursery)
        await shared.attach()
        await shared.serve()
        before = shared.load(abi.LANE_WAKEUPS)
        shared.thread.exit()
        await trio.sleep(0.001)
        assert (shared.load(abi.LANE_POLLER), shared.load(abi.LANE_WAKEUPS)) == (0, before + 1)
        assert shared.asleep()
        assert await refusal(shared.serve) == errno.EOWNERDEAD


async def test_when_the_ring_is_closed_it_is_told(autojump_clock: trio.testing.MockClock) -> None:
    async with trio.open_nursery() as nursery:
        shared = Shared(nursery)
        await shared.attach()
        await shared.serve()
        shared.context.close()
        assert (shared.load(abi.LANE_POLLER), shared.load(abi.LANE_VERSION)) == (0, 0)
        shared.ring.memory.close()
        shared.client.exit()
        await wait_all_tasks_blocked()


async def test_who_may_not(autojump_clock: trio.testing.MockClock) -> None:
    async with trio.open_nursery() as nursery:
        shared = Shared(nursery)
        assert await refusal(shared.serve) == errno.ENOTCONN
        await shared.attach()
        stranger, second = shared.another(200), shared.another(102, of=shared.thread)
        assert await refusal(lambda: shared.serve(thread=stranger)) == errno.EPERM
        await shared.serve()
        assert await refusal(lambda: shared.serve(thread=stranger)) == errno.EPERM
        assert await refusal(lambda: shared.serve(thread=second)) == errno.EBUSY
        shared.context.close()


async def test_a_disabled_ring(autojump_clock: trio.testing.MockClock) -> None:
    async with trio.open_nursery() as nursery:
        shared = Shared(nursery)
        shared.context.disabled = True
        await shared.attach()
        shared.nop(1)
        assert await shared.serve(1) == 0
        before = shared.load(abi.LANE_WAKEUPS)
        shared.context.enable(shared.caller)
        assert shared.load(abi.LANE_WAKEUPS) == before + 1
        assert await shared.serve(1) == 1
        shared.context.close()


async def test_sq_wait(autojump_clock: trio.testing.MockClock) -> None:
    async with attached() as shared:
        await shared.serve()
        for user_data in range(4):
            shared.nop(user_data)
        with trio.fail_after(5):
            async with trio.open_nursery() as waiting:
                waiting.start_soon(shared.enter, 4, IORING_ENTER_SQ_WAIT)
                await trio.sleep(0.1)
                assert shared.ring.sq.pending() == 4
                await shared.serve(4)
