"""TIMEOUT, TIMEOUT_REMOVE, LINK_TIMEOUT (io_uring/timeout.c): what their SQEs say. Their timers are in
engine/timeouts.py."""

import errno
from functools import partial

from uringfs.abi.constants import IORING_OP_LINK_TIMEOUT, IORING_OP_TIMEOUT, IOSQE_BUFFER_SELECT, IOSQE_FIXED_FILE
from uringfs.abi.events import (
    IORING_LINK_TIMEOUT_UPDATE,
    IORING_TIMEOUT_ABS,
    IORING_TIMEOUT_CLOCK_MASK,
    IORING_TIMEOUT_ETIME_SUCCESS,
    IORING_TIMEOUT_MULTISHOT,
    IORING_TIMEOUT_UPDATE,
    IORING_TIMEOUT_UPDATE_MASK,
)
from uringfs.abi.numbers import U32
from uringfs.abi.structs import TIMESPEC
from uringfs.engine.request import IOU_ISSUE_SKIP_COMPLETE, Outcome, Request, RingContext
from uringfs.engine.timeouts import KTIME_MAX, Timeout, start, start_timer, stop
from uringfs.errors import UringError

NSEC = 1_000_000_000
TIMEOUT_FLAGS = (
    IORING_TIMEOUT_ABS | IORING_TIMEOUT_CLOCK_MASK | IORING_TIMEOUT_ETIME_SUCCESS | IORING_TIMEOUT_MULTISHOT
)


def prep(request: Request) -> None:
    """io_timeout_prep()"""
    _prep(request, linked=False)


def prep_link(request: Request) -> None:
    """io_link_timeout_prep()"""
    _prep(request, linked=True)
    last = request.context.link_last()
    if last is None or last.op.number == IORING_OP_LINK_TIMEOUT:
        raise UringError(errno.EINVAL, "a LINK_TIMEOUT needs a request to be linked to")
    last.link_timeout = request


def _prep(request: Request, *, linked: bool) -> None:
    """__io_timeout_prep()"""
    sqe, flags, off = request.sqe, request.sqe.timeout_flags, request.sqe.off & U32
    if sqe.addr3 or sqe.pad2 or sqe.buf_index or sqe.len != 1 or sqe.file_index:
        raise UringError(errno.EINVAL)
    if off and linked:
        raise UringError(errno.EINVAL, "a LINK_TIMEOUT counts no completions")
    if flags & ~TIMEOUT_FLAGS or flags & IORING_TIMEOUT_CLOCK_MASK == IORING_TIMEOUT_CLOCK_MASK:
        raise UringError(errno.EINVAL, f"timeout_flags {flags:#x}")
    if flags & IORING_TIMEOUT_MULTISHOT and flags & IORING_TIMEOUT_ABS:
        raise UringError(errno.EINVAL, "a multishot timeout is relative")
    spec = request.caller.memory.read(sqe.addr, TIMESPEC.size)
    request.data = Timeout(flags, off, _ktime(spec), spec)


def _ktime(spec: bytes) -> int:
    """timespec64_to_ktime(): ns. EINVAL when negative."""
    seconds, nanoseconds = TIMESPEC.unpack(spec)
    if seconds < 0 or nanoseconds < 0:
        raise UringError(errno.EINVAL, "a negative timeout")
    return min(int(seconds) * NSEC + int(nanoseconds), KTIME_MAX)


def issue(request: Request) -> Outcome:
    """io_timeout()"""
    timeout: Timeout = request.data
    request.disarm, request.outlives = partial(stop, request), True
    if timeout.off and not timeout.flags & IORING_TIMEOUT_MULTISHOT:
        request.context.timeouts.count(request, request.context.flushed)
    start(request, timeout.flags)
    return IOU_ISSUE_SKIP_COMPLETE


def issue_link(request: Request) -> Outcome:
    """io_no_issue(): a LINK_TIMEOUT never runs by itself."""
    raise UringError(errno.ECANCELED)


def prep_remove(request: Request) -> None:
    """io_timeout_remove_prep()"""
    sqe, flags = request.sqe, request.sqe.timeout_flags
    if request.flags & (IOSQE_FIXED_FILE | IOSQE_BUFFER_SELECT):
        raise UringError(errno.EINVAL)
    if sqe.addr3 or sqe.pad2 or sqe.buf_index or sqe.len or sqe.file_index:
        raise UringError(errno.EINVAL)
    if not flags & IORING_TIMEOUT_UPDATE_MASK:
        if flags:
            raise UringError(errno.EINVAL, "a removal takes no flags")
        return
    if flags & IORING_TIMEOUT_CLOCK_MASK or flags & ~(IORING_TIMEOUT_UPDATE_MASK | IORING_TIMEOUT_ABS):
        raise UringError(errno.EINVAL, f"timeout_flags {flags:#x}")
    request.data = _ktime(request.caller.memory.read(sqe.addr2, TIMESPEC.size))


def issue_remove(request: Request) -> Outcome:
    """io_timeout_remove()"""
    context, sqe = request.context, request.sqe
    if sqe.timeout_flags & IORING_LINK_TIMEOUT_UPDATE and sqe.timeout_flags & IORING_TIMEOUT_UPDATE:
        _update_linked(request)
        return 0
    found = extract(context, sqe.addr)
    if not sqe.timeout_flags & IORING_TIMEOUT_UPDATE:
        context.complete(found, -errno.ECANCELED)
        return 0
    found.data.off, found.data.ts = 0, request.data
    context.set_user_data(found, found.sqe.user_data)
    start(found, sqe.timeout_flags)
    return 0


def extract(context: RingContext, user_data: int) -> Request:
    """io_timeout_extract(): the first in the kernel's list, those that count before those that do not, stopped.
    ENOENT."""
    found = [request for request in context.issued(user_data) if in_list(request)]
    if not found:
        raise UringError(errno.ENOENT, f"no timeout with user_data {user_data}")
    first = min(found, key=lambda request: request.data.entry is None)
    stop(first)
    return first


def in_list(request: Request) -> bool:
    """On ctx->timeout_list: an armed TIMEOUT."""
    return request.op.number == IORING_OP_TIMEOUT and request.data.timer is not None


def _update_linked(request: Request) -> None:
    """io_linked_timeout_update()"""
    found = next(iter(request.context.timeouts.links.get(request.sqe.addr, ())), None)
    if found is None:
        raise UringError(errno.ENOENT)
    found.data.timer.cancel()
    found.data.ts = request.data
    found.data.timer = start_timer(found, request.sqe.timeout_flags, found.data.timer.fire)
