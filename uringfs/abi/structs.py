"""io_uring's structs as precompiled struct.Struct, little-endian, with named tuples of their fields.

Sizes and offsets are the kernel's (include/uapi/linux/io_uring.h), tested against the C compiler's.
"""

from struct import Struct
from typing import NamedTuple

from uringfs.abi.numbers import s32, u32


class _Sqe(NamedTuple):
    """The fields. Unions carry the name of their first member."""

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


class Sqe(_Sqe):
    """struct io_uring_sqe, 64 bytes. Each member of a union has its name of the header, and costs what the first
    of the union costs. Only those of another width or sign are computed."""

    __slots__ = ()

    addr2 = _Sqe.off

    splice_off_in = _Sqe.addr

    fsync_flags = _Sqe.rw_flags
    poll32_events = _Sqe.rw_flags
    sync_range_flags = _Sqe.rw_flags
    msg_flags = _Sqe.rw_flags
    timeout_flags = _Sqe.rw_flags
    accept_flags = _Sqe.rw_flags
    cancel_flags = _Sqe.rw_flags
    open_flags = _Sqe.rw_flags
    statx_flags = _Sqe.rw_flags
    fadvise_advice = _Sqe.rw_flags
    splice_flags = _Sqe.rw_flags
    rename_flags = _Sqe.rw_flags
    unlink_flags = _Sqe.rw_flags
    hardlink_flags = _Sqe.rw_flags
    xattr_flags = _Sqe.rw_flags
    msg_ring_flags = _Sqe.rw_flags
    uring_cmd_flags = _Sqe.rw_flags
    waitid_flags = _Sqe.rw_flags
    futex_flags = _Sqe.rw_flags
    install_fd_flags = _Sqe.rw_flags
    nop_flags = _Sqe.rw_flags
    pipe_flags = _Sqe.rw_flags

    buf_group = _Sqe.buf_index

    optlen = _Sqe.file_index

    attr_ptr = _Sqe.addr3
    optval = _Sqe.addr3

    attr_type_mask = _Sqe.pad2

    @property
    def cmd_op(self) -> int:
        return u32(self.off)

    @property
    def pad1(self) -> int:
        return self.off >> 32

    @property
    def level(self) -> int:
        return u32(self.addr)

    @property
    def optname(self) -> int:
        return self.addr >> 32

    @property
    def splice_fd_in(self) -> int:
        return s32(self.file_index)

    @property
    def addr_len(self) -> int:
        return self.file_index & 0xFFFF

    @property
    def pad3(self) -> int:
        return self.file_index >> 16


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
