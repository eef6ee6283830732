"""Readiness of the callers' files for POLL_ADD: masks, edges and EPOLLEXCLUSIVE, as trio knows none of them.

One watcher for all polls (native/watcher.c): an epoll instance and AIO, and a thread that takes the events as
they happen; the loop takes them from that. Not trio's own epoll on top of it: adding to an epoll instance that
another one watches takes a mutex of the whole machine (fs/eventpoll.c: epnested_mutex), which a client may hold
while the kernel waits for our answer to its FUSE_POLL. For the same reason files whose poll may ask somebody
(epoll instances, files of FUSE mounts, most character devices) are polled by poll(2), in a thread of their own.
"""

import ctypes
import fcntl
import logging
import os
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from weakref import WeakValueDictionary

import trio

from uringfs import native
from uringfs.abi.events import EPOLLEXCLUSIVE, EPOLLIN, EPOLLONESHOT, EPOLLOUT
from uringfs.abi.libc import libc
from uringfs.abi.machine import EPOLL_EVENT_SIZE
from uringfs.errors import UringError
from uringfs.host.events.slowpoll import SlowPoll, SlowWatch, mask_now
from uringfs.host.files.file import LocalFile
from uringfs.host.protocols import File
from uringfs.host.threads import Threads, in_thread

log = logging.getLogger(__name__)

EXCLUSIVE_EVENTS = EPOLLIN | EPOLLOUT
"""What EPOLLEXCLUSIVE can be combined with (EPOLLEXCLUSIVE_OK_BITS)."""


class EpollItem:
    """A descriptor in the epoll instance, and who watches it for these events."""

    __slots__ = ("exclusive", "fd", "key", "of", "shared", "watches")

    def __init__(self, shared: tuple[int, int, bool], fd: int, key: int) -> None:
        """shared: the descriptor that was asked for, events, and whether those count that are over."""
        self.shared = shared
        self.of, events, _ = shared
        self.fd = fd
        """The descriptor that epoll knows the file by: a duplicate where it has that number already."""
        self.key = key
        self.exclusive = native.fd_identity(fd)[:2] if events & EPOLLEXCLUSIVE else None
        """With EPOLLEXCLUSIVE the file whose wait queue it shares with others."""
        self.watches: dict[EpollWatch, None] = {}


class EpollWatch:
    """One file being watched. fire(mask) is called from the loop at every event, until cancel()."""

    __slots__ = ("_poller", "_registration", "fire")

    def __init__(self, poller: "EpollPoller", registration: EpollItem, fire: Callable[[int], None]) -> None:
        self._poller = poller
        self._registration = registration
        self.fire = fire
        registration.watches[self] = None

    @property
    def active(self) -> bool:
        return self in self._registration.watches

    def cancel(self) -> bool:
        """False if it has been."""
        if not self.active:
            return False
        del self._registration.watches[self]
        if not self._registration.watches:
            self._poller.drop(self._registration)
        return True


class Once:
    """One file being watched for one event, though it be over before anyone looks."""

    __slots__ = ("_key", "_poller", "fire")

    def __init__(self, poller: "EpollPoller", key: int, fire: Callable[[int], None]) -> None:
        self._poller = poller
        self._key = key
        self.fire = fire

    def cancel(self) -> bool:
        """False if it has been, or the event has happened: fire(mask) is called then, if it was not yet."""
        return self._poller.cancel_once(self._key)


