"""Completions: all CQEs of a ring are posted and shown to the client here (io_uring/io_uring.c).

What is posted is seen once it is published: behind a batch, behind a run of task work, or at once.
"""

from uringfs.abi.constants import IORING_CQE_F_MORE
from uringfs.engine.hooks import Hooks
from uringfs.engine.request import Request, RingContext
from uringfs.engine.timeouts import Timeouts
from uringfs.ring.ring import Ring


class Completion:
    """Posts the CQEs of one ring. context: the ring, whose timeouts count completions."""

    def __init__(self, ring: Ring, hooks: Hooks, timeouts: Timeouts, context: RingContext) -> None:
        self._ring = ring
        self._hooks = hooks
        self._timeouts = timeouts
        self._context = context
        self.closed = False
        """The ring is gone: nothing is posted any more."""
        self.flushed = 0
        """cached_cq_tail as of the last flush of completions: what one batch completes comes behind it."""

    def post_cqe(
        self, user_data: int, res: int, flags: int, big: bytes = b"", request: Request | None = None
    ) -> None:
        """A CQE, seen once published. big: the second half of a 32-byte one. request: that which it ends."""
        if self.closed:
            return
        ring = self._ring
        counters, cq = ring.counters, ring.cq
        counters.completed += 1
        had = len(cq.backlog)
        hooks = self._hooks
        if hooks:
            hooks.call("io_uring_complete", ring, request, user_data, res, flags)
            breaker = hooks.breaker
            if breaker is not None and breaker.posts(ring, (user_data, res, flags), big):
                counters.overflowed += len(cq.backlog) - had
                return
        cq.post(user_data, res, flags, big)
        counters.overflowed += len(cq.backlog) - had

    def post_more(self, user_data: int, res: int, flags: int) -> bool:
        """A CQE with IORING_CQE_F_MORE, published at once; False, and nothing posted, if the CQ is full."""
        if self._ring.cq.full():
            return False
        self.post_cqe(user_data, res, flags | IORING_CQE_F_MORE)
        self.publish()
        return True

    def publish(self) -> None:
        """Let the client see what was posted, and wake who waits for it (io_cq_unlock_post())."""
        if not self.closed:
            self._ring.publish()
            self.flushed = self._ring.cq.tail
            if self._timeouts.counted:
                self._timeouts.flush(self._context)
