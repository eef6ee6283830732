"""FUTEX_WAIT and FUTEX_WAITV in the kernel's own queues: a thread of the client's sleeps there for each, by
futex_waitv(2), and the client's agent tells what came of it."""

import errno
import itertools
from collections.abc import Callable
from typing import NamedTuple, Protocol

from uringfs.abi.control import URINGFS_ENTER_SLEEPS, URINGFS_ENTER_WAITS
from uringfs.clientwork.delivery import Report, Wanted
from uringfs.engine.request import Request

SLEEPS = URINGFS_ENTER_WAITS | URINGFS_ENTER_SLEEPS
_order = itertools.count()


class Sleepers(Protocol):
    def woken(self, asleep: "Asleep", result: int) -> None:
        """A sleeper was woken: its request completes, behind those that wake now."""


class Asleep:
    """A request that sleeps in its client."""

    def __init__(self, request: Request, wanted: Wanted, otherwise: Callable[[], None], table: Sleepers) -> None:
        self.request = request
        self.order = next(_order)
        self._wanted = wanted
        self._otherwise = otherwise
        """Called if the client has no thread for it."""
        self._table = table
        self._delivery = request.context.deliveries.begin(request.caller, URINGFS_ENTER_SLEEPS)
        self._asleep = False
        self._over = False

    def begin(self) -> None:
        """Returns at once; an enter that submits ends behind it."""
        self._delivery.ask(self._wanted, self._answered)

    def disarm(self) -> bool:
        """io_futex_cancel()"""
        if self._over:
            return False
        self._over = True
        self._delivery.awake()
        return True

    def _answered(self, report: Report) -> None:
        if report.res == -errno.EINPROGRESS:
            self._asleep = True
            self._delivery.asleep(self._wanted, self._answered)
            return
        self._over = True
        self._delivery.forget()
        if report.res == -errno.EOPNOTSUPP:
            self._otherwise()
        elif report.res == -errno.EAGAIN and self._asleep:  # asked anew, of another agent
            self._table.woken(self, 0)
        else:
            self._table.woken(self, report.res)


class Late(NamedTuple):
    """What came of a sleep while somebody wakes."""

    asleep: Asleep
    result: int

    def complete(self) -> None:
        request = self.asleep.request
        request.context.complete(request, self.result)
