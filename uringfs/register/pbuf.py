"""Buffer rings (io_uring/kbuf.c): IORING_REGISTER_PBUF_RING, IORING_REGISTER_PBUF_STATUS."""

import errno
from struct import Struct

from uringfs.abi.constants import IORING_OFF_PBUF_RING, IORING_OFF_PBUF_SHIFT
from uringfs.abi.numbers import page_align
from uringfs.engine.kbuf import BUF, BufferRing, ProvidedBuffers
from uringfs.errors import UringError
from uringfs.memory.base import Region
from uringfs.register.region import caller_region
from uringfs.register.registration import RegisterCall

BUF_REG = Struct("<QIHHI20s")  # struct io_uring_buf_reg: ring_addr, ring_entries, bgid, flags, min_left, resv[5]
BUF_STATUS = Struct("<II32s")  # struct io_uring_buf_status: buf_group, head, resv[8]
IOU_PBUF_RING_MMAP = 1
IOU_PBUF_RING_INC = 2
MAX_ENTRIES = 1 << 15  # full and empty could not be told apart beyond


def register_pbuf_ring(call: RegisterCall) -> int:
    """io_register_pbuf_ring()"""
    call.need_one()
    ring_addr, entries, bgid, flags, min_left, resv = BUF_REG.unpack(call.read(BUF_REG.size))
    if any(resv) or flags & ~(IOU_PBUF_RING_MMAP | IOU_PBUF_RING_INC):
        raise UringError(errno.EINVAL)
    if min_left and not flags & IOU_PBUF_RING_INC:
        raise UringError(errno.EINVAL, "min_left without IOU_PBUF_RING_INC")
    if not entries or entries & (entries - 1) or entries > MAX_ENTRIES:
        raise UringError(errno.EINVAL, f"{entries} entries")
    groups = call.resources.buffer_groups
    group = groups.get(bgid)
    if isinstance(group, BufferRing) or (group is not None and group.buffers):
        raise UringError(errno.EEXIST, f"buffer group {bgid} exists")
    groups.pop(bgid, None)
    size = page_align(entries * BUF.size)
    memory: Region
    if flags & IOU_PBUF_RING_MMAP:
        # No sum in the kernel, but groups where that makes a difference cannot be mapped there.
        offset = IORING_OFF_PBUF_RING + (bgid << IORING_OFF_PBUF_SHIFT)
        memory = call.ring.ring.region(offset, size)
    else:
        memory = caller_region(call.caller, ring_addr, size)
    groups[bgid] = BufferRing(memory, entries, bool(flags & IOU_PBUF_RING_INC), min_left)
    return 0


def unregister_pbuf_ring(call: RegisterCall) -> int:
    """io_unregister_pbuf_ring()"""
    call.need_one()
    _, _, bgid, flags, _, resv = BUF_REG.unpack(call.read(BUF_REG.size))
    if any(resv) or flags:
        raise UringError(errno.EINVAL)
    _ring(call, bgid).close()
    del call.resources.buffer_groups[bgid]
    return 0


def pbuf_status(call: RegisterCall) -> int:
    """io_register_pbuf_status()"""
    call.need_one()
    bgid, _, resv = BUF_STATUS.unpack(call.read(BUF_STATUS.size))
    if any(resv):
        raise UringError(errno.EINVAL)
    call.caller.memory.write(call.arg, BUF_STATUS.pack(bgid, _ring(call, bgid).head, resv))
    return 0


def _ring(call: RegisterCall, bgid: int) -> BufferRing:
    group = call.resources.buffer_groups.get(bgid)
    if group is None:
        raise UringError(errno.ENOENT)
    if isinstance(group, ProvidedBuffers):
        raise UringError(errno.EINVAL, "this group is no buffer ring")
    return group
