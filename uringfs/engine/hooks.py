"""Hook points along a request's way, for whoever watches: they have the names of the kernel's tracepoints
(include/trace/events/io_uring.h), and of io_issue_sqe() where it has none. One table for all rings of a mount.

The table is falsy while nobody has subscribed, and nothing else is looked at then: `if hooks: hooks.call(...)`.
"""

import logging
from collections.abc import Callable
from types import FunctionType
from typing import Any, Protocol

from uringfs import native
from uringfs.ring.ring import Ring

log = logging.getLogger(__name__)


Traced = Any
"""An engine.request.Request: a subscriber may look at it."""


class Subscriber:
    """Derive from this, and define the points that are of interest: the others are never called."""

    def watches(self, ring: Ring) -> bool:
        """True if every request of this ring has to be seen: none may be performed past the engine (the lane)."""
        return True

    def io_submit_sqes(self, context: Any, caller: Any) -> None:
        """A batch begins to be taken off this ring's queue (a RingContext) in the name of a caller, who is in the
        call, but for a poller's."""

    def io_uring_submit_req(self, request: Traced) -> None:
        """Taken off the queue, and found to be in order (io_submit_sqe())."""

    def io_uring_req_failed(self, request: Traced, error: int) -> None:
        """Taken off the queue, and not in order: error is its -errno (io_submit_fail_init())."""

    def io_issue_sqe(self, request: Traced) -> None:
        """The request's op begins: at once, or when what it was linked to or held back for is complete."""

    def io_issue_skip_complete(self, request: Traced) -> None:
        """The request's op has begun and needs no task to go on: a timer, a poll (IOU_ISSUE_SKIP_COMPLETE)."""

    def io_uring_queue_async_work(self, request: Traced) -> None:
        """The request could not be completed at once: a task goes on with it, in threads or waiting for events."""

    def io_uring_poll_arm(self, request: Traced, events: int) -> None:
        """The request waits for EPOLL* events of a file, in its task or without one."""

    def io_req_post_cqe(self, request: Traced, res: int, cflags: int) -> None:
        """A multishot request is about to post one of its CQEs with IORING_CQE_F_MORE, if there is room:
        io_uring_complete() comes next then, without the request."""

    def io_uring_complete(self, ring: Ring, request: Traced | None, user_data: int, res: int, cflags: int) -> None:
        """A CQE is posted: that of a request, which it ends, or one beside (None: io_post_aux_cqe())."""

    def io_req_cqe_skip(self, request: Traced, res: int) -> None:
        """A request is complete, and no CQE says so (IOSQE_CQE_SKIP_SUCCESS)."""

    def io_uring_cqring_wait(self, ring: Ring, min_events: int) -> None:
        """An enter begins to wait for completions. Clients reap them without a call."""

    def uringfs_inject(self, ring: Ring, request: Traced | None, rule: int, what: str) -> None:
        """A fault is injected into a request, or into a call on the ring (None): the rule's number and text. It
        comes before the request's op begins."""

    def io_uring_create(self, number: int, caller: Any, entries: int, params: int, res: int) -> None:
        """io_uring_setup(2) on the ring file with that inode number has returned res, or fails with -errno: params
        is the address of its struct io_uring_params."""

    def io_uring_register(self, ring: Ring, caller: Any, opcode: int, arg: int, nr_args: int, res: int) -> None:
        """io_uring_register(2) has returned, or fails with -errno."""

    def io_ring_ctx_free(self, context: Any) -> None:
        """The ring (a RingContext) is closed: nothing more is told of its requests."""


POINTS = [name for name, point in vars(Subscriber).items() if isinstance(point, FunctionType)]


class Recorder(native.EventRecorder):
    """A subscriber that makes its events of what native code performs (engine/inline.py), too."""

    def batch(self, context: Any) -> native.EventBatch | None:
        """In whose name the ring's submission goes on. None: this one is not watched."""
        raise NotImplementedError


class Breaker(Protocol):
    """Who breaks requests (uringfs/faults): at these points what is answered counts. Requests are
    engine.request.Request, outcomes what their ops' issue returns."""

    def issue(self, request: Any, perform: Any) -> Any:
        """In place of perform(request): an outcome, or what that raises. SKIP_COMPLETE with request.disarm set:
        the request waits, and goes on with context.resume(request, perform)."""

    def complete(self, request: Any, res: int, failed: bool | None) -> tuple[int, bool | None] | None:
        """Say what a request that is about to be complete comes to. None: it was given to
        context.retain(), and context.complete() is called again."""

    def more(self, request: Any) -> bool:
        """A multishot request may have a CQE with IORING_CQE_F_MORE; False: it ends with this one."""

    def posts(self, ring: Ring, cqe: tuple[int, int, int], big: bytes) -> bool:
        """True if the breaker has posted this CQE, of the completion before, in its own way."""

    def enter(self, ring: Ring, caller: Any, to_submit: int) -> int:
        """An enter with at least one thing to do begins: the SQEs that it may take. Raises its errno."""

    def call(self, name: str, caller: Any, number: int, owner: int) -> None:
        """setup or register, on the ring file with that inode number, of that user. Raises the call's errno."""


class Hooks(native.HookTable):
    """Point -> its (subscriber, method)s, in the order they came. Without subscribers, a point is not there.
    call(name, *args) tells them."""

    def __init__(self) -> None:
        self.breaker: Breaker | None = None
        """The subscriber that breaks requests. It is in the table, too, so nobody asks for it while the table is
        falsy."""
        self.recorder: Recorder | None = None
        """The subscriber, if it is the only one, and no request has to be the engine's for it."""
        self._subscribers: dict[Subscriber, None] = {}
        self.changed: list[Callable[[], None]] = []
        """Called when what watched() says may be another from now on."""

    def watched(self, ring: Ring) -> bool:
        """Somebody has to see every request of this ring. Ask again when told by `changed`."""
        return any(subscriber.watches(ring) for subscriber in self._subscribers)

    def change(self) -> None:
        """What subscribers watch has changed."""
        for changed in tuple(self.changed):
            changed()

    def subscribe(self, subscriber: Subscriber) -> None:
        self._subscribers[subscriber] = None
        self._find_recorder()
        for name in POINTS:
            if getattr(type(subscriber), name) is not getattr(Subscriber, name):
                self[name] = (*self.get(name, ()), (subscriber, getattr(subscriber, name)))
        self.change()

    def unsubscribe(self, subscriber: Subscriber) -> None:
        self._subscribers.pop(subscriber, None)
        self._find_recorder()
        for name in tuple(self):
            self[name] = tuple(point for point in self[name] if point[0] is not subscriber)
            if not self[name]:
                del self[name]
        self.change()

    def _find_recorder(self) -> None:
        only = next(iter(self._subscribers)) if len(self._subscribers) == 1 else None
        self.recorder = only if isinstance(only, Recorder) else None

    def failed(self, name: str, subscriber: Subscriber, error: Exception) -> None:
        """call() has come to one that raises: it is logged and unsubscribed, and the request goes on."""
        self.unsubscribe(subscriber)
        log.error("%s of %r failed: it is not called any more", name, subscriber, exc_info=error)
