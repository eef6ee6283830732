"""Linux AIO's poll of one file: it keeps the wake-up's mask (aio_poll_wake()), though the event is over by the
time anybody looks. Arming it may block, where the file's poll asks somebody: for threads."""

import ctypes
import os
from struct import Struct

from uringfs.abi.libc import libc
from uringfs.abi.machine import NR
from uringfs.errors import UringError

IOCB = Struct("<QIiHhIQQqQII")
"""struct iocb"""
IOCB_CMD_PREAD, IOCB_CMD_POLL = 0, 5
IOCB_FLAG_RESFD = 1
_EVENT = Struct("<QQqq")  # struct io_event


def io_call(name: str, *args: object) -> int:
    """A system call of AIO: its result. UringError."""
    result: int = libc.syscall(NR[name], *args)
    if result < 0:
        code = ctypes.get_errno()
        raise UringError(code, os.strerror(code))
    return result


class AioPoll:
    """One poll of one file at a time. Not for several threads at once."""

    def __init__(self) -> None:
        """EAGAIN: fs.aio-max-nr is used up. ENOSYS: there is no AIO."""
        self._context = ctypes.c_ulong(0)
        io_call("io_setup", 1, ctypes.byref(self._context))
        self._completed = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
        self._iocb = ctypes.create_string_buffer(IOCB.size)
        self._list = ctypes.c_void_p(ctypes.addressof(self._iocb))
        self._event = ctypes.create_string_buffer(_EVENT.size)
        self.armed = False

    def fileno(self) -> int:
        """Readable once it has completed."""
        return self._completed

    def arm(self, fd: int, events: int) -> None:
        """Until the first wake-up for these events of poll(2), or at once if one of them holds. EINVAL: such a
        file cannot be polled so."""
        data = (0, 0, 0, IOCB_CMD_POLL, 0, fd, events, 0, 0, 0, IOCB_FLAG_RESFD, self._completed)
        IOCB.pack_into(self._iocb, 0, *data)
        io_call("io_submit", self._context, 1, ctypes.byref(self._list))
        self.armed = True

    def take(self, wait: bool = False) -> int:
        """The mask of a wake-up there has been; else 0."""
        if not self.armed:
            return 0
        now = None if wait else ctypes.byref((ctypes.c_int64 * 2)())
        if io_call("io_getevents", self._context, int(wait), 1, self._event, now) != 1:
            return 0
        self.armed = False
        mask: int = _EVENT.unpack(self._event)[2]
        return max(mask, 0)

    def disarm(self) -> None:
        """What happens from now on counts no more."""
        if self.armed:
            # It completes by that, or has completed: 6.18's answers EINPROGRESS, and an event follows.
            libc.syscall(NR["io_cancel"], self._context, self._iocb, self._event)
            self.take(wait=True)

    def close(self) -> None:
        io_call("io_destroy", self._context)
        os.close(self._completed)
