"""IORING_REGISTER_SEND_MSG_RING (io_uring/register.c): a message to a ring from who has none. The kernel
takes -1 for the ring's descriptor; a control write goes to any ring file of the mount."""

import errno
from collections.abc import Callable

from uringfs.abi.constants import IORING_OP_MSG_RING
from uringfs.abi.events import IORING_MSG_DATA, IORING_MSG_RING_CQE_SKIP, IORING_MSG_RING_FLAGS_PASS
from uringfs.abi.numbers import U32
from uringfs.abi.structs import SQE, Sqe
from uringfs.engine.request import RingContext
from uringfs.errors import UringError
from uringfs.host.protocols import Caller, File
from uringfs.ops.events.msg_ring import RingMsg, send_data
from uringfs.register.registration import RegisterCall


def send_msg_ring(call: RegisterCall) -> int:
    """io_uring_register_send_msg_ring()"""
    return sync_msg_ring(call.caller, call.arg, call.nr_args, call.ring.ring_of)


def sync_msg_ring(caller: Caller, arg: int, nr_args: int, ring_of: Callable[[File], RingContext | None]) -> int:
    """io_uring_sync_msg_ring(), of no ring"""
    if not arg or nr_args != 1:
        raise UringError(errno.EINVAL, "one SQE")
    sqe = Sqe._make(SQE.unpack(caller.memory.read(arg, SQE.size)))
    if sqe.flags or sqe.opcode != IORING_OP_MSG_RING:
        raise UringError(errno.EINVAL)
    if sqe.buf_index or sqe.personality:
        raise UringError(errno.EINVAL)
    if sqe.msg_ring_flags & ~(IORING_MSG_RING_CQE_SKIP | IORING_MSG_RING_FLAGS_PASS):
        raise UringError(errno.EINVAL)
    if sqe.addr & U32 != IORING_MSG_DATA:
        raise UringError(errno.EINVAL, "only data")
    file = caller.file(sqe.fd)
    try:
        target = ring_of(file)
    finally:
        file.close()
    if target is None:
        raise UringError(errno.EBADFD, "not a ring of this mount")
    message = RingMsg(IORING_MSG_DATA, sqe.off, sqe.len, sqe.addr3 & U32, sqe.file_index, sqe.msg_ring_flags)
    return send_data(message, target)
