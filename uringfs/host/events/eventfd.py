"""An eventfd of the caller, signalled as the kernel signals one: a counter at its end does not block.

write(2) would wait for the client to read it, and the status flags are the client's. So the signal is a
side effect of an asynchronous read of nothing (aio's IOCB_FLAG_RESFD), which calls eventfd_signal().
"""

import errno
import os

from uringfs.errors import UringError
from uringfs.host.events.aio import IOCB_CMD_PREAD, AioContext
from uringfs.host.files.closing import close_fd
from uringfs.host.files.file import same_description
from uringfs.host.protocols import File


class _Signals:
    """One context for the daemon, made when it is first needed."""

    def __init__(self) -> None:
        self._aio = AioContext()
        self._null = os.open("/dev/null", os.O_RDONLY | os.O_CLOEXEC)

    def signal(self, eventfd: int) -> None:
        self._aio.submit(IOCB_CMD_PREAD, self._null, 0, eventfd)
        self._aio.completion(wait=True)


_signals: list[_Signals] = []


class LocalEventFd:
    """Owns the descriptor. EINVAL if it is something else."""

    def __init__(self, fd: int) -> None:
        self._fd = fd
        try:
            if os.readlink(f"/proc/self/fd/{fd}") != "anon_inode:[eventfd]":
                raise UringError(errno.EINVAL, "no eventfd")
            if not _signals:
                _signals.append(_Signals())
        except BaseException:
            self.close()
            raise

    def signal(self) -> None:
        _signals[0].signal(self._fd)

    def same(self, file: File) -> bool:
        return same_description(self._fd, file.fileno())

    def close(self) -> None:
        fd, self._fd = self._fd, -1
        if fd >= 0:
            close_fd(fd)
