"""madvise(2) for another process. The kernel lets only four kinds of advice cross processes
(process_madvise_remote_valid()); of the others, what is a mere hint is checked and not passed on, DONTNEED
of private anonymous memory is done by storing zeros where there is a page, and the rest is EOPNOTSUPP."""

import ctypes
import errno
import os
from collections.abc import Callable
from struct import Struct
from typing import NamedTuple

from uringfs import native
from uringfs.abi.libc import libc
from uringfs.abi.machine import NR
from uringfs.abi.numbers import PAGE, U64
from uringfs.abi.structs import IOVEC
from uringfs.errors import UringError
from uringfs.host.process.program import thread_group
from uringfs.host.protocols import Memory

MADV_NORMAL, MADV_RANDOM, MADV_SEQUENTIAL, MADV_WILLNEED, MADV_DONTNEED = range(5)
MADV_FREE, MADV_REMOVE, MADV_DONTFORK, MADV_DOFORK, MADV_MERGEABLE, MADV_UNMERGEABLE = range(8, 14)
MADV_HUGEPAGE, MADV_NOHUGEPAGE = 14, 15
MADV_COLD, MADV_PAGEOUT, MADV_COLLAPSE = 20, 21, 25
VALID = frozenset([*range(5), *range(8, 26), 102, 103])
PRIVILEGED = (100, 101)  # HWPOISON, SOFT_OFFLINE
HINTS = (
    *(MADV_NORMAL, MADV_RANDOM, MADV_SEQUENTIAL),
    *(MADV_MERGEABLE, MADV_UNMERGEABLE, MADV_HUGEPAGE, MADV_NOHUGEPAGE),
)
REMOTE = (MADV_COLD, MADV_PAGEOUT, MADV_WILLNEED, MADV_COLLAPSE)
PRESENT = 1 << 63 | 1 << 62  # in memory, or in swap
ZEROS = bytes(1 << 20)
_PAGEMAP = Struct("<Q")


class Mapping(NamedTuple):
    start: int
    end: int
    private: bool
    anonymous: bool


def madvise(
    tid: int, memory: Memory, address: int, length: int, advice: int, still: Callable[[], None] = lambda: None
) -> int:
    """do_madvise(). memory: that of the thread, pinned. still: raises unless what was found by its id was its."""
    if advice not in VALID:
        raise UringError(errno.EPERM if advice in PRIVILEGED else errno.EINVAL, f"advice {advice}")
    size = -(-length // PAGE) * PAGE
    if address % PAGE or size > U64 or address + size > U64:
        raise UringError(errno.EINVAL, f"{length} bytes at {address:#x}")
    if not size:
        return 0
    found, hole = _mappings(tid, address, address + size)
    still()
    for mapping in found:
        if advice == MADV_DONTNEED:
            _dontneed(tid, memory, mapping)
        elif advice == MADV_FREE:
            if not (mapping.private and mapping.anonymous):
                raise UringError(errno.EINVAL, "MADV_FREE is for private anonymous memory")
        elif advice in REMOTE:
            _remote(tid, mapping, advice)
        elif advice not in HINTS:
            raise UringError(errno.EOPNOTSUPP, f"advice {advice} cannot be given for another process")
    if hole:
        raise UringError(errno.ENOMEM, "not all of it is mapped")
    return 0


def _mappings(tid: int, start: int, end: int) -> tuple[list[Mapping], bool]:
    """What is mapped within [start, end), and whether that is less than all of it."""
    found, mapped = [], 0
    try:
        with open(f"/proc/{tid}/maps") as maps:
            for line in maps:
                span, permissions, _, _, inode, *_ = line.split()
                low, high = (int(part, 16) for part in span.split("-"))
                low, high = max(low, start), min(high, end)
                if low < high:
                    found.append(Mapping(low, high, permissions[3] == "p", inode == "0"))
                    mapped += high - low
    except OSError as error:
        raise UringError(errno.ECANCELED, f"thread {tid} is gone") from error
    return found, mapped < end - start


def _dontneed(tid: int, memory: Memory, mapping: Mapping) -> None:
    if not mapping.private:
        return  # its pages are the file's, and stay
    if not mapping.anonymous:
        raise UringError(errno.EOPNOTSUPP, "MADV_DONTNEED of a private mapping of a file")
    with open(f"/proc/{tid}/pagemap", "rb", buffering=0) as pagemap:
        for start in range(mapping.start, mapping.end, len(ZEROS)):
            count = (min(start + len(ZEROS), mapping.end) - start) // PAGE
            pagemap.seek(start // PAGE * _PAGEMAP.size)
            entries = _PAGEMAP.iter_unpack(pagemap.read(count * _PAGEMAP.size))
            pages = [(start + n * PAGE, PAGE) for n, (entry,) in enumerate(entries) if entry & PRESENT]
            if memory.scatter(memoryview(ZEROS)[: len(pages) * PAGE], pages) < len(pages) * PAGE:
                raise UringError(errno.EOPNOTSUPP, "MADV_DONTNEED of memory that cannot be written")


def _remote(tid: int, mapping: Mapping, advice: int) -> None:
    pidfd = native.pidfd_open(thread_group(tid), 0)
    try:
        iovec = IOVEC.pack(mapping.start, mapping.end - mapping.start)
        result = libc.syscall(NR["process_madvise"], pidfd, iovec, ctypes.c_size_t(1), advice, 0)
    finally:
        os.close(pidfd)
    code = ctypes.get_errno()
    if result < 0 and not (code == errno.EPERM and advice != MADV_COLLAPSE):  # without CAP_SYS_NICE: a hint
        raise UringError(code, os.strerror(code))
