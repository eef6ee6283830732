"""The system calls about paths, and about open files of a procfs, made in a caller's name: each takes what the
call of that name takes, and returns its result and what it has written.

A path without links, and not on a procfs, means the same to everybody: its directory is looked up by the
kernel in one go (RESOLVE_NO_SYMLINKS). Only of others the walk is asked.
"""

import ctypes
import errno
import os
import socket
from collections.abc import Callable
from typing import Any

from uringfs.host.helper.caller import HelperCaller, act, on_places
from uringfs.host.helper.kernel import (
    AT_EMPTY_PATH,
    AT_SYMLINK_FOLLOW,
    AT_SYMLINK_NOFOLLOW,
    checked,
    failure,
    found,
    libc,
    on_procfs,
    syscall,
)
from uringfs.host.helper.opens import openat, openat2_
from uringfs.host.helper.stranger import by_stranger
from uringfs.host.helper.walk import Place

UNIX_PATH_MAX = 108
NO_FILE = -1
Result = tuple[int, bytes]


def _plain(name: str) -> Callable[..., Result]:
    """A system call about a descriptor, whose arguments are the caller's as they are."""

    def call(_: HelperCaller, *args: Any) -> Result:
        result = syscall(name, *args)
        out = next((arg for arg in args if not isinstance(arg, int | bytes)), None)
        return result, out.raw if out is not None else b""

    return call


def statx(caller: HelperCaller, at: int, path: bytes, flags: int, mask: int, out: Any) -> Result:
    if not path:
        return syscall("statx", caller.directory(at), b"", flags, mask, out), out.raw

    def find() -> tuple[Place, ...]:
        return (caller.locate(at, path, not flags & AT_SYMLINK_NOFOLLOW),)

    def args(place: Place, *_: Place) -> tuple[Any, ...]:
        nofollow = 0 if place.magic else AT_SYMLINK_NOFOLLOW
        return place.at, place.name, flags & ~AT_SYMLINK_NOFOLLOW | nofollow, mask, out

    places, values = on_places(find, "statx", args)
    return act(places, lambda: (syscall("statx", *values), out.raw))


def renameat2(caller: HelperCaller, old: int, path: bytes, new: int, other: bytes, flags: int) -> Result:
    return _names(
        lambda: (caller.parent(old, path), caller.parent(new, other)),
        "renameat2",
        lambda one, two: (one.at, one.name, two.at, two.name, flags),
    )


def unlinkat(caller: HelperCaller, at: int, path: bytes, flags: int) -> Result:
    return _names(lambda: (caller.parent(at, path),), "unlinkat", lambda place, *_: (place.at, place.name, flags))


def mkdirat(caller: HelperCaller, at: int, path: bytes, mode: int) -> Result:
    return _names(lambda: (caller.parent(at, path),), "mkdirat", lambda place, *_: (place.at, place.name, mode))


def symlinkat(caller: HelperCaller, target: bytes, at: int, path: bytes) -> Result:
    return _names(lambda: (caller.parent(at, path),), "symlinkat", lambda new, *_: (target, new.at, new.name))


def linkat(caller: HelperCaller, old: int, path: bytes, new: int, other: bytes, flags: int) -> Result:
    if not path:
        return _link_descriptor(caller, old, new, other, flags)

    def find() -> tuple[Place, ...]:
        one = caller.locate(old, path, bool(flags & AT_SYMLINK_FOLLOW))
        if not one.magic:
            found(one.at, one.name)  # do_linkat() looks it up before it comes to the new name
        return one, caller.parent(new, other)

    def args(one: Place, two: Place) -> tuple[Any, ...]:
        follow = AT_SYMLINK_FOLLOW if one.magic else 0
        return one.at, one.name, two.at, two.name, flags & ~AT_SYMLINK_FOLLOW | follow

    return _names(find, "linkat", args)


def _link_descriptor(caller: HelperCaller, old: int, new: int, other: bytes, flags: int) -> Result:
    """AT_EMPTY_PATH takes the credentials that have opened the descriptor (path_init()), which are the client's
    and not a helper's. /proc/self/fd takes nobody's."""
    if old == NO_FILE:
        raise failure(errno.EBADF)
    fd = caller.directory(old)
    descriptors = caller.own_descriptors()
    if descriptors is None:
        one: tuple[Any, ...] = fd, b""
    else:
        one = descriptors, b"%d" % fd
        flags = flags & ~AT_EMPTY_PATH | AT_SYMLINK_FOLLOW
    return _names(lambda: (caller.parent(new, other),), "linkat", lambda two, *_: (*one, two.at, two.name, flags))


