"""An eventfd of the caller, signalled as the kernel signals one: a counter at its end does not block.

write(2) would wait for the client to read it, and the status flags are the client's. So the signal is a
side effect of an asynchronous read of nothing (aio's IOCB_FLAG_RESFD), which calls eventfd_signal().
"""

import ctypes
import errno
import os
from struct import Struct

from uringfs.abi.libc import libc
from uringfs.abi.machine import NR
from uringfs.errors import UringError
from uringfs.host.files.closing import close_fd
from uringfs.host.files.file import same_description
from uringfs.host.protocols import File

_IOCB = Struct("<QIiHhIQQqQII")  # struct iocb
_IOCB_CMD_PREAD, _IOCB_FLAG_RESFD = 0, 1


class _Aio:
    """One context for the daemon, made when it is first needed."""

    def __init__(self) -> None:
        self._context = ctypes.c_ulong(0)
        _call("io_setup", 1, ctypes.byref(self._context))
        self._null = os.open("/dev/null", os.O_RDONLY | os.O_CLOEXEC)
        self._iocb = ctypes.create_string_buffer(_IOCB.size)
        self._list = ctypes.c_void_p(ctypes.addressof(self._iocb))
        self._event = ctypes.create_string_buffer(32)

    def signal(self, eventfd: int) -> None:
        data = (0, 0, 0, _IOCB_CMD_PREAD, 0, self._null, 0, 0, 0, 0, _IOCB_FLAG_RESFD, eventfd)
        _IOCB.pack_into(self._iocb, 0, *data)
        _call("io_submit", self._context, 1, ctypes.byref(self._list))
        _call("io_getevents", self._context, 1, 1, self._event, None)


_aio: list[_Aio] = []


def _call(name: str, *args: object) -> None:
    if libc.syscall(NR[name], *args) < 0:
        code = ctypes.get_errno()
        raise UringError(code, os.strerror(code))


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
