"""One recvmsg(2): the data into the caller's buffers, the rest into its struct msghdr or, of a multishot, in
front of the data. Descriptors that come with it are put into the caller's table before its CQE is posted."""

import errno
import socket
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from uringfs import native
from uringfs.abi.net import (
    MSG_CMSG_CLOEXEC,
    MSG_CTRUNC,
    MSG_PEEK,
    MSG_WAITALL,
    RECVMSG_OUT,
    SCM_PIDFD,
    SCM_RIGHTS,
    SOL_SOCKET,
)
from uringfs.clientwork.delivery import Delivery
from uringfs.engine.request import Request
from uringfs.errors import UringError
from uringfs.host.files.closing import close_fd
from uringfs.host.net.sockets import SocketKind, attempt
from uringfs.host.protocols import File, Iovec, Memory
from uringfs.ops.net.msghdr import Cmsg, UserMsghdr, cmsgs, packed, store_address
from uringfs.ops.rw.iovec import total, truncated

AT_ONCE = 1 << 18
"""Bytes there is room for without asking how many there are."""
MSGHDR_CONTROLLEN = 40
MSGHDR_FLAGS = 48
DESCRIPTORS = (SCM_RIGHTS, SCM_PIDFD)


Found = tuple[bytearray, int, int, bytes, bytes, int]
"""What a receive has found: the data, and what native.sock_recvmsg() says."""


class Unsettled(UringError):
    """Nothing was stored: the ring may have been closed meanwhile. found: what was received, if anything was."""

    def __init__(self, found: Found | None = None) -> None:
        super().__init__(errno.EAGAIN)
        self.found = found


@dataclass(slots=True)
class Received:
    res: int
    flags: int = 0
    """msg_flags"""
    header: UserMsghdr | None = None
    control: list[Cmsg] = field(default_factory=list)
    passed: list[int] = field(default_factory=list)
    """Descriptors of ours that came with it, in their order in control."""
    last: bool = False
    """There was no data: a multishot ends, though it has stored what comes before the data."""
    out: "RecvmsgOut | None" = None
    """What comes before the data of a multishot, if that is not stored yet: it has to name descriptors."""


class RecvmsgOut(NamedTuple):
    """struct io_uring_recvmsg_out, and where it belongs."""

    at: int
    payloadlen: int
    namelen: int
    name: bytes


class Passes(Exception):
    """Raised in a multishot: descriptors came with the data, to be installed before it goes on."""

    def __init__(self, got: Received) -> None:
        super().__init__()
        self.got = got


class Answer:
    """The result, and the descriptors that have to be delivered before it is told."""

    def __init__(self, res: int, got: Received) -> None:
        self.res = res
        self._got = got
        self._deliveries: list[Delivery] = []

    @property
    def passed(self) -> bool:
        return bool(self._got.passed)

    async def deliver(self, request: Request) -> int:
        got = self._got
        numbers = await _install(request, got)
        assert got.header is not None
        _store_control(request.caller.memory, got.header, _renumbered(got.control, numbers), got, len(numbers))
        return self.res


async def _install(request: Request, got: Received) -> list[int]:
    """scm_detach_fds(): as many as the caller's table takes: their numbers there."""
    numbers = []
    fds = list(got.passed)
    try:
        while fds:
            delivery = request.context.deliveries.begin(request.caller)
            with delivery:
                number = await delivery.new(fds.pop(0), bool(got.flags & MSG_CMSG_CLOEXEC))
            if number < 0:
                break
            numbers.append(number)
    except UringError:  # the caller fetches no descriptors
        pass
    finally:
        for fd in fds:
            close_fd(fd)
    return numbers


async def pass_on(request: Request, got: Received) -> Received:
    """Install what came with one of a multishot's, and store what comes before its data. Of what is not installed
    MSG_CTRUNC says that it is gone."""
    numbers = await _install(request, got)
    _store_out(request.caller.memory, got, numbers)
    return Received(got.res, got.flags, last=got.last)


