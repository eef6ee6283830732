"""How values are shown: flags by name, descriptors with what is behind them, data as C strings, errors by name."""

import errno
import os
import socket
import stat
from collections.abc import Callable, Mapping

from uringfs.abi import constants as abi
from uringfs.abi import events, net
from uringfs.abi.constants import SQE_FLAGS
from uringfs.abi.numbers import U32
from uringfs.abi.structs import TIMESPEC
from uringfs.watch.record import FIXED, INJECTED, NO_CQE, TRUNCATED, Record

AT_FDCWD = -100
CURRENT = (1 << 64) - 1
_ESCAPES = {0x5C: "\\\\", 0x22: '\\"', 0x0A: "\\n", 0x09: "\\t", 0x0D: "\\r"}
CHARACTERS = [_ESCAPES.get(c) or (chr(c) if 0x20 <= c < 0x7F else f"\\{c:03o}") for c in range(256)]

Show = Callable[[Record, int], str]
"""'' leaves the argument out."""


def quoted(data: bytes, more: bool = False) -> str:
    """As a C string; `...` behind it where there is more."""
    return '"' + "".join([CHARACTERS[c] for c in data]) + ('"...' if more else '"')


def plain(text: str) -> str:
    """Any user's words on anybody's terminal: what cannot be printed in escapes, the rest as it is."""
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else c.encode("unicode_escape", "surrogatepass").decode() for c in text)


def bits(names: Mapping[int, str], value: int) -> str:
    """The set bits' names joined by '|', what has none in hex, '0' for none."""
    found = [name for bit, name in names.items() if value & bit]
    rest = value & ~sum(names)
    return "|".join([*found, *([hex(rest)] if rest else [])]) or "0"


def _constants(module: object, *prefixes: str, drop: tuple[str, ...] = ()) -> dict[int, str]:
    """Bit -> name, of constants of one bit."""
    return {
        value: name
        for name, value in vars(module).items()
        if name.startswith(prefixes) and isinstance(value, int) and value.bit_count() == 1 and name not in drop
    }


_OPEN = {getattr(os, name): name for name in "O_CREAT O_EXCL O_NOCTTY O_TRUNC O_APPEND O_NONBLOCK".split()}
_OPEN |= {os.O_DIRECTORY: "O_DIRECTORY", os.O_NOFOLLOW: "O_NOFOLLOW", os.O_CLOEXEC: "O_CLOEXEC"}
_OPEN |= {os.O_DIRECT: "O_DIRECT", os.O_NOATIME: "O_NOATIME", os.O_PATH: "O_PATH", os.O_DSYNC: "O_DSYNC"}
_ACCESS = ("O_RDONLY", "O_WRONLY", "O_RDWR", "O_ACCMODE")
_AT = {0x100: "AT_SYMLINK_NOFOLLOW", 0x200: "AT_REMOVEDIR", 0x400: "AT_SYMLINK_FOLLOW", 0x1000: "AT_EMPTY_PATH"}
_SOCK = {net.SOCK_NONBLOCK: "SOCK_NONBLOCK", net.SOCK_CLOEXEC: "SOCK_CLOEXEC"}
FLAGS: dict[str, Mapping[int, str]] = {
    "rwf": _constants(abi, "RWF_"),
    "nop": _constants(abi, "IORING_NOP_"),
    "fsync": {1: "IORING_FSYNC_DATASYNC"},
    "poll0": _constants(events, "EPOLL"),
    "pollflags": _constants(events, "IORING_POLL_"),
    "timeout": _constants(events, "IORING_TIMEOUT_", "IORING_LINK_TIMEOUT_"),
    "cancel": _constants(events, "IORING_ASYNC_CANCEL_"),
    "msg": {int(flag): str(flag.name) for flag in socket.MsgFlag if int(flag).bit_count() == 1},
    "socket": _SOCK,
    "at": _AT,
}
CQE_FLAGS = _constants(abi, "IORING_CQE_F_")
SQE_BITS = {1 << bit: f"IOSQE_{name}" for bit, name in enumerate(SQE_FLAGS)}
_FAMILIES = {int(family): family.name for family in socket.AddressFamily}
_TYPES = {int(kind): kind.name for kind in socket.SocketKind}
_SOCKET_OPS = ("SIOCINQ", "SIOCOUTQ", "GETSOCKOPT", "SETSOCKOPT")


def _named(names: Mapping[int, str]) -> Show:
    """Left out at 0."""
    return lambda record, value: bits(names, value) if value else ""


def _choice(*names: str) -> Show:
    return lambda record, value: names[value] if value < len(names) else str(value)


def descriptor(record: Record, value: int) -> str:
    what = f"<{plain(record.file.decode('utf-8', 'surrogateescape'))}>" if record.file else ""
    return f"{'@' if record.flags & FIXED else ''}{value}{what}"


def _directory(record: Record, value: int) -> str:
    return "AT_FDCWD" if value == AT_FDCWD else descriptor(record, value)


def _second_directory(record: Record, value: int) -> str:
    return "AT_FDCWD" if value == AT_FDCWD & U32 else str(value)


