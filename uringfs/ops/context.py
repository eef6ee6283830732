"""What an op sees of the ring it belongs to: registered resources, further CQEs, other requests.

The worker implements it; ops depend on this interface alone.
"""

from collections.abc import Iterable
from typing import TYPE_CHECKING, Protocol

from uringfs.host.base import Caller, Host
from uringfs.ops.resources import Resources
from uringfs.ring.ring import Ring

if TYPE_CHECKING:
    from uringfs.ops.request import Request


class RingContext(Protocol):
    resources: Resources
    host: Host
    setup_flags: int
    ring: Ring
    disabled: bool

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

    def cancel(self, request: "Request") -> None:
        """Ask a pending request to end; it completes with ECANCELED unless it is quicker."""
