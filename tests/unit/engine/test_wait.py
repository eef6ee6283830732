"""Waiting for completions: counts, timeouts, signals, the end of the ring. Time is trio's test clock."""

import errno
import struct
import time

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from tests.fakehost.files import Stream
from tests.unit.support import U32, Bench, enter, iovecs, nop, readv, start_at
from uringfs.abi.constants import (
    IORING_ENTER_ABS_TIMER,
    IORING_ENTER_EXT_ARG,
    IORING_ENTER_GETEVENTS,
    IORING_OP_TIMEOUT,
)
from uringfs.abi.structs import GETEVENTS_ARG, TIMESPEC
from uringfs.engine.entering import Entered
from uringfs.errors import UringError

ARG, TS, MASK = 0x30000, 0x31000, 0x32000
MS = 1_000_000


def ext_arg(bench: Bench, ts: int | None = None, min_wait_us: int = 0, sigmask: int = 0, sigsz: int = 8) -> int:
    """Store a struct io_uring_getevents_arg, ts in nanoseconds; its address."""
    memory = bench.thread.memory
    if ts is not None:
        memory.put(TS, TIMESPEC.pack(*divmod(ts, 10**9)))
    memory.put(ARG, GETEVENTS_ARG.pack(sigmask, sigsz, min_wait_us, TS if ts is not None else 0))
    return ARG


async def wait_ext(bench: Bench, wait: int, **kwargs: int) -> tuple[int, float]:
    """(result, ms of the test clock) of an enter with an extended argument."""
    began = trio.current_time()
    arg = ext_arg(bench, **kwargs)
    result = await bench.enter(0, wait, IORING_ENTER_EXT_ARG, arg, GETEVENTS_ARG.size)
    return result, round((trio.current_time() - began) * 1000, 6)


def post(bench: Bench, *user_data: int) -> None:
    """Completions out of nothing, seen at once."""
    for value in user_data:
        bench.context.post_cqe(value, 0, 0)
    bench.context.publish()


# -- counts


@pytest.mark.parametrize("counts", [[1, 2, 3, 4, 5], [5, 4, 3, 2, 1], [2, 2, 2, 2], [3, 1, 16, 7, 16, 1]])
async def test_each_waiter_wakes_exactly_when_its_count_is_reached(bench: Bench, counts: list[int]) -> None:
    """None is lost and none wakes late: before the next completion exists, all who are due have woken."""
    woken: list[tuple[int, int]] = []
    posted = 0

    async def waiter(number: int, count: int) -> None:
        assert await bench.enter(0, wait=count) == 0
        woken.append((number, posted))

    async with trio.open_nursery() as nursery:
        for number, count in enumerate(counts):
            nursery.start_soon(waiter, number, count)
        await wait_all_tasks_blocked()
        assert woken == []
        while posted < max(counts):
            posted += 1
            post(bench, posted)
            await wait_all_tasks_blocked()
            assert sorted(number for number, _ in woken) == [
                number for number, count in enumerate(counts) if count <= posted
            ]
    assert sorted(woken) == list(enumerate(counts))
    assert not bench.ring.waiters


async def test_one_publication_wakes_all_it_is_enough_for(bench: Bench) -> None:
    woken = []

    async def waiter(count: int) -> None:
        await bench.enter(0, wait=count)
        woken.append(count)

    async with trio.open_nursery() as nursery:
        for count in (1, 3, 4, 2):
            nursery.start_soon(waiter, count)
        await wait_all_tasks_blocked()
        post(bench, 1, 2, 3)
        await wait_all_tasks_blocked()
        assert sorted(woken) == [1, 2, 3]
        post(bench, 4)


async def test_the_count_is_from_the_head_at_the_start(bench: Bench) -> None:
    """What is there counts, and stays counted when another thread reaps it meanwhile (io_should_wake())."""
    post(bench, 1, 2)
    assert await bench.enter(0, wait=2) == 0
    async with trio.open_nursery() as nursery:
        nursery.start_soon(bench.enter, 0, 3)
        await wait_all_tasks_blocked()
        assert len(bench.client.reap()) == 2
        post(bench, 3)  # the third since: enough, though one alone is ready


