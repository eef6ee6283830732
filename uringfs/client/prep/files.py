"""Requests on open files: transfers, sizes, syncs, descriptors, and the ring's own tables."""

from array import array
from collections.abc import Sequence
from typing import Unpack

from uringfs.abi.numbers import U32
from uringfs.client.enums import Op
from uringfs.client.prep.common import Common
from uringfs.client.request import CURRENT_POSITION, Buffer, Iovecs, Memory, Request, View, make


def _single(op: Op, fd: int, view: View, off: int, rw_flags: int, buf_index: int, common: Common) -> Request:
    return make(
        op,
        view,
        fd=fd,
        addr=view.address,
        len=view.length,
        off=off,
        rw_flags=rw_flags,
        buf_index=buf_index,
        **common,
    )


def read(
    fd: int,
    buf: Memory,
    off: int = CURRENT_POSITION,
    *,
    len: int | None = None,
    rw_flags: int = 0,
    buf_group: int = 0,
    **common: Unpack[Common],
) -> Request:
    """read(2) or pread(2) into a buffer."""
    return _single(Op.READ, fd, View(buf, len, writable=True), off, rw_flags, buf_group, common)


def write(
    fd: int,
    buf: Memory,
    off: int = CURRENT_POSITION,
    *,
    len: int | None = None,
    rw_flags: int = 0,
    **common: Unpack[Common],
) -> Request:
    """write(2) or pwrite(2). Of a buffer that can be written the request takes the bytes as they are then."""
    return _single(Op.WRITE, fd, View(buf, len, writable=False), off, rw_flags, 0, common)


def _vectored(
    op: Op, fd: int, buffers: Sequence[Buffer], off: int, rw_flags: int, buf_index: int, common: Common
) -> Request:
    vector = Iovecs(buffers, writable=op in (Op.READV, Op.READV_FIXED))
    return make(
        op,
        vector,
        fd=fd,
        addr=vector.address,
        len=vector.count,
        off=off,
        rw_flags=rw_flags,
        buf_index=buf_index,
        **common,
    )


def readv(
    fd: int,
    buffers: Sequence[Buffer],
    off: int = CURRENT_POSITION,
    *,
    rw_flags: int = 0,
    buf_group: int = 0,
    **common: Unpack[Common],
) -> Request:
    return _vectored(Op.READV, fd, buffers, off, rw_flags, buf_group, common)


def writev(
    fd: int, buffers: Sequence[Buffer], off: int = CURRENT_POSITION, *, rw_flags: int = 0, **common: Unpack[Common]
) -> Request:
    return _vectored(Op.WRITEV, fd, buffers, off, rw_flags, 0, common)


def readv_fixed(
    fd: int,
    buffers: Sequence[Buffer],
    buf_index: int,
    off: int = CURRENT_POSITION,
    *,
    rw_flags: int = 0,
    **common: Unpack[Common],
) -> Request:
    """The buffers are parts of the registered one."""
    return _vectored(Op.READV_FIXED, fd, buffers, off, rw_flags, buf_index, common)


def writev_fixed(
    fd: int,
    buffers: Sequence[Buffer],
    buf_index: int,
    off: int = CURRENT_POSITION,
    *,
    rw_flags: int = 0,
    **common: Unpack[Common],
) -> Request:
    """The buffers are parts of the registered one: writable, for a copy would not be."""
    if Iovecs(buffers, writable=False).copied:
        raise TypeError("a read-only buffer is no part of a registered one")
    return _vectored(Op.WRITEV_FIXED, fd, buffers, off, rw_flags, buf_index, common)


def read_fixed(
    fd: int,
    buf: Memory,
    buf_index: int,
    off: int = CURRENT_POSITION,
    *,
    len: int | None = None,
    rw_flags: int = 0,
    **common: Unpack[Common],
) -> Request:
    """buf: the registered buffer or a part of it."""
    return _single(Op.READ_FIXED, fd, View(buf, len, writable=True), off, rw_flags, buf_index, common)


def write_fixed(
    fd: int,
    buf: Memory,
    buf_index: int,
    off: int = CURRENT_POSITION,
    *,
    len: int | None = None,
    rw_flags: int = 0,
    **common: Unpack[Common],
) -> Request:
    """buf: the registered buffer or a part of it."""
    return _single(Op.WRITE_FIXED, fd, View(buf, len, writable=True), off, rw_flags, buf_index, common)


def read_multishot(
    fd: int, buf_group: int, off: int = CURRENT_POSITION, *, len: int = 0, **common: Unpack[Common]
) -> Request:
    """Into provided buffers; flags must have SqeFlag.BUFFER_SELECT."""
    return make(Op.READ_MULTISHOT, fd=fd, off=off, len=len, buf_index=buf_group, **common)


