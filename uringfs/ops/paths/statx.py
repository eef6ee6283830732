"""STATX (io_uring/statx.c)."""

import errno
from typing import NamedTuple

from uringfs.engine.request import Outcome, Request
from uringfs.errors import UringError
from uringfs.host.protocols import Actor, File, Memory, Name, Out
from uringfs.ops.paths.names import AT_EMPTY_PATH, acting, directory, getname, refuse_fixed_file, without_set_fail

STATX_SIZE = 256


class Statx(NamedTuple):
    actor: Actor
    name: Name


def prep(request: Request) -> None:
    """io_statx_prep()"""
    sqe = request.sqe
    if sqe.buf_index or sqe.file_index:
        raise UringError(errno.EINVAL)
    refuse_fixed_file(request)
    name = getname(request, sqe.addr, empty=bool(sqe.statx_flags & AT_EMPTY_PATH))
    request.data = Statx(acting(request), name)


def issue(request: Request) -> Outcome:
    """io_statx()"""
    actor, name = request.data
    without_set_fail(request)
    at = directory(request, request.sqe.fd, name)

    async def run() -> int:
        return await _statx(request, actor, at, name, request.caller.memory)

    return run


async def _statx(request: Request, actor: Actor, at: int | File, name: Name, memory: Memory) -> int:
    sqe = request.sqe
    _, found = await actor.call("statx", at, name, sqe.statx_flags, sqe.len, Out(STATX_SIZE))
    await request.settle(taken=True)
    memory.write(sqe.addr2, found)  # cp_statx()
    return 0
