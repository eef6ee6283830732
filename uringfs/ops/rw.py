"""Reads (io_uring/rw.c): READV, and the text form of it."""

import errno
from collections.abc import Callable, Sequence

from uringfs.abi.constants import (
    MAX_RW_COUNT,
    RWF_APPEND,
    RWF_DSYNC,
    RWF_HIPRI,
    RWF_NOWAIT,
    RWF_SYNC,
    UIO_MAXIOV,
)
from uringfs.abi.structs import IOVEC
from uringfs.errors import UringError
from uringfs.host.base import Caller, File, Iovec, Memory, PathOpener
from uringfs.ops.request import Attachment, Pending, Request

CHUNK = 1 << 20
"""Bytes moved at once: what one request may hold of the daemon's memory."""
TASK_SIZE_MAX = 0x7FFFFFFFF000  # x86-64 with four levels of page tables; above it access_ok() fails
RWF_SUPPORTED = RWF_HIPRI | RWF_DSYNC | RWF_SYNC | RWF_NOWAIT | RWF_APPEND
CURRENT_POSITION = (1 << 64) - 1


def import_iovec(caller: Caller, address: int, count: int) -> list[Iovec]:
    """lib/iov_iter.c: __import_iovec(). EINVAL beyond UIO_MAXIOV or a negative length, EFAULT."""
    if count > UIO_MAXIOV:
        raise UringError(errno.EINVAL, f"{count} iovecs; at most {UIO_MAXIOV}")
    if count == 0:
        return []
    if address + count * IOVEC.size > TASK_SIZE_MAX:
        raise UringError(errno.EFAULT)
    left, found = MAX_RW_COUNT, []
    for base, length in IOVEC.iter_unpack(caller.memory.read(address, count * IOVEC.size)):
        if length >> 63:
            raise UringError(errno.EINVAL, "iov_len is negative")
        if base + length > TASK_SIZE_MAX:
            raise UringError(errno.EFAULT)
        length = min(length, left)
        left -= length
        found.append((base, length))
    return found


def prep_readv(request: Request) -> None:
    """io_prep_readv()"""
    sqe = request.sqe
    if sqe.pad2:  # sqe->attr_type_mask: no kernel attributes without integrity support
        raise UringError(errno.EINVAL)
    _check_ioprio(sqe.ioprio)
    request.data = [] if request.attachment else import_iovec(request.caller, sqe.addr, sqe.len)


def _check_ioprio(ioprio: int) -> None:
    """block/ioprio.c: ioprio_check_cap(), but for the capability, which decides about class RT alone."""
    ioprio_class, level = ioprio >> 13, ioprio & 7
    if ioprio_class > 3 or (ioprio_class == 0 and level):
        raise UringError(errno.EINVAL, f"ioprio {ioprio:#x}")


def issue_readv(request: Request) -> int | Pending:
    """io_read(): inline as far as nothing blocks, the rest in a task."""
    transfer = Transfer(request, request.file(), request.data)
    done = transfer.inline()
    return transfer.rest if done is None else done


