"""Polling of files whose poll may block, for it may ask somebody: by threads.

Epoll instances, files of FUSE mounts, character devices that are not the kernel's alone: what is none of
LocalFile.polls_at_once().
"""

import fcntl
import os
import select
import threading
from collections.abc import Callable
from contextlib import suppress

import trio

from uringfs.abi.events import EPOLLIN
from uringfs.host.threads import in_thread


def mask_now(fd: int, events: int) -> int:
    """vfs_poll()"""
    poll = select.poll()
    poll.register(fd, events & 0xFFFF)
    return sum(mask for _, mask in poll.poll(0))


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
    """Watching such a file, with an epoll instance and a thread of its own. fire(mask) is called from the loop at
    every event until cancel(); or refuse(what holds), once: the file has no events to wait for."""

    def __init__(self, fd: int, events: int, fire: Callable[[int], None], refuse: Callable[[int], None]) -> None:
        self.fire = fire
        self._fd = fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, 0)
        self._events = events
        self._refuse = refuse
        self._wake = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
        self._lock = threading.Lock()
        self._begun = False
        self._active = True
        self._cancelled = False
        self._token = trio.lowlevel.current_trio_token()

    def cancel(self) -> bool:
        with self._lock:
            active, self._active, self._cancelled = self._active, False, True
            if active:
                os.eventfd_write(self._wake, 1)
        return active

    async def run(self, limiter: trio.CapacityLimiter) -> None:
        try:
            await in_thread(self._in_thread, abandon_on_cancel=True, limiter=limiter)
        finally:
            self.cancel()
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
                self._watch()
        finally:
            with self._lock:
                self._active = False
            self._close()

    def _watch(self) -> None:
        with select.epoll() as epoll:
            epoll.register(self._wake, EPOLLIN)
            try:
                epoll.register(self._fd, self._events)
            except PermissionError:
                with self._lock:
                    self._active = False
                self._tell(self._refuse, mask_now(self._fd, self._events))
                return
            while self._active:
                for fd, mask in epoll.poll():
                    if fd == self._fd:
                        self._tell(self.fire, mask)

    def _tell(self, what: Callable[[int], None], mask: int) -> None:
        with suppress(trio.RunFinishedError):
            self._token.run_sync_soon(self._told, what, mask)

    def _told(self, what: Callable[[int], None], mask: int) -> None:
        if not self._cancelled:
            what(mask)

    def _close(self) -> None:
        os.close(self._wake)
        os.close(self._fd)
