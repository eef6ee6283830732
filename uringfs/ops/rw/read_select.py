"""Reads into provided buffers (io_uring/rw.c): io_read() with IOSQE_BUFFER_SELECT, io_read_mshot().

A buffer is taken for each attempt. A buffer ring has it back while the request waits: it is the reader
that comes first when there is data who uses it.
"""

import errno

import trio

from uringfs.engine.request import Pending, Request
from uringfs.errors import UringError
from uringfs.host.protocols import File
from uringfs.ops.events.readiness import DataWaits
from uringfs.ops.rw.buffers import Buffers
from uringfs.ops.rw.io import Reading


class _Reader:
    def __init__(self, request: Request, file: File, length: int, multishot: bool = False) -> None:
        self._request = request
        self._file = file
        self._length = length
        self._multishot = multishot
        self.buffers = Buffers(request, keeps_provided=not multishot)
        self.waits = DataWaits(request, file)

    def attempt(self) -> int | Pending:
        """Take a buffer, unless one is left of the attempt before, and read what is there. ENOBUFS, and a read's
        errors."""
        request, buffers = self._request, self.buffers
        selection = buffers.selection or buffers.select(self._length, self._file.can_poll, self._multishot)
        try:
            attributes = bool(request.sqe.attr_type_mask)
            return Reading(request, self._file, selection.iovecs, attributes=attributes).issue(arms=False)
        except UringError as error:
            buffers.fail(error)
            raise

    async def waited_for(self, rest: Pending) -> int:
        """The result of a read that goes on without the request's waiting for data."""
        try:
            return await rest()
        except UringError as error:
            self.buffers.fail(error)
            raise

    async def finish(self, rest: Pending) -> int:
        """The result of a read in a thread: what it took stays the request's, also if that is cancelled."""
        selection = self.buffers.selection
        if selection is not None and selection.provided:
            self._request.cqe_flags = selection.put(-errno.ECANCELED)
        return self.done(await self.waited_for(rest))

    def done(self, res: int) -> int:
        self._request.cqe_flags = self.buffers.put(res)
        return res

    async def rest(self) -> int:
        """Wait for data, take a buffer, read."""
        while True:
            await self.waits.wait()
            outcome = self.attempt()
            if isinstance(outcome, int):
                return self.done(outcome)
            if not self._file.nowait:
                return await self.finish(outcome)
            self.buffers.wait()


def issue_selected(request: Request) -> int | Pending:
    """io_read(): the one iovec of request.data has the length that is asked for."""
    file = request.file()
    reader = _Reader(request, file, request.data[0][1])
    outcome = reader.attempt()
    if isinstance(outcome, int):
        return reader.done(outcome)
    if not file.can_poll or not file.nowait:
        return lambda: reader.finish(outcome)
    reader.buffers.wait()
    reader.waits.arm()
    return reader.rest


def issue_multishot(request: Request) -> int | Pending:
    """io_read_mshot(): a CQE for each piece of data, until an error, the end, or no buffer is left."""
    file = request.file()
    if file.regular:
        raise UringError(errno.EBADFD, "a multishot read needs a file that can be polled")
    reader = _Reader(request, file, 0, multishot=True)
    done = _shots(request, file, reader)
    if done is not None:
        return done
    reader.waits.arm()
    return lambda: _multishot(request, file, reader)


def _shots(request: Request, file: File, reader: _Reader) -> int | None:
    """Read while there is data: the result that ends it, or None to wait."""
    while True:
        try:
            outcome = reader.attempt()
        except UringError as error:
            if error.errno != errno.EAGAIN or not file.nonblock:
                raise
            request.cqe_flags = 0
            return None  # O_NONBLOCK is about one read (io_read_mshot())
        if not isinstance(outcome, int):
            reader.buffers.wait()
            return None
        done = _posted(request, outcome, reader.buffers)
        if done is not None or not file.ready():  # io_poll_multishot_retry(): no buffer is asked for without data
            return done


def _posted(request: Request, res: int, buffers: Buffers) -> int | None:
    """A CQE for what has been read: the result that ends the request, or None."""
    if res == 0:
        buffers.recycle()
        return 0
    request.failed = False
    flags = buffers.put(res)
    if request.post_more(res, flags):
        return None
    request.cqe_flags = flags
    return res


async def _multishot(request: Request, file: File, reader: _Reader) -> int:
    while True:
        await reader.waits.wait()
        done = _shots(request, file, reader) if file.nowait else await _waited_for(request, reader)
        if done is not None:
            return done


async def _waited_for(request: Request, reader: _Reader) -> int | None:
    """Read once, of a file without RWF_NOWAIT, as a pipe is that was spliced (pipe_clear_nowait())."""
    outcome = reader.attempt()
    if not isinstance(outcome, int):
        try:
            outcome = await reader.waited_for(outcome)
        except trio.Cancelled:
            reader.buffers.recycle()
            raise
    return _posted(request, outcome, reader.buffers)
