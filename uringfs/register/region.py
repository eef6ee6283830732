"""IORING_REGISTER_MEM_REGION (io_uring/register.c, memmap.c): memory with the arguments of waits.

A region lies in the registrant's memory (IORING_MEM_REGION_TYPE_USER), or in the ring file's for the client to
map at IORING_MAP_OFF_PARAM_REGION.
"""

import errno
from struct import Struct

from uringfs.abi.constants import IORING_MAP_OFF_PARAM_REGION, IORING_OFF_PBUF_RING
from uringfs.abi.numbers import PAGE, page_align
from uringfs.abi.structs import Params
from uringfs.errors import UringError
from uringfs.host.protocols import Caller, Memory
from uringfs.memory.base import Region
from uringfs.register.registration import RegisterCall
from uringfs.ring.geometry import Geometry

MEM_REGION_REG = Struct("<QQ16s")  # struct io_uring_mem_region_reg: region_uptr, flags, resv[2]
# struct io_uring_region_desc: user_addr, size, flags, id, mmap_offset, resv[4]
REGION_DESC = Struct("<QQIIQ32s")
MMAP_OFFSET = 24  # of the field
IORING_MEM_REGION_TYPE_USER = 1
IORING_MEM_REGION_REG_WAIT_ARG = 1
INT_MAX = 0x7FFFFFFF


class CallerRegion:
    """Pages of the registrant's. They are looked at while requests run, so the address space is pinned; the
    kernel pins the pages."""

    def __init__(self, memory: Memory, base: int) -> None:
        self._memory = memory
        self._base = base

    def read(self, offset: int, size: int) -> bytes:
        return self._memory.read(self._base + offset, size)

    def write(self, offset: int, data: bytes) -> None:
        self._memory.write(self._base + offset, data)

    def close(self) -> None:
        """Close nothing: the memory is the client's."""


def register_mem_region(call: RegisterCall) -> int:
    """io_register_mem_region()"""
    call.need_one()
    if call.resources.mem_region:
        raise UringError(errno.EBUSY, "a region is registered")
    region_uptr, flags, resv = MEM_REGION_REG.unpack(call.read(MEM_REGION_REG.size))
    descriptor = call.caller.memory.read(region_uptr, REGION_DESC.size)
    if any(resv) or flags & ~IORING_MEM_REGION_REG_WAIT_ARG:
        raise UringError(errno.EINVAL)
    waits = flags & IORING_MEM_REGION_REG_WAIT_ARG
    if waits and not call.ring.disabled:
        raise UringError(errno.EINVAL, "nobody may wait yet: IORING_SETUP_R_DISABLED")
    region, size, mmap_offset = _create(call, descriptor)
    try:
        told = descriptor[:MMAP_OFFSET] + mmap_offset.to_bytes(8, "little") + descriptor[MMAP_OFFSET + 8 :]
        call.caller.memory.write(region_uptr, told)
    except UringError:
        region.close()
        raise
    if waits:
        call.ring.ring.wait_region = region, size
    call.resources.mem_region = True
    return 0


def _create(call: RegisterCall, descriptor: bytes) -> tuple[Region, int, int]:
    """io_create_region(): the region, its size, where to map it"""
    user_addr, size, flags, number, mmap_offset, resv = REGION_DESC.unpack(descriptor)
    if any(resv) or flags & ~IORING_MEM_REGION_TYPE_USER:
        raise UringError(errno.EINVAL)
    if bool(flags) != bool(user_addr):
        raise UringError(errno.EFAULT)
    if not size or mmap_offset or number:
        raise UringError(errno.EINVAL)
    if size // PAGE > INT_MAX:
        raise UringError(errno.E2BIG)
    if size % PAGE:
        raise UringError(errno.EINVAL)
    if flags:
        return caller_region(call.caller, user_addr, size), size, 0
    if size > IORING_OFF_PBUF_RING - IORING_MAP_OFF_PARAM_REGION:
        raise UringError(errno.ENOMEM, "a region of the ring's has no more room than that")
    return call.ring.ring.region(IORING_MAP_OFF_PARAM_REGION, size), size, IORING_MAP_OFF_PARAM_REGION


def caller_region(caller: Caller, address: int, size: int) -> CallerRegion:
    """io_create_region() of IORING_MEM_REGION_TYPE_USER: whole pages that can be written. EFAULT, EINVAL."""
    if not address:
        raise UringError(errno.EFAULT)
    if address % PAGE:
        raise UringError(errno.EINVAL, "the address must be a page's")
    if address + size >= 1 << 64:
        raise UringError(errno.EOVERFLOW)
    memory = caller.space
    if memory.writable([(address, size)]) < size:  # io_region_pin_pages()
        raise UringError(errno.EFAULT)
    return CallerRegion(memory, address)


def check_user_rings(caller: Caller, geometry: Geometry, asked: Params) -> None:
    """io_allocate_scq_urings() with IORING_SETUP_NO_MMAP: the memory over which the client is going to map its
    rings. EFAULT, EINVAL."""
    if geometry.in_user_memory:
        caller_region(caller, asked.cq_user_addr, page_align(geometry.rings_size))
        caller_region(caller, asked.sq_user_addr, page_align(geometry.sqes_size))
