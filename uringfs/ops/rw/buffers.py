"""IOSQE_BUFFER_SELECT (io_uring/kbuf.c): how a request takes a buffer, what it commits, and what it gives back.

| taken by | kernel function | used up |
|---|---|---|
| READ, RECV: `Buffers.select()` | io_buffer_select() | by the result; a worker's, or without poll, at once |
| a bundle of RECV: `peek()` | io_buffers_peek() | by the result: as many as it filled |
| SEND: `select_committed()` | io_buffers_select() | at once |

A buffer ring has its buffers back, while a request waits, unless they are used up: who reads first uses them. A
buffer of PROVIDE_BUFFERS is out of its group from the moment it is taken: recycle() puts it in front, and a READ
keeps it.
"""

import errno

from uringfs.abi.constants import IORING_CQE_F_BUF_MORE, IORING_CQE_F_BUFFER, IOSQE_ASYNC, UIO_MAXIOV
from uringfs.engine.kbuf import BufferRing, ProvidedBuffer, ProvidedBuffers
from uringfs.engine.request import Request
from uringfs.errors import UringError
from uringfs.host.protocols import Iovec

IORING_CQE_BUFFER_SHIFT = 16
INT_MAX = 0x7FFFFFFF
PEEK_MAX_IMPORT = 256  # buffers of one bundle


class Selection:
    """Buffers of a group that a request has taken (struct io_br_sel)."""

    def __init__(self, buffers: list[ProvidedBuffer], ring: BufferRing | None) -> None:
        """ring: whose buffers they are, None for one of PROVIDE_BUFFERS."""
        self.buffers = buffers
        self.iovecs: list[Iovec] = [(buffer.addr, buffer.len) for buffer in buffers]
        """Where the data goes, or is."""
        self.partial = False
        """The last was, or would have been, used up in part (buf_sel_arg.partial_map)."""
        self.empty = False
        """REQ_F_BL_EMPTY: no buffer is left behind these."""
        self.committed = False
        """A buffer ring's, and used up: it cannot have them back."""
        self._ring = ring
        self._more = False  # committed, and the last is not used up

    @property
    def provided(self) -> bool:
        """True for a buffer of PROVIDE_BUFFERS."""
        return self._ring is None

    def commit(self, length: int | None = None) -> None:
        """io_kbuf_commit(): length bytes are used, None for all of them before the result is known."""
        if self._ring is not None and not self.committed:
            self.committed = True
            length, count = (
                (self._total(), len(self.buffers)) if length is None else (length, self._covered(length))
            )
            self._more = not self._ring.commit(length, count)

    def put(self, res: int) -> int:
        """io_put_kbufs(): res bytes are used; the flags of the CQE."""
        self.commit(res)
        flags = IORING_CQE_F_BUFFER | self.buffers[0].bid << IORING_CQE_BUFFER_SHIFT
        return flags | IORING_CQE_F_BUF_MORE if self._more else flags

    def _total(self) -> int:
        return sum(buffer.len for buffer in self.buffers)

    def _covered(self, res: int) -> int:
        """io_bundle_nbufs(): how many buffers res bytes use up; one alone, however few bytes were stored."""
        if len(self.buffers) == 1:
            return 1
        count = 0
        while res > 0 and count < len(self.buffers):
            res -= self.buffers[count].len
            count += 1
        return count


