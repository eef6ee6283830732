"""A host made of Python objects, for tests: threads with memory, descriptors and an end.

Implements base for real. What blocks, blocks on events: nothing here sleeps or looks at a clock.
"""

import errno
import struct
from collections.abc import Callable, Hashable, Sequence
from contextlib import AbstractContextManager, nullcontext

import trio

from tests.fakehost.events import FakeChildren, FakePoller, FakeSignals, FakeTimers
from tests.fakehost.files import Description, FakeFile, RegularFile, description
from tests.fakehost.memory import FakeMemory
from uringfs.abi.control import URINGFS_ENTER_FETCHES
from uringfs.errors import UringError
from uringfs.host.protocols import INFINITY, Caller, File, Listener, Memory, Out
from uringfs.host.protocols.host import never
from uringfs.host.status import ThreadStatus

Answer = int | tuple[int, bytes]


class FakeEventFd:
    """count: what read(2) would give."""

    def __init__(self) -> None:
        self.count = 0
        self.closed = False

    def signal(self) -> None:
        self.count += 1

    def same(self, file: File) -> bool:
        return False

    def close(self) -> None:
        self.closed = True


class FakeProgram:
    """What a thread executes: until it exits, or its exec()."""

    def __init__(self, tid: int) -> None:
        self.tid = tid
        self.gone = self.ran = False
        self._ended = trio.Event()

    def same(self) -> bool:
        return not self._ended.is_set()

    def lives(self) -> bool:
        return not self.gone

    def exited(self) -> bool:
        return self.gone

    async def ended(self) -> None:
        await self._ended.wait()

    def end(self, exited: bool) -> None:
        self.gone = exited
        self._ended.set()


class FakeThread:
    """A thread of its own process, alive until exit()."""

    def __init__(self, tid: int, uid: int = 1000, gid: int = 1000) -> None:
        self.tid = tid
        self.uid = uid
        self.gid = gid
        self.memory = FakeMemory()
        self.fds: dict[int, Description] = {}
        self.handle: Callable[[Description], FakeFile] = FakeFile
        """Makes what we get of one of these."""
        self.paths: dict[str, Description] = {}
        """What it can open by name."""
        self.opening: trio.Event | None = None
        """If there is one, opens wait for it."""
        self.exited = trio.Event()
        self.program = FakeProgram(tid)
        self.process: Hashable = tid
        self.fsize = INFINITY
        """RLIMIT_FSIZE"""
        self.answers: dict[str, Answer] = {}
        """What its path system calls come to, by name: an errno, or (result, what is written to Out)."""
        self.acting: trio.Event | None = None
        """If there is one, path system calls wait for it."""
        self.calls: list[tuple[object, ...]] = []
        """The calls that were made: (name, *args)."""
        self.sent: list[int] = []
        """Descriptors of ours that were sent to it."""
        self.channels: dict[int, FakeChannel] = {}
        """Sockets of its own, by descriptor."""
        self.can = URINGFS_ENTER_FETCHES
        self.signals: list[int] = []
        self.advice: list[tuple[int, int, int]] = []
        """madvise(2): address, length, advice."""
        self.eventfds: dict[int, FakeEventFd] = {}
        self.listeners: dict[int, Listener] = {}
        self.status = ThreadStatus(False, tid, uid, gid, 0, 0, 0, 0)
        self.pidfds: dict[int, tuple[int, bool]] = {}

    def exec(self) -> None:
        """It executes another program: other memory, the descriptors stay."""
        self.memory.end()
        self.memory = FakeMemory()
        old, self.program = self.program, FakeProgram(self.tid)
        self.process = self.program
        old.end(exited=False)

    def exit(self) -> None:
        self.program.end(exited=True)
        self.memory.end()
        self.fds.clear()
        self.exited.set()


