"""The fake host's timers, on trio's clock (so MockClock moves them), and its poller."""

import errno
import math
from collections.abc import Callable
from typing import Any, Protocol

import trio

from uringfs.abi.events import EPOLLHUP, EPOLLIN, EPOLLOUT, EPOLLRDNORM, EPOLLWRNORM
from uringfs.errors import UringError
from uringfs.host.events.timers import Heap, HeapTimer
from uringfs.host.protocols import Caller, File, WatchInThread

NSEC = 1_000_000_000


class FakeTimers:
    """Every clock shows trio's time."""

    def __init__(self) -> None:
        self._heap = Heap()
        self._scope: trio.CancelScope | None = None

    def now(self, clock: int) -> int:
        return math.floor(trio.current_time() * NSEC)

    def absolute(self, when: int) -> int:
        return when

    def at(self, clock: int, when: int, fire: Callable[[], None]) -> HeapTimer:
        timer = self._heap.push(when, fire)
        if self._scope is None:
            trio.lowlevel.spawn_system_task(self._run)
            self._scope = trio.CancelScope()
        self._scope.deadline = self._next()
        return timer

    def _next(self) -> float:
        when = self._heap.first()
        return math.inf if when is None else when / NSEC

    async def _run(self) -> None:
        while True:
            assert self._scope is not None
            with self._scope:
                await trio.sleep_forever()
            self._heap.fire(math.ceil(trio.current_time() * NSEC), -1)
            self._scope = trio.CancelScope(deadline=self._next())


class Polled(Protocol):
    """What a description has to offer for polling."""

    watchers: list[Callable[[], None]]

    def available(self) -> bool: ...

    def room(self) -> bool: ...

    def hung_up(self) -> bool: ...


class FakeWatch:
    def __init__(self, polled: Polled, events: int, fire: Callable[[int], None]) -> None:
        self._polled = polled
        self._events = events
        self._fire = fire
        self._armed = True
        self.told = False
        polled.watchers.append(self.look)

    def look(self) -> None:
        mask = mask_of(self._polled) & (self._events | EPOLLHUP)
        if self._armed and mask:
            self.told = True
            self._fire(mask)

    def cancel(self) -> bool:
        armed, self._armed = self._armed, False
        self._fire = _nothing  # the poller may know it still
        if armed:
            self._polled.watchers.remove(self.look)
        return armed


def _nothing(_: int) -> None:
    pass


def mask_of(polled: Polled) -> int:
    """What poll(2) would say."""
    mask = EPOLLIN | EPOLLRDNORM if polled.available() else 0
    mask |= EPOLLOUT | EPOLLWRNORM if polled.room() else 0
    return mask | (EPOLLHUP if polled.hung_up() else 0)


class FakePoller:
    """find: what a file handle stands for."""

    def __init__(self, find: Callable[[File], Polled]) -> None:
        self._find = find
        self._new: list[FakeWatch] = []

    def same(self, file: File) -> File:
        return file

    def mask(self, file: File, events: int) -> int | None:
        return mask_of(self._find(file)) & (events | EPOLLHUP)

    def watch(self, file: File, events: int, fire: Callable[[int], None], past: bool = True) -> FakeWatch:
        watch = FakeWatch(self._find(file), events, fire)
        self._new.append(watch)
        return watch

    def watch_slowly(
        self,
        file: File,
        events: int,
        begun: Callable[[], None],
        fire: Callable[[int], None],
        refuse: Callable[[int], None],
    ) -> WatchInThread:
        raise AssertionError("no fake file's poll blocks")

    def dispatch(self) -> None:
        new, self._new = self._new, []
        for watch in new:
            if not watch.told:
                watch.look()

    def settle(self) -> None:
        pass

    async def epoll_ctl(self, epoll: File, operation: int, target: File, number: int, event: bytes) -> None:
        raise UringError(errno.EINVAL, "no fake file is an epoll instance")

    async def epoll_wait(self, epoll: File, most: int) -> bytes:
        raise UringError(errno.EINVAL, "no fake file is an epoll instance")

    async def ask(self, file: File, events: int) -> int:
        raise AssertionError("no fake file's poll blocks")

    async def wait(self, file: File, events: int) -> int:
        raise AssertionError("no fake file's poll blocks")


class FakeSignalWatch:
    def __init__(self, watchers: list[Callable[[], None]], fire: Callable[[int], None]) -> None:
        self._watchers = watchers
        self._fire = fire
        self._armed = True
        watchers.append(self.look)

    def look(self) -> None:
        self._fire(EPOLLIN)

    def cancel(self) -> bool:
        armed, self._armed = self._armed, False
        if armed:
            self._watchers.remove(self.look)
        return armed


class FakeSignals:
    """find: what a file handle stands for, a Signalfd."""

    def __init__(self, find: Callable[[File], Any]) -> None:
        self._find = find

    def pending(self, caller: Caller, file: File) -> bool:
        return bool(self._find(file).pending)

    def watch(self, caller: Caller, file: File, fire: Callable[[int], None]) -> FakeSignalWatch:
        return FakeSignalWatch(self._find(file).watchers, fire)


class FakeChildWatch:
    def __init__(self, children: "FakeChildren", fire: Callable[[], None]) -> None:
        self._children = children
        self.fire = fire

    def cancel(self) -> bool:
        armed = self in self._children.watches
        if armed:
            self._children.watches.remove(self)
        return armed


class FakeChildren:
    def __init__(self) -> None:
        self.watches: list[FakeChildWatch] = []

    def watch(
        self, caller: Caller, which: int, number: int, options: int, fire: Callable[[], None]
    ) -> FakeChildWatch:
        self.watches.append(FakeChildWatch(self, fire))
        return self.watches[-1]

    def news(self) -> None:
        for watch in tuple(self.watches):
            watch.fire()
