"""Submission (io_uring/io_uring.c: io_submit_sqes()): SQEs are taken off the queue, checked, and made requests and
chains of requests. Nothing here waits.

What becomes of a request once it is queued is in life.
"""

import errno
from collections.abc import Sequence

from uringfs.abi.constants import (
    IORING_SETUP_IOPOLL,
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
from uringfs.engine.complete import Completion
from uringfs.engine.inline import Inline
from uringfs.engine.life import Life
from uringfs.engine.request import Attachment, Op, Request, RingContext
from uringfs.errors import UringError
from uringfs.host.protocols import Caller, File

LINK_FLAGS = IOSQE_IO_LINK | IOSQE_IO_HARDLINK
SQE_COMMON_FLAGS = IOSQE_FIXED_FILE | LINK_FLAGS | IOSQE_ASYNC
BATCH = 256
"""SQEs taken before other rings get a turn."""


class Submission:
    """The submissions of one ring, one after the other: begin(), batch() until it says that nothing is left,
    end()."""

    def __init__(self, context: RingContext, life: Life, completion: Completion, ops: Sequence[Op]) -> None:
        """ops: the row of each opcode, 256 of them."""
        self._context = context
        self._ring = context.ring
        self._life = life
        self._completion = completion
        self._ops = ops
        self._common_flags = SQE_COMMON_FLAGS & context.ring.geometry.kernel.sqe_flags
        self._setup_flags = context.setup_flags
        self._submit_all = bool(context.setup_flags & IORING_SETUP_SUBMIT_ALL)
        self.attachments: dict[int, tuple[bytes, Attachment]] = {}
        """By SQ position: what a text request carries beside its SQE, and that SQE."""
        self._inline = Inline(context, life, self.disable_drain)
        self._files: dict[int, File] = {}  # what the batch has asked for
        self._files_of = 0  # the thread whose batch it is, if it is more than one request
        self._drain_disabled = False
        self._start = self._end = 0  # SQ positions: of the first entry, and the one behind the last
        self.done = 0
        """Entries consumed by the submission that goes on, or was the last."""
        self._claimed = 0  # of these, requests of another call (docs/lane.md, "Claims")
        self._head: Request | None = None  # of the chain being assembled
        self._last: Request | None = None

    def begin(self, caller: Caller, to_submit: int) -> None:
        """A submission of the SQEs that are there, at most to_submit, behind what a client has claimed.
        Links and whatever else is task work come behind it."""
        sq, lane = self._ring.sq, self._ring.lane
        self._claimed = lane.overdue() if lane is not None else 0
        entries = min(to_submit + self._claimed, sq.available())
        if self._context.hooks:
            self._context.hooks.call("io_submit_sqes", self._context, caller)
        self._start, self.done = sq.head, 0
        self._end = (sq.head + entries) & U32
        self._files_of = caller.tid if entries > 1 else 0
        self._life.work.running = True

    def count(self) -> int:
        """What io_uring_enter(2) says of it."""
        return max(self.done - self._claimed, 0)

    def batch(self, caller: Caller) -> bool:
        """Submit some of it; False if that was the rest. What has been done stands, and can be seen."""
        sq = self._ring.sq
        inline = self._inline.is_worth_it() and not self.attachments
        last = (sq.head + min((self._end - sq.head) & U32, BATCH)) & U32
        while sq.head != last:
            if inline and self._head is None:
                inline = self._take_inline(caller, last)
                if sq.head == last:
                    break
            data = sq.get()
            if data is None:
                return False
            going_on = self._submit_sqe(caller, data)
            self.done = (sq.head - self._start) & U32
            if not (going_on or self._submit_all):
                return False
        left = sq.head != self._end
        if left:
            self._end_batch()
        return left

    def _take_inline(self, caller: Caller, last: int) -> bool:
        """Let native code take what it can; False if it is not worth to ask again in this batch."""
        # What a chain has let go comes behind the submission, and before a later chain's second request.
        whole = last == self._end and not self._life.work.queue
        if not self._inline.take(caller, last, whole=whole):
            return False
        self.done = (self._ring.sq.head - self._start) & U32
        return True

    def end(self) -> None:
        """End the submission, and do what it has let go."""
        if self._head is not None:
            chain, self._head = self._head, None
            self._life.queue(chain)
        self._end_batch()
        self._files_of = 0
        self._ring.sq.rewind()
        self._ring.counters.submitted += self.done
        work, drain = self._life.work, self._life.drain
        work.running = False
        if work.queue or drain.deferred or drain.draining:
            work.run()

    def _end_batch(self) -> None:
        self._ring.sq.commit()
        self._completion.publish()
        if self._files:
            for file in self._files.values():
                file.close()
            self._files.clear()

    def file(self, caller: Caller, fd: int) -> File:
        """The file behind a caller's descriptor, to be closed like every other. EBADF. Asked once a batch: nothing
        in it changes the caller's table, and what another of its threads does to it meanwhile may have come before
        or after."""
        if caller.tid != self._files_of:
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
            copy, attached = self.attachments.pop((self._ring.sq.head - 1) & U32, (b"", None))
            attachment = attached if copy == data else None
        if attachment is not None:
            caller = attachment.caller(caller)
        request = Request(sqe, self._ops[sqe.opcode], caller, self._context, attachment)
        self._life.drain.unfinished += 1
        try:
            self._init(request)
        except UringError as error:
            return self._fail_init(request, -error.errno)
        if self._context.hooks:
            self._context.hooks.call("io_uring_submit_req", request)
        if self._head is None and not sqe.flags & LINK_FLAGS:
            self._life.queue_alone(request)
            return True
        self._chain(request)
        if not sqe.flags & LINK_FLAGS:
            self._queue_chain()
        return True

    def _init(self, request: Request) -> None:
        """io_init_req()"""
        sqe, op = request.sqe, request.op
        if op.is_128 and not self._setup_flags & IORING_SETUP_SQE128 and not self._ring.sq.take_second(self._end):
            raise UringError(errno.EINVAL, f"{op.name} needs two entries, in one piece, of a ring with SQE_MIXED")
        if sqe.flags & ~self._common_flags:
            self._check_flags(sqe, op)
        restrictions = self._context.resources.restrictions
        if restrictions is not None and op.support != "none" and not restrictions.admits(sqe.opcode, sqe.flags):
            raise UringError(errno.EACCES, f"{op.name} is restricted")
        if sqe.ioprio and not op.ioprio:
            raise UringError(errno.EINVAL, f"{op.name} takes no ioprio")
        if self._setup_flags & IORING_SETUP_IOPOLL and not op.iopoll:
            raise UringError(errno.EINVAL, f"{op.name} cannot be polled")
        if sqe.personality:
            credentials = self._context.resources.personalities.get(sqe.personality)
            if credentials is None:
                raise UringError(errno.EINVAL, f"personality {sqe.personality} is not registered")
            request.caller = request.caller.with_credentials(credentials)
        op.prep(request)

    def _check_flags(self, sqe: Sqe, op: Op) -> None:
        if op.support == "none":
            return  # prep says so
        if sqe.flags & ~(SQE_VALID_FLAGS & self._ring.geometry.kernel.sqe_flags):
            raise UringError(errno.EINVAL, f"sqe flags {sqe.flags:#x}")
        if sqe.flags & IOSQE_BUFFER_SELECT and not op.buffer_select:
            raise UringError(errno.EOPNOTSUPP, f"{op.name} takes no provided buffers")
        if sqe.flags & IOSQE_CQE_SKIP_SUCCESS:
            self.disable_drain()
        if sqe.flags & IOSQE_IO_DRAIN:
            if self._drain_disabled:
                raise UringError(errno.EOPNOTSUPP, "a ring that has skipped CQEs cannot drain")
            if self._head is not None:
                # draining in the middle of a link drains its head (io_init_drain())
                self._head.flags |= IOSQE_IO_DRAIN

    def disable_drain(self) -> None:
        """A request with IOSQE_CQE_SKIP_SUCCESS has been submitted: there are no drains any more."""
        self._drain_disabled = True

    def _fail_init(self, request: Request, res: int) -> bool:
        """io_submit_fail_init(): within a chain go on assembling it, its head marked as failed."""
        if self._context.hooks:
            self._context.hooks.call("io_uring_req_failed", request, res)
        request.failed, request.res = True, res
        head = self._head
        if head is None and not request.flags & LINK_FLAGS:
            self._life.post(request, res)
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
        self._life.queue(head)

    def link_head(self) -> Request | None:
        """The first request of the chain that is being assembled."""
        return self._head

    def link_last(self) -> Request | None:
        """The last request of the chain that is being assembled."""
        return self._last if self._head is not None else None
