"""NOP (io_uring/nop.c)."""

import errno

from uringfs.abi.constants import IORING_NOP_INJECT_RESULT, IORING_NOP_TW
from uringfs.errors import UringError
from uringfs.ops.request import Pending, Request

# NOP_TW asks for completion by task work: whose order a client cannot tell from ours.
NOP_FLAGS = IORING_NOP_INJECT_RESULT | IORING_NOP_TW


def prep(request: Request) -> None:
    if request.sqe.rw_flags & ~NOP_FLAGS:
        raise UringError(errno.EINVAL, f"nop_flags {request.sqe.rw_flags:#x}")


def issue(request: Request) -> int | Pending:
    sqe = request.sqe
    if not sqe.rw_flags & IORING_NOP_INJECT_RESULT:
        return 0
    result = sqe.len - (sqe.len >> 31 << 32)  # the u32 field as the s32 it is
    request.failed = result < 0
    return result
