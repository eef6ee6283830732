"""Which requests a rule is about. What is known as a request is submitted is asked then, in the call of its
submitter; what takes its file, when it is issued."""

import errno
import os
import socket
from contextlib import suppress
from fnmatch import fnmatchcase

from uringfs.abi import constants as abi
from uringfs.abi.numbers import PAGE
from uringfs.engine.request import Request
from uringfs.errors import UringError
from uringfs.faults import sets
from uringfs.faults.given import Given, Lineage, Naming
from uringfs.host.protocols import Caller, File
from uringfs.ops.rw.iovec import total

PATH_MAX = 4096
LINKS = abi.IOSQE_IO_LINK | abi.IOSQE_IO_HARDLINK
CURRENT_POSITION = (1 << 64) - 1
WITHOUT_FILE = frozenset(
    {
        abi.IORING_OP_NOP,
        abi.IORING_OP_NOP128,
        abi.IORING_OP_TIMEOUT,
        abi.IORING_OP_TIMEOUT_REMOVE,
        abi.IORING_OP_LINK_TIMEOUT,
        abi.IORING_OP_ASYNC_CANCEL,
        abi.IORING_OP_POLL_REMOVE,
        abi.IORING_OP_FILES_UPDATE,
        abi.IORING_OP_PROVIDE_BUFFERS,
        abi.IORING_OP_REMOVE_BUFFERS,
        abi.IORING_OP_SOCKET,
        abi.IORING_OP_PIPE,
        abi.IORING_OP_WAITID,
        abi.IORING_OP_MADVISE,
        abi.IORING_OP_FUTEX_WAIT,
        abi.IORING_OP_FUTEX_WAKE,
        abi.IORING_OP_FUTEX_WAITV,
        *sets.PATHS,
    }
)
"""sqe->fd is no file of theirs, or what they are about is not it."""


def submitted(given: Given, request: Request, names: Naming, lineage: Lineage) -> bool:
    """By what the SQE, its chain, its ring and its submitter say."""
    rule, sqe, ring = given.rule, request.sqe, request.context.ring
    if rule.user_data is not None and sqe.user_data not in rule.user_data:
        return False
    if rule.flags & ~request.flags or (rule.nobufs and not request.flags & abi.IOSQE_BUFFER_SELECT):
        return False
    if rule.fd is not None and sqe.fd not in rule.fd:
        return False
    if rule.chain is not None and _position(request) not in rule.chain:
        return False
    return called(given, request.caller, ring.number, ring.owner[1], names, lineage)


def called(given: Given, caller: Caller, number: int, owner: int, names: Naming, lineage: Lineage) -> bool:
    """What holds of a call as well: its ring file, and who makes it."""
    rule = given.rule
    if given.ring and given.ring != number:
        return False
    if rule.ring and not fnmatchcase(names(number), rule.ring) and rule.ring != f"#{number}":
        return False
    if rule.pid is not None and rule.pid not in lineage(caller.tid):
        return False
    return given.may_break(owner, caller)


def _position(request: Request) -> int:
    """A request's position in the chain that is being assembled, from 1; 0 if it is in none."""
    before, count = request.context.link_head(), 0
    if before is None:
        return 1 if request.flags & LINKS else 0
    while before is not None:
        before, count = before.link, count + 1
    return count + 1


def issued(given: Given, request: Request) -> bool:
    """By its file, its path, the bytes it is about."""
    rule = given.rule
    if rule.range is not None and not _in_range(request, given):
        return False
    if rule.misdirect is not None and request.sqe.off == CURRENT_POSITION:
        return False
    if rule.path and not fnmatchcase(path_of(request), rule.path):
        return False
    if rule.peer and not fnmatchcase(peer_of(request), rule.peer):
        return False
    return not rule.unsynced or may_be_lost(given, request)


def may_be_lost(given: Given, request: Request) -> bool:
    """True for a write whose effect can be taken back; why it cannot is written down in `given`. One that is
    synced by itself is never lost, and needs no word."""
    file = file_of(request)
    if file is None:
        return False
    try:
        if request.sqe.rw_flags & (abi.RWF_DSYNC | abi.RWF_SYNC) or file.synced():
            return False
        given.unable = _why_not(request, file) or given.unable
        return not _why_not(request, file)
    finally:
        file.close()


