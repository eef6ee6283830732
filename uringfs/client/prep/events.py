"""Requests that wait for events, end others, or send messages. Times are seconds."""

import struct
from collections.abc import Sequence
from typing import Unpack

from uringfs.abi.machine import EPOLL_EVENT_SIZE
from uringfs.abi.numbers import U32
from uringfs.client.enums import CancelFlag, Op, PollFlag, TimeoutFlag
from uringfs.client.prep.common import Common
from uringfs.client.request import Buffer, Memory, Request, Struct, View, make, timespec

FUTEX_ANY = U32
FUTEX2_SIZE_U32 = 2
FUTEX2_PRIVATE = 128


def nop(
    *, nop_flags: int = 0, res: int = 0, fd: int = -1, buf_index: int = 0, **common: Unpack[Common]
) -> Request:
    """res: the result, with NopFlag.INJECT_RESULT; fd, buf_index: with NopFlag.FILE and its like."""
    return make(Op.NOP, fd=fd, len=res, rw_flags=nop_flags, buf_index=buf_index, **common)


def nop128(*, nop_flags: int = 0, res: int = 0, **common: Unpack[Common]) -> Request:
    """nop() in an SQE of 128 bytes: in a ring with SQE128 or SQE_MIXED."""
    return make(Op.NOP128, len=res, rw_flags=nop_flags, **common)


def poll_add(fd: int, poll32_events: int, poll_flags: int = 0, **common: Unpack[Common]) -> Request:
    """res: the events of poll(2). poll_flags: PollFlag.ADD_MULTI, ADD_LEVEL."""
    return make(Op.POLL_ADD, fd=fd, rw_flags=poll32_events, len=poll_flags, **common)


def poll_remove(
    target_user_data: int,
    poll_flags: int = 0,
    *,
    new_user_data: int = 0,
    poll32_events: int = 0,
    **common: Unpack[Common],
) -> Request:
    """poll_flags: PollFlag.UPDATE_EVENTS, UPDATE_USER_DATA, to change it instead."""
    off = new_user_data if poll_flags & PollFlag.UPDATE_USER_DATA else 0
    return make(Op.POLL_REMOVE, addr=target_user_data, off=off, len=poll_flags, rw_flags=poll32_events, **common)


def timeout(seconds: float, count: int = 0, timeout_flags: int = 0, **common: Unpack[Common]) -> Request:
    """-ETIME after the time; 0 after so many other completions, unless count is 0. Repeats: of a multishot one."""
    ts = timespec(seconds)
    return make(Op.TIMEOUT, ts, addr=ts.address, len=1, off=count, rw_flags=timeout_flags, **common)


def timeout_remove(
    target_user_data: int, timeout_flags: int = 0, *, seconds: float | None = None, **common: Unpack[Common]
) -> Request:
    """seconds: change it instead (sets TimeoutFlag.UPDATE)."""
    if seconds is None:
        return make(Op.TIMEOUT_REMOVE, addr=target_user_data, rw_flags=timeout_flags, **common)
    ts, flags = timespec(seconds), timeout_flags | TimeoutFlag.UPDATE
    return make(Op.TIMEOUT_REMOVE, ts, addr=target_user_data, off=ts.address, rw_flags=flags, **common)


def link_timeout(seconds: float, timeout_flags: int = 0, **common: Unpack[Common]) -> Request:
    """Ends the request it is linked behind, which has SqeFlag.IO_LINK."""
    ts = timespec(seconds)
    return make(Op.LINK_TIMEOUT, ts, addr=ts.address, len=1, rw_flags=timeout_flags, **common)


def async_cancel(
    target_user_data: int = 0,
    cancel_flags: int = 0,
    *,
    target_fd: int = -1,
    target_opcode: int = 0,
    **common: Unpack[Common],
) -> Request:
    """The request with that user_data, or as CancelFlag says: FD target_fd, OP target_opcode, ANY, ALL."""
    by_op = cancel_flags & CancelFlag.OP
    return make(
        Op.ASYNC_CANCEL,
        fd=target_fd,
        addr=target_user_data,
        len=target_opcode if by_op else 0,
        rw_flags=cancel_flags,
        **common,
    )


cancel = async_cancel


