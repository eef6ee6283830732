"""READ of a signalfd (fs/signalfd.c): of the pending signals of who reads, so the client calls read(2).

It does when the host has seen that there may be something to read. It never waits itself.
"""

import errno

from uringfs.abi.constants import IOSQE_FIXED_FILE, RWF_NOWAIT
from uringfs.abi.control import URINGFS_DESCRIPTOR_READ, URINGFS_ENTER_READS
from uringfs.abi.events import EPOLLIN
from uringfs.clientwork.delivery import Delivery, Report, Wanted
from uringfs.engine.request import IOU_ISSUE_SKIP_COMPLETE, Outcome, Request
from uringfs.errors import UringError
from uringfs.host.protocols import File, Iovec, Watch

SIGNALFD_SIGINFO = 128
"""Bytes of a struct signalfd_siginfo."""


class SignalRead:
    """One read, from its beginning to its result."""

    __slots__ = ("_address", "_cancelled", "_delivery", "_length", "_news", "_nowait", "_request", "_watch")

    def __init__(self, request: Request, iovecs: list[Iovec]) -> None:
        """EINVAL: too little room for a signal. EOPNOTSUPP: the client reads for nobody, or has no descriptor for
        it, or no room for a signal in one piece."""
        if sum(length for _, length in iovecs) < SIGNALFD_SIGINFO:
            raise UringError(errno.EINVAL)
        self._address, self._length = iovecs[0]
        if self._length < SIGNALFD_SIGINFO or request.flags & IOSQE_FIXED_FILE:
            raise UringError(errno.EOPNOTSUPP, "signals are read through a plain descriptor, into one buffer")
        self._request = request
        self._nowait = bool(request.sqe.rw_flags & RWF_NOWAIT)
        self._delivery: Delivery = request.context.deliveries.begin(request.caller, URINGFS_ENTER_READS)
        self._watch: Watch | None = None
        self._news = False
        """Something has come since the client was asked."""
        self._cancelled = False
        """While the client was at it."""
        request.held.append(self)

    def begin(self, file: File) -> Outcome:
        request = self._request
        request.caller = request.caller.detached()
        signals = request.context.host.signals
        self._watch = signals.watch(request.caller, file, self._come)
        request.disarm = self._disarm
        request.arms_poll(EPOLLIN)
        if self._nowait or signals.pending(request.caller, file):
            self._ask()
        return IOU_ISSUE_SKIP_COMPLETE

    def close(self) -> None:
        """End the watch, and take back what was asked of the client."""
        watch, self._watch = self._watch, None
        if watch is not None:
            watch.cancel()
        self._delivery.forget()

    def _ask(self) -> None:
        self._news = False
        number = self._request.sqe.fd
        wanted = Wanted(URINGFS_DESCRIPTOR_READ, number, address=self._address, length=self._length)
        self._delivery.ask(wanted, self._reported)

    def _come(self, _: int) -> None:
        if self._delivery.wanted is None:
            self._ask()
        else:
            self._news = True

    def _reported(self, report: Report) -> None:
        if report.res != -errno.EAGAIN or self._nowait:
            self._complete(report.res)
        elif self._cancelled:
            self._complete(-errno.ECANCELED)
        elif self._news:
            self._ask()

    def _complete(self, res: int) -> None:
        self.close()
        request = self._request
        request.context.complete(request, res, res != self._length)

    def _disarm(self) -> bool:
        """Not while the client is at it, for then it may have taken a signal."""
        if self._watch is None:
            return False
        if self._delivery.taken() and not self._request.caller.memory.gone():
            self._cancelled = True
            return False
        self.close()
        return True


def issue(request: Request, file: File, iovecs: list[Iovec]) -> Outcome:
    """signalfd_read_iter()"""
    if not file.readable_mode():
        raise UringError(errno.EBADF)
    return SignalRead(request, iovecs).begin(file)
