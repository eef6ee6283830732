"""OPENAT, OPENAT2, CLOSE, FIXED_FD_INSTALL (io_uring/openclose.c)."""

import errno
import fcntl
import os
from struct import Struct
from typing import NamedTuple

from uringfs.abi.constants import IOSQE_ASYNC, IOSQE_FIXED_FILE
from uringfs.abi.machine import O_LARGEFILE
from uringfs.abi.numbers import PAGE
from uringfs.clientwork.delivery import Delivery
from uringfs.engine.locks import TicketLock
from uringfs.engine.request import Outcome, Request
from uringfs.errors import UringError
from uringfs.host.protocols import Actor, File, Memory, Name
from uringfs.ops.files.newfile import deliver, file_lock, remove_fixed
from uringfs.ops.paths.names import acting, directory, getname, refuse_fixed_file

OPEN_HOW = Struct("<QQQ")  # struct open_how: flags, mode, resolve
IORING_FIXED_FD_NO_CLOEXEC = 1
RESOLVE_CACHED = 0x20
O_PATH = os.O_PATH
_O_TMPFILE = os.O_TMPFILE & ~os.O_DIRECTORY
FORCE_ASYNC = os.O_TRUNC | os.O_CREAT | _O_TMPFILE
PIECE = 1 << 20
"""Bytes of a client's memory that are looked at in one go, of at most 4 GiB."""
ZEROS = bytes(PIECE)
O_PATH_FLAGS = os.O_DIRECTORY | os.O_NOFOLLOW | O_PATH | os.O_CLOEXEC
_FASYNC = 0o20000
VALID_OPEN_FLAGS = (  # include/linux/fcntl.h
    os.O_ACCMODE
    | os.O_CREAT
    | os.O_EXCL
    | os.O_NOCTTY
    | os.O_TRUNC
    | os.O_APPEND
    | os.O_NONBLOCK
    | os.O_SYNC
    | _FASYNC
    | os.O_DIRECT
    | O_LARGEFILE
    | os.O_NOATIME
    | O_PATH_FLAGS
    | _O_TMPFILE
)


class Open(NamedTuple):
    """struct io_open"""

    actor: Actor
    name: Name
    flags: int
    mode: int
    how: bytes
    """struct open_how, for OPENAT2."""


def prep_openat(request: Request) -> None:
    """io_openat_prep()"""
    flags = request.sqe.open_flags
    _prep(request, flags, request.sqe.len, b"")


def prep_openat2(request: Request) -> None:
    """io_openat2_prep()"""
    how = _open_how(request.caller.memory, request.sqe.addr2, request.sqe.len)
    flags, mode, _ = OPEN_HOW.unpack(how)
    _prep(request, flags, mode, how)


def _open_how(memory: Memory, address: int, size: int) -> bytes:
    """copy_struct_from_user(): E2BIG if a newer struct says more than we know."""
    if size < OPEN_HOW.size:
        raise UringError(errno.EINVAL)
    at, end = address + OPEN_HOW.size, address + size
    while at < end:
        length = min(PIECE - at % PIECE, end - at)
        try:
            _check_zeroed(memory, at, length)
        except UringError:  # what comes before a page that faults counts first
            for start in range(at - at % PAGE, at + length, PAGE):
                first = max(start, at)
                _check_zeroed(memory, first, min(start + PAGE, at + length) - first)
        at += length
    return memory.read(address, OPEN_HOW.size)


def _check_zeroed(memory: Memory, address: int, length: int) -> None:
    """check_zeroed_user(): E2BIG, EFAULT."""
    if memory.read(address, length) != ZEROS[:length]:
        raise UringError(errno.E2BIG)


def _prep(request: Request, flags: int, mode: int, how: bytes) -> None:
    """__io_openat_prep()"""
    if request.sqe.buf_index:
        raise UringError(errno.EINVAL)
    refuse_fixed_file(request)
    name = getname(request, request.sqe.addr)
    if request.sqe.file_index and flags & os.O_CLOEXEC:
        raise UringError(errno.EINVAL, "a registered file is not closed by exec")
    request.data = Open(acting(request), name, flags, mode, how)


def issue_open(request: Request) -> Outcome:
    """io_openat2()"""
    data: Open = request.data
    at = directory(request, request.sqe.fd, data.name)
    delivery = None if request.sqe.file_index else request.context.deliveries.begin(request.caller)
    lock = None if request.flags & IOSQE_ASYNC or _force_async(data) else file_lock(request)
    if delivery is None:
        return lambda: _open(request, data, at, None, lock)
    return lambda: _open_plain(request, data, at, delivery, lock)