class FakeChannel:
    """What we send is in `sent`, what is put into `answers` we receive."""

    def __init__(self) -> None:
        self.sent: list[tuple[bytes, list[int]]] = []
        self.answers, self._received = trio.open_memory_channel[bytes](16)
        self.full: trio.Event | None = None
        """If there is one, it takes no more until then."""
        self.closed = False

    def send(self, data: bytes, fds: Sequence[int]) -> bool:
        if self.full is not None and not self.full.is_set():
            return False
        self.sent.append((data, list(fds)))
        return True

    async def room(self) -> None:
        if self.full is not None:
            await self.full.wait()

    async def receive(self, size: int) -> bytes:
        try:
            return await self._received.receive()
        except trio.EndOfChannel:
            return b""

    def received(self, size: int) -> bytes:
        try:
            return self._received.receive_nowait()
        except (trio.WouldBlock, trio.EndOfChannel):
            return b""

    def close(self) -> None:
        self.closed = True


class FakeCaller:
    def __init__(self, thread: FakeThread, late: bool = False) -> None:
        self._thread = thread
        self._late = late
        self.program = thread.program
        self.tid = thread.tid
        self.uid = thread.uid
        self.gid = thread.gid
        self.memory: Memory = thread.memory
        self.space: Memory = thread.memory
        self.can = thread.can
        self.group = thread.tid
        self.process = thread.process
        self.foreign = False

    def unpinnable(self) -> list[tuple[int, int]]:
        return []

    def in_call(self) -> None:
        return None

    def pidfd(self, fd: int) -> tuple[int, bool]:
        try:
            return self._thread.pidfds[fd]
        except KeyError:
            raise UringError(errno.EBADF) from None

    def actor(self) -> "FakeActor":
        if self._thread.exited.is_set():
            raise UringError(errno.ESRCH, f"thread {self.tid} is gone")
        return FakeActor(self._thread)

    def send_descriptors(self, sock: int, fds: Sequence[int]) -> None:
        if sock not in self._thread.fds:
            raise UringError(errno.EBADF)
        self._thread.sent += fds

    def channel(self, sock: int) -> "FakeChannel":
        if sock not in self._thread.channels:
            raise UringError(errno.EBADF)
        return self._thread.channels[sock]

    def file(self, fd: int) -> File:
        if self._late and not self.program.same():
            raise UringError(errno.ECANCELED)
        try:
            description = self._thread.fds[fd]
        except KeyError:
            raise UringError(errno.EBADF) from None
        return self._thread.handle(description)

    def detached(self) -> "FakeCaller":
        if self._thread.exited.is_set():
            raise UringError(errno.ESRCH, f"thread {self.tid} is gone")
        return self if self._late else FakeCaller(self._thread, late=True)

    def limit_fsize(self) -> int:
        return self._thread.fsize

    def rights(self, keeping: int = 0) -> AbstractContextManager[None]:
        return nullcontext()

    def check_ioprio(self, ioprio: int) -> None:
        """As of a user without capabilities: class 1 takes one."""
        ioprio_class, level = ioprio >> 13, ioprio & 7
        if ioprio_class > 3 or (ioprio_class == 0 and level):
            raise UringError(errno.EINVAL)
        if ioprio_class == 1 and self.uid:
            raise UringError(errno.EPERM)

    def ucred(self) -> bytes:
        return struct.pack("<iII", self.group, self.uid, self.gid)

    def may_claim(self, ucred: bytes) -> bool:
        return not self.uid or ucred == self.ucred()

    async def madvise(self, address: int, length: int, advice: int) -> int:
        await trio.lowlevel.checkpoint()
        self._thread.advice.append((address, length, advice))
        return 0

    def signal(self, number: int) -> None:
        self._thread.signals.append(number)

    def limit_nofile(self) -> int:
        return 1024

    def eventfd(self, fd: int) -> FakeEventFd:
        try:
            return self._thread.eventfds[fd]
        except KeyError:
            raise UringError(errno.EBADF) from None

    def listener(self, fd: int) -> Listener:
        try:
            return self._thread.listeners[fd]
        except KeyError:
            raise UringError(errno.EBADF) from None

    def credentials(self) -> object:
        return (self.uid, self.gid)

    def with_credentials(self, credentials: object) -> "FakeCaller":
        caller = FakeCaller(self._thread, self._late)
        assert isinstance(credentials, tuple)
        caller.uid, caller.gid = credentials
        return caller

    def open_path(self, path: str) -> "FakeOpener":
        if self._thread.exited.is_set():
            raise UringError(errno.ESRCH, f"thread {self.tid} is gone")
        return FakeOpener(self._thread, path)


