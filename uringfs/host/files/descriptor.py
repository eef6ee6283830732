"""A descriptor of ours that several use, threads among them."""

import array
import errno
import fcntl
import select
import termios
import threading
from collections.abc import Callable, Hashable
from contextlib import suppress
from typing import TypeVar

import trio

from uringfs import native
from uringfs.errors import UringError
from uringfs.host.files.closing import close_known
from uringfs.host.threads import Threads, in_thread

T = TypeVar("T")


class Descriptor:
    """Closed by the last close() or, if a thread still uses it, when that thread ends."""

    def __init__(self, fd: int, own_device: int, threads: Threads) -> None:
        """own_device: of a mount that a close may have to wait for."""
        self.fd = fd
        """-1 once it is closed."""
        self.own_device = own_device
        self._stat = native.fd_identity(fd)
        self.pool = threads
        """The threads of the user whose requests use it."""
        self._lock = threading.Lock()
        self._threads = 0
        self._users = 1

    def fileno(self) -> int:
        return self.fd

    def hold(self) -> None:
        """Count one more user: as many close() calls are needed."""
        with self._lock:
            self._users += 1

    def close(self) -> None:
        with self._lock:
            self._users -= 1
            last = not (self._users or self._threads)
        if last:
            self._close_fd()

    def _close_fd(self) -> None:
        fd, self.fd = self.fd, -1
        if fd < 0:
            return
        device, _, mode, *_ = self._stat
        close_known(fd, device, mode, self.own_device)

    def available(self) -> int:
        """FIONREAD; 0 where the file does not say."""
        count = array.array("i", [0])
        with suppress(OSError):
            fcntl.ioctl(self.fd, termios.FIONREAD, count)
        return count[0]

    def ready(self) -> bool:
        return bool(native.poll_mask(self.fd, select.POLLIN))

    def writable(self) -> bool:
        return bool(native.poll_mask(self.fd, select.POLLOUT))

    async def in_thread(self, blocking: Callable[[], T], abandon: bool = True, serial: Hashable = None) -> T:
        """A call on the descriptor. abandon: a cancelled caller goes at once, the thread when it can; else the
        thread's end counts. serial: behind the others of that name (and no abandon)."""
        with self._lock:
            self._threads += 1
        started = given_up = False

        def run() -> T:
            nonlocal started
            with self._lock:
                started = True
                if given_up:
                    raise UringError(errno.ECANCELED)
            try:
                return blocking()
            finally:
                self._thread_ended()

        try:
            if serial is not None:
                return await self.pool.serial.run(serial, run)
            limiter = self.pool.limiter
            return await in_thread(run, abandon_on_cancel=abandon, limiter=limiter)
        except trio.Cancelled:
            with self._lock:
                given_up = not started  # it waited for a free thread
            if given_up:
                self._thread_ended()
            raise

    def _thread_ended(self) -> None:
        with self._lock:
            self._threads -= 1
            last = not (self._users or self._threads)
        if last:
            self._close_fd()
