"""A request: its SQE, and what has to stay in memory until its CQE is reaped."""

import ctypes
import errno
import os
import struct
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Self, TypeAlias

from uringfs.abi.numbers import U32, U64
from uringfs.abi.structs import IOVEC, TIMESPEC, Cqe, Sqe
from uringfs.client.enums import CqeFlag, Op, SqeFlag

if TYPE_CHECKING:
    from typing_extensions import Buffer as Buffer
else:
    Buffer = object  # collections.abc has it from Python 3.12 on

U16 = 0xFFFF
AT_FDCWD = -100
CURRENT_POSITION = U64
FILE_INDEX_ALLOC = U32
"""IORING_FILE_INDEX_ALLOC: a direct descriptor in a slot that is free."""
Memory: TypeAlias = "Buffer | int"
"""A buffer, or an address whose memory the caller keeps."""
Path: TypeAlias = str | bytes | os.PathLike[str]


@dataclass(frozen=True)
class Request:
    """What the functions of uringfs.client.prep return and Ring.queue() takes."""

    sqe: Sqe
    keep: tuple[object, ...] = ()
    """Referred to by the ring until the request's last CQE is reaped."""
    command: bytes = b""
    """The bytes from addr3 on: at most 16, or 80 in an SQE of 128 bytes."""

    def with_user_data(self, user_data: int) -> Self:
        return replace(self, sqe=self.sqe._replace(user_data=user_data))

    def with_flags(self, flags: int) -> Self:
        """Set these IOSQE_* flags beside those that are set."""
        return replace(self, sqe=self.sqe._replace(flags=self.sqe.flags | flags))

    def __repr__(self) -> str:
        sqe = self.sqe
        opcode = Op(sqe.opcode).name if sqe.opcode < len(Op) else str(sqe.opcode)
        fields = [f"{name}={value}" for name, value in sqe._asdict().items() if value and name != "opcode"]
        return f"<Request {' '.join([opcode, *fields])}>"


class BigCqe(Cqe):
    """struct io_uring_cqe of 32 bytes: equal to the Cqe of its first three fields."""

    big_cqe: tuple[int, int]

    def __new__(cls, user_data: int, res: int, flags: int, big_cqe: tuple[int, int] = (0, 0)) -> Self:
        self = super().__new__(cls, user_data, res, flags)
        self.big_cqe = big_cqe
        return self

    def __repr__(self) -> str:
        return f"{super().__repr__()[:-1]}, big_cqe={self.big_cqe})"


def result(cqe: Cqe) -> int:
    """cqe.res; the OSError of that errno if it is negative."""
    if cqe.res < 0:
        raise OSError(-cqe.res, os.strerror(-cqe.res))
    return cqe.res


def more(cqe: Cqe) -> bool:
    """True if the CQE's request has further CQEs to come."""
    return bool(cqe.flags & CqeFlag.MORE)


def make(
    op: Op,
    *keep: object,
    fd: int = -1,
    off: int = 0,
    addr: int = 0,
    len: int = 0,
    rw_flags: int = 0,
    buf_index: int = 0,
    file_index: int = 0,
    addr3: int = 0,
    pad2: int = 0,
    command: bytes = b"",
    ioprio: int = 0,
    user_data: int = 0,
    flags: int = 0,
    personality: int = 0,
) -> Request:
    """A request of any opcode, fields as in struct io_uring_sqe; negative numbers as C has them."""
    sqe = Sqe(
        *(int(op), flags, ioprio & U16, fd, off & U64, addr & U64, len & U32, rw_flags & U32, user_data & U64),
        *(buf_index & U16, personality, file_index & U32, addr3 & U64, pad2 & U64),
    )
    return Request(sqe, keep, command)


class View:
    """The address and length, bytes, of a buffer, and what keeps it there."""

    def __init__(self, buffer: Memory, length: int | None = None, *, writable: bool) -> None:
        """writable: the kernel will store there; else what cannot be written is copied. ValueError: length is
        above the buffer's, or missing for an address. TypeError: no buffer, or a read-only one."""
        self.keep: object = None
        self.copied = False
        """True if the memory is a copy, made because the buffer cannot be written."""
        if isinstance(buffer, int):
            if length is None:
                raise ValueError("an address needs len=")
            self.address, self.length = buffer, length
            return
        view = memoryview(buffer).cast("B")
        self.copied = view.readonly
        self.keep = self._exported(view, writable)
        self.address, size = ctypes.addressof(self.keep), ctypes.sizeof(self.keep)
        self.length = size if length is None else length
        if not 0 <= self.length <= size:
            raise ValueError(f"len {length} is not within the buffer's {size} bytes")

    @staticmethod
    def _exported(view: memoryview, writable: bool) -> "ctypes.Array[ctypes.c_char]":
        if not view.readonly:
            return (ctypes.c_char * len(view)).from_buffer(view)
        if writable:
            raise TypeError("the buffer is read-only: bytearray, mmap or a writable memoryview")
        return (ctypes.c_char * len(view)).from_buffer_copy(view)


