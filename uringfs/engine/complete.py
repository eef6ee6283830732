"""A request's life once it is queued: held back or issued, completed exactly once, and what that lets go.

Links, drains and whatever else the kernel does as task work run behind the batch, in loops, never nested.
post() is the only way out of a request (io_uring/io_uring.c).
"""

import errno
import logging
from collections import deque
from collections.abc import Callable
from functools import partial

import trio

from uringfs.abi.constants import (
    IORING_CQE_F_MORE,
    IORING_SETUP_DEFER_TASKRUN,
    IORING_SETUP_SQPOLL,
    IOSQE_ASYNC,
    IOSQE_CQE_SKIP_SUCCESS,
    IOSQE_FIXED_FILE,
    IOSQE_IO_DRAIN,
    IOSQE_IO_HARDLINK,
)
from uringfs.clientwork.deliveries import Deliveries
from uringfs.engine import timeouts
from uringfs.engine.held import Held
from uringfs.engine.index import Index
from uringfs.engine.request import Issue, Outcome, Pending, RegisteredRing, Request, RingContext
from uringfs.engine.resources import Resources
from uringfs.engine.task_work import LocalWork
from uringfs.engine.tctx import Owners
from uringfs.errors import UringError
from uringfs.host.protocols import Caller, File
from uringfs.ring.ring import Ring

log = logging.getLogger(__name__)


