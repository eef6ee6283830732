"""IORING_REGISTER_PROBE (io_uring/register.c: io_probe()): made from the opcode table."""

import errno
from struct import Struct

from uringfs.errors import UringError
from uringfs.ops.table import TABLE, ops_of
from uringfs.register.registration import RegisterCall
from uringfs.ring.support import SUPPORTED

PROBE = Struct("<BBH12x")  # struct io_uring_probe before ops: last_op, ops_len, resv, resv2[3]
PROBE_OP = Struct("<BBHI")  # struct io_uring_probe_op: op, resv, flags, resv2
IO_URING_OP_SUPPORTED = 1
MAX_OPS = 256


def probe(call: RegisterCall) -> int:
    """EINVAL, EFAULT; the caller's buffer must hold zeros."""
    if not call.arg or call.nr_args > MAX_OPS:
        raise UringError(errno.EINVAL)
    size = PROBE.size + call.nr_args * PROBE_OP.size
    if any(call.read(size)):
        raise UringError(errno.EINVAL, "the probe's buffer must be zeroed")
    ops = ops_of(call.ring.ring.geometry.kernel)[: len(TABLE)]
    last = max(op.number for op in ops if op.support in SUPPORTED)
    count = min(call.nr_args, last + 1)
    rows = b"".join(
        PROBE_OP.pack(number, 0, IO_URING_OP_SUPPORTED if op.support in SUPPORTED else 0, 0)
        for number, op in enumerate(ops[:count])
    )
    call.caller.memory.write(call.arg, (PROBE.pack(last, count, 0) + rows).ljust(size, b"\0"))
    return 0