class FakeActor:
    """Answers as the thread's `answers` say."""

    def __init__(self, thread: FakeThread) -> None:
        self._thread = thread

    async def call(self, name: str, *args: int | bytes | File | Out) -> tuple[int, bytes]:
        self._thread.calls.append((name, *args))
        if self._thread.acting is not None:
            await self._thread.acting.wait()
        else:
            await trio.lowlevel.checkpoint()
        answer = self._thread.answers[name]
        if isinstance(answer, int):
            raise UringError(answer)
        return answer


class FakeOpener:
    def __init__(self, thread: FakeThread, path: str) -> None:
        self._thread = thread
        self._path = path

    async def open(self) -> File:
        if self._thread.opening is not None:
            await self._thread.opening.wait()
        else:
            await trio.lowlevel.checkpoint()
        try:
            return FakeFile(self._thread.paths[self._path])
        except KeyError:
            raise UringError(errno.ENOENT) from None


class FakeOpening:
    """base.Opener, which admits whom it is told to."""

    is_unlimited = False

    def __init__(self) -> None:
        self.refused: set[int] = set()
        """Threads."""

    def admits(self, caller: Caller) -> bool:
        return caller.tid not in self.refused


class FakeHost:
    """The threads there are; one that was never made is one that is gone."""

    def __init__(self) -> None:
        self.threads: dict[int, FakeThread] = {}
        self.ours: dict[int, Description] = {}
        """What the descriptors are that its path system calls make."""
        self.rings: Callable[[], FakeFile] = lambda: FakeFile(RegularFile(b""))
        """Opens a new ring file."""
        self.timers = self.pauses = FakeTimers()
        self.poller = FakePoller(description)
        self.children = FakeChildren()
        self.signals = FakeSignals(description)
        self.unread = 0
        """Turns of the scheduler until settled() has read the wire."""
        self.openings: dict[int, FakeOpening] = {}
        """Who has opened ring files, by thread."""

    def thread(self, tid: int, uid: int = 1000, gid: int = 1000) -> FakeThread:
        self.threads[tid] = thread = FakeThread(tid, uid, gid)
        return thread

    def caller(self, tid: int, uid: int, gid: int) -> FakeCaller:
        thread = self.threads.get(tid)
        if thread is None:
            thread = FakeThread(tid, uid, gid)
            thread.exit()
        return FakeCaller(thread)

    def supervised(self, tid: int, valid: Callable[[], bool]) -> FakeCaller:
        return FakeCaller(self.threads[tid])

    def tidy(self) -> None:
        pass

    def opener(self, tid: int) -> "FakeOpening":
        return self.openings.setdefault(tid, FakeOpening())

    def status(self, tid: int) -> ThreadStatus:
        thread = self.threads.get(tid)
        if thread is None or thread.exited.is_set():
            raise UringError(errno.ESRCH)
        return thread.status

    def lineage(self, tid: int) -> tuple[int, ...]:
        return tid, 1

    async def open_ring(self) -> FakeFile:
        await trio.lowlevel.checkpoint()
        return self.rings()

    def adopt(self, fd: int) -> FakeFile:
        return FakeFile(self.ours[fd])

    def shared_word(self, caller: Caller, address: int) -> None:
        return None

    async def futex_wake(self, caller: Caller, address: int, most: int, mask: int) -> int:
        raise AssertionError("nothing is shared")

    def unsettled(self) -> bool:
        return False

    async def settled(self, unless: Callable[[], bool] = never, *, first: bool = False) -> None:
        for _ in range(self.unread + 1):
            if unless():
                return
            await trio.lowlevel.cancel_shielded_checkpoint()