class EpollPoller(trio.abc.Instrument):
    """The watcher; it and its thread come with the first watch."""

    def __init__(self) -> None:
        self._watcher: native.Watcher | None = None
        self._registered: dict[int, EpollItem] = {}  # by key
        self._once: dict[int, Once] = {}  # by key
        self._descriptors: set[int] = set()  # epoll knows each once
        self._shared: dict[tuple[int, int, bool], EpollItem] = {}  # by descriptor, events and past
        self._new: list[tuple[EpollWatch, int]] = []  # joined others when something was ready: told alone
        self._events: deque[tuple[int, int, int]] = deque()
        self._woken: tuple[int, set[tuple[int, ...]]] = 0, set()

    def watch(
        self, fd: int, events: int, fire: Callable[[int], None], past: bool = True, late: bool = False
    ) -> EpollWatch | Once:
        """events as epoll_ctl(2) takes them; with EPOLLONESHOT fire() may be called once, or at every event. past:
        those count that are over. late: it is an eventfd. EPERM: such files cannot be watched."""
        if events & EPOLLONESHOT and not events & EPOLLEXCLUSIVE:
            with suppress(OSError):  # no AIO, no room, or several wait queues
                return self._watch_once(fd, events, fire, late)
        return self._watch(fd, events & ~EPOLLONESHOT, fire, past)

    def _watch_once(self, fd: int, events: int, fire: Callable[[int], None], late: bool) -> Once:
        key = self._instance().add(fd, events, True, True, late)
        once = self._once[key] = Once(self, key, fire)
        return once

    def cancel_once(self, key: int) -> bool:
        if key not in self._once or self._watcher is None or not self._watcher.remove(key):
            return False
        del self._once[key]
        return True

    def _watch(self, fd: int, events: int, fire: Callable[[int], None], past: bool) -> EpollWatch:
        wanted = fd, events, past
        mask = mask_now(fd, events) if wanted in self._shared else 0
        if mask:
            self.dispatch()  # what has happened before is the others'
        shared = self._shared.get(wanted)
        watch = EpollWatch(self, shared or self._register(wanted), fire)
        if shared is not None and mask:
            self._new.append((watch, mask))
            trio.lowlevel.current_trio_token().run_sync_soon(self.dispatch, idempotent=True)
        return watch

    def _register(self, wanted: tuple[int, int, bool]) -> EpollItem:
        of, events, past = wanted
        fd = of
        try:
            if of in self._descriptors:
                fd = fcntl.fcntl(of, fcntl.F_DUPFD_CLOEXEC, 0)
            exclusive = events & EPOLLEXCLUSIVE
            asked = events & (~0xFFFF | EXCLUSIVE_EVENTS) if exclusive else events
            key = self._instance().add(fd, asked, False, past and not exclusive, False)
        except OSError as error:
            if fd != of:
                native.close_soon(fd)
            raise UringError.of(error) from error
        registration = self._registered[key] = EpollItem(wanted, fd, key)
        self._descriptors.add(fd)
        if registration.exclusive is None:
            self._shared[wanted] = registration
        return registration

    def drop(self, registration: EpollItem) -> None:
        """Nobody watches any more."""
        fd, of = registration.fd, registration.of
        del self._registered[registration.key]
        self._descriptors.remove(fd)
        if registration.exclusive is None:
            del self._shared[registration.shared]
        if self._watcher is not None:
            self._watcher.remove(registration.key)
        if fd != of:
            native.close_soon(fd)

    def settle(self) -> None:
        """Wait until the files of watches that were cancelled are held no more; some ms at most."""
        if self._watcher is not None:
            self._watcher.settle()

    def dispatch(self) -> None:
        """Fire for what has happened until now."""
        if self._watcher is not None and (self._once or self._registered or self._events):
            self._dispatch(self._watcher, False)

    def _dispatch(self, watcher: native.Watcher, woken: bool) -> None:
        new, self._new = self._new, []
        for watch, mask in reversed(new):
            if watch.active:
                _fire(watch, mask)
        self._events.extend(watcher.collect(woken))
        while self._events:  # who is fired for may call this: all of it then comes in its order there
            self._tell(*self._events.popleft())

    def _tell(self, key: int, mask: int, look: int) -> None:
        once = self._once.pop(key, None)
        if once is not None:
            _fire(once, mask)
            return
        registration = self._registered.get(key)
        if registration is None or not self._reaches(registration, look):
            return
        for watch in reversed(tuple(registration.watches)):  # add_wait_queue(): the last comes first
            if watch.active:
                _fire(watch, mask)

    def _reaches(self, registration: EpollItem, look: int) -> bool:
        """Nobody sleeps in epoll_wait(2), so the kernel thinks that its exclusive wake-up reached nobody
        (ep_poll_callback()) and goes on to the next: all but the first wait for the next edge."""
        if registration.exclusive is None:
            return True
        if self._woken[0] != look:
            self._woken = look, set()
        first = registration.exclusive not in self._woken[1]
        self._woken[1].add(registration.exclusive)
        return first

    def _instance(self) -> native.Watcher:
        if self._watcher is None:
            self._watcher = native.Watcher()
            trio.lowlevel.spawn_system_task(self._run, self._watcher, name="poller")
            trio.lowlevel.add_instrument(self)
        return self._watcher

    def before_io_wait(self, timeout: float) -> None:
        if self._watcher is not None:
            self._watcher.before_wait(timeout > 0)

    async def _run(self, watcher: native.Watcher) -> None:
        try:
            while True:
                await trio.lowlevel.wait_readable(watcher.fileno())
                # of a watch that has been cancelled meanwhile, too, or this would spin
                self._dispatch(watcher, True)
        finally:
            self._watcher = None
            trio.lowlevel.remove_instrument(self)
            trio.lowlevel.notify_closing(watcher.fileno())
            watcher.close()


