"""The timeouts of a ring (io_uring/timeout.c): their timers, those that count completions, and the links that have
one. What their SQEs say is in ops/events/timeout.py."""

import errno
import time
from bisect import insort
from functools import partial

from uringfs.abi.events import (
    IORING_TIMEOUT_ABS,
    IORING_TIMEOUT_BOOTTIME,
    IORING_TIMEOUT_ETIME_SUCCESS,
    IORING_TIMEOUT_MULTISHOT,
    IORING_TIMEOUT_REALTIME,
)
from uringfs.abi.numbers import U32
from uringfs.engine import cancel
from uringfs.engine.request import Request, RingContext
from uringfs.host.protocols import Timer
from uringfs.ring.ring import Ring

KTIME_MAX = (1 << 63) - 1
MANY_DEAD = 64
GRACE = 5_000_000  # ns


class Timeout:
    """struct io_timeout and io_timeout_data: what a TIMEOUT or LINK_TIMEOUT keeps."""

    __slots__ = ("deadline", "entry", "flags", "off", "repeats", "spec", "timer", "ts")

    def __init__(self, flags: int, off: int, ts: int, spec: bytes) -> None:
        self.flags = flags
        self.off = off
        self.ts = ts
        """ns"""
        self.spec = spec
        """The struct __kernel_timespec that ts is from."""
        self.repeats = off if flags & IORING_TIMEOUT_MULTISHOT else 0
        self.timer: Timer | None = None
        self.deadline = KTIME_MAX
        """ns on its clock, once it has been started."""
        self.entry: Counted | None = None

    def clock(self, flags: int) -> int:
        """io_timeout_get_clock(), hrtimer_setup(): a relative timer does not care for the wall clock being set."""
        if self.flags & IORING_TIMEOUT_BOOTTIME:
            return time.CLOCK_BOOTTIME
        if self.flags & IORING_TIMEOUT_REALTIME and flags & IORING_TIMEOUT_ABS:
            return time.CLOCK_REALTIME
        return time.CLOCK_MONOTONIC


class Counted:
    """One TIMEOUT that also waits for a number of completions."""

    __slots__ = ("request", "target")

    def __init__(self, target: int, request: Request) -> None:
        self.target = target
        self.request: Request | None = request
        """None: it has ended otherwise; the entry goes when its turn comes."""


class Timeouts:
    """The timeouts of one ring: those that count completions, in the order of their targets, and the armed
    LINK_TIMEOUTs by user_data."""

    def __init__(self, ring: Ring) -> None:
        self._ring = ring
        self.counted: list[Counted] = []
        self.links: dict[int, dict[Request, None]] = {}
        self._last_flush = 0
        self._dead = 0

    def count(self, request: Request, tail: int) -> None:
        """io_timeout(): complete it after `off` more completions; timeouts running out are none."""
        seq = (tail - self._ring.cq_timeouts) & U32
        self._last_flush = seq
        entry = request.data.entry = Counted((seq + request.data.off) & U32, request)
        insort(self.counted, entry, key=lambda entry: (entry.target - seq) & U32)

    def forget(self, request: Request) -> None:
        entry, request.data.entry = request.data.entry, None
        if entry is not None:
            entry.request = None
            self._dead += 1
            if self._dead > MANY_DEAD and 2 * self._dead > len(self.counted):
                self.counted = [entry for entry in self.counted if entry.request is not None]
                self._dead = 0

    def flush(self, context: RingContext) -> None:
        """io_flush_timeouts()"""
        seq = (context.flushed - self._ring.cq_timeouts) & U32
        got = (seq - self._last_flush) & U32
        still = (at for at, entry in enumerate(self.counted) if (entry.target - self._last_flush) & U32 > got)
        end = next(still, len(self.counted))
        ended = self.counted[:end]
        del self.counted[:end]
        self._last_flush = seq  # before any completes: that may flush again
        for entry in ended:
            if entry.request is None:
                self._dead -= 1
                continue
            request, request.data.entry = entry.request, None
            stop(request)
            self._ring.cq_timeouts += 1
            context.complete(request, 0)


