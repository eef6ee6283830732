"""Delays, holds, stalls and windows, on a clock that jumps; and what comes of the CQE."""

import errno

import pytest
import trio
from trio.testing import MockClock

from tests.fakehost.files import RegularFile, Stream
from tests.unit.faults.conftest import ROOT, Inject, read, run, rw, write
from tests.unit.support import Bench, enter, nop
from uringfs.abi import constants as abi
from uringfs.abi.events import EPOLLIN
from uringfs.abi.structs import TIMESPEC, Sqe
from uringfs.faults.engine import FaultEngine

LINK = abi.IOSQE_IO_LINK


def cancel(user_data: int, of: int) -> Sqe:
    return Sqe(abi.IORING_OP_ASYNC_CANCEL, fd=-1, addr=of, user_data=user_data)


async def after(clock: MockClock, seconds: float) -> None:
    clock.jump(seconds)
    await trio.testing.wait_all_tasks_blocked()


async def test_a_delay_before(bench: Bench, file: RegularFile, inject: Inject, mock_clock: MockClock) -> None:
    inject("WRITE:delay_enter=10ms")
    assert await run(bench, write(4, user_data=1), nop(2)) == [(2, 0)]
    assert file.data[:1] == b"\0"
    await after(mock_clock, 0.009)
    assert bench.client.results() == []
    await after(mock_clock, 0.002)
    assert bench.client.results() == [(1, 4)]
    assert file.data[:4] == b"AAAA"


async def test_a_delay_behind(bench: Bench, file: RegularFile, inject: Inject, mock_clock: MockClock) -> None:
    inject("WRITE:delay_exit=10ms")
    assert await run(bench, write(4, user_data=1)) == []
    assert file.data[:4] == b"AAAA"
    await after(mock_clock, 0.011)
    assert bench.client.results() == [(1, 4)]


async def test_what_is_linked_waits_too(bench: Bench, inject: Inject, mock_clock: MockClock) -> None:
    inject("NOP:user_data=1:delay_exit=1ms")
    assert await run(bench, nop(1, LINK), nop(2), nop(3)) == [(3, 0)]
    await after(mock_clock, 0.002)
    assert bench.client.results() == [(1, 0), (2, 0)]


async def test_a_drain_waits_for_what_is_delayed(bench: Bench, inject: Inject, mock_clock: MockClock) -> None:
    inject("NOP:user_data=1:delay_exit=1ms")
    assert await run(bench, nop(1), nop(2, abi.IOSQE_IO_DRAIN)) == []
    await after(mock_clock, 0.002)
    assert bench.client.results() == [(1, 0), (2, 0)]


async def test_a_hold_before(bench: Bench, file: RegularFile, faults: FaultEngine) -> None:
    rule = faults.inject("READ:hold", ROOT)
    assert await run(bench, read(4, user_data=1), read(4, user_data=2)) == []
    assert "2 waiting" in rule.describe()
    assert faults.release(rule.id, ROOT) == 2
    await trio.testing.wait_all_tasks_blocked()
    assert bench.client.results() == [(1, 4), (2, 4)]


async def test_a_hold_behind(bench: Bench, file: RegularFile, faults: FaultEngine) -> None:
    rule = faults.inject("WRITE:hold=exit", ROOT)
    assert await run(bench, write(4, user_data=1)) == []
    assert file.data[:4] == b"AAAA"
    assert faults.release(rule.id, ROOT) == 1
    await trio.testing.wait_all_tasks_blocked()
    assert bench.client.results() == [(1, 4)]


async def test_released_by_another_rule(bench: Bench, file: RegularFile, inject: Inject) -> None:
    rule = inject("READ:hold")
    inject(f"NOP:user_data=9:release={rule.id}")
    assert await run(bench, read(4, user_data=1), nop(2)) == [(2, 0)]
    assert await run(bench, nop(9)) == [(9, 0), (1, 4)]


async def test_a_rule_that_goes_lets_go(bench: Bench, faults: FaultEngine) -> None:
    rule = faults.inject("NOP:hold=exit", ROOT)
    assert await run(bench, nop(1)) == []
    faults.remove(rule.id, ROOT)
    await trio.testing.wait_all_tasks_blocked()
    assert bench.client.results() == [(1, 0)]
    assert not bench.tctx.hooks


async def test_a_rule_that_expires_lets_go(bench: Bench, inject: Inject, mock_clock: MockClock) -> None:
    inject("NOP:hold:expires=1s")
    assert await run(bench, nop(1)) == []
    await after(mock_clock, 1.1)
    assert bench.client.results() == [(1, 0)]
    assert await run(bench, nop(2)) == [(2, 0)]


