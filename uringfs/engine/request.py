"""One request: an SQE on its way to its CQE, what a family of ops has to provide, and the ring as ops see it.

prep checks the SQE and copies what the kernel copies at submission (its failure ends the batch); issue
performs it. issue returns the CQE's res, or an async function that will: that one runs as a task of the
ring and may be cancelled at every await. What needs no task of its own (a timer, a poll) sets disarm,
returns IOU_ISSUE_SKIP_COMPLETE, and calls context.complete() once.
"""

import errno
from collections.abc import Awaitable, Callable, Iterable, Sequence
from enum import Enum, auto
from typing import Any, NamedTuple, Protocol, TypeVar

import trio

from uringfs.abi.constants import IORING_OP_POLL_ADD, IOSQE_FIXED_FILE, OPCODES
from uringfs.abi.structs import Sqe
from uringfs.clientwork.delivery import RingDeliveries
from uringfs.engine.hooks import Hooks
from uringfs.engine.locks import TicketLocks
from uringfs.engine.resources import RegisteredBuffer, Resources
from uringfs.engine.waitqueue import LastFirst
from uringfs.errors import UringError
from uringfs.host.protocols import Caller, Data, File, Host
from uringfs.ring.ring import Ring


class Holds(Enum):
    """What has to wait behind a request that runs as a task, and that the kernel performs inline."""

    ALL = auto()
    SLOTS = auto()
    """The request fills a slot: it holds up all but those that do the same."""


Pending = Callable[[], Awaitable[int]]


class Issue(Enum):
    SKIP_COMPLETE = auto()


IOU_ISSUE_SKIP_COMPLETE = Issue.SKIP_COMPLETE
Outcome = int | Pending | Issue


W = TypeVar("W", bound="Closable")


class Closable(Protocol):
    def close(self) -> None: ...


class RegisteredRing(NamedTuple):
    """An entry of IORING_REGISTER_RING_FDS. It keeps the ring, though its descriptor may be closed."""

    ring: "RingContext"
    file: File | None = None
    """None: it never had one (IORING_SETUP_REGISTERED_FD_ONLY)."""

    def close(self) -> None:
        if self.file is not None:
            self.file.close()


class LocalTurns(Protocol):
    async def turn(self, request: "Request") -> None:
        """Wait until the task of this request may take data, and complete: an enter with GETEVENTS."""

    def waits(self, request: "Request") -> None:
        """The task of this request waits again."""


class RingArming(Protocol):
    """Requests that threads are about to arm (engine/arming.py)."""

    def begin(self, request: "Request") -> None: ...

    def done(self, request: "Request") -> None: ...


class RingTimeouts(Protocol):
    """The timeouts of a ring (engine/timeouts.py)."""

    @property
    def counted(self) -> Sequence[object]:
        """The requests that count completions."""

    links: "dict[int, dict[Request, None]]"
    """The armed LINK_TIMEOUTs, by user_data."""

    def count(self, request: "Request", tail: int) -> None:
        """Complete it after `off` more completions than there were at `tail`."""

    def forget(self, request: "Request") -> None:
        """Count completions for this request no more."""


