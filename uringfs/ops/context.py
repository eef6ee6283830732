"""What an op sees of the ring it belongs to: registered resources, further CQEs, other requests.

The worker implements it; ops depend on this interface alone.
"""

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, NamedTuple, Protocol

from uringfs.host.base import Caller, File, Host
from uringfs.ops.resources import Resources
from uringfs.ops.turns import LastFirst, Turns
from uringfs.ring.ring import Ring

if TYPE_CHECKING:
    from uringfs.ops.deliveries import Deliveries
    from uringfs.ops.request import Request
    from uringfs.ops.timeout import Timeouts


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
        """It waits again."""


class RingContext(Protocol):
    resources: Resources
    host: Host
    setup_flags: int
    deliveries: "Deliveries"
    ring: Ring
    positions: Turns
    """Whose turn it is at the current position of a file, at a process's descriptors. One for all rings."""
    late: LastFirst
    local_work: "LocalTurns | None"
    """With IORING_SETUP_DEFER_TASKRUN."""
    disabled: bool
    closed: bool
    """The ring is gone, and what its client's memory holds is none of its business any more."""
    timeouts: "Timeouts"
    flushed: int
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
        """Those that are pending and have begun, oldest first: with this user_data, or all."""

    def set_user_data(self, request: "Request", user_data: int) -> None:
        """Of an issued request. It counts as the newest."""

    def link_last(self) -> "Request | None":
        """The last request of the chain that is being assembled."""

    @property
    def submitting(self) -> bool:
        """An enter submits now, behind which its client fetches; not a poller."""

    def ring_of(self, file: File) -> "RingContext | None":
        """The ring a file of our own mount is; None for every other file, and one that is not set up."""

    def registered_rings(self, caller: Caller) -> dict[int, RegisteredRing]:
        """What its thread has registered with IORING_REGISTER_RING_FDS, by index."""

    def check_registered(self, caller: Caller) -> None:
        """EBADF unless this ring is among them."""

    def let_go(self, request: "Request") -> None:
        """What was held back behind a request that Holds may start."""

    def cancel(self, request: "Request") -> None:
        """Ask a pending request to end; it completes with ECANCELED unless it is quicker."""
