"""The page-cache backend: the daemon maps its own ring files, as clients do, and so shares their pages.

Linux >= 6.6 (FUSE_DIRECT_IO_ALLOW_MMAP), no privilege. Pages may leave the page cache at any time, for one
whenever a client maps the file (fs/fuse/file.c, fuse_file_mmap()): native/wire/pager.c keeps them in the shadow, a
sparse memfd, and answers whoever touches one again, the daemon in the middle of anything included.

A mapping needs an open file, and opening a file of our own takes our own answers: so it is a thread that opens it,
by a name made up for the purpose, before a ring is set up, or a client opens one that has been. While no client
has the file open its pages are in the shadow alone; then that is what the daemon maps, and umount(8) does not
find the file busy.
"""

import errno
import mmap
import os
import secrets
import threading
from collections.abc import Callable, Sequence
from contextlib import suppress

import trio

from uringfs import native
from uringfs.abi.constants import IORING_OFF_PBUF_RING
from uringfs.abi.control import RING_FILE_SIZE
from uringfs.abi.libc import libc
from uringfs.errors import UringError
from uringfs.memory.base import Region
from uringfs.memory.mapped import MappedMemory
from uringfs.memory.pages import FilePages, ShadowPages
from uringfs.memory.passthrough import PBUF_RINGS

SLOT = 1 << 33
"""Bytes of the shadow for each inode: any offset of a ring's memory."""
SLOTS = 1 << 30
NO_RINGS = 16
"""Inodes below are the mount's own files (fs.inodes), which any user may map: their slots are empty for good."""
OPENERS = 64
FALLOC_FL_KEEP_SIZE, FALLOC_FL_PUNCH_HOLE = 1, 2
MAPPABLE = (IORING_OFF_PBUF_RING, RING_FILE_SIZE - IORING_OFF_PBUF_RING)
"""(offset, size) of buffer rings that a client can map; all behind them are the daemon's alone."""
BEHIND = (RING_FILE_SIZE, sum(PBUF_RINGS) - RING_FILE_SIZE)


class PageCacheRegion:
    """A region of a ring's memory. It asks for its window at each access: the memory may be another meanwhile."""

    def __init__(self, memory: "PageCacheMemory", offset: int, size: int, release: Callable[[], None]) -> None:
        self._memory = memory
        self._offset = offset
        self._size = size
        self._release = release

    def read(self, offset: int, size: int) -> bytes:
        return self._memory.read_region(self._offset + offset, size)

    def write(self, offset: int, data: bytes) -> None:
        self._memory.write_region(self._offset + offset, data)

    def close(self) -> None:
        self._memory.clear(self._offset, self._size)
        self._release()


