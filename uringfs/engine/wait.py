"""Waiting for completions (io_uring/io_uring.c: io_cqring_wait())."""

import errno
import time
from collections.abc import Callable
from struct import Struct
from typing import ClassVar, NamedTuple

import trio

from uringfs.abi.constants import (
    IORING_ENTER_ABS_TIMER,
    IORING_ENTER_EXT_ARG,
    IORING_ENTER_EXT_ARG_REG,
    IORING_ENTER_GETEVENTS,
)
from uringfs.abi.numbers import U32
from uringfs.abi.structs import GETEVENTS_ARG, KERNEL_SIGSET_SIZE, TIMESPEC
from uringfs.engine.timeouts import KTIME_MAX
from uringfs.errors import UringError
from uringfs.host.protocols import Caller, Timer, Timers
from uringfs.ring.queues import distance
from uringfs.ring.ring import Ring

NSEC, USEC = 1_000_000_000, 1000
# struct io_uring_reg_wait: ts, min_wait_usec, flags, sigmask, sigmask_sz, pad[3], pad2[2]
REG_WAIT = Struct("<16sIIQI28x")
IORING_REG_WAIT_TS = 1


class Awaited(NamedTuple):
    """What an enter with IORING_ENTER_GETEVENTS asks for."""

    min_complete: int
    flags: int
    arg: int
    argsz: int
    tail: int
    """The CQ tail that is enough: from when the call began, so what another thread reaps meanwhile counts."""

    @classmethod
    def of(cls, ring: Ring, min_complete: int, flags: int, arg: int, argsz: int, tail: int | None) -> "Awaited":
        """tail: what the client has found before it called; None: that is to be found now."""
        if tail is None and min_complete and flags & IORING_ENTER_GETEVENTS:
            tail = (ring.cq.head() + min(min_complete, ring.cq.entries)) & U32
        return cls(min_complete, flags, arg, argsz, tail or 0)


