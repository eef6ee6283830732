"""What is mounted where, and whether a daemon still answers there."""

import argparse
import ctypes
import errno
import fcntl
import os
import re
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from uringfs.abi.libc import libc

FSTYPE = "fuse.uringfs"
MNT_DETACH = 2
MAX_LINKS = 40  # MAXSYMLINKS
GONE = (errno.ENOTCONN, errno.ECONNABORTED)
"""What a mount answers without its daemon."""
ALREADY_MOUNTED = 15
PATIENCE = 30.0  # seconds for another who mounts in the same directory


class MountFailure(Exception):
    """A reason not to go on: the exit status and one line that says what to do."""

    def __init__(self, status: int, line: str) -> None:
        super().__init__(line)
        self.status = status


@contextmanager
def claimed(mountpoint: str, patience: float = PATIENCE) -> Iterator[Callable[[], None]]:
    """Nobody else mounts there until the block ends, or calls what it is given: of several at once one mounts,
    the others then find its mount. By a lock on the directory above, which no mount covers meanwhile; without
    the right to read that, or where its file system has no locks, there is none. MountError if somebody has had it
    locked for `patience` seconds."""
    try:
        fd = os.open(os.path.dirname(mountpoint), os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError:
        yield lambda: None
        return
    try:
        _lock(fd, mountpoint, patience)
        yield lambda: fcntl.flock(fd, fcntl.LOCK_UN)
    finally:
        os.close(fd)


def _lock(fd: int, mountpoint: str, patience: float) -> None:
    deadline = time.monotonic() + patience
    while True:
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return
        except BlockingIOError:
            if time.monotonic() > deadline:
                line = f"{mountpoint}: somebody has had a lock on the directory above for {patience:g} s"
                raise MountFailure(ALREADY_MOUNTED, line) from None
        except OSError:  # a file system without locks
            return
        time.sleep(0.01)


def named(word: str) -> str:
    """For argparse, a directory's name. An empty word, as of a variable that is not set, would be the working
    directory."""
    if not word:
        raise argparse.ArgumentTypeError("an empty word")
    return word


def add_mounts(parser: argparse.ArgumentParser) -> None:
    """--mount, as often as one likes: None, or a list."""
    seen = "by default all mounts that are seen here"
    parser.add_argument("--mount", metavar="DIR", type=named, action="append", help=seen)


def _mounts() -> Iterator[tuple[str, str]]:
    """(mountpoint, file system type), those below first (proc(5), mountinfo)."""
    with open("/proc/self/mountinfo", encoding="utf-8", errors="surrogateescape") as lines:
        for line in lines:
            left, _, right = line.partition(" - ")
            path = re.sub(r"\\([0-7]{3})", lambda match: chr(int(match[1], 8)), left.split()[4])
            yield path, right.split()[0]


def all_mounts() -> list[str]:
    """The mountpoints of all uringfs that are uppermost where they are."""
    return [path for path, kind in dict(_mounts()).items() if kind == FSTYPE]


def _types_at(mountpoint: str) -> list[str]:
    """The file system types of what is mounted exactly there, bottom first."""
    parent, name = os.path.split(mountpoint)
    wanted = os.path.join(os.path.realpath(parent), name)
    return [kind for path, kind in _mounts() if path == wanted]


def place(path: str) -> str:
    """The absolute path without symlinks, as realpath(3), but that it asks nothing of what is mounted there: a
    daemon that does not answer would not let go of us."""
    for _ in range(MAX_LINKS):
        parent, name = os.path.split(path.rstrip("/") or "/")
        if name in ("", ".", ".."):
            return os.path.realpath(path)
        path = os.path.join(os.path.realpath(parent or "."), name)
        if _types_at(path) or not os.path.islink(path):
            return path
        path = os.path.join(os.path.dirname(path), os.readlink(path))
    return path


def mounted_here(mountpoint: str) -> bool:
    """A uringfs is the uppermost mount there."""
    types = _types_at(mountpoint)
    return bool(types) and types[-1] == FSTYPE


def clean_stale(mountpoint: str) -> bool:
    """Unmount a uringfs whose daemon is gone; True if there was one. A living daemon is left alone."""
    cleaned = False
    while mounted_here(mountpoint) and not alive(mountpoint):
        if libc.umount2(os.fsencode(mountpoint), MNT_DETACH) != 0:
            reason = os.strerror(ctypes.get_errno())
            raise MountFailure(11, f"{mountpoint}: cannot unmount what a dead daemon left: {reason}")
        cleaned = True
    return cleaned


def alive(mountpoint: str) -> bool:
    """By statfs(2), which is never answered from a cache. The connection of a dead daemon stays listed in
    /sys/fs/fuse/connections until it is unmounted, and stat(2) goes on for as long as attributes are valid."""
    try:
        os.statvfs(mountpoint)
    except OSError as error:
        return error.errno not in GONE
    return True
