"""Queue processing: what io_uring_enter(2) does with a ring (io_uring/io_uring.c).

One active processor a ring, first come first served. Submission is serial and, as long as nothing has
to wait, synchronous. What becomes of a request once it is queued is in complete.
"""

import errno
import logging
from collections.abc import Callable, Hashable
from functools import partial
from typing import NamedTuple

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
    IORING_SETUP_SQE128,
    IORING_SETUP_SUBMIT_ALL,
    IOSQE_ASYNC,
    IOSQE_BUFFER_SELECT,
    IOSQE_CQE_SKIP_SUCCESS,
    IOSQE_FIXED_FILE,
    IOSQE_IO_DRAIN,
    IOSQE_IO_HARDLINK,
    IOSQE_IO_LINK,
    SQE_VALID_FLAGS,
)
from uringfs.abi.numbers import U32
from uringfs.abi.structs import SQE, Sqe
from uringfs.engine.complete import RequestLife
from uringfs.engine.request import Attachment, Op, Request
from uringfs.engine.sqpoll import SqPoller
from uringfs.engine.tctx import Owners
from uringfs.engine.wait import CqWait
from uringfs.errors import UringError
from uringfs.host.protocols import Caller, Channel, File, Program
from uringfs.ring import support
from uringfs.ring.ring import Ring

log = logging.getLogger(__name__)

SUPPORTED_ENTER_FLAGS = support.mask(support.ENTER_FLAGS)
LINK_FLAGS = IOSQE_IO_LINK | IOSQE_IO_HARDLINK
SQE_COMMON_FLAGS = IOSQE_FIXED_FILE | LINK_FLAGS | IOSQE_ASYNC
BATCH = 256
"""SQEs taken before other rings get a turn."""


class Entered(NamedTuple):
    """What an enter came to: the return value, and the wait still to be done, if any."""

    result: int
    wait: CqWait | None = None