def _force_async(data: Open) -> bool:
    """io_openat_force_async()"""
    return bool((OPEN_HOW.unpack(data.how)[0] if data.how else data.flags) & FORCE_ASYNC)


async def _open_plain(
    request: Request, data: Open, at: int | File, delivery: Delivery, lock: TicketLock | None
) -> int:
    with delivery:
        return await _open(request, data, at, delivery, lock)


async def _open(
    request: Request, data: Open, at: int | File, delivery: Delivery | None, lock: TicketLock | None
) -> int:
    fd = None if lock is None else await _open_cached(data, at)
    if fd is None:
        if lock is not None:
            lock.release()
            lock = None
        request.taken_effect()
        if data.how:
            fd, _ = await data.actor.call("openat2", at, data.name, data.how, OPEN_HOW.size)
        else:
            fd, _ = await data.actor.call("openat", at, data.name, data.flags, data.mode)
    return await deliver(request, fd, bool(data.flags & os.O_CLOEXEC), delivery, lock)


async def _open_cached(data: Open, at: int | File) -> int | None:
    """The kernel's first try, which shows: O_NONBLOCK opens a FIFO without its other end, or does not
    (ENXIO). None if it would have to wait."""
    flags, mode, resolve = data.flags & VALID_OPEN_FLAGS, 0, 0
    if data.how:
        flags, mode, resolve = OPEN_HOW.unpack(data.how)
    elif flags & O_PATH:
        flags &= O_PATH_FLAGS
    nonblock = 0 if flags & O_PATH else os.O_NONBLOCK
    how = OPEN_HOW.pack(flags | nonblock, mode, resolve | RESOLVE_CACHED)
    try:
        fd, _ = await data.actor.call("openat2", at, data.name, how, OPEN_HOW.size)
    except UringError as error:
        if error.errno == errno.EAGAIN and not resolve & RESOLVE_CACHED:
            return None
        raise
    if nonblock & ~flags:
        fcntl.fcntl(fd, fcntl.F_SETFL, fcntl.fcntl(fd, fcntl.F_GETFL) & ~os.O_NONBLOCK)
    return fd


def prep_close(request: Request) -> None:
    """io_close_prep()"""
    sqe = request.sqe
    if sqe.off or sqe.addr or sqe.len or sqe.rw_flags or sqe.buf_index:
        raise UringError(errno.EINVAL)
    refuse_fixed_file(request)
    if sqe.file_index and sqe.fd:
        raise UringError(errno.EINVAL, "either a descriptor or a registered file")


def issue_close(request: Request) -> Outcome:
    """io_close()"""
    sqe = request.sqe
    if sqe.file_index:
        return remove_fixed(request.context, sqe.file_index - 1)
    file = request.caller.file(sqe.fd)
    try:
        if file.inode:
            raise UringError(errno.EBADF, "a ring is not closed by a ring")
    finally:
        file.close()
    delivery = request.context.deliveries.begin(request.caller)
    lock = file_lock(request)

    async def close() -> int:
        with delivery:
            return await delivery.close(sqe.fd, lock)

    return close


def prep_fixed_fd_install(request: Request) -> None:
    """io_install_fixed_fd_prep()"""
    sqe = request.sqe
    if sqe.off or sqe.addr or sqe.len or sqe.buf_index or sqe.file_index or sqe.addr3:
        raise UringError(errno.EINVAL)
    if not request.flags & IOSQE_FIXED_FILE:
        raise UringError(errno.EBADF)
    if sqe.install_fd_flags & ~IORING_FIXED_FD_NO_CLOEXEC:
        raise UringError(errno.EINVAL, f"install_fd_flags {sqe.install_fd_flags:#x}")
    if sqe.personality:
        raise UringError(errno.EPERM, "the descriptor is the task's own, not the personality's")


def issue_fixed_fd_install(request: Request) -> Outcome:
    """io_install_fixed_fd()"""
    file = request.file()
    cloexec = not request.sqe.install_fd_flags & IORING_FIXED_FD_NO_CLOEXEC
    delivery = request.context.deliveries.begin(request.caller)
    lock = file_lock(request)

    async def install() -> int:
        with delivery:
            return await delivery.new(os.dup(file.fileno()), cloexec, lock)

    return install
