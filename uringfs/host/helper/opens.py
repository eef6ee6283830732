"""openat(2) and openat2(2) in a caller's name."""

import errno
import os
from collections.abc import Callable

from uringfs.abi.machine import O_LARGEFILE
from uringfs.host.helper.caller import HelperCaller
from uringfs.host.helper.kernel import (
    O_PATH,
    OPEN_HOW,
    RESOLVE_BENEATH,
    RESOLVE_CACHED,
    RESOLVE_IN_ROOT,
    RESOLVE_NO_SYMLINKS,
    RESOLVE_NO_XDEV,
    failure,
    found,
    on_procfs,
    openat2,
)
from uringfs.host.helper.stranger import by_stranger
from uringfs.host.helper.walk import Place

SCOPED = RESOLVE_NO_XDEV | RESOLVE_BENEATH | RESOLVE_IN_ROOT
_O_TMPFILE = os.O_TMPFILE & ~os.O_DIRECTORY
O_PATH_FLAGS = os.O_DIRECTORY | os.O_NOFOLLOW | O_PATH
VALID_OPEN_FLAGS = (  # include/linux/fcntl.h
    O_PATH_FLAGS
    | _O_TMPFILE
    | O_LARGEFILE
    | os.O_ACCMODE
    | os.O_CREAT
    | os.O_EXCL
    | os.O_NOCTTY
    | os.O_TRUNC
    | os.O_APPEND
    | os.O_NONBLOCK
    | os.O_SYNC
    | os.O_ASYNC
    | os.O_DIRECT
    | os.O_NOATIME
)
S_IALLUGO = 0o7777
ATTEMPTS = 8
"""How often a path is looked up again because a link has come to stand where none was."""


def openat(caller: HelperCaller, at: int, path: bytes, flags: int, mode: int) -> tuple[int, bytes]:
    """build_open_how() makes valid what openat2(2) refuses."""
    flags = (flags | O_LARGEFILE) & VALID_OPEN_FLAGS
    if flags & os.O_PATH:
        flags &= O_PATH_FLAGS
    creates = flags & (os.O_CREAT | _O_TMPFILE)
    return _Open(caller, flags, mode & S_IALLUGO if creates else 0, 0).at(at, path), b""


def openat2_(caller: HelperCaller, at: int, path: bytes, how: bytes, size: int) -> tuple[int, bytes]:
    """__io_openat_prep() adds O_LARGEFILE."""
    flags, mode, resolve = OPEN_HOW.unpack(how)
    return _Open(caller, flags if flags & os.O_PATH else flags | O_LARGEFILE, mode, resolve).at(at, path), b""


class _Open:
    """struct open_how, and whose it is."""

    def __init__(self, caller: HelperCaller, flags: int, mode: int, resolve: int) -> None:
        self._caller = caller
        self._flags, self._mode, self._resolve = flags, mode, resolve
        exclusive = os.O_CREAT | os.O_EXCL
        self._follows = not (flags & os.O_NOFOLLOW or flags & exclusive == exclusive)

    def at(self, at: int, path: bytes) -> int:
        at = self._caller.directory(at)
        scoped = self._resolve & SCOPED
        try:
            fd = self._open(at, path, self._resolve | RESOLVE_NO_SYMLINKS)
        except OSError as error:
            if error.errno != errno.ELOOP or self._resolve & RESOLVE_NO_SYMLINKS:
                raise
            return self._scoped(at, path) if scoped else self._walked(at, path)
        if not on_procfs(fd):
            return fd
        os.close(fd)
        return self._scoped_procfs(at, path) if scoped else self._walked(at, path)

    def _open(self, at: int, path: bytes, resolve: int) -> int:
        return openat2(at, path, self._flags, self._mode, resolve)

    def _scoped(self, at: int, path: bytes) -> int:
        """The kernel has to follow the links there are. What they lead to on a procfs is refused: it may be
        this process' own."""
        fd = self._open(at, path, self._resolve)
        if not on_procfs(fd):
            return fd
        os.close(fd)
        raise failure(errno.ELOOP)

    def _scoped_procfs(self, at: int, path: bytes) -> int:
        """Without any link."""
        resolve, nofollow = self._resolve | RESOLVE_NO_SYMLINKS, self._flags & os.O_NOFOLLOW
        target = self._caller.hold(openat2(at, path, O_PATH | nofollow, resolve=resolve & ~RESOLVE_CACHED))
        fd = self._by_stranger(at, path, resolve, target)
        if fd is None:
            raise failure(errno.ELOOP)
        return fd

    def _walked(self, at: int, path: bytes) -> int:
        for _ in range(ATTEMPTS):
            walk = self._caller.walk(at, self._resolve)
            place = walk.to(path, self._follows, slashes_follow=not self._flags & os.O_CREAT)
            try:
                fd = self._finish(place)
            except OSError as error:
                if error.errno != errno.ELOOP or not self._follows:
                    raise
                continue
            if fd is not None:
                return fd
        raise failure(errno.ELOOP)

    def _finish(self, place: Place) -> int | None:
        """do_open(). None: something else has come to stand there."""
        if place.magic:
            return self._magic(place)
        resolve = self._resolve & RESOLVE_CACHED | RESOLVE_NO_SYMLINKS
        if on_procfs(place.at) or (place.target >= 0 and on_procfs(place.target)):
            return self._by_stranger(place.at, place.name, resolve, place.target)
        fd = self._open(place.at, place.name, resolve)
        if not on_procfs(fd):
            return fd
        os.close(fd)
        return None

    def _magic(self, place: Place) -> int | None:
        cached = self._resolve & RESOLVE_CACHED
        fd = _stranger(lambda: self._open(place.at, place.name, cached))
        if not on_procfs(fd):
            return fd
        os.close(fd)
        target = self._caller.hold(_stranger(lambda: openat2(place.at, place.name, O_PATH)))
        fd = _stranger(lambda: self._open(place.at, place.name, cached))
        return _same(fd, target)

    def _by_stranger(self, at: int, path: bytes, resolve: int, target: int) -> int | None:
        return _same(_stranger(lambda: self._open(at, path, resolve)), target)


def _stranger(act: Callable[[], int]) -> int:
    return by_stranger(lambda: (act(), b""), opens=True)[0]


def _same(fd: int, target: int) -> int | None:
    """The descriptor, if it is of what was found before there was the stranger who has opened it."""
    if target >= 0 and found(fd) == found(target):
        return fd
    os.close(fd)
    return None
