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
from uringfs.host.protocols import Iovec

_NOWHERE = 4096
"""An address that faults."""


def send_nothing(fd: int) -> int:
    """An empty datagram: pwritev2(2) of nothing does nothing, sock_write_iter() sends it."""
    with socket.socket(fileno=os.dup(fd)) as ours:
        return ours.send(b"", socket.MSG_DONTWAIT | socket.MSG_NOSIGNAL)


def write_from_nowhere(fd: int, iovecs: Sequence[Iovec], offset: int, flags: int) -> None:
    """Write memory that is not there, and lies within its pages as the iovecs do."""
    words = [word for address, length in iovecs for word in (_NOWHERE + address % PAGE, length)]
    vector = (ctypes.c_size_t * len(words))(*words)
    if libc.pwritev2(fd, vector, len(iovecs), ctypes.c_long(offset), flags) < 0:
        raise OSError(ctypes.get_errno(), "a write of memory that is not there")


def aligned(iovecs: Sequence[Iovec]) -> list[memoryview]:
    """Memory of ours that lies within its pages as the iovecs do: O_DIRECT refuses what the caller's
    alignment deserves, and takes what it deserves."""
    starts, end = [], 0
    for address, length in iovecs:
        starts.append(end + address % PAGE)
        end = page_align(starts[-1] + length)
    memory = memoryview(mmap.mmap(-1, end or 1))
    return [memory[start : start + length] for start, (_, length) in zip(starts, iovecs, strict=True)]


def positioned(fd: int) -> bool:
    """FMODE_PREAD: the file can be read at an offset. Asked with a read of nothing."""
    try:
        native.preadv2(fd, bytearray(), 0, 0)
    except OSError as error:
        return error.errno != errno.ESPIPE
    return True
