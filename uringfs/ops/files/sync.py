"""FSYNC, SYNC_FILE_RANGE, FALLOCATE (io_uring/sync.c) and FTRUNCATE (truncate.c). The kernel gives all of
them to io-wq, and so do we to a thread."""

import errno
from collections.abc import Callable

from uringfs.abi.numbers import s32, s64
from uringfs.engine.request import Pending, Request
from uringfs.errors import UringError
from uringfs.host.files.calls import Fallocate, Fsync, Ftruncate, SyncFileRange
from uringfs.host.protocols import File

IORING_FSYNC_DATASYNC = 1


def need_zero(*fields: int) -> None:
    """EINVAL unless all of the fields are 0."""
    if any(fields):
        raise UringError(errno.EINVAL, "a field that must be 0 is not")


def in_thread(request: Request, file: File, refused: int, call: Callable[[int], int]) -> Pending:
    """A call whose failure breaks no link: io_fsync() and its like set a result, and no REQ_F_FAIL.
    refused: what a file of our own mount answers, as an io_uring does."""
    request.lenient = True
    if file.refused:
        raise UringError(refused)
    return lambda: file.call(call, request.caller)


def prep_fsync(request: Request) -> None:
    """io_fsync_prep()"""
    sqe = request.sqe
    need_zero(sqe.addr, sqe.buf_index, sqe.file_index)
    if sqe.fsync_flags & ~IORING_FSYNC_DATASYNC:
        raise UringError(errno.EINVAL, f"fsync_flags {sqe.fsync_flags:#x}")
    if sqe.off >> 63:
        raise UringError(errno.EINVAL, "negative offset")


def issue_fsync(request: Request) -> int | Pending:
    """io_fsync(). Of the whole file: a range is what a file system may make use of, and no call names it."""
    call = Fsync(bool(request.sqe.fsync_flags & IORING_FSYNC_DATASYNC))
    return in_thread(request, request.file(), errno.EINVAL, call)


def prep_sync_file_range(request: Request) -> None:
    """io_sfr_prep()"""
    need_zero(request.sqe.addr, request.sqe.buf_index, request.sqe.file_index)


def issue_sync_file_range(request: Request) -> int | Pending:
    sqe = request.sqe
    call = SyncFileRange(s64(sqe.off), sqe.len, sqe.sync_range_flags)
    return in_thread(request, request.file(), errno.ESPIPE, call)


def prep_fallocate(request: Request) -> None:
    """io_fallocate_prep()"""
    need_zero(request.sqe.buf_index, request.sqe.rw_flags, request.sqe.file_index)


def issue_fallocate(request: Request) -> int | Pending:
    sqe, file = request.sqe, request.file()
    call = Fallocate(s32(sqe.len), s64(sqe.off), s64(sqe.addr), request.caller.limit_fsize())
    return in_thread(request, file, errno.ENODEV, call)


def prep_ftruncate(request: Request) -> None:
    """io_ftruncate_prep()"""
    sqe = request.sqe
    need_zero(sqe.rw_flags, sqe.addr, sqe.len, sqe.buf_index, sqe.file_index, sqe.addr3)


def issue_ftruncate(request: Request) -> int | Pending:
    file = request.file()
    call = Ftruncate(s64(request.sqe.off), request.caller.limit_fsize())
    return in_thread(request, file, errno.EINVAL, call)
