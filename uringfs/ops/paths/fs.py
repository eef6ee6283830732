"""RENAMEAT, UNLINKAT, MKDIRAT, SYMLINKAT, LINKAT (io_uring/fs.c)."""

import errno
from typing import NamedTuple

from uringfs.abi.numbers import s32
from uringfs.engine.request import Outcome, Request
from uringfs.errors import UringError
from uringfs.host.protocols import Actor, Name
from uringfs.ops.paths.names import (
    AT_EMPTY_PATH,
    acting,
    call,
    directory,
    getname,
    refuse_fixed_file,
    without_set_fail,
)

AT_REMOVEDIR = 0x200


class Names(NamedTuple):
    """What prep keeps."""

    actor: Actor
    first: Name
    second: Name = Name()


def prep_renameat(request: Request) -> None:
    """io_renameat_prep()"""
    sqe = request.sqe
    if sqe.buf_index or sqe.file_index:
        raise UringError(errno.EINVAL)
    refuse_fixed_file(request)
    request.data = Names(acting(request), getname(request, sqe.addr), getname(request, sqe.addr2))


def issue_renameat(request: Request) -> Outcome:
    """io_renameat()"""
    sqe, names = request.sqe, request.data
    without_set_fail(request)
    old = directory(request, sqe.fd, names.first)
    new = directory(request, s32(sqe.len), names.second)
    return call(names.actor, "renameat2", old, names.first, new, names.second, sqe.rename_flags)


def prep_unlinkat(request: Request) -> None:
    """io_unlinkat_prep()"""
    sqe = request.sqe
    if sqe.off or sqe.len or sqe.buf_index or sqe.file_index:
        raise UringError(errno.EINVAL)
    refuse_fixed_file(request)
    if sqe.unlink_flags & ~AT_REMOVEDIR:
        raise UringError(errno.EINVAL, f"unlink_flags {sqe.unlink_flags:#x}")
    request.data = Names(acting(request), getname(request, sqe.addr))


def issue_unlinkat(request: Request) -> Outcome:
    """io_unlinkat()"""
    sqe, names = request.sqe, request.data
    without_set_fail(request)
    return call(names.actor, "unlinkat", directory(request, sqe.fd, names.first), names.first, sqe.unlink_flags)


def prep_mkdirat(request: Request) -> None:
    """io_mkdirat_prep()"""
    sqe = request.sqe
    if sqe.off or sqe.rw_flags or sqe.buf_index or sqe.file_index:
        raise UringError(errno.EINVAL)
    refuse_fixed_file(request)
    request.data = Names(acting(request), getname(request, sqe.addr))


def issue_mkdirat(request: Request) -> Outcome:
    """io_mkdirat()"""
    sqe, names = request.sqe, request.data
    without_set_fail(request)
    return call(names.actor, "mkdirat", directory(request, sqe.fd, names.first), names.first, sqe.len & 0xFFFF)


def prep_symlinkat(request: Request) -> None:
    """io_symlinkat_prep()"""
    sqe = request.sqe
    if sqe.len or sqe.rw_flags or sqe.buf_index or sqe.file_index:
        raise UringError(errno.EINVAL)
    refuse_fixed_file(request)
    request.data = Names(acting(request), getname(request, sqe.addr), getname(request, sqe.addr2))


def issue_symlinkat(request: Request) -> Outcome:
    """io_symlinkat(): the target is a text, nothing is looked up"""
    sqe, names = request.sqe, request.data
    without_set_fail(request)
    new = directory(request, sqe.fd, names.second)
    return call(names.actor, "symlinkat", bytes(names.first), new, names.second)


def prep_linkat(request: Request) -> None:
    """io_linkat_prep()"""
    sqe = request.sqe
    if sqe.buf_index or sqe.file_index:
        raise UringError(errno.EINVAL)
    refuse_fixed_file(request)
    old = getname(request, sqe.addr, empty=bool(sqe.hardlink_flags & AT_EMPTY_PATH))
    request.data = Names(acting(request), old, getname(request, sqe.addr2))


def issue_linkat(request: Request) -> Outcome:
    """io_linkat()"""
    sqe, names = request.sqe, request.data
    without_set_fail(request)
    old = directory(request, sqe.fd, names.first)
    new = directory(request, s32(sqe.len), names.second)
    return call(names.actor, "linkat", old, names.first, new, names.second, sqe.hardlink_flags)