class RingContext(Protocol):
    """What an op sees of the ring it belongs to: registered resources, further CQEs, other requests.
    engine/context.py implements it; ops depend on this interface alone."""

    resources: Resources
    host: Host
    hooks: Hooks
    setup_flags: int
    ring: Ring
    locks: TicketLocks
    """On a file's current position (f_pos_lock), on a process's descriptors. Of all rings."""
    late: LastFirst
    disabled: bool

    @property
    def deliveries(self) -> RingDeliveries:
        """What its callers are to do for its requests."""

    @property
    def timeouts(self) -> RingTimeouts: ...

    @property
    def beginning(self) -> "set[Request]":
        """That will wait for their files, but whose tasks have not come to it."""

    @property
    def arming(self) -> RingArming:
        """Requests that threads are about to arm."""

    @property
    def woken(self) -> "set[Request]":
        """Whose tasks have been woken by their files, and have not come to their next wait."""

    @property
    def local_work(self) -> LocalTurns | None:
        """With IORING_SETUP_DEFER_TASKRUN."""

    @property
    def closed(self) -> bool:
        """The ring is gone, and what its client's memory holds is none of its business any more."""

    def in_call(self) -> bool:
        """An enter goes on that lets its requests go on: the ring has not been closed."""

    @property
    def flushed(self) -> int:
        """cached_cq_tail as of the last flush of completions: what one batch completes comes behind it."""

    def file(self, caller: Caller, fd: int) -> File:
        """The file behind a caller's descriptor, to be closed like every other. EBADF."""

    def post_cqe(self, user_data: int, res: int, flags: int, big: bytes = b"") -> None:
        """A CQE beside the request's own (io_post_aux_cqe()), published with the batch or by publish()."""

    def enable(self, caller: Caller) -> None:
        """End IORING_SETUP_R_DISABLED. EBADFD."""

    def check_submitter(self, caller: Caller) -> None:
        """EEXIST if a single issuer is set, and it is another thread."""

    def publish(self) -> None:
        """Let the client see what was posted, and wake who waits. Needed after post_cqe() in a task."""

    def pending_requests(self) -> Iterable["Request"]:
        """Issued and not complete, or held back, oldest first."""

    def post_more(self, user_data: int, res: int, flags: int) -> bool:
        """A CQE with IORING_CQE_F_MORE, published at once; False, and nothing posted, if the CQ is full."""

    def post(self, request: "Request", res: int, failed: bool | None = None) -> None:
        """complete() at once: for use in task work."""

    def complete(self, request: "Request", res: int, failed: bool | None = None) -> None:
        """End a request that was issued with IOU_ISSUE_SKIP_COMPLETE. failed: if not as the result says."""

    def task_work(self, work: Callable[[], None]) -> None:
        """io_req_task_work_add(): now, or behind the batch that is being submitted."""

    def issued(self, user_data: int | None = None) -> list["Request"]:
        """Requests that have begun and are not complete, oldest first: with this user_data, or all."""

    def set_user_data(self, request: "Request", user_data: int) -> None:
        """Change the user_data of an issued request, which counts as the newest from then on."""

    def link_last(self) -> "Request | None":
        """The last request of the chain that is being assembled."""

    @property
    def submitting(self) -> bool:
        """An enter submits now, behind which its client fetches; not a poller."""

    def ring_at(self, inode: int) -> "RingContext | None":
        """The ring behind an inode of our own mount."""

    def ring_of(self, file: File) -> "RingContext | None":
        """The ring a file of our own mount is; None for every other file, and one that is not set up."""

    def begun(self, caller: Caller) -> bool:
        """True if the caller's thread has set up a ring, or registered one."""

    def registered_rings(self, caller: Caller) -> dict[int, RegisteredRing]:
        """What its thread has registered with IORING_REGISTER_RING_FDS, by index."""

    def check_registered(self, caller: Caller) -> None:
        """EBADF unless the caller's thread has registered this ring."""

    def link_head(self) -> "Request | None":
        """The first request of the chain that is being assembled."""

    def resume(self, request: "Request", perform: "Callable[[Request], Outcome]") -> None:
        """A request that has waited with IOU_ISSUE_SKIP_COMPLETE begins now: perform is its op's issue. As task
        work."""

    def retain(self, request: "Request") -> None:
        """Keep a request that is all but complete: complete() will be called once more. Until then no cancel
        finds it."""

    def let_go(self, request: "Request") -> None:
        """What was held back behind a request that Holds may start."""

    def cancel(self, request: "Request") -> None:
        """Ask a pending request to end; it completes with ECANCELED unless it is quicker."""


