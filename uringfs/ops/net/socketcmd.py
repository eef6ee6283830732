"""URING_CMD (io_uring/uring_cmd.c) as sockets know it (cmd_net.c). Other files refuse it."""

import errno
from typing import NamedTuple

from uringfs import native
from uringfs.abi.constants import IOSQE_BUFFER_SELECT
from uringfs.abi.net import (
    IORING_URING_CMD_FIXED,
    IORING_URING_CMD_MULTISHOT,
    SOCKET_URING_OP_GETSOCKOPT,
    SOCKET_URING_OP_SETSOCKOPT,
    SOCKET_URING_OP_SIOCINQ,
    SOCKET_URING_OP_SIOCOUTQ,
    SOL_SOCKET,
)
from uringfs.abi.numbers import s32
from uringfs.engine.request import Holds, Outcome, Request
from uringfs.errors import UringError
from uringfs.host.net.sockets import INET, SocketCredentials, attempt, kind
from uringfs.host.protocols import File

MAX_OPTION = 1 << 16


class Option(NamedTuple):
    """level and optname of sqe->addr, optlen, optval."""

    level: int
    name: int
    length: int
    value: int


def prep(request: Request) -> None:
    """io_uring_cmd_prep()"""
    sqe = request.sqe
    if sqe.pad1:
        raise UringError(errno.EINVAL)
    if sqe.uring_cmd_flags & ~(IORING_URING_CMD_FIXED | IORING_URING_CMD_MULTISHOT):
        raise UringError(errno.EINVAL, f"uring_cmd_flags {sqe.uring_cmd_flags:#x}")
    multishot = bool(sqe.uring_cmd_flags & IORING_URING_CMD_MULTISHOT)
    if multishot and sqe.uring_cmd_flags & IORING_URING_CMD_FIXED:
        raise UringError(errno.EINVAL)
    if multishot != bool(request.flags & IOSQE_BUFFER_SELECT):
        raise UringError(errno.EINVAL)
    request.data = Option(s32(sqe.level), s32(sqe.optname), s32(sqe.optlen), sqe.optval)


def issue(request: Request) -> Outcome:
    """io_uring_cmd_sock()"""
    file, command = request.file(), request.sqe.cmd_op
    try:
        of = kind(file)
    except UringError as error:
        if error.errno == errno.ENOTSOCK:
            raise UringError(errno.EOPNOTSUPP, "this file has no uring_cmd") from error
        raise
    if command in (SOCKET_URING_OP_SIOCINQ, SOCKET_URING_OP_SIOCOUTQ):
        if of.domain not in INET:
            raise UringError(errno.EOPNOTSUPP, "this family has no ioctl of its own")
        return attempt(native.sock_queue, file.fileno(), command == SOCKET_URING_OP_SIOCOUTQ)
    if command == SOCKET_URING_OP_GETSOCKOPT:
        return _getsockopt(request, file, request.data)
    if command == SOCKET_URING_OP_SETSOCKOPT:
        return _setsockopt(request, file, request.data)
    raise UringError(errno.EOPNOTSUPP, f"socket command {command}")


def _getsockopt(request: Request, file: File, option: Option) -> int:
    """io_uring_cmd_getsockopt()"""
    if option.level != SOL_SOCKET:
        raise UringError(errno.EOPNOTSUPP)
    room = bytes(max(0, min(option.length, MAX_OPTION)))
    length, value = attempt(native.sock_getsockopt, file.fileno(), option.level, option.name, room, option.length)
    if length > 0:
        request.caller.memory.write(option.value, value[:length])
    return length


def _setsockopt(request: Request, file: File, option: Option) -> Outcome:
    """io_uring_cmd_setsockopt(): some options take a capability."""
    size = max(0, min(option.length, MAX_OPTION))
    value = request.caller.memory.read(option.value, size) if size else b""
    identity = SocketCredentials(request.caller)

    request.holds = Holds.ALL

    async def setsockopt() -> int:
        await identity.call(native.sock_setsockopt, file.fileno(), option.level, option.name, value, option.length)
        return 0

    return setsockopt
