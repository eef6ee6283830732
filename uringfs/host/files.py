"""An open file description of the caller in the daemon's hands.

The descriptor is a duplicate (pidfd_getfd(2)): position and status flags are the caller's too, so
O_NONBLOCK is never touched. The order is the kernel's own: try without blocking, then wait for
readiness where the file can be polled, then a thread.
"""

import array
import errno
import fcntl
import mmap
import os
import select
import stat
import termios
import threading
from collections.abc import Callable
from contextlib import suppress

import trio

from uringfs import native
from uringfs.abi.constants import RWF_NOWAIT
from uringfs.errors import UringError

CURRENT_POSITION = -1


class LocalFile:
    """A duplicate descriptor, closed by close() or, if a thread still uses it, when that thread ends."""

    def __init__(self, fd: int, own_device: int, limiter: trio.CapacityLimiter) -> None:
        self._fd = fd
        self._limiter = limiter
        self._lock = threading.Lock()
        self._threads = 0
        self._users = 1
        self._status = fcntl.fcntl(fd, fcntl.F_GETFL)
        device, _, mode = native.fd_identity(fd)
        self._regular = stat.S_ISREG(mode) or stat.S_ISBLK(mode) or stat.S_ISDIR(mode)
        # A read of our own mount would be answered by ourselves, who wait for it.
        self.refused = errno.EINVAL if device == own_device else 0
        self._socket = stat.S_ISSOCK(mode)
        self.streaming = not (self._regular or self.refused) and not _positioned(fd)
        self.nonblock = False

    def readable_mode(self) -> bool:
        return self._status & os.O_ACCMODE != os.O_WRONLY and not self._status & os.O_PATH

    def try_read(self, size: int, offset: int, flags: int) -> bytes:
        try:
            return self._preadv2(size, offset, flags | RWF_NOWAIT)
        except OSError as error:
            if error.errno != errno.EOPNOTSUPP:
                raise UringError.of(error) from error
        # The file knows no NOWAIT (io_file_supports_nowait()): with O_NONBLOCK a plain read is safe.
        if self._status & os.O_NONBLOCK and not self._regular:
            self.nonblock = True
            return self._read_or_raise(size, offset, flags)
        raise UringError(errno.EAGAIN)

    async def read(self, size: int, offset: int, flags: int) -> bytes:
        if self._regular:
            return await self._in_thread(lambda: self._read_or_raise(size, offset, flags))
        while True:
            if not await self._readable():
                return await self._in_thread(lambda: self._read_or_raise(size, offset, flags))
            try:
                return self._preadv2(size, offset, flags | RWF_NOWAIT)
            except OSError as error:
                if error.errno == errno.EOPNOTSUPP:
                    return await self._in_thread(lambda: self._read_or_raise(size, offset, flags))
                if error.errno != errno.EAGAIN:
                    raise UringError.of(error) from error

    def available(self) -> int:
        """FIONREAD; 0 where the file does not say."""
        count = array.array("i", [0])
        with suppress(OSError):
            fcntl.ioctl(self._fd, termios.FIONREAD, count)
        return count[0]

    def ready(self) -> bool:
        poll = select.poll()
        poll.register(self._fd, select.POLLIN)
        return bool(poll.poll(0))

    async def wait(self) -> None:
        await self._readable()

    def unread(self, count: int) -> None:
        os.lseek(self._fd, -count, os.SEEK_CUR)

    def hold(self) -> None:
        with self._lock:
            self._users += 1

    def close(self) -> None:
        with self._lock:
            self._users -= 1
            last = not (self._users or self._threads)
        if last:
            self._close_fd()

    def _close_fd(self) -> None:
        fd, self._fd = self._fd, -1
        if fd >= 0:
            os.close(fd)

    async def _readable(self) -> bool:
        """Wait until a read would not block; False if the file cannot be polled (epoll says EPERM)."""
        try:
            await trio.lowlevel.wait_readable(self._fd)
        except PermissionError:
            return False
        return True

    async def _in_thread(self, blocking: Callable[[], bytes]) -> bytes:
        with self._lock:
            self._threads += 1

        def run() -> bytes:
            try:
                return blocking()
            finally:
                with self._lock:
                    self._threads -= 1
                    last = not (self._users or self._threads)
                if last:
                    self._close_fd()

        return await trio.to_thread.run_sync(run, abandon_on_cancel=True, limiter=self._limiter)

    def _preadv2(self, size: int, offset: int, flags: int) -> bytes:
        if self._socket and offset > 0:  # sock_read_iter()
            raise OSError(errno.ESPIPE, "a socket has no offset")
        # O_DIRECT wants aligned memory, which a mapping is
        data = mmap.mmap(-1, size) if size and self._status & os.O_DIRECT else bytearray(size)
        count = native.preadv2(self._fd, data, CURRENT_POSITION if self.streaming else offset, flags)
        return bytes(data[:count])

    def _read_or_raise(self, size: int, offset: int, flags: int) -> bytes:
        while True:
            try:
                return self._preadv2(size, offset, flags)
            except InterruptedError:
                continue
            except OSError as error:
                raise UringError.of(error) from error


def _positioned(fd: int) -> bool:
    """FMODE_PREAD: the file can be read at an offset. Asked with a read of nothing."""
    try:
        native.preadv2(fd, bytearray(), 0, 0)
    except OSError as error:
        return error.errno != errno.ESPIPE
    return True
