"""Entries and flags in, sizes and offsets out: io_uring_setup(2)'s arithmetic, with its errors."""

import errno
from dataclasses import dataclass

from uringfs.abi.constants import (
    IORING_MAX_CQ_ENTRIES,
    IORING_MAX_ENTRIES,
    IORING_OFF_CQ_RING,
    IORING_OFF_SQ_RING,
    IORING_OFF_SQES,
    IORING_SETUP_CLAMP,
    IORING_SETUP_COOP_TASKRUN,
    IORING_SETUP_CQE32,
    IORING_SETUP_CQE_MIXED,
    IORING_SETUP_CQSIZE,
    IORING_SETUP_DEFER_TASKRUN,
    IORING_SETUP_HYBRID_IOPOLL,
    IORING_SETUP_IOPOLL,
    IORING_SETUP_NO_MMAP,
    IORING_SETUP_NO_SQARRAY,
    IORING_SETUP_REGISTERED_FD_ONLY,
    IORING_SETUP_SINGLE_ISSUER,
    IORING_SETUP_SQ_AFF,
    IORING_SETUP_SQ_REWIND,
    IORING_SETUP_SQE128,
    IORING_SETUP_SQE_MIXED,
    IORING_SETUP_SQPOLL,
    IORING_SETUP_TASKRUN_FLAG,
)
from uringfs.abi.kernels import CQ_FLAGS_SINCE, CURRENT, Kernel
from uringfs.abi.numbers import page_align
from uringfs.abi.structs import (
    CQ_FLAGS,
    CQ_HEAD,
    CQ_OVERFLOW,
    CQ_RING_ENTRIES,
    CQ_RING_MASK,
    CQ_TAIL,
    CQE,
    CQES,
    OFFSETS,
    PARAMS,
    SMP_CACHE_BYTES,
    SQ_DROPPED,
    SQ_FLAGS,
    SQ_HEAD,
    SQ_OFF,
    SQ_RING_ENTRIES,
    SQ_RING_MASK,
    SQ_TAIL,
    SQE,
    Params,
)
from uringfs.errors import UringError
from uringfs.ring import support

SUPPORTED_SETUP_FLAGS = support.mask(support.SETUP_FLAGS)
FEATURES = support.mask(support.FEATURES)


@dataclass(frozen=True, slots=True)
class Geometry:
    """Sizes of one ring: entries, byte offsets within the ring file, and the flags they follow from."""

    sq_entries: int
    cq_entries: int
    flags: int
    sq_array: int
    """Byte offset of the index array; 0 with NO_SQARRAY."""
    rings_size: int
    """Bytes of struct io_rings with the CQEs and the index array."""
    kernel: Kernel = CURRENT
    """What the ring is made to be of."""

    @property
    def file_size(self) -> int:
        """Bytes the ring's memory must cover: the highest mmap offset in use, now or resized."""
        resizable = self.flags & IORING_SETUP_DEFER_TASKRUN
        return IORING_OFF_SQES + (IORING_MAX_ENTRIES if resizable else self.sq_entries) * self.sqe_size

    @property
    def memory_size(self) -> int:
        """Bytes that the queues take, whole pages; the CQ ring has a mirror at its own offset."""
        return 2 * page_align(self.rings_size) + page_align(self.sqes_size)

    @property
    def areas(self) -> tuple[tuple[int, int], ...]:
        """(offset, size) of what lies in the ring's memory: the rings, the CQ ring's mirror, the SQEs."""
        rings = tuple((base, self.rings_size) for base in (IORING_OFF_SQ_RING, IORING_OFF_CQ_RING))
        return *rings, (IORING_OFF_SQES, self.sqes_size)

    @property
    def sqes_size(self) -> int:
        """Bytes of all SQEs."""
        return self.sq_entries * self.sqe_size

    @property
    def in_user_memory(self) -> bool:
        """The client maps the rings over memory of its own (IORING_SETUP_NO_MMAP)."""
        return bool(self.flags & IORING_SETUP_NO_MMAP)

    @property
    def sqe_size(self) -> int:
        """Bytes from one SQE to the next."""
        return SQE.size * (2 if self.flags & IORING_SETUP_SQE128 else 1)

    @property
    def cqe_size(self) -> int:
        """Bytes from one CQE to the next."""
        return CQE.size * (2 if self.flags & IORING_SETUP_CQE32 else 1)

    @classmethod
    def of(cls, entries: int, params: Params, kernel: Kernel = CURRENT) -> "Geometry":
        """io_uring/io_uring.c: io_uring_setup(), io_uring_fill_params(), rings_size(). EINVAL, EOVERFLOW."""
        if params.resv0 or params.resv1 or params.resv2:
            raise UringError(errno.EINVAL, "io_uring_params.resv must be 0")
        flags = params.flags
        unknown = flags & ~(SUPPORTED_SETUP_FLAGS & kernel.setup_flags)
        if unknown:
            raise UringError(errno.EINVAL, f"setup flags {unknown:#x} are not supported")
        _check_flags(flags)
        sq_entries = _entries(entries, IORING_MAX_ENTRIES, flags, "entries")
        cq_entries = 2 * sq_entries
        if flags & IORING_SETUP_CQSIZE:
            cq_entries = _entries(params.cq_entries, IORING_MAX_CQ_ENTRIES, flags, "cq_entries")
            if cq_entries < sq_entries:
                raise UringError(errno.EINVAL, "the CQ is smaller than the SQ")
        size, sq_array = rings_size(flags, sq_entries, cq_entries)
        return cls(sq_entries, cq_entries, flags, sq_array, size, kernel)

    def params(self, asked: Params) -> bytes:
        """struct io_uring_params as the call hands it back, 120 bytes."""
        features = FEATURES & self.kernel.features
        head = asked._replace(sq_entries=self.sq_entries, cq_entries=self.cq_entries, features=features)
        sq_user, cq_user = (asked.sq_user_addr, asked.cq_user_addr) if self.in_user_memory else (0, 0)
        sq_off = (SQ_HEAD, SQ_TAIL, SQ_RING_MASK, SQ_RING_ENTRIES, SQ_FLAGS, SQ_DROPPED, self.sq_array, 0, sq_user)
        cq_flags = CQ_FLAGS if self.kernel.since(CQ_FLAGS_SINCE) else 0
        cq_off = (CQ_HEAD, CQ_TAIL, CQ_RING_MASK, CQ_RING_ENTRIES, CQ_OVERFLOW, CQES, cq_flags, 0, cq_user)
        return PARAMS.pack(*head)[:SQ_OFF] + OFFSETS.pack(*sq_off) + OFFSETS.pack(*cq_off)


