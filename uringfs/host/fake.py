"""A host made of Python objects, for tests: threads with memory, descriptors and an end.

Implements base for real. What blocks, blocks on events: nothing here sleeps or looks at a clock.
"""

import errno
from collections.abc import Callable, Container, Sequence
from contextlib import AbstractContextManager, nullcontext

import trio

from uringfs.abi.control import URINGFS_ENTER_FETCHES
from uringfs.errors import UringError
from uringfs.host.base import INFINITY, Caller, Data, File, Iovec, Out
from uringfs.host.fake_events import FakeChildren, FakePoller, FakeTimers
from uringfs.host.listener import Listener
from uringfs.host.status import ThreadStatus

PAGE = 4096
MAX_FILE = 1 << 26
"""s_maxbytes of the files' file system."""


class FakeMemory:
    """A sparse address space: pages that are mapped, each writable or not."""

    def __init__(self) -> None:
        self._pages: dict[int, bytearray] = {}
        self._writable: set[int] = set()
        self._gone = False

    def map(self, address: int, size: int, *, writable: bool = True) -> int:
        """Map the pages around [address, address + size), zeroed where they are new. Returns address."""
        for page in range(address // PAGE, -(-(address + size) // PAGE)):
            self._pages.setdefault(page, bytearray(PAGE))
            (self._writable.add if writable else self._writable.discard)(page)
        return address

    def unmap(self, address: int, size: int) -> None:
        for page in range(address // PAGE, -(-(address + size) // PAGE)):
            self._pages.pop(page, None)
            self._writable.discard(page)

    def put(self, address: int, data: bytes) -> int:
        """Map and fill, as the process itself would. Returns address."""
        self.map(address, len(data))
        self._store(address, data)
        return address

    def read(self, address: int, size: int) -> bytes:
        if size and (self._gone or self._reach(address, size, self._pages.keys()) < size):
            raise UringError(errno.EFAULT)
        found = bytearray()
        while len(found) < size:
            page, start = divmod(address + len(found), PAGE)
            found += self._pages[page][start : start + size - len(found)]
        return bytes(found)

    def write(self, address: int, data: bytes) -> None:
        if self.scatter(data, [(address, len(data))]) < len(data):
            raise UringError(errno.EFAULT)

    def gather(self, iovecs: Sequence[Iovec]) -> bytes:
        found = b""
        for address, length in iovecs:
            reach = 0 if self._gone else self._reach(address, length, self._pages.keys())
            found += self.read(address, reach)
            if reach < length:
                break
        return found

    def scatter(self, data: Data, iovecs: Sequence[Iovec]) -> int:
        done = 0
        for address, length in iovecs:
            piece = data[done : done + length]
            reach = self.writable([(address, len(piece))])
            self._store(address, piece[:reach])
            done += reach
            if reach < len(piece):
                break
        return done

    def writable(self, iovecs: Sequence[Iovec]) -> int:
        total = 0
        for address, length in iovecs:
            reach = 0 if self._gone else self._reach(address, length, self._writable)
            total += reach
            if reach < length:
                break
        return total

    def gone(self) -> bool:
        return self._gone

    def end(self) -> None:
        """exit(2) or execve(2)."""
        self._gone = True

    def _reach(self, address: int, size: int, pages: Container[int]) -> int:
        """How many of size bytes from address on lie in those pages, without a gap."""
        end = address
        while end < address + size and end // PAGE in pages:
            end = (end // PAGE + 1) * PAGE
        return max(0, min(end - address, size))

    def _store(self, address: int, data: Data) -> None:
        done = 0
        while done < len(data):
            page, start = divmod(address + done, PAGE)
            piece = data[done : done + PAGE - start]
            self._pages[page][start : start + len(piece)] = piece
            done += len(piece)


class Description:
    """An open file description: what descriptors refer to. opens counts the daemon's handles on it."""

    streaming = False

    def __init__(self, *, readable: bool = True, nonblock: bool = False, refused: int = 0) -> None:
        self.readable = readable
        self.nonblock = nonblock
        self.refused = refused
        self.opens = 0
        self.watchers: list[Callable[[], None]] = []
        """Told of every change, as a wait queue."""
        self.writable = not readable
        """Open for writing; of both only if a test says so."""
        self.error = 0
        """Everything fails with it."""
        self.calls: list[Callable[[int], int]] = []
        """System calls asked for, each answered with result."""
        self.result = 0

    def changed(self) -> None:
        for watcher in tuple(self.watchers):
            watcher()

    def hung_up(self) -> bool:
        return False

    def available(self) -> bool:
        raise NotImplementedError

    def count(self) -> int:
        """What FIONREAD says."""
        return 0

    def take(self, size: int, offset: int) -> bytes:
        raise NotImplementedError

    def room(self) -> bool:
        """A write would not block."""
        return True

    def store(self, data: Data, offset: int) -> int:
        raise NotImplementedError

    async def becomes_writable(self) -> None:
        await trio.lowlevel.checkpoint()

    def give_back(self, count: int) -> None:
        raise NotImplementedError

    async def becomes_available(self) -> None:
        raise NotImplementedError


class RegularFile(Description):
    """Bytes with a position. With cached=False nothing is there before load()."""

    def __init__(self, data: bytes, *, cached: bool = True, readable: bool = True, refused: int = 0) -> None:
        super().__init__(readable=readable, refused=refused)
        self.data = data
        self.position = 0
        self._loaded = trio.Event()
        self.cached = cached
        """try_read() gets at it; read() does in any case, once loaded."""
        if cached:
            self._loaded.set()

    def load(self) -> None:
        self._loaded.set()

    def available(self) -> bool:
        return self.cached

    def take(self, size: int, offset: int) -> bytes:
        start = self.position if offset < 0 else offset
        data = self.data[start : start + size]
        if offset < 0:
            self.position += len(data)
        return data

    def store(self, data: Data, offset: int) -> int:
        start = self.position if offset < 0 else offset
        if data and start + len(data) > MAX_FILE:
            raise UringError(errno.EFBIG)
        self.data = self.data[:start].ljust(start, b"\0") + bytes(data) + self.data[start + len(data) :]
        if offset < 0:
            self.position += len(data)
        return len(data)

    def give_back(self, count: int) -> None:
        self.position -= count

    async def becomes_available(self) -> None:
        await self._loaded.wait()


class Stream(Description):
    """A pipe's reading end: feed() puts data in, hang_up() is the last writer's close()."""

    streaming = True

    def __init__(self, data: bytes = b"", *, readable: bool = True, nonblock: bool = False) -> None:
        super().__init__(readable=readable, nonblock=nonblock)
        self.data = bytearray(data)
        self._hung_up = False
        self._readers = trio.lowlevel.ParkingLot()

    def feed(self, data: bytes) -> None:
        self.data += data
        self._readers.unpark_all()
        self.changed()

    def hang_up(self) -> None:
        self._hung_up = True
        self._readers.unpark_all()
        self.changed()

    def hung_up(self) -> bool:
        return self._hung_up

    def room(self) -> bool:
        return False  # the other end is for writing

    def available(self) -> bool:
        return bool(self.data) or self._hung_up

    def count(self) -> int:
        return len(self.data)

    def take(self, size: int, offset: int) -> bytes:
        data = bytes(self.data[:size])
        del self.data[:size]
        return data

    def give_back(self, count: int) -> None:
        raise AssertionError("a stream has no position to move back")

    async def becomes_available(self) -> None:
        while not self.available():
            await self._readers.park()


class Sink(Description):
    """A pipe's writing end with room for `capacity` bytes: drain() is a reader, break_() its going."""

    streaming = True

    def __init__(self, capacity: int) -> None:
        super().__init__(readable=False)
        self.capacity = capacity
        self.data = bytearray()
        self._writers = trio.lowlevel.ParkingLot()

    def drain(self) -> bytes:
        data = bytes(self.data)
        self.data.clear()
        self._writers.unpark_all()
        return data

    def break_(self) -> None:
        self.error = errno.EPIPE
        self._writers.unpark_all()

    def room(self) -> bool:
        return bool(self.error) or len(self.data) < self.capacity

    def store(self, data: Data, offset: int) -> int:
        piece = data[: self.capacity - len(self.data)]
        self.data += piece
        return len(piece)

    async def becomes_writable(self) -> None:
        while not self.room():
            await self._writers.park()


class FakeFile:
    """The daemon's handle on a description."""

    def __init__(self, description: Description) -> None:
        self._description = description
        self._users = 1
        self.inode = 0
        self.streaming = description.streaming
        self.nonblock = description.nonblock
        self.nowait = True
        self.refused = description.refused
        self.regular = not description.streaming
        self.identity = id(description)
        self.pipe = description.streaming
        self.direct = False
        description.opens += 1

    def name(self) -> str:
        return "fake"

    def writable_mode(self) -> bool:
        return self._opened().writable

    def nonblocking(self) -> bool:
        return self._opened().nonblock

    def try_write(self, data: Data, offset: int, flags: int, iovecs: Sequence[Iovec] = ()) -> int:
        description = self._opened()
        if description.error:
            raise UringError(description.error)
        if not description.room():
            raise UringError(errno.EAGAIN)
        return description.store(data, offset)

    def knows_nowait(self) -> bool:
        return True

    def bytestream(self) -> bool:
        return self.pipe

    def takes(self, count: int) -> int:
        return 0 if self.pipe else count

    def write_fault(self, size: int, offset: int, flags: int) -> UringError:
        return UringError(errno.EFAULT if self.writable() else errno.EAGAIN)

    async def write(
        self,
        source: Callable[[], Data],
        offset: int,
        flags: int,
        caller: Caller,
        iovecs: Sequence[Iovec] = (),
    ) -> int:
        await trio.lowlevel.checkpoint()
        limit = caller.limit_fsize()
        data = source()
        if data and max(offset, 0) >= limit:
            raise UringError(errno.EFBIG)
        return self.try_write(data[: limit - max(offset, 0)], offset, flags)

    async def call(self, system_call: Callable[[int], int], caller: Caller) -> int:
        """Recorded, not made."""
        await trio.lowlevel.checkpoint()
        description = self._opened()
        if description.error:
            raise UringError(description.error)
        description.calls.append(system_call)
        return description.result

    def writable(self) -> bool:
        return self._opened().room()

    async def wait_writable(self) -> None:
        await self._opened().becomes_writable()

    def try_read(self, size: int, offset: int, flags: int, iovecs: Sequence[Iovec] = ()) -> bytes:
        description = self._opened()
        if description.error:
            raise UringError(description.error)
        if not description.available():
            raise UringError(errno.EAGAIN)
        return description.take(size, offset)

    async def read(self, size: int, offset: int, flags: int, iovecs: Sequence[Iovec] = ()) -> bytes:
        await self._opened().becomes_available()
        await trio.lowlevel.checkpoint_if_cancelled()
        description = self._opened()
        if description.error:
            raise UringError(description.error)
        return description.take(size, offset)

    def available(self) -> int:
        return self._opened().count()

    def ready(self) -> bool:
        return self._opened().available()

    async def wait(self) -> None:
        await self._opened().becomes_available()

    async def unread(self, count: int) -> None:
        await trio.lowlevel.checkpoint()
        self._opened().give_back(count)

    def readable_mode(self) -> bool:
        return self._opened().readable

    def fileno(self) -> int:
        return id(self._opened())

    def hold(self) -> None:
        self._opened()
        self._users += 1

    def close(self) -> None:
        description = self._opened()
        self._users -= 1
        if not self._users:
            description.opens -= 1

    @property
    def description(self) -> Description:
        return self._opened()

    def same(self, other: File) -> bool:
        return isinstance(other, FakeFile) and self._description is other.description

    def _opened(self) -> Description:
        assert self._users, "used after close(), or closed once too often"
        return self._description


def _description(file: File) -> Description:
    assert isinstance(file, FakeFile)
    return file.description


Answer = int | tuple[int, bytes]


class FakeEventFd:
    """count: what read(2) would give."""

    def __init__(self) -> None:
        self.count = 0
        self.closed = False

    def signal(self) -> None:
        self.count += 1

    def close(self) -> None:
        self.closed = True


class FakeThread:
    """A thread of its own process, alive until exit()."""

    def __init__(self, tid: int, uid: int = 1000, gid: int = 1000) -> None:
        self.tid = tid
        self.uid = uid
        self.gid = gid
        self.memory = FakeMemory()
        self.fds: dict[int, Description] = {}
        self.paths: dict[str, Description] = {}
        """What it can open by name."""
        self.opening: trio.Event | None = None
        """If there is one, opens wait for it."""
        self.exited = trio.Event()
        self.fsize = INFINITY
        """RLIMIT_FSIZE"""
        self.answers: dict[str, Answer] = {}
        """What its path system calls come to, by name: an errno, or (result, what is written to Out)."""
        self.acting: trio.Event | None = None
        """If there is one, path system calls wait for it."""
        self.calls: list[tuple[object, ...]] = []
        """Those that were made: (name, *args)."""
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

    def exit(self) -> None:
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

    def close(self) -> None:
        self.closed = True


class FakeCaller:
    def __init__(self, thread: FakeThread) -> None:
        self._thread = thread
        self.tid = thread.tid
        self.uid = thread.uid
        self.gid = thread.gid
        self.memory = thread.memory
        self.can = thread.can
        self.group = thread.tid

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
        try:
            return FakeFile(self._thread.fds[fd])
        except KeyError:
            raise UringError(errno.EBADF) from None

    def detached(self) -> "FakeCaller":
        if self._thread.exited.is_set():
            raise UringError(errno.ESRCH, f"thread {self.tid} is gone")
        return FakeCaller(self._thread)

    def limit_fsize(self) -> int:
        return self._thread.fsize

    def rights(self) -> AbstractContextManager[None]:
        return nullcontext()

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
        caller = FakeCaller(self._thread)
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


class FakeHost:
    """The threads there are; one that was never made is one that is gone."""

    def __init__(self) -> None:
        self.threads: dict[int, FakeThread] = {}
        self.ours: dict[int, Description] = {}
        """What the descriptors are that its path system calls make."""
        self.rings: Callable[[], FakeFile] = lambda: FakeFile(RegularFile(b""))
        """Opens a new ring file."""
        self.timers = FakeTimers()
        self.poller = FakePoller(_description)
        self.children = FakeChildren()

    def thread(self, tid: int, uid: int = 1000, gid: int = 1000) -> FakeThread:
        self.threads[tid] = thread = FakeThread(tid, uid, gid)
        return thread

    def caller(self, tid: int, uid: int, gid: int) -> FakeCaller:
        thread = self.threads.get(tid)
        if thread is None:
            thread = FakeThread(tid, uid, gid)
            thread.exit()
        return FakeCaller(thread)

    def supervised(self, tid: int) -> FakeCaller:
        return FakeCaller(self.threads[tid])

    def status(self, tid: int) -> ThreadStatus:
        thread = self.threads.get(tid)
        if thread is None or thread.exited.is_set():
            raise UringError(errno.ESRCH)
        return thread.status

    def file_of(self, tid: int, fd: int) -> File:
        return FakeCaller(self.threads[tid]).file(fd)

    async def open_ring(self) -> FakeFile:
        await trio.lowlevel.checkpoint()
        return self.rings()

    def adopt(self, fd: int) -> FakeFile:
        return FakeFile(self.ours[fd])

    def shared_word(self, tid: int, address: int) -> None:
        return None

    async def futex_wake(self, tid: int, address: int, most: int, mask: int) -> int:
        raise AssertionError("nothing is shared")

    async def exited(self, tid: int) -> None:
        thread = self.threads.get(tid)
        if thread is not None:
            await thread.exited.wait()
