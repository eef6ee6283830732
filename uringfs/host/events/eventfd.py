"""An eventfd of the caller, signalled as the kernel signals one: a counter at its end does not block.

write(2) would wait for the client to read it, and the status flags are the client's. So the signal is a
side effect of an asynchronous read of nothing (aio's IOCB_FLAG_RESFD), which calls eventfd_signal().
"""

import ctypes
import errno
import os

from uringfs.errors import UringError
from uringfs.host.events.aiopoll import IOCB, IOCB_CMD_PREAD, IOCB_FLAG_RESFD, io_call
from uringfs.host.files.closing import close_fd
from uringfs.host.files.file import same_description
from uringfs.host.protocols import File


class _Aio:
    """One context for the daemon, made when it is first needed."""

    def __init__(self) -> None:
        self._context = ctypes.c_ulong(0)
        io_call("io_setup", 1, ctypes.byref(self._context))
        self._null = os.open("/dev/null", os.O_RDONLY | os.O_CLOEXEC)
        self._iocb = ctypes.create_string_buffer(IOCB.size)
        self._list = ctypes.c_void_p(ctypes.addressof(self._iocb))
        self._event = ctypes.create_string_buffer(32)

    def signal(self, eventfd: int) -> None:
        data = (0, 0, 0, IOCB_CMD_PREAD, 0, self._null, 0, 0, 0, 0, IOCB_FLAG_RESFD, eventfd)
        IOCB.pack_into(self._iocb, 0, *data)
        io_call("io_submit", self._context, 1, ctypes.byref(self._list))
        io_call("io_getevents", self._context, 1, 1, self._event, None)


_aio: list[_Aio] = []


class LocalEventFd:
    """Owns the descriptor. EINVAL if it is something else."""

    def __init__(self, fd: int) -> None:
        self._fd = fd
        try:
            if os.readlink(f"/proc/self/fd/{fd}") != "anon_inode:[eventfd]":
                raise UringError(errno.EINVAL, "no eventfd")
            if not _aio:
                _aio.append(_Aio())
        except BaseException:
            self.close()
            raise

    def signal(self) -> None:
        _aio[0].signal(self._fd)

    def same(self, file: File) -> bool:
        return same_description(self._fd, file.fileno())

    def close(self) -> None:
        fd, self._fd = self._fd, -1
        if fd >= 0:
            close_fd(fd)
