"""Buffers of the caller as requests name them (lib/iov_iter.c): checked, never touched."""

import errno

from uringfs.abi.constants import MAX_RW_COUNT, UIO_MAXIOV
from uringfs.abi.machine import TASK_SIZE_MAX
from uringfs.abi.structs import IOVEC
from uringfs.errors import UringError
from uringfs.host.protocols import Caller, Iovec


def access_ok(address: int, size: int) -> None:
    """EFAULT for what cannot be user memory."""
    if address + size > TASK_SIZE_MAX:
        raise UringError(errno.EFAULT)


def import_ubuf(address: int, size: int) -> list[Iovec]:
    """One buffer, cut at MAX_RW_COUNT. EFAULT."""
    size = min(size, MAX_RW_COUNT)
    access_ok(address, size)
    return [(address, size)]


def copy_iovec(caller: Caller, address: int, count: int) -> list[Iovec]:
    """iovec_from_user(). EINVAL beyond UIO_MAXIOV or a negative length, EFAULT."""
    if count > UIO_MAXIOV:
        raise UringError(errno.EINVAL, f"{count} iovecs; at most {UIO_MAXIOV}")
    if count == 0:
        return []
    access_ok(address, count * IOVEC.size)
    found: list[Iovec] = []
    for base, length in IOVEC.iter_unpack(caller.memory.read(address, count * IOVEC.size)):
        if length >> 63:
            raise UringError(errno.EINVAL, "iov_len is negative")
        found.append((base, length))
    return found


def import_iovec(caller: Caller, address: int, count: int) -> list[Iovec]:
    """__import_iovec(): the lengths cut so that they sum to MAX_RW_COUNT. EINVAL, EFAULT."""
    left, found = MAX_RW_COUNT, []
    for base, length in copy_iovec(caller, address, count):
        access_ok(base, length)
        length = min(length, left)
        left -= length
        found.append((base, length))
    return found


def total(iovecs: list[Iovec]) -> int:
    """iov_iter_count()"""
    return sum(length for _, length in iovecs)


def advanced(iovecs: list[Iovec], count: int) -> list[Iovec]:
    """iov_iter_advance(): what is left behind their first `count` bytes."""
    for index, (base, length) in enumerate(iovecs):
        if count < length:
            return [(base + count, length - count), *iovecs[index + 1 :]]
        count -= length
    return []


def truncated(iovecs: list[Iovec], count: int) -> list[Iovec]:
    """iov_iter_truncate(): their first `count` bytes."""
    found = []
    for base, length in iovecs:
        if not count:
            break
        found.append((base, min(length, count)))
        count -= found[-1][1]
    return found
