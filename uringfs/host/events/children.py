"""When waitid(2) of another process might find something: the ends and stops of its children.

Ends are seen as they happen, by pidfds. Children that are born, stops and continuations leave only traces in
/proc, which is looked at every so often, more seldom the longer nothing happens. A stop, and what a child does
when it goes on, count as context switches: none is missed, though it is over before the next look.
"""

import os
import time
from collections.abc import Callable, Hashable
from contextlib import suppress
from functools import partial

from uringfs import native
from uringfs.abi.events import EPOLLIN
from uringfs.errors import UringError
from uringfs.host.procfs import status
from uringfs.host.protocols import Caller, File, Poller, Timer, Timers, Watch

FIRST_LOOK, LAST_LOOK = 1_000_000, 20_000_000
"""ns between two looks: at the beginning, and at most."""
SHARE = 50
"""At most one part in so many of the time goes into looks."""
STOPS = os.WSTOPPED | os.WCONTINUED
LISTED = os.path.exists("/proc/thread-self/children")
"""CONFIG_PROC_CHILDREN: without it every look may be news."""


def children(group: int) -> set[int]:
    """The children of all threads of a process, also those it has not reaped yet (proc(5),
    /proc/PID/task/TID/children)."""
    found: set[int] = set()
    with suppress(OSError):
        for tid in os.listdir(f"/proc/{group}/task"):
            with suppress(OSError), open(f"/proc/{group}/task/{tid}/children") as numbers:
                found.update(map(int, numbers.read().split()))
    return found


def _fields(pid: int) -> dict[str, list[str]]:
    """procfs.status(), empty once the process is gone."""
    with suppress(OSError):
        return status(pid)
    return {}


def _level(group: int) -> int:
    """How far its pid namespace is below ours."""
    return max(len(_fields(group).get("NSpid", ())) - 1, 0)


def child_number(group: int, pid: int) -> int:
    """The number by which that process knows its child, or whom it traces; 0 for anybody else."""
    fields = _fields(pid)
    parent, tracer = int(fields.get("PPid", "0")[0]), int(fields.get("TracerPid", "0")[0])
    if parent != group and not (tracer and os.path.exists(f"/proc/{group}/task/{tracer}")):
        return 0
    numbers, level = fields["NSpid"], _level(group)
    return int(numbers[level]) if level < len(numbers) else 0


class ChildEnd:
    """The end of one child, for all who wait for it: one pidfd, one watch."""

    def __init__(self, file: File) -> None:
        self.file = file
        self.watch: Watch | None = None
        self.listeners: dict[ChildWatch, None] = {}


class ChildWatch:
    """fire() is called from the loop, at times in vain, until cancel()."""

    def __init__(
        self, owner: "LocalChildren", group: int, which: int, number: int, options: int, fire: Callable[[], None]
    ) -> None:
        self._owner = owner
        self._group = group
        self._number = number if which == os.P_PID else 0
        self._stops = bool(options & STOPS)
        self._fire = fire
        self._level = _level(group)
        self._ends: dict[int, bool] = {}
        """The children that are known; False: the end has been told, or cannot be watched for."""
        self._pause = FIRST_LOOK
        self._looks = 0
        self._timer: Timer | None = None
        self._armed = True
        owner.watches += 1
        self._seen = self._sample()
        self._look_later(0)

    def cancel(self) -> bool:
        armed, self._armed = self._armed, False
        if armed:
            self._owner.watches -= 1
            if self._timer is not None:
                self._timer.cancel()
            self._keep(set())
        return armed

    def _sample(self) -> Hashable:
        """A sample of the children's state. One that differs from the last: there may be news."""
        self._looks += 1
        pids = self._pids()
        self._keep(pids)
        if not pids and (self._number or not LISTED):
            return self._looks  # whom it traces, or who is yet to be adopted: no way to know
        return frozenset((pid, self._trace(pid)) for pid in pids)

    def _pids(self) -> set[int]:
        if not self._number:
            return children(self._group)
        if self._ends:
            return set(self._ends)
        candidates = children(self._group) if self._level else {self._number}
        return {pid for pid in candidates if child_number(self._group, pid) == self._number}

    def _trace(self, pid: int) -> Hashable:
        if self._ends[pid] and not self._stops:
            return None
        fields = _fields(pid)
        return tuple(fields.get("State", ())), self._stops and tuple(fields.get("voluntary_ctxt_switches", ()))

    def _keep(self, pids: set[int]) -> None:
        """Watch for the ends of these, and no others."""
        for pid in set(self._ends) - pids:
            del self._ends[pid]
            self._owner.remove(pid, self)
        for pid in pids - set(self._ends):
            self._ends[pid] = self._owner.join(pid, self)

    def ended(self, pid: int) -> None:
        if pid in self._ends:  # it may have been cancelled by another that was told first
            self._ends[pid] = False
            self._fire()

    def _look_later(self, cost: int) -> None:
        if self._number and self._ends and all(self._ends.values()) and not self._stops:
            return  # its end is all there is to see
        timers = self._owner.timers
        pause = max(self._pause, SHARE * cost * self._owner.watches)
        self._pause = min(2 * self._pause, LAST_LOOK)
        self._timer = timers.at(time.CLOCK_MONOTONIC, timers.now(time.CLOCK_MONOTONIC) + pause, self._look)

    def _look(self) -> None:
        begin = time.perf_counter_ns()
        seen = self._sample()
        self._look_later(time.perf_counter_ns() - begin)
        if seen != self._seen:
            self._seen = seen
            self._fire()


class LocalChildren:
    """The children of all callers. adopt: makes a File of a descriptor of ours."""

    def __init__(self, timers: Timers, poller: Poller, adopt: Callable[[int], File]) -> None:
        self.timers = timers
        self.watches = 0
        self._ends: dict[int, ChildEnd] = {}
        self._poller = poller
        self._adopt = adopt

    def watch(self, caller: Caller, which: int, number: int, options: int, fire: Callable[[], None]) -> ChildWatch:
        return ChildWatch(self, caller.group, which, number, options, fire)

    def join(self, pid: int, watch: ChildWatch) -> bool:
        """Tell it of that child's end. False: there are no descriptors for it, or the child is gone."""
        end = self._ends.get(pid)
        if end is None:
            try:
                end = ChildEnd(self._adopt(native.pidfd_open(pid, 0)))
            except OSError:
                return False
            try:
                end.watch = self._poller.watch(end.file, EPOLLIN, partial(self._ended, pid))
            except UringError:
                end.file.close()
                return False
            self._ends[pid] = end
        end.listeners[watch] = None
        return True

    def remove(self, pid: int, watch: ChildWatch) -> None:
        end = self._ends.get(pid)
        if end is not None and watch in end.listeners:
            del end.listeners[watch]
            if not end.listeners:
                self._close(pid)

    def _ended(self, pid: int, _: int) -> None:
        for watch in self._close(pid):
            watch.ended(pid)

    def _close(self, pid: int) -> tuple[ChildWatch, ...]:
        end = self._ends.pop(pid)
        assert end.watch is not None
        end.watch.cancel()
        end.file.close()
        return tuple(end.listeners)
