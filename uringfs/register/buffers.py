"""Registered buffers (io_uring/rsrc.c). The kernel pins their pages; here a buffer is a range of the
registering process's memory, which has to stay mapped until it is used."""

import errno
from collections.abc import Sequence
from struct import Struct

from uringfs.abi.numbers import U32, U64, page_align
from uringfs.abi.structs import IOVEC
from uringfs.engine.request import RingContext
from uringfs.engine.resources import Node, RegisteredBuffer, Table
from uringfs.errors import UringError
from uringfs.ops.files.filetable import tag_at
from uringfs.register.files import rsrc_register, rsrc_update2
from uringfs.register.registration import RegisterCall
from uringfs.register.ringfds import registered_ring

IORING_MAX_REG_BUFFERS = 1 << 14
SZ_1G = 1 << 30
IORING_REGISTER_SRC_REGISTERED = 1
IORING_REGISTER_DST_REPLACE = 2
# struct io_uring_clone_buffers: src_fd, flags, src_off, dst_off, nr, pad
CLONE_BUFFERS = Struct("<iIIII12s")


def register_buffers(call: RegisterCall) -> int:
    """io_sqe_buffers_register() without tags"""
    if not call.arg:
        raise UringError(errno.EFAULT)
    return _register(call, call.arg, call.nr_args, 0)


def register_buffers2(call: RegisterCall) -> int:
    """io_register_rsrc()"""
    data, nr, tags = rsrc_register(call)
    return _register(call, data, nr, tags)


def _register(call: RegisterCall, data: int, nr: int, tags: int) -> int:
    table = call.resources.buffers
    if table.nodes is not None:
        raise UringError(errno.EBUSY, "buffers are registered")
    if not 0 < nr <= IORING_MAX_REG_BUFFERS:
        raise UringError(errno.EINVAL, f"{nr} buffers; at most {IORING_MAX_REG_BUFFERS}")
    nodes: list[Node[RegisteredBuffer] | None] = []
    unpinnable = call.caller.unpinnable()
    for index in range(nr):
        base, length = _iovec(call, data + index * IOVEC.size) if data else (0, 0)
        nodes.append(_node(call, base, length, tag_at(call.caller, tags, index), unpinnable))
    table.fill(nodes)
    return 0


def _iovec(call: RegisterCall, address: int) -> tuple[int, int]:
    """iovec_from_user() of one. EINVAL, EFAULT."""
    base, length = IOVEC.unpack(call.caller.memory.read(address, IOVEC.size))
    if length >> 63:
        raise UringError(errno.EINVAL, "iov_len is negative")
    return base, length


def _node(
    call: RegisterCall, base: int, length: int, tag: int, unpinnable: Sequence[tuple[int, int]]
) -> Node[RegisteredBuffer] | None:
    """io_sqe_buffer_register(): None for an empty slot."""
    if not base:
        if length:
            raise UringError(errno.EFAULT)
        if tag:
            raise UringError(errno.EINVAL, "an empty slot takes no tag")
        return None
    if not 0 < length <= SZ_1G:
        raise UringError(errno.EFAULT, f"{length} bytes; at most {SZ_1G}")
    if base + page_align(length) > U64:
        raise UringError(errno.EOVERFLOW)
    if call.caller.memory.writable([(base, length)]) < length:
        # pin_user_pages_fast(FOLL_WRITE)
        raise UringError(errno.EFAULT, "not all of the buffer can be written")
    if any(start < base + length and base < end for start, end in unpinnable):
        raise UringError(errno.EFAULT, "pages of a file on a disk are not pinned for long")
    buffer = RegisteredBuffer(base, length, call.caller.space, call.caller.program)
    return Node(buffer, _release, tag, call.post_tag)


def _release(buffer: RegisteredBuffer) -> None:
    """Nothing is pinned."""


def unregister_buffers(call: RegisterCall) -> int:
    """io_sqe_buffers_unregister()"""
    if call.resources.buffers.nodes is None:
        raise UringError(errno.ENXIO, "no buffers are registered")
    call.resources.buffers.clear()
    return 0


def update_buffers(call: RegisterCall) -> int:
    """__io_sqe_buffers_update(): how many slots were done; an error only if none was."""
    offset, data, tags, nr = rsrc_update2(call)
    table, unpinnable = call.resources.buffers, call.caller.unpinnable()

    def change(number: int) -> None:
        base, length = _iovec(call, data + number * IOVEC.size)
        table.put(offset + number, _node(call, base, length, tag_at(call.caller, tags, number), unpinnable))

    return table.update("buffers", offset, nr, change)


def clone_buffers(call: RegisterCall) -> int:
    """io_register_clone_buffers()"""
    call.need_one()
    src_fd, flags, src_off, dst_off, nr, pad = CLONE_BUFFERS.unpack(call.read(CLONE_BUFFERS.size))
    if flags & ~(IORING_REGISTER_SRC_REGISTERED | IORING_REGISTER_DST_REPLACE):
        raise UringError(errno.EINVAL, f"clone flags {flags:#x}")
    if call.resources.buffers.nodes is not None and not flags & IORING_REGISTER_DST_REPLACE:
        raise UringError(errno.EBUSY, "buffers are registered")
    if any(pad):
        raise UringError(errno.EINVAL)
    source = _ring(call, src_fd, bool(flags & IORING_REGISTER_SRC_REGISTERED))
    if source is not call.ring:
        source.check_submitter(call.caller)
    _clone(call, source.resources.buffers, src_off, dst_off, nr)
    return 0


def _ring(call: RegisterCall, fd: int, registered: bool) -> RingContext:
    """io_uring_register_get_file(). EBADF, and EOPNOTSUPP for what is no ring."""
    if registered:
        return registered_ring(call.ring.registered_rings(call.caller), fd).ring
    file = call.caller.file(fd)
    try:
        ring = call.ring.ring_of(file)
    finally:
        file.close()
    if ring is None:
        raise UringError(errno.EOPNOTSUPP, f"descriptor {fd} is no ring")
    return ring


def _clone(call: RegisterCall, source: Table[RegisteredBuffer], src_off: int, dst_off: int, nr: int) -> None:
    """io_clone_buffers()"""
    table = call.resources.buffers
    if not nr and (src_off or dst_off):
        raise UringError(errno.EINVAL, "offsets without a number")
    if source.nodes is None:
        raise UringError(errno.ENXIO, "the source has no buffers")
    nr = nr or len(source.nodes)
    if nr > len(source.nodes):
        raise UringError(errno.EINVAL, f"{nr} buffers; the source has {len(source.nodes)}")
    if src_off + nr > len(source.nodes) or dst_off + nr > U32:
        raise UringError(errno.EOVERFLOW)
    end = dst_off + nr
    if end > IORING_MAX_REG_BUFFERS:
        raise UringError(errno.EINVAL, f"{end} buffers; at most {IORING_MAX_REG_BUFFERS}")
    old = table.nodes or []
    nodes: list[Node[RegisteredBuffer] | None] = [node and node.hold() for node in old]
    nodes += [None] * (end - len(nodes))
    for index in range(nr):
        theirs, ours = source.nodes[src_off + index], nodes[dst_off + index]
        nodes[dst_off + index] = theirs and Node(theirs.what, _release, 0, call.post_tag)
        if ours is not None:
            ours.close()
    table.clear()
    table.fill(nodes)
