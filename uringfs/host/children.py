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
from uringfs.host.base import Caller, File, Poller, Timer, Timers, Watch

FIRST_LOOK, LAST_LOOK = 1_000_000, 20_000_000
"""ns between two looks: at the beginning, and at most."""
SHARE = 50
"""At most one part in so many of the time goes into looks."""
STOPS = os.WSTOPPED | os.WCONTINUED
LISTED = os.path.exists("/proc/thread-self/children")
"""CONFIG_PROC_CHILDREN: without it every look may be news."""


def status(pid: int) -> dict[str, str]:
    """/proc/PID/status, empty once the process is gone."""
    try:
        with open(f"/proc/{pid}/status", encoding="utf-8", errors="replace") as lines:
            return {name: value.strip() for name, _, value in (line.partition(":") for line in lines)}
    except OSError:
        return {}


def children(group: int) -> set[int]:
    """Of all threads of a process, those it has not reaped yet, too (proc(5), /proc/PID/task/TID/children)."""
    found: set[int] = set()
    with suppress(OSError):
        for tid in os.listdir(f"/proc/{group}/task"):
            with suppress(OSError), open(f"/proc/{group}/task/{tid}/children") as numbers:
                found.update(map(int, numbers.read().split()))
    return found


def _local(pid: int, level: int) -> int:
    """A child's number in its parent's pid namespace, `level` below ours."""
    numbers = status(pid).get("NSpid", "").split()
    return int(numbers[level]) if level < len(numbers) else 0


def _level(group: int) -> int:
    return max(len(status(group).get("NSpid", "").split()) - 1, 0)


def child_number(group: int, pid: int) -> int:
    """The number by which that process knows its child, or whom it traces; 0 for anybody else."""
    lines = status(pid)
    tracer = int(lines.get("TracerPid", 0))
    if int(lines.get("PPid", 0)) != group and not (tracer and os.path.exists(f"/proc/{group}/task/{tracer}")):
        return 0
    return _local(pid, _level(group))


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
        self._ends: dict[int, tuple[File, Watch] | None] = {}
        """None: it has ended, and that was told."""
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
        """Another one than before: there may be news."""
        self._looks += 1
        pids = self._pids()
        self._keep(pids)
        if not pids and (self._number or not LISTED):
            return self._looks  # whom it traces, or who is yet to be adopted: no way to know
        return frozenset((pid, self._trace(pid)) for pid in pids)

    def _pids(self) -> set[int]:
        if not self._number:
            return children(self._group)
        candidates = children(self._group) if self._level else {self._number}
        found = (pid for pid in candidates if child_number(self._group, pid) == self._number)
        return set(self._ends) or set(found)

    def _trace(self, pid: int) -> Hashable:
        if not self._stops:
            return None
        lines = status(pid)
        return lines.get("State"), lines.get("voluntary_ctxt_switches")

    def _keep(self, pids: set[int]) -> None:
        """Watch for the ends of these, and no others."""
        for pid in set(self._ends) - pids:
            self._forget(pid)
            del self._ends[pid]
        for pid in pids - set(self._ends):
            self._ends[pid] = self._owner.end_of(pid, partial(self._ended, pid))

    def _forget(self, pid: int) -> None:
        watched = self._ends[pid]
        if watched is not None:
            file, watch = watched
            watch.cancel()
            file.close()

    def _ended(self, pid: int, _: int) -> None:
        self._forget(pid)
        self._ends[pid] = None
        self._fire()

    def _look_later(self, cost: int) -> None:
        if self._number and self._ends and not self._stops:
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
    """Those of all callers. adopt: makes a File of a descriptor of ours."""

    def __init__(self, timers: Timers, poller: Poller, adopt: Callable[[int], File]) -> None:
        self.timers = timers
        self.watches = 0
        self._poller = poller
        self._adopt = adopt

    def watch(self, caller: Caller, which: int, number: int, options: int, fire: Callable[[], None]) -> ChildWatch:
        return ChildWatch(self, caller.group, which, number, options, fire)

    def end_of(self, pid: int, fire: Callable[[int], None]) -> tuple[File, Watch] | None:
        """None for one that is gone."""
        try:
            file = self._adopt(native.pidfd_open(pid, 0))
        except OSError:
            return None
        try:
            return file, self._poller.watch(file, EPOLLIN, fire)
        except UringError:
            file.close()
            return None
