"""Queue processing: what io_uring_enter(2) does with a ring (io_uring/io_uring.c).

One active processor a ring, first come first served. Submission is serial and, as long as nothing has
to wait, synchronous; completions may come from many tasks. post() is the only way out of a request.
"""

import errno
import logging
from collections import deque
from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import trio

from uringfs.abi.constants import (
    IORING_CQE_F_MORE,
    IORING_ENTER_GETEVENTS,
    IORING_ENTER_REGISTERED_RING,
    IORING_ENTER_SQ_WAIT,
    IORING_ENTER_SQ_WAKEUP,
    IORING_SETUP_DEFER_TASKRUN,
    IORING_SETUP_IOPOLL,
    IORING_SETUP_R_DISABLED,
    IORING_SETUP_SINGLE_ISSUER,
    IORING_SETUP_SUBMIT_ALL,
    IORING_SETUP_TASKRUN_FLAG,
    IORING_SQ_TASKRUN,
    IOSQE_ASYNC,
    IOSQE_BUFFER_SELECT,
    IOSQE_CQE_SKIP_SUCCESS,
    IOSQE_FIXED_FILE,
    IOSQE_IO_DRAIN,
    IOSQE_IO_HARDLINK,
    IOSQE_IO_LINK,
    SQE_VALID_FLAGS,
)
from uringfs.abi.structs import SQE, Sqe
from uringfs.errors import UringError
from uringfs.host.base import Caller, File, Host
from uringfs.ops import timeout
from uringfs.ops.context import RingContext
from uringfs.ops.newfile import Deliveries
from uringfs.ops.request import Attachment, Issue, Op, Outcome, Pending, Request
from uringfs.ops.resources import Resources
from uringfs.ops.table import lookup
from uringfs.ops.turns import Turns
from uringfs.ring.geometry import SUPPORTED_ENTER_FLAGS
from uringfs.ring.ring import Ring
from uringfs.sqpoll import SqPoller
from uringfs.wait import CqWait

log = logging.getLogger(__name__)

IOPOLL_OPS = frozenset((0, 1, 2, 4, 5, 20, 22, 23, 31, 32, 40, 46, 60, 61))
"""io_issue_def.iopoll: what a ring with IORING_SETUP_IOPOLL takes."""
LINK_FLAGS = IOSQE_IO_LINK | IOSQE_IO_HARDLINK
SQE_COMMON_FLAGS = IOSQE_FIXED_FILE | LINK_FLAGS | IOSQE_ASYNC
BATCH = 256
"""SQEs taken before other rings get a turn."""


class Entered(NamedTuple):
    """What an enter came to: the return value, and the wait still to be done, if any."""

    result: int
    wait: CqWait | None = None


class Owners:
    """Which requests pend for which thread: when it exits they are cancelled (io_uring_files_cancel())."""

    def __init__(
        self, host: Host, nursery: trio.Nursery, find_ring: "Callable[[int], Worker | None]" = lambda inode: None
    ) -> None:
        self.host = host
        self.find_ring = find_ring
        """The ring behind an inode of the mount."""
        self.positions = Turns()
        self._nursery = nursery
        self._pending: dict[int, dict[Request, Worker]] = {}
        self._registered_rings: dict[int, dict[int, RingContext]] = {}

    def add(self, tid: int, request: Request, worker: "Worker") -> None:
        if tid not in self._pending:
            self._pending[tid] = {}
            self._nursery.start_soon(self._watch, tid)
        self._pending[tid][request] = worker

    def remove(self, tid: int, request: Request) -> None:
        self._pending.get(tid, {}).pop(request, None)

    def registered_rings(self, tid: int) -> dict[int, RingContext]:
        """By index; they go with the thread."""
        if tid not in self._registered_rings:
            self._registered_rings[tid] = {}
            self._nursery.start_soon(self._forget, tid)
        return self._registered_rings[tid]

    def has_registered(self, tid: int, ring: RingContext) -> bool:
        return ring in self._registered_rings.get(tid, {}).values()

    async def _forget(self, tid: int) -> None:
        await self.host.exited(tid)
        del self._registered_rings[tid]

    async def _watch(self, tid: int) -> None:
        await self.host.exited(tid)
        for request, worker in self._pending.pop(tid, {}).items():
            worker.cancel(request)


