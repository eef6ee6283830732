"""Enters and the requests they start: order, cancellation, independence, exactly one completion."""

import errno

import pytest
import trio
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from trio.testing import wait_all_tasks_blocked

from tests.fakehost.files import RegularFile, Stream
from tests.fakehost.host import FakeThread
from tests.unit.support import Bench, enter, iovecs, nop, readv
from uringfs.abi.constants import (
    IORING_ENTER_GETEVENTS,
    IORING_NOP_INJECT_RESULT,
    IORING_SETUP_SUBMIT_ALL,
    IOSQE_BUFFER_SELECT,
    IOSQE_IO_DRAIN,
    IOSQE_IO_HARDLINK,
    IOSQE_IO_LINK,
)
from uringfs.abi.structs import SQ_HEAD, SQ_TAIL, Sqe

FD, BUFFER, IOVECS = 3, 0x10000, 0x20000


def reader(bench: Bench, thread: FakeThread | None = None, size: int = 4) -> Stream:
    """An empty stream at FD of the thread, and an iovec for it at IOVECS."""
    thread = thread or bench.thread
    stream = thread.fds[FD] = Stream()
    thread.memory.map(BUFFER, size)
    iovecs(thread, IOVECS, [(BUFFER, size)])
    return stream


def read(user_data: int, flags: int = 0) -> Sqe:
    return readv(FD, IOVECS, 1, user_data, flags)


# -- batches


async def test_ten_thousand_nops_are_one_pass_without_a_task(nursery) -> None:
    bench = Bench(nursery, entries=16384)
    bench.client.push(*(nop(n) for n in range(10_000)))
    before = trio.lowlevel.current_statistics().tasks_living
    seen = 0

    async def watch() -> None:
        nonlocal seen
        while True:
            seen = max(seen, trio.lowlevel.current_statistics().tasks_living)
            await trio.lowlevel.checkpoint()

    async with trio.open_nursery() as inner:
        inner.start_soon(watch)
        assert await bench.enter(10_000) == 10_000
        inner.cancel_scope.cancel()
    assert seen <= before + 1  # the watcher itself
    assert not nursery.child_tasks
    assert bench.client.results() == [(n, 0) for n in range(10_000)]


async def test_a_long_batch_lets_other_rings_have_a_turn(nursery) -> None:
    bench = Bench(nursery, entries=16384)
    bench.client.push(*(nop(n) for n in range(16384)))
    client, worker = bench.another()
    client.push(nop(1))
    finished = []

    async def one(name: str, worker, count: int) -> None:
        await enter(worker, bench.host.caller(100, 0, 0), count, 0, 0, 0, 0)
        finished.append(name)

    async with trio.open_nursery() as inner:
        inner.start_soon(one, "long", bench.context, 16384)
        await trio.lowlevel.checkpoint()
        inner.start_soon(one, "short", worker, 1)
    assert finished == ["short", "long"]


@pytest.mark.parametrize("res", [0, 1, 7, -1, -errno.EIO, (1 << 31) - 1, -(1 << 31)])
async def test_a_nop_with_a_result(bench: Bench, res: int) -> None:
    await bench.submit(nop(1, rw_flags=IORING_NOP_INJECT_RESULT, len=res & 0xFFFFFFFF))
    assert bench.client.results() == [(1, res)]


@pytest.mark.parametrize("opcode", [65, 100, 255])
@pytest.mark.parametrize("flags", [0, IOSQE_BUFFER_SELECT, 0x80])
async def test_an_unknown_opcode(bench: Bench, opcode: int, flags: int) -> None:
    await bench.submit(Sqe(opcode, flags, user_data=9))
    assert bench.client.results() == [(9, -errno.EINVAL)]


@pytest.mark.parametrize(
    ("sqe", "res"),
    [
        (nop(1, 0x80), -errno.EINVAL),
        (nop(1, IOSQE_BUFFER_SELECT), -errno.EOPNOTSUPP),
        (nop(1, ioprio=1), -errno.EINVAL),
        (nop(1, personality=1), -errno.EINVAL),
        (nop(1, 1), 0),  # IOSQE_FIXED_FILE: a NOP looks at no file
    ],
)
async def test_sqes_are_checked(bench: Bench, sqe: Sqe, res: int) -> None:
    await bench.submit(sqe)
    assert bench.client.results() == [(1, res)]


async def test_an_invalid_index_ends_the_batch_and_is_no_submission(bench: Bench) -> None:
    bench.client.push(nop(1), nop(2), nop(3), indices=[2, 77, 0])
    assert await bench.enter(3) == 1
    assert bench.ring.sq.dropped == 1
    assert await bench.enter(3) == 1
    assert bench.client.results() == [(1, 0), (3, 0)]


