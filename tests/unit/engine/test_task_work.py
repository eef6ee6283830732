"""IORING_SETUP_DEFER_TASKRUN: completions wait for an enter that waits, or for the end of the ring."""

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from tests.fakehost.files import Stream
from tests.unit.support import Bench, nop
from uringfs.abi.constants import (
    IORING_ENTER_GETEVENTS,
    IORING_SETUP_DEFER_TASKRUN,
    IORING_SETUP_SINGLE_ISSUER,
    IORING_SETUP_SQPOLL,
    IORING_SETUP_TASKRUN_FLAG,
    IORING_SQ_CQ_OVERFLOW,
    IORING_SQ_TASKRUN,
    IOSQE_IO_LINK,
    OPCODES,
)
from uringfs.abi.events import IORING_TIMEOUT_MULTISHOT
from uringfs.abi.structs import SQ_FLAGS, TIMESPEC, Sqe
from uringfs.ops.events.poll import IORING_POLL_ADD_MULTI

POLL_ADD, READ, TIMEOUT = (OPCODES.index(name) for name in ("POLL_ADD", "READ", "TIMEOUT"))
BUFFER, TS = 0x10000, 0x20000


@pytest.fixture
async def deferring(nursery: trio.Nursery) -> Bench:
    bench = Bench(nursery, flags=IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_DEFER_TASKRUN)
    bench.thread.memory.map(BUFFER, 64)
    bench.thread.memory.put(TS, TIMESPEC.pack(1, 0))
    return bench


async def test_what_is_complete_is_posted_by_an_enter_that_waits(deferring: Bench) -> None:
    stream = deferring.thread.fds[3] = Stream()
    await deferring.submit(Sqe(READ, fd=3, addr=BUFFER, len=4, user_data=1))
    stream.feed(b"data")
    await wait_all_tasks_blocked()
    assert deferring.client.results() == []
    assert await deferring.enter(0, wait=1) == 0
    assert deferring.client.results() == [(1, 4)]
    assert stream.opens == 0


@pytest.mark.parametrize("wait", [0, 1])
async def test_an_enter_does_the_work_however_much_others_have_sent(deferring: Bench, wait: int) -> None:
    """Its ring cannot have been closed: whether the wire is read makes no difference."""
    stream = deferring.thread.fds[3] = Stream()
    await deferring.submit(Sqe(READ, fd=3, addr=BUFFER, len=4, user_data=1))
    stream.feed(b"data")
    await wait_all_tasks_blocked()
    deferring.host.unread = 100
    assert await deferring.enter(0, wait, IORING_ENTER_GETEVENTS) == 0
    assert deferring.client.results() == [(1, 4)]


async def test_what_is_complete_when_the_ring_is_closed_holds_nothing(deferring: Bench) -> None:
    stream, behind = Stream(), Stream(b"data")
    deferring.thread.fds.update({3: stream, 4: behind})
    read = Sqe(READ, IOSQE_IO_LINK, fd=3, addr=BUFFER, len=4)
    await deferring.submit(read, Sqe(READ, fd=4, addr=BUFFER, len=4), nop(2))
    stream.feed(b"data")
    await wait_all_tasks_blocked()
    assert stream.opens == 1
    deferring.context.close()
    await wait_all_tasks_blocked()
    assert (stream.opens, behind.opens) == (0, 0)
    assert behind.data == b"data"  # what was linked is not begun any more


async def test_events_of_a_poll_when_the_ring_is_closed(deferring: Bench) -> None:
    """The first ends it, for the CQ is full; the others find it gone."""
    stream = deferring.thread.fds[3] = Stream()
    for _ in range(2):
        await deferring.submit(*(nop(n) for n in range(8)))
    await deferring.submit(Sqe(POLL_ADD, fd=3, len=IORING_POLL_ADD_MULTI, rw_flags=1, user_data=1))
    for _ in range(3):
        stream.feed(b"data")
        deferring.host.poller.dispatch()
    await wait_all_tasks_blocked()
    deferring.context.close()
    await wait_all_tasks_blocked()
    assert stream.opens == 0


async def test_a_timeout_that_has_run_out_then_is_not_set_again(deferring: Bench, mock_clock: MockClock) -> None:
    multishot = Sqe(TIMEOUT, fd=-1, addr=TS, len=1, rw_flags=IORING_TIMEOUT_MULTISHOT)
    await deferring.submit(multishot)
    mock_clock.jump(1.5)
    await wait_all_tasks_blocked()
    deferring.context.close()
    await wait_all_tasks_blocked()
    assert deferring.host.timers._heap.first() is None


async def test_the_flag_shows_as_long_as_anything_wants_an_enter(nursery: trio.Nursery) -> None:
    flags = IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_DEFER_TASKRUN | IORING_SETUP_TASKRUN_FLAG
    bench = Bench(nursery, flags=flags)
    ring, stream = bench.ring, Stream()
    bench.thread.fds[3] = stream
    bench.thread.memory.map(BUFFER, 64)

    def shows() -> bool:
        return bool(ring.memory.load(SQ_FLAGS) & IORING_SQ_TASKRUN)

    await bench.submit(Sqe(READ, fd=3, addr=BUFFER, len=4, user_data=1))
    ring.want_enter(True)
    assert shows()
    stream.feed(b"data")
    await wait_all_tasks_blocked()
    ring.want_enter(False)
    assert shows()
    ring.want_enter(True)
    await bench.enter(0, wait=1)
    assert shows()
    ring.want_enter(False)
    assert not shows()


async def test_a_polled_ring_shows_it_as_an_overflow(nursery: trio.Nursery) -> None:
    """libuv looks for nothing else, and a polled ring has no task work."""
    ring = Bench(nursery, flags=IORING_SETUP_SQPOLL).ring
    for wanted in (True, False):
        ring.want_enter(wanted)
        assert bool(ring.memory.load(SQ_FLAGS) & IORING_SQ_CQ_OVERFLOW) == wanted
        assert not ring.memory.load(SQ_FLAGS) & IORING_SQ_TASKRUN
