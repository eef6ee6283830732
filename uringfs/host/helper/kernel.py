"""System calls, by number and without libc's ideas of them. Every failure is an OSError; EINTR is tried again."""

import ctypes
import os
from struct import Struct
from typing import Any, NamedTuple

from uringfs.abi.machine import NR

NUMBERS = {name: ctypes.c_long(number) for name, number in NR.items()}
AT_FDCWD = -100
AT_SYMLINK_NOFOLLOW, AT_SYMLINK_FOLLOW, AT_EMPTY_PATH = 0x100, 0x400, 0x1000
AT_STATX_DONT_SYNC = 0x4000
O_PATH = os.O_PATH | os.O_CLOEXEC
RESOLVE_NO_XDEV, RESOLVE_NO_MAGICLINKS, RESOLVE_NO_SYMLINKS = 0x01, 0x02, 0x04
RESOLVE_BENEATH, RESOLVE_IN_ROOT, RESOLVE_CACHED = 0x08, 0x10, 0x20
PROC_SUPER_MAGIC = 0x9FA0
ST_NOSYMFOLLOW = 0x2000
STATX_TYPE, STATX_INO, STATX_MNT_ID, STATX_MNT_ID_UNIQUE = 0x1, 0x100, 0x1000, 0x4000
STATX_SIZE = 256
OPEN_HOW = Struct("<QQQ")  # struct open_how: flags, mode, resolve
_STATX = Struct("<28xH2xQ96xIIQ")  # struct statx: mode, ino, dev_major, dev_minor, mnt_id
_STATFS = Struct("<q72xq")  # struct statfs: f_type, f_flags
libc = ctypes.CDLL(None, use_errno=True)
libc.syscall.restype = libc.preadv2.restype = libc.pwritev2.restype = libc.splice.restype = ctypes.c_long


class Found(NamedTuple):
    """What a path has led to. Equal for one object, reached by one mount, as long as it is open."""

    device: tuple[int, int]
    ino: int
    mount: int
    mode: int


def checked(result: int) -> int:
    """What libc's function has returned, or OSError."""
    if result < 0:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))
    return result


def syscall(name: str, *args: Any) -> int:
    """An int is passed as a long, bytes as a pointer to them, a ctypes object as ctypes does."""
    values = [ctypes.c_long(arg) if isinstance(arg, int) else arg for arg in args]
    while True:
        try:
            return checked(libc.syscall(NUMBERS[name], *values))
        except InterruptedError:
            continue


def openat2(at: int, path: bytes, flags: int, mode: int = 0, resolve: int = 0) -> int:
    return syscall("openat2", at, path, OPEN_HOW.pack(flags, mode, resolve), OPEN_HOW.size)


def found(at: int, path: bytes = b"") -> Found:
    """The object itself, a link too. Without asking a file system's server (FUSE, NFS)."""
    buffer = ctypes.create_string_buffer(STATX_SIZE)
    flags = AT_EMPTY_PATH | AT_SYMLINK_NOFOLLOW | AT_STATX_DONT_SYNC
    syscall("statx", at, path, flags, STATX_TYPE | STATX_INO | STATX_MNT_ID | STATX_MNT_ID_UNIQUE, buffer)
    mode, ino, major, minor, mount = _STATX.unpack_from(buffer)
    return Found((major, minor), ino, mount, mode)


def statfs(fd: int) -> tuple[int, int]:
    """f_type, f_flags"""
    buffer = ctypes.create_string_buffer(120)
    while True:
        try:
            checked(libc.fstatfs(fd, buffer))
            break
        except InterruptedError:
            continue
    kind, flags = _STATFS.unpack_from(buffer)
    return kind, flags


def on_procfs(fd: int) -> bool:
    return statfs(fd)[0] == PROC_SUPER_MAGIC


def failure(code: int) -> OSError:
    return OSError(code, os.strerror(code))
