"""When a signalfd of another process might be readable: its pending signals, as procfs shows them.

They are looked at every so often, more seldom the longer nothing happens: nobody is told of another's signals.
One that is pending still when it is sent again is one event; so is one that has been taken and sent again since.
"""

import time
from collections.abc import Callable
from contextlib import suppress

from uringfs.abi.events import EPOLLIN
from uringfs.errors import UringError
from uringfs.host.procfs import status
from uringfs.host.protocols import Caller, File, Timer, Timers

FIRST_LOOK, LAST_LOOK = 200_000, 10_000_000
"""ns between two looks: at the beginning, and at most."""
SHARE = 50
"""At most one part in so many of the time goes into looks."""


def pending(tid: int, group: int) -> int:
    """Pending signals of a thread, or of its process, which may outlive it: a mask, signal 1 in bit 0. 0:
    both gone."""
    for number in (tid, group):
        with suppress(OSError):
            fields = status(number)
            return int(fields["SigPnd"][0], 16) | int(fields["ShdPnd"][0], 16)
    return 0


def accepted(fd: int) -> int:
    """The signals that our signalfd is for: it may be told of others at any time."""
    with open(f"/proc/self/fdinfo/{fd}") as lines:
        return next((int(line.split()[1], 16) for line in lines if line.startswith("sigmask:")), 0)


class SignalWatch:
    """fire(EPOLLIN) is called from the loop when a signal has come, until cancel()."""

    def __init__(self, owner: "LocalSignals", caller: Caller, file: File, fire: Callable[[int], None]) -> None:
        self.fire = fire
        self._owner = owner
        self._tid, self._group = caller.tid, caller.group
        self._file = file
        self._pause = FIRST_LOOK
        self._armed = True
        self._seen = self._now()
        owner.watches += 1
        self._timer: Timer | None = None
        self._look_later(0)

    def cancel(self) -> bool:
        armed, self._armed = self._armed, False
        if armed:
            self._owner.watches -= 1
            if self._timer is not None:
                self._timer.cancel()
        return armed

    def _look_later(self, cost: int) -> None:
        timers = self._owner.timers
        pause = max(self._pause, SHARE * cost * self._owner.watches)
        self._pause = min(2 * self._pause, LAST_LOOK)
        self._timer = timers.at(time.CLOCK_MONOTONIC, timers.now(time.CLOCK_MONOTONIC) + pause, self._look)

    def _now(self) -> int:
        return pending(self._tid, self._group) & accepted(self._file.fileno())

    def _look(self) -> None:
        begin = time.perf_counter_ns()
        now = self._now()
        come, self._seen = now & ~self._seen, now
        if come:
            self._pause = FIRST_LOOK
        self._look_later(time.perf_counter_ns() - begin)
        if come:
            self.fire(EPOLLIN)


class LocalSignals:
    """The signalfds that requests of all callers wait for."""

    def __init__(self, timers: Timers) -> None:
        self.timers = timers
        self.watches = 0

    def pending(self, caller: Caller, file: File) -> bool:
        try:
            return bool(pending(caller.tid, caller.group) & accepted(file.fileno()))
        except UringError:  # it is gone
            return False

    def watch(self, caller: Caller, file: File, fire: Callable[[int], None]) -> SignalWatch:
        return SignalWatch(self, caller, file, fire)