def _renumbered(control: Sequence[Cmsg], numbers: list[int]) -> list[Cmsg]:
    """With the caller's numbers in place of ours, as far as there are any."""
    found, left = [], list(numbers)
    for message in control:
        if message.level != SOL_SOCKET or message.type not in DESCRIPTORS:
            found.append(message)
            continue
        count = min(len(message.data) // 4, len(left))
        if count:
            data = b"".join(number.to_bytes(4, "little", signed=True) for number in left[:count])
            found.append(message._replace(data=data))
        del left[:count]
    return found


def _store_control(
    memory: Memory, header: UserMsghdr, control: list[Cmsg], got: Received, installed: int = 0
) -> None:
    flags = got.flags | (MSG_CTRUNC if installed < len(got.passed) else 0)
    data = packed(control)[: header.controllen]
    memory.write(header.at + MSGHDR_FLAGS, flags.to_bytes(4, "little"))
    if data:
        memory.write(header.control, data)
    memory.write(header.at + MSGHDR_CONTROLLEN, len(data).to_bytes(8, "little"))


def _unsettled(request: Request) -> bool:
    """True if the request has waited, and its ring may have been closed meanwhile."""
    return request.scope is not None and not request.context.in_call() and request.context.host.unsettled()


def receive(
    request: Request,
    file: File,
    of: SocketKind,
    header: UserMsghdr | None,
    iovecs: list[Iovec],
    multishot: bool,
    before: Found | None = None,
) -> Received:
    """io_recvmsg_multishot(), ____sys_recvmsg(), sock_recvmsg(). before: found, and not stored yet. EAGAIN,
    EFAULT, Unsettled."""
    memory, flags = request.caller.memory, request.sqe.msg_flags
    out: list[Iovec] = []
    head = 0
    if header is not None and multishot:
        head = RECVMSG_OUT.size + header.namelen + header.controllen
        if total(iovecs) < head:
            raise UringError(errno.EFAULT, "the buffer has no room for what comes before the data")
        out, iovecs = iovecs, [(iovecs[0][0] + head, iovecs[0][1] - head)]
    if before is None:
        buffer = bytearray(_room(file, of, memory, iovecs, flags))
        if _unsettled(request):
            raise Unsettled
        room = header.controllen if header is not None else 0
        wants_name = header is not None and bool(header.namelen if multishot else header.name)
        before = buffer, *attempt(native.sock_recvmsg, file.fileno(), buffer, wants_name, room, flags)
        if header is None and _unsettled(request):
            raise Unsettled(before)
    buffer, res, namelen, name, control, msg_flags = before
    size = len(buffer)
    found = list(cmsgs(control))
    fds = _descriptors(found)
    try:
        data = memoryview(buffer)[: min(res, size)]
        request.shows(data)
        if memory.scatter(data, iovecs) < len(data):
            raise UringError(errno.EFAULT)
        msg_flags = msg_flags & ~MSG_CMSG_CLOEXEC | flags & MSG_CMSG_CLOEXEC
        got = Received(res, msg_flags, header, found, fds)
        if header is not None and multishot:
            got.out = RecvmsgOut(out[0][0], res, namelen, name[: min(namelen, header.namelen)])
            got.res, got.last = head + min(res, size), not res
            if not fds:
                _store_out(memory, got, [])
            return got
        if header is not None:
            if header.name:
                store_address(memory, name, namelen, header.name, header.at + 8)
            if not fds:
                _store_control(memory, header, found, got)
        return got
    except UringError:
        for fd in fds:
            close_fd(fd)
        raise


def _store_out(memory: Memory, got: Received, numbers: list[int]) -> None:
    """What comes before the data: struct io_uring_recvmsg_out, the address, control messages."""
    out, header = got.out, got.header
    assert out is not None
    assert header is not None
    flags = got.flags | (MSG_CTRUNC if len(numbers) < len(got.passed) else 0)
    control = packed(_renumbered(got.control, numbers))[: header.controllen]
    fixed = RECVMSG_OUT.pack(out.namelen, len(control), out.payloadlen, flags)
    memory.write(out.at, fixed + out.name)
    if control:
        memory.write(out.at + RECVMSG_OUT.size + header.namelen, control)


def _descriptors(found: list[Cmsg]) -> list[int]:
    return [
        int.from_bytes(message.data[at : at + 4], "little")
        for message in found
        if message.level == SOL_SOCKET and message.type in DESCRIPTORS
        for at in range(0, len(message.data) // 4 * 4, 4)
    ]


def _room(file: File, of: SocketKind, memory: Memory, iovecs: list[Iovec], flags: int) -> int:
    """How much to ask for. Of a stream no more than the caller's memory can take: what is read and cannot
    be stored is lost. At the end, or of an error, nothing has to be stored."""
    whole = total(iovecs)
    size = whole if whole <= AT_ONCE else min(whole, max(AT_ONCE, file.available()))
    if of.type == socket.SOCK_STREAM and whole:
        room = memory.writable(truncated(iovecs, size))
        faults = not room or (room < size and file.available() > room)
        if faults and _peek(file, flags):
            raise UringError(errno.EFAULT)
        size = min(size, room)
    return size


def _peek(file: File, flags: int) -> int:
    """1 if there is data. EAGAIN, and whatever else a receive would say."""
    found = attempt(native.sock_recvmsg, file.fileno(), bytearray(1), False, 0, flags & ~MSG_WAITALL | MSG_PEEK)
    return found[0]