async def test_the_sqe_is_copied_once(bench: Bench) -> None:
    """What the client does to an SQE it has submitted changes nothing."""
    stream = reader(bench)
    await bench.submit(read(1))
    bench.client.push(nop(99), indices=[0])
    stream.feed(b"abcd")
    await bench.enter(0, wait=1)
    assert bench.client.results() == [(1, 4)]


async def test_nothing_queued_is_nothing_submitted(bench: Bench) -> None:
    assert await bench.enter(8) == 0


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=200, deadline=None)
@given(data=st.binary(min_size=64 * 8, max_size=64 * 8), words=st.lists(st.integers(0, 0xFFFFFFFF), min_size=10))
def test_any_bytes_in_the_shared_memory_are_survived(data: bytes, words: list[int]) -> None:
    """SQEs, indices, heads and tails of random content: the enter returns, and the next ring works."""

    async def main() -> None:
        async with trio.open_nursery() as nursery:
            bench = Bench(nursery, flags=IORING_SETUP_SUBMIT_ALL)
            reader(bench)
            memory = bench.client.memory
            memory.write(0x10000000, data)
            for position, word in enumerate(words[2:10]):
                memory.store(bench.client.geometry.sq_array + 4 * position, word % 11)
            memory.store(SQ_TAIL, words[0])
            memory.store(8, words[1])
            assert 0 <= await bench.enter(words[0]) <= 8
            client, worker = bench.another()
            client.push(nop(5))
            await enter(worker, bench.host.caller(100, 0, 0), 1, 0, 0, 0, 0)
            assert client.results() == [(5, 0)]
            bench.context.close()
            nursery.cancel_scope.cancel()

    trio.run(main)


# -- concurrent enters


async def test_concurrent_enters_are_served_in_the_order_they_came(nursery) -> None:
    bench = Bench(nursery, entries=8192)
    bench.client.push(*(nop(n) for n in range(4096)))
    order, results = [], []

    async def enter(number: int, count: int) -> None:
        results.append((number, await bench.enter(count)))
        order.append(number)

    async with trio.open_nursery() as inner:
        for number, count in enumerate([1024, 512, 1, 1000, 600, 959, 50]):
            inner.start_soon(enter, number, count)
            await trio.lowlevel.checkpoint()
    # the last came too late for any of the 4096
    assert results == [(0, 1024), (1, 512), (2, 1), (3, 1000), (4, 600), (5, 959), (6, 0)]
    assert order == list(range(7))
    assert bench.client.results() == [(n, 0) for n in range(4096)]


async def test_an_enter_cancelled_while_queued_leaves_nothing_done(nursery) -> None:
    bench = Bench(nursery, entries=8192)
    bench.client.push(*(nop(n) for n in range(4096 + 512)))
    done = []

    async def enter(number: int, scope: trio.CancelScope) -> None:
        with scope:
            done.append((number, await bench.enter(512 if number else 4096)))

    scopes = [trio.CancelScope() for _ in range(4)]
    async with trio.open_nursery() as inner:
        for number, scope in enumerate(scopes):
            inner.start_soon(enter, number, scope)
            await trio.lowlevel.checkpoint()
        scopes[1].cancel()
        scopes[2].cancel()
    assert done == [(0, 4096), (3, 512)]
    assert bench.client.results() == [(n, 0) for n in range(4096 + 512)]


async def test_an_enter_cancelled_in_the_middle_of_its_batch_finishes_it(nursery) -> None:
    bench = Bench(nursery, entries=4096)
    bench.client.push(*(nop(n) for n in range(2000)))
    with trio.CancelScope() as scope:
        scope.cancel()
        assert await bench.enter(2000) == 2000
    assert bench.client.memory.load(SQ_HEAD) == 2000
    assert len(bench.client.reap()) == 2000


# -- requests that wait


async def test_ten_thousand_pending_requests_complete_once_each(nursery) -> None:
    bench = Bench(nursery, entries=16384)
    stream = reader(bench, size=1)
    assert await bench.submit(*(read(n) for n in range(10_000))) == 10_000
    assert len(bench.context.pending) == 10_000
    assert bench.client.results() == []
    stream.feed(b"x" * 10_000)
    assert await bench.enter(0, wait=10_000) == 0
    results = bench.client.results()
    assert sorted(results) == [(n, 1) for n in range(10_000)]
    await wait_all_tasks_blocked()
    assert not bench.context.pending
    assert stream.opens == 0
    assert bench.client.results() == []


