"""A ring and what serves it (struct io_ring_ctx): its parts put together, io_uring_enter(2), and its end.

One submission at a time, first come first served. What can be done at once is done by plain functions; where
something has to wait they return an async function that goes on, for a task of whoever calls.
"""

import errno
from collections.abc import Callable, Hashable, Sequence
from functools import partial

import trio
from trio.lowlevel import ParkingLot

from uringfs.abi.constants import (
    IORING_ENTER_GETEVENTS,
    IORING_ENTER_REGISTERED_RING,
    IORING_ENTER_SQ_WAIT,
    IORING_ENTER_SQ_WAKEUP,
    IORING_SETUP_IOPOLL,
    IORING_SETUP_R_DISABLED,
    IORING_SETUP_SINGLE_ISSUER,
)
from uringfs.clientwork.deliveries import Deliveries
from uringfs.engine.arming import Arming
from uringfs.engine.complete import Completion
from uringfs.engine.entering import Entered, Entering, Submitting, behind, submit_behind, then
from uringfs.engine.index import Index
from uringfs.engine.life import Life
from uringfs.engine.request import Op, RegisteredRing, Request, RingContext
from uringfs.engine.resources import Resources
from uringfs.engine.sharing import Sharing
from uringfs.engine.sqpoll import SqPoller
from uringfs.engine.submit import Submission
from uringfs.engine.tctx import TaskContexts
from uringfs.engine.timeouts import Timeouts
from uringfs.engine.wait import Awaited, CqWait
from uringfs.errors import UringError
from uringfs.host.protocols import Caller, Channel, File, Program
from uringfs.ring import support
from uringfs.ring.ring import Ring
from uringfs.ring.shared import Lane

STEPS = 8
"""Steps of trio's scheduler in which a task that has been woken goes on and completes."""
SUPPORTED_ENTER_FLAGS = support.mask(support.ENTER_FLAGS)


