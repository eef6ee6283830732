"""io_uring's structs as precompiled struct.Struct, little-endian, with named tuples of their fields.

Sizes and offsets are the kernel's (include/uapi/linux/io_uring.h), tested against the C compiler's.
"""

from struct import Struct
from typing import NamedTuple


class Sqe(NamedTuple):
    """struct io_uring_sqe, 64 bytes. Unions carry the name of their first use (off = addr2, len = nr ...)."""

    opcode: int = 0
    flags: int = 0
    ioprio: int = 0
    fd: int = 0
    off: int = 0
    addr: int = 0
    len: int = 0
    rw_flags: int = 0
    user_data: int = 0
    buf_index: int = 0
    personality: int = 0
    file_index: int = 0
    addr3: int = 0
    pad2: int = 0


SQE = Struct("<BBHiQQIIQHHIQQ")


class Cqe(NamedTuple):
    """struct io_uring_cqe, 16 bytes."""

    user_data: int
    res: int
    flags: int


CQE = Struct("<QiI")


class Params(NamedTuple):
    """struct io_uring_params without the offsets: what a caller fills in. resv are the last words before them."""

    sq_entries: int = 0
    cq_entries: int = 0
    flags: int = 0
    sq_thread_cpu: int = 0
    sq_thread_idle: int = 0
    features: int = 0
    wq_fd: int = 0
    resv0: int = 0
    resv1: int = 0
    resv2: int = 0
    sq_user_addr: int = 0
    """sq_off.user_addr: where the SQEs lie, with IORING_SETUP_NO_MMAP"""
    cq_user_addr: int = 0
    """cq_off.user_addr: where the rings lie"""


PARAMS = Struct("<10I32xQ32xQ")
OFFSETS = Struct("<8IQ")  # struct io_sqring_offsets and io_cqring_offsets, 40 bytes each
PARAMS_SIZE = PARAMS.size
SQ_OFF = 40
CQ_OFF = SQ_OFF + OFFSETS.size

IOVEC = Struct("<QQ")
TIMESPEC = Struct("<qq")  # struct __kernel_timespec: seconds, nanoseconds
GETEVENTS_ARG = Struct("<QIIQ")  # struct io_uring_getevents_arg: sigmask, sigmask_sz, min_wait_usec, ts
KERNEL_SIGSET_SIZE = 8

# struct io_rings (include/linux/io_uring_types.h): where the words stand, bytes from the ring's start
SQ_HEAD = 0
SQ_TAIL = 4
CQ_HEAD = 8
CQ_TAIL = 12
SQ_RING_MASK = 16
CQ_RING_MASK = 20
SQ_RING_ENTRIES = 24
CQ_RING_ENTRIES = 28
SQ_DROPPED = 32
SQ_FLAGS = 36
CQ_FLAGS = 40
CQ_OVERFLOW = 44
CQES = 64
SMP_CACHE_BYTES = 64