async def test_a_held_request_can_be_cancelled(bench: Bench, file: RegularFile, faults: FaultEngine) -> None:
    rule = faults.inject("READ:hold", ROOT)
    assert await run(bench, read(4, user_data=1), cancel(2, 1)) == [(2, 0), (1, -errno.ECANCELED)]
    assert rule.waiting == []
    assert faults.release(rule.id, ROOT) == 0


async def test_one_with_its_result_cannot(bench: Bench, file: RegularFile, faults: FaultEngine) -> None:
    rule = faults.inject("READ:hold=exit", ROOT)
    assert await run(bench, read(4, user_data=1), cancel(2, 1)) == [(2, -errno.ENOENT)]
    faults.release(rule.id, ROOT)
    await trio.testing.wait_all_tasks_blocked()
    assert bench.client.results() == [(1, 4)]


async def test_a_poll_that_begins_later(bench: Bench, inject: Inject, mock_clock: MockClock) -> None:
    bench.thread.fds[3] = Stream(b"x")
    inject("POLL_ADD:delay_enter=1ms")
    assert await run(bench, Sqe(abi.IORING_OP_POLL_ADD, fd=3, rw_flags=EPOLLIN, user_data=1)) == []
    await after(mock_clock, 0.002)
    assert bench.client.results() == [(1, EPOLLIN)]


@pytest.mark.parametrize("opcode", [abi.IORING_OP_POLL_REMOVE, abi.IORING_OP_ASYNC_CANCEL])
async def test_a_poll_that_is_held_is_removed(bench: Bench, inject: Inject, opcode: int) -> None:
    bench.thread.fds[3] = Stream()
    inject("POLL_ADD:hold")
    await bench.submit(Sqe(abi.IORING_OP_POLL_ADD, fd=3, rw_flags=EPOLLIN, user_data=1))
    await bench.submit(Sqe(opcode, fd=-1, addr=1, user_data=2))
    await trio.testing.wait_all_tasks_blocked()
    assert sorted(bench.client.results()) == [(1, -errno.ECANCELED), (2, 0)]


async def test_a_timeout_that_is_held_is_removed(bench: Bench, inject: Inject) -> None:
    bench.thread.memory.map(0x20000, 4096)
    bench.thread.memory.put(0x20000, TIMESPEC.pack(1000, 0))
    inject("TIMEOUT:hold")
    await bench.submit(Sqe(abi.IORING_OP_TIMEOUT, fd=-1, addr=0x20000, len=1, user_data=1))
    await bench.submit(cancel(2, 1))
    await trio.testing.wait_all_tasks_blocked()
    assert sorted(bench.client.results()) == [(1, -errno.ECANCELED), (2, 0)]


async def test_a_linked_timeout_ends_what_is_held(
    bench: Bench, file: RegularFile, inject: Inject, mock_clock: MockClock
) -> None:
    bench.thread.memory.map(0x20000, 4096)
    bench.thread.memory.put(0x20000, TIMESPEC.pack(0, 1000))
    inject("READ:hold")
    await bench.submit(
        read(4, user_data=1, flags=LINK), Sqe(abi.IORING_OP_LINK_TIMEOUT, fd=-1, addr=0x20000, len=1, user_data=2)
    )
    await after(mock_clock, 0.1)
    assert sorted(bench.client.results()) == [(1, -errno.ECANCELED), (2, -errno.ETIME)]


async def test_a_caller_that_is_gone(bench: Bench, file: RegularFile, faults: FaultEngine) -> None:
    rule = faults.inject("READ:hold", ROOT)
    assert await run(bench, read(4, user_data=1, flags=abi.IOSQE_ASYNC)) == []
    bench.thread.exit()
    await trio.testing.wait_all_tasks_blocked()
    faults.release(rule.id, ROOT)
    await trio.testing.wait_all_tasks_blocked()
    assert [user_data for user_data, _ in bench.client.results()] == [1]


async def test_a_ring_that_is_closed(bench: Bench, file: RegularFile, faults: FaultEngine) -> None:
    before, behind = faults.inject("READ:hold", ROOT), faults.inject("WRITE:hold=exit", ROOT)
    stall = faults.inject("NOP:stall", ROOT)
    assert await run(bench, read(4, user_data=1), write(4, user_data=2), nop(3), nop(4)) == []
    bench.context.close()
    await trio.testing.wait_all_tasks_blocked()
    assert (before.waiting, behind.waiting) == ([], [])
    assert file.opens == 0
    for rule in (before, behind, stall):
        faults.release(rule.id, ROOT)
    await trio.testing.wait_all_tasks_blocked()
    assert bench.client.results() == []
    faults.remove_all(ROOT)
    assert not bench.tctx.hooks


