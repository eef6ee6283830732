"""io_uring's system calls answered for the thread that makes them: no filter, no mount, no clock."""

import errno
import itertools
import os
import signal
from collections.abc import Callable, Sequence

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from tests.unit.fs.test_filesystem import CountingBackend
from tests.unit.support import Client, nop
from uringfs.abi import control as abi
from uringfs.abi.constants import (
    IORING_ENTER_EXT_ARG,
    IORING_ENTER_GETEVENTS,
    IORING_ENTER_REGISTERED_RING,
    IORING_SQ_CQ_OVERFLOW,
    OPCODES,
)
from uringfs.abi.seccomp import (
    AUDIT_ARCH,
    NR_IO_URING_ENTER,
    NR_IO_URING_REGISTER,
    NR_IO_URING_SETUP,
    PROBE_ANSWER,
    PROBE_ARG,
)
from uringfs.abi.structs import SQ_FLAGS, Sqe
from uringfs.errors import UringError
from uringfs.fs.filesystem import RingFs
from uringfs.fs.supervisor import LOOK, MOST_OF_A_USER
from uringfs.host.base import File, Notification
from uringfs.host.fake import FakeHost, FakeThread
from uringfs.host.fake_files import FakeFile, RegularFile
from uringfs.ops.context import RegisteredRing

TID, PARAMS, ARG = 100, 0x11000, 0x12000
LISTENER = 7
ARCH = AUDIT_ARCH[os.uname().machine]
BLANK = RegularFile(b"")
USR1 = 1 << signal.SIGUSR1 - 1


class FakeListener:
    """A kernel that has the threads of a FakeHost under a filter. Descriptors it installs are files of theirs."""

    def __init__(self, host: FakeHost, files: dict[int, FakeFile]) -> None:
        self._host = host
        self._files = files
        self._numbers = itertools.count(1)
        self._fire: Callable[[Notification], None] = lambda call: None
        self._over = trio.Event()
        self.pending: dict[int, Notification] = {}
        self.answers: dict[int, int] = {}
        self.closed = False
        self.installed: list[int] = []
        """Descriptors of ours that were put into tables, or were to be."""
        self.installing: trio.Event | None = None
        """If there is one, that waits for it."""

    async def each(self, fire: Callable[[Notification], None]) -> None:
        self._fire = fire
        await self._over.wait()

    def call(self, nr: int, *args: int, tid: int = TID, arch: int = ARCH) -> int:
        """A thread makes a system call; its number."""
        words = tuple(word & (1 << 64) - 1 for word in (*args, *(0,) * (6 - len(args))))
        call = Notification(next(self._numbers), tid, nr, arch, 0x401000, words)
        self.pending[call.id] = call
        self._fire(call)
        return call.id

    def interrupt(self, number: int) -> None:
        """A signal, or SIGKILL, ends it."""
        del self.pending[number]

    def end(self) -> None:
        self._over.set()

    def valid(self, number: int) -> bool:
        return number in self.pending

    def answer(self, number: int, result: int) -> None:
        if self.pending.pop(number, None) is not None:
            self.answers[number] = result

    async def install(
        self, number: int, fd: int, *, cloexec: bool, at: int | None = None, answers: bool = False
    ) -> int:
        self.installed.append(fd)
        await (self.installing.wait() if self.installing is not None else trio.lowlevel.checkpoint())
        call = self.pending.get(number)
        if call is None:
            return -errno.ENOENT
        fds = self._host.threads[call.tid].fds
        place = at if at is not None else next(n for n in itertools.count(3) if n not in fds)
        fds[place] = BLANK if fd == self.blank() else self._files.get(fd, RegularFile(b"new"))
        if answers:
            self.answer(number, place)
        return place

    def blank(self) -> int:
        return -2

    def is_blank(self, file: File) -> bool:
        return file.identity == id(BLANK)

    def close(self) -> None:
        self.closed = True


class RingDescription(RegularFile):
    """A ring file as the kernel has it open: released with the last handle."""

    def __init__(self, fs: RingFs) -> None:
        super().__init__(b"")
        self.inode = fs.lookup(b"new", 0, 0)
        self.fh = fs.open(self.inode).fh


