"""Polling of files whose poll may block, for it may ask somebody: by threads.

Epoll instances, files of FUSE mounts, character devices that are not the kernel's alone: what is none of
LocalFile.polls_at_once().
"""

import errno
import fcntl
import os
import select
import threading
import time
from collections.abc import Callable
from contextlib import ExitStack, suppress

import trio

from uringfs import native
from uringfs.abi.events import EPOLLET, EPOLLEXCLUSIVE, EPOLLIN, EPOLLONESHOT
from uringfs.errors import UringError
from uringfs.host.events.aiopoll import AioPoll
from uringfs.host.threads import in_thread

MOMENTS = (0.00005, 0.0001, 0.0002)  # seconds, between looks whether an event is over
PAUSE, LONGEST_PAUSE = 0.001, 0.1  # and between those that follow


def mask_now(fd: int, events: int) -> int:
    """vfs_poll()"""
    return native.poll_mask(fd, events & 0xFFFF)


class SlowPoll:
    """poll(2) in a thread, of a file whose poll may block. Cancellable; the file may be closed meanwhile."""

    def __init__(self, fd: int, events: int) -> None:
        self._fd = fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, 0)
        self._wake = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
        self._lock = threading.Lock()
        self._begun = self._given_up = False
        self._poll = select.poll()
        self._poll.register(self._fd, events & 0xFFFF)
        self._poll.register(self._wake, select.POLLIN)

    async def run(self, limiter: trio.CapacityLimiter, patience: int | None) -> int:
        """patience: in ms, of poll(2): 0 asks, None waits."""
        try:
            return await in_thread(self._in_thread, patience, abandon_on_cancel=True, limiter=limiter)
        except trio.Cancelled:
            with self._lock:
                if not self._begun:
                    self._given_up = True  # it waited for a free thread, or that has not come to it yet
                elif self._wake >= 0:
                    os.eventfd_write(self._wake, 1)
            if self._given_up:
                self._close()
            raise

    def _in_thread(self, patience: int | None) -> int:
        with self._lock:
            if self._given_up:
                return 0
            self._begun = True
        try:
            return dict(self._poll.poll(patience)).get(self._fd, 0)
        finally:
            self._close()

    def _close(self) -> None:
        os.close(self._fd)
        with self._lock:
            wake, self._wake = self._wake, -1
            os.close(wake)


