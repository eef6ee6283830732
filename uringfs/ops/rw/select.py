"""Reads into provided buffers (io_uring/rw.c: io_read() with IOSQE_BUFFER_SELECT, io_read_mshot()).

A buffer is taken for each attempt. A buffer ring has it back while the request waits: it is the reader
that comes first when there is data who uses it.
"""

import errno

import trio

from uringfs.engine.request import Pending, Request
from uringfs.errors import UringError
from uringfs.host.protocols import File
from uringfs.ops.events.readiness import until_readable
from uringfs.ops.rw.buffers import Selection, select, usable
from uringfs.ops.rw.io import Reading


class _Reader:
    def __init__(self, request: Request, file: File, length: int, multishot: bool = False) -> None:
        self._request = request
        self._file = file
        self._length = length
        self._multishot = multishot
        self._kept: Selection | None = None
        """One that cannot be given back."""

    def attempt(self) -> tuple[int | Pending, Selection]:
        """Take a buffer and read what is there. ENOBUFS, and what a read raises."""
        request = self._request
        kept, self._kept = self._kept, None
        selection = kept or usable(select(request, self._length, self._file.can_poll, multishot=self._multishot))
        try:
            attributes = bool(request.sqe.attr_type_mask)
            outcome = Reading(request, self._file, selection.iovecs, attributes=attributes).issue()
        except UringError as error:
            self.spoilt(selection, error)
            raise
        return outcome, selection

    def spoilt(self, selection: Selection, error: UringError) -> None:
        """A ring gets its buffer back, and a multishot read gives back all; else it is gone, and named in
        the CQE."""
        if (selection.provided and not self._multishot) or not selection.recycle():
            self._request.cqe_flags = selection.put(-error.errno)

    def give_back(self, selection: Selection) -> None:
        """While it waits: io_read() keeps one of PROVIDE_BUFFERS, io_read_mshot() does not."""
        keeps = selection.provided and not self._multishot
        self._kept = selection if keeps or not selection.recycle() else None
        if self._kept is not None:
            self._request.cqe_flags = selection.put(-errno.ECANCELED)

    async def finish(self, rest: Pending, selection: Selection) -> int:
        if selection.provided:  # it stays the request's, also if that is cancelled
            self._request.cqe_flags = selection.put(-errno.ECANCELED)
        try:
            done = await rest()
        except UringError as error:
            self.spoilt(selection, error)
            raise
        self._request.cqe_flags = selection.put(done)
        return done

    async def rest(self) -> int:
        """Wait for data, take a buffer, read."""
        while True:
            await until_readable(self._request, self._file)
            outcome, selection = self.attempt()
            if isinstance(outcome, int):
                self._request.cqe_flags = selection.put(outcome)
                return outcome
            if not self._file.nowait:
                return await self.finish(outcome, selection)
            self.give_back(selection)


def issue_selected(request: Request) -> int | Pending:
    """io_read(): the one iovec of request.data has the length that is asked for."""
    file = request.file()
    reader = _Reader(request, file, request.data[0][1])
    outcome, selection = reader.attempt()
    if isinstance(outcome, int):
        request.cqe_flags = selection.put(outcome)
        return outcome
    if not file.can_poll or not file.nowait:
        return lambda: reader.finish(outcome, selection)
    reader.give_back(selection)
    return reader.rest


def issue_multishot(request: Request) -> int | Pending:
    """io_read_mshot(): a CQE for each piece of data, until an error, the end, or no buffer is left."""
    file = request.file()
    if file.regular:
        raise UringError(errno.EBADFD, "a multishot read needs a file that can be polled")
    reader = _Reader(request, file, 0, multishot=True)
    done = _shots(request, file, reader)
    return (lambda: _multishot(request, file, reader)) if done is None else done


def _shots(request: Request, file: File, reader: _Reader) -> int | None:
    """Read while there is data: the result that ends it, or None to wait."""
    while True:
        try:
            outcome, selection = reader.attempt()
        except UringError as error:
            if error.errno != errno.EAGAIN or not file.nonblock:
                raise
            request.cqe_flags = 0
            return None  # O_NONBLOCK is about one read (io_read_mshot())
        if not isinstance(outcome, int):
            reader.give_back(selection)
            return None
        done = _posted(request, outcome, selection)
        if done is not None or not file.ready():  # io_poll_multishot_retry(): no buffer is asked for without data
            return done


def _posted(request: Request, res: int, selection: Selection) -> int | None:
    """A CQE for what has been read: the result that ends the request, or None."""
    if res == 0:
        selection.recycle()
        return 0
    request.failed = False
    flags = selection.put(res)
    if request.post_more(res, flags):
        return None
    request.cqe_flags = flags
    return res


async def _multishot(request: Request, file: File, reader: _Reader) -> int:
    while True:
        await until_readable(request, file)
        done = _shots(request, file, reader) if file.nowait else await _waited_for(request, reader)
        if done is not None:
            return done


async def _waited_for(request: Request, reader: _Reader) -> int | None:
    """Read once, of a file without RWF_NOWAIT, as a pipe is that was spliced (pipe_clear_nowait())."""
    outcome, selection = reader.attempt()
    if not isinstance(outcome, int):
        try:
            outcome = await outcome()
        except UringError as error:
            reader.spoilt(selection, error)
            raise
        except trio.Cancelled:
            selection.recycle()
            raise
    return _posted(request, outcome, selection)
