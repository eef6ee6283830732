"""io_uring's system calls answered for the thread that makes them."""

import errno
import signal

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from tests.fakehost.files import RegularFile
from tests.unit.fs.supervised.support import ARG, PARAMS, TID, FakeListener, Supervised, handle
from tests.unit.support import nop
from uringfs.abi.constants import (
    IORING_ENTER_EXT_ARG,
    IORING_ENTER_GETEVENTS,
    IORING_ENTER_REGISTERED_RING,
)
from uringfs.abi.seccomp import (
    NR_IO_URING_ENTER,
    NR_IO_URING_REGISTER,
    NR_IO_URING_SETUP,
    PROBE_ANSWER,
    PROBE_ARG,
)
from uringfs.engine.request import RegisteredRing
from uringfs.errors import UringError
from uringfs.fs.supervised.supervisor import LOOK, MOST_OF_A_USER

USR1 = 1 << signal.SIGUSR1 - 1


async def test_a_ring_of_its_own(supervised: Supervised) -> None:
    fd = await supervised.setup()
    assert await supervised.run(fd, nop(1), nop(2)) == [(1, 0), (2, 0)]
    assert supervised.files[1000].opens == 0  # ours; the thread's table has its own
    inode = supervised.files[1000].inode
    assert (inode.uid, inode.gid) == (supervised.thread.uid, supervised.thread.gid)
    assert await supervised.call(NR_IO_URING_REGISTER, fd, 2, ARG, 0) == -errno.EINVAL


async def test_what_the_kernel_says_before_it_looks_at_a_ring(supervised: Supervised) -> None:
    fd = await supervised.setup()
    supervised.thread.fds[5] = RegularFile(b"")
    assert await supervised.enter(99, 0) == -errno.EBADF
    assert await supervised.enter(-1, 0) == -errno.EBADF
    assert await supervised.enter(5, 0) == -errno.EOPNOTSUPP
    assert await supervised.enter(99, 0, flags=1 << 30) == -errno.EINVAL
    assert await supervised.enter(0, 0, flags=IORING_ENTER_REGISTERED_RING) == -errno.EBADF
    assert await supervised.enter(16, 0, flags=IORING_ENTER_REGISTERED_RING) == -errno.EINVAL
    assert await supervised.call(NR_IO_URING_SETUP, 8, 0x999000) == -errno.EFAULT
    assert await supervised.call(NR_IO_URING_REGISTER, fd, 99, 0, 0) == -errno.EINVAL
    assert await supervised.call(NR_IO_URING_REGISTER, -1, 2, 0, 0) == -errno.EINVAL
    assert await supervised.call(NR_IO_URING_REGISTER, -1, 35, 0, 0) == 0  # a query of nothing
    assert await supervised.call(39) == -errno.ENOSYS
    assert await supervised.call(NR_IO_URING_SETUP, 8, PARAMS, arch=0x40000003) == -errno.ENOSYS
    assert await supervised.call(NR_IO_URING_ENTER, -1, 0, 0, 0, 0, PROBE_ARG) == PROBE_ANSWER


async def test_a_registered_ring_outlives_its_descriptor(supervised: Supervised) -> None:
    fd = await supervised.setup()
    client = supervised.client(fd)
    file = handle(supervised.thread.fds[fd])
    worker = supervised.files[1000].inode.payload.context
    assert worker is not None
    thread = supervised.host.caller(TID, 1000, 1000)
    worker.registered_rings(thread)[3] = RegisteredRing(worker, file)  # FakeCaller.file() knows no rings
    description = supervised.thread.fds.pop(fd)
    client.push(nop(1))
    assert await supervised.enter(3, 1, flags=IORING_ENTER_REGISTERED_RING) == 1
    assert client.results() == [(1, 0)]
    assert description.opens == 1
    supervised.thread.exit()
    await wait_all_tasks_blocked()
    assert description.opens == 0


async def test_waiting_enters_hold_up_nobody(supervised: Supervised) -> None:
    fd = await supervised.setup()
    others = [supervised.another(TID + number) for number in range(1, 9)]
    for other in others:
        other.fds[fd] = supervised.thread.fds[fd]
        assert await supervised.enter(fd, 0, 1, tid=other.tid) is None
    supervised.client(fd).push(nop(1))
    assert await supervised.enter(fd, 1) == 1
    assert not supervised.listener.pending


async def test_a_signal_ends_a_wait(supervised: Supervised, mock_clock: MockClock) -> None:
    fd = await supervised.setup()
    supervised.client(fd).push(nop(1))
    await wait_all_tasks_blocked()
    first = supervised.listener.call(NR_IO_URING_ENTER, fd, 1, 2, IORING_ENTER_GETEVENTS)
    await wait_all_tasks_blocked()
    supervised.client(fd).reap()
    supervised.thread.status = supervised.thread.status._replace(pending=USR1, blocked=USR1)
    await looked(mock_clock)
    assert first in supervised.listener.pending
    supervised.thread.status = supervised.thread.status._replace(blocked=0)
    await looked(mock_clock)
    assert supervised.listener.answers[first] == 1  # what was submitted
    assert await supervised.enter(fd, 0, 1) is None
    await looked(mock_clock)
    assert list(supervised.listener.answers.values())[-1] == -errno.EINTR


async def looked(clock: MockClock) -> None:
    await wait_all_tasks_blocked()
    clock.jump(LOOK * 1.5)
    await wait_all_tasks_blocked()