class CqWait:
    """One waiting enter. It hears of every publication, and is done at once when its count is reached."""

    waits: ClassVar[bool] = True

    def __init__(
        self, ring: Ring, timers: Timers, tail: int, timeout: int | None = None, min_wait: int = 0
    ) -> None:
        """tail: of the CQ, that is waited for. timeout, min_wait: ns from now; None: for ever."""
        self._ring = ring
        self._timers = timers
        self.begin: Callable[[], None] = _nothing
        """What the waiting thread does first: its task work."""
        self.end: Callable[[], None] = _nothing
        self._target = tail
        self._seen = ring.cq.tail
        self._timeouts: int | None = None  # run out before the wait has begun
        now = timers.now(time.CLOCK_MONOTONIC) if timeout is not None or min_wait else 0
        self._deadline = None if timeout is None else min(now + timeout, KTIME_MAX)
        self._min_deadline = now + min_wait if min_wait else None
        self._timer: Timer | None = None
        self._tell: Callable[[], None] = _nothing
        self._done = self._timed_out = self._closed = False
        self.sigmask = b""
        """The signals to block during the wait, or b"". The client's poll(2) is told of them, or the
        supervisor."""
        self.interrupted_to_fetch = False
        """The wait was ended for the client to fetch descriptors, and has to be armed again."""

    @classmethod
    def start(cls, ring: Ring, caller: Caller, timers: Timers, awaited: Awaited) -> "CqWait | None":
        """The wait of an enter; None if there is nothing to wait for. EINVAL, EFAULT of the extended arguments."""
        timeout, min_wait = None, 0
        _, flags, arg, argsz, tail = awaited
        if flags & IORING_ENTER_EXT_ARG:
            if flags & IORING_ENTER_EXT_ARG_REG:
                arg, argsz, timeout, min_wait = _registered_arg(ring, arg, argsz, flags)
            else:
                arg, argsz, timeout, min_wait = _ext_arg(caller, arg, argsz, flags, ring.clock)
        ring.flush()
        if awaited.min_complete and distance(ring.cq.tail, tail) >= 0:
            return None
        if ring.cq.ready() >= min(awaited.min_complete, ring.cq.entries):
            return None
        if arg and argsz != KERNEL_SIGSET_SIZE:
            raise UringError(errno.EINVAL, f"a sigset is {KERNEL_SIGSET_SIZE} bytes, not {argsz}")
        wait = cls(ring, timers, tail, timeout, min_wait)
        wait.sigmask = caller.memory.read(arg, argsz) if arg else b""
        return wait

    async def run(self) -> int:
        """Wait to the end, or until it is left: what it has come to. Cancelled: the caller says interrupted()."""
        done = trio.Event()
        self.arm(done.set)
        try:
            await done.wait()
        finally:
            self.stop()
        return self.result()

    def arm(self, tell: Callable[[], None]) -> None:
        """Begin to wait: tell() is called once, when it is done. Until stop()."""
        self._tell = tell
        self._ring.waiters.append(self)
        if self._done:  # left before
            tell()
            return
        self.begin()
        if self._timeouts is None:
            self._timeouts = self._ring.cq_timeouts
        self.completions()
        if not self._done:
            self._set_timer()

    def stop(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._ring.waiters.remove(self)
        self.end()

    def result(self) -> int:
        """0, -ETIME, or -ENOTCONN once the ring is gone, which its mount is then, too."""
        if self._closed:
            return -errno.ENOTCONN
        return self._result(-errno.ETIME) if self._timed_out else 0

    def _set_timer(self) -> None:
        when = self._deadline if self._min_deadline is None else self._min_deadline
        if when is not None:
            self._timer = self._timers.at(time.CLOCK_MONOTONIC, when, self._expired)

    def _expired(self) -> None:
        self._timer = None
        if self._goes_on():
            self._min_deadline = None
            self._target = (self._seen + 1) & U32  # from now on one completion is enough
            self.completions()
            if not self._done:
                self._set_timer()
        else:
            self._timed_out = True
            self._finish()

    def _goes_on(self) -> bool:
        """io_cqring_min_timer_wakeup(): the minimum wait ends all if anything came, or no timeout follows."""
        if self._min_deadline is None or self._deadline is None or self._deadline <= self._min_deadline:
            return False
        return self._ring.cq.tail == self._seen and not self._ring.cq.ready()

    def _finish(self) -> None:
        if not self._done:
            self._done = True
            self._tell()

    def interrupted(self) -> int:
        """What a signal makes of it: -EINTR, unless there are completions to be had."""
        return self._result(-errno.EINTR)

    def _result(self, otherwise: int) -> int:
        return 0 if self._ring.cq.ready() else otherwise

    def completions(self) -> None:
        """io_should_wake(): a timeout that runs out ends the wait, however many it is for."""
        self._ring.cq.flush()
        ran_out = self._timeouts not in (None, self._ring.cq_timeouts)
        if ran_out or distance(self._ring.cq.tail, self._target) >= 0:
            self._finish()

    def satisfied(self) -> bool:
        return self._done

    def interrupt_to_fetch(self) -> None:
        """End it, the wait undone."""
        if not self._done:
            self.interrupted_to_fetch = True
            self._finish()

    def resume(self) -> None:
        """Before it is armed again."""
        self.interrupted_to_fetch = self._done = False

    def closed(self) -> None:
        self._closed = True
        self._finish()


def _nothing() -> None:
    pass


def _ext_arg(caller: Caller, arg: int, argsz: int, flags: int, clock: int) -> tuple[int, int, int | None, int]:
    """io_get_ext_arg(): (sigmask, its size, timeout in ns, min_wait in ns)"""
    if argsz != GETEVENTS_ARG.size:
        raise UringError(errno.EINVAL, f"io_uring_getevents_arg is {GETEVENTS_ARG.size} bytes, not {argsz}")
    sigmask, sigmask_size, min_wait, ts = GETEVENTS_ARG.unpack(caller.memory.read(arg, argsz))
    timeout = None
    if ts:
        timeout = _timeout(caller.memory.read(ts, TIMESPEC.size), flags, clock)
    return sigmask, sigmask_size, timeout, min_wait * USEC


def _registered_arg(ring: Ring, offset: int, argsz: int, flags: int) -> tuple[int, int, int | None, int]:
    """io_get_ext_arg_reg(), from registered memory: (sigmask, its size, timeout in ns, min_wait in ns)"""
    if argsz != REG_WAIT.size:
        raise UringError(errno.EINVAL, f"io_uring_reg_wait is {REG_WAIT.size} bytes, not {argsz}")
    if ring.wait_region is None or offset % 8 or offset + argsz > ring.wait_region[1]:
        raise UringError(errno.EFAULT, "not within the registered wait region")
    region = ring.wait_region[0].read(offset, argsz)
    ts, min_wait, wait_flags, sigmask, sigmask_size = REG_WAIT.unpack(region)
    if wait_flags & ~IORING_REG_WAIT_TS:
        raise UringError(errno.EINVAL)
    timeout = _timeout(ts, flags, ring.clock) if wait_flags & IORING_REG_WAIT_TS else None
    return sigmask, sigmask_size, timeout, min_wait * USEC


def _timeout(timespec: bytes, flags: int, clock: int) -> int:
    """ns from now."""
    seconds, nanoseconds = TIMESPEC.unpack(timespec)
    timeout: int = seconds * NSEC + nanoseconds
    return timeout - time.clock_gettime_ns(clock) if flags & IORING_ENTER_ABS_TIMER else timeout
