"""IORING_REGISTER_RESIZE_RINGS (io_uring/register.c: io_register_resize_rings()): other sizes for the queues
of a ring, what is queued kept. The rings stay at their mmap offsets; the client maps them anew."""

import errno

from uringfs.abi.constants import (
    IORING_OFF_CQ_RING,
    IORING_OFF_SQ_RING,
    IORING_OFF_SQES,
    IORING_SETUP_CLAMP,
    IORING_SETUP_CQSIZE,
    IORING_SETUP_DEFER_TASKRUN,
    IORING_SQ_NEED_WAKEUP,
    IORING_SQ_TASKRUN,
)
from uringfs.abi.numbers import U32
from uringfs.abi.structs import CQ_HEAD, CQ_RING_ENTRIES, CQ_RING_MASK, CQES, SQ_RING_ENTRIES, SQ_RING_MASK, Params
from uringfs.errors import UringError
from uringfs.memory.base import RingMemory
from uringfs.ring.geometry import Geometry
from uringfs.ring.ring import Ring

RESIZE_FLAGS = IORING_SETUP_CQSIZE | IORING_SETUP_CLAMP
KEPT_FLAGS = ~RESIZE_FLAGS & U32


def check_resizable(ring: Ring) -> None:
    """EINVAL unless the ring has IORING_SETUP_DEFER_TASKRUN."""
    if not ring.geometry.flags & IORING_SETUP_DEFER_TASKRUN:
        raise UringError(errno.EINVAL, "only rings with IORING_SETUP_DEFER_TASKRUN are resized")


def new_geometry(ring: Ring, asked: Params) -> Geometry:
    """EINVAL for what a setup would refuse."""
    if asked.flags & ~RESIZE_FLAGS:
        raise UringError(errno.EINVAL)
    flags = asked.flags | ring.geometry.flags & KEPT_FLAGS
    return Geometry.of(asked.sq_entries, Params(cq_entries=asked.cq_entries, flags=flags), ring.geometry.kernel)


def resize(ring: Ring, new: Geometry) -> None:
    """EOVERFLOW, and nothing changed, if what is queued does not fit; ENOMEM."""
    old, sq, cq, memory = ring.geometry, ring.sq, ring.cq, ring.memory
    sq_head, sq_tail = sq.words()
    cq_head, cq_tail = cq.words()
    if (sq_tail - sq_head) & U32 > new.sq_entries or (cq_tail - cq_head) & U32 > new.cq_entries:
        raise UringError(errno.EOVERFLOW, "more is queued than the new rings hold")
    ring.charge(new.memory_size - old.memory_size)
    memory.hold(new.areas)
    size = old.sqe_size
    sqes = _taken(memory, IORING_OFF_SQES, size, old.sq_entries, sq_head, sq_tail)
    cqes = _taken(memory, CQES, old.cqe_size, old.cq_entries, cq_head, cq_tail)
    for base in (IORING_OFF_SQ_RING, IORING_OFF_CQ_RING):
        memory.write(base + CQES, bytes(max(old.rings_size, new.rings_size) - CQES))
        _put(memory, base + CQES, new.cqe_size, new.cq_entries, cq_head, cqes)
        memory.store(base + CQ_RING_MASK, new.cq_entries - 1)
        memory.store(base + CQ_RING_ENTRIES, new.cq_entries)
        memory.store(base + CQ_HEAD, cq_head)
    memory.write(IORING_OFF_SQES, bytes(max(old.sq_entries, new.sq_entries) * size))
    _put(memory, IORING_OFF_SQES, size, new.sq_entries, sq_head, sqes)
    memory.store(SQ_RING_MASK, new.sq_entries - 1)
    memory.store(SQ_RING_ENTRIES, new.sq_entries)
    ring.geometry = new
    sq.resized(new)
    cq.resized(new)
    # "any flag we may have missed and that the application should act on": at worst an enter too many
    sq.set_flags(IORING_SQ_TASKRUN | IORING_SQ_NEED_WAKEUP)
    ring.flush()


def _taken(memory: RingMemory, base: int, size: int, entries: int, head: int, tail: int) -> list[bytes]:
    """The entries from head to tail."""
    return [memory.read(base + (head + i & entries - 1) * size, size) for i in range((tail - head) & U32)]


def _put(memory: RingMemory, base: int, size: int, entries: int, head: int, queued: list[bytes]) -> None:
    for ahead, data in enumerate(queued):
        memory.write(base + (head + ahead & entries - 1) * size, data)