async def test_the_calls_mask_counts(supervised: Supervised, mock_clock: MockClock) -> None:
    fd = await supervised.setup()
    supervised.thread.memory.put(ARG, USR1.to_bytes(8, "little"))
    supervised.thread.status = supervised.thread.status._replace(pending=USR1)
    assert await supervised.enter(fd, 0, 1, arg=ARG) is None
    await looked(mock_clock)
    assert supervised.listener.pending
    supervised.thread.status = supervised.thread.status._replace(pending=1 << signal.SIGTERM - 1)
    await looked(mock_clock)
    assert not supervised.listener.pending


async def test_a_signal_to_the_process_ends_one_wait(supervised: Supervised, mock_clock: MockClock) -> None:
    """The main thread's, if it takes it; if it does something else, that ends (complete_signal())."""
    fd = await supervised.setup()
    for tid in (101, 102):
        other = supervised.another(tid)
        other.fds[fd] = supervised.thread.fds[fd]
        other.status = other.status._replace(group=TID, shared=USR1)
        assert await supervised.enter(fd, 0, 1, tid=tid) is None
    supervised.thread.status = supervised.thread.status._replace(shared=USR1)
    await looked(mock_clock)
    assert len(supervised.listener.pending) == 2
    supervised.thread.status = supervised.thread.status._replace(blocked=USR1)
    await looked(mock_clock)
    assert [call.tid for call in supervised.listener.pending.values()] == [102]


async def test_a_restarted_call_gets_what_the_interrupted_one_had(supervised: Supervised) -> None:
    """Filters without WAIT_KILLABLE_RECV, handlers with SA_RESTART."""
    fd = await supervised.setup()
    supervised.client(fd).push(nop(1))
    enter = (NR_IO_URING_ENTER, fd, 1, 2, IORING_ENTER_GETEVENTS, 0, 8)
    number = supervised.listener.call(*enter)
    await wait_all_tasks_blocked()
    supervised.listener.interrupt(number)
    assert await supervised.call(*enter) == 1
    supervised.client(fd).reap()
    number = supervised.listener.call(*enter)
    await wait_all_tasks_blocked()
    assert supervised.listener.answers.pop(number) == 0  # nothing was there to submit: no wait
    assert await supervised.enter(fd, 0, 1) is None
    supervised.listener.interrupt(next(iter(supervised.listener.pending)))
    supervised.client(fd).push(nop(2))  # by the handler: no restart, or one that finds more
    assert await supervised.enter(fd, 1, 1) == 1


async def test_killed_threads_leave_no_wait(supervised: Supervised, mock_clock: MockClock) -> None:
    fd = await supervised.setup()
    ring = supervised.fs.ring(supervised.files[1000].fh)
    assert ring is not None
    assert await supervised.enter(fd, 0, 1) is None
    assert len(ring.waiters) == 1
    supervised.listener.interrupt(next(iter(supervised.listener.pending)))
    supervised.thread.exit()
    await looked(mock_clock)
    assert not ring.waiters


async def test_a_timeout_of_the_wait(supervised: Supervised, mock_clock: MockClock) -> None:
    fd = await supervised.setup()
    second = (1).to_bytes(8, "little") + bytes(8)
    supervised.thread.memory.put(ARG + 64, second)
    supervised.thread.memory.put(ARG, bytes(16) + (ARG + 64).to_bytes(8, "little"))
    number = supervised.listener.call(
        NR_IO_URING_ENTER, fd, 0, 1, IORING_ENTER_GETEVENTS | IORING_ENTER_EXT_ARG, ARG, 24
    )
    await wait_all_tasks_blocked()
    assert number in supervised.listener.pending
    mock_clock.jump(1.5)
    await wait_all_tasks_blocked()
    assert supervised.listener.answers[number] == -errno.ETIME


async def test_it_ends_with_the_last_thread(supervised: Supervised) -> None:
    supervised.listener.end()
    await wait_all_tasks_blocked()
    assert supervised.listener.closed


async def test_one_that_fails_takes_nobody_along(supervised: Supervised, caplog: pytest.LogCaptureFixture) -> None:
    """The kernel answers ENOSYS for a listener that is closed."""
    other = FakeListener(supervised.host, supervised.files)
    supervised.thread.listeners[8] = other
    await supervised.start(8)

    def fail(number: int, result: int) -> None:
        raise OSError(errno.EIO, "as no kernel does")

    supervised.listener.answer = fail  # type: ignore[method-assign]
    assert await supervised.enter(99, 0) is None
    assert supervised.listener.closed
    assert "a supervisor failed" in caplog.text
    caplog.clear()
    supervised.listener = other
    assert await supervised.enter(99, 0) == -errno.EBADF


async def test_what_is_no_listener(nursery: trio.Nursery) -> None:
    supervised = Supervised(nursery)
    with pytest.raises(UringError) as caught:
        await supervised.start(listener=99)
    assert caught.value.errno == errno.EBADF


async def test_listeners_of_a_user_are_counted(nursery: trio.Nursery) -> None:
    supervised = Supervised(nursery)
    for number in range(MOST_OF_A_USER):
        supervised.thread.listeners[1000 + number] = FakeListener(supervised.host, {})
        await supervised.start(1000 + number)
    with pytest.raises(UringError) as caught:
        await supervised.start()
    assert caught.value.errno == errno.EAGAIN
    supervised.thread.listeners[1000].end()
    await wait_all_tasks_blocked()
    await supervised.start()