class RequestLife(Index):
    """The requests of one ring."""

    def __init__(self, ring: Ring, nursery: trio.Nursery, owners: Owners) -> None:
        super().__init__()
        self.ring = ring
        self.resources = Resources()
        self.host = owners.host
        self.positions = owners.positions
        self.late = owners.late
        self.hooks = owners.hooks
        self.setup_flags = ring.geometry.flags
        self._nursery = nursery
        self._owners = owners
        self.closed = False
        self._busy = False  # somebody submits
        self._deferred: deque[Request] = deque()
        self.local_work = (
            LocalWork(ring, self._after_work) if self.setup_flags & IORING_SETUP_DEFER_TASKRUN else None
        )
        self._unfinished = 0  # requests that are neither complete nor in _deferred
        self._held = Held(nursery, partial(self._soon, self._next_held))
        self._draining = False  # one of them is a drain
        self._next: deque[Callable[[], None]] = deque()  # task work: what completions have let go
        self._going_on = False  # it is running, or will once the batch is submitted
        self._unsettled: deque[Request] = deque()  # what starts once the wire is read
        self.timeouts: timeouts.Timeouts = timeouts.Timeouts(ring)
        self.deliveries: Deliveries = Deliveries(self)
        self.flushed = 0

    def _after_work(self) -> None:
        self.publish()
        self._go_on()

    def _queue(self, request: Request) -> None:
        """io_queue_sqe(), io_drain_req()"""
        drains = bool(self._deferred or self._draining or request.flags & IOSQE_IO_DRAIN)
        if not request.failed and (drains or request.link is not None):
            try:
                self._keep(request if drains else request.link)
            except UringError as error:  # its caller is gone already
                request.failed, request.res = True, -error.errno
        if request.failed:
            request.flags &= ~IOSQE_IO_HARDLINK
            self.post(request, request.res)
        elif drains:
            _force_async(request)
            self._unfinished -= _length(request)
            self._deferred.append(request)
            self._go_on()
        elif self._held.must_wait(request):
            self._hold_back(request)
        else:
            self._issue(request)

    def _hold_back(self, request: Request) -> None:
        try:
            self._keep(request)
        except UringError as error:  # its caller is gone already
            self.post(request, -error.errno)
        else:
            self._held.wait(request)

    def _next_held(self) -> None:
        while (request := self._held.next()) is not None:
            self._issue_later(request)

    def let_go(self, request: Request) -> None:
        self._held.let_go(request)

    def _keep(self, request: Request | None) -> None:
        """A chain that outlives the control write: its caller must, too."""
        while request is not None:
            self._hold(request)
            request = request.link

    def _hold(self, request: Request) -> None:
        """Make it a pending request of its caller."""
        request.caller = request.caller.detached()
        self._pend(request)

    def _pend(self, request: Request) -> None:
        self.pending[request] = None
        if request.attachment is None:
            self._owners.add(request.caller.program, request, self)

    def _issue(self, request: Request) -> None:
        """io_issue_sqe(), io_req_task_submit()"""
        if self.hooks:
            self.hooks.call("io_issue_sqe", request)
        outcome = self._outcome(request)
        if isinstance(outcome, int):
            if request.link_timeout is not None:
                timeouts.queue_linked_timeout(request, waits=False)
            if self.local_work is not None and request.flags & IOSQE_ASYNC:
                self.complete(request, outcome)  # io_req_complete_post()
            else:
                self.post(request, outcome)
            return
        if isinstance(outcome, Issue):
            if self.hooks:
                self.hooks.call("io_issue_skip_complete", request)
            self._pend(request)
        else:
            try:
                self._hold(request)
            except UringError as error:
                self.post(request, -error.errno)
                return
            self._begin(request, outcome)
        self._index(request)
        if request.link_timeout is not None:
            timeouts.queue_linked_timeout(request, waits=True)

    def _outcome(self, request: Request, perform: Callable[[Request], Outcome] | None = None) -> Outcome:
        """perform: what a breaker has kept the request from until now."""
        try:
            if request.orphaned:
                raise UringError(errno.EFAULT, f"thread {request.caller.tid} is gone")
            if perform is None:
                perform = request.op.issue if request.attachment is None else request.attachment.issue
                if self.hooks and self.hooks.breaker is not None:
                    perform = partial(self.hooks.breaker.issue, perform=perform)
            return perform(request)
        except UringError as error:
            return -error.errno
        except Exception:
            log.exception("%s failed in the daemon; the request gets EIO", request.op.name)
            return -errno.EIO

    def _begin(self, request: Request, rest: Pending) -> None:
        if self.hooks:
            self.hooks.call("io_uring_queue_async_work", request)
        request.scope = trio.CancelScope()
        self._nursery.start_soon(self._run, request, rest)
        if not request.flags & IOSQE_ASYNC:
            self._held.hold(request)

    def resume(self, request: Request, perform: Callable[[Request], Outcome]) -> None:
        self.task_work(partial(self._resume, request, perform))

    def _resume(self, request: Request, perform: Callable[[Request], Outcome]) -> None:
        if request not in self.pending or self.closed:
            return
        request.disarm = None
        if not request.orphaned and not request.caller.program.same():
            self.post(request, -errno.ECANCELED)
            return
        outcome = self._outcome(request, perform)
        if isinstance(outcome, int):
            self.post(request, outcome)
        elif not isinstance(outcome, Issue):
            self._begin(request, outcome)

    def retain(self, request: Request) -> None:
        self._unindex(request)
        request.scope, request.disarm = None, _too_late
        if request not in self.pending:
            self._pend(request)

    def _issue_later(self, request: Request) -> None:
        """One that has waited for others: not for a program that is over (io_uring_task_cancel())."""
        if request.orphaned or request.caller.program.same():
            self._issue(request)
        else:
            self.post(request, -errno.ECANCELED)

    def _start(self, request: Request) -> None:
        """io_req_task_submit(): what has waited for others. Not of a ring that may be closed."""
        in_call = self._busy or (self.local_work is not None and self.local_work.in_call)
        if in_call or not self.host.unsettled():
            self._issue_later(request)
        else:
            self._unsettled.append(request)
            self._nursery.start_soon(self._start_settled)

    async def _start_settled(self) -> None:
        await self.host.settled()
        self.start_unsettled()
        self.publish()
        self._go_on()

    def start_unsettled(self) -> None:
        """Start what waits for the wire. Who enters with the CQE of the one before in hand comes after all of
        it, as it is task work in the kernel, done before io_uring_enter(2) is."""
        while self._unsettled:
            request = self._unsettled.popleft()
            if request in self.pending and not self.closed:
                self._issue_later(request)

    async def _run(self, request: Request, rest: Pending) -> None:
        """The task of a request that has to wait."""
        res = -errno.ECANCELED
        assert request.scope is not None
        with request.scope:
            try:
                res = await rest()
            except UringError as error:
                res = -error.errno
            except Exception:
                log.exception("%s failed in the daemon; the request gets EIO", request.op.name)
                res = -errno.EIO
        if request.scope.cancelled_caught:
            self.ring.counters.cancelled += 1
        self.complete(request, res)

    def complete(self, request: Request, res: int, failed: bool | None = None) -> None:
        work = partial(self.post, request, res, failed)
        if self.local_work is not None and not self.closed:
            self.local_work.complete(request, work)
        else:
            self.task_work(work)

    def task_work(self, work: Callable[[], None]) -> None:
        if self.local_work is not None and not self.closed:
            self.local_work.add(work)
        else:
            self._soon(work)

    def _soon(self, work: Callable[[], None]) -> None:
        self._next.append(work)
        self._go_on()

    def _later(self, work: Callable[[], None]) -> None:
        """What a completion lets go (io_req_task_work_add()): behind the batch."""
        if self.local_work is not None:
            self.task_work(work)
        else:
            self._next.append(work)

    def post(self, request: Request, res: int, failed: bool | None = None) -> None:
        """The one way out: the CQE, then what was linked behind, then what was held back for it."""
        if self.hooks and self.hooks.breaker is not None:
            answer = self.hooks.breaker.complete(request, res, failed)
            if answer is None:
                return
            res, failed = answer
        self._unfinished -= 1
        self._let_go(request)
        if request.link_timeout is not None:
            linked, linked_res = timeouts.disarm_linked_timeout(request)
            self._later(partial(self.post, linked, linked_res, False))
        link, request.link = request.link, None
        if failed is None:
            failed = request.failed or (res < 0 and not (request.lenient and res != -errno.ECANCELED))
        # IOSQE_CQE_SKIP_SUCCESS: a failure is shown, and then what it cancels is not (io_fail_links())
        skipping = request.flags & IOSQE_CQE_SKIP_SUCCESS
        if request.flags & IOSQE_ASYNC:
            self.ring.from_worker = True
        if not skipping or failed:
            self.post_cqe(request.sqe.user_data, res, request.cqe_flags, request.big, request)
        elif self.hooks:
            self.hooks.call("io_req_cqe_skip", request, res)
        request.end()  # behind its CQE: this may post the tag of what it was the last to use
        if link is not None:
            if failed and not request.flags & IOSQE_IO_HARDLINK:
                self._later(partial(self._fail_links, link, bool(skipping)))
            else:
                self._later(partial(self._start, link))
        if self._next or self._deferred:
            self._go_on()

    def _let_go(self, request: Request) -> None:
        if request.holds is not None:
            self._held.let_go(request)
        if request in self.pending:
            del self.pending[request]
            self._owners.remove(request.caller.program, request)
            self._unindex(request)

    def post_cqe(
        self, user_data: int, res: int, flags: int, big: bytes = b"", request: Request | None = None
    ) -> None:
        """request: that which it ends."""
        if self.closed:
            return
        ring = self.ring
        counters, cq = ring.counters, ring.cq
        counters.completed += 1
        had = len(cq.backlog)
        if self.hooks:
            self.hooks.call("io_uring_complete", ring, request, user_data, res, flags)
            breaker = self.hooks.breaker
            if breaker is not None and breaker.posts(ring, (user_data, res, flags), big):
                counters.overflowed += len(cq.backlog) - had
                return
        cq.post(user_data, res, flags, big)
        counters.overflowed += len(cq.backlog) - had

    def post_more(self, user_data: int, res: int, flags: int) -> bool:
        if self.ring.cq.full():
            return False
        self.post_cqe(user_data, res, flags | IORING_CQE_F_MORE)
        self.publish()
        return True

    def publish(self) -> None:
        if not self.closed:
            self.ring.publish()
            self.flushed = self.ring.cq.tail
            if self.timeouts.counted:
                self.timeouts.flush(self)

    def registered_rings(self, caller: Caller) -> dict[int, RegisteredRing]:
        return self._owners.registered_rings(caller.program)

    def ring_of(self, file: File) -> RingContext | None:
        return self._owners.find_ring(file.inode) if file.inode else None

    def _fail_links(self, link: Request | None, ignore_cqes: bool) -> None:
        while link is not None:
            behind, link.link = link.link, None
            self._unfinished -= 1
            self._let_go(link)
            res = link.res if link.failed else -errno.ECANCELED
            if not ignore_cqes:
                self.post_cqe(link.sqe.user_data, res, 0, b"", link)
            elif self.hooks:
                self.hooks.call("io_req_cqe_skip", link, res)
            link.end()
            link = behind

    def _go_on(self) -> None:
        """io_run_task_work(): start what may start now (io_queue_next(), io_queue_deferred()). A loop, for a
        chain may be as long as the ring, and each of its requests may end while it is being started."""
        if self._going_on:
            return
        self._going_on = True
        try:
            while self._next or self._undefer():
                for _ in range(len(self._next)):
                    self._next.popleft()()
                self.publish()
        finally:
            self._going_on = False

    def _undefer(self) -> bool:
        """Let the first deferred request go, if it may: a drain once all before it are complete, others
        once no drain is running."""
        if not self._unfinished:
            self._draining = False
        if not self._deferred:
            return False
        drain = bool(self._deferred[0].flags & IOSQE_IO_DRAIN)
        if self._draining or (drain and self._unfinished):
            return False
        request = self._deferred.popleft()
        self._unfinished += _length(request)
        self._draining = drain
        self._later(partial(self._start, request))
        return True

    def cancel(self, request: Request) -> None:
        """Ask a pending request to end; it completes with ECANCELED unless it was quicker."""
        if request.scope is not None:
            request.scope.cancel()
            if self.local_work is not None:
                self.local_work.expect(request)
        elif request.disarm is not None:
            if request.disarm():
                self.ring.counters.cancelled += 1
                self.complete(request, -errno.ECANCELED)
        elif request in self._deferred:
            self._deferred.remove(request)
            self._unfinished += _length(request)
            request.flags &= ~IOSQE_IO_HARDLINK
            self.post(request, -errno.ECANCELED)
            self.publish()
        elif request in self._held.waiting:
            self._held.waiting.remove(request)
            self.post(request, -errno.ECANCELED)
            self.publish()
        # a request linked behind another goes when that one does

    def orphan(self, request: Request) -> None:
        """io_uring_files_cancel(), io_match_task_safe(): the thread that submitted it is gone. At once end what
        is about a ring, what a worker of that thread would do, and all that a poller has submitted. Polls and
        timeouts pend on, and what is linked behind others, or held back."""
        file, worker = request.target, request.flags & IOSQE_ASYNC
        of_ring = file is not None and file.inode and not request.flags & IOSQE_FIXED_FILE
        begun = request.scope is not None or request.disarm is not None
        stays = request.outlives or (file is not None and file.regular and not worker)
        if self.setup_flags & IORING_SETUP_SQPOLL or of_ring or (begun and not stays):
            self.cancel(request)

    def close(self) -> None:
        """The ring is gone (io_ring_ctx_wait_and_kill()): cancel all, post nothing any more."""
        self.closed = True
        self._deferred.clear()
        self._held.waiting.clear()
        for request in tuple(self.pending):
            if request.link_timeout is not None:
                timeouts.disarm_linked_timeout(request)
            request.link = None
        if self.local_work is not None:
            self.local_work.close()
        for request in tuple(self.pending):
            self._owners.remove(request.caller.program, request)
            if request.scope is not None:
                request.scope.cancel()
            elif request.disarm is not None:
                request.disarm()
        self.host.poller.settle()  # then it is us who let go of the files
        for request in tuple(self.pending):
            if request.scope is None:
                request.end()
        self.resources.close()
        if self.ring.eventfd is not None:
            self.ring.eventfd.close()
            self.ring.eventfd = None
        for waiter in tuple(self.ring.waiters):
            waiter.closed()

    def cancel_all(self) -> None:
        """The last descriptor is closed, the name lives on: nobody is left to take completions."""
        for request in tuple(self.pending):
            if request.attachment is None:
                self.cancel(request)


def _too_late() -> bool:
    """Request.disarm of what is all but complete."""
    return False


def _force_async(request: Request | None) -> None:
    """io_init_req(): what drains, or is behind it, is io-wq's."""
    while request is not None:
        request.flags |= IOSQE_ASYNC
        request = request.link


def _length(request: Request) -> int:
    """io_linked_nr()"""
    count, link = 1, request.link
    while link is not None:
        count, link = count + 1, link.link
    return count