class Context:
    """One ring. It is what its requests see as their context (engine/request.py: RingContext)."""

    def __init__(
        self,
        ring: Ring,
        nursery: trio.Nursery,
        tctx: TaskContexts,
        ops: Sequence[Op],
        issuer: Program | None = None,
    ) -> None:
        """ops: the row of each opcode, 256 of them. issuer: of the thread that sets the ring up."""
        self.ring = ring
        self.setup_flags = ring.geometry.flags
        self._enter_flags = SUPPORTED_ENTER_FLAGS & ring.geometry.kernel.enter_flags
        self.host = tctx.host
        self.hooks = tctx.hooks
        self.locks = tctx.locks
        self.late = tctx.late
        self.resources = Resources()
        self.timeouts = Timeouts(ring)
        self.deliveries = Deliveries(self)
        self.disabled = bool(self.setup_flags & IORING_SETUP_R_DISABLED)
        single = self.setup_flags & IORING_SETUP_SINGLE_ISSUER and not self.disabled
        self.submitter = issuer if single else None
        """The program of the only thread that may submit (IORING_SETUP_SINGLE_ISSUER); None: any thread may."""
        self.poller: SqPoller | None = None
        self.closed = False
        self._letting_go_on = 0
        """Enters that give tasks a moment."""
        self._nursery = nursery
        self._tctx = tctx
        self._turns = ParkingLot()  # those who wait to submit
        self._index = index = Index()
        self._completion = completion = Completion(ring, self.hooks, self.timeouts, self)
        self._life = life = Life(self, nursery, tctx, completion, index)
        self._submission = submission = Submission(self, life, completion, ops)
        self.sharing = Sharing(self, life, submission, nursery)
        # What ops and others see of these. Bound once: some are called for every request.
        self.local_work = life.local_work
        self.beginning: set[Request] = set()
        self.arming = Arming()
        self.woken: set[Request] = set()
        self.pending, self.pending_requests = index.pending, index.pending_requests
        self.polls = index.polls
        self.issued, self.set_user_data = index.issued, index.set_user_data
        self.post_cqe, self.post_more = completion.post_cqe, completion.post_more
        self.publish = completion.publish
        self.post, self.complete, self.task_work = life.post, life.complete, life.task_work
        self.let_go, self.cancel, self.cancel_all = life.let_go, life.cancel, life.cancel_all
        self.resume, self.retain = life.resume, life.retain
        self.file, self.ring_at = submission.file, tctx.find_ring
        self.link_head, self.link_last = submission.link_head, submission.link_last
        self.attachments = submission.attachments

    @property
    def flushed(self) -> int:
        return self._completion.flushed

    @property
    def submitting(self) -> bool:
        return self._life.submitting and self.poller is None

    # -- io_uring_enter(2)

    def enter(
        self,
        caller: Caller,
        to_submit: int,
        min_complete: int,
        flags: int,
        arg: int,
        argsz: int,
        tail: int | None = None,
    ) -> Entered | Entering:
        """io_uring_enter(2). EINVAL, EFAULT, EEXIST, EBADFD, EOWNERDEAD. tail: of the CQ, that is
        waited for; None: min_complete from its head on."""
        if flags & ~self._enter_flags:
            raise UringError(errno.EINVAL, f"enter flags {flags & ~self._enter_flags:#x} are not supported")
        if flags & IORING_ENTER_REGISTERED_RING:
            self.check_registered(caller)
        if self.disabled:
            raise UringError(errno.EBADFD, "the ring is disabled: IORING_REGISTER_ENABLE_RINGS")
        asked = to_submit
        if self.hooks and self.hooks.breaker is not None:
            to_submit = self.hooks.breaker.enter(self.ring, caller, to_submit)
        self.ring.counters.enters += 1
        awaited = Awaited.of(self.ring, min_complete, flags, arg, argsz, tail)
        submitted: int | Submitting = 0
        if self.poller is not None:
            submitted = self._offloaded(self.poller, to_submit, flags)
        elif to_submit:
            self.check_submitter(caller)
            self.host.poller.dispatch()  # what has happened comes before what is submitted now
            if self.woken and self.local_work is None:
                submitted = partial(submit_behind, self._let_go_on, partial(self.submit, caller, to_submit))
            else:
                submitted = self.submit(caller, to_submit)
        if isinstance(submitted, int):
            return self._get_events(caller, asked, awaited, submitted)
        return partial(then, submitted, partial(self._get_events, caller, asked, awaited))

    def _get_events(self, caller: Caller, asked: int, awaited: Awaited, submitted: int) -> Entered | Entering:
        if self.arming:
            again = partial(self._get_events, caller, asked, awaited, submitted)
            return partial(behind, self.arming.wait, again)
        if submitted != asked or not awaited.flags & IORING_ENTER_GETEVENTS:
            return partial(self._begun, submitted) if self.beginning else Entered(submitted)
        self.host.poller.dispatch()  # what is ready already needs no wait
        if self.woken or (self.beginning and not awaited.min_complete):
            work = partial(self._run_task_work, caller, awaited, submitted)
            return partial(behind, self._let_go_on, work)
        return self._run_task_work(caller, awaited, submitted)

    def in_call(self) -> bool:
        return bool(self._letting_go_on) or (self.local_work is not None and self.local_work.in_call)

    async def _begun(self, submitted: int) -> Entered:
        """What waits for a file does from this call on (io_arm_poll_handler())."""
        for _ in range(STEPS):
            if not self.beginning:
                break
            await trio.lowlevel.cancel_shielded_checkpoint()
        self.beginning.clear()
        return Entered(submitted)

    async def _let_go_on(self) -> None:
        """Give tasks that were woken a moment in which they go on: in the kernel it is this call that does. Once:
        what takes longer is no business of an enter's."""
        self._letting_go_on += 1
        try:
            await self._steps()
        finally:
            self._letting_go_on -= 1

    async def _steps(self) -> None:
        for _ in range(STEPS):
            if not (self.woken or self.beginning):
                self.host.poller.dispatch()  # some may have come to their wait, and need none
                if not self.woken:
                    return
            await trio.lowlevel.cancel_shielded_checkpoint()
        self.woken.clear()
        self.beginning.clear()

    def _run_task_work(self, caller: Caller, awaited: Awaited, submitted: int) -> Entered | Entering:
        """io_run_local_work(), and then the wait."""
        begin_wait = partial(self._begin_wait, caller, awaited, submitted)
        local = self.local_work
        if local is None:
            return begin_wait()
        self.check_submitter(caller)
        if local.coming():
            return partial(local.run_what_comes, awaited.min_complete, begin_wait)
        local.run(awaited.min_complete)
        return partial(local.until_gone_on, begin_wait) if local.going_on() else begin_wait()

    def _begin_wait(self, caller: Caller, awaited: Awaited, submitted: int) -> Entered:
        """io_cqring_wait() as far as there is something to wait for."""
        if self.setup_flags & IORING_SETUP_IOPOLL and not self.poller and not self.pending:
            self.ring.flush()
            return Entered(submitted)  # io_iopoll_check(): with nothing to poll there is no waiting
        try:
            wait = CqWait.start(self.ring, caller, self.host.timers, awaited)
        except UringError:
            if submitted:
                return Entered(submitted)
            raise
        if wait is not None and self.hooks:
            self.hooks.call("io_uring_cqring_wait", self.ring, awaited.min_complete)
        local = self.local_work
        if wait is not None and local is not None:
            wait.begin, wait.end = partial(local.begin, wait), local.end
        return Entered(submitted, wait)

    def _offloaded(self, poller: SqPoller, to_submit: int, flags: int) -> int | Submitting:
        """What an enter does on a polled ring."""
        if poller.dead:
            raise UringError(errno.EOWNERDEAD, "the thread that set the ring up is gone")
        if flags & IORING_ENTER_SQ_WAKEUP:
            poller.wake()
        if flags & IORING_ENTER_SQ_WAIT and poller.full():
            return partial(poller.wait_sq, to_submit)
        return to_submit

    # -- submission

    def submit(self, caller: Caller, to_submit: int) -> int | Submitting:
        """Take SQEs in a caller's name: how many were there. It has to wait for its turn if others submit, and if
        there are so many that other rings get a turn meanwhile."""
        if self._life.submitting:
            return partial(submit_behind, self._turns.park, partial(self._submit, caller, to_submit))
        self._life.submitting = True
        return self._submit(caller, to_submit)

    def _submit(self, caller: Caller, to_submit: int) -> int | Submitting:
        lane = self.ring.lane
        if lane is not None and not lane.begin():
            return partial(self._submit_behind_client, lane, caller, to_submit)
        return self._submit_now(caller, to_submit)

    async def _submit_behind_client(self, lane: Lane, caller: Caller, to_submit: int) -> int:
        try:
            await lane.wait()
        except trio.Cancelled:
            self._next_turn()
            raise
        submitted = self._submit_now(caller, to_submit)
        return submitted if isinstance(submitted, int) else await submitted()

    def _submit_now(self, caller: Caller, to_submit: int) -> int | Submitting:
        left, lane = False, self.ring.lane
        if lane is not None and lane.recalls():
            lane.end()
            self._next_turn()
            return partial(submit_behind, lane.handed_in, partial(self.submit, caller, to_submit))
        try:
            self._life.unsettled.start()
            self._submission.begin(caller, to_submit)
            left = self._submission.batch(caller)
        finally:
            if not left:
                self._end_submission()
        return partial(self._submit_rest, caller) if left else self._submission.count()

    async def _submit_rest(self, caller: Caller) -> int:
        try:
            while True:
                # What has been done stands, whatever becomes of this task: no cancellation here.
                await trio.lowlevel.cancel_shielded_checkpoint()
                if not self._submission.batch(caller):
                    break
        finally:
            self._end_submission()
        return self._submission.count()

    def _end_submission(self) -> None:
        try:
            self._submission.end()
        finally:
            if self.ring.lane is not None:
                self.ring.lane.end()
            self._next_turn()

    def _next_turn(self) -> None:
        if self._turns:
            self._turns.unpark()
        else:
            self._life.submitting = False

    def check_submitter(self, caller: Caller) -> None:
        """io_uring_add_tctx_node(), io_allowed_run_tw(): EEXIST for another thread than the ring's."""
        only = self.submitter
        if only is not None and (only.tid != caller.tid or not only.lives()):
            raise UringError(errno.EEXIST, f"thread {only.tid} is the single issuer of this ring")

    def enable(self, caller: Caller) -> None:
        """io_register_enable_rings(): EBADFD unless disabled."""
        if not self.disabled:
            raise UringError(errno.EBADFD, "the ring is not disabled")
        self.disabled = False
        if self.poller is not None:
            self.poller.wake()
        if self.setup_flags & IORING_SETUP_SINGLE_ISSUER:
            self.submitter = caller.program

    def offload(self, caller: Caller, idle_ms: int) -> None:
        """io_sq_offload_create(): from now on a poller submits, in this caller's name."""
        lasting = caller.detached()
        self.poller = SqPoller(self, lasting, idle_ms)
        self._nursery.start_soon(self.poller.run, lasting.program.ended)

    async def between_submissions(self, call: Callable[[], None]) -> None:
        """call(), when nobody submits."""
        if self._life.submitting:
            await self._turns.park()
        self._life.submitting = True
        try:
            call()
        finally:
            self._next_turn()

    # -- threads, and other rings

    def serve_agent(self, process: Hashable, channel: Channel) -> None:
        """URINGFS_CMD_AGENT"""
        self._nursery.start_soon(self.deliveries.serve(process, channel))

    def registered_rings(self, caller: Caller) -> dict[int, RegisteredRing]:
        """What its thread has registered with IORING_REGISTER_RING_FDS, by index."""
        return self._tctx.registered_rings(caller.program)

    def begun(self, caller: Caller) -> bool:
        return self._tctx.begun(caller.program)

    def check_registered(self, caller: Caller) -> None:
        """EBADF, or EINVAL, unless this ring is among them."""
        if not self._tctx.has_registered(caller.program, self):
            raise self._tctx.no_index(caller.program)

    def ring_of(self, file: File) -> RingContext | None:
        """The ring a file of our own mount is; None for every other file, and one that is not set up."""
        return self.ring_at(file.inode) if file.inode else None

    # -- the end

    def close(self) -> None:
        """The ring is gone (io_ring_ctx_wait_and_kill()): all that pends is cancelled, and nothing posted."""
        if self.poller is not None:
            self.poller.stop()
        self.sharing.close()
        self.deliveries.close()
        self._tctx.closed.add(self.ring.counters)
        if self.hooks:
            self.hooks.call("io_ring_ctx_free", self)
        self.closed = self._completion.closed = True
        self._life.close()
        self.resources.close()
        if self.ring.eventfd is not None:
            self.ring.eventfd.close()
            self.ring.eventfd = None
        for waiter in self.ring.waiters:
            waiter.closed()