async def test_a_stuck_read_delays_no_other_request_and_no_other_ring(bench: Bench) -> None:
    stream = reader(bench)
    others = [bench.another() for _ in range(5)]
    await bench.submit(read(1))
    for client, worker in others:
        client.push(nop(2), nop(3))
        entered = await enter(worker, bench.host.caller(100, 0, 0), 2, 2, 1, 0, 0)
        assert entered == (2, None)
        assert client.results() == [(2, 0), (3, 0)]
    await bench.submit(nop(4))
    assert bench.client.results() == [(4, 0)]
    stream.feed(b"late")
    await bench.enter(0, wait=1)
    assert bench.client.results() == [(1, 4)]


async def test_requests_complete_in_the_order_they_can(bench: Bench) -> None:
    bench.thread.memory.map(BUFFER, 16)
    iovecs(bench.thread, IOVECS, [(BUFFER, 1)])
    streams = {fd: Stream() for fd in (5, 6, 7)}
    bench.thread.fds.update(streams)
    await bench.submit(*(readv(fd, IOVECS, 1, fd) for fd in streams))
    for fd in (6, 7, 5):
        streams[fd].feed(b"x")
        await bench.enter(0, wait=1)
        assert bench.client.results() == [(fd, 1)]


async def test_cancelling_a_request(bench: Bench) -> None:
    stream = reader(bench)
    await bench.submit(read(1, IOSQE_IO_LINK), nop(2), read(3, IOSQE_IO_HARDLINK), nop(4))
    for request in tuple(bench.context.pending):
        if request.sqe.user_data in (1, 3):
            bench.context.cancel(request)
            bench.context.cancel(request)
    await wait_all_tasks_blocked()
    assert sorted(bench.client.results()) == [(1, -125), (2, -125), (3, -125), (4, 0)]
    assert stream.opens == 0
    assert not bench.context.pending


async def test_cancelled_before_its_task_has_run(bench: Bench) -> None:
    stream = reader(bench)
    await bench.submit(read(1))
    bench.context.cancel(next(iter(bench.context.pending)))
    await wait_all_tasks_blocked()
    assert bench.client.results() == [(1, -errno.ECANCELED)]
    assert stream.opens == 0


# -- ends


async def test_the_exit_of_a_thread_cancels_its_requests_and_no_others(bench: Bench) -> None:
    other = bench.host.thread(200)
    mine, theirs = reader(bench), reader(bench, other)
    client, worker = bench.another()
    await bench.submit(read(1), read(2, IOSQE_IO_LINK), nop(3), nop(4, IOSQE_IO_DRAIN))
    bench.client.push(read(5))
    client.push(read(6))
    await bench.enter(1, thread=other)
    await enter(worker, bench.host.caller(200, 0, 0), 1, 0, 0, 0, 0)
    other.exit()
    await wait_all_tasks_blocked()
    assert client.results() == [(6, -errno.ECANCELED)]
    assert (1, 0) not in bench.client.results()
    assert theirs.opens == 0
    assert mine.opens == 1  # for both of its reads: they came in one batch
    bench.thread.exit()
    await wait_all_tasks_blocked()
    assert mine.opens == 0
    assert not bench.context.pending


async def test_a_batch_asks_for_a_descriptor_once(bench: Bench) -> None:
    stream = reader(bench)
    await bench.submit(read(1), read(2), read(3, IOSQE_IO_LINK), read(4))
    assert stream.opens == 1
    await bench.submit(read(5))
    assert stream.opens == 2
    for _ in range(5):
        stream.feed(b"data")
        await wait_all_tasks_blocked()
    assert sorted(bench.client.results()) == [(user_data, 4) for user_data in (1, 2, 3, 4, 5)]
    assert stream.opens == 0


async def test_another_file_at_the_same_number_is_another_batchs(bench: Bench) -> None:
    first = reader(bench)
    await bench.submit(read(1), read(2))
    second = reader(bench)
    await bench.submit(read(3), read(4))
    assert (first.opens, second.opens) == (1, 1)
    second.feed(b"datadata")
    await wait_all_tasks_blocked()
    assert sorted(bench.client.results()) == [(3, 4), (4, 4)]


async def test_a_hard_link_behind_a_read_of_a_thread_that_exits(bench: Bench) -> None:
    stream = reader(bench)
    await bench.submit(read(1, IOSQE_IO_HARDLINK), read(2))
    bench.thread.exit()
    await wait_all_tasks_blocked()
    results = bench.client.results()
    assert [user_data for user_data, _ in results] == [1, 2]
    assert all(res < 0 for _, res in results)
    assert not bench.context.pending
    assert stream.opens == 0