class Request:
    """Prepared, issued, completed exactly once. submit and complete have the order of these."""

    __slots__ = (
        "attachment",
        "big",
        "caller",
        "cancel_seq",
        "context",
        "cqe_flags",
        "data",
        "disarm",
        "failed",
        "flags",
        "held",
        "holds",
        "is_armed",
        "lenient",
        "link",
        "link_timeout",
        "moved",
        "op",
        "orphaned",
        "outlives",
        "res",
        "scope",
        "sqe",
        "target",
    )

    def __init__(
        self,
        sqe: Sqe,
        op: "Op",
        caller: Caller,
        context: RingContext,
        attachment: "Attachment | None" = None,
    ) -> None:
        self.sqe = sqe
        self.op = op
        self.caller = caller
        self.context = context
        self.attachment = attachment
        self.flags = sqe.flags
        """IOSQE_* bits, and the worker's own above them."""
        self.data: Any = None
        """What prep keeps for issue."""
        self.moved: Data | None = None
        """The first of what it has read or received, while somebody watches (shows())."""
        self.failed = False
        """REQ_F_FAIL: what is linked behind must not run. A short read fails without being negative."""
        self.lenient = False
        """A failure breaks no links: the kernel's handler does without req_set_fail()."""
        self.res = 0
        self.cqe_flags = 0
        self.big = b""
        """The second half of a 32-byte CQE."""
        self.link: Request | None = None
        self.scope: trio.CancelScope | None = None
        """The cancel scope of its task, once there is one."""
        self.disarm: Callable[[], bool] | None = None
        """Set on a request that waits without a task: gives up what it waits for; False if that has happened
        already."""
        self.outlives = False
        """The request needs nothing of the thread that submitted it until it is complete."""
        self.is_armed = False
        """The request waits for its file, though its task may not have begun."""
        self.orphaned = False
        """The thread that submitted it is gone."""
        self.cancel_seq = 0
        """The last ASYNC_CANCEL that has looked at it (io_cancel_match_sequence())."""
        self.link_timeout: Request | None = None
        """The LINK_TIMEOUT behind it in its chain (REQ_F_ARM_LTIMEOUT, REQ_F_LINK_TIMEOUT)."""
        self.target: File | None = None
        """The file of sqe->fd, once it has been asked for (req->file)."""
        self.holds: Holds | None = None
        """Set by issue."""
        self.held: list[Closable] = []
        """Closed when the request is complete."""

    def file(self) -> File:
        """io_assign_file(): the file of sqe->fd, registered or not, held until completion. EBADF."""
        if self.flags & IOSQE_FIXED_FILE:
            node = self.context.resources.file(self.sqe.fd)
            self.held.append(node)
            self.target = node.what
        elif self.attachment is not None:  # perhaps not of who submits the batch
            self.target = self.hold(self.attachment.file(self))
        else:
            self.target = self.hold(self.context.file(self.caller, self.sqe.fd))
        return self.target

    def buffer(self) -> RegisteredBuffer:
        """io_find_buf_node(): the registered buffer of sqe->buf_index, held until completion. EFAULT."""
        node = self.context.resources.buffer(self.sqe.buf_index)
        self.held.append(node)
        return node.what

    def hold(self, file: File) -> File:
        """Close this file when the request is complete."""
        self.held.append(file)
        return file

    def arm(self, wait: W) -> W:
        """Note that issue has armed this wait, which ends with the request if not before."""
        self.held.append(wait)
        self.is_armed = True
        return wait

    def hold_instead(self, file: File, instead_of: File) -> None:
        """Hold this handle on the open file in place of another, which is closed already."""
        self.held[self.held.index(instead_of)] = file
        self.target = file

    async def settle(self, taken: bool = False) -> None:
        """To be awaited after every wait of a task, before it touches the caller's memory or files: ECANCELED
        if the ring has been closed, Cancelled if the request has been cancelled, unless data is taken
        already."""
        if self.context.local_work is not None and not taken:
            await self.context.local_work.turn(self)
        await self.context.host.settled(unless=self.context.in_call, first=taken)
        if self.context.closed:
            raise UringError(errno.ECANCELED)
        if not taken:
            await trio.lowlevel.checkpoint_if_cancelled()

    @property
    def fills_slot(self) -> bool:
        """io_alloc_file_tables(): a new direct descriptor is all that comes of it."""
        return bool(self.sqe.file_index) and self.op.fills_slot

    def taken_effect(self) -> None:
        """Let go on what waits for this request's effect, though it is not complete."""
        self.context.let_go(self)

    def waits_again(self) -> None:
        """Note that the task waits: it calls settle() before it does anything further."""
        self._is_going()
        if self.context.local_work is not None:
            self.context.local_work.waits(self)

    def _is_going(self) -> None:
        """Note that no enter need wait for the request's task to go on."""
        self.context.beginning.discard(self)
        self.context.woken.discard(self)

    def shows(self, data: Data) -> None:
        """Tell who watches that data is stored in the caller's memory. Faults may alter it on its way there."""
        hooks = self.context.hooks
        if hooks and hooks.breaker is None and self.moved is None:
            self.moved = data

    def arms_poll(self, events: int) -> None:
        """Tell who watches that the request waits for these EPOLL* events now."""
        if self.context.hooks:
            self.context.hooks.call("io_uring_poll_arm", self, events)

    def polls(self) -> bool:
        """True if the request waits for readiness: POLL_ADD, or one armed with a poll (io_arm_poll_handler())."""
        polled = any(getattr(held, "streaming", False) for held in self.held)
        return polled or self.sqe.opcode == IORING_OP_POLL_ADD

    def post_more(self, res: int, flags: int = 0) -> bool:
        """io_req_post_cqe(): one of a multishot request's CQEs, published at once. False: the CQ is full,
        nothing was posted, and the request has to end with this result."""
        hooks = self.context.hooks
        if hooks and hooks.breaker is not None and not hooks.breaker.more(self):
            return False
        if self.context.hooks:
            self.context.hooks.call("io_req_post_cqe", self, res, flags)
        posted = self.context.post_more(self.sqe.user_data, res, flags)
        self.moved = None
        return posted

    def failure(self, error: UringError) -> int:
        """The res of one that has waited and fails. A caller that has exited has no memory any more, but what
        pends in its name was cancelled before it lost that (io_uring_files_cancel() comes before exit_mm())."""
        if error.errno == errno.EFAULT and self.caller.memory.gone():
            return -errno.ECANCELED
        return -error.errno

    def end(self) -> None:
        """Let go of all it has: what it keeps may refer to it, and must not wait for a collector of cycles."""
        if self.held:
            for held in reversed(self.held):  # a wait before its file
                held.close()
            self.held.clear()
        if self.context.beginning or self.context.woken:
            self._is_going()
        self.data = self.disarm = self.moved = None


