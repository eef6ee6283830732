"""What an open MOUNT/.trace is: reads that wait for events, and words that say which ones."""

import errno

import trio

from uringfs.errors import UringError
from uringfs.ring.ring import Waiter
from uringfs.watch import filters
from uringfs.watch.subscription import Subscription
from uringfs.watch.tracer import Tracer
from uringfs.watch.viewer import Viewer

LINGER = 0.01
"""Seconds that a read waits for more once there is something: who reads each event by itself costs more than what
it watches."""


class TraceStream:
    """One open(2). Watching begins with it, and ends with close()."""

    def __init__(self, tracer: Tracer, viewer: Viewer, nonblock: bool) -> None:
        self._tracer = tracer
        self._nonblock = nonblock
        self._some = trio.Event()
        self._subscription = Subscription(viewer, self._wake)
        self.waiters: list[Waiter] = []
        """Polls."""
        tracer.add(self._subscription)

    def _wake(self) -> None:
        self._some.set()
        for waiter in tuple(self.waiters):
            waiter.completions()

    def say(self, text: str) -> None:
        """Words of a filter, from now on. EINVAL."""
        self._subscription.set_filter(filters.parse(text, self._subscription.filter))
        self._tracer.changed()

    def readable(self) -> bool:
        return self._subscription.readable()

    async def wait(self) -> bool:
        """True, once there is something to read. EAGAIN with O_NONBLOCK. Cancellable."""
        if self._nonblock:
            if not self.readable():
                raise UringError(errno.EAGAIN)
            return True
        while not self.readable():
            self._some = trio.Event()
            await self._some.wait()
        if not self._subscription.much():
            await trio.sleep(LINGER)
        return True

    def take(self, size: int) -> bytes:
        return self._subscription.take(size)

    def close(self) -> None:
        self._tracer.remove(self._subscription)
