"""A thread whose io_uring system calls the daemon answers: no filter, no mount, no clock."""

import errno
import itertools
import os
from collections.abc import Callable, Sequence

import trio
from trio.testing import wait_all_tasks_blocked

from tests.fakehost.files import Description, FakeFile, RegularFile
from tests.fakehost.host import FakeHost, FakeThread
from tests.unit.fs.test_filesystem import CountingBackend
from tests.unit.support import Client
from uringfs.abi import control as abi
from uringfs.abi.constants import (
    IORING_ENTER_GETEVENTS,
)
from uringfs.abi.seccomp import (
    AUDIT_ARCH,
    NR_IO_URING_ENTER,
    NR_IO_URING_SETUP,
)
from uringfs.abi.structs import Sqe
from uringfs.fs.filesystem import RingFs
from uringfs.host.protocols import File, Notification

TID, PARAMS, ARG = 100, 0x11000, 0x12000
LISTENER = 7
ARCH = AUDIT_ARCH[os.uname().machine]
BLANK = RegularFile(b"")


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
        if self.installing is not None:
            await self.installing.wait()
        else:
            await trio.lowlevel.checkpoint()
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
        self.fh = fs.open(self.inode, TID, os.O_RDWR).fh


class RingHandle(FakeFile):
    def __init__(self, description: RingDescription, number: int) -> None:
        super().__init__(description)
        self.inode = description.inode.number
        self._number = number

    def fileno(self) -> int:
        return self._number


def handle(description: Description) -> FakeFile:
    return RingHandle(description, -1) if isinstance(description, RingDescription) else FakeFile(description)


class Supervised:
    """A mount, a thread, and its system calls."""

    def __init__(self, nursery: trio.Nursery) -> None:
        self.host = FakeHost()
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
        thread.handle = handle
        thread.memory.map(PARAMS, 4096)
        thread.memory.map(ARG, 4096)
        return thread

    async def start(self, listener: int = LISTENER) -> None:
        """What `uringfs run` does before it becomes the program."""
        inode = self.fs.lookup(b"new", 0, 0)
        fh = self.fs.open(inode, TID, os.O_RDWR).fh
        body = abi.SUPERVISE.pack(PARAMS, listener, -1)
        message = abi.HEADER.pack(abi.URINGFS_CMD_SUPERVISE, abi.HEADER.size + len(body)) + body
        try:
            assert self.fs.write(fh, message, TID, 1000, 1000) == 0
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