async def test_a_stalled_ring(bench: Bench, file: RegularFile, faults: FaultEngine) -> None:
    stream = bench.thread.fds[4] = Stream()
    await bench.submit(Sqe(abi.IORING_OP_POLL_ADD, fd=4, rw_flags=EPOLLIN, user_data=8))
    rule = faults.inject("NOP:user_data=2:stall:times=1", ROOT)
    assert await run(bench, nop(1), nop(2), nop(3), write(4, user_data=4)) == [(1, 0)]
    stream.feed(b"x")
    assert await run(bench, nop(5)) == []
    assert file.data[:1] == b"\0"
    assert faults.release(rule.id, ROOT) == 1
    await trio.testing.wait_all_tasks_blocked()
    assert bench.client.results() == [(2, 0), (3, 0), (8, EPOLLIN), (5, 0), (4, 4)]
    assert await run(bench, nop(6)) == [(6, 0)]


async def test_a_stall_that_ends(bench: Bench, inject: Inject, mock_clock: MockClock) -> None:
    inject("NOP:stall=5ms:times=1")
    assert await run(bench, nop(1)) == []
    await after(mock_clock, 0.006)
    assert bench.client.results() == [(1, 0)]


async def test_other_rings_go_on(bench: Bench, inject: Inject) -> None:
    inject("NOP:user_data=1:stall")
    await run(bench, nop(1))
    client, worker = bench.another()
    client.push(nop(2))
    await enter(worker, bench.host.caller(100, 1000, 1000), 1, 0, 0, 0, 0)
    assert client.results() == [(2, 0)]


async def test_completions_in_another_order(bench: Bench, faults: FaultEngine) -> None:
    faults.inject("NOP:reorder=8", ROOT)
    found = await run(bench, *(nop(number) for number in range(8)))
    assert sorted(found) == [(number, 0) for number in range(8)]
    assert found != sorted(found)


async def test_the_seed_says_in_which(bench: Bench) -> None:
    orders = []
    for seed in ("1", "1", "2"):
        faults = FaultEngine(bench.nursery, bench.tctx.hooks, seed=seed)
        faults.inject("NOP:reorder=8", ROOT)
        orders.append(await run(bench, *(nop(number) for number in range(8))))
        faults.remove_all(ROOT)
    assert orders[0] == orders[1] != orders[2]


async def test_a_window_that_does_not_fill(bench: Bench, inject: Inject) -> None:
    inject("NOP:reorder=8")
    assert sorted(await run(bench, nop(1), nop(2), nop(3))) == [(1, 0), (2, 0), (3, 0)]


async def test_a_window_waits_for_what_is_under_way(bench: Bench, inject: Inject, mock_clock: MockClock) -> None:
    stream = bench.thread.fds[3] = Stream()
    inject("NOP:reorder=8")
    poll = Sqe(abi.IORING_OP_POLL_ADD, fd=3, rw_flags=EPOLLIN, user_data=9)
    assert await run(bench, nop(1), nop(2), poll) == []
    stream.feed(b"x")
    await trio.testing.wait_all_tasks_blocked()
    assert sorted(bench.client.results()) == [(1, 0), (2, 0), (9, EPOLLIN)]
    bench.thread.fds[3] = Stream()
    assert await run(bench, nop(1), nop(2), poll) == []
    await after(mock_clock, 0.011)
    assert sorted(bench.client.results()) == [(1, 0), (2, 0)]


async def test_a_window_waits_for_the_slowest_disk(
    bench: Bench, file: RegularFile, inject: Inject, mock_clock: MockClock
) -> None:
    slow = bench.thread.fds[4] = RegularFile(b"xxxx", cached=False)
    inject("all:reorder=8")
    at_work = rw(abi.IORING_OP_READ, 4, 4, user_data=9)
    assert await run(bench, read(4, user_data=1), at_work) == []
    for seconds in (0.011, 2.1, 100, 3600):
        await after(mock_clock, seconds)
        assert bench.client.results() == []
    slow.load()
    await trio.testing.wait_all_tasks_blocked()
    assert sorted(bench.client.results()) == [(1, 4), (9, 4)]