class OtherThread:
    """It reaps whatever is published."""

    waits = False

    def __init__(self, bench: Bench) -> None:
        self._bench = bench

    def completions(self) -> None:
        self._bench.client.reap()

    def closed(self) -> None:
        pass


async def test_what_the_call_has_completed_counts_though_another_thread_has_reaped_it(bench: Bench) -> None:
    """The kernel takes the head a moment after the submission. Ours takes longer, so it is that of before."""
    bench.ring.waiters.append(OtherThread(bench))
    bench.client.push(nop(1))
    assert await bench.enter(1, wait=1) == 1
    assert bench.ring.cq.ready() == 0


@pytest.mark.parametrize("start", [0, U32])
async def test_a_client_has_looked_before_and_says_for_which_tail_it_waits(bench: Bench, start: int) -> None:
    start_at(bench.ring, start)
    post(bench, 1)
    assert len(bench.client.reap()) == 1
    caller = bench.host.caller(bench.thread.tid, 0, 0)
    enough, more = (start + 1) & U32, (start + 2) & U32
    assert bench.context.enter(caller, 0, 1, IORING_ENTER_GETEVENTS, 0, 0, enough) == Entered(0)
    entered = bench.context.enter(caller, 0, 1, IORING_ENTER_GETEVENTS, 0, 0, more)
    assert isinstance(entered, Entered)
    assert entered.wait is not None
    entered.wait.arm(lambda: None)
    assert not entered.wait.satisfied()
    post(bench, 2)
    assert entered.wait.satisfied()
    entered.wait.stop()


async def test_waiting_for_more_than_the_queue_holds_is_waiting_for_a_full_queue(bench: Bench) -> None:
    async with trio.open_nursery() as nursery:
        nursery.start_soon(bench.enter, 0, 1000)
        await wait_all_tasks_blocked()
        post(bench, *range(15))
        await wait_all_tasks_blocked()
        assert len(bench.ring.waiters) == 1
        post(bench, 15)


@pytest.mark.parametrize("start", [U32 - 1, U32, (1 << 31) - 2])
async def test_counts_across_the_wrap_of_positions(bench: Bench, start: int) -> None:
    start_at(bench.ring, start)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(bench.enter, 0, 4)
        await wait_all_tasks_blocked()
        for n in range(3):
            post(bench, n)
            await wait_all_tasks_blocked()
            assert len(bench.ring.waiters) == 1
        post(bench, 3)
    assert len(bench.client.reap()) == 4


async def test_a_waiter_goes_on_through_an_overflow(bench: Bench) -> None:
    """A full CQ and a backlog: a wait flushes what fits, and a reaper's room is enough for the next."""
    post(bench, *range(20))
    assert await bench.enter(0, wait=16) == 0
    assert [cqe.user_data for cqe in bench.client.reap()] == list(range(16))
    assert await bench.enter(0, wait=4) == 0
    assert [cqe.user_data for cqe in bench.client.reap()] == [16, 17, 18, 19]


async def test_submitted_and_waiting_in_one_enter(bench: Bench) -> None:
    bench.client.push(nop(1), nop(2))
    assert await bench.enter(2, wait=2) == 2
    assert len(bench.client.reap()) == 2


async def test_a_short_submission_does_not_wait(bench: Bench) -> None:
    bench.client.push(nop(1))
    assert await bench.enter(5, wait=5) == 1


async def test_a_timeout_that_runs_out_ends_every_wait(bench: Bench, mock_clock: MockClock) -> None:
    """The timeout does not end a wait that began after it."""
    ended = []

    async def waiter(count: int) -> None:
        assert await bench.enter(0, wait=count) == 0
        ended.append(count)

    bench.thread.memory.put(TS, TIMESPEC.pack(1, 0))
    await bench.submit(nop(0)._replace(opcode=IORING_OP_TIMEOUT, addr=TS, len=1))
    async with trio.open_nursery() as nursery:
        for count in (2, 3):
            nursery.start_soon(waiter, count)
        await wait_all_tasks_blocked()
        assert ended == []
        mock_clock.jump(1)
        await wait_all_tasks_blocked()
        assert sorted(ended) == [2, 3]
        nursery.start_soon(waiter, 4)
        await wait_all_tasks_blocked()
        assert len(ended) == 2
        post(bench, 1, 2, 3)


