"""TIMEOUT, LINK_TIMEOUT, ASYNC_CANCEL, POLL_ADD and POLL_REMOVE on the fake host, under MockClock."""

import errno

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from tests.fakehost.files import Stream
from tests.unit.support import Bench, iovecs, nop, readv
from uringfs.abi.constants import IORING_CQE_F_MORE, IOSQE_IO_HARDLINK, IOSQE_IO_LINK
from uringfs.abi.events import (
    EPOLLHUP,
    EPOLLIN,
    IORING_ASYNC_CANCEL_ALL,
    IORING_ASYNC_CANCEL_ANY,
    IORING_ASYNC_CANCEL_FD,
    IORING_POLL_ADD_MULTI,
    IORING_POLL_UPDATE_USER_DATA,
    IORING_TIMEOUT_ABS,
    IORING_TIMEOUT_MULTISHOT,
    IORING_TIMEOUT_UPDATE,
)
from uringfs.abi.structs import TIMESPEC, Sqe

ETIME, CANCELED, ENOENT = -errno.ETIME, -errno.ECANCELED, -errno.ENOENT
AT = 0x30000


def timespec(bench: Bench, seconds: float, at: int = AT) -> int:
    whole = int(seconds)
    return bench.thread.memory.put(at, TIMESPEC.pack(whole, int((seconds - whole) * 1e9)))


def timeout(address: int, user_data: int, off: int = 0, how: int = 0, flags: int = 0, **fields: int) -> Sqe:
    fields = {"len": 1, **fields}
    return Sqe(11, flags, fd=-1, addr=address, off=off, rw_flags=how, user_data=user_data, **fields)


def link_timeout(address: int, user_data: int, flags: int = 0) -> Sqe:
    return timeout(address, user_data, flags=flags)._replace(opcode=15)


def remove(target: int, user_data: int, how: int = 0, address: int = 0) -> Sqe:
    return Sqe(12, fd=-1, addr=target, off=address, rw_flags=how, user_data=user_data)


def cancel(target: int, user_data: int, how: int = 0, fd: int = -1, **fields: int) -> Sqe:
    return Sqe(14, fd=fd, addr=target, rw_flags=how, user_data=user_data, **fields)


def poll(fd: int, user_data: int, events: int = EPOLLIN, how: int = 0, flags: int = 0) -> Sqe:
    return Sqe(6, flags, fd=fd, rw_flags=events, len=how, user_data=user_data)


@pytest.fixture
def stream(bench: Bench) -> Stream:
    bench.thread.fds[3] = stream = Stream()
    return stream


async def test_a_timeout_fires_when_its_time_has_come(bench: Bench, mock_clock: MockClock) -> None:
    await bench.submit(timeout(timespec(bench, 2.5), 1))
    mock_clock.jump(2.4)
    await wait_all_tasks_blocked()
    assert bench.client.results() == []
    mock_clock.jump(0.2)
    await wait_all_tasks_blocked()
    assert bench.client.results() == [(1, ETIME)]
    assert not bench.context.pending


async def test_timeouts_of_the_same_time_fire_in_their_order(bench: Bench, mock_clock: MockClock) -> None:
    when = round((trio.current_time() + 7) * 4) / 4
    await bench.submit(*(timeout(timespec(bench, when), n, how=IORING_TIMEOUT_ABS) for n in range(8)))
    mock_clock.jump(8)
    await wait_all_tasks_blocked()
    assert bench.client.results() == [(n, ETIME) for n in range(8)]


async def test_an_earlier_one_behind_a_later(bench: Bench, mock_clock: MockClock) -> None:
    await bench.submit(timeout(timespec(bench, 9), 1))
    await wait_all_tasks_blocked()
    await bench.submit(timeout(timespec(bench, 3), 2))
    mock_clock.jump(4)
    await wait_all_tasks_blocked()
    assert bench.client.results() == [(2, ETIME)]


async def test_a_timer_that_was_cancelled_does_not_fire(bench: Bench, mock_clock: MockClock) -> None:
    await bench.submit(timeout(timespec(bench, 1), 1), cancel(1, 2))
    mock_clock.jump(5)
    await wait_all_tasks_blocked()
    assert bench.client.results() == [(2, 0), (1, CANCELED)]


async def test_multishot_goes_on_until_its_count(bench: Bench, mock_clock: MockClock) -> None:
    await bench.submit(timeout(timespec(bench, 1), 1, off=2, how=IORING_TIMEOUT_MULTISHOT))
    for _ in range(4):
        mock_clock.jump(1.1)
        await wait_all_tasks_blocked()
    assert [(cqe.res, cqe.flags) for cqe in bench.client.reap()] == [(ETIME, IORING_CQE_F_MORE), (ETIME, 0)]


