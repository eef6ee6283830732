"""Addresses, struct msghdr and control messages of the caller (net/socket.c, net/core/scm.c)."""

import errno
from collections.abc import Iterator
from typing import NamedTuple

from uringfs.abi.constants import UIO_MAXIOV
from uringfs.abi.net import (
    CMSGHDR,
    SCM_CREDENTIALS,
    SCM_RIGHTS,
    SOCKADDR_STORAGE,
    SOL_SOCKET,
    UCRED,
    USER_MSGHDR,
)
from uringfs.abi.numbers import s32
from uringfs.engine.request import Request
from uringfs.errors import UringError
from uringfs.host.net.scm import may_name_others
from uringfs.host.protocols import Caller, Memory

SCM_MAX_FD = 253
OPTMEM = 1 << 17
INT_MAX = 0x7FFFFFFF
CMSGHDR_SIZE = CMSGHDR.size


def address(memory: Memory, at: int, size: int) -> bytes:
    """move_addr_to_kernel(). EINVAL, EFAULT."""
    size = s32(size)
    if not 0 <= size <= SOCKADDR_STORAGE:
        raise UringError(errno.EINVAL, f"an address of {size} bytes")
    return memory.read(at, size) if size else b""


def store_address(memory: Memory, name: bytes, length: int, at: int, at_length: int) -> None:
    """move_addr_to_user(). EFAULT, EINVAL."""
    room = int.from_bytes(memory.read(at_length, 4), "little", signed=True)
    if room < 0:
        raise UringError(errno.EINVAL)
    memory.write(at, name[: min(room, length)])
    memory.write(at_length, length.to_bytes(4, "little"))


class UserMsghdr(NamedTuple):
    """struct user_msghdr, as __copy_msghdr() leaves it."""

    at: int
    """Where it stands in the caller's memory."""
    name: int
    namelen: int
    iov: int
    iovlen: int
    control: int
    controllen: int
    name_room: int
    """msg_namelen as it stands."""

    @classmethod
    def copy(cls, memory: Memory, at: int) -> "UserMsghdr":
        """EFAULT; EINVAL for a negative msg_namelen, EMSGSIZE for too many iovecs."""
        name, namelen, _, iov, iovlen, control, controllen, _ = USER_MSGHDR.unpack(
            memory.read(at, USER_MSGHDR.size)
        )
        room = namelen
        if not name:
            namelen = 0
        if namelen < 0:
            raise UringError(errno.EINVAL, "msg_namelen is negative")
        return cls(at, name, min(namelen, SOCKADDR_STORAGE), iov, iovlen, control, controllen, room)

    def check_iovlen(self) -> None:
        if self.iovlen > UIO_MAXIOV:
            raise UringError(errno.EMSGSIZE, f"{self.iovlen} iovecs")


class Cmsg(NamedTuple):
    """struct cmsghdr and what follows it."""

    level: int
    type: int
    data: bytes


def cmsgs(control: bytes) -> Iterator[Cmsg]:
    """for_each_cmsghdr(). EINVAL for one that is not CMSG_OK()."""
    at = 0
    while at + CMSGHDR_SIZE <= len(control):
        length, level, kind = CMSGHDR.unpack_from(control, at)
        if length < CMSGHDR_SIZE or length > len(control) - at:
            raise UringError(errno.EINVAL, "a control message that does not fit")
        yield Cmsg(level, kind, control[at + CMSGHDR_SIZE : at + length])
        at += -(-length // 8) * 8


def packed(found: list[Cmsg]) -> bytes:
    control = b""
    for message in found:
        data = CMSGHDR.pack(CMSGHDR_SIZE + len(message.data), message.level, message.type) + message.data
        control += data.ljust(-(-len(data) // 8) * 8, b"\0")
    return control


def copy_control(memory: Memory, header: UserMsghdr) -> bytes:
    """____sys_sendmsg(). ENOBUFS, EFAULT."""
    if header.controllen > INT_MAX or header.controllen > OPTMEM:
        raise UringError(errno.ENOBUFS, f"{header.controllen} bytes of control messages")
    return memory.read(header.control, header.controllen) if header.controllen else b""


def outgoing(request: Request, control: bytes, unix: bool) -> bytes:
    """__scm_send(), for we are not the caller: its descriptors become ours, and the credentials that go
    with the message are its own. EINVAL, EBADF, EPERM."""
    caller, found, credentials = request.caller, [], False
    for level, kind, data in cmsgs(control):
        if level == SOL_SOCKET and kind == SCM_RIGHTS:
            data = _rights(request, data)
        elif level == SOL_SOCKET and kind == SCM_CREDENTIALS:
            credentials = True
            _check_credentials(caller, data)
        found.append(Cmsg(level, kind, data))
    if unix and not credentials and may_name_others():
        found.append(Cmsg(SOL_SOCKET, SCM_CREDENTIALS, caller.ucred()))
    return packed(found)


def _rights(request: Request, data: bytes) -> bytes:
    """scm_fp_copy()"""
    count = len(data) // 4
    if count > SCM_MAX_FD:
        raise UringError(errno.EINVAL, f"{count} descriptors; at most {SCM_MAX_FD}")
    ours = b""
    for index in range(count):
        fd = int.from_bytes(data[4 * index : 4 * index + 4], "little", signed=True)
        if fd < 0:
            raise UringError(errno.EBADF)
        file = request.hold(request.caller.file(fd))
        if file.inode:
            raise UringError(errno.EINVAL, "a ring cannot be sent")
        ours += file.fileno().to_bytes(4, "little")
    return ours


def _check_credentials(caller: Caller, data: bytes) -> None:
    """scm_check_creds(). EINVAL, EPERM."""
    if len(data) != UCRED.size:
        raise UringError(errno.EINVAL)
    if not caller.may_claim(data):
        raise UringError(errno.EPERM, "another one's credentials")
