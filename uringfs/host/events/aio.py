"""A context of Linux AIO, for one request at a time (io_setup(2))."""

import ctypes
import os
from struct import Struct

from uringfs.abi.libc import libc
from uringfs.abi.machine import NR
from uringfs.errors import UringError

IOCB_CMD_PREAD, IOCB_CMD_POLL = 0, 5
_IOCB_FLAG_RESFD = 1
_IOCB = Struct("<QIiHhIQQqQII")  # struct iocb
_EVENT = Struct("<QQqq")  # struct io_event


def _io_call(name: str, *args: object) -> int:
    """A system call of AIO: its result. UringError."""
    result: int = libc.syscall(NR[name], *args)
    if result < 0:
        code = ctypes.get_errno()
        raise UringError(code, os.strerror(code))
    return result


class AioContext:
    """One context, not for several threads at once."""

    def __init__(self) -> None:
        """EAGAIN: fs.aio-max-nr is used up. ENOSYS: there is no AIO."""
        self._context = ctypes.c_ulong(0)
        _io_call("io_setup", 1, ctypes.byref(self._context))
        self._iocb = ctypes.create_string_buffer(_IOCB.size)
        self._list = ctypes.c_void_p(ctypes.addressof(self._iocb))
        self._event = ctypes.create_string_buffer(_EVENT.size)

    def submit(self, opcode: int, fd: int, buf: int, eventfd: int) -> None:
        """buf: events, of a poll. eventfd: signalled once it has completed. What io_submit(2) raises."""
        data = (0, 0, 0, opcode, 0, fd, buf, 0, 0, 0, _IOCB_FLAG_RESFD, eventfd)
        _IOCB.pack_into(self._iocb, 0, *data)
        _io_call("io_submit", self._context, 1, ctypes.byref(self._list))

    def completion(self, wait: bool) -> int | None:
        """The result of what was submitted; None: it has not completed."""
        now = None if wait else ctypes.byref((ctypes.c_int64 * 2)())
        if _io_call("io_getevents", self._context, int(wait), 1, self._event, now) != 1:
            return None
        result: int = _EVENT.unpack(self._event)[2]
        return result

    def cancel(self) -> None:
        """Make it complete, unless it has: 6.18 answers EINPROGRESS, and an event follows."""
        libc.syscall(NR["io_cancel"], self._context, self._iocb, self._event)

    def close(self) -> None:
        _io_call("io_destroy", self._context)