async def test_a_caller_that_is_gone_when_its_chain_is_queued(bench: Bench) -> None:
    """Killed in the middle of its control write: its requests end, and the ring goes on for others."""
    reader(bench)
    bench.client.push(read(1, IOSQE_IO_LINK), nop(2), nop(3, IOSQE_IO_DRAIN), nop(4))
    bench.thread.exit()
    await bench.enter(4)
    await wait_all_tasks_blocked()
    other = bench.host.thread(200)
    await bench.enter(4, thread=other)
    await bench.submit(nop(5, IOSQE_IO_DRAIN), thread=other)
    results = dict(bench.client.results())
    assert results[5] == 0
    assert results[1] < 0
    assert not bench.context.pending


async def test_a_caller_that_vanishes_while_its_read_is_tried(bench: Bench) -> None:
    class Fatal(Stream):
        def available(self) -> bool:
            bench.thread.exit()
            return False

    fatal = bench.thread.fds[FD] = Fatal()
    bench.thread.memory.map(BUFFER, 4)
    iovecs(bench.thread, IOVECS, [(BUFFER, 4)])
    await bench.submit(read(1))
    await wait_all_tasks_blocked()
    assert [user_data for user_data, _ in bench.client.results()] == [1]
    assert fatal.opens == 0


async def test_closing_a_ring_with_requests_pending(bench: Bench) -> None:
    stream = reader(bench)
    await bench.submit(read(1, IOSQE_IO_LINK), nop(2), nop(3, IOSQE_IO_DRAIN), read(4))
    bench.context.close()
    bench.client.memory.close()
    stream.feed(b"too late")
    await wait_all_tasks_blocked()
    assert stream.opens == 0


async def test_the_last_close_of_a_named_ring_cancels_what_pends(bench: Bench) -> None:
    stream = reader(bench)
    await bench.submit(read(1), nop(2, IOSQE_IO_DRAIN))
    bench.context.cancel_all()
    await wait_all_tasks_blocked()
    assert not bench.context.pending
    assert stream.opens == 0
    assert sorted(user_data for user_data, _ in bench.client.results()) == [1, 2]
    await bench.submit(nop(3))
    assert bench.client.results() == [(3, 0)]


async def test_an_op_that_fails_in_an_unforeseen_way_is_eio(bench: Bench, caplog) -> None:
    class Broken(RegularFile):
        def take(self, size: int, offset: int) -> bytes:
            raise ZeroDivisionError

    bench.thread.fds[FD] = Broken(b"data")
    bench.thread.memory.map(BUFFER, 4)
    iovecs(bench.thread, IOVECS, [(BUFFER, 4)])
    await bench.submit(read(1), nop(2))
    assert bench.client.results() == [(1, -errno.EIO), (2, 0)]
    assert "READV failed in the daemon" in caplog.text
    caplog.clear()


async def test_counters(bench: Bench) -> None:
    reader(bench)
    await bench.submit(nop(1), nop(2), read(3))
    bench.context.cancel_all()
    await wait_all_tasks_blocked()
    counters = bench.ring.counters
    assert (counters.enters, counters.submitted, counters.completed, counters.cancelled) == (1, 3, 3, 1)


# -- what has become ready


@pytest.mark.parametrize("armed", [False, True])
async def test_an_enter_that_waits_for_nothing_lets_reads_go_on(bench: Bench, armed: bool) -> None:
    stream = reader(bench)
    await bench.submit(read(1))
    if armed:
        await wait_all_tasks_blocked()
    stream.feed(b"data")
    assert await bench.enter(0, flags=IORING_ENTER_GETEVENTS) == 0
    assert bench.client.results() == [(1, 4)]
    assert not bench.context.woken
    assert not bench.context.beginning


async def test_what_has_become_ready_comes_before_what_is_submitted(bench: Bench) -> None:
    stream = reader(bench)
    await bench.submit(read(1))
    await wait_all_tasks_blocked()
    stream.feed(b"data")
    await bench.submit(read(2))
    assert bench.client.results() == [(1, 4)]
    await wait_all_tasks_blocked()
    stream.feed(b"more")
    await bench.submit(nop(3))
    assert bench.client.results() == [(2, 4), (3, 0)]


async def test_an_enter_waits_for_nothing_that_takes_long(bench: Bench) -> None:
    """A task that was let go on once is no business of later enters'."""
    reader(bench)
    await bench.submit(read(1))
    for _ in range(2):
        assert await bench.enter(0, flags=IORING_ENTER_GETEVENTS) == 0
        assert bench.client.results() == []
        assert not bench.context.beginning