def _fire(watch: EpollWatch | Once, mask: int) -> None:
    try:
        watch.fire(mask)
    except Exception:
        log.exception("a poll failed in the daemon")


class LocalPoller:
    """The polls of one daemon."""

    def __init__(self) -> None:
        self._poller = EpollPoller()
        self.dispatch, self.settle = self._poller.dispatch, self._poller.settle
        self._watched: WeakValueDictionary[tuple[int, int], LocalFile] = WeakValueDictionary()

    def same(self, file: File) -> File:
        assert isinstance(file, LocalFile)
        known = self._watched.get(file.identity)
        if known is None or known is file or known.fileno() < 0 or not known.same(file):
            return file
        known.hold()
        file.close()
        return known

    def mask(self, file: File, events: int) -> int | None:
        assert isinstance(file, LocalFile)
        return mask_now(file.fd, events) if file.polls_at_once() else None

    def watch(self, file: File, events: int, fire: Callable[[int], None], past: bool = True) -> EpollWatch | Once:
        assert isinstance(file, LocalFile)
        watch = self._poller.watch(_fd(file), events, fire, past, file.is_eventfd())
        self._watched[file.identity] = file
        return watch

    def watch_slowly(
        self,
        file: File,
        events: int,
        begun: Callable[[], None],
        fire: Callable[[int], None],
        refuse: Callable[[int], None],
    ) -> SlowWatch:
        assert isinstance(file, LocalFile)
        watch = SlowWatch(_fd(file), events, begun, fire, refuse, file.own_device)
        limiter = file.pool.polls if events & EPOLLONESHOT else file.pool.watches
        trio.lowlevel.spawn_system_task(watch.run, limiter, name="slow poll")
        return watch

    async def epoll_ctl(self, epoll: File, operation: int, target: File, number: int, event: bytes) -> None:
        call = partial(native.epoll_ctl, _fd(epoll), operation, _fd(target), number, event)
        try:
            await in_thread(call, limiter=_pool(epoll).limiter)  # not cancelled once begun
        except OSError as error:
            raise UringError.of(error) from error

    async def epoll_wait(self, epoll: File, most: int) -> bytes:
        fd = fcntl.fcntl(_fd(epoll), fcntl.F_DUPFD_CLOEXEC, 0)

        def take() -> bytes:
            events = ctypes.create_string_buffer(most * EPOLL_EVENT_SIZE)
            try:
                count = libc.epoll_wait(fd, events, most, 0)
                if count < 0:
                    raise UringError(ctypes.get_errno())
                return events.raw[: count * EPOLL_EVENT_SIZE]
            finally:
                os.close(fd)

        # what is taken out must arrive: no cancellation
        return await in_thread(take, limiter=_pool(epoll).limiter)

    async def ask(self, file: File, events: int) -> int:
        return await SlowPoll(_fd(file), events).run(_pool(file).polls, 0)

    async def wait(self, file: File, events: int) -> int:
        return await SlowPoll(_fd(file), events).run(_pool(file).polls, None)


def _fd(file: File) -> int:
    assert isinstance(file, LocalFile)
    return file.fileno()


def _pool(file: File) -> Threads:
    assert isinstance(file, LocalFile)
    return file.pool
