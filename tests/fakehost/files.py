"""Open files that are made of Python objects: FakeHost's. What blocks, blocks on events."""

import errno
from collections.abc import Callable, Sequence

import trio

from uringfs.errors import UringError
from uringfs.host.protocols import Caller, Data, Fault, File, Iovec

MAX_FILE = 1 << 26
"""s_maxbytes of the files' file system."""


class Description:
    """An open file description: what descriptors refer to. opens counts the daemon's handles on it."""

    streaming = False
    discards = False

    def __init__(self, *, readable: bool = True, nonblock: bool = False, refused: int = 0) -> None:
        self.readable = readable
        self.nonblock = nonblock
        self.refused = refused
        self.regular = not self.streaming
        self.opens = 0
        self.watchers: list[Callable[[], None]] = []
        """Told of every change, as a wait queue."""
        self.writable = not readable
        """Open for writing; of both only if a test says so."""
        self.nowait = True
        """It knows RWF_NOWAIT."""
        self.error = 0
        """Everything fails with it."""
        self.calls: list[Callable[[int], int]] = []
        """System calls asked for, each answered with result."""
        self.result = 0
        self.inode = 0
        """The inode number of a file of our own mount, such as a ring; 0 for others."""
        self.shown = "fake"
        """Its path."""

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
        if not data:
            return 0
        if start + len(data) > MAX_FILE:
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


class Signalfd(Description):
    """come() makes a signal pending; what reads it sets `pending` back."""

    streaming = True

    def __init__(self) -> None:
        super().__init__()
        self.pending = False

    def come(self) -> None:
        self.pending = True
        self.changed()


class FakeFile:
    """The daemon's handle on a description."""

    def __init__(self, description: Description) -> None:
        self._description = description
        self._users = 1
        self.inode = description.inode
        self.streaming = description.streaming
        self.nonblock = description.nonblock
        self.nowait = description.nowait
        self.refused = description.refused
        self.regular = description.regular
        self.can_poll = description.streaming
        self.identity = id(description)
        self.pipe = description.streaming
        self.direct = False
        description.opens += 1

    def name(self) -> str:
        return self._description.shown

    def appends(self) -> bool:
        return False

    def synced(self) -> bool:
        return False

    def on_disk(self) -> bool:
        return self.regular

    def timed(self) -> bool:
        return False

    def signalfd(self) -> bool:
        return isinstance(self._opened(), Signalfd)

    def writable_mode(self) -> bool:
        return self._opened().writable

    def nonblocking(self) -> bool:
        return self._opened().nonblock

    def try_write(self, data: Data, offset: int, flags: int, caller: Caller, iovecs: Sequence[Iovec] = ()) -> int:
        description = self._opened()
        if description.error:
            raise UringError(description.error)
        if not description.room():
            raise UringError(errno.EAGAIN)
        return description.store(data, offset)

    def knows_nowait(self) -> bool:
        return self.nowait

    def bytestream(self) -> bool:
        return self.pipe

    def discards(self) -> bool:
        return self._opened().discards

    def takes(self, count: int) -> int:
        return 0 if self.pipe else count

    def write_fault(
        self, iovecs: Sequence[Iovec], offset: int, flags: int, caller: Caller, readable: Data = b""
    ) -> Fault:
        return Fault(0, UringError(errno.EFAULT if self.writable() else errno.EAGAIN))

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
        return self.try_write(data[: limit - max(offset, 0)], offset, flags, caller)

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

    def try_read(self, size: int, offset: int, flags: int, caller: Caller, iovecs: Sequence[Iovec] = ()) -> bytes:
        description = self._opened()
        if description.error:
            raise UringError(description.error)
        if not description.available():
            raise UringError(errno.EAGAIN)
        return description.take(size, offset)

    async def read(
        self, size: int, offset: int, flags: int, caller: Caller, iovecs: Sequence[Iovec] = ()
    ) -> bytes:
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


def description(file: File) -> Description:
    assert isinstance(file, FakeFile)
    return file.description