def rings_size(flags: int, sq_entries: int, cq_entries: int) -> tuple[int, int]:
    """rings_size(): bytes of struct io_rings with all behind it, and where in it the index array is, or 0.
    EOVERFLOW."""
    if flags & IORING_SETUP_CQE_MIXED and cq_entries < 2:
        raise UringError(errno.EOVERFLOW, "a CQE of 32 bytes needs two entries")
    if flags & IORING_SETUP_SQE_MIXED and sq_entries < 2:
        raise UringError(errno.EOVERFLOW, "an SQE of 128 bytes needs two entries")
    size = CQES + cq_entries * CQE.size
    if flags & IORING_SETUP_CQE32:
        size *= 2  # the header too
    if flags & IORING_SETUP_NO_SQARRAY:
        return size, 0
    sq_array = -(-size // SMP_CACHE_BYTES) * SMP_CACHE_BYTES
    return sq_array + 4 * sq_entries, sq_array


def _check_flags(flags: int) -> None:
    """io_uring_sanitise_params(): flags that need others."""
    if flags & IORING_SETUP_REGISTERED_FD_ONLY and not flags & IORING_SETUP_NO_MMAP:
        raise UringError(errno.EINVAL, "REGISTERED_FD_ONLY needs NO_MMAP")
    task_run = IORING_SETUP_COOP_TASKRUN | IORING_SETUP_TASKRUN_FLAG | IORING_SETUP_DEFER_TASKRUN
    if flags & IORING_SETUP_SQPOLL and flags & task_run:
        raise UringError(errno.EINVAL, "a poller has no use for the task-run flags")
    if flags & IORING_SETUP_CQE32 and flags & IORING_SETUP_CQE_MIXED:
        raise UringError(errno.EINVAL, "CQE32 or CQE_MIXED")
    if flags & IORING_SETUP_SQE128 and flags & IORING_SETUP_SQE_MIXED:
        raise UringError(errno.EINVAL, "SQE128 or SQE_MIXED")
    if flags & IORING_SETUP_SQ_REWIND and (flags & IORING_SETUP_SQPOLL or not flags & IORING_SETUP_NO_SQARRAY):
        raise UringError(errno.EINVAL, "SQ_REWIND needs NO_SQARRAY, and no poller")
    if flags & IORING_SETUP_SQ_AFF and not flags & IORING_SETUP_SQPOLL:
        raise UringError(errno.EINVAL, "SQ_AFF needs SQPOLL")
    if flags & IORING_SETUP_HYBRID_IOPOLL and not flags & IORING_SETUP_IOPOLL:
        raise UringError(errno.EINVAL, "HYBRID_IOPOLL needs IOPOLL")
    if flags & IORING_SETUP_TASKRUN_FLAG and not flags & (IORING_SETUP_COOP_TASKRUN | IORING_SETUP_DEFER_TASKRUN):
        raise UringError(errno.EINVAL, "TASKRUN_FLAG needs COOP_TASKRUN or DEFER_TASKRUN")
    if flags & IORING_SETUP_DEFER_TASKRUN and not flags & IORING_SETUP_SINGLE_ISSUER:
        raise UringError(errno.EINVAL, "DEFER_TASKRUN needs SINGLE_ISSUER")


def _entries(entries: int, most: int, flags: int, name: str) -> int:
    if entries == 0:
        raise UringError(errno.EINVAL, f"{name} is 0")
    if entries > most:
        if not flags & IORING_SETUP_CLAMP:
            raise UringError(errno.EINVAL, f"{name} {entries} is above {most}; IORING_SETUP_CLAMP clamps it")
        entries = most
    return 1 << (entries - 1).bit_length()