# -- timeouts, compared with a kernel's (6.18)


async def test_a_timeout_without_events(bench: Bench, autojump_clock) -> None:
    assert await wait_ext(bench, 1, ts=250 * MS) == (-errno.ETIME, 250)
    assert not bench.ring.waiters


async def test_a_timeout_with_too_few_events_is_success(bench: Bench, autojump_clock) -> None:
    post(bench, 1)
    assert await wait_ext(bench, 2, ts=250 * MS) == (0, 250)


async def test_enough_events_end_the_wait_before_the_timeout(bench: Bench, autojump_clock) -> None:
    async def later() -> None:
        await trio.sleep(0.1)
        post(bench, 1)

    bench.nursery.start_soon(later)
    assert await wait_ext(bench, 1, ts=250 * MS) == (0, 100)


@pytest.mark.parametrize("ts", [0, -1, -5 * 10**9, -(1 << 63) * 10**9])
async def test_a_timeout_that_is_over(bench: Bench, autojump_clock, ts: int) -> None:
    assert await wait_ext(bench, 1, ts=ts) == (-errno.ETIME, 0)


async def test_a_timeout_beyond_all_clocks_is_none(bench: Bench, autojump_clock) -> None:
    async def later() -> None:
        await trio.sleep(10**6)
        post(bench, 1)

    bench.nursery.start_soon(later)
    assert await wait_ext(bench, 1, ts=((1 << 63) - 1) * 10**9) == (0, 10**9)


async def test_a_minimum_wait_collects_until_it_is_over(bench: Bench, autojump_clock) -> None:
    async def later() -> None:
        await trio.sleep(0.01)
        post(bench, 1)

    bench.nursery.start_soon(later)
    assert await wait_ext(bench, 8, ts=200 * MS, min_wait_us=20_000) == (0, 20)


async def test_a_minimum_wait_ends_early_with_the_count(bench: Bench, autojump_clock) -> None:
    async def later() -> None:
        await trio.sleep(0.01)
        post(bench, 1, 2)

    bench.nursery.start_soon(later)
    assert await wait_ext(bench, 2, ts=200 * MS, min_wait_us=20_000) == (0, 10)


async def test_behind_the_minimum_wait_one_event_is_enough(bench: Bench, autojump_clock) -> None:
    async def later() -> None:
        await trio.sleep(0.07)
        post(bench, 1)

    bench.nursery.start_soon(later)
    assert await wait_ext(bench, 8, ts=200 * MS, min_wait_us=20_000) == (0, 70)


async def test_behind_the_minimum_wait_what_was_there_before_is_enough(bench: Bench, autojump_clock) -> None:
    post(bench, 1)
    assert await wait_ext(bench, 8, ts=200 * MS, min_wait_us=20_000) == (0, 20)


async def test_a_minimum_wait_with_nothing_goes_on_to_the_timeout(bench: Bench, autojump_clock) -> None:
    assert await wait_ext(bench, 8, ts=200 * MS, min_wait_us=20_000) == (-errno.ETIME, 200)


async def test_a_minimum_wait_alone_is_the_timeout(bench: Bench, autojump_clock) -> None:
    assert await wait_ext(bench, 8, min_wait_us=20_000) == (-errno.ETIME, 20)


async def test_a_minimum_wait_outlasts_a_shorter_timeout(bench: Bench, autojump_clock) -> None:
    assert await wait_ext(bench, 8, ts=20 * MS, min_wait_us=50_000) == (-errno.ETIME, 50)


async def test_an_absolute_timeout_is_of_the_monotonic_clock(bench: Bench, autojump_clock) -> None:
    """Clock and test clock drift apart only by what this test takes."""
    arg = ext_arg(bench, ts=time.monotonic_ns() + 3600 * 10**9)
    began = trio.current_time()
    flags = IORING_ENTER_EXT_ARG | IORING_ENTER_ABS_TIMER
    assert await bench.enter(0, 1, flags, arg, GETEVENTS_ARG.size) == -errno.ETIME
    assert 3500 < trio.current_time() - began <= 3600


# -- arguments


async def failing(bench: Bench, *args: int) -> int:
    with pytest.raises(UringError) as caught:
        await bench.enter(*args)
    return caught.value.errno