class Iovecs:
    """An array of struct iovec."""

    def __init__(self, buffers: Sequence[Buffer], *, writable: bool) -> None:
        self._views = [View(buffer, writable=writable) for buffer in buffers]
        packed = b"".join(IOVEC.pack(view.address, view.length) for view in self._views)
        self._array = ctypes.create_string_buffer(packed, len(packed) or 1)
        self.address = ctypes.addressof(self._array)
        self.count = len(self._views)
        self.copied = any(view.copied for view in self._views)


class Text:
    """A C string: a path or a name."""

    def __init__(self, path: Path) -> None:
        self._buffer = ctypes.create_string_buffer(os.fsencode(path))
        self.address = ctypes.addressof(self._buffer)


class Struct:
    """A struct given as its bytes."""

    def __init__(self, data: bytes) -> None:
        self._buffer = ctypes.create_string_buffer(data, len(data) or 1)
        self.address = ctypes.addressof(self._buffer)
        self.size = len(data)


def timespec(seconds: float) -> Struct:
    """struct __kernel_timespec; OSError EINVAL below 0."""
    if seconds < 0:
        raise OSError(errno.EINVAL, "a time below 0")
    whole = int(seconds)
    return Struct(TIMESPEC.pack(whole, round((seconds - whole) * 1e9)))


class Msghdr(ctypes.Structure):
    """struct msghdr of these buffers, for sendmsg() and recvmsg(); the ring fills the lengths and msg_flags in.

    name, control: bytes to send, or a bytearray to receive into."""

    _fields_ = (
        *(("msg_name", ctypes.c_uint64), ("msg_namelen", ctypes.c_uint32), ("_pad", ctypes.c_uint32)),
        *((name, ctypes.c_uint64) for name in ("msg_iov", "msg_iovlen", "msg_control", "msg_controllen")),
        *(("msg_flags", ctypes.c_uint32), ("_end", ctypes.c_uint32)),
    )
    msg_name: int
    msg_namelen: int
    msg_iov: int
    msg_iovlen: int
    msg_control: int
    msg_controllen: int
    msg_flags: int

    def __init__(self, buffers: Sequence[Buffer], name: Buffer = b"", control: Buffer = b"") -> None:
        super().__init__()
        self._iovecs = Iovecs(buffers, writable=False)
        self._views = View(name, writable=False), View(control, writable=False)
        self.copied = self._iovecs.copied or any(view.copied and view.length for view in self._views)
        self.msg_iov, self.msg_iovlen = self._iovecs.address, self._iovecs.count
        for view, field in zip(self._views, ("name", "control"), strict=True):
            if view.length:
                setattr(self, f"msg_{field}", view.address)
                setattr(self, f"msg_{field}len", view.length)


def sockaddr(family: int, address: object) -> bytes:
    """struct sockaddr of what Python's socket module calls an address: AF_INET (host, port), AF_INET6 (host, port
    [, flowinfo, scope_id]), AF_UNIX a path. Hosts are numeric. OSError, ValueError."""
    import socket

    head = struct.pack("=H", family)
    if family == socket.AF_UNIX and isinstance(address, str | bytes):
        name = os.fsencode(address)
        return head + name + (b"" if name[:1] == b"\0" else b"\0")
    if family == socket.AF_INET and isinstance(address, tuple):
        return head + struct.pack("!H4s8x", address[1], socket.inet_pton(family, address[0]))
    if family == socket.AF_INET6 and isinstance(address, tuple):
        host, port, flow, scope = (*address, 0, 0)[:4]
        return head + struct.pack("!HI16s", port, flow, socket.inet_pton(family, host)) + struct.pack("=I", scope)
    raise ValueError(f"no address of family {family}: {address!r}")


def is_linked(request: Request) -> bool:
    """The next request of the submission is linked behind it."""
    return bool(request.sqe.flags & (SqeFlag.IO_LINK | SqeFlag.IO_HARDLINK))
