"""EPOLL_CTL, EPOLL_WAIT (io_uring/epoll.c)."""

import errno
from typing import NamedTuple

from uringfs.abi.events import EPOLLIN
from uringfs.abi.machine import EPOLL_EVENT_SIZE
from uringfs.abi.numbers import s32
from uringfs.engine.request import Holds, Outcome, Request
from uringfs.errors import UringError

EPOLL_CTL_DEL = 2
EP_MAX_EVENTS = 0x7FFFFFFF // EPOLL_EVENT_SIZE


class IoEpoll(NamedTuple):
    """struct io_epoll"""

    operation: int
    fd: int
    event: bytes


def prep_ctl(request: Request) -> None:
    """io_epoll_ctl_prep()"""
    sqe = request.sqe
    if sqe.buf_index or sqe.file_index:
        raise UringError(errno.EINVAL)
    operation, event = s32(sqe.len), b""
    if operation != EPOLL_CTL_DEL:
        event = request.caller.memory.read(sqe.addr, EPOLL_EVENT_SIZE)
    request.data = IoEpoll(operation, s32(sqe.off), event)


def issue_ctl(request: Request) -> Outcome:
    """io_epoll_ctl(): both files of the caller's table."""
    control: IoEpoll = request.data
    epoll = request.hold(request.caller.file(request.sqe.fd))
    target = request.hold(request.caller.file(control.fd))

    async def ctl() -> int:
        poller = request.context.host.poller
        await poller.epoll_ctl(epoll, control.operation, target, control.fd, control.event)
        return 0

    request.holds = Holds.ALL
    return ctl


def prep_wait(request: Request) -> None:
    """io_epoll_wait_prep()"""
    sqe = request.sqe
    if sqe.off or sqe.rw_flags or sqe.buf_index or sqe.file_index:
        raise UringError(errno.EINVAL)


def issue_wait(request: Request) -> Outcome:
    """io_epoll_wait()"""
    most = s32(request.sqe.len)
    file = request.file()

    async def wait() -> int:
        poller, memory = request.context.host.poller, request.caller.memory
        while True:
            if not 0 < most <= EP_MAX_EVENTS:
                raise UringError(errno.EINVAL, f"maxevents {most}")
            # Events that are taken out and cannot be stored are lost: ask for what has room.
            room = memory.writable([(request.sqe.addr, min(most, 4096) * EPOLL_EVENT_SIZE)])
            events = await poller.epoll_wait(file, max(1, room // EPOLL_EVENT_SIZE))
            await request.settle(taken=bool(events))
            if events:
                memory.write(request.sqe.addr, events)
                return len(events) // EPOLL_EVENT_SIZE
            await poller.wait(file, EPOLLIN)

    return wait
