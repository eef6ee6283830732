"""New descriptors and closed ones of threads whose system calls the daemon answers."""

import errno
import os

import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from tests.fakehost.files import RegularFile
from tests.unit.fs.supervised.support import ARG, BLANK, Supervised
from uringfs.abi.constants import (
    IORING_ENTER_GETEVENTS,
    IORING_SQ_TASKRUN,
    OPCODES,
)
from uringfs.abi.seccomp import (
    NR_IO_URING_ENTER,
)
from uringfs.abi.structs import SQ_FLAGS, Sqe


def close_sqe(fd: int, user_data: int) -> Sqe:
    return Sqe(OPCODES.index("CLOSE"), 0, fd=fd, user_data=user_data)


def open_sqe(user_data: int) -> Sqe:
    return Sqe(OPCODES.index("OPENAT"), 0, fd=-100, addr=ARG, user_data=user_data)


async def test_new_descriptors_and_closed_ones(supervised: Supervised) -> None:
    """CLOSE leaves a blank file, which the next descriptor replaces."""
    fd = await supervised.setup()
    fds = supervised.thread.fds
    supervised.thread.memory.put(ARG, b"/etc/motd\0")
    supervised.thread.answers["openat2"] = (os.open(os.devnull, os.O_RDONLY), b"")
    opened = fds[5] = RegularFile(b"x")
    assert await supervised.run(fd, close_sqe(5, 1)) == [(1, 0)]
    assert fds[5] is BLANK
    assert opened.opens == 0
    assert await supervised.run(fd, close_sqe(5, 2)) == [(2, -errno.EBADF)]
    assert await supervised.run(fd, open_sqe(3)) == [(3, 5)]
    assert fds[5] is not BLANK
    supervised.thread.answers["openat2"] = (os.open(os.devnull, os.O_RDONLY), b"")
    assert await supervised.run(fd, open_sqe(4)) == [(4, 4)]


async def test_a_descriptor_that_comes_late_calls_for_an_enter(
    supervised: Supervised, mock_clock: MockClock
) -> None:
    """Who waits for the ring with epoll, or whose poller submits, makes no call that could be answered with it."""
    fd = await supervised.setup()
    supervised.thread.memory.put(ARG, b"/etc/motd\0")
    supervised.thread.answers["openat2"] = (os.open(os.devnull, os.O_RDONLY), b"")
    supervised.thread.acting = trio.Event()
    client = supervised.client(fd)
    ring = supervised.fs.ring(supervised.files[1000].fh)
    assert ring is not None
    client.push(open_sqe(1))
    number = supervised.listener.call(NR_IO_URING_ENTER, fd, 1)
    await wait_all_tasks_blocked()
    mock_clock.jump(1)
    await wait_all_tasks_blocked()
    assert supervised.listener.answers[number] == 1
    assert not ring.readable()
    supervised.thread.acting.set()
    await wait_all_tasks_blocked()
    assert ring.readable()
    assert client.memory.load(SQ_FLAGS) == IORING_SQ_TASKRUN
    assert client.results() == []
    assert await supervised.enter(fd, 0, flags=IORING_ENTER_GETEVENTS) == 0
    assert client.memory.load(SQ_FLAGS) == 0
    assert client.results() == [(1, 4)]
    assert not ring.readable()


async def test_a_ring_is_closed_while_a_descriptor_is_to_come(
    supervised: Supervised, mock_clock: MockClock
) -> None:
    fd = await supervised.setup()
    supervised.thread.memory.put(ARG, b"/etc/motd\0")
    supervised.thread.acting = trio.Event()
    supervised.client(fd).push(open_sqe(1))
    supervised.listener.call(NR_IO_URING_ENTER, fd, 1)
    await wait_all_tasks_blocked()
    mock_clock.jump(1)
    await wait_all_tasks_blocked()
    del supervised.thread.fds[fd]
    supervised.fs.release(supervised.files[1000].fh)
    await wait_all_tasks_blocked()
    assert supervised.backend.closed == supervised.backend.allocated


class Opening(dict[str, tuple[int, bytes]]):
    """Every open gives another descriptor."""

    def __missing__(self, name: str) -> tuple[int, bytes]:
        return os.open(os.devnull, os.O_RDONLY), b""


async def test_a_request_that_is_cancelled_while_its_descriptor_waits_its_turn(supervised: Supervised) -> None:
    """Its number in our table may be another file's by then."""
    fd = await supervised.setup()
    supervised.thread.memory.put(ARG, b"/etc/motd\0")
    supervised.thread.answers = Opening()  # type: ignore[assignment]
    client, listener = supervised.client(fd), supervised.listener
    worker = supervised.files[1000].inode.payload.context
    assert worker is not None
    first, second = trio.Event(), trio.Event()
    listener.installing, listener.installed = first, []
    client.push(open_sqe(1), open_sqe(2), open_sqe(3))
    number = listener.call(NR_IO_URING_ENTER, fd, 3, 3, IORING_ENTER_GETEVENTS)
    await wait_all_tasks_blocked()
    listener.installing = second
    first.set()
    await wait_all_tasks_blocked()
    assert len(listener.installed) == 2  # and the third has been taken with the second
    for request in worker.issued():
        worker.cancel(request)
    await wait_all_tasks_blocked()
    second.set()
    await wait_all_tasks_blocked()
    assert len(listener.installed) == 2
    assert listener.answers[number] == 3
    assert sorted(res for _, res in client.results()) == [-errno.ECANCELED, -errno.ECANCELED, 4]
