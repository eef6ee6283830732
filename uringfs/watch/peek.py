"""What a request has in memory: names, addresses, and the first bytes that it moves. Reads the caller's memory as
its ops do, a bounded piece at a time; what cannot be read is left out.
"""

from collections.abc import Callable
from struct import Struct

from uringfs.abi import constants as abi
from uringfs.abi.numbers import PAGE
from uringfs.abi.structs import IOVEC, TIMESPEC, Sqe
from uringfs.errors import UringError
from uringfs.host.protocols import Memory

NAME = 256
"""Bytes of a path or name that are kept."""
SOCKADDR = 128  # struct sockaddr_storage
VECTORS = 8
"""Buffers that are looked at for the first that is not empty."""
MSG_IOV = Struct("<16xQQ")  # struct msghdr: msg_iov, msg_iovlen
SELECTED = abi.IOSQE_BUFFER_SELECT
Where = tuple[int, int]
"""(address, bytes)"""


def some(memory: Memory, address: int, size: int) -> bytes:
    """All of it, or nothing."""
    try:
        return memory.read(address, size) if size > 0 else b""
    except UringError:
        return b""


def text(memory: Memory, address: int) -> bytes:
    """A C string, up to NAME bytes; its page's end may be the end of what can be read."""
    first = min(NAME, PAGE - address % PAGE)
    found = some(memory, address, first)
    if b"\0" not in found and len(found) == first < NAME:
        found += some(memory, address + first, NAME - first)
    return found.partition(b"\0")[0]


def _flat(memory: Memory, sqe: Sqe) -> Where:
    return sqe.addr, sqe.len


def _vector(memory: Memory, sqe: Sqe) -> Where:
    return _first(memory, sqe.addr, sqe.len)


def _message(memory: Memory, sqe: Sqe) -> Where:
    header = some(memory, sqe.addr, MSG_IOV.size)
    return _first(memory, *MSG_IOV.unpack(header)) if len(header) == MSG_IOV.size else (0, 0)


def _first(memory: Memory, address: int, count: int) -> Where:
    array = some(memory, address, min(count, VECTORS) * IOVEC.size)
    found = [entry for entry in IOVEC.iter_unpack(array) if entry[1]]
    return found[0] if found else (0, 0)


Find = Callable[[Memory, Sqe], Where]
OUTGOING: dict[int, Find] = {
    abi.IORING_OP_WRITE: _flat,
    abi.IORING_OP_WRITE_FIXED: _flat,
    abi.IORING_OP_SEND: _flat,
    abi.IORING_OP_SEND_ZC: _flat,
    abi.IORING_OP_WRITEV: _vector,
    abi.IORING_OP_WRITEV_FIXED: _vector,
    abi.IORING_OP_SENDMSG: _message,
    abi.IORING_OP_SENDMSG_ZC: _message,
}
"""Opcode -> where the first buffer is of what it writes or sends."""
INCOMING: dict[int, Find] = {
    abi.IORING_OP_READ: _flat,
    abi.IORING_OP_READ_FIXED: _flat,
    abi.IORING_OP_RECV: _flat,
    abi.IORING_OP_READV: _vector,
    abi.IORING_OP_READV_FIXED: _vector,
    abi.IORING_OP_RECVMSG: _message,
}
"""What an opcode reads or receives, by the same names."""
FIRST: dict[int, Callable[[Sqe], tuple[int, int]]] = {
    **dict.fromkeys((abi.IORING_OP_CONNECT, abi.IORING_OP_BIND), lambda sqe: (sqe.addr, min(sqe.off, SOCKADDR))),
    **dict.fromkeys((abi.IORING_OP_TIMEOUT, abi.IORING_OP_LINK_TIMEOUT), lambda sqe: (sqe.addr, TIMESPEC.size)),
}
"""What is looked at when it is submitted: sockaddrs, times."""
DIRECTORIES = frozenset(
    {
        *(abi.IORING_OP_OPENAT, abi.IORING_OP_OPENAT2, abi.IORING_OP_STATX, abi.IORING_OP_UNLINKAT),
        *(abi.IORING_OP_MKDIRAT, abi.IORING_OP_RENAMEAT, abi.IORING_OP_SYMLINKAT, abi.IORING_OP_LINKAT),
    }
)
"""sqe->fd is the directory that a path is in."""
_PATHS = (
    *(abi.IORING_OP_OPENAT, abi.IORING_OP_OPENAT2, abi.IORING_OP_STATX, abi.IORING_OP_UNLINKAT),
    *(abi.IORING_OP_MKDIRAT, abi.IORING_OP_FSETXATTR, abi.IORING_OP_FGETXATTR),
)
NAMES: dict[int, tuple[str, ...]] = {
    **dict.fromkeys(_PATHS, ("addr",)),
    **dict.fromkeys((abi.IORING_OP_RENAMEAT, abi.IORING_OP_SYMLINKAT, abi.IORING_OP_LINKAT), ("addr", "off")),
    **dict.fromkeys((abi.IORING_OP_SETXATTR, abi.IORING_OP_GETXATTR), ("addr3", "addr")),
}
"""The fields with the addresses of what it names."""


def first(memory: Memory, sqe: Sqe) -> bytes:
    return some(memory, *FIRST[sqe.opcode](sqe))


def names(memory: Memory, sqe: Sqe) -> tuple[bytes, bytes]:
    found = [text(memory, getattr(sqe, field)) for field in NAMES[sqe.opcode]]
    return found[0], found[1] if len(found) > 1 else b""


def outgoing(memory: Memory, sqe: Sqe, most: int) -> tuple[bytes, bool]:
    """The first bytes of what is written, and whether there are more. Nothing of provided buffers."""
    if sqe.flags & SELECTED:
        return b"", False
    find = OUTGOING[sqe.opcode]
    address, size = (sqe.addr, sqe.len) if find is _flat else find(memory, sqe)
    found = some(memory, address, min(size, most))
    return found, size > len(found) > 0


def incoming(memory: Memory, sqe: Sqe, res: int, most: int) -> tuple[bytes, bool]:
    """The first bytes of res that have been read into the request's memory, and whether there are more. Nothing of
    provided buffers."""
    if sqe.flags & SELECTED or res <= 0:
        return b"", False
    address, size = INCOMING[sqe.opcode](memory, sqe)
    found = some(memory, address, min(size, res, most))
    return found, res > len(found) > 0
