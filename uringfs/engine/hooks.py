"""Hook points along a request's way, for whoever watches: they have the names of the kernel's tracepoints
(include/trace/events/io_uring.h), and of io_issue_sqe() where it has none. One table for all rings of a mount.

The table is falsy while nobody has subscribed, and nothing else is looked at then: `if hooks: hooks.call(...)`.
"""

import logging
from types import FunctionType
from typing import Any, Protocol

from uringfs.abi.structs import Sqe
from uringfs.ring.ring import Ring

log = logging.getLogger(__name__)


class Traced(Protocol):
    """What a subscriber may look at of a request (engine/request.py)."""

    @property
    def sqe(self) -> Sqe: ...

    @property
    def flags(self) -> int:
        """IOSQE_*"""


class Subscriber:
    """Derive from this, and define the points that are of interest: the others are never called."""

    def io_uring_submit_req(self, request: Traced) -> None:
        """Taken off the queue, and found to be in order (io_submit_sqe())."""

    def io_uring_req_failed(self, request: Traced, error: int) -> None:
        """Taken off the queue, and not in order: error is its -errno (io_submit_fail_init())."""

    def io_issue_sqe(self, request: Traced) -> None:
        """Its op begins: at once, or when what it was linked behind or held back for is complete."""

    def io_uring_queue_async_work(self, request: Traced) -> None:
        """It could not be completed at once: a task goes on with it, in threads or waiting for events."""

    def io_uring_poll_arm(self, request: Traced, events: int) -> None:
        """It waits for EPOLL* events of a file, in its task or without one."""

    def io_uring_complete(self, ring: Ring, user_data: int, res: int, cflags: int) -> None:
        """A CQE is posted: a request's last one, or one beside (io_post_aux_cqe())."""

    def io_uring_cqring_wait(self, ring: Ring, min_events: int) -> None:
        """An enter begins to wait for completions. Clients reap them without a call."""

    def uringfs_inject(self, ring: Ring, user_data: int, rule: int, what: str) -> None:
        """A fault is injected into a request, or into a call on the ring (user_data 0): the rule's number and
        text. It comes before the request's op begins."""


POINTS = [name for name, point in vars(Subscriber).items() if isinstance(point, FunctionType)]


class Breaker(Protocol):
    """Who breaks requests (uringfs/faults): at these points what is answered counts. Requests are
    ops.request.Request, outcomes what their ops' issue returns."""

    def issue(self, request: Any, perform: Any) -> Any:
        """In place of perform(request): an outcome, or what that raises. SKIP_COMPLETE with request.disarm set:
        the request waits, and goes on with context.resume(request, perform)."""

    def complete(self, request: Any, res: int, failed: bool | None) -> tuple[int, bool | None] | None:
        """Of a request that is about to be complete: what it is to come to. None: it was given to
        context.retain(), and context.complete() is called again."""

    def more(self, request: Any) -> bool:
        """A multishot request may have a CQE with IORING_CQE_F_MORE; False: it ends with this one."""

    def posts(self, ring: Ring, cqe: tuple[int, int, int], big: bytes) -> bool:
        """It has posted this CQE, of the completion before, in its own way."""

    def enter(self, ring: Ring, caller: Any, to_submit: int) -> int:
        """An enter with at least one thing to do begins: the SQEs that it may take. Raises its errno."""

    def call(self, name: str, caller: Any, number: int, owner: int) -> None:
        """setup or register, on the ring file with that inode number, of that user. Raises the call's errno."""


class Hooks(dict[str, dict[Subscriber, None]]):
    """Point -> its subscribers, in the order they came. Without subscribers, a point is not there."""

    breaker: Breaker | None = None
    """It subscribes, too, so nobody asks for it while the table is falsy."""

    def subscribe(self, subscriber: Subscriber) -> None:
        for name in POINTS:
            if getattr(type(subscriber), name) is not getattr(Subscriber, name):
                self.setdefault(name, {})[subscriber] = None

    def unsubscribe(self, subscriber: Subscriber) -> None:
        for name in tuple(self):
            self[name].pop(subscriber, None)
            if not self[name]:
                del self[name]

    def call(self, name: str, *args: object) -> None:
        """Tell the subscribers of a point. One that raises is logged and unsubscribed: the request goes on."""
        for subscriber in tuple(self.get(name, ())):
            try:
                getattr(subscriber, name)(*args)
            except Exception:
                self.unsubscribe(subscriber)
                log.exception("%s of %r failed: it is not called any more", name, subscriber)
