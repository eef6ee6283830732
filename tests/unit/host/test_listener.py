"""The kernel's side of user notification: a child under the filter, its calls answered from here."""

import ctypes
import errno
import os
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest
import trio

from tests.support.children import Child, in_child
from uringfs import native
from uringfs.abi.seccomp import AUDIT_ARCH, NR_IO_URING_ENTER, NR_IO_URING_REGISTER
from uringfs.cli import notify
from uringfs.errors import UringError
from uringfs.host.files.file import LocalFile
from uringfs.host.listener import LocalListener
from uringfs.host.protocols import Notification
from uringfs.host.status import thread_status
from uringfs.host.threads import Threads

libc = ctypes.CDLL(None, use_errno=True)


def call(*args: int) -> int:
    """A system call's result, or -errno."""
    result = libc.syscall(*map(ctypes.c_long, args))
    return -ctypes.get_errno() if result < 0 else int(result)


@contextmanager
def filtered(code: Callable[[Child], None], ends_by: tuple[int, ...] = (0,)) -> Iterator[tuple[Child, int]]:
    """A child under a filter, and its listener. code runs once told to."""

    def body(child: Child) -> None:
        os.dup2(notify.install(), 100)
        child.tell(b"ready")
        child.expect(b"go")
        os.close(100)
        code(child)

    with in_child(body, ends_by) as child:
        child.expect(b"ready")
        pidfd = os.pidfd_open(child.pid)
        listener = native.pidfd_getfd(pidfd, 100)
        os.close(pidfd)
        child.tell(b"go")
        yield child, listener


async def received(listener: LocalListener, nursery: trio.Nursery) -> "trio.MemoryReceiveChannel[Notification]":
    """Every call, and the channel's end with the last thread's."""
    send, receive = trio.open_memory_channel[Notification](100)

    async def feed() -> None:
        with send:
            await listener.each(send.send_nowait)

    nursery.start_soon(feed)
    return receive


async def test_calls_and_answers(nursery: trio.Nursery) -> None:
    def code(child: Child) -> None:
        assert call(NR_IO_URING_ENTER, 7, 1, 2, 3, 4, 5) == 4711
        assert call(NR_IO_URING_REGISTER, -1, 0, 0, 0) == -errno.ETIME

    with filtered(code) as (child, fd):
        listener = LocalListener(fd)
        calls = await received(listener, nursery)
        first = await calls.receive()
        assert (first.tid, first.nr, first.args) == (child.pid, NR_IO_URING_ENTER, (7, 1, 2, 3, 4, 5))
        assert first.arch == AUDIT_ARCH[os.uname().machine]
        assert listener.valid(first.id)
        listener.answer(first.id, 4711)
        assert not listener.valid(first.id)
        listener.answer(first.id, 1)  # nobody asks any more
        second = await calls.receive()
        assert second.args[0] & 0xFFFFFFFF == 0xFFFFFFFF
        listener.answer(second.id, -errno.ETIME)
        with pytest.raises(trio.EndOfChannel):
            await calls.receive()
        listener.close()


