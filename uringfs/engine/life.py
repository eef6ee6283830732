"""A request's life once it is queued: held back or issued, completed exactly once, and what that lets go.

Links, drains and whatever else the kernel does as task work run behind the batch, in loops, never nested.
post() is the only way out of a request (io_uring/io_uring.c).
"""

import errno
from collections.abc import Callable
from functools import partial

import trio

from uringfs.abi.constants import (
    IORING_SETUP_DEFER_TASKRUN,
    IORING_SETUP_SQPOLL,
    IOSQE_ASYNC,
    IOSQE_CQE_SKIP_SUCCESS,
    IOSQE_FIXED_FILE,
    IOSQE_IO_DRAIN,
    IOSQE_IO_HARDLINK,
)
from uringfs.engine import timeouts
from uringfs.engine.complete import Completion
from uringfs.engine.drain import Drain
from uringfs.engine.held import Held, WireWaiters
from uringfs.engine.index import Index
from uringfs.engine.performing import perform_now, unforeseen
from uringfs.engine.request import Issue, Outcome, Pending, Request, RingContext
from uringfs.engine.task_work import LocalWork, TaskWork
from uringfs.engine.tctx import TaskContexts
from uringfs.errors import UringError


class Life:
    """The way of the requests of one ring, from queue() to post()."""

    def __init__(
        self,
        context: RingContext,
        nursery: trio.Nursery,
        tctx: TaskContexts,
        completion: Completion,
        index: Index,
    ) -> None:
        self._context = context
        self._nursery = nursery
        self._tctx = tctx
        self._completion = completion
        self._index = index
        self._hooks = context.hooks
        self._counters = context.ring.counters
        self.submitting = False
        """Somebody takes SQEs off the queue."""
        self.drain = Drain()
        self.work = TaskWork(self._undefer, completion.publish)
        """What completions have let go."""
        defers = context.setup_flags & IORING_SETUP_DEFER_TASKRUN
        self.local_work = LocalWork(context.ring, self.after_pass) if defers else None
        self.held = Held(nursery, partial(self._soon, self._next_held))
        self.unsettled = WireWaiters(context.host, nursery, self._start_unsettled, self.after_pass)

    # -- queued, and issued

    def queue(self, request: Request) -> None:
        """io_queue_sqe(), io_drain_req(): with all that is linked behind it."""
        defers = self.drain.defers(request)
        if not request.failed and (defers or request.link is not None):
            try:
                self._keep(request if defers else request.link)
            except UringError as error:  # its caller is gone already
                request.failed, request.res = True, -error.errno
        if request.failed:
            request.flags &= ~IOSQE_IO_HARDLINK
            self.post(request, request.res)
        elif defers:
            self.drain.defer(request)
            self.work.run()
        elif self.held.must_wait(request):
            self._hold_back(request)
        else:
            self._issue(request)

    def queue_alone(self, request: Request) -> None:
        """queue() of one that is linked to nothing, in short for most of them."""
        drain, held = self.drain, self.held
        if request.flags & IOSQE_IO_DRAIN or drain.deferred or drain.draining or held.waiting or held.holders:
            self.queue(request)
        else:
            self._issue(request)

    def _hold_back(self, request: Request) -> None:
        try:
            self._keep(request)
        except UringError as error:  # its caller is gone already
            self.post(request, -error.errno)
        else:
            self.held.wait(request)

    def _next_held(self) -> None:
        while (request := self.held.next()) is not None:
            self._issue_later(request)

    def let_go(self, request: Request) -> None:
        """What was held back behind a request that Holds may start."""
        self.held.let_go(request)
        if self._context.ring.lane is not None:
            self._context.ring.lane.attend()

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
        self._index.pending[request] = None
        if request.attachment is None:
            self._tctx.add(request.caller.program, request, self)

    def _issue(self, request: Request) -> None:
        """io_issue_sqe()"""
        perform = request.op.issue if request.attachment is None else request.attachment.issue
        hooks = self._hooks
        if hooks:
            hooks.call("io_issue_sqe", request)
            if hooks.breaker is not None:
                perform = partial(hooks.breaker.issue, perform=perform)
        outcome = perform_now(request, perform)
        if isinstance(outcome, int):
            if request.link_timeout is not None:
                timeouts.queue_linked_timeout(request, waits=False)
            if self.local_work is not None and request.flags & IOSQE_ASYNC:
                self.complete(request, outcome)  # io_req_complete_post()
            else:
                self.post(request, outcome)
        else:
            self._wait(request, outcome)

    def _wait(self, request: Request, outcome: Pending | Issue) -> None:
        """A request was issued, and is not complete."""
        if isinstance(outcome, Issue):
            if self._hooks:
                self._hooks.call("io_issue_skip_complete", request)
            self._pend(request)
        else:
            try:
                self._hold(request)
            except UringError as error:
                self.post(request, -error.errno)
                return
            self._begin(request, outcome)
        self._index.begun(request)
        if request.link_timeout is not None:
            timeouts.queue_linked_timeout(request, waits=True)

    def _begin(self, request: Request, rest: Pending) -> None:
        """Start the task of a request that has to wait."""
        request.scope = trio.CancelScope()
        if not request.is_armed:
            if self._hooks:
                self._hooks.call("io_uring_queue_async_work", request)
            if request.target is not None and request.target.streaming:
                request.context.beginning.add(request)
        self._nursery.start_soon(self._run, request, rest)
        if not request.flags & IOSQE_ASYNC:
            self.held.hold(request)

    async def _run(self, request: Request, rest: Pending) -> None:
        """The task of a request that has to wait."""
        res = -errno.ECANCELED
        assert request.scope is not None
        with request.scope:
            try:
                res = await rest()
            except UringError as error:
                res = request.failure(error)
            except Exception:
                res = unforeseen(request)
        if request.scope.cancelled_caught:
            self._counters.cancelled += 1
        self.complete(request, res)

    # -- what is broken on purpose (hooks.Breaker)

    def resume(self, request: Request, perform: Callable[[Request], Outcome]) -> None:
        """A request that has waited with IOU_ISSUE_SKIP_COMPLETE begins now: perform is its op's issue. As task
        work."""
        self.task_work(partial(self._resume, request, perform))

    def _resume(self, request: Request, perform: Callable[[Request], Outcome]) -> None:
        if request not in self._index.pending or self._completion.closed:
            return
        request.disarm = None
        if not request.orphaned and not request.caller.program.same():
            self.post(request, -errno.ECANCELED)
            return
        outcome = perform_now(request, perform)
        if isinstance(outcome, int):
            self.post(request, outcome)
        elif not isinstance(outcome, Issue):
            self._begin(request, outcome)

    def retain(self, request: Request) -> None:
        """Keep a request that is all but complete: complete() will be called once more. Until then no cancel
        finds it."""
        self._index.hide(request)
        request.scope, request.disarm = None, _too_late
        if request not in self._index.pending:
            self._pend(request)

    # -- what has waited for others

    def _start(self, request: Request) -> None:
        """io_req_task_submit(): not of a ring that may be closed."""
        in_call = self.submitting or (self.local_work is not None and self.local_work.in_call)
        if in_call or not self._context.host.unsettled():
            self._issue_later(request)
        else:
            self.unsettled.add(request)

    def _issue_later(self, request: Request) -> None:
        """Issue a request that was held back, unless its program is over (io_uring_task_cancel())."""
        if request.orphaned or request.caller.program.same():
            self._issue(request)
        else:
            self.post(request, -errno.ECANCELED)

    def _start_unsettled(self, request: Request) -> None:
        if request in self._index.pending and not self._completion.closed:
            self._issue_later(request)

    def _undefer(self) -> bool:
        """Let the first deferred request go, if it may."""
        drained = self.drain.draining
        request = self.drain.next()
        if request is None:
            if drained and self._context.ring.lane is not None:
                self._context.ring.lane.attend()
            return False
        self._later(partial(self._start, request))
        return True

    # -- complete

    def complete(self, request: Request, res: int, failed: bool | None = None) -> None:
        """End a request that was issued and had to wait. failed: if not as the result says."""
        work = partial(self.post, request, res, failed)
        if self.local_work is not None and not self._completion.closed:
            self.local_work.complete(request, work)
        else:
            self.task_work(work)

    def task_work(self, work: Callable[[], None]) -> None:
        """io_req_task_work_add(): now, or behind the batch that is being submitted."""
        if self.local_work is not None and not self._completion.closed:
            self.local_work.add(work)
        else:
            self._soon(work)

    def _soon(self, work: Callable[[], None]) -> None:
        self.work.queue.append(work)
        self.work.run()

    def _later(self, work: Callable[[], None]) -> None:
        """What a completion lets go: behind the batch, or the pass, that it is part of."""
        if self.local_work is not None:
            self.task_work(work)
        else:
            self.work.queue.append(work)

    def after_pass(self) -> None:
        """Publish what was posted, and start what it has let go."""
        self._completion.publish()
        self.work.run()

    def post(self, request: Request, res: int, failed: bool | None = None) -> None:
        """The one way out: the CQE, then what was linked behind, then what was held back for it. failed: if not
        as the result says."""
        hooks = self._hooks
        if hooks and hooks.breaker is not None:
            answer = hooks.breaker.complete(request, res, failed)
            if answer is None:
                return
            res, failed = answer
        self.drain.unfinished -= 1
        if request.holds is not None or request in self._index.pending:
            self._forget(request)
        if request.link_timeout is not None:
            linked, linked_res = timeouts.disarm_linked_timeout(request)
            self._later(partial(self.post, linked, linked_res, False))
        link, request.link = request.link, None
        if failed is None:
            failed = request.failed or (res < 0 and not (request.lenient and res != -errno.ECANCELED))
        flags = request.flags
        # IOSQE_CQE_SKIP_SUCCESS: a failure is shown, and then what it cancels is not (io_fail_links())
        if flags & IOSQE_ASYNC:
            self._context.ring.from_worker = True
        if failed or not flags & IOSQE_CQE_SKIP_SUCCESS:
            self._completion.post_cqe(request.sqe.user_data, res, request.cqe_flags, request.big, request)
        elif self._hooks:
            self._hooks.call("io_req_cqe_skip", request, res)
        request.end()  # behind its CQE: this may post the tag of what it was the last to use
        if link is not None:
            if failed and not flags & IOSQE_IO_HARDLINK:
                self._later(partial(self._fail_links, link, bool(flags & IOSQE_CQE_SKIP_SUCCESS)))
            else:
                self._later(partial(self._start, link))
        if self.work.queue or self.drain.deferred:
            self.work.run()

    def _forget(self, request: Request) -> None:
        if request.holds is not None:
            self.held.let_go(request)
        if request in self._index.pending:
            self._index.remove(request)
            self._tctx.remove(request.caller.program, request)

    def _fail_links(self, link: Request | None, ignore_cqes: bool) -> None:
        """io_fail_links()"""
        while link is not None:
            behind, link.link = link.link, None
            self.drain.unfinished -= 1
            self._forget(link)
            res = link.res if link.failed else -errno.ECANCELED
            if not ignore_cqes:
                self._completion.post_cqe(link.sqe.user_data, res, 0, b"", link)
            elif self._hooks:
                self._hooks.call("io_req_cqe_skip", link, res)
            link.end()
            link = behind

    # -- cancelled

    def cancel(self, request: Request) -> None:
        """Ask a pending request to end; it completes with ECANCELED unless it was quicker. One that is linked
        behind another goes when that one does."""
        if request.scope is not None:
            request.scope.cancel()
            if self.local_work is not None:
                self.local_work.expect(request)
        elif request.disarm is not None:
            if request.disarm():
                self._counters.cancelled += 1
                self.complete(request, -errno.ECANCELED)
        elif self.drain.remove(request):
            request.flags &= ~IOSQE_IO_HARDLINK
            self.post(request, -errno.ECANCELED)
            self._completion.publish()
        elif self.held.remove(request):
            self.post(request, -errno.ECANCELED)
            self._completion.publish()

    def orphan(self, request: Request) -> None:
        """io_uring_files_cancel(), io_match_task_safe(): the thread that submitted it is gone. At once end what
        is about a ring, what a worker of that thread would do, and all that a poller has submitted. Polls and
        timeouts pend on, and what is linked behind others, or held back."""
        file, worker = request.target, request.flags & IOSQE_ASYNC
        of_ring = file is not None and file.inode and not request.flags & IOSQE_FIXED_FILE
        begun = request.scope is not None or request.disarm is not None
        stays = request.outlives or (file is not None and file.regular and not worker)
        if self._context.setup_flags & IORING_SETUP_SQPOLL or of_ring or (begun and not stays):
            self.cancel(request)

    def cancel_all(self) -> None:
        """The last descriptor is closed, the name lives on: nobody is left to take completions."""
        for request in self._index.pending_requests():
            if request.attachment is None:
                self.cancel(request)

    def close(self) -> None:
        """The ring is gone (io_ring_ctx_wait_and_kill()): cancel all. Nothing is posted any more."""
        self.drain.deferred.clear()
        self.held.waiting.clear()
        pending = self._index.pending_requests()
        for request in pending:
            if request.link_timeout is not None:
                timeouts.disarm_linked_timeout(request)
            request.link = None
        if self.local_work is not None:
            self.local_work.close()
        for request in self._index.pending_requests():
            self._tctx.remove(request.caller.program, request)
            if request.scope is not None:
                request.scope.cancel()
            elif request.disarm is not None:
                request.disarm()
        self._context.host.poller.settle()  # then it is us who let go of the files
        for request in self._index.pending_requests():
            if request.scope is None:
                request.end()


def _too_late() -> bool:
    """Request.disarm of what is all but complete."""
    return False
