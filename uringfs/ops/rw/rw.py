"""Reads and writes (io_uring/rw.c): what their SQEs say, and the text form of READV."""

import errno
from collections.abc import Callable
from struct import Struct

from uringfs.abi.constants import IOSQE_BUFFER_SELECT
from uringfs.abi.structs import IOVEC
from uringfs.engine.request import Attachment, Outcome, Pending, Request
from uringfs.errors import UringError
from uringfs.host.protocols import Caller, PathOpener
from uringfs.ops.rw import signalfd
from uringfs.ops.rw.io import CURRENT_POSITION, Reading, Transfer, Writing
from uringfs.ops.rw.iovec import access_ok, copy_iovec, import_iovec, import_ubuf
from uringfs.ops.rw.read_select import issue_selected

__all__ = ["import_iovec"]  # what other families take from here

IORING_RW_ATTR_FLAG_PI = 1
KMALLOC_MAX_SIZE = 1 << 22
ATTR_PI = Struct("<HHIQQQ")  # struct io_uring_attr_pi: flags, app_tag, len, addr, seed, rsvd


def _prep(request: Request) -> None:
    """__io_prep_rw(): what all of them check."""
    sqe = request.sqe
    if sqe.ioprio:
        request.caller.check_ioprio(sqe.ioprio)
    if sqe.attr_type_mask:
        if sqe.attr_type_mask != IORING_RW_ATTR_FLAG_PI:
            raise UringError(errno.EINVAL, f"attr_type_mask {sqe.attr_type_mask:#x}")
        fields = ATTR_PI.unpack(request.caller.memory.read(sqe.attr_ptr, ATTR_PI.size))
        _, _, length, address, _, rsvd = fields
        if rsvd:
            raise UringError(errno.EINVAL)
        access_ok(address, length)


def prep_vec(request: Request) -> None:
    """io_prep_rwv(): READV, WRITEV"""
    sqe = request.sqe
    _prep(request)
    if isinstance(request.attachment, TextRead):
        request.data = []
    elif request.flags & IOSQE_BUFFER_SELECT:
        # io_iov_buffer_select_prep(): the one iovec is a length
        if sqe.len != 1:
            raise UringError(errno.EINVAL)
        request.data = copy_iovec(request.caller, sqe.addr, 1)
    else:
        request.data = import_iovec(request.caller, sqe.addr, sqe.len)


def prep(request: Request) -> None:
    """io_prep_rw(): READ, WRITE"""
    sqe = request.sqe
    _prep(request)
    if request.flags & IOSQE_BUFFER_SELECT:
        request.data = [(0, sqe.len)]
    else:
        request.data = import_ubuf(sqe.addr, sqe.len)


def prep_multishot(request: Request) -> None:
    """io_read_mshot_prep()"""
    if not request.flags & IOSQE_BUFFER_SELECT:
        raise UringError(errno.EINVAL, "a multishot read needs provided buffers")
    _prep(request)
    if request.sqe.addr or request.sqe.len:
        raise UringError(errno.EINVAL)


def prep_fixed(request: Request) -> None:
    """io_prep_read_fixed(): the buffer is looked up when the request is issued."""
    _prep(request)
    request.data = [(request.sqe.addr, request.sqe.len)]


def prep_vec_fixed(request: Request) -> None:
    """io_prep_readv_fixed()"""
    _prep(request)
    if request.sqe.len > KMALLOC_MAX_SIZE // IOVEC.size:  # io_vec_realloc() comes before the count is looked at
        raise UringError(errno.ENOMEM)
    request.data = copy_iovec(request.caller, request.sqe.addr, request.sqe.len)


def issue_read(request: Request) -> Outcome:
    """io_read()"""
    if request.flags & IOSQE_BUFFER_SELECT:
        return issue_selected(request)
    file = request.file()
    if file.signalfd():
        return signalfd.issue(request, file, request.data)
    return Reading(request, file, request.data, attributes=bool(request.sqe.attr_type_mask)).issue()


def issue_write(request: Request) -> int | Pending:
    """io_write()"""
    return Writing(request, request.file(), request.data, attributes=bool(request.sqe.attr_type_mask)).issue()


def issue_read_fixed(request: Request) -> int | Pending:
    return _fixed(request, Reading)


def issue_write_fixed(request: Request) -> int | Pending:
    return _fixed(request, Writing)


def issue_readv_fixed(request: Request) -> int | Pending:
    return _fixed(request, Reading, vectored=True)


def issue_writev_fixed(request: Request) -> int | Pending:
    return _fixed(request, Writing, vectored=True)


def _fixed(request: Request, direction: type[Transfer], vectored: bool = False) -> int | Pending:
    """io_init_rw_fixed(), io_rw_import_reg_vec(): a registered buffer is the memory of who registered it."""
    file = request.file()
    buffer = request.buffer()
    for address, length in request.data:
        if vectored and not length:
            raise UringError(errno.EFAULT)
        buffer.validate(address, length)
    # what is the caller's own is quicker to reach as such, unless it has made itself another by exec
    caller = request.caller
    own = buffer.program is caller.program and (caller.in_call() is not None or not buffer.memory.gone())
    memory = None if own else buffer.memory
    return direction(request, file, request.data, memory, bool(request.sqe.attr_type_mask)).issue()


class TextRead(Attachment):
    """`readv path=... len=...`: the file is opened with the writer's rights, the data is kept."""

    def __init__(self, opener: PathOpener, caller: Caller, keep: Callable[[int, bytes], None]) -> None:
        """caller: the writer, detached."""
        self._opener = opener
        self._caller = caller
        self._keep = keep

    def issue(self, request: Request) -> int | Pending:
        return lambda: self._read(request)

    async def _read(self, request: Request) -> int:
        sqe, data = request.sqe, b""
        file = request.hold(await self._opener.open())
        while len(data) < sqe.len:
            offset = -1 if sqe.off == CURRENT_POSITION else sqe.off + len(data)
            piece = await file.read(sqe.len - len(data), offset, 0, self._caller)
            data += piece
            if not piece or file.streaming:
                break
        self._keep(sqe.user_data, data)
        request.failed = len(data) != sqe.len
        return len(data)
