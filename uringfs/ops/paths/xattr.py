"""FSETXATTR, SETXATTR, FGETXATTR, GETXATTR (io_uring/xattr.c)."""

import errno
from typing import NamedTuple

from uringfs.engine.request import Outcome, Request
from uringfs.errors import UringError
from uringfs.host.protocols import Actor, File, Memory, Name, Out
from uringfs.ops.paths.names import acting, call, getname, refuse_fixed_file, string, without_set_fail

XATTR_NAME_MAX = 255
XATTR_SIZE_MAX = 65536
XATTR_CREATE, XATTR_REPLACE = 1, 2


class Xattr(NamedTuple):
    """struct io_xattr"""

    actor: Actor
    name: bytes
    value: bytes = b""
    path: Name = Name()


def _import_name(request: Request) -> bytes:
    """fs/xattr.c: import_xattr_name()"""
    name = string(request.caller.memory, request.sqe.addr, XATTR_NAME_MAX + 1)
    if not name or len(name) > XATTR_NAME_MAX:
        raise UringError(errno.ERANGE)
    return name


def prep_fgetxattr(request: Request) -> None:
    """__io_getxattr_prep()"""
    if request.sqe.xattr_flags:
        raise UringError(errno.EINVAL)
    request.data = Xattr(acting(request), _import_name(request))


def prep_getxattr(request: Request) -> None:
    """io_getxattr_prep()"""
    refuse_fixed_file(request)
    prep_fgetxattr(request)
    request.data = request.data._replace(path=getname(request, request.sqe.addr3))


def prep_fsetxattr(request: Request) -> None:
    """__io_setxattr_prep(), setxattr_copy()"""
    sqe = request.sqe
    if sqe.xattr_flags & ~(XATTR_CREATE | XATTR_REPLACE):
        raise UringError(errno.EINVAL, f"xattr_flags {sqe.xattr_flags:#x}")
    name = _import_name(request)
    if sqe.len > XATTR_SIZE_MAX:
        raise UringError(errno.E2BIG)
    value = request.caller.memory.read(sqe.addr2, sqe.len) if sqe.len else b""
    request.data = Xattr(acting(request), name, value)


def prep_setxattr(request: Request) -> None:
    """io_setxattr_prep()"""
    refuse_fixed_file(request)
    prep_fsetxattr(request)
    request.data = request.data._replace(path=getname(request, request.sqe.addr3))


def issue_fgetxattr(request: Request) -> Outcome:
    """io_fgetxattr()"""
    file = request.file()
    without_set_fail(request)
    return _get(request, "fgetxattr", file)


def issue_getxattr(request: Request) -> Outcome:
    """io_getxattr()"""
    without_set_fail(request)
    return _get(request, "getxattr", request.data.path)


def _get(request: Request, name: str, what: Name | File) -> Outcome:
    async def run() -> int:
        return await _getxattr(request, name, what, request.caller.memory)

    return run


async def _getxattr(request: Request, name: str, what: Name | File, memory: Memory) -> int:
    """do_getxattr()"""
    sqe = request.sqe
    data: Xattr = request.data
    room = min(sqe.len, XATTR_SIZE_MAX)
    size, value = await data.actor.call(name, what, data.name, Out(room), room)
    if room:
        await request.settle(taken=True)
        memory.write(sqe.addr2, value[:size])
    return size


def issue_fsetxattr(request: Request) -> Outcome:
    """io_fsetxattr()"""
    data, file = request.data, request.file()
    without_set_fail(request)
    return call(data.actor, "fsetxattr", file, data.name, data.value, len(data.value), request.sqe.xattr_flags)


def issue_setxattr(request: Request) -> Outcome:
    """io_setxattr()"""
    data = request.data
    without_set_fail(request)
    return call(data.actor, "setxattr", data.path, data.name, data.value, len(data.value), request.sqe.xattr_flags)
