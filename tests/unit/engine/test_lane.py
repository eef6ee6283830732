"""The lane of a ring: who has it, what is handed over with it, and what becomes of what a client leaves behind."""

import errno
import random
from collections.abc import Generator

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from tests.fakehost.files import Stream
from tests.fakehost.host import FakeEventFd, FakeThread
from tests.unit.laneclient import BASE, LaneClient, Pass, run
from tests.unit.support import Bench, iovecs, nop, readv, start_at
from uringfs.abi import lane as abi
from uringfs.abi.constants import (
    IORING_OP_ASYNC_CANCEL,
    IORING_OP_NOP,
    IORING_OP_READV,
    IORING_OP_TIMEOUT,
    IORING_SETUP_CQE32,
    IORING_SETUP_IOPOLL,
    IORING_SETUP_NO_SQARRAY,
    IORING_SETUP_R_DISABLED,
    IORING_SETUP_SINGLE_ISSUER,
    IORING_SETUP_SQ_REWIND,
    IOSQE_CQE_SKIP_SUCCESS,
    IOSQE_IO_DRAIN,
    IOSQE_IO_LINK,
)
from uringfs.abi.events import IORING_ASYNC_CANCEL_ALL, IORING_ASYNC_CANCEL_ANY, IORING_ASYNC_CANCEL_OP
from uringfs.abi.structs import CQ_TAIL, TIMESPEC, Sqe
from uringfs.engine.hooks import Subscriber
from uringfs.engine.lane import RingLane
from uringfs.errors import UringError
from uringfs.ops.table import LANE_OPS
from uringfs.register.table import register

ANOTHER = 200
FD, BUFFER, IOVECS = 3, 0x10000, 0x20000


async def attach(bench: Bench, thread: FakeThread | None = None) -> tuple[RingLane, LaneClient]:
    thread = thread or bench.thread
    caller = bench.host.caller(thread.tid, thread.uid, thread.gid)
    lane = await bench.context.sharing.attach(caller, LANE_OPS)
    return lane, LaneClient(bench.client, lane.attach(caller))


async def two(bench: Bench) -> tuple[RingLane, LaneClient, LaneClient, FakeThread]:
    """A ring's lane with clients of two processes."""
    lane, one = await attach(bench)
    thread = bench.host.thread(ANOTHER)
    _, other = await attach(bench, thread)
    return lane, one, other, thread


def take(client: LaneClient, bench: Bench, *numbers: int, flags: int = 0) -> Pass:
    bench.client.push(*(nop(n, flags) for n in numbers))
    return run(client.enter(len(numbers)))


async def wait(bench: Bench, count: int, results: list[int]) -> None:
    results.append(await bench.enter(0, wait=count))


# -- nobody takes part


async def test_without_a_client_nothing_is_looked_at(bench: Bench) -> None:
    assert bench.ring.lane is None
    assert bench.ring.memory.read(BASE, abi.URINGFS_LANE_SIZE) == bytes(abi.URINGFS_LANE_SIZE)


# -- attach


async def test_the_page_after_an_attach(bench: Bench) -> None:
    start_at(bench.ring, 5)
    bench.client.push(nop(1), nop(2))
    await bench.enter(1)
    lane, client = await attach(bench)
    assert client.number == 1
    assert lane.page.load() == abi.State(tail=6, done=6, sq_head=6, cq_head=5, cq_head_sq=5, cq_head_cq=5)
    assert client.load(abi.LANE_VERSION) == abi.URINGFS_LANE_VERSION
    assert client.load(abi.LANE_OPS) & 1 << IORING_OP_NOP
    assert client.load(abi.LANE_FLAGS) == abi.LANE_SQE_FLAGS
    assert not client.load(abi.LANE_DAEMON)
    assert not client.load(abi.LANE_LOCK)
    assert not client.attention


async def test_what_stood_in_the_page_before_is_gone(bench: Bench) -> None:
    bench.ring.memory.write(BASE, bytes([255]) * abi.URINGFS_LANE_SIZE)
    _, client = await attach(bench)
    assert not client.load(abi.LANE_LOCK)
    assert not bench.context.sharing.lane.under_way()
    assert take(client, bench, 7) == Pass(1)


