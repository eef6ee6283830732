"""NOP (io_uring/nop.c)."""

import errno
from struct import Struct

from uringfs.abi.constants import (
    IORING_CQE_F_32,
    IORING_NOP_CQE32,
    IORING_NOP_FILE,
    IORING_NOP_FIXED_BUFFER,
    IORING_NOP_FIXED_FILE,
    IORING_NOP_INJECT_RESULT,
    IORING_NOP_TW,
    IORING_SETUP_CQE32,
    IORING_SETUP_CQE_MIXED,
    IOSQE_FIXED_FILE,
)
from uringfs.abi.numbers import s32
from uringfs.engine.request import Pending, Request
from uringfs.errors import UringError

# NOP_TW asks for completion by task work: whose order a client cannot tell from ours.
NOP_FLAGS = (
    IORING_NOP_INJECT_RESULT
    | IORING_NOP_FILE
    | IORING_NOP_FIXED_FILE
    | IORING_NOP_FIXED_BUFFER
    | IORING_NOP_TW
    | IORING_NOP_CQE32
)
BIG = Struct("<QQ")


def prep(request: Request) -> None:
    if request.sqe.nop_flags & ~NOP_FLAGS:
        raise UringError(errno.EINVAL, f"nop_flags {request.sqe.nop_flags:#x}")
    wide = request.context.setup_flags & (IORING_SETUP_CQE32 | IORING_SETUP_CQE_MIXED)
    if request.sqe.nop_flags & IORING_NOP_CQE32 and not wide:
        raise UringError(errno.EINVAL, "no CQE of this ring has 32 bytes")


def issue(request: Request) -> int | Pending:
    """io_nop()"""
    sqe, flags = request.sqe, request.sqe.nop_flags
    if flags & IORING_NOP_FILE:
        if flags & IORING_NOP_FIXED_FILE:
            request.flags |= IOSQE_FIXED_FILE
        request.file()
    if flags & IORING_NOP_FIXED_BUFFER:
        request.buffer()
    if flags & IORING_NOP_CQE32:
        request.big = BIG.pack(sqe.off, sqe.addr)
        if request.context.setup_flags & IORING_SETUP_CQE_MIXED:
            request.cqe_flags |= IORING_CQE_F_32
    if not flags & IORING_NOP_INJECT_RESULT:
        return 0
    result = s32(sqe.len)
    request.failed = result < 0
    return result