async def test_descriptors(nursery: trio.Nursery) -> None:
    """Put into the child's table at the lowest number, over another, and as the answer itself."""

    def code(child: Child) -> None:
        reading, writing = os.pipe()
        low = os.dup(0)
        os.close(low)
        assert call(NR_IO_URING_ENTER, writing, 0, 0, 0, 0, 0) == low
        assert os.get_inheritable(low)
        assert os.read(reading, 1) == b""  # the other end has been closed
        for refused in (lambda: os.read(writing, 1), lambda: os.write(writing, b"x")):
            with pytest.raises(OSError, match="Bad file descriptor"):
                refused()
        assert not os.get_inheritable(writing)
        assert os.read(call(NR_IO_URING_REGISTER, 0, 0, 0, 0), 5) == b"given"

    with filtered(code) as (child, fd):
        listener = LocalListener(fd)
        calls = await received(listener, nursery)
        first = await calls.receive()
        path = os.open("/", os.O_PATH)
        assert await listener.install(first.id, path, cloexec=True) == -errno.EOPNOTSUPP
        null = os.open(os.devnull, os.O_RDONLY)
        number = await listener.install(first.id, null, cloexec=False)
        assert number > 2
        writing = first.args[0]
        assert await listener.install(first.id, listener.blank(), cloexec=True, at=writing) == writing
        pidfd = os.pidfd_open(child.pid)
        for one, blank in ((writing, True), (number, False)):
            file = LocalFile(native.pidfd_getfd(pidfd, one), -1, Threads())
            assert listener.is_blank(file) == blank
            file.close()
        listener.answer(first.id, number)
        second = await calls.receive()
        given, send = os.pipe()
        os.write(send, b"given")
        assert await listener.install(second.id, given, cloexec=True, answers=True) > 2
        assert not listener.valid(second.id)
        assert await listener.install(second.id, given, cloexec=True) == -errno.ENOENT
        with pytest.raises(trio.EndOfChannel):
            await calls.receive()
        for ours in (path, null, given, send, pidfd):
            os.close(ours)
        listener.close()


async def test_a_caught_signal_leaves_the_call_to_us(nursery: trio.Nursery) -> None:
    """SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV; SIGKILL ends it."""

    def code(child: Child) -> None:
        signal.signal(signal.SIGUSR1, lambda *_: child.tell(b"caught"))
        child.tell(b"catching")
        assert call(NR_IO_URING_ENTER, 0, 0, 0, 0, 0, 0) == -errno.EINTR
        call(NR_IO_URING_ENTER, 0, 0, 0, 0, 0, 0)

    with filtered(code, (-signal.SIGKILL,)) as (child, fd):
        listener = LocalListener(fd)
        child.expect(b"catching")
        calls = await received(listener, nursery)
        first = await calls.receive()
        child.kill(signal.SIGUSR1)
        status = thread_status(child.pid)
        assert (status.pending | status.shared) & 1 << signal.SIGUSR1 - 1
        assert listener.valid(first.id)
        listener.answer(first.id, -errno.EINTR)
        child.expect(b"caught")
        second = await calls.receive()
        child.kill()
        assert child.wait() == -signal.SIGKILL
        assert not listener.valid(second.id)
        with pytest.raises(trio.EndOfChannel):
            await calls.receive()
        listener.close()


async def test_it_stops_when_it_is_cancelled(nursery: trio.Nursery) -> None:
    with filtered(lambda child: child.expect(b"end")) as (child, fd):
        listener = LocalListener(fd)
        with trio.move_on_after(0.01) as scope:
            await listener.each(lambda call: None)
        assert scope.cancelled_caught
        listener.close()
        child.tell(b"end")


async def test_cancelled_before_it_begins_it_leaves_nothing_open() -> None:
    with filtered(lambda child: child.expect(b"end")) as (child, fd):
        listener = LocalListener(fd)
        before = os.listdir("/proc/self/fd")
        with trio.CancelScope() as scope:
            scope.cancel()
            await listener.each(lambda call: None)
        with trio.CancelScope() as scope:
            scope.cancel()
            await listener.install(1, 0, cloexec=True)
        assert os.listdir("/proc/self/fd") == before
        listener.close()
        child.tell(b"end")


async def test_another_file_is_no_listener() -> None:
    with pytest.raises(UringError) as caught:
        LocalListener(os.open(os.devnull, os.O_RDONLY))
    assert caught.value.errno == errno.EINVAL


def test_the_status_of_a_thread() -> None:
    status = thread_status(os.getpid())
    assert (status.group, status.uid, status.gid) == (os.getpid(), os.geteuid(), os.getegid())
    assert not status.ended
    signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGUSR2])
    try:
        signal.pthread_kill(threading.get_ident(), signal.SIGUSR2)
        status = thread_status(os.getpid())
        bit = 1 << signal.SIGUSR2 - 1
        assert status.pending & status.blocked & bit
        assert not status.ignored & bit
    finally:
        signal.sigtimedwait([signal.SIGUSR2], 0)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGUSR2])
    with pytest.raises(UringError):
        thread_status(1 << 30)
