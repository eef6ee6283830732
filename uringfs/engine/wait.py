"""Waiting for completions (io_uring/io_uring.c: io_cqring_wait())."""

import errno
import time
from collections.abc import Callable
from struct import Struct

import trio

from uringfs.abi.constants import IORING_ENTER_ABS_TIMER, IORING_ENTER_EXT_ARG, IORING_ENTER_EXT_ARG_REG
from uringfs.abi.numbers import U32
from uringfs.abi.structs import GETEVENTS_ARG, KERNEL_SIGSET_SIZE, TIMESPEC
from uringfs.errors import UringError
from uringfs.host.protocols import Caller
from uringfs.ring.queues import distance
from uringfs.ring.ring import Ring

NSEC = 1_000_000_000
# struct io_uring_reg_wait: ts, min_wait_usec, flags, sigmask, sigmask_sz, pad[3], pad2[2]
REG_WAIT = Struct("<16sIIQI28x")
IORING_REG_WAIT_TS = 1
FOREVER = float("inf")


class CqWait:
    """One waiting enter. It hears of every publication and wakes at once when its count is reached."""

    def __init__(self, ring: Ring, min_events: int, timeout: float, min_wait: float) -> None:
        self._ring = ring
        self.begin: Callable[[], None] = lambda: None
        """What the waiting thread does first: its task work."""
        self.end: Callable[[], None] = lambda: None
        self._target = (ring.cq.head() + min_events) & U32
        self._seen = ring.cq.tail
        self._timeouts: int | None = None  # run out before the wait has begun
        self._deadline = trio.current_time() + timeout
        self._min_deadline = trio.current_time() + min_wait if min_wait else None
        self._done = trio.Event()
        self._closed = False
        self.sigmask = b""
        """Of the wait, if the call has one; it is the client's poll(2) that is told, or the supervisor."""
        self.left = False
        """run() ended for the client to fetch descriptors, and has to be run again."""

    @classmethod
    def start(
        cls, ring: Ring, caller: Caller, min_events: int, flags: int, arg: int, argsz: int
    ) -> "CqWait | None":
        """None if there is nothing to wait for. EINVAL and EFAULT of the extended arguments."""
        timeout, min_wait = FOREVER, 0.0
        if flags & IORING_ENTER_EXT_ARG:
            if flags & IORING_ENTER_EXT_ARG_REG:
                arg, argsz, timeout, min_wait = _registered_arg(ring, arg, argsz, flags)
            else:
                arg, argsz, timeout, min_wait = _ext_arg(caller, arg, argsz, flags, ring.clock)
        ring.flush()
        min_events = min(min_events, ring.cq.entries)
        if ring.cq.ready() >= min_events:
            return None
        if arg and argsz != KERNEL_SIGSET_SIZE:
            raise UringError(errno.EINVAL, f"a sigset is {KERNEL_SIGSET_SIZE} bytes, not {argsz}")
        wait = cls(ring, min_events, timeout, min_wait)
        wait.sigmask = caller.memory.read(arg, argsz) if arg else b""
        return wait

    async def run(self) -> int:
        """0, -ETIME, or -EBADF once the ring is gone. Cancelled: the caller says interrupted()."""
        self._ring.waiters.append(self)
        try:
            self.begin()
            if self._timeouts is None:
                self._timeouts = self._ring.cq_timeouts
            self.completions()
            with trio.move_on_at(self._deadline if self._min_deadline is None else self._min_deadline):
                await self._done.wait()
            if not self._done.is_set() and self._goes_on():
                self._target = (self._seen + 1) & U32  # from now on one completion is enough
                with trio.move_on_at(self._deadline):
                    await self._done.wait()
        finally:
            self._ring.waiters.remove(self)
            self.end()
        if self._closed:
            return -errno.EBADF
        return 0 if self._done.is_set() else self._result(-errno.ETIME)

    def _goes_on(self) -> bool:
        """io_cqring_min_timer_wakeup(): the minimum wait ends all if anything came, or no timeout follows."""
        if self._min_deadline is None or not self._min_deadline < self._deadline < FOREVER:
            return False
        return self._ring.cq.tail == self._seen and not self._ring.cq.ready()

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
            self._done.set()

    def satisfied(self) -> bool:
        return self._done.is_set()

    def leave(self) -> None:
        """Let run() end, the wait undone."""
        if not self._done.is_set():
            self.left = True
            self._done.set()

    def resume(self) -> None:
        """Before another run()."""
        self.left = False
        self._done = trio.Event()

    def closed(self) -> None:
        self._closed = True
        self._done.set()


def _ext_arg(caller: Caller, arg: int, argsz: int, flags: int, clock: int) -> tuple[int, int, float, float]:
    """io_get_ext_arg(): (sigmask, its size, timeout in s, min_wait in s)"""
    if argsz != GETEVENTS_ARG.size:
        raise UringError(errno.EINVAL, f"io_uring_getevents_arg is {GETEVENTS_ARG.size} bytes, not {argsz}")
    sigmask, sigmask_size, min_wait, ts = GETEVENTS_ARG.unpack(caller.memory.read(arg, argsz))
    timeout = FOREVER
    if ts:
        timeout = _timeout(caller.memory.read(ts, TIMESPEC.size), flags, clock)
    return sigmask, sigmask_size, timeout, min_wait / 1e6


def _registered_arg(ring: Ring, offset: int, argsz: int, flags: int) -> tuple[int, int, float, float]:
    """The same, from registered memory (io_get_ext_arg_reg())."""
    if argsz != REG_WAIT.size:
        raise UringError(errno.EINVAL, f"io_uring_reg_wait is {REG_WAIT.size} bytes, not {argsz}")
    if ring.wait_region is None or offset % 8 or offset + argsz > ring.wait_region[1]:
        raise UringError(errno.EFAULT, "not within the registered wait region")
    region = ring.wait_region[0].read(offset, argsz)
    ts, min_wait, wait_flags, sigmask, sigmask_size = REG_WAIT.unpack(region)
    if wait_flags & ~IORING_REG_WAIT_TS:
        raise UringError(errno.EINVAL)
    timeout = _timeout(ts, flags, ring.clock) if wait_flags & IORING_REG_WAIT_TS else FOREVER
    return sigmask, sigmask_size, timeout, min_wait / 1e6


def _timeout(timespec: bytes, flags: int, clock: int) -> float:
    """Seconds from now."""
    seconds, nanoseconds = TIMESPEC.unpack(timespec)
    timeout: float = seconds + nanoseconds / NSEC
    return timeout - time.clock_gettime(clock) if flags & IORING_ENTER_ABS_TIMER else timeout
