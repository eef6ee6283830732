"""Buffer rings (io_uring/kbuf.c): IORING_REGISTER_PBUF_RING, IORING_REGISTER_PBUF_STATUS."""

import errno
from struct import Struct

from uringfs.errors import UringError
from uringfs.host.base import Memory
from uringfs.ops.kbuf import BUF, BufferRing, ProvidedBuffers
from uringfs.register.registration import Registration

BUF_REG = Struct("<QIHH24s")  # struct io_uring_buf_reg: ring_addr, ring_entries, bgid, flags, resv[3]
BUF_STATUS = Struct("<II32s")  # struct io_uring_buf_status: buf_group, head, resv[8]
IOU_PBUF_RING_INC = 2
MAX_ENTRIES = 1 << 15  # full and empty could not be told apart beyond
PAGE = 4096


class CallerBytes:
    """A buffer ring in the registrant's memory. It is looked at while requests run, so the address space
    is pinned; the kernel pins the pages."""

    def __init__(self, memory: Memory, base: int) -> None:
        self._memory = memory
        self._base = base

    def read(self, offset: int, size: int) -> bytes:
        return self._memory.read(self._base + offset, size)

    def write(self, offset: int, data: bytes) -> None:
        self._memory.write(self._base + offset, data)


def register_pbuf_ring(call: Registration) -> int:
    """io_register_pbuf_ring()"""
    call.need_one()
    ring_addr, entries, bgid, flags, resv = BUF_REG.unpack(call.read(BUF_REG.size))
    if any(resv) or flags & ~IOU_PBUF_RING_INC:
        raise UringError(errno.EINVAL)
    if not entries or entries & (entries - 1) or entries > MAX_ENTRIES:
        raise UringError(errno.EINVAL, f"{entries} entries")
    groups = call.resources.buffer_groups
    group = groups.get(bgid)
    if isinstance(group, BufferRing) or (group is not None and group.buffers):
        raise UringError(errno.EEXIST, f"buffer group {bgid} exists")
    groups.pop(bgid, None)
    if not ring_addr:
        raise UringError(errno.EFAULT)
    if ring_addr % PAGE:
        raise UringError(errno.EINVAL, "ring_addr must be a page's")
    size = -(-entries * BUF.size // PAGE) * PAGE
    memory = call.caller.detached().memory
    if memory.writable([(ring_addr, size)]) < size:  # io_region_pin_pages()
        raise UringError(errno.EFAULT)
    groups[bgid] = BufferRing(CallerBytes(memory, ring_addr), entries, bool(flags & IOU_PBUF_RING_INC))
    return 0


def unregister_pbuf_ring(call: Registration) -> int:
    """io_unregister_pbuf_ring()"""
    call.need_one()
    _, _, bgid, flags, resv = BUF_REG.unpack(call.read(BUF_REG.size))
    if any(resv) or flags:
        raise UringError(errno.EINVAL)
    _ring(call, bgid)
    del call.resources.buffer_groups[bgid]
    return 0


def pbuf_status(call: Registration) -> int:
    """io_register_pbuf_status()"""
    call.need_one()
    bgid, _, resv = BUF_STATUS.unpack(call.read(BUF_STATUS.size))
    if any(resv):
        raise UringError(errno.EINVAL)
    call.caller.memory.write(call.arg, BUF_STATUS.pack(bgid, _ring(call, bgid).head, resv))
    return 0


def _ring(call: Registration, bgid: int) -> BufferRing:
    group = call.resources.buffer_groups.get(bgid)
    if group is None:
        raise UringError(errno.ENOENT)
    if isinstance(group, ProvidedBuffers):
        raise UringError(errno.EINVAL, "this group is no buffer ring")
    return group