def _pointer(record: Record, value: int) -> str:
    return f"{value:#x}" if value else "NULL"


def _text(text: bytes, value: int) -> str:
    return quoted(text) if text else f"{value:#x}" if value else "NULL"


def _data(record: Record, value: int) -> str:
    if record.data:
        return quoted(record.data, bool(record.flags & TRUNCATED))
    return _pointer(record, value)


def _vector(record: Record, value: int) -> str:
    return f"[{_data(record, value)}]" if record.data else _pointer(record, value)


def _message(record: Record, value: int) -> str:
    return f"{{msg_iov=[{_data(record, value)}]}}" if record.data else _pointer(record, value)


def _offset(record: Record, value: int) -> str:
    return "-1" if value == CURRENT else str(value)


def _timespec(record: Record, value: int) -> str:
    if len(record.data) != TIMESPEC.size:
        return _pointer(record, value)
    seconds, nanoseconds = TIMESPEC.unpack(record.data)
    return f"{{tv_sec={seconds}, tv_nsec={nanoseconds}}}"


def _open(record: Record, value: int) -> str:
    rest = value & ~os.O_ACCMODE
    return _ACCESS[value & os.O_ACCMODE] + (f"|{bits(_OPEN, rest)}" if rest else "")


def _sock_type(record: Record, value: int) -> str:
    kind, flags = value & net.SOCK_TYPE_MASK, value & ~net.SOCK_TYPE_MASK
    return _TYPES.get(kind, str(kind)) + (f"|{bits(_SOCK, flags)}" if flags else "")


def _sockaddr(record: Record, value: int) -> str:
    return f"{{{sockaddr(record.data)}}}" if record.data else _pointer(record, value)


def sockaddr(data: bytes) -> str:
    """A struct sockaddr in words."""
    family = int.from_bytes(data[:2], "little")
    name = _FAMILIES.get(family, str(family))
    if family == socket.AF_INET and len(data) >= 8:
        return f"{name} {socket.inet_ntop(family, data[4:8])}:{int.from_bytes(data[2:4], 'big')}"
    if family == socket.AF_INET6 and len(data) >= 24:
        return f"{name} [{socket.inet_ntop(family, data[8:24])}]:{int.from_bytes(data[2:4], 'big')}"
    if family == socket.AF_UNIX:
        path = data[2:]
        return f"{name} {quoted(path if path[:1] == bytes(1) else path.split(bytes(1))[0])}"
    return name


def _slot(record: Record, value: int) -> str:
    if not value:
        return ""
    return "slot=IORING_FILE_INDEX_ALLOC" if value == U32 else f"slot={value - 1}"


KINDS: dict[str, Show] = {
    "": lambda record, value: str(value),
    "fd": descriptor,
    "dfd": _directory,
    "dfd2": _second_directory,
    "data": _data,
    "vector": _vector,
    "msghdr": _message,
    "name": lambda record, value: _text(record.name, value),
    "name2": lambda record, value: _text(record.name2, value),
    "off": _offset,
    "nonzero": lambda record, value: str(value) if value else "",
    "hex": lambda record, value: f"{value:#x}",
    "hex0": lambda record, value: f"{value:#x}" if value else "",
    "mode": lambda record, value: f"{stat.S_IMODE(value):#o}" if value else "",
    "pointer": _pointer,
    "user_data": lambda record, value: f"user_data={value:#x}",
    "timespec": _timespec,
    "sockaddr": _sockaddr,
    "open": _open,
    "poll": lambda record, value: bits(FLAGS["poll0"], value),
    "family": lambda record, value: _FAMILIES.get(value, str(value)),
    "socktype": _sock_type,
    "slot": _slot,
    "epollctl": _choice("0", "EPOLL_CTL_ADD", "EPOLL_CTL_DEL", "EPOLL_CTL_MOD"),
    "shutdown": _choice("SHUT_RD", "SHUT_WR", "SHUT_RDWR"),
    "msgring": _choice("IORING_MSG_DATA", "IORING_MSG_SEND_FD"),
    "socketop": _choice(*(f"SOCKET_URING_OP_{name}" for name in _SOCKET_OPS)),
    **{kind: _named(names) for kind, names in FLAGS.items()},
}


def errno_name(res: int) -> str:
    """ENOENT of -ENOENT; '' of a result that is no error."""
    return errno.errorcode.get(-res, f"E{-res}") if -4096 < res < 0 else ""


def result(record: Record) -> str:
    """What comes behind `=`."""
    name = errno_name(record.res)
    said = f"-{name} ({os.strerror(-record.res)})" if name else str(record.res)
    if record.cflags & 0xFFFF:
        said += f" {bits(CQE_FLAGS, record.cflags & 0xFFFF)}"
    if record.cflags & abi.IORING_CQE_F_BUFFER:
        said += f" bid={record.cflags >> 16}"
    said += " (no CQE)" if record.flags & NO_CQE else ""
    return said + (" (INJECTED)" if record.flags & INJECTED else "")