async def test_one_number_for_each_process(bench: Bench) -> None:
    lane, one, other, _ = await two(bench)
    assert (one.number, other.number) == (1, 2)
    assert (await attach(bench))[1].number == 1
    assert sorted(lane.holders) == [1, 2]


async def test_a_number_is_used_again_when_its_process_is_gone(bench: Bench) -> None:
    lane, _, _, _ = await two(bench)
    bench.thread.exit()
    await wait_all_tasks_blocked()
    assert sorted(lane.holders) == [2]
    assert (await attach(bench, bench.host.thread(300)))[1].number == 1


async def test_who_executes_another_program_takes_part_no_more(bench: Bench) -> None:
    lane, _ = await attach(bench)
    bench.thread.exec()
    await wait_all_tasks_blocked()
    assert not lane.holders
    assert (await attach(bench))[1].number == 1


async def test_not_more_than_so_many(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("uringfs.engine.lane.MOST", 2)
    await two(bench)
    with pytest.raises(UringError) as failed:
        await attach(bench, bench.host.thread(300))
    assert failed.value.errno == errno.EUSERS


@pytest.mark.parametrize("flags", [IORING_SETUP_IOPOLL, IORING_SETUP_SQ_REWIND | IORING_SETUP_NO_SQARRAY])
async def test_rings_without_a_lane(nursery: trio.Nursery, flags: int) -> None:
    bench = Bench(nursery, flags=flags)
    with pytest.raises(UringError) as failed:
        await attach(bench)
    assert failed.value.errno == errno.EOPNOTSUPP
    assert bench.ring.lane is None


async def test_a_single_issuer_is_the_only_one_to_attach(nursery: trio.Nursery) -> None:
    bench = Bench(nursery, flags=IORING_SETUP_SINGLE_ISSUER)
    bench.context.submitter = bench.thread.program
    with pytest.raises(UringError) as failed:
        await attach(bench, bench.host.thread(ANOTHER))
    assert failed.value.errno == errno.EEXIST
    await attach(bench)


async def test_a_disabled_ring_has_its_lane_off_until_it_is_enabled(nursery: trio.Nursery) -> None:
    bench = Bench(nursery, flags=IORING_SETUP_R_DISABLED | IORING_SETUP_SINGLE_ISSUER)
    _, client = await attach(bench)
    assert client.attention == abi.URINGFS_LANE_OFF
    generation = client.load(abi.LANE_GENERATION)
    caller = bench.host.caller(bench.thread.tid, 0, 0)
    bench.context.sharing.between(lambda: bench.context.enable(caller))
    assert not client.attention
    assert client.load(abi.LANE_GENERATION) == generation + 1  # the single issuer is known now


# -- by turns


@pytest.mark.parametrize("flags", [0, IORING_SETUP_NO_SQARRAY, IORING_SETUP_CQE32])
@pytest.mark.parametrize("start", [0, 0xFFFFFFFD])
async def test_a_client_and_the_daemon_take_turns(nursery: trio.Nursery, flags: int, start: int) -> None:
    bench = Bench(nursery, entries=4, flags=flags)
    start_at(bench.ring, start)
    _, client = await attach(bench)
    for first in range(0, 60, 3):
        bench.client.push(nop(first), nop(first + 1), nop(first + 2))
        assert run(client.enter(1)) == Pass(1)
        assert await bench.enter(1) == 1
        assert run(client.enter(1)) == Pass(1)
        assert [cqe.user_data for cqe in bench.ring.cq.reap(3)] == [first, first + 1, first + 2]


async def test_the_daemon_keeps_clients_out_while_it_submits(bench: Bench) -> None:
    lane, client = await attach(bench)
    assert lane.begin()
    assert take(client, bench, 1) == Pass(refused=True, kick=True)
    lane.end()
    assert run(client.enter(1)) == Pass(1)


async def test_a_long_submission_has_the_lane_to_its_end(nursery: trio.Nursery) -> None:
    bench = Bench(nursery, entries=1024)
    lane, client = await attach(bench)
    bench.client.push(*(nop(n) for n in range(1024)))
    refused = []

    async def look() -> None:
        await trio.lowlevel.checkpoint()
        refused.append(run(client.enter(1)).refused)

    async with trio.open_nursery() as inner:
        inner.start_soon(look)
        assert await bench.enter(1024) == 1024
    assert refused == [True]
    assert not lane.had
    assert bench.client.results() == [(n, 0) for n in range(1024)]


async def test_an_enter_waits_for_a_client_in_the_lane(bench: Bench, autojump_clock: object) -> None:
    lane, client = await attach(bench)
    bench.client.push(nop(1), nop(2))
    steps = client.enter(1)
    while next(steps) != "taken":
        pass
    entered: list[int] = []

    async def enter() -> None:
        entered.append(await bench.enter(1))

    async with trio.open_nursery() as inner:
        inner.start_soon(enter)
        await wait_all_tasks_blocked()
        assert entered == []
        assert run(steps).kick
        lane.look()
    assert entered == [1]
    assert bench.client.results() == [(1, 0), (2, 0)]
    assert not lane.had
    assert not client.load(abi.LANE_DAEMON)


async def test_an_enter_that_waits_for_the_lane_can_be_interrupted(bench: Bench, autojump_clock: object) -> None:
    _, client = await attach(bench)
    bench.client.push(nop(1))
    steps = client.lock()
    assert [next(steps), next(steps), next(steps)][-1] == "has it"
    with trio.move_on_after(1) as scope:
        await bench.enter(1)
    assert scope.cancelled_caught
    client.store(abi.LANE_LOCK, 0)
    await trio.sleep(1)  # a look now and then
    assert not client.load(abi.LANE_DAEMON)
    assert run(client.enter(1)) == Pass(1)


async def test_what_completes_while_a_client_has_the_lane_comes_behind(
    bench: Bench, autojump_clock: object
) -> None:
    lane, client = await attach(bench)
    stream = bench.thread.fds[FD] = Stream()
    bench.thread.memory.map(BUFFER, 4)
    iovecs(bench.thread, IOVECS, [(BUFFER, 4)])
    await bench.submit(readv(FD, IOVECS, 1, 9))
    bench.client.push(nop(1), nop(2))
    steps = client.enter(2)
    while next(steps) != "posted":
        pass
    stream.feed(b"abcd")
    await wait_all_tasks_blocked()
    assert client.load(abi.LANE_DAEMON)
    assert bench.client.reap() == []
    assert run(steps) == Pass(2, kick=True)
    lane.look()
    assert bench.client.results() == [(1, 0), (2, 0), (9, 4)]
    assert bench.ring.counters.completed == 1


async def test_the_daemon_comes_back_if_a_client_does_not_kick(bench: Bench, autojump_clock: object) -> None:
    _, client = await attach(bench)
    steps = client.enter(0)
    while next(steps) != "has it":
        pass
    bench.context.post_cqe(5, 0, 0)
    bench.context.publish()
    run(steps)
    await trio.sleep(1)
    assert bench.client.results() == [(5, 0)]
    assert not client.load(abi.LANE_DAEMON)


# -- attention


async def test_a_waiter_is_told_by_a_kick(bench: Bench) -> None:
    lane, client = await attach(bench)
    results: list[int] = []
    async with trio.open_nursery() as inner:
        inner.start_soon(wait, bench, 1, results)
        await wait_all_tasks_blocked()
        assert client.attention == abi.URINGFS_LANE_WAITER
        assert take(client, bench, 1) == Pass(1, kick=True)
        lane.look()
    assert results == [0]
    assert not client.attention


async def test_an_enter_does_not_wait_for_what_a_client_has_posted(bench: Bench) -> None:
    _, client = await attach(bench)
    take(client, bench, 1)
    with trio.fail_after(1):
        assert await bench.enter(0, wait=1) == 0


async def test_a_registered_eventfd_is_signalled_for_what_clients_post(bench: Bench) -> None:
    lane, client = await attach(bench)
    bench.thread.eventfds[5] = FakeEventFd()
    bench.thread.memory.put(BUFFER, (5).to_bytes(4, "little"))
    caller = bench.host.caller(bench.thread.tid, 0, 0)
    bench.context.sharing.between(lambda: register(bench.context, caller, 4, BUFFER, 1))
    assert client.attention == abi.URINGFS_LANE_EVENTFD
    assert take(client, bench, 1, 2).kick
    lane.look()
    lane.look()
    assert bench.thread.eventfds[5].count == 1


async def test_a_timeout_counts_what_clients_complete(bench: Bench) -> None:
    lane, client = await attach(bench)
    bench.thread.memory.put(BUFFER, TIMESPEC.pack(100, 0))
    await bench.submit(Sqe(IORING_OP_TIMEOUT, fd=-1, addr=BUFFER, len=1, off=2, user_data=7))
    assert client.attention == abi.URINGFS_LANE_COUNTED | abi.URINGFS_LANE_WORK
    assert take(client, bench, 1).kick
    lane.look()
    assert bench.client.results() == [(1, 0)]
    assert take(client, bench, 2).kick
    lane.look()
    assert bench.client.results() == [(2, 0), (7, 0)]
    assert not client.attention


async def test_completions_that_overflow_keep_clients_out(bench: Bench) -> None:
    _, client = await attach(bench)
    for n in range(bench.ring.cq.entries):
        take(client, bench, n)
    await bench.submit(nop(99))
    assert client.attention == abi.URINGFS_LANE_BACKLOG
    assert take(client, bench, 100).taken == 0
    assert len(bench.client.reap()) == bench.ring.cq.entries
    assert await bench.enter(1, wait=1) == 1
    assert bench.client.results() == [(99, 0), (100, 0)]
    assert not client.attention


async def test_a_full_queue_is_the_daemons(bench: Bench) -> None:
    _, client = await attach(bench)
    for n in range(bench.ring.cq.entries):
        take(client, bench, n)
    assert take(client, bench, 99) == Pass()


async def test_a_drain_keeps_clients_out_until_it_is_complete(bench: Bench, autojump_clock: object) -> None:
    lane, client = await attach(bench)
    bench.client.push(nop(1))
    place = run(client.begin_outside())
    await bench.submit(nop(2, IOSQE_IO_DRAIN))
    assert client.attention == abi.URINGFS_LANE_DRAIN | abi.URINGFS_LANE_WORK
    assert bench.client.reap() == []
    assert run(client.end_outside(place)).kick
    lane.look()
    assert bench.client.results() == [(1, 0), (2, 0)]
    assert not client.attention
    assert take(client, bench, 3).taken == 1


class Watch(Subscriber):
    def io_issue_sqe(self, request: object) -> None:
        pass


async def test_who_watches_sees_all(bench: Bench) -> None:
    _, client = await attach(bench)
    watch = Watch()
    bench.tctx.hooks.subscribe(watch)
    assert client.attention == abi.URINGFS_LANE_WATCHED
    assert take(client, bench, 1).taken == 0
    bench.tctx.hooks.unsubscribe(watch)
    assert run(client.enter(1)).taken == 1
    bench.context.close()
    assert bench.tctx.hooks.changed == []


# -- the switch


async def test_switched_off_nothing_is_taken_any_more(bench: Bench, autojump_clock: object) -> None:
    lane, client = await attach(bench)
    bench.client.push(nop(1), nop(2))
    steps = client.enter(2)
    while next(steps) != "taken":
        pass
    off = trio.Event()

    async def switch() -> None:
        await bench.context.sharing.switch(False)
        off.set()

    async with trio.open_nursery() as inner:
        inner.start_soon(switch)
        await wait_all_tasks_blocked()
        assert not off.is_set()  # who is in it may go on with what it has begun
        assert run(steps) == Pass(1, kick=True)
        lane.look()
    assert off.is_set()
    assert run(client.enter(1)) == Pass()
    await bench.context.sharing.switch(True)
    assert run(client.enter(1)) == Pass(1)
    assert bench.client.results() == [(1, 0), (2, 0)]


async def test_a_lane_that_is_off_before_anybody_attaches(bench: Bench) -> None:
    await bench.context.sharing.switch(False)
    _, client = await attach(bench)
    assert take(client, bench, 1) == Pass()


# -- counters, tables


async def test_what_clients_do_is_counted(bench: Bench) -> None:
    lane, client = await attach(bench)
    take(client, bench, 1, 2)
    take(client, bench, 3, flags=IOSQE_CQE_SKIP_SUCCESS)
    assert lane.counters() == abi.LaneCounters(enters=2, submitted=3, completed=2)
    assert lane.taken() == {IORING_OP_NOP: 3}
    assert bench.ring.counters.submitted == 0


async def test_a_ring_that_has_skipped_cqes_cannot_drain(bench: Bench) -> None:
    _, client = await attach(bench)
    take(client, bench, 3, flags=IOSQE_CQE_SKIP_SUCCESS)
    await bench.submit(nop(4, IOSQE_IO_DRAIN))
    assert bench.client.results() == [(4, -errno.EOPNOTSUPP)]


async def test_changes_of_registered_files_are_counted_once_a_call(bench: Bench) -> None:
    fds = [3, 4, 5]
    bench.thread.fds.update({fd: Stream() for fd in fds})
    bench.thread.memory.put(BUFFER, b"".join(fd.to_bytes(4, "little") for fd in fds))
    caller = bench.host.caller(bench.thread.tid, 0, 0)

    def call(opcode: int, arg: int, nr: int) -> None:
        bench.context.sharing.between(lambda: register(bench.context, caller, opcode, arg, nr))

    call(2, BUFFER, 3)  # FILES, before anybody takes part
    _, client = await attach(bench)
    assert client.load(abi.LANE_FILES) == 1
    call(3, 0, 0)  # UNREGISTER_FILES
    assert client.load(abi.LANE_FILES) == 2
    call(2, BUFFER, 2)
    assert client.load(abi.LANE_FILES) == 3
    with pytest.raises(UringError):
        call(2, BUFFER, 2)  # EBUSY
    assert client.load(abi.LANE_FILES) == 3
    assert client.load(abi.LANE_BUFFERS) == 0


# -- without the lock


async def test_a_request_without_the_lock_stands_in_the_page(bench: Bench) -> None:
    lane, client = await attach(bench)
    bench.client.push(nop(1), nop(2))
    place = run(client.begin_outside())
    assert [(taken.user_data, taken.opcode) for taken in lane.under_way()] == [(1, IORING_OP_NOP)]
    assert await bench.enter(1) == 1
    assert run(client.end_outside(place)).taken == 1
    assert lane.under_way() == []
    assert bench.client.results() == [(2, 0), (1, 0)]


@pytest.mark.parametrize("flags", [0, IOSQE_CQE_SKIP_SUCCESS])
async def test_a_request_that_cannot_be_posted_is_left_to_the_daemon(bench: Bench, flags: int) -> None:
    lane, client = await attach(bench)
    bench.client.push(nop(1, flags))
    place = run(client.begin_outside())
    assert lane.begin()
    assert run(client.end_outside(place)) == Pass(kick=True)
    lane.look()
    lane.end()
    assert lane.under_way() == []
    assert bench.client.results() == ([] if flags else [(1, 0)])


@pytest.mark.parametrize(
    ("flags", "addr", "opcode", "res"),
    [
        (0, 1, 0, -errno.EALREADY),
        (0, 5, 0, -errno.ENOENT),
        (IORING_ASYNC_CANCEL_OP, 0, IORING_OP_NOP, -errno.EALREADY),
        (IORING_ASYNC_CANCEL_OP, 0, IORING_OP_READV, -errno.ENOENT),
        (IORING_ASYNC_CANCEL_ANY, 0, 0, 1),
        (IORING_ASYNC_CANCEL_ALL, 2, 0, 1),
    ],
)
async def test_what_a_client_performs_cannot_be_cancelled(
    bench: Bench, flags: int, addr: int, opcode: int, res: int
) -> None:
    _, client = await attach(bench)
    bench.client.push(nop(1), nop(2))
    places = [run(client.begin_outside()) for _ in range(2)]
    await bench.submit(Sqe(IORING_OP_ASYNC_CANCEL, fd=-1, addr=addr, len=opcode, rw_flags=flags, user_data=9))
    assert bench.client.results() == [(9, res)]
    for place in places:
        assert run(client.end_outside(place)).taken == 1


async def queued(bench: Bench, client: LaneClient, *numbers: int) -> list[int]:
    bench.client.push(*map(nop, numbers))
    return [run(client.begin_outside(abi.URINGFS_LANE_QUEUED)) for _ in numbers]


@pytest.mark.parametrize(
    ("flags", "addr", "opcode", "results"),
    [
        (0, 1, 0, [(9, 0), (1, -errno.ECANCELED)]),
        (0, 5, 0, [(9, -errno.ENOENT)]),
        (IORING_ASYNC_CANCEL_OP, 0, IORING_OP_NOP, [(9, 0), (1, -errno.ECANCELED)]),
        (IORING_ASYNC_CANCEL_OP, 0, IORING_OP_READV, [(9, -errno.ENOENT)]),
        (IORING_ASYNC_CANCEL_ANY, 0, 0, [(9, 1), (1, -errno.ECANCELED), (2, -errno.ECANCELED)]),
        (IORING_ASYNC_CANCEL_ALL, 2, 0, [(9, 1), (2, -errno.ECANCELED)]),
    ],
)
async def test_what_no_worker_has_begun_is_cancelled(
    bench: Bench, flags: int, addr: int, opcode: int, results: list[tuple[int, int]]
) -> None:
    lane, client = await attach(bench)
    places = await queued(bench, client, 1, 2)
    await bench.submit(Sqe(IORING_OP_ASYNC_CANCEL, fd=-1, addr=addr, len=opcode, rw_flags=flags, user_data=9))
    assert bench.client.results() == results
    canceled = {user_data for user_data, _ in results}
    assert {taken.user_data for taken in lane.under_way()} == {1, 2} - canceled
    for place, user_data in zip(places, (1, 2), strict=True):
        assert client.begin_queued(place) == (user_data not in canceled)
        if user_data not in canceled:
            assert run(client.end_outside(place)).taken == 1
    assert not lane.page.requests()


async def test_what_a_worker_has_begun_is_not_cancelled(bench: Bench) -> None:
    _, client = await attach(bench)
    (place,) = await queued(bench, client, 1)
    assert client.begin_queued(place)
    await bench.submit(Sqe(IORING_OP_ASYNC_CANCEL, fd=-1, addr=1, user_data=9))
    assert run(client.end_outside(place)).taken == 1
    assert bench.client.results() == [(9, -errno.EALREADY), (1, 0)]


async def test_what_is_cancelled_is_not_drained(bench: Bench) -> None:
    _, client = await attach(bench)
    await queued(bench, client, 1)
    await bench.submit(Sqe(IORING_OP_ASYNC_CANCEL, fd=-1, addr=1, user_data=9))
    await bench.submit(nop(8, IOSQE_IO_DRAIN))
    assert bench.client.results() == [(9, 0), (1, -errno.ECANCELED), (8, 0)]


@pytest.mark.parametrize("canceled", [False, True])
async def test_what_is_queued_when_its_process_dies_is_cancelled_once(
    bench: Bench, autojump_clock: object, canceled: bool
) -> None:
    _, _, dying, thread = await two(bench)
    await queued(bench, dying, 1)
    if canceled:
        await bench.submit(Sqe(IORING_OP_ASYNC_CANCEL, fd=-1, addr=1, user_data=9))
    thread.exit()
    await trio.sleep(5)
    assert bench.client.results() == [*([(9, 0)] if canceled else []), (1, -errno.ECANCELED)]


# -- the dead


@pytest.mark.parametrize("death", range(18))
@pytest.mark.parametrize("start", [0, 0xFFFFFFFE])
async def test_no_completion_is_lost_or_comes_twice_when_a_client_dies(
    bench: Bench, autojump_clock: object, death: int, start: int
) -> None:
    start_at(bench.ring, start)
    _, _, dying, thread = await two(bench)
    bench.client.push(nop(1), nop(2), nop(3))
    steps, done = dying.enter(2), False
    for _ in range(death + 1):
        try:
            next(steps)
        except StopIteration:
            done = True
    thread.exit()
    await trio.sleep(5)
    assert not dying.load(abi.LANE_LOCK)
    left = bench.ring.sq.pending()
    assert await bench.enter(left) == left
    cqes = bench.client.reap()
    assert [cqe.user_data for cqe in cqes] == [1, 2, 3]
    assert {cqe.res for cqe in cqes} <= {0, -errno.ECANCELED}
    assert [cqe.res for cqe in cqes].count(-errno.ECANCELED) <= (0 if done else 1)
    mirror = bench.ring.memory.load
    assert mirror(CQ_TAIL) == mirror(0x8000000 + CQ_TAIL) == (start + 3) & 0xFFFFFFFF


@pytest.mark.parametrize("death", range(24))
async def test_the_same_of_a_request_without_the_lock(bench: Bench, autojump_clock: object, death: int) -> None:
    lane, _, dying, thread = await two(bench)
    bench.client.push(nop(1), nop(2))

    def both() -> Generator[str, None, None]:
        place = yield from dying.begin_outside()
        yield "performed"
        yield from dying.end_outside(place)

    steps = both()
    for _ in range(death + 1):
        next(steps, None)
    thread.exit()
    await trio.sleep(5)
    left = bench.ring.sq.pending()
    assert await bench.enter(left) == left
    cqes = bench.client.reap()
    assert sorted(cqe.user_data for cqe in cqes) == [1, 2]
    assert lane.under_way() == []


async def test_who_waits_is_told_of_what_one_posted_who_died_before_its_kick(bench: Bench) -> None:
    _, _, dying, thread = await two(bench)
    results: list[int] = []
    async with trio.open_nursery() as inner:
        inner.start_soon(wait, bench, 1, results)
        await wait_all_tasks_blocked()
        assert take(dying, bench, 1).kick
        thread.exit()
    assert results == [0]


# -- hostile words


async def test_a_lock_of_nobody_is_no_lock(bench: Bench) -> None:
    _, client = await attach(bench)
    client.store(abi.LANE_LOCK, 4711)
    assert await bench.submit(nop(1)) == 1
    assert not client.load(abi.LANE_LOCK)


@pytest.mark.parametrize("seed", range(200))
async def test_a_client_that_scribbles_harms_its_own_ring_only(
    bench: Bench, autojump_clock: object, seed: int
) -> None:
    lane, _, _, thread = await two(bench)
    chance = random.Random(seed)
    other, worker = bench.another()
    for _ in range(20):
        for _ in range(chance.randrange(1, 40)):
            offset = 4 * chance.randrange(abi.URINGFS_LANE_SIZE // 4)
            bench.ring.memory.store(BASE + offset, chance.choice([0, 1, 2, 3, 0xFFFFFFFF, chance.getrandbits(32)]))
        lane.look()
        with trio.move_on_after(1):
            bench.client.push(nop(1), nop(2, chance.choice([0, IOSQE_IO_DRAIN])))
            await bench.enter(2)
            await bench.enter(0, wait=1)
        bench.client.reap(8)
    other.push(nop(5))
    caller = bench.host.caller(bench.thread.tid, 0, 0)
    assert worker.enter(caller, 1, 0, 0, 0, 0).result == 1
    assert other.results() == [(5, 0)]
    thread.exit()
    bench.thread.exit()
    await trio.sleep(5)
    assert not lane.holders


async def test_a_ring_that_ends_with_its_process(bench: Bench) -> None:
    """Its last descriptor is closed as the process ends: who watches that finds neither."""
    await attach(bench)
    bench.thread.exit()
    bench.context.close()
    bench.ring.memory.close()
    await wait_all_tasks_blocked()


async def test_a_ring_that_ends_before_what_its_chain_has_let_go_starts(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """That waits for the wire to be read; the memory is gone by then."""
    stream = bench.thread.fds[FD] = Stream()
    bench.thread.memory.map(BUFFER, 4096)
    await attach(bench)
    vector = iovecs(bench.thread, IOVECS, [(BUFFER, 4)])
    await bench.submit(readv(FD, *vector, 1, IOSQE_IO_LINK), nop(2, IOSQE_IO_DRAIN))
    unread = True
    monkeypatch.setattr(bench.host, "unsettled", lambda: unread)
    stream.feed(b"data")
    while not bench.client.results():
        await trio.lowlevel.checkpoint()
    bench.context.close()
    bench.ring.memory.close()
    unread = False
    await wait_all_tasks_blocked()  # a task that failed would end the nursery, and the daemon
    assert bench.context.closed
    assert bench.ring.lane is not None
    assert bench.ring.lane.take()


async def test_a_ring_that_is_gone_has_no_lane(bench: Bench) -> None:
    _, client = await attach(bench)
    bench.context.close()
    assert client.load(abi.LANE_VERSION) == 0
    assert client.attention & abi.URINGFS_LANE_CLOSED
