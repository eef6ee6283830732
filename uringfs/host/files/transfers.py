"""Reads and writes that take more than one call to say: alignment, faults, nothing at all."""

import ctypes
import errno
import mmap
import os
import socket
from collections.abc import Sequence

from uringfs import native
from uringfs.abi.libc import libc
from uringfs.abi.numbers import PAGE, page_align
from uringfs.host.protocols import Data, DataToEnd, Iovec

_PROT_NONE = 0
_NOWHERE = 4096
"""An address that faults."""
_UNTOUCHED = b"\xaa"
"""What memory holds that a read may fill."""


def send_nothing(fd: int) -> int:
    """An empty datagram: pwritev2(2) of nothing does nothing, sock_write_iter() sends it."""
    with socket.socket(fileno=os.dup(fd)) as ours:
        return ours.send(b"", socket.MSG_DONTWAIT | socket.MSG_NOSIGNAL)


def write_from_nowhere(fd: int, iovecs: Sequence[Iovec], offset: int, flags: int) -> int:
    """Write memory that is not there, and lies within its pages as the iovecs do: the bytes written."""
    return _pwritev2(fd, [(_NOWHERE + address % PAGE, length) for address, length in iovecs], offset, flags)


def write_until_fault(fd: int, iovecs: Sequence[Iovec], readable: Data, most: int, offset: int, flags: int) -> int:
    """Write memory that lies within its pages as the iovecs do, and of which so much at the beginning is there:
    the bytes written, of `most`. With O_DIRECT more may be, whose result is EFAULT (iomap_dio_rw())."""
    iovecs = _clipped(iovecs, most)
    starts, end = _places(iovecs)
    with mmap.mmap(-1, end + PAGE) as memory:
        begin, left, there = _address(memory), len(readable), 0
        for start, (_, length) in zip(starts, iovecs, strict=True):
            part = readable[len(readable) - left :][:length]
            memory[start : start + len(part)] = bytes(part)
            left -= len(part)
            if part:
                there = page_align(start + len(part))
            if len(part) < length:
                break
        if libc.mprotect(ctypes.c_void_p(begin + there), ctypes.c_size_t(len(memory) - there), _PROT_NONE):
            raise OSError(ctypes.get_errno(), "mprotect")
        ours = [(begin + start, length) for start, (_, length) in zip(starts, iovecs, strict=True)]
        return _pwritev2(fd, ours, offset, flags)


def _clipped(iovecs: Sequence[Iovec], most: int) -> list[Iovec]:
    clipped = []
    for address, length in iovecs:
        clipped.append((address, min(length, most)))
        most -= clipped[-1][1]
    return clipped


def _address(memory: mmap.mmap) -> int:
    view = ctypes.c_char.from_buffer(memory)
    return ctypes.addressof(view)


def _pwritev2(fd: int, iovecs: Sequence[Iovec], offset: int, flags: int) -> int:
    words = [word for iovec in iovecs for word in iovec]
    vector = (ctypes.c_size_t * len(words))(*words)
    written: int = libc.pwritev2(fd, vector, len(iovecs), ctypes.c_long(offset), flags)
    if written < 0:
        raise OSError(ctypes.get_errno(), "a write of memory that is not there")
    return written


def _places(iovecs: Sequence[Iovec]) -> tuple[list[int], int]:
    """Where each lies in memory of ours, within its pages as the iovec does, and how large that is."""
    starts, end = [], 0
    for address, length in iovecs:
        starts.append(end + address % PAGE)
        end = page_align(starts[-1] + length)
    return starts, end


def aligned(iovecs: Sequence[Iovec]) -> list[memoryview]:
    """Memory of ours that lies within its pages as the iovecs do: O_DIRECT refuses what the caller's
    alignment deserves, and takes what it deserves."""
    starts, end = _places(iovecs)
    memory = memoryview(mmap.mmap(-1, end or 1))
    return [memory[start : start + length] for start, (_, length) in zip(starts, iovecs, strict=True)]


def read_aligned(fd: int, iovecs: Sequence[Iovec], offset: int, flags: int) -> Data:
    """preadv2(2) with O_DIRECT into memory that lies within its pages as the iovecs do."""
    views = aligned(iovecs)
    for view in views:
        view[:] = _UNTOUCHED * len(view)
    count = os.preadv(fd, views, offset, flags)
    data = views[0] if len(views) == 1 else memoryview(b"".join(views))
    if count in (0, len(data)):
        return data[:count]
    found = DataToEnd(data[:count])
    found.behind = bytes(data[count:]).rstrip(_UNTOUCHED)
    return found


def positioned(fd: int) -> bool:
    """FMODE_PREAD: the file can be read at an offset. Asked with a read of nothing."""
    try:
        native.preadv2(fd, bytearray(), 0, 0)
    except OSError as error:
        return error.errno != errno.ESPIPE
    return True
