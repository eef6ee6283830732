"""IORING_REGISTER_MEM_REGION (io_uring/register.c, memmap.c): memory with the arguments of waits.

A region lies in the registrant's memory (IORING_MEM_REGION_TYPE_USER). One that the ring would allocate,
for the client to map, is refused.
"""

import errno
from struct import Struct

from uringfs.errors import UringError
from uringfs.register.pbuf import PAGE, CallerBytes
from uringfs.register.registration import Registration

MEM_REGION_REG = Struct("<QQ16s")  # struct io_uring_mem_region_reg: region_uptr, flags, resv[2]
# struct io_uring_region_desc: user_addr, size, flags, id, mmap_offset, resv[4]
REGION_DESC = Struct("<QQIIQ32s")
IORING_MEM_REGION_TYPE_USER = 1
IORING_MEM_REGION_REG_WAIT_ARG = 1
INT_MAX = 0x7FFFFFFF


def register_mem_region(call: Registration) -> int:
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
    region, size = _create(call, descriptor)
    call.caller.memory.write(region_uptr, descriptor)
    if waits:
        call.ring.ring.wait_region = region, size
    call.resources.mem_region = True
    return 0


def _create(call: Registration, descriptor: bytes) -> tuple[CallerBytes, int]:
    """io_create_region()"""
    user_addr, size, flags, number, mmap_offset, resv = REGION_DESC.unpack(descriptor)
    if any(resv) or flags & ~IORING_MEM_REGION_TYPE_USER:
        raise UringError(errno.EINVAL)
    if bool(flags) != bool(user_addr):
        raise UringError(errno.EFAULT)
    if not size or mmap_offset or number:
        raise UringError(errno.EINVAL)
    if size // PAGE > INT_MAX:
        raise UringError(errno.E2BIG)
    if (user_addr | size) % PAGE:
        raise UringError(errno.EINVAL)
    if user_addr + size >= 1 << 64:
        raise UringError(errno.EOVERFLOW)
    if not user_addr:
        raise UringError(errno.EINVAL, "only memory of the caller's: IORING_MEM_REGION_TYPE_USER")
    memory = call.caller.detached().memory
    if memory.writable([(user_addr, size)]) < size:  # io_region_pin_pages()
        raise UringError(errno.EFAULT)
    return CallerBytes(memory, user_addr), size
