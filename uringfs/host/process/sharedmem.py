"""Futexes in memory that a caller shares with others: a word of a file, memfd or shared anonymous mapping has
one queue of sleepers for all who map it, so the daemon, mapping it too, can wake them.
"""

import ctypes
import mmap
import os
from collections.abc import Callable
from typing import NamedTuple

from uringfs.abi.libc import libc
from uringfs.abi.machine import NR
from uringfs.abi.numbers import PAGE
from uringfs.host.files.filesystems import writes_back

FUTEX_WAKE_BITSET = 10


class SharedWord(NamedTuple):
    """What the word is, whoever maps it where."""

    device: str
    inode: int
    offset: int


def find(tid: int, address: int) -> tuple[SharedWord, str] | None:
    """The word behind an address, and the range of its mapping as /proc/TID/map_files names it; None if the
    memory is private."""
    try:
        with open(f"/proc/{tid}/maps") as maps:
            for line in maps:
                span, mode, offset, device, inode = line.split(None, 5)[:5]
                start, end = (int(number, 16) for number in span.split("-"))
                if start <= address < end:
                    if mode[3] != "s":
                        return None
                    return SharedWord(device, int(inode), int(offset, 16) + address - start), f"{start:x}-{end:x}"
    except OSError:
        pass
    return None


def written_back(tid: int, own_device: int) -> list[tuple[int, int]]:
    """(start, end) of what a thread shares with files that are written back, and can write to: such pages cannot
    be pinned for long (writable_file_mapping_allowed()). Rings lie in memory, whatever their file says."""
    found = []
    try:
        with open(f"/proc/{tid}/maps") as maps:
            for line in maps:
                if line.split(None, 2)[1][1:4:2] != "ws":
                    continue
                span, _, _, device, _ = line.split(None, 5)[:5]
                major, minor = (int(number, 16) for number in device.split(":"))
                number = os.makedev(major, minor)
                if number != own_device and writes_back(number):
                    start, end = (int(number, 16) for number in span.split("-"))
                    found.append((start, end))
    except OSError:
        pass
    return found


def wake(tid: int, address: int, most: int, mask: int, still: Callable[[], None]) -> int:
    """futex(2) FUTEX_WAKE_BITSET on a shared word: how many were woken. In a thread: opening may block. still:
    raises unless what was found was the caller's."""
    found = find(tid, address)
    if found is None:
        return 0
    word, span = found
    try:
        fd = os.open(f"/proc/{tid}/map_files/{span}", os.O_RDONLY | os.O_CLOEXEC | os.O_NOCTTY)
    except OSError:
        return 0
    try:
        still()
        start = word.offset // PAGE * PAGE
        mapped = libc.mmap(None, ctypes.c_size_t(PAGE), mmap.PROT_READ, mmap.MAP_SHARED, fd, ctypes.c_long(start))
        if mapped in (None, ctypes.c_void_p(-1).value):
            return 0
        at = ctypes.c_void_p(mapped + word.offset - start)
        woken = libc.syscall(NR["futex"], at, FUTEX_WAKE_BITSET, most, None, None, ctypes.c_uint32(mask))
        libc.munmap(ctypes.c_void_p(mapped), ctypes.c_size_t(PAGE))
        return max(int(woken), 0)
    except (OSError, ValueError):
        return 0
    finally:
        os.close(fd)