class Buffers:
    """What one request takes of its buffer group, from attempt to attempt."""

    def __init__(self, request: Request, names_null: bool = True, keeps_provided: bool = False) -> None:
        """names_null: a buffer of PROVIDE_BUFFERS at NULL is used up, and named by the CQE of the request that it
        ends. keeps_provided: a buffer of these stays the request's while it waits, and is gone if it fails."""
        self.selection: Selection | None = None
        """What the request has; None before it has taken a buffer, and once it has none any more."""
        self._request = request
        self._bgid = request.sqe.buf_group
        self._groups = request.context.resources.buffer_groups
        self._names_null = names_null
        self._keeps_provided = keeps_provided

    # -- taking

    def select(self, length: int, pollable: bool = True, multishot: bool = False) -> Selection:
        """io_buffer_select(): one buffer, at most length bytes of it (0: all of it). A file that cannot be polled
        uses it up at once, and so does a worker, which leaves a multishot to the poll. ENOBUFS, also for an
        address of NULL."""
        group = self._groups.get(self._bgid)
        if not isinstance(group, BufferRing):
            return self._of_provided(group, length)
        selection = self._of_ring(group, length)
        if not pollable or (self._request.flags & IOSQE_ASYNC and not multishot):  # io_should_commit()
            selection.commit()
        if not selection.buffers[0].addr:
            self.selection = None
            raise UringError(errno.ENOBUFS, "a buffer at NULL")
        return selection

    def peek(self, max_len: int) -> Selection:
        """io_buffers_peek(), for IORING_RECVSEND_BUNDLE: as many buffers as max_len bytes need; 0 for one
        buffer, whatever its length. ENOENT without the group, ENOBUFS."""
        group = self._group()
        return self._bundle(group, max_len) if isinstance(group, BufferRing) else self._of_provided(group, max_len)

    def select_committed(self, length: int, bundle: bool) -> Selection:
        """io_buffers_select(): used up whatever comes of the request, and its own while it waits. bundle: as many
        buffers as length bytes need. ENOENT without the group, ENOBUFS."""
        group = self._group()
        if not isinstance(group, BufferRing):  # io_provided_buffers_select() is not told how much is asked for
            return self._of_provided(group, 0)
        if bundle:
            selection = self._bundle(group, min(length or INT_MAX, INT_MAX))
        else:
            selection = self._of_ring(group, length)
        selection.commit()
        return selection

    def _group(self) -> BufferRing | ProvidedBuffers:
        group = self._groups.get(self._bgid)
        if group is None:
            raise UringError(errno.ENOENT, f"there is no buffer group {self._bgid}")
        return group

    def _of_provided(self, group: ProvidedBuffers | None, length: int) -> Selection:
        """io_provided_buffer_select(). NULL is an address, and yet says that there is none."""
        if group is None or not group.buffers:
            raise UringError(errno.ENOBUFS, f"buffer group {self._bgid} is empty")
        self.selection = selection = Selection([group.buffers.popleft()], None)
        selection.empty = not group.buffers
        (buffer,) = selection.buffers
        if not buffer.addr:
            if self._names_null:
                self._request.cqe_flags = self.put(-errno.ENOBUFS)
            else:
                self.recycle()
            raise UringError(errno.ENOBUFS, "a buffer at NULL")
        if length and length < buffer.len:
            selection.iovecs = [(buffer.addr, length)]
        return selection

    def _of_ring(self, group: BufferRing, length: int) -> Selection:
        """io_ring_buffer_select()"""
        buffer = _first(group)
        if length and length < buffer.len:
            buffer = buffer._replace(len=length)
        self.selection = selection = Selection([buffer], group)
        selection.empty = group.available() == 1
        return selection

    def _bundle(self, group: BufferRing, max_len: int) -> Selection:
        """io_ring_buffers_peek()"""
        first = _first(group)
        most = 1
        if max_len:
            if not first.len:
                raise UringError(errno.ENOBUFS)
            most = min(group.available(), UIO_MAXIOV, PEEK_MAX_IMPORT, -(-max_len // first.len))
        left, partial, empty = max_len or INT_MAX, False, False
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
        self.selection = selection = Selection(found, group)
        selection.partial, selection.empty = partial, empty
        return selection

    # -- using and giving back

    def put(self, res: int) -> int:
        """io_put_kbufs(): res bytes of what was taken are used, and the request has none now; the CQE's flags."""
        selection, self.selection = self.selection, None
        return 0 if selection is None else selection.put(res)

    def recycle(self) -> None:
        """io_kbuf_recycle(): nothing was stored, so the group has it back, and the request takes one anew. What is
        used up already stays the request's."""
        selection = self.selection
        if selection is None or selection.committed:
            return
        self.selection = None
        group = self._groups.get(self._bgid)
        if selection.provided and isinstance(group, ProvidedBuffers):
            group.buffers.appendleft(selection.buffers[0])

    def wait(self) -> None:
        """The request has to wait: it gives back what it can, and is cancelled with the name of what it cannot."""
        self._recycle_unless_kept()
        if self.selection is not None:
            self._request.cqe_flags = self.selection.put(-errno.ECANCELED)

    def fail(self, error: UringError) -> None:
        """The request has failed: what it cannot give back is gone, and named in the CQE."""
        self._recycle_unless_kept()
        if self.selection is not None:
            self._request.cqe_flags = self.put(-error.errno)

    def _recycle_unless_kept(self) -> None:
        if not (self._keeps_provided and self.selection is not None and self.selection.provided):
            self.recycle()


def _first(ring: BufferRing) -> ProvidedBuffer:
    try:
        if not ring.available():
            raise UringError(errno.ENOBUFS, "the buffer ring is empty")
        return ring.at()
    except UringError as error:
        # its memory is gone: the kernel would still hold the pages
        raise UringError(errno.ENOBUFS, str(error)) from error