class Transfer:
    """One read of a file into iovecs of the caller."""

    def __init__(self, request: Request, file: File, iovecs: Sequence[Iovec]) -> None:
        sqe = request.sqe
        self._request = request
        self._file = file
        self._iovecs = list(iovecs)
        self._total = sum(length for _, length in iovecs)
        self._done = 0
        self._room = CHUNK
        self._flags = sqe.rw_flags & ~RWF_NOWAIT
        self._nowait = bool(sqe.rw_flags & RWF_NOWAIT)
        self._offset = -1 if sqe.off == CURRENT_POSITION else sqe.off
        self._check()

    def _check(self) -> None:
        """io_rw_init_file() and rw_verify_area()"""
        if not self._file.readable_mode():
            raise UringError(errno.EBADF)
        if self._file.refused:
            raise UringError(self._file.refused)
        if self._request.sqe.rw_flags & ~RWF_SUPPORTED:
            raise UringError(errno.EOPNOTSUPP, f"rw_flags {self._request.sqe.rw_flags:#x}")
        if self._request.sqe.rw_flags & RWF_HIPRI:
            raise UringError(errno.EINVAL, "RWF_HIPRI needs IORING_SETUP_IOPOLL")
        if self._offset + self._total >> 63 > 0:
            raise UringError(errno.EINVAL, "negative offset, or a read past the largest")

    def inline(self) -> int | None:
        """Read what is there; the result if that is all of it, None if the rest has to be waited for."""
        file = self._file
        while self._done < self._total or self._done == 0:
            if self._done >= CHUNK:
                return None
            if self._unwritable():
                if file.ready():
                    raise UringError(errno.EFAULT)
                return None
            try:
                data = file.try_read(self._size(), self._position(), self._flags)
            except UringError as error:
                if error.errno == errno.EAGAIN and not (self._nowait or file.nonblock):
                    return self._finish() if self._done and file.streaming else None
                return self._failed(error)
            if not self._store(data, self._request.caller.memory) or self._total == 0:
                return self._finish()
        return self._finish()

    async def rest(self) -> int:
        """Wait for the rest."""
        memory = self._request.caller.memory
        try:
            return await self._rest(memory)
        except UringError as error:
            if error.errno == errno.EFAULT and memory.gone():
                # The caller exits: io_uring_files_cancel() comes before exit_mm()
                raise UringError(errno.ECANCELED) from error
            raise

    async def _rest(self, memory: Memory) -> int:
        file = self._file
        while self._done < self._total or self._done == 0:
            if self._unwritable():
                await file.wait()
                raise UringError(errno.EFAULT)
            try:
                data = await file.read(self._size(), self._position(), self._flags)
            except UringError as error:
                return self._failed(error)
            if not self._store(data, memory):
                break
        return self._finish()

    def _size(self) -> int:
        """Bytes to ask for next."""
        return min(self._total - self._done, CHUNK, self._room)

    def _unwritable(self) -> bool:
        """Of a stream no more is read than the caller's memory can take: what is read and cannot be
        stored is lost. True if it can take nothing, which is EFAULT as soon as there is data."""
        if self._file.streaming and self._total:
            self._room = self._request.caller.memory.writable(self._iovecs)
            if self._room < self._total - self._done and self._file.available() > self._room:
                # copy_page_to_iter() takes nothing of a buffer it cannot copy whole
                self._room = 0
        return self._room == 0

    def _position(self) -> int:
        return self._offset if self._offset < 0 else self._offset + self._done

    def _store(self, data: bytes, memory: Memory) -> bool:
        """Hand data to the caller; False if the transfer ends here."""
        stored = memory.scatter(data, self._iovecs)
        self._done += stored
        if stored < len(data):
            if self._offset < 0 and not self._file.streaming:
                # io_req_rw_complete() moves the position of a whole success only
                self._file.unread(self._done - stored + len(data))
            if not self._done:
                raise UringError(errno.EFAULT)
            return False
        self._iovecs = _after(self._iovecs, stored)
        # Files deliver all there is (need_complete_io()), streams what there is now.
        return bool(data) and not self._file.streaming

    def _failed(self, error: UringError) -> int:
        if not self._done:
            raise error
        return self._finish()

    def _finish(self) -> int:
        self._request.failed = self._done != self._total
        return self._done


def _after(iovecs: list[Iovec], count: int) -> list[Iovec]:
    """What is left of iovecs behind their first `count` bytes."""
    for index, (base, length) in enumerate(iovecs):
        if count < length:
            return [(base + count, length - count), *iovecs[index + 1 :]]
        count -= length
    return []


class TextRead(Attachment):
    """`readv path=... len=...`: the file is opened with the writer's rights, the data is kept."""

    def __init__(self, opener: PathOpener, keep: Callable[[int, bytes], None]) -> None:
        self._opener = opener
        self._keep = keep

    def issue(self, request: Request) -> int | Pending:
        return lambda: self._read(request)

    async def _read(self, request: Request) -> int:
        sqe, data = request.sqe, b""
        file = request.hold(await self._opener.open())
        while len(data) < sqe.len:
            offset = -1 if sqe.off == CURRENT_POSITION else sqe.off + len(data)
            piece = await file.read(sqe.len - len(data), offset, 0)
            data += piece
            if not piece or file.streaming:
                break
        self._keep(sqe.user_data, data)
        request.failed = len(data) != sqe.len
        return len(data)
