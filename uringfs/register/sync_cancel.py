"""IORING_REGISTER_SYNC_CANCEL (io_uring/cancel.c: io_sync_cancel())."""

import errno
from struct import Struct

from uringfs.abi.events import IORING_ASYNC_CANCEL_FD, IORING_ASYNC_CANCEL_FD_FIXED
from uringfs.engine.cancel import Criteria, cancel_one, try_cancel
from uringfs.engine.request import Closable
from uringfs.errors import UringError
from uringfs.host.protocols import File
from uringfs.ops.events.cancel import CANCEL_FLAGS
from uringfs.register.registration import RegisterCall

# struct io_uring_sync_cancel_reg: addr, fd, flags, timeout, opcode, pad[7], pad2[3]
SYNC_CANCEL = Struct("<QiIqqB31s")


def sync_cancel(call: RegisterCall) -> int:
    """What is found here is cancelled at once, so the timeout has nothing to limit."""
    call.need_one()
    addr, fd, flags, _, _, opcode, pad = SYNC_CANCEL.unpack(call.read(SYNC_CANCEL.size))
    if flags & ~CANCEL_FLAGS or any(pad):
        raise UringError(errno.EINVAL)
    file: File | None = None
    held: Closable | None = None
    try:
        if flags & IORING_ASYNC_CANCEL_FD:
            if flags & IORING_ASYNC_CANCEL_FD_FIXED:
                held = call.resources.file(fd)
                file = held.what
            else:
                held = file = call.caller.file(fd)
        criteria = Criteria(addr, flags, file, opcode)
        found = try_cancel(call.ring, criteria) if criteria.all else cancel_one(call.ring, criteria)
    finally:
        if held is not None:
            held.close()
    call.ring.publish()
    if found < 0:
        raise UringError(errno.ENOENT, "nothing to cancel")
    return found
