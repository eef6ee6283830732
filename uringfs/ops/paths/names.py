"""Paths in the caller's memory, and what all ops on paths share."""

import errno
from collections.abc import Awaitable, Callable

from uringfs.abi.constants import IOSQE_FIXED_FILE
from uringfs.abi.numbers import PAGE
from uringfs.engine.request import Request
from uringfs.errors import UringError
from uringfs.host.protocols import Actor, File, Memory, Name, Out

PATH_MAX = 4096
AT_FDCWD = -100
NO_FILE = -1
AT_SYMLINK_FOLLOW = 0x400
AT_EMPTY_PATH = 0x1000

Argument = int | bytes | File | Out


def string(memory: Memory, address: int, size: int) -> bytes:
    """strncpy_from_user(): what stands before the NUL, at most size bytes. EFAULT. Reads page by page: the
    string may be the last in its mapping."""
    found = bytearray()
    while len(found) < size:
        at = address + len(found)
        piece = memory.read(at, min(PAGE - at % PAGE, size - len(found)))
        end = piece.find(0)
        if end >= 0:
            return bytes(found + piece[:end])
        found += piece
    return bytes(found)


def getname(request: Request, address: int, empty: bool = False) -> Name:
    """fs/namei.c: getname(), getname_flags() with LOOKUP_EMPTY. EFAULT, ENAMETOOLONG, ENOENT if empty."""
    name = string(request.caller.memory, address, PATH_MAX)
    if len(name) == PATH_MAX:
        raise UringError(errno.ENAMETOOLONG)
    if not name and not empty:
        raise UringError(errno.ENOENT)
    return Name(name)


def refuse_fixed_file(request: Request) -> None:
    """A path is relative to a descriptor of the caller, never to a registered file."""
    if request.flags & IOSQE_FIXED_FILE:
        raise UringError(errno.EBADF)


def directory(request: Request, fd: int, name: bytes) -> int | File:
    """path_init(): the directory a name is relative to, which an absolute name does not ask for. NO_FILE if
    there is none: what else the system call checks may come before its EBADF."""
    if name.startswith(b"/") or fd == AT_FDCWD:
        return AT_FDCWD
    try:
        return request.hold(request.caller.file(fd))
    except UringError as error:
        if error.errno != errno.EBADF:
            raise
        return NO_FILE


def acting(request: Request) -> Actor:
    """Who the caller is now, in its control write; for the call that comes later."""
    return request.caller.actor()


def without_set_fail(request: Request) -> None:
    """io_uring/fs.c, statx.c and xattr.c end their requests without req_set_fail()."""
    request.lenient = True


def call(actor: Actor, name: str, *args: Argument) -> Callable[[], Awaitable[int]]:
    """An op that is one system call: its task."""

    async def run() -> int:
        return (await actor.call(name, *args))[0]

    return run