class SlowWatch:
    """Watching such a file, with an epoll instance and a thread of its own. Called from the loop, until cancel():
    begun(), once the kernel knows of the watch or never will; fire(mask) at every event, of epoll instances though
    it be over by then; refuse(what holds), once: the file has no events to wait for."""

    def __init__(
        self,
        fd: int,
        events: int,
        begun: Callable[[], None],
        fire: Callable[[int], None],
        refuse: Callable[[int], None],
        own_device: int,
    ) -> None:
        """own_device: st_dev of our mount."""
        self.begun = begun
        self.fire = fire
        self._fd = fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, 0)
        self._events = events & ~(EPOLLONESHOT | EPOLLEXCLUSIVE) | EPOLLET
        self._refuse = refuse
        self._own_device = own_device
        self._wake = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
        self._lock = threading.Lock()
        self._begun = self._told_begun = False
        self._active = True
        self._cancelled = False
        self._token = trio.lowlevel.current_trio_token()
        self._own_files: list[int] = []

    def own_files(self) -> list[int]:
        return self._own_files

    def cancel(self) -> bool:
        with self._lock:
            active, self._active, self._cancelled = self._active, False, True
            if active:
                os.eventfd_write(self._wake, 1)
        return active

    async def run(self, limiter: trio.CapacityLimiter) -> None:
        if not limiter.available_tokens:
            self._tell_begun()  # nobody knows when there will be a thread
        try:
            await in_thread(self._in_thread, abandon_on_cancel=True, limiter=limiter)
        finally:
            self.cancel()
            self._tell_begun()
            if self._begins():  # the thread never will
                self._close()

    def _begins(self) -> bool:
        with self._lock:
            begun, self._begun = self._begun, True
        return not begun

    def _in_thread(self) -> None:
        if not self._begins():
            return
        try:
            if self._active:
                with ExitStack() as stack:
                    self._watch(stack)
        finally:
            with self._lock:
                self._active = False
            self._close()

    def _watch(self, stack: ExitStack) -> None:
        epoll = stack.enter_context(select.epoll())
        barrier = stack.enter_context(select.epoll())
        epoll.register(self._wake, EPOLLIN)
        aio = self._aio(stack, epoll)
        try:
            epoll.register(self._fd, self._events)
        except OSError as error:  # ELOOP: so deep a nest is AIO's alone
            if error.errno == errno.EPERM or aio is None:
                with self._lock:
                    self._active = False
                self._tell(self._refuse, mask_now(self._fd, self._events))
                return
        self._arm(aio)
        self._look_inside(aio)
        self._tell(self._tell_begun)
        pause = PAUSE
        while self._active:
            mask = self._event(epoll, barrier, aio, pause)
            pause = PAUSE if mask else min(2 * pause, LONGEST_PAUSE)
            if mask:
                self._arm_soon(aio)  # before anybody hears of it
                self._look_inside(aio)
                self._tell(self.fire, mask)
            else:
                self._arm(aio)

    def _aio(self, stack: ExitStack, epoll: select.epoll) -> AioPoll | None:
        """AIO keeps the mask of a wake-up, but not every file's wake-ups have one."""
        if not os.readlink(f"/proc/self/fd/{self._fd}").startswith("anon_inode:[eventpoll]"):
            return None
        try:
            aio = AioPoll()
        except UringError:
            return None
        stack.callback(aio.close)
        stack.callback(aio.disarm)
        epoll.register(aio, EPOLLIN | EPOLLET)
        return aio

    def _arm(self, aio: AioPoll | None) -> bool:
        """False while the file is ready: AIO would tell of that alone."""
        if aio is None or aio.armed:
            return True
        if mask_now(self._fd, self._events):
            return False
        aio.arm(self._fd, self._events & 0xFFFF)
        return True

    def _arm_soon(self, aio: AioPoll | None) -> None:
        """Whoever makes an event that is over at once may be in the midst of that."""
        for pause in MOMENTS:
            time.sleep(pause)
            if self._arm(aio):
                break

    def _event(self, epoll: select.epoll, barrier: select.epoll, aio: AioPoll | None, pause: float) -> int:
        """The mask of the next event that either tells of; 0: look again. What both tell of is one. pause: seconds
        to the next look whether the file is ready still, if it was."""
        if aio is None:
            return dict(epoll.poll()).get(self._fd, 0)
        ready = dict(epoll.poll(None if aio.armed else pause))
        mask = aio.take()
        if not mask:
            if self._fd in ready:
                aio.disarm()
            return ready.get(self._fd, 0)
        # Whoever takes the lock of the file's wait queue comes behind all of the wake-up.
        with suppress(OSError):
            barrier.register(self._fd, EPOLLET)
            barrier.unregister(self._fd)
        epoll.poll(0)
        return mask

    def _look_inside(self, aio: AioPoll | None) -> None:
        if aio is not None:
            self._own_files = members(self._fd, self._own_device)

    def _tell(self, what: Callable[..., None], *args: int) -> None:
        with suppress(trio.RunFinishedError):
            self._token.run_sync_soon(self._told, what, *args)

    def _told(self, what: Callable[..., None], *args: int) -> None:
        if not self._cancelled or what == self._tell_begun:
            what(*args)

    def _tell_begun(self) -> None:
        if not self._told_begun:
            self._told_begun = True
            self.begun()

    def _close(self) -> None:
        os.close(self._wake)
        os.close(self._fd)


def members(fd: int, device: int) -> list[int]:
    """The inodes of the files on that device (st_dev) in an epoll instance. It waits for whoever changes that."""
    found = []
    with open(f"/proc/thread-self/fdinfo/{fd}") as fdinfo:
        for line in fdinfo:
            if line.startswith("tfd:"):
                fields = dict(part.split(":") for part in line.split()[-2:])
                number = int(fields["sdev"], 16)
                if os.makedev(number >> 20, number & 0xFFFFF) == device:
                    found.append(int(fields["ino"], 16))
    return found