def start(request: Request, flags: int) -> None:
    """hrtimer_start()"""
    timeout: Timeout = request.data
    timeout.timer = start_timer(request, flags, partial(_expired, request))


def start_timer(request: Request, flags: int, fire: "partial[None]", grace: int = 0) -> Timer:
    timeout: Timeout = request.data
    timers, clock = request.context.host.timers, timeout.clock(flags)
    when = timers.absolute(timeout.ts) if flags & IORING_TIMEOUT_ABS else timeout.ts + timers.now(clock)
    when = min(when, KTIME_MAX)
    timeout.deadline = when
    return timers.at(clock, when + grace, fire)


def stop(request: Request) -> bool:
    """hrtimer_try_to_cancel(), list_del(): False if it has run out."""
    timer, request.data.timer = request.data.timer, None
    request.context.timeouts.forget(request)
    return timer is not None and timer.cancel()


def _expired(request: Request) -> None:
    """io_timeout_fn()"""
    timeouts = request.context.timeouts
    request.data.timer = None
    timeouts.forget(request)
    request.context.task_work(partial(_complete, request))


def _complete(request: Request) -> None:
    """io_timeout_complete()"""
    timeout, context = request.data, request.context
    context.ring.cq_timeouts += 1
    if timeout.flags & IORING_TIMEOUT_MULTISHOT:
        timeout.repeats -= bool(timeout.repeats)
        if (timeout.repeats or not timeout.off) and request.post_more(-errno.ETIME):
            start(request, timeout.flags)
            return
    context.post(request, -errno.ETIME, not timeout.flags & IORING_TIMEOUT_ETIME_SUCCESS)


def queue_linked_timeout(head: Request, waits: bool) -> None:
    """__io_issue_sqe(), io_queue_linked_timeout(): the request has been issued, from now on the timer runs. If
    it has run out already and the request is complete, the kernel finds nothing to cancel, also where its
    worker issues the whole request before there is a timer. What is ready but needs a task has time for it."""
    linked = head.link_timeout
    assert linked is not None
    timeout: Timeout = linked.data
    late = timeout.ts <= 0
    if timeout.flags & IORING_TIMEOUT_ABS:
        late = head.context.host.timers.absolute(timeout.ts) <= _now(linked)
    if late and (not waits or head.op.force_async or head.op.inline):
        timeout.deadline = 0
    elif waits:
        head.context.timeouts.links.setdefault(linked.sqe.user_data, {})[linked] = None
        timeout.timer = start_timer(linked, timeout.flags, partial(_link_expired, head), GRACE if late else 0)


def _now(request: Request) -> int:
    return request.context.host.timers.now(request.data.clock(request.data.flags))


def disarm_linked_timeout(head: Request) -> tuple[Request, int]:
    """io_disarm_next(): the request was quicker, or never began. The LINK_TIMEOUT and its result, which is
    ENOENT if it has run out meanwhile."""
    linked = _unlink(head)
    timeout: Timeout = linked.data
    if timeout.timer is not None:
        timeout.timer.cancel()
        timeout.timer = None
    ran_out = timeout.deadline < KTIME_MAX and timeout.deadline <= _now(linked)
    return linked, -errno.ENOENT if ran_out else -errno.ECANCELED


def _unlink(head: Request) -> Request:
    linked, head.link_timeout = head.link_timeout, None
    assert linked is not None
    # io_remove_next_linked()
    head.link, linked.link = linked.link, None
    same = head.context.timeouts.links.get(linked.sqe.user_data, {})
    same.pop(linked, None)
    if not same:
        head.context.timeouts.links.pop(linked.sqe.user_data, None)
    return linked


def _link_expired(head: Request) -> None:
    """io_link_timeout_fn(), io_req_task_link_timeout()"""
    linked, context = _unlink(head), head.context
    linked.data.timer = None

    def end() -> None:
        if head.orphaned:
            context.post(linked, -errno.ECANCELED, False)
            return
        found = cancel.cancel_one(context, cancel.Criteria(head.sqe.user_data))
        context.post(linked, found or -errno.ETIME, False)  # before what it has cancelled

    context.task_work(end)