class PageCacheMemory(MappedMemory):
    """Windows are (offset, size) -> Pages; the first, at 0, is the rings and the SQEs."""

    parallel = False  # not of files that are mapped (fs/fuse/file.c, fuse_dio_wr_exclusive_lock())

    def __init__(self, backend: "PageCacheBackend", inode: int) -> None:
        super().__init__()
        self._backend = backend
        self._inode = inode
        self._base = inode % SLOTS * SLOT
        self._fd = -1  # the ring file, from a client's first use on until the last close
        self._opening = trio.Lock()
        self._closed = False
        self._pages: dict[tuple[int, int], ShadowPages | FilePages] = {}
        self._first: ShadowPages | FilePages

    # -- the file

    @property
    def attached(self) -> bool:  # type: ignore[override]
        return self._fd >= 0

    async def attach(self) -> None:
        async with self._opening:
            if self._fd < 0:
                fd = await self._backend.open(self._inode)
                if self._closed:
                    os.close(fd)
                    raise UringError(errno.ESTALE)
                self._change(fd)

    def detach(self) -> None:
        if self._fd >= 0:
            fd, windows = self._fd, self._unmap()
            self._fd = -1
            os.close(fd)
            self._remap(windows)

    def _change(self, fd: int) -> None:
        windows = self._unmap()
        self._fd = fd
        try:
            self._remap(windows)
        except UringError:
            self.detach()
            raise

    def _unmap(self) -> list[tuple[int, int]]:
        """Unmap the file. After munmap(2) what was stored stands in the shadow (fs/fuse/file.c,
        fuse_vma_close())."""
        windows = list(self._pages)
        if self._pages:
            del self.load, self.store, self.fetch_or, self.fetch_and, self.fence, self.wake, self._first
        while self._pages:
            self._pages.popitem()[1].close()
        return windows

    def _remap(self, windows: Sequence[tuple[int, int]]) -> None:
        for window in windows:
            self._open_window(window)

    def _open_window(self, window: tuple[int, int]) -> None:
        offset, size = window
        if self._fd >= 0 and offset < RING_FILE_SIZE:
            pages: ShadowPages | FilePages = FilePages(self._fd, offset, size)
        else:
            pages = ShadowPages(self._backend.shadow, self._base + offset, size)
        self._pages[window] = pages
        if offset == 0:
            self._bind(pages)

    def _bind(self, pages: ShadowPages | FilePages) -> None:
        self.load, self.store = pages.load, pages.store
        self.fetch_or, self.fetch_and, self.fence = pages.fetch_or, pages.fetch_and, pages.fence
        self.wake, self._first = pages.wake, pages

    # -- memory

    def grow(self, size: int) -> None:
        self._open_window((0, -(-size // mmap.PAGESIZE) * mmap.PAGESIZE))

    def hold(self, areas: Sequence[tuple[int, int]]) -> None:
        for offset, size in areas:
            self._keep(self._base + offset, -(-size // mmap.PAGESIZE) * mmap.PAGESIZE)

    def _keep(self, start: int, size: int) -> None:
        """Pages of the shadow where there are none: the pager keeps no others, and needs no new ones then."""
        shadow = self._backend.shadow
        try:
            if start + size > os.fstat(shadow).st_size:
                os.ftruncate(shadow, start + size)
            while (at := os.lseek(shadow, start, os.SEEK_HOLE)) < start + size:
                end = min(_data_behind(shadow, at), start + size)
                os.pwrite(shadow, bytes(end - at), at)
        except OSError as error:
            raise UringError.of(error) from error

    def read(self, offset: int, size: int) -> bytes:
        return self._first.read(offset, size)

    def write(self, offset: int, data: bytes) -> None:
        self._first.write(offset, data)

    # -- regions

    def region(self, offset: int, size: int) -> Region:
        release = self._claim(offset, size)
        try:
            self._keep(self._base + offset, size)
            window = self._window(offset, size)
            if window not in self._pages:
                self._open_window(window)
        except UringError:
            release()
            raise
        return PageCacheRegion(self, offset, size, release)

    def _window(self, offset: int, size: int) -> tuple[int, int]:
        if offset < IORING_OFF_PBUF_RING:
            return offset, size
        if offset < RING_FILE_SIZE < offset + size:
            raise UringError(errno.ENOMEM, "a buffer ring of which clients could map one part only")
        return MAPPABLE if offset < RING_FILE_SIZE else BEHIND

    def _holding(self, offset: int) -> tuple[ShadowPages | FilePages, int] | None:
        """The mapping of a region's byte, and where in it that is. None: closed."""
        for (start, size), pages in self._pages.items():
            if start and start <= offset < start + size:
                return pages, offset - start
        return None

    def read_region(self, offset: int, size: int) -> bytes:
        held = self._holding(offset)
        return held[0].read(held[1], size) if held else bytes(size)

    def write_region(self, offset: int, data: bytes) -> None:
        """A request that has taken a buffer may still put it when the ring is closed."""
        held = self._holding(offset)
        if held:
            held[0].write(held[1], data)

    def clear(self, offset: int, size: int) -> None:
        """Zeros for whoever has it mapped; the shadow's pages are given back, and none is kept there any more."""
        if not self._closed:
            self.write_region(offset, bytes(size))
            self._punch(offset, size)

    def _punch(self, offset: int, size: int) -> None:
        mode = FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE
        libc.fallocate(self._backend.shadow, mode, self._base + offset, size)

    def close(self) -> None:
        if not self._closed:
            self._closed = True
            self._unmap()
            if self._fd >= 0:
                os.close(self._fd)
                self._fd = -1
            self._punch(0, SLOT)
            self._backend.forget(self._inode)


def _data_behind(fd: int, at: int) -> int:
    try:
        return os.lseek(fd, at, os.SEEK_DATA)
    except OSError as error:
        if error.errno != errno.ENXIO:
            raise
        return os.fstat(fd).st_size


class RingOpening:
    """open(2) of a ring file, in a thread. The descriptor is whoever's takes it off the list."""

    def __init__(self, path: bytes, openers: set[int], file: tuple[int, int]) -> None:
        """file: its st_dev and st_ino."""
        self._path = path
        self._openers = openers
        self._file = file
        self._fds: list[int] = []
        self._abandoned = False

    def run(self) -> None:
        tid = threading.get_native_id()
        self._openers.add(tid)
        try:
            self._fds.append(self._opened())
        finally:
            self._openers.discard(tid)
        os.access(self._path, os.F_OK)  # finds nothing, so that the kernel forgets the name at once
        if self._abandoned:
            self.abandon()

    def _opened(self) -> int:
        """OSError EXDEV: the path leads elsewhere by now. Whoever may rename what is above the mountpoint says
        where, and what we map we store into."""
        fd = os.open(self._path, os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
        if native.fd_identity(fd)[:2] == self._file:
            return fd
        os.close(fd)
        raise OSError(errno.EXDEV, os.strerror(errno.EXDEV))

    def take(self) -> int:
        return self._fds.pop()

    def abandon(self) -> None:
        """Nobody is going to take it."""
        self._abandoned = True
        with suppress(IndexError):
            os.close(self._fds.pop())


class PageCacheBackend:
    name = "pagecache"

    def __init__(self, mountpoint: str) -> None:
        self._mountpoint = mountpoint
        self.device = 0
        """st_dev of the mount, once it is there."""
        self._names: dict[bytes, int] = {}  # of files that are about to be opened
        self._openers: set[int] = set()  # threads that open one
        self._limiter = trio.CapacityLimiter(OPENERS)
        self._memories: dict[int, PageCacheMemory] = {}  # by slot
        try:
            self.shadow = os.memfd_create("uringfs-shadow", os.MFD_CLOEXEC)
        except OSError as error:
            raise UringError.of(error) from error

    def allocate(self, inode: int) -> PageCacheMemory:
        if inode % SLOTS in self._memories or inode % SLOTS < NO_RINGS:
            raise UringError(errno.ENOMEM, f"this inode's place is taken by one {SLOTS} before it")
        memory = self._memories[inode % SLOTS] = PageCacheMemory(self, inode)
        return memory

    def forget(self, inode: int) -> None:
        self._memories.pop(inode % SLOTS, None)

    def looked_up(self, name: bytes) -> int | None:
        return self._names.pop(name, None)

    def opens(self, tid: int) -> bool:
        return tid in self._openers

    async def open(self, inode: int) -> int:
        """A descriptor of that ring file."""
        name = b".uringfs-" + secrets.token_hex(16).encode()
        self._names[name] = inode
        path = os.fsencode(self._mountpoint) + b"/" + name
        opening = RingOpening(path, self._openers, (self.device, inode))
        try:
            await trio.to_thread.run_sync(opening.run, abandon_on_cancel=True, limiter=self._limiter)
        except OSError as error:
            raise UringError.of(error) from error
        except trio.Cancelled:
            opening.abandon()
            raise
        finally:
            self._names.pop(name, None)
        return opening.take()

    def close(self) -> None:
        for memory in list(self._memories.values()):
            memory.detach()


def require_pagecache() -> None:
    """ENOSYS if the session's kernel did not grant shared mappings of files with direct I/O (Linux >= 6.6)."""
    if not native.pagecache_granted():
        raise UringError(
            errno.ENOSYS, "the kernel does not map FUSE files that are opened for direct I/O: Linux >= 6.6"
        )