class Attachment:
    """What a text request carries beside its SQE. Replaces the op's issue."""

    def caller(self, submitter: Caller) -> Caller:
        """In whose name the request acts."""
        return submitter

    def file(self, request: Request) -> File:
        """The file of sqe->fd, with one more user. EBADF."""
        return request.caller.file(request.sqe.fd)

    def issue(self, request: Request) -> Outcome:
        raise NotImplementedError


class Op(NamedTuple):
    """One row of the opcode table (io_issue_def and io_cold_def of io_uring/opdef.c)."""

    number: int
    """IORING_OP_*"""
    prep: Callable[[Request], None]
    issue: Callable[[Request], Outcome]
    support: str
    """full, partial, refused (as by a kernel built without it) or none (as by a kernel before it)."""
    note: str = ""
    ioprio: bool = False
    """The op reads sqe->ioprio (io_issue_def.ioprio)."""
    iopoll: bool = False
    """A ring with IORING_SETUP_IOPOLL takes it (io_issue_def.iopoll)."""
    is_128: bool = False
    """The opcode takes an SQE of 128 bytes (io_issue_def.is_128)."""
    buffer_select: bool = False
    """The op takes provided buffers (io_issue_def.buffer_select)."""
    force_async: bool = False
    """The kernel's prep always gives it to a worker (REQ_F_FORCE_ASYNC); ours is a task."""
    inline: bool = False
    """The kernel's issue of it is one call that never waits, though ours is a task."""
    lane: bool = False
    """True if a client may perform such a request itself (docs/lane.md)."""
    fills_slot: bool = False
    """With sqe->file_index it makes a direct descriptor, and that is all that comes of it."""

    @property
    def name(self) -> str:
        """Without IORING_OP_; UNKNOWN for an opcode that is not in the table."""
        return OPCODES[self.number] if self.number >= 0 else "UNKNOWN"
