"""IOSQE_IO_DRAIN (io_uring/io_uring.c: io_drain_req(), io_queue_deferred()): requests that wait until all before
them are complete, and those that come behind such."""

from collections import deque
from collections.abc import Callable

from uringfs.abi.constants import IOSQE_ASYNC, IOSQE_IO_DRAIN
from uringfs.engine.request import Request


class Drain:
    """The drains of one ring, and what waits for them."""

    def __init__(self) -> None:
        self.unfinished = 0
        """Requests that are neither complete nor deferred."""
        self.deferred: deque[Request] = deque()
        """Requests that wait. They count as unfinished only once next() has let them go."""
        self.draining = False
        """True while a drain that was let go is not complete."""
        self.elsewhere: Callable[[], bool] = lambda: False
        """Clients perform requests themselves, which were taken before any that is deferred (the lane)."""

    def defers(self, request: Request) -> bool:
        """True if the request has to wait: it drains, or comes after one that does."""
        return bool(self.deferred or self.draining or request.flags & IOSQE_IO_DRAIN)

    def defer(self, request: Request) -> None:
        """With what is linked behind it. A drain makes io-wq's what it defers (io_init_req())."""
        links: Request | None = request
        while links is not None:
            links.flags |= IOSQE_ASYNC
            links = links.link
        self.unfinished -= _length(request)
        self.deferred.append(request)

    def next(self) -> Request | None:
        """The first deferred request, if it may start: a drain once all before it are complete, others once no
        drain is running. It counts as unfinished again."""
        if not self.unfinished:
            self.draining = False
        if not self.deferred:
            return None
        drain = bool(self.deferred[0].flags & IOSQE_IO_DRAIN)
        if self.draining or (drain and (self.unfinished or self.elsewhere())):
            return None
        request = self.deferred.popleft()
        self.unfinished += _length(request)
        self.draining = drain
        return request

    def remove(self, request: Request) -> bool:
        """Take a cancelled request out; it counts as unfinished until it is complete. False if it is not
        deferred."""
        if request not in self.deferred:
            return False
        self.deferred.remove(request)
        self.unfinished += _length(request)
        return True


def _length(request: Request) -> int:
    """io_linked_nr()"""
    count, link = 1, request.link
    while link is not None:
        count, link = count + 1, link.link
    return count
