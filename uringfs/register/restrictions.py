"""Restrictions of a ring that starts disabled (io_uring/register.c: io_register_restrictions())."""

import errno
from struct import Struct

from uringfs.abi.constants import IORING_OP_LAST
from uringfs.engine.resources import Restrictions
from uringfs.errors import UringError
from uringfs.register.registration import RegisterCall

RESTRICTION = Struct("<HB13x")  # struct io_uring_restriction: opcode, register_op or sqe_op or sqe_flags
IORING_RESTRICTION_REGISTER_OP = 0
IORING_RESTRICTION_SQE_OP = 1
IORING_RESTRICTION_SQE_FLAGS_ALLOWED = 2
IORING_RESTRICTION_SQE_FLAGS_REQUIRED = 3
IORING_RESTRICTION_LAST = 4


def register_restrictions(call: RegisterCall, register_last: int) -> int:
    """EBADFD once the ring is enabled; EBUSY the second time. register_last: IORING_REGISTER_LAST."""
    if not call.ring.disabled:
        raise UringError(errno.EBADFD, "restrictions are for a ring that is disabled")
    if call.resources.restrictions is not None:
        raise UringError(errno.EBUSY, "restrictions are registered")
    if not call.arg or call.nr_args > IORING_RESTRICTION_LAST + register_last + IORING_OP_LAST:
        raise UringError(errno.EINVAL)
    found = Restrictions()
    for opcode, value in RESTRICTION.iter_unpack(call.read(call.nr_args * RESTRICTION.size)):
        if opcode == IORING_RESTRICTION_REGISTER_OP and value < register_last:
            found.register_ops.add(value)
        elif opcode == IORING_RESTRICTION_SQE_OP and value < IORING_OP_LAST:
            found.sqe_ops.add(value)
        elif opcode == IORING_RESTRICTION_SQE_FLAGS_ALLOWED:
            found.flags_allowed = value
        elif opcode == IORING_RESTRICTION_SQE_FLAGS_REQUIRED:
            found.flags_required = value
        else:
            raise UringError(errno.EINVAL, f"restriction {opcode} of {value}")
    call.resources.restrictions = found
    return 0