async def test_update(bench: Bench, mock_clock: MockClock) -> None:
    await bench.submit(timeout(timespec(bench, 100), 1))
    await bench.submit(remove(1, 2, IORING_TIMEOUT_UPDATE, timespec(bench, 1)))
    assert bench.client.results() == [(2, 0)]
    mock_clock.jump(1.5)
    await wait_all_tasks_blocked()
    assert bench.client.results() == [(1, ETIME)]


async def test_thousands_of_cancelled_timers_leave_nothing_behind(nursery: trio.Nursery) -> None:
    bench = Bench(nursery, entries=4096)
    at = timespec(bench, 1000)
    for _ in range(3):
        await bench.submit(*(timeout(at, n) for n in range(4096)))
        await bench.submit(cancel(0, 9999, IORING_ASYNC_CANCEL_ANY))
        assert len(bench.client.reap()) == 4097
    assert len(bench.host.timers._heap._heap) <= 128
    assert not bench.context.pending


async def test_thousands_of_counting_timeouts_end_by_their_count(nursery: trio.Nursery) -> None:
    bench = Bench(nursery, entries=2048)
    at = timespec(bench, 1000)
    await bench.submit(*(timeout(at, n, off=2000 - n) for n in range(1000)))
    await bench.submit(*(remove(n, 5000 + n) for n in range(0, 1000, 2)))
    bench.client.reap()
    await bench.submit(*(nop(9000) for _ in range(2000)))
    ended = {cqe.user_data for cqe in bench.client.reap() if cqe.user_data < 1000}
    assert ended == set(range(1, 1000, 2))
    assert bench.context.timeouts.counted == []


@pytest.mark.parametrize("kind", [IOSQE_IO_LINK, IOSQE_IO_HARDLINK])
async def test_a_link_timeout_wins(bench: Bench, stream: Stream, mock_clock: MockClock, kind: int) -> None:
    await bench.submit(poll(3, 1, flags=kind), link_timeout(timespec(bench, 1), 2, kind), nop(3))
    mock_clock.jump(2)
    await wait_all_tasks_blocked()
    behind = 0 if kind == IOSQE_IO_HARDLINK else CANCELED
    assert bench.client.results() == [(2, ETIME), (1, CANCELED), (3, behind)]
    assert not bench.context.pending
    assert not bench.context.timeouts.links
    assert stream.opens == 0


async def test_a_link_timeout_loses(bench: Bench, stream: Stream, mock_clock: MockClock) -> None:
    await bench.submit(poll(3, 1, flags=IOSQE_IO_LINK), link_timeout(timespec(bench, 1), 2, IOSQE_IO_LINK), nop(3))
    stream.feed(b"x")
    mock_clock.jump(2)
    await wait_all_tasks_blocked()
    assert bench.client.results() == [(1, EPOLLIN), (2, CANCELED), (3, 0)]


async def test_a_link_timeout_ends_a_read(bench: Bench, stream: Stream, mock_clock: MockClock) -> None:
    bench.thread.memory.map(0x10000, 4096)
    vector = iovecs(bench.thread, 0x20000, [(0x10000, 4)])
    await bench.submit(readv(3, *vector, 1, IOSQE_IO_LINK), link_timeout(timespec(bench, 1), 2))
    await wait_all_tasks_blocked()
    mock_clock.jump(2)
    await wait_all_tasks_blocked()
    assert bench.client.results() == [(2, ETIME), (1, CANCELED)]
    stream.feed(b"kept")
    assert bytes(stream.data) == b"kept"


async def test_a_link_timeout_that_has_run_out(bench: Bench, stream: Stream, mock_clock: MockClock) -> None:
    """Against what is complete it finds nothing; what waits has a moment, then it is cancelled."""
    at = timespec(bench, 0)
    await bench.submit(nop(1, IOSQE_IO_LINK), link_timeout(at, 2, IOSQE_IO_LINK), nop(3))
    assert bench.client.results() == [(1, 0), (2, ENOENT), (3, 0)]
    await bench.submit(Sqe(200, IOSQE_IO_LINK, user_data=1), link_timeout(at, 2))  # never began
    assert bench.client.results() == [(1, -errno.EINVAL), (2, CANCELED)]
    await bench.submit(poll(3, 1, flags=IOSQE_IO_LINK), link_timeout(at, 2))
    await wait_all_tasks_blocked()
    assert bench.client.results() == []
    mock_clock.jump(0.01)
    await wait_all_tasks_blocked()
    assert bench.client.results() == [(2, ETIME), (1, CANCELED)]
    assert not bench.context.pending
    assert not bench.context.timeouts.links