class Worker:
    """The processor of one ring."""

    def __init__(self, ring: Ring, nursery: trio.Nursery, owners: Owners) -> None:
        self.ring = ring
        self.resources = Resources()
        self.host = owners.host
        self.positions = owners.positions
        self.setup_flags = ring.geometry.flags
        self.attachments: dict[int, tuple[bytes, Attachment]] = {}
        """By SQ position: what a text request carries beside its SQE, and that SQE."""
        self.pending: dict[Request, None] = {}
        """Issued and not complete, or held back (links, drain), in their order."""
        self._nursery = nursery
        self._owners = owners
        self._lock = trio.Lock()
        self._closed = False
        self._deferred: deque[Request] = deque()
        self.disabled = bool(self.setup_flags & IORING_SETUP_R_DISABLED)
        single = self.setup_flags & IORING_SETUP_SINGLE_ISSUER and not self.disabled
        self.submitter = ring.owner[0] if single else 0
        """The one thread that may submit; 0 for any."""
        self.poller: SqPoller | None = None
        self._defers = bool(self.setup_flags & IORING_SETUP_DEFER_TASKRUN)
        self._task_work: deque[Callable[[], None]] = deque()
        self._unfinished = 0  # requests that are neither complete nor in _deferred
        self._draining = False  # one of them is a drain
        self._drain_disabled = False
        self._next: deque[Callable[[], None]] = deque()  # task work: what completions have let go
        self._going_on = False  # it is running, or will once the batch is submitted
        self._issued: dict[int, dict[Request, None]] = {}  # by user_data
        self.timeouts = timeout.Timeouts()
        self.deliveries = Deliveries(self)
        self.flushed = 0
        self._head: Request | None = None  # of the chain being assembled
        self._last: Request | None = None

    async def enter(
        self, caller: Caller, to_submit: int, min_complete: int, flags: int, arg: int, argsz: int
    ) -> Entered:
        """io_uring_enter(2). EINVAL, EFAULT; Cancelled while queued leaves nothing done."""
        if flags & ~SUPPORTED_ENTER_FLAGS:
            raise UringError(errno.EINVAL, f"enter flags {flags & ~SUPPORTED_ENTER_FLAGS:#x} are not supported")
        if flags & IORING_ENTER_REGISTERED_RING:
            self.check_registered(caller)
        if self.disabled:
            raise UringError(errno.EBADFD, "the ring is disabled: IORING_REGISTER_ENABLE_RINGS")
        self.ring.counters.enters += 1
        submitted = 0
        if self.poller is not None:
            submitted = await self._offloaded(self.poller, to_submit, flags)
        elif to_submit:
            self.check_submitter(caller)
            submitted = await self.submit(caller, to_submit)
        if submitted != to_submit or not flags & IORING_ENTER_GETEVENTS:
            return Entered(submitted)
        try:
            if self._defers:
                self.check_submitter(caller)
                self._run_task_work()
            if self.setup_flags & IORING_SETUP_IOPOLL and not self.poller and not self.pending:
                return Entered(submitted)  # io_iopoll_check(): with nothing to poll there is no waiting
            self.host.poller.dispatch()  # what is ready already needs no wait
            wait = CqWait.start(self.ring, caller, min_complete, flags, arg, argsz)
        except UringError:
            if submitted:
                return Entered(submitted)
            raise
        if wait is not None and self._defers:
            wait.begin = self._run_task_work
        return Entered(submitted, wait)

    def check_submitter(self, caller: Caller) -> None:
        """io_uring_add_tctx_node(), io_allowed_run_tw(): EEXIST for another thread than the ring's."""
        if self.submitter not in (0, caller.tid):
            raise UringError(errno.EEXIST, f"thread {self.submitter} is the single issuer of this ring")

    def enable(self, caller: Caller) -> None:
        """io_register_enable_rings(): EBADFD unless disabled."""
        if not self.disabled:
            raise UringError(errno.EBADFD, "the ring is not disabled")
        self.disabled = False
        if self.poller is not None:
            self.poller.wake()
        if self.setup_flags & IORING_SETUP_SINGLE_ISSUER:
            self.submitter = caller.tid

    def _run_task_work(self) -> None:
        """io_run_local_work(): with DEFER_TASKRUN completions of tasks are posted in an enter that waits."""
        if self._task_work:
            self.ring.sq.clear_flags(IORING_SQ_TASKRUN)
            while self._task_work:
                self._task_work.popleft()()
            self.publish()
            self._go_on()

    def offload(self, caller: Caller, idle_ms: int) -> None:
        """io_sq_offload_create(): from now on a poller submits, in this caller's name."""
        self.poller = SqPoller(self, caller.detached(), idle_ms)
        self._nursery.start_soon(self.poller.run, partial(self.host.exited, caller.tid))

    async def _offloaded(self, poller: SqPoller, to_submit: int, flags: int) -> int:
        """What an enter does on a polled ring."""
        if poller.dead:
            raise UringError(errno.EOWNERDEAD, "the thread that set the ring up is gone")
        if flags & IORING_ENTER_SQ_WAKEUP:
            poller.wake()
        if flags & IORING_ENTER_SQ_WAIT:
            await poller.wait_sq()
        return to_submit

    async def submit(self, caller: Caller, to_submit: int) -> int:
        """Take SQEs in a caller's name, when it is its turn: how many were there."""
        try:
            self._lock.acquire_nowait()
        except trio.WouldBlock:
            await self._lock.acquire()
        try:
            return await self._submit_sqes(caller, to_submit)
        finally:
            self._lock.release()

    async def _submit_sqes(self, caller: Caller, to_submit: int) -> int:
        """io_submit_sqes(): the number of SQEs consumed."""
        ring, sq = self.ring, self.ring.sq
        submit_all = ring.geometry.flags & IORING_SETUP_SUBMIT_ALL
        entries = min(to_submit, sq.pending())
        done = 0
        self._going_on = True  # links and whatever else is task work come behind the batch
        try:
            while done < entries:
                data = sq.get()
                if data is None:
                    break
                done += 1
                if not self._submit_sqe(caller, data) and not submit_all:
                    break
                if done % BATCH == 0 and done < entries:
                    # What has been done stands, whatever becomes of this task: no cancellation here.
                    self._end_batch()
                    await trio.lowlevel.cancel_shielded_checkpoint()
        finally:
            if self._head is not None:
                chain, self._head = self._head, None
                self._queue(chain)
            self._end_batch()
            ring.counters.submitted += done
            self._going_on = False
            self._go_on()
        return done

    def _end_batch(self) -> None:
        self.ring.sq.commit()
        self.publish()

    def _submit_sqe(self, caller: Caller, data: bytes) -> bool:
        """io_submit_sqe(): False if the request failed before it began, which ends the batch."""
        sqe = tuple.__new__(Sqe, SQE.unpack_from(data))  # _make(), without its check of the length
        attachment = None
        if self.attachments:
            copy, attached = self.attachments.pop((self.ring.sq.head - 1) & 0xFFFFFFFF, (b"", None))
            attachment = attached if copy == data else None
        request = Request(sqe, lookup(sqe.opcode), caller, self, attachment)
        self._unfinished += 1
        try:
            self._init(request)
        except UringError as error:
            return self._fail_init(request, -error.errno)
        if self._head is None and not sqe.flags & LINK_FLAGS:
            self._queue(request)
            return True
        self._chain(request)
        if not sqe.flags & LINK_FLAGS:
            self._queue_chain()
        return True

    def _init(self, request: Request) -> None:
        """io_init_req()"""
        sqe, op = request.sqe, request.op
        if sqe.flags & ~SQE_COMMON_FLAGS:
            self._check_flags(sqe, op)
        restrictions = self.resources.restrictions
        if restrictions is not None and op.support != "none" and not restrictions.admits(sqe.opcode, sqe.flags):
            raise UringError(errno.EACCES, f"{op.name} is restricted")
        if sqe.ioprio and not op.ioprio:
            raise UringError(errno.EINVAL, f"{op.name} takes no ioprio")
        if self.setup_flags & IORING_SETUP_IOPOLL and sqe.opcode not in IOPOLL_OPS:
            raise UringError(errno.EINVAL, f"{op.name} cannot be polled")
        if sqe.personality:
            credentials = self.resources.personalities.get(sqe.personality)
            if credentials is None:
                raise UringError(errno.EINVAL, f"personality {sqe.personality} is not registered")
            request.caller = request.caller.with_credentials(credentials)
        op.prep(request)

    def _check_flags(self, sqe: Sqe, op: Op) -> None:
        if op.support == "none":
            return  # prep says so
        if sqe.flags & ~SQE_VALID_FLAGS:
            raise UringError(errno.EINVAL, f"sqe flags {sqe.flags:#x}")
        if sqe.flags & IOSQE_BUFFER_SELECT and not op.buffer_select:
            raise UringError(errno.EOPNOTSUPP, f"{op.name} takes no provided buffers")
        if sqe.flags & IOSQE_CQE_SKIP_SUCCESS:
            self._drain_disabled = True
        if sqe.flags & IOSQE_IO_DRAIN:
            if self._drain_disabled:
                raise UringError(errno.EOPNOTSUPP, "a ring that has skipped CQEs cannot drain")
            if self._head is not None:
                # draining in the middle of a link drains its head (io_init_drain())
                self._head.flags |= IOSQE_IO_DRAIN

    def _fail_init(self, request: Request, res: int) -> bool:
        """io_submit_fail_init(): within a chain go on assembling it, its head marked as failed."""
        request.failed, request.res = True, res
        head = self._head
        if head is None and not request.flags & LINK_FLAGS:
            self.post(request, res)
            return False
        if head is not None and not head.failed:
            head.failed, head.res = True, -errno.ECANCELED
        self._chain(request)
        if request.flags & LINK_FLAGS:
            return True
        self._queue_chain()
        return False

    def _chain(self, request: Request) -> None:
        if self._head is None:
            self._head = request
        else:
            assert self._last is not None
            self._last.link = request
        self._last = request

    def _queue_chain(self) -> None:
        head, self._head, self._last = self._head, None, None
        assert head is not None
        self._queue(head)

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
            self._unfinished -= _length(request)
            self._deferred.append(request)
            self._go_on()
        else:
            self._issue(request)

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
            self._owners.add(request.caller.tid, request, self)

    def _issue(self, request: Request) -> None:
        """io_issue_sqe()"""
        try:
            outcome = self._perform(request)
        except UringError as error:
            outcome = -error.errno
        except Exception:
            log.exception("%s failed in the daemon; the request gets EIO", request.op.name)
            outcome = -errno.EIO
        if isinstance(outcome, int):
            self.post(request, outcome)
            return
        if isinstance(outcome, Issue):
            self._pend(request)
        else:
            try:
                self._hold(request)
            except UringError as error:
                self.post(request, -error.errno)
                return
            request.scope = trio.CancelScope()
            self._nursery.start_soon(self._run, request, outcome)
        self._issued.setdefault(request.sqe.user_data, {})[request] = None
        if request.link_timeout is not None:
            timeout.queue_linked_timeout(request)

    def _perform(self, request: Request) -> Outcome:
        if request.attachment is not None:
            return request.attachment.issue(request)
        return request.op.issue(request)

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
        self.task_work(partial(self.post, request, res, failed))

    def task_work(self, work: Callable[[], None]) -> None:
        if self._defers and not (self._closed or self.ring.waiters or self._going_on):
            self._task_work.append(work)
            if self.setup_flags & IORING_SETUP_TASKRUN_FLAG:
                self.ring.sq.set_flags(IORING_SQ_TASKRUN)
            if self.ring.eventfd is not None:
                self.ring.eventfd.task_work()
            return
        self._next.append(work)
        self._go_on()

    def post(self, request: Request, res: int, failed: bool | None = None) -> None:
        """The one way out: the CQE, then what was linked behind, then what was held back for it."""
        self._unfinished -= 1
        self._let_go(request)
        if request.link_timeout is not None:
            linked = timeout.disarm_linked_timeout(request)
            self._next.append(partial(self.post, linked, -errno.ECANCELED, False))
        link, request.link = request.link, None
        if failed is None:
            failed = request.failed or (res < 0 and not (request.lenient and res != -errno.ECANCELED))
        # IOSQE_CQE_SKIP_SUCCESS: a failure is shown, and then what it cancels is not (io_fail_links())
        skipping = request.flags & IOSQE_CQE_SKIP_SUCCESS
        if request.flags & IOSQE_ASYNC:
            self.ring.from_worker = True
        if not skipping or failed:
            self.post_cqe(request.sqe.user_data, res, request.cqe_flags, request.big)
        if request.held:
            request.end()  # behind its CQE: this may post the tag of what it was the last to use
        if link is not None:
            if failed and not request.flags & IOSQE_IO_HARDLINK:
                self._next.append(partial(self._fail_links, link, bool(skipping)))
            else:
                self._next.append(partial(self._issue, link))
        if self._next or self._deferred:
            self._go_on()

    def _let_go(self, request: Request) -> None:
        if request in self.pending:
            del self.pending[request]
            self._owners.remove(request.caller.tid, request)
            self._unindex(request)

    def _unindex(self, request: Request) -> None:
        same = self._issued.get(request.sqe.user_data)
        if same is not None and request in same:
            del same[request]
            if not same:
                del self._issued[request.sqe.user_data]

    def post_cqe(self, user_data: int, res: int, flags: int, big: bytes = b"") -> None:
        if self._closed:
            return
        self.ring.counters.completed += 1
        cq = self.ring.cq
        had = len(cq.backlog)
        cq.post(user_data, res, flags, big)
        self.ring.counters.overflowed += len(cq.backlog) - had

    def post_more(self, user_data: int, res: int, flags: int) -> bool:
        if self.ring.cq.full():
            return False
        self.post_cqe(user_data, res, flags | IORING_CQE_F_MORE)
        self.publish()
        return True

    def publish(self) -> None:
        if not self._closed:
            self.ring.publish()
            self.flushed = self.ring.cq.tail
            if self.timeouts.counted:
                self.timeouts.flush(self)

    def pending_requests(self) -> list[Request]:
        return list(self.pending)

    def issued(self, user_data: int | None = None) -> list[Request]:
        if user_data is not None:
            return list(self._issued.get(user_data, ()))
        return [request for same in self._issued.values() for request in same]

    def set_user_data(self, request: Request, user_data: int) -> None:
        self._unindex(request)
        request.sqe = request.sqe._replace(user_data=user_data)
        self._issued.setdefault(user_data, {})[request] = None

    def link_last(self) -> Request | None:
        return self._last if self._head is not None else None

    def registered_rings(self, tid: int) -> dict[int, RingContext]:
        return self._owners.registered_rings(tid)

    def check_registered(self, caller: Caller) -> None:
        if not self._owners.has_registered(caller.tid, self):
            raise UringError(errno.EBADF, "this thread has not registered the ring")

    def ring_of(self, file: File) -> "Worker | None":
        return self._owners.find_ring(file.inode) if file.inode else None

    def _fail_links(self, link: Request | None, ignore_cqes: bool) -> None:
        while link is not None:
            behind, link.link = link.link, None
            self._unfinished -= 1
            self._let_go(link)
            if not ignore_cqes:
                self.post_cqe(link.sqe.user_data, link.res if link.failed else -errno.ECANCELED, 0)
            if link.held:
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
        self._next.append(partial(self._issue, request))
        return True

    def cancel(self, request: Request) -> None:
        """Ask a pending request to end; it completes with ECANCELED unless it was quicker."""
        if request.scope is not None:
            request.scope.cancel()
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
        # a request linked behind another goes when that one does

    def close(self) -> None:
        """The ring is gone (io_ring_ctx_wait_and_kill()): cancel all, post nothing any more."""
        self._closed = True
        if self.poller is not None:
            self.poller.stop()
        self._deferred.clear()
        for request in tuple(self.pending):
            self._owners.remove(request.caller.tid, request)
            if request.link_timeout is not None:
                timeout.disarm_linked_timeout(request)
            request.link = None
            if request.scope is not None:
                request.scope.cancel()
            else:
                if request.disarm is not None:
                    request.disarm()
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


def _length(request: Request) -> int:
    """io_linked_nr()"""
    count, link = 1, request.link
    while link is not None:
        count, link = count + 1, link.link
    return count
