"""Waiting for what can be polled (io_uring/poll.c: io_arm_poll_handler())."""

from collections.abc import Hashable
from functools import partial
from typing import Self

import trio

from uringfs.abi.events import EPOLLERR, EPOLLET, EPOLLHUP, EPOLLIN
from uringfs.engine.request import Request
from uringfs.errors import UringError
from uringfs.host.protocols import File, Watch

APOLL_MAX_RETRY = 128


class _Wait:
    """A wait for events of a file, armed as soon as there is one, be its task begun or not: the kernel arms in the
    system call that submits (io_arm_poll_handler()). Ends with the block that it is entered for."""

    def __init__(self, request: Request, file: File, events: int, key: Hashable) -> None:
        """key: for whom an event of this file is, too (LastFirst)."""
        self._request = request
        self._poller = request.context.host.poller
        self._file = file
        self._events = events
        self._event = trio.Event()
        self._watch: Watch | None = None
        self._armed = request.context.late.arm(key, by_itself=request.context.local_work is not None)
        request.arms_poll(events)

    def _begin(self) -> None:
        events = self._events | EPOLLERR | EPOLLHUP | EPOLLET
        self._watch = self._poller.watch(self._file, events, self._fire, past=False)

    def _fire(self, mask: int) -> None:
        if not self._event.is_set():
            self._request.context.woken.add(self._request)
            self._armed.happened()
            self._event.set()

    async def _fired(self) -> None:
        self._request.waits_again()
        if self._event.is_set():
            self._request.context.woken.add(self._request)
        await self._event.wait()

    def close(self) -> None:
        self._event.set()  # what still comes of the watch wakes nobody
        if self._watch is not None:
            self._watch.cancel()
            self._watch = None  # it refers to us
        self._armed.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class Readiness(_Wait):
    """Events of a file, edge by edge: one is remembered until it is waited for. What is ready at the
    beginning is the first. rearms: so is what is ready at each wait(), for a request that is armed anew
    each time; a multishot stays armed."""

    def __init__(self, request: Request, file: File, events: int, rearms: bool = True) -> None:
        super().__init__(request, file, events, file.identity)
        self._retries = APOLL_MAX_RETRY if rearms else 0
        self._waited = False
        try:
            self._begin()
        except UringError:
            self.close()
            raise

    def again(self) -> None:
        """The next wait() only lets others have a turn."""
        self._event.set()

    async def wait(self) -> None:
        if self._waited and self._retries and not self._event.is_set() and self._ready():
            self._retries -= 1
            self.again()
        self._waited = True
        await self._fired()
        await self._armed.go_on(self._request.settle)
        self._event = trio.Event()

    async def once_more(self, taken: bool) -> None:
        """Settle again, before others that have been woken. taken: as of Request.settle()."""
        await self._armed.once_more(partial(self._request.settle, taken))

    def _ready(self) -> bool:
        return bool((self._poller.mask(self._file, self._events) or 0) & self._events)


class Readable(_Wait):
    """One wait until a read would not block."""

    def __init__(self, request: Request, file: File) -> None:
        key = file.identity if file.bytestream() else request  # eventfds are all of one inode
        super().__init__(request, file, EPOLLIN, key)
        mask = self._poller.mask(file, EPOLLIN)
        self._asks = mask is None
        """The file may ask somebody, even us: not in the loop."""
        if mask:
            self._fire(mask)
        elif not self._asks:
            self._begin()

    def _begin(self) -> None:
        try:
            super()._begin()
        except UringError:  # a file that cannot be polled never blocks for long
            self._fire(EPOLLIN)

    async def wait(self) -> None:
        """To be called once. Raises what settle() raises."""
        with self:
            if self._asks:
                self._request.waits_again()
                await self._poller.wait(self._file, EPOLLIN)
            else:
                await self._fired()
            await self._armed.go_on(self._request.settle)


class DataWaits:
    """A request's waits until a read would not block, one after the other."""

    def __init__(self, request: Request, file: File) -> None:
        self._request = request
        self._file = file
        self._armed: Readable | None = None

    def arm(self) -> None:
        """By issue: the first begins now, if the file is one to be waited for."""
        if self._file.streaming:
            self._armed = self._request.arm(Readable(self._request, self._file))

    async def wait(self) -> None:
        """Raises what settle() raises."""
        armed, self._armed = self._armed, None
        await (armed or Readable(self._request, self._file)).wait()
