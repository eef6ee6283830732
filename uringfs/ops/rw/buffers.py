"""Provided buffers (io_uring/kbuf.c): PROVIDE_BUFFERS, REMOVE_BUFFERS, and IOSQE_BUFFER_SELECT for the ops
that take it: select(), then put() with the result, or recycle() where the request has to wait first.
"""

import errno
from typing import NamedTuple

from uringfs.abi.constants import IORING_CQE_F_BUF_MORE, IORING_CQE_F_BUFFER, IOSQE_ASYNC, MAX_RW_COUNT, UIO_MAXIOV
from uringfs.engine.kbuf import USHRT_MAX, BufferRing, ProvidedBuffer, ProvidedBuffers
from uringfs.engine.request import Pending, Request
from uringfs.engine.resources import Resources
from uringfs.errors import UringError
from uringfs.host.protocols import Iovec

IORING_CQE_BUFFER_SHIFT = 16
MAX_BIDS_PER_BGID = 1 << 16
PEEK_MAX_IMPORT = 256  # buffers of one bundle
TASK_SIZE_MAX = 0x7FFFFFFFF000


class Selection:
    """Buffers a request has taken (struct io_br_sel)."""

    def __init__(
        self, resources: Resources, bgid: int, buffers: list[ProvidedBuffer], ring: BufferRing | None
    ) -> None:
        self._resources = resources
        self._bgid = bgid
        self._buffers = buffers
        self._ring = ring
        self._committed = False
        self.partial = False
        """The last was, or would have been, used up in part (buf_sel_arg.partial_map)."""
        self.empty = False
        """REQ_F_BL_EMPTY: no buffer is left behind these."""
        self._more = False  # committed, and the last is not used up
        self.bid = buffers[0].bid
        self.iovecs: list[Iovec] = [(buffer.addr, buffer.len) for buffer in buffers]
        """Where the data goes."""

    @property
    def provided(self) -> bool:
        """By PROVIDE_BUFFERS."""
        return self._ring is None

    @property
    def total(self) -> int:
        return sum(buffer.len for buffer in self._buffers)

    def commit(self) -> None:
        """Take it for good before the result is known (io_should_commit())."""
        if self._ring is not None and not self._committed:
            self._more = not self._ring.commit(self.total, len(self._buffers))
            self._committed = True

    def put(self, res: int) -> int:
        """io_put_kbufs(): it is used; the flags of its CQE."""
        flags = IORING_CQE_F_BUFFER | self.bid << IORING_CQE_BUFFER_SHIFT
        if self._ring is not None and not self._committed:
            self._committed = True
            self._more = not self._ring.commit(res, self._covered(res))
        return flags | IORING_CQE_F_BUF_MORE if self._more else flags

    def _covered(self, res: int) -> int:
        """io_bundle_nbufs(); of one buffer alone nothing is left, however little was stored."""
        if len(self._buffers) == 1:
            return 1
        count = 0
        while res > 0 and count < len(self._buffers):
            res -= self._buffers[count].len
            count += 1
        return count

    def recycle(self) -> bool:
        """io_kbuf_recycle(): nothing was stored, give it back: select() again later. False if it cannot
        be given back any more: it stays the request's."""
        if self._ring is not None:
            return not self._committed
        group = self._resources.buffer_groups.get(self._bgid)
        if isinstance(group, ProvidedBuffers):
            group.buffers.appendleft(self._buffers[0])
        return True


def select(
    request: Request, length: int, pollable: bool, names: bool = True, multishot: bool = False
) -> Selection:
    """io_buffer_select(): one buffer, at most length bytes of it (0: all of it). A file that cannot be polled
    uses it up at once, and so does a worker, which leaves a multishot to the poll. ENOBUFS, also for one of
    PROVIDE_BUFFERS at NULL: it is gone and named in the CQE, or stays where it is."""
    resources, bgid = request.context.resources, request.sqe.buf_group
    group = resources.buffer_groups.get(bgid)
    if isinstance(group, BufferRing):
        buffer = _first(group)
        clipped = buffer._replace(len=min(length, buffer.len) if length else buffer.len)
        selection = Selection(resources, bgid, [clipped], group)
        selection.empty = group.available() == 1
        if not pollable or (request.flags & IOSQE_ASYNC and not multishot):
            selection.commit()
        return selection
    if group is None or not group.buffers:
        raise UringError(errno.ENOBUFS, f"buffer group {bgid} is empty")
    buffer = group.buffers.popleft()
    selection = Selection(resources, bgid, [buffer], None)
    selection.empty = not group.buffers
    if not buffer.addr:  # it is taken, and yet NULL says that there is none
        if names:
            request.cqe_flags = selection.put(-errno.ENOBUFS)
        else:
            selection.recycle()
        raise UringError(errno.ENOBUFS, "a buffer at NULL")
    if length and length < buffer.len:
        selection.iovecs = [(buffer.addr, length)]
    return selection


def usable(selection: Selection) -> Selection:
    """io_ring_buffer_select(): its answer is an address, and NULL is none. ENOBUFS."""
    if not selection.iovecs[0][0]:
        raise UringError(errno.ENOBUFS, "a buffer at NULL")
    return selection


def select_bundle(request: Request, max_len: int, names: bool = True) -> Selection:
    """io_buffers_peek(), for IORING_RECVSEND_BUNDLE: as many buffers as max_len bytes need; 0 for one
    buffer, whatever its length. ENOBUFS."""
    resources, bgid = request.context.resources, request.sqe.buf_group
    group = resources.buffer_groups.get(bgid)
    if not isinstance(group, BufferRing):
        return select(request, max_len, True, names)
    first = _first(group)
    most = 1
    if max_len:
        if not first.len:
            raise UringError(errno.ENOBUFS)
        most = min(group.available(), UIO_MAXIOV, PEEK_MAX_IMPORT, -(-max_len // first.len))
    left, partial, empty = max_len or 0x7FFFFFFF, False, False
    found: list[ProvidedBuffer] = []
    for ahead in range(most):
        buffer = group.at(ahead)
        if buffer.len > left:
            if not group.incremental:
                partial = True
                if found:
                    break  # a part of a buffer would use it up: it is only ever the first
            buffer = buffer._replace(len=left)
        found.append(buffer)
        left -= buffer.len
        if not left:
            break
    else:
        empty = most == group.available()  # not where what was asked for ends with the last
    selection = Selection(resources, bgid, found, group)
    selection.partial, selection.empty = partial, empty
    return selection


def _first(ring: BufferRing) -> ProvidedBuffer:
    try:
        if not ring.available():
            raise UringError(errno.ENOBUFS, "the buffer ring is empty")
        return ring.at()
    except UringError as error:
        # its memory is gone: the kernel would still hold the pages
        raise UringError(errno.ENOBUFS, str(error)) from error


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
    if sqe.addr + size > TASK_SIZE_MAX:
        raise UringError(errno.EFAULT)
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