def fsync(fd: int, fsync_flags: int = 0, *, off: int = 0, len: int = 0, **common: Unpack[Common]) -> Request:
    return make(Op.FSYNC, fd=fd, rw_flags=fsync_flags, off=off, len=len, **common)


def sync_file_range(fd: int, len: int, off: int, sync_range_flags: int = 0, **common: Unpack[Common]) -> Request:
    return make(Op.SYNC_FILE_RANGE, fd=fd, off=off, len=len, rw_flags=sync_range_flags, **common)


def fallocate(fd: int, mode: int, off: int, len: int, **common: Unpack[Common]) -> Request:
    """len may have 64 bits: it stands in sqe->addr."""
    return make(Op.FALLOCATE, fd=fd, len=mode, off=off, addr=len, **common)


def ftruncate(fd: int, length: int, **common: Unpack[Common]) -> Request:
    return make(Op.FTRUNCATE, fd=fd, off=length, **common)


def fadvise(fd: int, off: int, len: int, fadvise_advice: int, **common: Unpack[Common]) -> Request:
    """len up to 32 bits in sqe->len, above in sqe->addr."""
    small, large = (len, 0) if len <= U32 else (0, len)
    return make(Op.FADVISE, fd=fd, off=off, len=small, addr=large, rw_flags=fadvise_advice, **common)


def madvise(buf: Memory, fadvise_advice: int, *, len: int | None = None, **common: Unpack[Common]) -> Request:
    view = View(buf, len, writable=True)
    small, large = (view.length, 0) if view.length <= U32 else (0, view.length)
    return make(Op.MADVISE, view, addr=view.address, len=small, off=large, rw_flags=fadvise_advice, **common)


def close(fd: int = 0, *, file_index: int = 0, **common: Unpack[Common]) -> Request:
    """A descriptor of this process; with file_index, the slot's number + 1, a direct one."""
    return make(Op.CLOSE, fd=fd, file_index=file_index, **common)


def fixed_fd_install(fd: int, install_fd_flags: int = 0, **common: Unpack[Common]) -> Request:
    """A direct descriptor, fd is its slot, becomes one of this process. Sets SqeFlag.FIXED_FILE."""
    request = make(Op.FIXED_FD_INSTALL, fd=fd, rw_flags=install_fd_flags, **common)
    return request.with_flags(1)


def pipe(fds: Memory, pipe_flags: int = 0, *, file_index: int = 0, **common: Unpack[Common]) -> Request:
    """fds: room for two ints, array('i', [0, 0]) or 8 bytes: the reading and the writing end."""
    view = View(fds, 8, writable=True)
    return make(Op.PIPE, view, fd=0, addr=view.address, rw_flags=pipe_flags, file_index=file_index, **common)


def splice(
    splice_fd_in: int,
    fd_out: int,
    len: int,
    *,
    splice_off_in: int = -1,
    off: int = -1,
    splice_flags: int = 0,
    **common: Unpack[Common],
) -> Request:
    """Offsets -1: the current position, of pipes always."""
    return make(
        Op.SPLICE,
        fd=fd_out,
        off=off,
        addr=splice_off_in,
        len=len,
        rw_flags=splice_flags,
        file_index=splice_fd_in,
        **common,
    )


def tee(splice_fd_in: int, fd_out: int, len: int, splice_flags: int = 0, **common: Unpack[Common]) -> Request:
    return make(Op.TEE, fd=fd_out, len=len, rw_flags=splice_flags, file_index=splice_fd_in, **common)


def files_update(fds: Sequence[int], off: int = 0, **common: Unpack[Common]) -> Request:
    """Slots from off on become these descriptors; -1 empties one, -2 leaves it."""
    view = View(array("i", fds), writable=True)
    return make(Op.FILES_UPDATE, view, addr=view.address, len=view.length // 4, off=off, **common)


def provide_buffers(
    buf: Memory, buf_len: int, nr: int, buf_group: int, bid: int = 0, **common: Unpack[Common]
) -> Request:
    """buf, of nr * buf_len bytes: nr buffers from number bid on. It is the ring's beyond the CQE: the caller keeps
    it until they are removed or used."""
    view = View(buf, nr * buf_len, writable=True)
    return make(
        Op.PROVIDE_BUFFERS, view, fd=nr, addr=view.address, len=buf_len, off=bid, buf_index=buf_group, **common
    )


def remove_buffers(nr: int, buf_group: int, **common: Unpack[Common]) -> Request:
    return make(Op.REMOVE_BUFFERS, fd=nr, buf_index=buf_group, **common)
