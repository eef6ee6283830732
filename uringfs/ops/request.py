"""One request: an SQE on its way to its CQE, and what a family of ops has to provide.

prep checks the SQE and copies what the kernel copies at submission (its failure ends the batch); issue
performs it. issue returns the CQE's res, or an async function that will: that one runs as a task of the
ring and may be cancelled at every await.
"""

from collections.abc import Awaitable, Callable
from typing import Any, NamedTuple, Protocol

import trio

from uringfs.abi.constants import IORING_CQE_F_MORE, IOSQE_FIXED_FILE
from uringfs.abi.structs import Sqe
from uringfs.host.base import Caller, File
from uringfs.ops.context import RingContext

Pending = Callable[[], Awaitable[int]]


class Closable(Protocol):
    def close(self) -> None: ...


class Request:
    """Prepared, issued, completed exactly once. See worker for the order of these."""

    __slots__ = (
        "attachment",
        "big",
        "caller",
        "context",
        "cqe_flags",
        "data",
        "failed",
        "flags",
        "held",
        "link",
        "op",
        "res",
        "scope",
        "sqe",
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
        self.failed = False
        """REQ_F_FAIL: what is linked behind must not run. A short read fails without being negative."""
        self.res = 0
        self.cqe_flags = 0
        self.big = b""
        """The second half of a 32-byte CQE."""
        self.link: Request | None = None
        self.scope: trio.CancelScope | None = None
        """Of the task, once there is one."""
        self.held: list[Closable] = []
        """Closed when the request is complete."""

    def file(self) -> File:
        """io_assign_file(): the file of sqe->fd, registered or not, held until completion. EBADF."""
        if self.flags & IOSQE_FIXED_FILE:
            node = self.context.resources.file(self.sqe.fd)
            self.held.append(node)
            return node.what
        return self.hold(self.caller.file(self.sqe.fd))

    def hold(self, file: File) -> File:
        """Close this file when the request is complete."""
        self.held.append(file)
        return file

    def post_more(self, res: int, flags: int = 0) -> None:
        """io_req_post_cqe(): one of a multishot request's CQEs, published at once."""
        self.context.post_cqe(self.sqe.user_data, res, flags | IORING_CQE_F_MORE)
        self.context.publish()

    def end(self) -> None:
        for file in self.held:
            file.close()
        self.held.clear()


class Attachment:
    """What a text request carries beside its SQE. Replaces the op's issue."""

    def issue(self, request: Request) -> int | Pending:
        raise NotImplementedError


class Op(NamedTuple):
    """One row of the opcode table."""

    number: int
    name: str
    prep: Callable[[Request], None]
    issue: Callable[[Request], int | Pending]
    support: str
    """full, partial, refused (as by a kernel built without it) or none (as by a kernel before it)."""
    note: str = ""
    ioprio: bool = False
    """The op reads sqe->ioprio (io_issue_def.ioprio)."""
    buffer_select: bool = False
    """The op takes provided buffers (io_issue_def.buffer_select)."""
