"""What io_uring_register(2) was given, decoded where it is an array or a small struct."""

from collections.abc import Callable
from struct import Struct

from uringfs.abi import constants as abi
from uringfs.abi.structs import IOVEC
from uringfs.watch.record import TRUNCATED, Record

MOST = 64
"""Bytes of the argument that are kept."""
_FDS = Struct("<i")
_PBUF = Struct("<QIHH")  # struct io_uring_buf_reg without what is reserved
_FILES_UPDATE = Struct("<IIQ")
_RSRC = Struct("<IIQQQ")
_RING_FD = Struct("<IIQ")


def _array(struct: Struct, show: Callable[..., str]) -> Callable[[Record], str]:
    def shown(record: Record) -> str:
        count = min(len(record.data) // struct.size, record.sqe.len)
        entries = [show(*struct.unpack_from(record.data, n * struct.size)) for n in range(count)]
        return f"[{', '.join(entries)}{', ...' if count < record.sqe.len else ''}]"

    return shown


def _one(struct: Struct, show: Callable[..., str]) -> Callable[[Record], str]:
    return lambda record: f"{{{show(*struct.unpack_from(record.data))}}}"


_BUFFERS = _array(IOVEC, lambda base, length: f"{{iov_base={base:#x}, iov_len={length}}}")
_EVENTFD = _array(_FDS, str)
_RESOURCES = _one(_RSRC, lambda nr, flags, _, data, tags: f"nr={nr}, flags={flags:#x}, data={data:#x}")
_DECODED: dict[int, tuple[int, Callable[[Record], str]]] = {
    abi.IORING_REGISTER_BUFFERS: (IOVEC.size, _BUFFERS),
    abi.IORING_REGISTER_FILES: (_FDS.size, _EVENTFD),
    abi.IORING_REGISTER_EVENTFD: (_FDS.size, _EVENTFD),
    abi.IORING_REGISTER_EVENTFD_ASYNC: (_FDS.size, _EVENTFD),
    abi.IORING_REGISTER_FILES_UPDATE: (
        _FILES_UPDATE.size,
        _one(_FILES_UPDATE, lambda off, _, fds: f"offset={off}, fds={fds:#x}"),
    ),
    abi.IORING_REGISTER_FILES2: (_RSRC.size, _RESOURCES),
    abi.IORING_REGISTER_BUFFERS2: (_RSRC.size, _RESOURCES),
    abi.IORING_REGISTER_PBUF_RING: (
        _PBUF.size,
        _one(_PBUF, lambda at, n, bgid, f: f"ring_addr={at:#x}, ring_entries={n}, bgid={bgid}, flags={f:#x}"),
    ),
    abi.IORING_UNREGISTER_PBUF_RING: (_PBUF.size, _one(_PBUF, lambda at, n, bgid, f: f"bgid={bgid}")),
    abi.IORING_REGISTER_RING_FDS: (
        _RING_FD.size,
        _array(_RING_FD, lambda off, _, fd: f"{{offset={off if off < 1 << 31 else -1}, fd={fd}}}"),
    ),
}


def size(opcode: int, nr_args: int) -> int:
    """How many bytes of the argument are looked at: 0 of what is not decoded."""
    entry = _DECODED.get(opcode & ~abi.IORING_REGISTER_USE_REGISTERED_RING)
    return min(MOST, entry[0] * max(nr_args, 1)) if entry is not None else 0


def registered(record: Record) -> str:
    entry = _DECODED.get(record.sqe.rw_flags & ~abi.IORING_REGISTER_USE_REGISTERED_RING)
    if entry is None or len(record.data) < entry[0] or record.flags & TRUNCATED:
        return f"{record.sqe.addr:#x}" if record.sqe.addr else "NULL"
    return entry[1](record)
