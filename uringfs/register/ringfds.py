"""IORING_REGISTER_RING_FDS (io_uring/tctx.c): a thread's short names for its rings.

A control write names its ring by the file it is written to, so IORING_ENTER_REGISTERED_RING selects nothing
here: it is an assertion that this thread has registered this ring, EBADF if it has not.
"""

import errno
from collections.abc import Callable, Iterable, Mapping
from struct import Struct

from uringfs.abi.numbers import U32, s32
from uringfs.engine.request import RegisteredRing
from uringfs.errors import UringError
from uringfs.register.registration import RegisterCall

RSRC_UPDATE = Struct("<IIQ")  # struct io_uring_rsrc_update: offset, resv, data
IO_RINGFD_REG_MAX = 16


def register_ring_fds(call: RegisterCall) -> int:
    """io_ringfd_register(): how many; the slots taken are written back."""
    _check_count(call)
    call.ring.registered_rings(call.caller)  # __io_uring_add_tctx_node(): whatever becomes of the rest
    return _each(call, _register)


def unregister_ring_fds(call: RegisterCall) -> int:
    """io_ringfd_unregister(): how many; 0 in a thread that has neither set up a ring nor registered one."""
    _check_count(call)
    if not call.ring.begun(call.caller):
        return 0
    return _each(call, _unregister)


def _check_count(call: RegisterCall) -> None:
    if not call.nr_args or call.nr_args > IO_RINGFD_REG_MAX:
        raise UringError(errno.EINVAL)


def _each(call: RegisterCall, act: Callable[[RegisterCall, int, int, int, int], None]) -> int:
    for done in range(call.nr_args):
        address = call.arg + done * RSRC_UPDATE.size
        try:
            act(call, address, *RSRC_UPDATE.unpack(call.caller.memory.read(address, RSRC_UPDATE.size)))
        except UringError:
            if not done:
                raise
            return done
    return call.nr_args


def _register(call: RegisterCall, address: int, offset: int, resv: int, data: int) -> None:
    """io_ring_add_registered_fd()"""
    if resv or (offset != U32 and offset >= IO_RINGFD_REG_MAX):
        raise UringError(errno.EINVAL)
    slots = call.ring.registered_rings(call.caller)
    candidates = range(IO_RINGFD_REG_MAX) if offset == U32 else (offset,)
    fd = data & U32
    file = call.caller.file(s32(fd))
    try:
        ring = call.ring.ring_of(file)
        if ring is None:
            raise UringError(errno.EOPNOTSUPP, "no ring of this mount")
        free = free_slot(slots, candidates)
        call.caller.memory.write(address, RSRC_UPDATE.pack(free, resv, data))
    except UringError:
        file.close()
        raise
    slots[free] = RegisteredRing(ring, file)


def registered_ring(slots: Mapping[int, RegisteredRing], index: int) -> RegisteredRing:
    """What a thread has registered at an index. EINVAL, EBADF."""
    if not 0 <= index < IO_RINGFD_REG_MAX:
        raise UringError(errno.EINVAL)
    entry = slots.get(index)
    if entry is None:
        raise UringError(errno.EBADF, f"no ring is registered at {index}")
    return entry


def free_slot(slots: Mapping[int, RegisteredRing], candidates: Iterable[int] = range(IO_RINGFD_REG_MAX)) -> int:
    """The first of the candidates that names no ring. EBUSY."""
    for slot in candidates:
        if slot not in slots:
            return slot
    raise UringError(errno.EBUSY)


def _unregister(call: RegisterCall, address: int, offset: int, resv: int, data: int) -> None:
    if resv or data or offset >= IO_RINGFD_REG_MAX:
        raise UringError(errno.EINVAL)
    entry = call.ring.registered_rings(call.caller).pop(offset, None)
    if entry is not None:
        entry.close()
