"""MSG_RING (io_uring/msg_ring.c): a CQE, or a registered file, for another ring of the mount."""

import errno
from functools import partial
from typing import NamedTuple

from uringfs.abi.constants import IORING_SETUP_DEFER_TASKRUN
from uringfs.abi.events import (
    IORING_MSG_DATA,
    IORING_MSG_RING_CQE_SKIP,
    IORING_MSG_RING_FLAGS_PASS,
    IORING_MSG_SEND_FD,
)
from uringfs.abi.numbers import U32, s32
from uringfs.engine.request import Outcome, Request, RingContext
from uringfs.errors import UringError
from uringfs.ops.files.newfile import install_file


class RingMsg(NamedTuple):
    """struct io_msg"""

    command: int
    user_data: int
    length: int
    source: int
    destination: int
    flags: int


def prep(request: Request) -> None:
    """io_msg_ring_prep()"""
    sqe, flags = request.sqe, request.sqe.msg_ring_flags
    if sqe.buf_index or sqe.personality:
        raise UringError(errno.EINVAL)
    if flags & ~(IORING_MSG_RING_CQE_SKIP | IORING_MSG_RING_FLAGS_PASS):
        raise UringError(errno.EINVAL, f"msg_ring_flags {flags:#x}")
    request.data = RingMsg(sqe.addr & U32, sqe.off, sqe.len, sqe.addr3 & U32, sqe.file_index, flags)


def issue(request: Request) -> Outcome:
    """io_msg_ring()"""
    file = request.file()
    target = request.context.ring_of(file)
    if target is None:
        raise UringError(errno.EBADFD, "not a ring of this mount")
    if request.data.command == IORING_MSG_DATA:
        return send_data(request.data, target)
    if request.data.command == IORING_MSG_SEND_FD:
        return _send_fd(request, target)
    raise UringError(errno.EINVAL, f"command {request.data.command}")


def send_data(message: RingMsg, target: RingContext) -> int:
    """io_msg_ring_data(), also of IORING_REGISTER_SEND_MSG_RING."""
    passes = message.flags & IORING_MSG_RING_FLAGS_PASS
    if message.source or message.flags & ~IORING_MSG_RING_FLAGS_PASS:
        raise UringError(errno.EINVAL)
    if not passes and message.destination:
        raise UringError(errno.EINVAL, "file_index without IORING_MSG_RING_FLAGS_PASS")
    if target.disabled:
        raise UringError(errno.EBADFD, "the target is disabled")
    _post(target, message.user_data, message.length, message.destination if passes else 0)
    return 0


def _post(target: RingContext, user_data: int, res: int, flags: int) -> None:
    """io_post_aux_cqe(), or io_msg_data_remote() where only the owner's task posts."""
    res = s32(res)
    if target.setup_flags & IORING_SETUP_DEFER_TASKRUN:
        target.task_work(partial(target.post_cqe, user_data, res, flags))
    else:
        target.post_cqe(user_data, res, flags)
        target.publish()


def _send_fd(request: Request, target: RingContext) -> int:
    """io_msg_send_fd(), io_msg_install_complete()"""
    message: RingMsg = request.data
    if message.length:
        raise UringError(errno.EINVAL)
    if target is request.context:
        raise UringError(errno.EINVAL, "a ring has its own files")
    if target.disabled:
        raise UringError(errno.EBADFD, "the target is disabled")
    node = request.context.resources.file(message.source)
    try:
        file = node.what
        file.hold()
        try:
            result = install_file(target, file, message.destination)
        except UringError:
            file.close()
            raise
    finally:
        node.close()
    if not message.flags & IORING_MSG_RING_CQE_SKIP:
        _post(target, message.user_data, result, 0)
    return result