async def test_polls_tell_what_holds(bench: Bench, stream: Stream) -> None:
    await bench.submit(poll(3, 1), poll(3, 2))
    assert bench.client.results() == []
    stream.feed(b"x")
    assert bench.client.results() == [(1, EPOLLIN), (2, EPOLLIN)]
    stream.hang_up()
    await bench.submit(poll(3, 3))
    assert bench.client.results() == [(3, EPOLLIN | EPOLLHUP)]
    assert stream.opens == 0
    assert stream.watchers == []


async def test_a_multishot_poll_is_one_request(bench: Bench, stream: Stream) -> None:
    await bench.submit(poll(3, 1, how=IORING_POLL_ADD_MULTI))
    for _ in range(3):
        stream.feed(b"x")
    assert [(cqe.res, cqe.flags) for cqe in bench.client.reap()] == [(EPOLLIN, IORING_CQE_F_MORE)] * 3
    await bench.submit(cancel(1, 2))
    assert bench.client.results() == [(2, 0), (1, CANCELED)]
    assert stream.watchers == []


async def test_a_poll_of_new_user_data_is_found_by_it(bench: Bench, stream: Stream) -> None:
    await bench.submit(poll(3, 1))
    await bench.submit(Sqe(7, fd=-1, addr=1, off=5, len=IORING_POLL_UPDATE_USER_DATA, user_data=2))
    await bench.submit(cancel(1, 3), cancel(5, 4))
    assert bench.client.results() == [(2, 0), (3, ENOENT), (4, 0), (5, CANCELED)]


async def test_all_of_a_file(bench: Bench, stream: Stream) -> None:
    other = bench.thread.fds[4] = Stream()
    bench.thread.fds[5] = stream
    await bench.submit(poll(3, 1), poll(4, 2), poll(5, 3))
    await bench.submit(cancel(0, 9, IORING_ASYNC_CANCEL_FD | IORING_ASYNC_CANCEL_ALL, fd=5))
    assert sorted(bench.client.results()) == [(1, CANCELED), (3, CANCELED), (9, 2)]
    other.feed(b"x")
    assert bench.client.results() == [(2, EPOLLIN)]
    assert (stream.opens, other.opens) == (0, 0)


async def test_what_the_owner_leaves(bench: Bench, stream: Stream, mock_clock: MockClock) -> None:
    """Polls and timeouts pend on: they end by what they wait for, what is linked behind with EFAULT."""
    at = timespec(bench, 1)
    await bench.submit(poll(3, 1, flags=IOSQE_IO_LINK), nop(2), poll(3, 3, how=IORING_POLL_ADD_MULTI))
    await bench.submit(timeout(at, 4, flags=IOSQE_IO_HARDLINK), nop(5))
    await bench.submit(poll(3, 6, flags=IOSQE_IO_LINK), link_timeout(at, 7))
    bench.thread.exit()
    await wait_all_tasks_blocked()
    assert bench.client.results() == []
    mock_clock.jump(1)
    await wait_all_tasks_blocked()
    assert bench.client.results() == [(4, -errno.ETIME), (5, -errno.EFAULT), (7, CANCELED)]
    stream.feed(b"x")
    await wait_all_tasks_blocked()
    assert sorted(bench.client.results()) == [(1, CANCELED), (2, CANCELED), (3, CANCELED), (6, CANCELED)]
    assert not bench.context.pending
    assert stream.opens == 0


async def test_the_ring_is_closed(bench: Bench, stream: Stream, mock_clock: MockClock) -> None:
    at = timespec(bench, 1)
    await bench.submit(poll(3, 1, flags=IOSQE_IO_LINK), link_timeout(at, 2), timeout(at, 4, off=3), timeout(at, 5))
    bench.context.close()
    assert (stream.opens, stream.watchers) == (0, [])
    mock_clock.jump(2)
    await wait_all_tasks_blocked()
    assert bench.client.results() == []


FIELDS = ["ioprio", "off", "addr", "len", "rw_flags", "buf_index", "file_index", "addr3", "pad2"]


@pytest.mark.parametrize("opcode", [6, 7, 11, 12, 14, 15])
@pytest.mark.parametrize("field", FIELDS)
async def test_hostile_fields(bench: Bench, opcode: int, field: str) -> None:
    """Any value of any field: one CQE or a pending request, and the ring goes on."""
    sizes = {"ioprio": 16, "off": 64, "addr": 64, "len": 32, "rw_flags": 32, "buf_index": 16, "file_index": 32,
             "addr3": 64, "pad2": 64}  # fmt: skip
    bench.thread.fds[3] = Stream()
    for bit in range(sizes[field]):
        sqe = Sqe(opcode, fd=3, user_data=1)._replace(**{field: 1 << bit})
        await bench.submit(sqe)
        await bench.submit(cancel(0, 2, IORING_ASYNC_CANCEL_ANY))
        seen = bench.client.results()
        assert sum(user_data == 1 for user_data, _ in seen) == 1
        assert not bench.context.pending
