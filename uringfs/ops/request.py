"""One request: an SQE on its way to its CQE, and what a family of ops has to provide.

prep checks the SQE and copies what the kernel copies at submission (its failure ends the batch); issue
performs it. issue returns the CQE's res, or an async function that will: that one runs as a task of the
ring and may be cancelled at every await.
"""

from collections.abc import Awaitable, Callable
from typing import Any, NamedTuple

import trio

from uringfs.abi.structs import Sqe
from uringfs.host.base import Caller

Pending = Callable[[], Awaitable[int]]


class Request:
    """Prepared, issued, completed exactly once. See worker for the order of these."""

    __slots__ = (
        "attachment",
        "caller",
        "cqe_flags",
        "data",
        "failed",
        "flags",
        "link",
        "op",
        "res",
        "scope",
        "sqe",
    )

    def __init__(self, sqe: Sqe, op: "Op", caller: Caller, attachment: "Attachment | None" = None) -> None:
        self.sqe = sqe
        self.op = op
        self.caller = caller
        self.attachment = attachment
        self.flags = sqe.flags
        """IOSQE_* bits, and the worker's own above them."""
        self.data: Any = None
        """What prep keeps for issue."""
        self.failed = False
        """REQ_F_FAIL: what is linked behind must not run. A short read fails without being negative."""
        self.res = 0
        self.cqe_flags = 0
        self.link: Request | None = None
        self.scope: trio.CancelScope | None = None
        """Of the task, once there is one."""


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
    """full, partial or refused."""
    note: str = ""
    ioprio: bool = False
    """The op reads sqe->ioprio (io_issue_def.ioprio)."""
    buffer_select: bool = False
    """The op takes provided buffers (io_issue_def.buffer_select)."""
