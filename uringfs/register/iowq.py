"""io-wq's affinity and size (io_uring/io-wq.c). Accepted and answered as the kernel answers; the threads
that stand for io-wq here serve all rings, so neither moves or limits them."""

import errno
import os
import resource
from struct import Struct

from uringfs.errors import UringError
from uringfs.register.registration import RegisterCall

COUNTS = Struct("<II")  # bounded, unbounded
INT_MAX = 0x7FFFFFFF
CPUMASK_SIZE = 1024  # bytes; the kernel's own is at most that


def register_iowq_aff(call: RegisterCall) -> int:
    """io_register_iowq_aff(): a set of CPUs, nr_args bytes."""
    if not call.arg or not call.nr_args:
        raise UringError(errno.EINVAL)
    mask = int.from_bytes(call.read(min(call.nr_args, CPUMASK_SIZE)), "little")
    try:
        allowed = sum(1 << cpu for cpu in os.sched_getaffinity(call.caller.tid))
    except OSError as error:
        raise UringError.of(error) from error
    if mask & ~allowed & (1 << (os.cpu_count() or 1)) - 1:
        raise UringError(errno.EINVAL, "not the caller's CPUs")
    return 0


def unregister_iowq_aff(call: RegisterCall) -> int:
    return 0


def register_iowq_max_workers(call: RegisterCall) -> int:
    """io_register_iowq_max_workers(): the counts until now; 0 leaves one as it is."""
    if not call.arg or call.nr_args != 2:
        raise UringError(errno.EINVAL)
    asked = COUNTS.unpack(call.read(COUNTS.size))
    if max(asked) > INT_MAX:
        raise UringError(errno.EINVAL)
    limit = min(_limit_nproc(call.caller.tid), INT_MAX)
    before = call.resources.iowq_workers or (min(call.ring.ring.sq.entries, 4 * (os.cpu_count() or 1)), limit)
    bounded, unbounded = (min(new, limit) or old for new, old in zip(asked, before, strict=True))
    call.resources.iowq_workers = bounded, unbounded
    call.caller.memory.write(call.arg, COUNTS.pack(*before))
    return 0


def _limit_nproc(tid: int) -> int:
    try:
        soft = resource.prlimit(tid, resource.RLIMIT_NPROC)[0]
    except OSError as error:
        raise UringError.of(error) from error
    return INT_MAX if soft == resource.RLIM_INFINITY else soft