async def test_a_window_has_patience_with_what_may_never_end(
    bench: Bench, inject: Inject, mock_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    fifo = bench.thread.fds[4] = RegularFile(b"xxxx", cached=False)
    fifo.regular = False
    inject("NOP:reorder=8")
    assert await run(bench, nop(1), rw(abi.IORING_OP_READ, 4, 4, user_data=9)) == []
    await after(mock_clock, 59)
    assert bench.client.results() == []
    await after(mock_clock, 2)
    assert bench.client.results() == [(1, 0)]
    assert "reorder waits no longer for 1 requests" in caplog.text


async def test_an_overflow_now(bench: Bench, inject: Inject) -> None:
    inject("NOP:user_data=1:overflow")
    assert await run(bench, nop(1), nop(2)) == []
    assert bench.ring.sq._memory.load(36) & abi.IORING_SQ_CQ_OVERFLOW
    assert await bench.enter(0, wait=1) == 0
    assert bench.client.results() == [(1, 0), (2, 0)]
    assert bench.ring.counters.overflowed == 2


async def test_a_cqe_that_is_lost(bench: Bench, inject: Inject) -> None:
    inject("NOP:user_data=1:lose")
    assert await run(bench, nop(1), nop(2)) == [(2, 0)]
    assert bench.ring.cq.overflow == 1


async def test_a_cancellation_that_is_late(bench: Bench, inject: Inject) -> None:
    stream = bench.thread.fds[3] = Stream()
    inject("%cancel:late")
    poll = Sqe(abi.IORING_OP_POLL_ADD, fd=3, rw_flags=EPOLLIN, user_data=1)
    remove = Sqe(abi.IORING_OP_POLL_REMOVE, fd=-1, addr=1, user_data=4)
    found = await run(bench, poll, cancel(2, 1), cancel(3, 77), remove)
    assert found == [(2, -errno.EALREADY), (3, -errno.ENOENT), (4, -errno.EALREADY)]
    stream.feed(b"x")
    await trio.testing.wait_all_tasks_blocked()
    assert bench.client.results() == [(1, EPOLLIN)]


async def test_a_multishot_that_ends_early(bench: Bench, inject: Inject) -> None:
    stream = bench.thread.fds[3] = Stream()
    inject("POLL_ADD:nomore=2")
    poll = Sqe(abi.IORING_OP_POLL_ADD, fd=3, len=1, rw_flags=EPOLLIN, user_data=1)
    await bench.submit(poll)
    flags = []
    for _ in range(3):
        stream.feed(b"x")
        await trio.testing.wait_all_tasks_blocked()
        flags += [cqe.flags for cqe in bench.client.reap()]
    assert flags == [abi.IORING_CQE_F_MORE, 0]


async def test_a_multishot_that_says_it_ends_and_does_not(bench: Bench, inject: Inject) -> None:
    stream = bench.thread.fds[3] = Stream()
    inject("POLL_ADD:hidemore=2")
    await bench.submit(Sqe(abi.IORING_OP_POLL_ADD, fd=3, len=1, rw_flags=EPOLLIN, user_data=1))
    flags = []
    for _ in range(3):
        stream.feed(b"x")
        await trio.testing.wait_all_tasks_blocked()
        flags += [cqe.flags for cqe in bench.client.reap()]
    assert flags == [abi.IORING_CQE_F_MORE, 0, abi.IORING_CQE_F_MORE]
    assert await run(bench, cancel(2, 1)) == [(2, 0), (1, -errno.ECANCELED)]


async def test_no_buffers(bench: Bench, inject: Inject) -> None:
    bench.thread.fds[3] = Stream(b"x")
    rule = inject("READ:nobufs")
    sqe = Sqe(abi.IORING_OP_READ, abi.IOSQE_BUFFER_SELECT, fd=3, len=8, user_data=1)
    assert await run(bench, sqe) == [(1, -errno.ENOBUFS)]
    assert await run(bench, read(0, user_data=2)) != [(2, -errno.ENOBUFS)]
    assert rule.injected == 1


async def test_a_deferring_ring(nursery: trio.Nursery, mock_clock: MockClock) -> None:
    bench = Bench(nursery, flags=abi.IORING_SETUP_DEFER_TASKRUN | abi.IORING_SETUP_SINGLE_ISSUER)
    faults = FaultEngine(nursery, bench.tctx.hooks)
    faults.inject("NOP:user_data=1:delay_enter=1ms", ROOT)
    faults.inject("NOP:user_data=2:delay_exit=1ms", ROOT)
    assert await run(bench, nop(1), nop(2), nop(3)) == [(3, 0)]
    await after(mock_clock, 0.002)
    assert bench.client.results() == []
    await bench.enter(0, wait=2)
    assert sorted(bench.client.results()) == [(1, 0), (2, 0)]