def _why_not(request: Request, file: File) -> str:
    if not file.on_disk():
        return "not a regular file of a file system on a disk, or in memory"
    if file.direct:
        return "open with O_DIRECT"
    if file.appends() or request.sqe.rw_flags & abi.RWF_APPEND:
        return "open with O_APPEND"
    return "written at the file's own position" if request.sqe.off == CURRENT_POSITION else ""


def _in_range(request: Request, given: Given) -> bool:
    assert given.rule.range is not None
    data = request.data
    length = total(data) if isinstance(data, list) else request.sqe.len
    return request.sqe.off != CURRENT_POSITION and given.rule.range.overlaps(request.sqe.off, length)


def path_of(request: Request) -> str:
    """What the request names, or its file is; "" for none."""
    field = sets.PATHS.get(request.sqe.opcode)
    if field is not None:
        return os.fsdecode(_string(request.caller, getattr(request.sqe, field)))
    file = file_of(request)
    if file is None:
        return ""
    try:
        return file.name()
    finally:
        file.close()


def file_of(request: Request) -> File | None:
    """With one more user."""
    if request.sqe.opcode in WITHOUT_FILE:
        return None
    with suppress(UringError):
        if request.flags & abi.IOSQE_FIXED_FILE:
            node = request.context.resources.file(request.sqe.fd)
            try:
                node.what.hold()
            finally:
                node.close()
            return node.what
        if request.attachment is not None:
            return request.attachment.file(request)
        return request.context.file(request.caller, request.sqe.fd)
    return None


def _string(caller: Caller, address: int) -> bytes:
    """strncpy_from_user(), as far as it can be read."""
    found = b""
    with suppress(UringError):
        while len(found) < PATH_MAX:
            piece = caller.memory.read(address, PAGE - address % PAGE)
            found += piece
            address += len(piece)
            if b"\0" in piece:
                return found[: found.index(b"\0")]
    return found


def peer_of(request: Request) -> str:
    """The far end of its socket, or where it sends or connects to; "" for none."""
    if request.sqe.opcode == abi.IORING_OP_CONNECT:
        with suppress(UringError):
            return address(request.caller.memory.read(request.sqe.addr, min(request.sqe.off, 128)))
        return ""
    name = getattr(request.data, "name", None)
    if isinstance(name, bytes) and name:
        return address(name)
    file = file_of(request)
    if file is None:
        return ""
    try:
        return _connected(file.fileno())
    except UringError:
        return ""
    finally:
        file.close()


def _connected(fd: int) -> str:
    try:
        with socket.socket(fileno=os.dup(fd)) as sock:
            name = sock.getpeername()
            family = sock.family
    except OSError as error:
        raise UringError(error.errno or errno.EBADF) from error
    if family == socket.AF_UNIX:
        return _unix(os.fsencode(name) if isinstance(name, str) else name)
    host = f"[{name[0]}]" if family == socket.AF_INET6 else name[0]
    return f"{host}:{name[1]}"


def address(sockaddr: bytes) -> str:
    """struct sockaddr of IPv4, IPv6 or a Unix socket."""
    family = int.from_bytes(sockaddr[:2], "little")
    port = int.from_bytes(sockaddr[2:4], "big")
    if family == socket.AF_INET and len(sockaddr) >= 8:
        return f"{socket.inet_ntop(family, sockaddr[4:8])}:{port}"
    if family == socket.AF_INET6 and len(sockaddr) >= 24:
        return f"[{socket.inet_ntop(family, sockaddr[8:24])}]:{port}"
    return _unix(sockaddr[2:]) if family == socket.AF_UNIX else ""


def _unix(path: bytes) -> str:
    if path[:1] == b"\0":
        return "unix:@" + os.fsdecode(path[1:].rstrip(b"\0"))
    return "unix:" + os.fsdecode(path.split(b"\0")[0])
