"""PROVIDE_BUFFERS and REMOVE_BUFFERS: groups of buffers that are used once each (io_uring/kbuf.c)."""

import errno
from typing import NamedTuple

from uringfs.abi.constants import MAX_RW_COUNT
from uringfs.engine.kbuf import USHRT_MAX, BufferRing, ProvidedBuffer, ProvidedBuffers
from uringfs.engine.request import Pending, Request
from uringfs.errors import UringError
from uringfs.ops.rw.iovec import access_ok

MAX_BIDS_PER_BGID = 1 << 16


class Provide(NamedTuple):
    """struct io_provide_buf"""

    addr: int
    len: int
    bgid: int
    nbufs: int
    bid: int


def prep_provide(request: Request) -> None:
    """io_provide_buffers_prep()"""
    sqe = request.sqe
    if sqe.rw_flags or sqe.file_index:
        raise UringError(errno.EINVAL)
    if not 0 < sqe.fd <= MAX_BIDS_PER_BGID:
        raise UringError(errno.E2BIG, f"{sqe.fd} buffers")
    if not sqe.len:
        raise UringError(errno.EINVAL, "buffers of no length")
    size = sqe.len * sqe.fd
    if sqe.addr + size >= 1 << 64:
        raise UringError(errno.EOVERFLOW)
    access_ok(sqe.addr, size)
    if sqe.off > USHRT_MAX:
        raise UringError(errno.E2BIG, f"bid {sqe.off}")
    if sqe.off + sqe.fd > MAX_BIDS_PER_BGID:
        raise UringError(errno.EINVAL, "bids beyond 16 bits")
    request.data = Provide(sqe.addr, sqe.len, sqe.buf_group, sqe.fd, sqe.off)


def issue_provide(request: Request) -> int | Pending:
    """io_add_buffers()"""
    asked: Provide = request.data
    group = request.context.resources.buffer_groups.setdefault(asked.bgid, ProvidedBuffers())
    if isinstance(group, BufferRing):
        raise UringError(errno.EINVAL, "this group is a buffer ring")
    room = USHRT_MAX - len(group.buffers)
    if not room:
        raise UringError(errno.EOVERFLOW)
    length = min(asked.len, MAX_RW_COUNT)
    for index in range(min(asked.nbufs, room)):
        group.buffers.append(ProvidedBuffer(asked.addr + index * asked.len, length, asked.bid + index))
    return 0


def prep_remove(request: Request) -> None:
    """io_remove_buffers_prep()"""
    sqe = request.sqe
    if sqe.rw_flags or sqe.addr or sqe.len or sqe.off or sqe.file_index:
        raise UringError(errno.EINVAL)
    if not 0 < sqe.fd <= MAX_BIDS_PER_BGID:
        raise UringError(errno.EINVAL, f"{sqe.fd} buffers")


def issue_remove(request: Request) -> int | Pending:
    """io_remove_buffers_legacy()"""
    group = request.context.resources.buffer_groups.get(request.sqe.buf_group)
    if group is None:
        raise UringError(errno.ENOENT)
    if isinstance(group, BufferRing):
        raise UringError(errno.EINVAL, "this group is a buffer ring")
    count = min(request.sqe.fd, len(group.buffers))
    for _ in range(count):
        group.buffers.popleft()
    return count
