"""Waiting for what can be polled (io_uring/poll.c: io_arm_poll_handler())."""

from collections.abc import Hashable
from functools import partial
from types import TracebackType
from typing import Self

import trio

from uringfs.abi.events import EPOLLERR, EPOLLET, EPOLLHUP, EPOLLIN
from uringfs.engine.request import Request
from uringfs.engine.waitqueue import Armed
from uringfs.errors import UringError
from uringfs.host.protocols import File, Watch

APOLL_MAX_RETRY = 128


class Readiness:
    """Events of a file, edge by edge: one is remembered until it is waited for. What is ready at the
    beginning is the first. rearms: so is what is ready at each wait(), for a request that is armed anew
    each time; a multishot stays armed."""

    def __init__(self, request: Request, file: File, events: int, rearms: bool = True) -> None:
        self._request = request
        self._poller = request.context.host.poller
        self._file = file
        self._events = events | EPOLLERR | EPOLLHUP | EPOLLET
        self._event = trio.Event()
        self._watch: Watch | None = None
        self._armed = _arm(request, file.identity)
        self._waited = False
        self._retries = APOLL_MAX_RETRY if rearms else 0

    def __enter__(self) -> Self:
        self._watch = self._poller.watch(self._file, self._events, self._fire, past=False)
        self._request.arms_poll(self._events)
        self._armed.__enter__()
        return self

    def __exit__(
        self, typ: type[BaseException] | None, exc: BaseException | None, tb: TracebackType | None
    ) -> None:
        if self._watch is not None:
            self._watch.cancel()
            self._watch = None  # it refers to us
            self._armed.__exit__()

    def _fire(self, mask: int) -> None:
        _wake(self._request, self._event, mask)

    def again(self) -> None:
        """The next wait() only lets others have a turn."""
        self._event.set()

    async def wait(self) -> None:
        if self._waited and self._retries and not self._event.is_set() and self._ready():
            self._retries -= 1
            self.again()
        self._waited = True
        self._request.waits_again()
        if self._event.is_set():
            self._request.context.woken.add(self._request)
        await self._event.wait()
        await self._armed.go_on(self._request.settle)
        self._event = trio.Event()

    async def once_more(self, taken: bool) -> None:
        """Settle again, before others that have been woken. taken: as of Request.settle()."""
        await self._armed.once_more(partial(self._request.settle, taken))

    def _ready(self) -> bool:
        return bool((self._poller.mask(self._file, self._events) or 0) & self._events)


def _wake(request: Request, event: trio.Event, _: int) -> None:
    if not event.is_set():
        request.context.woken.add(request)
        event.set()


def _arm(request: Request, key: Hashable) -> Armed:
    return request.context.late.arm(key, by_itself=request.context.local_work is not None)


async def until_readable(request: Request, file: File) -> None:
    """Wait until a read would not block; what settle() raises."""
    request.arms_poll(EPOLLIN)
    request.waits_again()
    key = file.identity if file.bytestream() else request  # eventfds are all of one inode
    with _arm(request, key) as armed:
        await _readable(request, file)
        await armed.go_on(request.settle)


async def _readable(request: Request, file: File) -> None:
    poller = request.context.host.poller
    mask = poller.mask(file, EPOLLIN)
    if mask is None:  # it may ask somebody, even us: not in the loop
        await poller.wait(file, EPOLLIN)
        return
    if mask:
        request.context.woken.add(request)
        await trio.lowlevel.checkpoint()
        return
    event, events = trio.Event(), EPOLLIN | EPOLLERR | EPOLLHUP | EPOLLET
    try:
        watch = poller.watch(file, events, partial(_wake, request, event), past=False)
    except UringError:  # a file that cannot be polled never blocks for long
        await trio.lowlevel.checkpoint()
        return
    try:
        await event.wait()
    finally:
        event.set()
        watch.cancel()
