"""fs/namei.c in user space, for the caller: a path is looked up component by component, and what asks who it
is that looks (self and thread-self of a procfs) is answered with the caller's numbers.

Each component is looked up by the kernel, with this process' rights, which are the caller's. Symbolic links
are read and followed here. Magic links (/proc/PID/fd/3) only the kernel can follow: a stranger does.
"""

import errno
import os
import stat
from typing import NamedTuple

from uringfs.host.helper.kernel import (
    AT_FDCWD,
    O_PATH,
    RESOLVE_NO_MAGICLINKS,
    RESOLVE_NO_SYMLINKS,
    ST_NOSYMFOLLOW,
    failure,
    found,
    on_procfs,
    openat2,
    statfs,
)
from uringfs.host.helper.stranger import by_stranger

MAXSYMLINKS = 40
PROC_ROOT_INO = 1
NO_LINK = O_PATH | os.O_NOFOLLOW
DIRECTORY = O_PATH | os.O_DIRECTORY


class Numbers(NamedTuple):
    """The caller's process and thread ids, in our pid namespace and in its own."""

    pid: int
    tid: int
    inner_pid: int
    inner_tid: int


class Place(NamedTuple):
    """Where a path has led to: a name in a directory, with what slashes follow it."""

    at: int
    name: bytes
    target: int = -1
    """O_PATH of what has that name, if somebody looked and it is there."""
    magic: bool = False
    """To be followed by the kernel yet, by a stranger."""
    direct: bool = True
    """No link has led here that means another to another process."""


def is_link(fd: int) -> bool:
    return stat.S_ISLNK(found(fd).mode)


class Walk:
    """One lookup. Its descriptors are open until close()."""

    def __init__(self, numbers: Numbers, at: int, resolve: int = 0) -> None:
        """resolve: RESOLVE_NO_SYMLINKS and RESOLVE_NO_MAGICLINKS count."""
        self._numbers = numbers
        self._resolve = resolve
        self._at = at
        self._own: list[int] = []
        self._links = 0
        self._direct = True

    def close(self) -> None:
        while self._own:
            os.close(self._own.pop())

    def to(self, path: bytes, follow: bool = True, slashes_follow: bool = True, parent: bool = False) -> Place:
        """follow: the last component, if it is a link. slashes_follow: it is followed anyway if slashes stand
        behind it. parent: the last component is not looked at."""
        rest = path
        while True:
            if rest.startswith(b"/"):
                self._move(openat2(AT_FDCWD, b"/", O_PATH))
                rest = rest.lstrip(b"/")
                if not rest:
                    return self._directory(b"/", parent)
            name, slash, rest = rest.partition(b"/")
            slashes, rest = slash + rest[: len(rest) - len(rest.lstrip(b"/"))], rest.lstrip(b"/")
            if rest:
                rest = self._through(name, rest)
            elif name in (b"", b".", b".."):
                return self._directory((name or b".") + slashes, parent)
            elif parent or (slashes and not slashes_follow):
                return self._place(name + slashes)
            else:
                place, rest = self._last(name, slashes, follow)
                if place is not None:
                    return place

    def _place(self, name: bytes, target: int = -1, magic: bool = False) -> Place:
        return Place(self._at, name, target, magic, self._direct)

    def _directory(self, name: bytes, parent: bool) -> Place:
        return self._place(name, -1 if parent else self._hold(openat2(self._at, name, O_PATH)))

    def _last(self, name: bytes, slashes: bytes, follow: bool) -> tuple[Place | None, bytes]:
        """open_last_lookups(), lookup_last(): a place, or the path that is to be gone on with."""
        try:
            fd = self._hold(openat2(self._at, name, NO_LINK))
        except FileNotFoundError:
            return self._place(name + slashes), b""
        if not is_link(fd) or not (follow or slashes):
            return self._place(name + slashes, fd), b""
        self._count(fd)
        self._may_follow(name)
        self._forbid_nosymfollow(fd)
        if self._is_magic(name, fd):
            return self._place(name + slashes, magic=True), b""
        return None, (self._readlink(name, fd) or b".") + slashes

    def _through(self, name: bytes, rest: bytes) -> bytes:
        """walk_component() of one with others behind it: what is left of the path then."""
        try:
            self._move(openat2(self._at, name, DIRECTORY | os.O_NOFOLLOW))
            return rest
        except NotADirectoryError:
            fd = openat2(self._at, name, NO_LINK)
        try:
            if not is_link(fd):
                raise failure(errno.ENOTDIR)
            self._count(fd)
            self._forbid_nosymfollow(fd)
            if not self._is_magic(name, fd):
                return (self._readlink(name, fd) or b".") + b"/" + rest
        finally:
            os.close(fd)
        at = self._at
        self._move(by_stranger(lambda: (openat2(at, name, DIRECTORY), b""), opens=True)[0])
        return rest

    def _count(self, fd: int) -> None:
        self._links += 1
        if self._links > MAXSYMLINKS or self._resolve & RESOLVE_NO_SYMLINKS:
            raise failure(errno.ELOOP)
        if on_procfs(fd):
            self._direct = False

    def _forbid_nosymfollow(self, fd: int) -> None:
        """pick_link(): MNT_NOSYMFOLLOW"""
        if statfs(fd)[1] & ST_NOSYMFOLLOW:
            raise failure(errno.ELOOP)

    def _may_follow(self, name: bytes) -> None:
        """may_follow_link(), of a last component: asked of the kernel, which comes to it before
        RESOLVE_NO_SYMLINKS. EACCES."""
        try:
            os.close(openat2(self._at, name, O_PATH, resolve=RESOLVE_NO_SYMLINKS))
        except OSError as error:
            if error.errno == errno.EACCES:
                raise

    def _at_proc_root(self) -> bool:
        return on_procfs(self._at) and found(self._at).ino == PROC_ROOT_INO

    def _is_magic(self, name: bytes, fd: int) -> bool:
        """Whether a link is nd_jump_link()'s. Those in a procfs' root are not. One that is mounted elsewhere,
        where another may be mounted by the time it is followed, is refused: ELOOP."""
        if not on_procfs(fd) or self._at_proc_root():
            return False
        try:
            os.close(openat2(self._at, name, O_PATH, resolve=RESOLVE_NO_MAGICLINKS))
            return False
        except OSError as error:
            if error.errno == errno.ELOOP and self._resolve & RESOLVE_NO_MAGICLINKS:
                raise
            if not on_procfs(self._at):
                raise failure(errno.ELOOP) from None
            return True  # or there is no right to follow it, which a stranger will find, too

    def _readlink(self, name: bytes, fd: int) -> bytes:
        if name in (b"self", b"thread-self") and on_procfs(fd) and self._at_proc_root():
            return self._caller(name)
        return os.readlink(b"", dir_fd=fd)

    def _caller(self, name: bytes) -> bytes:
        """proc_self_get_link(), proc_thread_self_get_link(). The number depends on whose pid namespace the
        procfs shows: ours, where we are seen, or one below, the caller's own."""
        pid, tid = self._numbers.pid, self._numbers.tid
        try:
            own = int(os.readlink(b"self", dir_fd=self._at))
        except FileNotFoundError:
            pid, tid = self._numbers.inner_pid, self._numbers.inner_tid
        else:
            if own != os.getpid():  # of a namespace above ours
                raise failure(errno.ENOENT)
        return b"%d/task/%d" % (pid, tid) if name == b"thread-self" else b"%d" % pid

    def _hold(self, fd: int) -> int:
        self._own.append(fd)
        return fd

    def _move(self, fd: int) -> None:
        self.close()
        self._at = self._hold(fd)
