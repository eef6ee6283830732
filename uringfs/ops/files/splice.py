"""SPLICE and TEE (io_uring/splice.c). The kernel lets io-wq wait; here a task waits for readiness, and a
thread makes a call that does not."""

import errno

import trio

from uringfs.abi.numbers import s64, u32
from uringfs.engine.request import Pending, Request
from uringfs.errors import UringError
from uringfs.host.files.calls import SPLICE_F_NONBLOCK, Splice, Tee
from uringfs.host.protocols import File
from uringfs.ops.files.sync import need_zero

SPLICE_F_ALL = 0x0F
SPLICE_F_FD_IN_FIXED = 1 << 31
AGAIN = 0.01
"""Seconds until another try where both sides are ready and nothing moved."""


def prep_splice(request: Request) -> None:
    """__io_splice_prep()"""
    if request.sqe.splice_flags & ~(SPLICE_F_ALL | SPLICE_F_FD_IN_FIXED):
        raise UringError(errno.EINVAL, f"splice_flags {request.sqe.splice_flags:#x}")


def prep_tee(request: Request) -> None:
    """io_tee_prep()"""
    need_zero(request.sqe.splice_off_in, request.sqe.off)
    prep_splice(request)


def issue_splice(request: Request) -> int | Pending:
    """io_splice()"""
    sqe, out, source = request.sqe, request.file(), _source(request)
    if not sqe.len:
        return 0
    _check(source, out)
    flags, limit = sqe.splice_flags & SPLICE_F_ALL, request.caller.limit_fsize()
    call = Splice(source, s64(sqe.splice_off_in), s64(sqe.off), sqe.len, flags, limit)
    return lambda: _move(request, source, out, call)


def issue_tee(request: Request) -> int | Pending:
    """io_tee()"""
    sqe, out, source = request.sqe, request.file(), _source(request)
    if not sqe.len:
        return 0
    _check(source, out)
    return lambda: _move(request, source, out, Tee(source, sqe.len, sqe.splice_flags & SPLICE_F_ALL))


def _source(request: Request) -> File:
    """io_splice_get_file()"""
    sqe = request.sqe
    if not sqe.splice_flags & SPLICE_F_FD_IN_FIXED:
        return request.hold(request.caller.file(sqe.splice_fd_in))
    node = request.context.resources.file(u32(sqe.splice_fd_in))
    request.held.append(node)
    return node.what


def _check(source: File, out: File) -> None:
    if not source.readable_mode() or not out.writable_mode():
        raise UringError(errno.EBADF)
    if source.refused or out.refused:
        raise UringError(errno.EINVAL)


async def _move(request: Request, source: File, out: File, call: Splice | Tee) -> int:
    ends = [file for file in (source, out) if file.pipe]
    # do_splice(), do_tee(): a pipe's O_NONBLOCK counts, no other file's
    nonblock = bool(call.flags & SPLICE_F_NONBLOCK) or any(file.nonblocking() for file in ends)
    if not (source.pipe or source.regular):
        await source.wait()
    while True:
        await request.settle()
        try:
            moved = await out.call(call, request.caller)
        except UringError as error:
            if error.errno != errno.EAGAIN or nonblock:
                raise
        else:
            request.failed = moved != call.length
            return moved
        if source.pipe and not source.ready():
            await source.wait()
        elif not out.writable():
            await out.wait_writable()
        else:
            await trio.sleep(AGAIN)
