"""ASYNC_CANCEL (io_uring/cancel.c): what its SQE says. The search is in engine/cancel.py."""

import errno

from uringfs.abi.constants import IOSQE_BUFFER_SELECT, IOSQE_FIXED_FILE
from uringfs.abi.events import (
    IORING_ASYNC_CANCEL_ALL,
    IORING_ASYNC_CANCEL_ANY,
    IORING_ASYNC_CANCEL_FD,
    IORING_ASYNC_CANCEL_FD_FIXED,
    IORING_ASYNC_CANCEL_OP,
    IORING_ASYNC_CANCEL_USERDATA,
)
from uringfs.engine.cancel import Criteria, cancel_one, try_cancel
from uringfs.engine.request import Outcome, Request
from uringfs.errors import UringError

CANCEL_FLAGS = (
    IORING_ASYNC_CANCEL_ALL
    | IORING_ASYNC_CANCEL_FD
    | IORING_ASYNC_CANCEL_ANY
    | IORING_ASYNC_CANCEL_FD_FIXED
    | IORING_ASYNC_CANCEL_USERDATA
    | IORING_ASYNC_CANCEL_OP
)


def prep(request: Request) -> None:
    """io_async_cancel_prep()"""
    sqe, flags = request.sqe, request.sqe.cancel_flags
    if request.flags & IOSQE_BUFFER_SELECT or sqe.off or sqe.file_index:
        raise UringError(errno.EINVAL)
    if flags & ~CANCEL_FLAGS:
        raise UringError(errno.EINVAL, f"cancel_flags {flags:#x}")
    if flags & IORING_ASYNC_CANCEL_ANY and flags & (IORING_ASYNC_CANCEL_FD | IORING_ASYNC_CANCEL_OP):
        raise UringError(errno.EINVAL)


def issue(request: Request) -> Outcome:
    """io_async_cancel()"""
    wanted = criteria(request)
    if wanted.all:
        return try_cancel(request.context, wanted)
    return cancel_one(request.context, wanted)


def criteria(request: Request) -> Criteria:
    """What it is to cancel. EBADF."""
    sqe, flags = request.sqe, request.sqe.cancel_flags
    file = None
    if flags & IORING_ASYNC_CANCEL_FD:
        if flags & IORING_ASYNC_CANCEL_FD_FIXED:
            request.flags |= IOSQE_FIXED_FILE
        file = request.file()
    return Criteria(sqe.addr, flags, file, sqe.len & 0xFF)