class RingHandle(FakeFile):
    def __init__(self, description: RingDescription, number: int) -> None:
        super().__init__(description)
        self.inode = description.inode.number
        self._number = number

    def fileno(self) -> int:
        return self._number


class Host(FakeHost):
    """One whose threads' descriptors may be rings."""

    def file_of(self, tid: int, fd: int) -> File:
        try:
            description = self.threads[tid].fds[fd]
        except KeyError:
            raise UringError(errno.EBADF) from None
        return RingHandle(description, -1) if isinstance(description, RingDescription) else FakeFile(description)


class Supervised:
    """A mount, a thread, and its system calls."""

    def __init__(self, nursery: trio.Nursery) -> None:
        self.host = Host()
        self.backend = CountingBackend()
        self.fs = RingFs(self.backend, self.host, nursery, 8)
        self.thread = self.another(TID)
        self.files: dict[int, RingDescription] = {}
        self.listener = FakeListener(self.host, self.files)
        self.thread.listeners[LISTENER] = self.listener
        self.host.rings = self._new_ring

    def _new_ring(self) -> RingHandle:
        number = 1000 + len(self.files)
        self.files[number] = RingDescription(self.fs)
        return RingHandle(self.files[number], number)

    def another(self, tid: int) -> FakeThread:
        thread = self.host.thread(tid)
        thread.memory.map(PARAMS, 4096)
        thread.memory.map(ARG, 4096)
        return thread

    async def start(self, listener: int = LISTENER) -> None:
        """What `uringfs run` does before it becomes the program."""
        inode = self.fs.lookup(b"new", 0, 0)
        fh = self.fs.open(inode).fh
        body = abi.SUPERVISE.pack(PARAMS, listener, -1)
        message = abi.HEADER.pack(abi.URINGFS_CMD_SUPERVISE, abi.HEADER.size + len(body)) + body
        try:
            await self.fs.write(fh, message, TID, 1000, 1000)
        finally:
            self.fs.release(fh)
            self.fs.inodes.forget(inode.number, 1)
        await wait_all_tasks_blocked()

    async def call(self, nr: int, *args: int, tid: int = TID, arch: int = ARCH) -> int | None:
        """Its result; None: it waits."""
        number = self.listener.call(nr, *args, tid=tid, arch=arch)
        await wait_all_tasks_blocked()
        return self.listener.answers.get(number)

    async def setup(self, entries: int = 8) -> int:
        fd = await self.call(NR_IO_URING_SETUP, entries, PARAMS)
        assert fd is not None
        return fd

    async def enter(
        self, fd: int, to_submit: int, wait: int = 0, flags: int = 0, arg: int = 0, tid: int = TID
    ) -> int | None:
        flags |= IORING_ENTER_GETEVENTS if wait else 0
        return await self.call(NR_IO_URING_ENTER, fd, to_submit, wait, flags, arg, 8, tid=tid)

    def client(self, fd: int) -> Client:
        description = self.thread.fds[fd]
        assert isinstance(description, RingDescription)
        ring = self.fs.ring(description.fh)
        assert ring is not None
        return Client(ring.memory, ring.geometry)

    async def run(self, fd: int, *sqes: Sqe) -> Sequence[tuple[int, int]]:
        """Submit and wait: the completions."""
        client = self.client(fd)
        client.push(*sqes)
        assert await self.enter(fd, len(sqes), len(sqes)) == len(sqes)
        return client.results()


@pytest.fixture
async def supervised(nursery: trio.Nursery) -> Supervised:
    made = Supervised(nursery)
    await made.start()
    return made


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
    file = supervised.host.file_of(TID, fd)
    worker = supervised.files[1000].inode.payload.worker
    assert worker is not None
    worker.registered_rings(TID)[3] = RegisteredRing(worker, file)  # FakeCaller.file() knows no rings
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
    assert ring.waiters == []


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
    assert client.memory.load(SQ_FLAGS) == IORING_SQ_CQ_OVERFLOW
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
    worker = supervised.files[1000].inode.payload.worker
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