def _names(find: Callable[[], tuple[Place, ...]], name: str, args: Callable[..., tuple[Any, ...]]) -> Result:
    places, values = on_places(find, name, args)
    return act(places, lambda: (syscall(name, *values), b""))


def setxattr(caller: HelperCaller, path: bytes, name: bytes, value: bytes, size: int, flags: int) -> Result:
    return _xattr(caller, path, "setxattr", (name, value, size, flags), None)


def getxattr(caller: HelperCaller, path: bytes, name: bytes, out: Any, size: int) -> Result:
    return _xattr(caller, path, "getxattr", (name, out, size), out)


def _xattr(caller: HelperCaller, path: bytes, call: str, args: tuple[Any, ...], out: Any) -> Result:
    """There is no call of every kernel's that takes a directory: it is the working one meanwhile."""
    place = caller.locate(caller.cwd, path, True)

    def run() -> Result:
        os.fchdir(place.at)
        result = syscall(call if place.magic else f"l{call}", place.name, *args)
        return result, out.raw if out is not None else b""

    return act((place,), run)


def bind(caller: HelperCaller, sock: int, address: bytes, size: int) -> Result:
    """The name is kept as it is given, for getsockname(2), if it means the same here."""
    path = _unix_path(address, size)
    if path is None:
        return syscall("bind", sock, address, size), b""
    place = caller.parent(caller.cwd, path)
    if place.direct and not on_procfs(place.at):
        if not path.startswith(b"/"):
            os.fchdir(caller.cwd)
        return syscall("bind", sock, address, size), b""
    return _at_place(place, "bind", sock, address)


def connect(caller: HelperCaller, sock: int, address: bytes, size: int) -> Result:
    path = _unix_path(address, size)
    if path is None:
        return syscall("connect", sock, address, size), b""
    return _at_place(caller.locate(caller.cwd, path, True), "connect", sock, address)


def _at_place(place: Place, call: str, sock: int, address: bytes) -> Result:
    """ENAMETOOLONG where links lead to a name that has no room in a struct sockaddr_un."""
    if len(place.name) >= UNIX_PATH_MAX:
        raise failure(errno.ENAMETOOLONG)
    name = address[:2] + place.name + b"\0"

    def run() -> Result:
        os.fchdir(place.at)
        return syscall(call, sock, name, len(name)), b""

    return act((place,), run)


def preadv2(_: HelperCaller, file: int, offset: int, flags: int, out: Any) -> Result:
    """preadv2(2) of a file on a procfs: the kernel hides nothing from a process that reads about itself."""

    def run() -> Result:
        iovec = (ctypes.c_size_t * 2)(ctypes.addressof(out), len(out))
        count = checked(libc.preadv2(file, iovec, 1, ctypes.c_long(offset), flags))
        return count, out.raw[:count]

    return by_stranger(run)


def pwritev2(_: HelperCaller, file: int, offset: int, flags: int, data: bytes) -> Result:
    def run() -> Result:
        buffer = ctypes.create_string_buffer(data, len(data))
        iovec = (ctypes.c_size_t * 2)(ctypes.addressof(buffer), len(data))
        return checked(libc.pwritev2(file, iovec, 1, ctypes.c_long(offset), flags)), b""

    return by_stranger(run)


def splice(_: HelperCaller, source: int, start: int, out: int, to: int, length: int, flags: int) -> Result:
    """start, to: offsets, -1 for none."""

    def run() -> Result:
        at, end = ctypes.c_int64(start), ctypes.c_int64(to)
        offsets = None if start == -1 else ctypes.byref(at), None if to == -1 else ctypes.byref(end)
        count = libc.splice(source, offsets[0], out, offsets[1], ctypes.c_size_t(length), flags)
        return checked(count), b""

    return by_stranger(run)


def _unix_path(address: bytes, size: int) -> bytes | None:
    """The path of an AF_UNIX address that has one, neither abstract nor empty."""
    address = address[:size]
    if size > 2 + UNIX_PATH_MAX or len(address) <= 2 or not address[2]:
        return None
    family = int.from_bytes(address[:2], "little")
    return address[2:].split(b"\0")[0] if family == socket.AF_UNIX else None


CALLS: dict[str, Callable[..., Result]] = {
    "openat": openat,
    "openat2": openat2_,
    "statx": statx,
    "renameat2": renameat2,
    "unlinkat": unlinkat,
    "mkdirat": mkdirat,
    "symlinkat": symlinkat,
    "linkat": linkat,
    "setxattr": setxattr,
    "getxattr": getxattr,
    "bind": bind,
    "connect": connect,
    "fsetxattr": _plain("fsetxattr"),
    "fgetxattr": _plain("fgetxattr"),
    "listen": _plain("listen"),
    "preadv2": preadv2,
    "pwritev2": pwritev2,
    "splice": splice,
}
