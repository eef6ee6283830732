"""Timers on the clocks of the system: a heap and a timerfd for each clock, whatever the number of timers.

A timerfd, for it knows what a sleep does not: nanoseconds, time spent suspended, a wall clock that is set.
"""

import ctypes
import heapq
import itertools
import logging
import os
import time
from collections.abc import Callable
from contextlib import suppress

import trio

from uringfs.abi.libc import libc
from uringfs.errors import UringError

log = logging.getLogger(__name__)

NSEC = 1_000_000_000
TFD_TIMER_ABSTIME = 1
BATCH = 256
"""Timers fired before others get a turn."""
MANY_DEAD = 64


class HeapTimer:
    """One of a Heap. fire is called once, from the loop, unless cancel() was quicker."""

    __slots__ = ("_heap", "armed", "fire")

    def __init__(self, heap: "Heap", fire: Callable[[], None]) -> None:
        self._heap = heap
        self.fire = fire
        self.armed = True

    def cancel(self) -> bool:
        armed, self.armed = self.armed, False
        if armed:
            self._heap.cancelled()
        return armed


class Heap:
    """Timers of one clock by their time, those of the same time in the order they came."""

    def __init__(self) -> None:
        self._heap: list[tuple[int, int, HeapTimer]] = []
        self._numbers = itertools.count()
        self._dead = 0

    def push(self, when: int, fire: Callable[[], None]) -> HeapTimer:
        timer = HeapTimer(self, fire)
        heapq.heappush(self._heap, (when, next(self._numbers), timer))
        return timer

    def first(self) -> int | None:
        """When the next one is due."""
        while self._heap and not self._heap[0][2].armed:
            heapq.heappop(self._heap)
            self._dead -= 1
        return self._heap[0][0] if self._heap else None

    def last(self) -> int | None:
        """When the last timer is due: ns, or None."""
        return max((when for when, _, timer in self._heap if timer.armed), default=None)

    def fire(self, now: int, most: int) -> bool:
        """Fire those that are due, at most so many; whether some were left."""
        while (when := self.first()) is not None and when <= now:
            if most == 0:
                return True
            most -= 1
            timer = heapq.heappop(self._heap)[2]
            timer.armed = False
            try:
                timer.fire()
            except Exception:
                log.exception("a timer failed in the daemon")
        return False

    def cancelled(self) -> None:
        self._dead += 1
        if self._dead > MANY_DEAD and 2 * self._dead > len(self._heap):
            self._heap = [entry for entry in self._heap if entry[2].armed]
            heapq.heapify(self._heap)
            self._dead = 0


class _Itimerspec(ctypes.Structure):
    _fields_ = (
        ("interval_s", ctypes.c_int64),
        ("interval_ns", ctypes.c_int64),
        ("value_s", ctypes.c_int64),
        ("value_ns", ctypes.c_int64),
    )


class _Clock:
    """One timerfd and its heap."""

    def __init__(self, clock: int, timers: "LocalTimers") -> None:
        self._clock = clock
        self._timers = timers
        self.heap = Heap()
        self._set: int | None = None
        self._fd = libc.timerfd_create(clock, os.O_NONBLOCK | os.O_CLOEXEC)
        if self._fd < 0:
            raise UringError(ctypes.get_errno())
        trio.lowlevel.spawn_system_task(self._run, name=f"timers of clock {clock}")

    def arm(self) -> None:
        when = self.heap.first()
        if when is not None:
            when = max(when - self._timers.skew, 1)  # 0 would disarm it
        if when is None or when == self._set:
            return
        self._set = when
        spec = _Itimerspec(0, 0, when // NSEC, when % NSEC)
        libc.timerfd_settime(self._fd, TFD_TIMER_ABSTIME, ctypes.byref(spec), None)

    def fire(self) -> bool:
        """Fire what is due; True if some of it was left."""
        return self.heap.fire(self._timers.now(self._clock), BATCH)

    async def _run(self) -> None:
        try:
            while True:
                await trio.lowlevel.wait_readable(self._fd)
                with suppress(BlockingIOError):
                    os.read(self._fd, 8)
                while self.fire():
                    await trio.lowlevel.checkpoint()
                self._set = None
                self.arm()
        finally:
            fd, self._fd = self._fd, -1
            os.close(fd)


class LocalTimers:
    """The timers of the daemon. Each clock is made with its first timer."""

    def __init__(self) -> None:
        self._clocks: dict[int, _Clock] = {}
        self.skew = 0
        """ns by which these clocks are ahead of the system's: the sum of all jumps."""
        self.armed = trio.Event()
        """Set once a timer has been armed. Whoever waits for it puts another in its place."""

    def now(self, clock: int) -> int:
        return time.clock_gettime_ns(clock) + self.skew

    def absolute(self, when: int) -> int:
        return when + self.skew

    def at(self, clock: int, when: int, fire: Callable[[], None]) -> HeapTimer:
        if clock not in self._clocks:
            self._clocks[clock] = _Clock(clock, self)
        timers = self._clocks[clock]
        timer = timers.heap.push(when, fire)
        timers.arm()
        self.armed.set()
        return timer

    def ahead(self) -> int | None:
        """ns until the next timer is due, of all clocks; None: there is none."""
        found = []
        for clock, timers in self._clocks.items():
            when = timers.heap.first()
            if when is not None:
                found.append(when - self.now(clock))
        return min(found, default=None)

    def last(self) -> int | None:
        """When the last timer of CLOCK_MONOTONIC is due."""
        clock = self._clocks.get(time.CLOCK_MONOTONIC)
        return clock.heap.last() if clock is not None else None

    def jump(self) -> None:
        """Move all clocks to when the next timer is due, and fire it, with those that are due by then."""
        self.skew += max(self.ahead() or 0, 0)
        for timers in tuple(self._clocks.values()):
            timers.fire()
            timers.arm()