def epoll_ctl(epfd: int, fd: int, op: int, events: int = 0, data: int = 0, **common: Unpack[Common]) -> Request:
    """epoll_ctl(2): struct epoll_event {events, data}."""
    event = Struct(struct.pack("<IQ" if EPOLL_EVENT_SIZE == 12 else "<I4xQ", events, data))
    return make(Op.EPOLL_CTL, event, fd=epfd, off=fd, len=op, addr=event.address, **common)


def epoll_wait(fd: int, events: Buffer, **common: Unpack[Common]) -> Request:
    """events: room for struct epoll_events of 12 bytes, packed, on x86-64, else of 16."""
    view = View(events, writable=True)
    return make(Op.EPOLL_WAIT, view, fd=fd, addr=view.address, len=view.length // EPOLL_EVENT_SIZE, **common)


def waitid(
    idtype: int, id: int, options: int, *, infop: Buffer | None = None, **common: Unpack[Common]
) -> Request:
    """waitid(2). infop: siginfo_t, 128 bytes."""
    view = View(infop if infop is not None else 0, 128, writable=True)
    return make(Op.WAITID, view, fd=id, len=idtype, file_index=options, off=view.address, **common)


def futex_wait(
    futex: Memory,
    val: int,
    mask: int = FUTEX_ANY,
    futex_flags: int = FUTEX2_SIZE_U32 | FUTEX2_PRIVATE,
    **common: Unpack[Common],
) -> Request:
    """futex: a word of 4 bytes."""
    return _futex(Op.FUTEX_WAIT, futex, val, mask, futex_flags, **common)


def futex_wake(
    futex: Memory,
    val: int = 1,
    mask: int = FUTEX_ANY,
    futex_flags: int = FUTEX2_SIZE_U32 | FUTEX2_PRIVATE,
    **common: Unpack[Common],
) -> Request:
    """val: how many to wake; res is how many there were."""
    return _futex(Op.FUTEX_WAKE, futex, val, mask, futex_flags, **common)


def _futex(op: Op, futex: Memory, val: int, mask: int, futex_flags: int, **common: Unpack[Common]) -> Request:
    view = View(futex, 4, writable=True)
    return make(op, view, fd=futex_flags, addr=view.address, off=val, addr3=mask, **common)


def futex_waitv(
    futexes: Sequence[tuple[Memory, int]],
    futex_flags: int = FUTEX2_SIZE_U32 | FUTEX2_PRIVATE,
    **common: Unpack[Common],
) -> Request:
    """futexes: (word, value it is expected to have); res is the index of the one that was woken."""
    views = [View(word, 4, writable=True) for word, _ in futexes]
    values = zip(views, futexes, strict=True)
    packed = (struct.pack("<QQII", val, view.address, futex_flags, 0) for view, (_, val) in values)
    waiters = Struct(b"".join(packed))
    return make(Op.FUTEX_WAITV, waiters, *views, fd=0, addr=waiters.address, len=len(views), **common)


def msg_ring(
    fd: int, res: int, data: int, msg_ring_flags: int = 0, *, cqe_flags: int = 0, **common: Unpack[Common]
) -> Request:
    """A CQE {res, user_data: data} for the ring fd. cqe_flags: with IORING_MSG_RING_FLAGS_PASS (2)."""
    return make(Op.MSG_RING, fd=fd, len=res, off=data, rw_flags=msg_ring_flags, file_index=cqe_flags, **common)


def uring_cmd(
    cmd_op: int,
    fd: int,
    command: bytes = b"",
    *,
    addr: int = 0,
    optlen: int = 0,
    uring_cmd_flags: int = 0,
    **common: Unpack[Common],
) -> Request:
    """command: sqe->cmd, 16 bytes, 80 in a ring with SQE128. Of a socket: addr is level | optname << 32, command
    the address of optval."""
    return make(
        Op.URING_CMD,
        fd=fd,
        off=cmd_op,
        addr=addr,
        file_index=optlen,
        rw_flags=uring_cmd_flags,
        command=command,
        **common,
    )


def uring_cmd128(
    cmd_op: int,
    fd: int,
    command: bytes = b"",
    *,
    addr: int = 0,
    optlen: int = 0,
    uring_cmd_flags: int = 0,
    **common: Unpack[Common],
) -> Request:
    """uring_cmd() with a command of 80 bytes, in a ring with SQE128 or SQE_MIXED."""
    return make(
        Op.URING_CMD128,
        fd=fd,
        off=cmd_op,
        addr=addr,
        file_index=optlen,
        rw_flags=uring_cmd_flags,
        command=command,
        **common,
    )
