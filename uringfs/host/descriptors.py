"""Threads with descriptor tables of their own, for epoll_ctl(2): an epoll instance knows its files by their
descriptors' numbers, so what a client adds, changes or removes must have the client's number here too.
"""

import ctypes
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from threading import local

import trio

from uringfs import native
from uringfs.errors import UringError

CLOSE_RANGE_UNSHARE = 2
MAX_THREADS = 4
_SYS_CLOSE_RANGE = 436
_libc = ctypes.CDLL(None, use_errno=True)
_own = local()


def _begin() -> None:
    """A table with the standard descriptors and one of our process, to fetch others from."""
    if _libc.syscall(_SYS_CLOSE_RANGE, 3, 0xFFFFFFFF, CLOSE_RANGE_UNSHARE) < 0:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))
    _own.process = native.pidfd_open(os.getpid(), 0)


def _epoll_ctl(epoll: int, operation: int, target: int, number: int, event: bytes) -> None:
    if _own.process == number:
        _own.process = os.dup(number)
        os.close(number)
    epoll = native.pidfd_getfd(_own.process, epoll)
    if epoll == number:
        epoll = os.dup(number)
        os.close(number)
    target = native.pidfd_getfd(_own.process, target)
    try:
        if target != number:
            os.dup2(target, number, inheritable=False)
        if _libc.epoll_ctl(epoll, ctypes.c_int(operation), number, event or None) < 0:
            code = ctypes.get_errno()
            raise OSError(code, os.strerror(code))
    finally:
        for fd in {epoll, target, number}:
            os.close(fd)


class Descriptors:
    """The threads come with the first call."""

    def __init__(self) -> None:
        self._threads: ThreadPoolExecutor | None = None
        self._limiter = trio.CapacityLimiter(MAX_THREADS)

    async def epoll_ctl(self, epoll: int, operation: int, target: int, number: int, event: bytes) -> None:
        """epoll_ctl(2) on our descriptors `epoll` and `target`, the latter known as `number`. Not cancelled
        once begun."""
        await self._run(lambda: _epoll_ctl(epoll, operation, target, number, event))

    async def _run(self, call: Callable[[], None]) -> None:
        if self._threads is None:
            self._threads = ThreadPoolExecutor(MAX_THREADS, "descriptors", _begin)
            trio.lowlevel.spawn_system_task(self._until_the_end, self._threads)
        future = self._threads.submit(call)
        # trio's own wake-up is a descriptor, which those threads have not: one that has it waits for them
        with trio.CancelScope(shield=True):
            try:
                await trio.to_thread.run_sync(future.result, limiter=self._limiter)
            except OSError as error:
                raise UringError.of(error) from error

    async def _until_the_end(self, threads: ThreadPoolExecutor) -> None:
        try:
            await trio.sleep_forever()
        finally:
            threads.shutdown(wait=False, cancel_futures=True)
