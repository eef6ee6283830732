"""A file system keeps blocks for root: writes of an ordinary user end where they end natively."""

import ctypes
import errno
import os
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from attack import USER, Arena, become

from tests.support.children import Child, in_child
from tests.support.mounting import open_directory
from uringfs.abi.constants import IOSQE_ASYNC, OPCODES
from uringfs.abi.structs import Sqe
from uringfs.client import Ring

SIZE = 1 << 16
WRITE, WRITEV, WRITE_FIXED, SPLICE, FALLOCATE = (
    OPCODES.index(name) for name in ("WRITE", "WRITEV", "WRITE_FIXED", "SPLICE", "FALLOCATE")
)
CURRENT = (1 << 64) - 1
U64 = (1 << 64) - 1


@pytest.fixture
def small() -> Iterator[Path]:
    """Half of its 16 MiB are root's."""
    with open_directory() as directory:
        image, path = directory / "image", directory / "mnt"
        with open(image, "wb") as file:
            file.truncate(16 << 20)
        subprocess.run(["mkfs.ext4", "-q", "-F", "-m", "50", "-O", "^has_journal", image], check=True)
        path.mkdir()
        subprocess.run(["mount", "-o", "loop", image, path], check=True)
        try:
            os.chown(path, USER, USER)
            yield path
        finally:
            subprocess.run(["umount", path], check=True)


Fill = Callable[[Ring, int, bytes], int]
"""One attempt to write: bytes, or -errno."""


def natively(ring: Ring, fd: int, data: bytes) -> int:
    try:
        return os.write(fd, data)
    except OSError as error:
        return -(error.errno or 0)


def done(ring: Ring, sqe: Sqe) -> int:
    ring.queue(sqe)
    ring.submit(wait=1)
    return ring.wait().res


def by_write(ring: Ring, fd: int, data: bytes) -> int:
    return done(ring, Sqe(WRITE, fd=fd, off=CURRENT, addr=address(data), len=len(data)))


def by_worker(ring: Ring, fd: int, data: bytes) -> int:
    return done(ring, Sqe(WRITE, IOSQE_ASYNC, fd=fd, off=CURRENT, addr=address(data), len=len(data)))


def by_writev(ring: Ring, fd: int, data: bytes) -> int:
    vector = (ctypes.c_uint64 * 2)(address(data), len(data))
    return done(ring, Sqe(WRITEV, fd=fd, off=CURRENT, addr=ctypes.addressof(vector), len=1))


def by_write_fixed(ring: Ring, fd: int, data: bytes) -> int:
    vector = (ctypes.c_uint64 * 2)(address(data), len(data))
    ring.register(0, ctypes.addressof(vector), 1)
    result = done(ring, Sqe(WRITE_FIXED, fd=fd, off=CURRENT, addr=address(data), len=len(data)))
    ring.register(1)
    return result


def by_splice(ring: Ring, fd: int, data: bytes) -> int:
    read, write = os.pipe()
    os.write(write, data)
    # splice_off_in is addr, splice_fd_in is file_index
    sqe = Sqe(SPLICE, fd=fd, off=CURRENT, addr=U64, len=len(data), file_index=read)
    result = done(ring, sqe)
    os.close(read)
    os.close(write)
    return result


def by_fallocate(ring: Ring, fd: int, data: bytes) -> int:
    size = os.fstat(fd).st_size
    result = done(ring, Sqe(FALLOCATE, fd=fd, off=size, addr=len(data)))
    return len(data) if result == 0 else result


def fallocate_natively(ring: Ring, fd: int, data: bytes) -> int:
    try:
        os.posix_fallocate(fd, os.fstat(fd).st_size, len(data))
    except OSError as error:
        return -(error.errno or 0)
    return len(data)


def address(data: bytes) -> int:
    return ctypes.cast(ctypes.c_char_p(data), ctypes.c_void_p).value or 0


def capacity(path: Path, ring: Ring, fill: Fill) -> int:
    """Bytes until it is full."""
    data, total = b"x" * SIZE, 0
    fd = os.open(path / "full", os.O_RDWR | os.O_CREAT | os.O_EXCL)
    try:
        while (count := fill(ring, fd, data)) > 0:
            total += count
        assert count == -errno.ENOSPC
        os.fsync(fd)
    finally:
        os.close(fd)
        os.unlink(path / "full")
    return total


@pytest.mark.parametrize("fill", [by_write, by_worker, by_writev, by_write_fixed, by_splice])
def test_written(arena: Arena, small: Path, fill: Fill) -> None:
    check(arena, small, natively, fill)


def test_allocated(arena: Arena, small: Path) -> None:
    check(arena, small, fallocate_natively, by_fallocate)


def check(arena: Arena, path: Path, native: Fill, ours: Fill) -> None:
    whole = os.statvfs(path)

    def attacker(_: Child) -> None:
        become()
        ring = Ring(arena.mount / "new", 8)
        want = capacity(path, ring, native)
        assert SIZE < want <= whole.f_bavail * whole.f_frsize, "nothing is reserved here"
        assert capacity(path, ring, ours) == want

    with in_child(attacker):
        pass
