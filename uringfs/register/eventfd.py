"""A registered eventfd (io_uring/eventfd.c): signalled when completions are published."""

import errno
from struct import Struct

from uringfs.abi.constants import IORING_CQ_EVENTFD_DISABLED, IORING_OFF_CQ_RING
from uringfs.abi.structs import CQ_FLAGS
from uringfs.errors import UringError
from uringfs.host.protocols import EventFd, File
from uringfs.register.registration import RegisterCall
from uringfs.ring.ring import Ring

FD = Struct("<i")


class RegisteredEventFd:
    """struct io_ev_fd. asynchronous: only completions of requests that went to a worker count."""

    def __init__(self, ring: Ring, eventfd: EventFd, asynchronous: bool) -> None:
        self._ring = ring
        self._eventfd = eventfd
        self.asynchronous = asynchronous
        self._last = ring.cq.tail
        self._signals = 0

    def completions(self, from_worker: bool) -> None:
        """io_eventfd_signal(), once a batch and only if it posted something."""
        before, self._last = self._last, self._ring.cq.tail
        if self._last == before or self._disabled() or (self.asynchronous and not from_worker):
            return
        self._signal()

    def task_work(self) -> None:
        """io_req_local_work_add(): work is there for an enter that waits."""
        if not self.asynchronous and not self._disabled():
            self._signal()

    def _signal(self) -> None:
        self._signals += 1
        self._eventfd.signal()

    def signals(self, file: File) -> int:
        return self._signals if self._eventfd.same(file) else 0

    def _disabled(self) -> bool:
        """The client's flag, in either copy of the CQ ring's header."""
        load = self._ring.memory.load
        return bool((load(CQ_FLAGS) | load(IORING_OFF_CQ_RING + CQ_FLAGS)) & IORING_CQ_EVENTFD_DISABLED)

    def close(self) -> None:
        self._eventfd.close()


def register_eventfd(call: RegisterCall) -> int:
    return _register(call, False)


def register_eventfd_async(call: RegisterCall) -> int:
    return _register(call, True)


def _register(call: RegisterCall, asynchronous: bool) -> int:
    """io_eventfd_register()"""
    if call.nr_args != 1:
        raise UringError(errno.EINVAL)
    ring = call.ring.ring
    if ring.eventfd is not None:
        raise UringError(errno.EBUSY, "an eventfd is registered")
    (fd,) = FD.unpack(call.read(FD.size))
    ring.eventfd = RegisteredEventFd(ring, call.caller.eventfd(fd), asynchronous)
    return 0


def unregister_eventfd(call: RegisterCall) -> int:
    """io_eventfd_unregister()"""
    ring = call.ring.ring
    if ring.eventfd is None:
        raise UringError(errno.ENXIO, "no eventfd is registered")
    ring.eventfd.close()
    ring.eventfd = None
    return 0