async def test_arguments_that_are_refused(bench: Bench) -> None:
    ext, size = IORING_ENTER_EXT_ARG, GETEVENTS_ARG.size
    arg = ext_arg(bench)
    assert await failing(bench, 0, 1, ext, arg, size - 1) == errno.EINVAL
    assert await failing(bench, 0, 1, ext, arg, 0) == errno.EINVAL
    assert await failing(bench, 0, 1, ext, 0, size) == errno.EFAULT
    assert await failing(bench, 0, 1, ext, (1 << 64) - 8, size) == errno.EFAULT
    bench.thread.memory.put(ARG, GETEVENTS_ARG.pack(0, 8, 0, 0xDEAD000))
    assert await failing(bench, 0, 1, ext, arg, size) == errno.EFAULT
    bench.thread.memory.put(ARG, GETEVENTS_ARG.pack(0xDEAD000, 8, 0, 0))
    assert await failing(bench, 0, 1, ext, arg, size) == errno.EFAULT
    bench.thread.memory.put(MASK, bytes(128))
    bench.thread.memory.put(ARG, GETEVENTS_ARG.pack(MASK, 128, 0, 0))
    assert await failing(bench, 0, 1, ext, arg, size) == errno.EINVAL
    assert await failing(bench, 0, 1, 0, MASK, 128) == errno.EINVAL
    assert await failing(bench, 0, 1, 0, 0xDEAD000, 8) == errno.EFAULT
    assert not bench.ring.waiters


@pytest.mark.parametrize("bit", range(8, 32))
async def test_unknown_flags_are_refused_before_anything_is_done(bench: Bench, bit: int) -> None:
    bench.client.push(nop(1))
    assert await failing(bench, 1, 0, 1 << bit) == errno.EINVAL
    assert bench.client.reap() == []


async def test_a_bad_argument_behind_a_submission_is_not_told(bench: Bench) -> None:
    bench.client.push(nop(1))
    assert await bench.enter(1, 5, IORING_ENTER_EXT_ARG, 0, GETEVENTS_ARG.size) == 1


async def test_what_is_there_already_needs_no_sigset(bench: Bench) -> None:
    post(bench, 1)
    assert await bench.enter(0, 1, 0, 0xDEAD000, 8) == 0


# -- the end of a wait


async def waiting(bench: Bench, count: int):
    caller = bench.host.caller(bench.thread.tid, 0, 0)
    entered = await enter(bench.context, caller, 0, count, 1, 0, 0)
    assert entered.wait is not None
    return entered.wait


async def test_a_signal_is_eintr_unless_there_is_something(bench: Bench) -> None:
    for completions, result in ((0, -errno.EINTR), (1, 0)):
        wait = await waiting(bench, 5)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(wait.run)
            await wait_all_tasks_blocked()
            post(bench, *range(completions))
            await wait_all_tasks_blocked()
            nursery.cancel_scope.cancel()
        assert wait.interrupted() == result
        assert not bench.ring.waiters


async def test_the_end_of_the_ring_ends_the_wait(bench: Bench) -> None:
    results = []

    async def waiter() -> None:
        results.append(await bench.enter(0, wait=3))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(waiter)
        nursery.start_soon(waiter)
        await wait_all_tasks_blocked()
        bench.context.close()
    assert results == [-errno.ENOTCONN, -errno.ENOTCONN]


async def test_completions_between_the_enter_and_its_wait_are_not_missed(bench: Bench) -> None:
    """The enter is answered before the client comes back to wait."""
    wait = await waiting(bench, 2)
    post(bench, 1, 2)
    assert await wait.run() == 0


async def test_a_wait_ends_with_the_requests_it_submitted(bench: Bench) -> None:
    stream = bench.thread.fds[3] = Stream()
    bench.thread.memory.map(0x10000, 4096)
    vector = iovecs(bench.thread, 0x20000, [(0x10000, 8)])
    bench.client.push(readv(3, *vector, 1), nop(2))
    done = []

    async def enter() -> None:
        done.append(await bench.enter(2, wait=2))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(enter)
        await wait_all_tasks_blocked()
        assert done == []
        stream.feed(struct.pack("<Q", 7))
    assert done == [2]
    assert bench.client.results() == [(2, 0), (1, 8)]
