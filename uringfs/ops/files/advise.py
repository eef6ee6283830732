"""FADVISE and MADVISE (io_uring/advise.c)."""

import errno

from uringfs.abi.control import URINGFS_ENTER_ADVISES
from uringfs.abi.numbers import s32, s64
from uringfs.clientwork.delivery import Delivery
from uringfs.engine.request import Pending, Request
from uringfs.errors import UringError
from uringfs.host.files.calls import Fadvise
from uringfs.host.process.advise import REMOTE
from uringfs.ops.files.sync import need_zero

POSIX_FADV_NOREUSE = 5  # the last


def prep_fadvise(request: Request) -> None:
    """io_fadvise_prep()"""
    need_zero(request.sqe.buf_index, request.sqe.file_index)


def issue_fadvise(request: Request) -> int | Pending:
    """io_fadvise(). A 64-bit length lies in addr, a 32-bit one in len."""
    sqe, file = request.sqe, request.file()
    advice = s32(sqe.fadvise_advice)
    offset, length = s64(sqe.off), s64(sqe.addr or sqe.len)
    if file.refused:
        # generic_fadvise() of what lies on no device: valid advice is taken, and ignored
        if offset < 0 or length < 0 or not 0 <= advice <= POSIX_FADV_NOREUSE:
            raise UringError(errno.EINVAL)
        return 0
    return lambda: file.call(Fadvise(offset, length, advice), request.caller)


def prep_madvise(request: Request) -> None:
    """io_madvise_prep()"""
    need_zero(request.sqe.buf_index, request.sqe.file_index)


def issue_madvise(request: Request) -> int | Pending:
    """io_madvise(). A 64-bit length lies in off, a 32-bit one in len. Done by the client where madvise(2) is for
    one's own memory, if it does its part, else as far as the host can."""
    sqe = request.sqe
    length, advice = sqe.off or sqe.len, s32(sqe.fadvise_advice)
    request.lenient = True
    if advice in REMOTE or not request.caller.can & URINGFS_ENTER_ADVISES:
        return lambda: request.caller.madvise(sqe.addr, length, advice)
    delivery = request.context.deliveries.begin(request.caller, URINGFS_ENTER_ADVISES)
    return lambda: _by_the_client(delivery, sqe.addr, length, advice)


async def _by_the_client(delivery: Delivery, address: int, length: int, advice: int) -> int:
    with delivery:
        return await delivery.advise(address, length, advice)