class Worker(RequestLife):
    """The processor of one ring."""

    def __init__(
        self,
        ring: Ring,
        nursery: trio.Nursery,
        owners: Owners,
        lookup: Callable[[int], Op],
        issuer: Program | None = None,
    ) -> None:
        """lookup: the row of an opcode; total. issuer: of the thread that sets the ring up."""
        super().__init__(ring, nursery, owners)
        self._lookup = lookup
        self.attachments: dict[int, tuple[bytes, Attachment]] = {}
        """By SQ position: what a text request carries beside its SQE, and that SQE."""
        self.disabled = bool(self.setup_flags & IORING_SETUP_R_DISABLED)
        single = self.setup_flags & IORING_SETUP_SINGLE_ISSUER and not self.disabled
        self.submitter = issuer if single else None
        """Of the one thread that may submit; None: any may."""
        self.poller: SqPoller | None = None
        self._turns = ParkingLot()  # those who wait for it
        self._batch_of = 0  # the thread whose batch is being submitted, if it is more than one request
        self._files: dict[int, File] = {}  # what that batch has asked for
        self._drain_disabled = False
        self._end = 0  # of the submission that is going on: the SQ position behind its last entry
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
        asked = to_submit
        if self.hooks and self.hooks.breaker is not None:
            to_submit = self.hooks.breaker.enter(self.ring, caller, to_submit)
        self.ring.counters.enters += 1
        submitted = 0
        if self.poller is not None:
            submitted = await self._offloaded(self.poller, to_submit, flags)
        elif to_submit:
            self.check_submitter(caller)
            self.host.poller.dispatch()  # what has happened comes before what is submitted now
            submitted = await self.submit(caller, to_submit)
        if submitted != asked or not flags & IORING_ENTER_GETEVENTS:
            return Entered(submitted)
        try:
            self.host.poller.dispatch()  # what is ready already needs no wait
            if self.local_work is not None:
                self.check_submitter(caller)
                await self.local_work.run(min_complete)
            if self.setup_flags & IORING_SETUP_IOPOLL and not self.poller and not self.pending:
                self.ring.flush()
                return Entered(submitted)  # io_iopoll_check(): with nothing to poll there is no waiting
            wait = CqWait.start(self.ring, caller, min_complete, flags, arg, argsz)
        except UringError:
            if submitted:
                return Entered(submitted)
            raise
        if wait is not None and self.hooks:
            self.hooks.call("io_uring_cqring_wait", self.ring, min_complete)
        if wait is not None and self.local_work is not None:
            wait.begin, wait.end = partial(self.local_work.begin, wait), self.local_work.end
        return Entered(submitted, wait)

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
        self.poller = SqPoller(self, idle_ms)
        self._nursery.start_soon(self.poller.run, lasting, lasting.program.ended)

    async def _offloaded(self, poller: SqPoller, to_submit: int, flags: int) -> int:
        """What an enter does on a polled ring."""
        if poller.dead:
            raise UringError(errno.EOWNERDEAD, "the thread that set the ring up is gone")
        if flags & IORING_ENTER_SQ_WAKEUP:
            poller.wake()
        if flags & IORING_ENTER_SQ_WAIT:
            await poller.wait_sq()
        return to_submit

    @property
    def submitting(self) -> bool:
        return self._busy and self.poller is None

    def serve_agent(self, process: Hashable, channel: Channel) -> None:
        """URINGFS_CMD_AGENT"""
        self._nursery.start_soon(self.deliveries.serve(process, channel))

    async def submit(self, caller: Caller, to_submit: int) -> int:
        """Take SQEs in a caller's name, when it is its turn: how many were there."""
        if self._busy:
            await self._turns.park()  # whose turn it is next is not for those who come in between
        self._busy = True
        try:
            self.start_unsettled()
            return await self._submit_sqes(caller, to_submit)
        finally:
            if self._turns:
                self._turns.unpark()
            else:
                self._busy = False

    async def _submit_sqes(self, caller: Caller, to_submit: int) -> int:
        """io_submit_sqes(): the number of SQEs consumed."""
        ring, sq = self.ring, self.ring.sq
        submit_all = ring.geometry.flags & IORING_SETUP_SUBMIT_ALL
        entries = min(to_submit, sq.available())
        if self.hooks:
            self.hooks.call("io_submit_sqes", self, caller)
        start, done, seen = sq.head, 0, 0
        self._end = (start + entries) & U32
        self._batch_of = caller.tid if entries > 1 else 0
        self._going_on = True  # links and whatever else is task work come behind the batch
        try:
            while sq.head != self._end:
                data = sq.get()
                if data is None:
                    break
                going = self._submit_sqe(caller, data) or submit_all
                done = (sq.head - start) & U32
                if not going:
                    break
                seen += 1
                if seen % BATCH == 0 and sq.head != self._end:
                    # What has been done stands, whatever becomes of this task: no cancellation here.
                    self._end_batch()
                    await trio.lowlevel.cancel_shielded_checkpoint()
        finally:
            if self._head is not None:
                chain, self._head = self._head, None
                self._queue(chain)
            self._end_batch()
            self._batch_of = 0
            sq.rewind()
            ring.counters.submitted += done
            self._going_on = False
            self._go_on()
        return done

    def _end_batch(self) -> None:
        self.ring.sq.commit()
        self.publish()
        for file in self._files.values():
            file.close()
        self._files.clear()

    def file(self, caller: Caller, fd: int) -> File:
        """Asked once a batch: nothing in it changes the caller's table, and what another of its threads does
        to it meanwhile may have come before or after."""
        if caller.tid != self._batch_of:
            return caller.file(fd)
        file = self._files.get(fd)
        if file is None:
            file = self._files[fd] = caller.file(fd)
        file.hold()
        return file

    def _submit_sqe(self, caller: Caller, data: bytes) -> bool:
        """io_submit_sqe(): False if the request failed before it began, which ends the batch."""
        sqe = tuple.__new__(Sqe, SQE.unpack_from(data))  # _make(), without its check of the length
        attachment = None
        if self.attachments:
            copy, attached = self.attachments.pop((self.ring.sq.head - 1) & U32, (b"", None))
            attachment = attached if copy == data else None
        if attachment is not None:
            caller = attachment.caller(caller)
        request = Request(sqe, self._lookup(sqe.opcode), caller, self, attachment)
        self._unfinished += 1
        try:
            self._init(request)
        except UringError as error:
            return self._fail_init(request, -error.errno)
        if self.hooks:
            self.hooks.call("io_uring_submit_req", request)
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
        if op.is_128 and not self.setup_flags & IORING_SETUP_SQE128 and not self.ring.sq.take_second(self._end):
            raise UringError(errno.EINVAL, f"{op.name} needs two entries, in one piece, of a ring with SQE_MIXED")
        if sqe.flags & ~SQE_COMMON_FLAGS:
            self._check_flags(sqe, op)
        restrictions = self.resources.restrictions
        if restrictions is not None and op.support != "none" and not restrictions.admits(sqe.opcode, sqe.flags):
            raise UringError(errno.EACCES, f"{op.name} is restricted")
        if sqe.ioprio and not op.ioprio:
            raise UringError(errno.EINVAL, f"{op.name} takes no ioprio")
        if self.setup_flags & IORING_SETUP_IOPOLL and not op.iopoll:
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
        if self.hooks:
            self.hooks.call("io_uring_req_failed", request, res)
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

    def link_last(self) -> Request | None:
        return self._last if self._head is not None else None

    def link_head(self) -> Request | None:
        return self._head

    def check_registered(self, caller: Caller) -> None:
        if not self._owners.has_registered(caller.program, self):
            raise UringError(errno.EBADF, "this thread has not registered the ring")

    def close(self) -> None:
        if self.poller is not None:
            self.poller.stop()
        self.deliveries.close()
        if self.hooks:
            self.hooks.call("io_ring_ctx_free", self)
        super().close()
