"""The inode allocator: numbers never reused, kernel lookup counts, open counts, names.

Like the kernel's anonfs, an inode may have no name at all: each opener of `new` gets one of those. It
lives as long as a name, a lookup or an open refers to it.
"""

import errno
import itertools
import os
import stat
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from uringfs.errors import UringError

ROOT = 1
FIRST = 16
"""The first number of a ring file. Lower ones, from 2, are of files that are no rings (specials.py)."""
ROOT_MODE = stat.S_IFDIR | stat.S_ISVTX | 0o777
NEW = b"new"
MAX_NAME = 255

T = TypeVar("T")


@dataclass(slots=True, eq=False)
class Inode(Generic[T]):
    """payload: what the file is about (a ring file); None for the root directory."""

    number: int
    mode: int
    uid: int
    gid: int
    payload: T
    names: int = 0
    lookups: int = 0
    opens: int = 0
    atime_ns: int = field(default_factory=time.time_ns)
    mtime_ns: int = field(default_factory=time.time_ns)
    ctime_ns: int = field(default_factory=time.time_ns)

    @property
    def referenced(self) -> bool:
        return bool(self.names or self.lookups or self.opens)


class InodeTable(Generic[T]):
    """All inodes of a mount and the one directory. make is given a new one's number and user, and may refuse;
    dropped is called when the last reference has gone."""

    def __init__(self, most: int, make: Callable[[int, int], T], dropped: Callable[[T], None]) -> None:
        self._most = most
        self._make = make
        self._dropped = dropped
        self._numbers = itertools.count(FIRST)
        self._inodes: dict[int, Inode[T]] = {}
        self._names: dict[bytes, Inode[T]] = {}
        self.root: Inode[None] = Inode(ROOT, ROOT_MODE, os.geteuid(), os.getegid(), None, names=2)

    def __len__(self) -> int:
        return len(self._inodes)

    def __contains__(self, name: bytes) -> bool:
        return name in self._names

    def __getitem__(self, number: int) -> Inode[T]:
        """ESTALE for a number that is not, or no longer, in use."""
        try:
            return self._inodes[number]
        except KeyError:
            raise UringError(errno.ESTALE) from None

    def name_of(self, number: int) -> bytes:
        """b"" for an inode without a name."""
        return next((name for name, inode in self._names.items() if inode.number == number), b"")

    def everything(self) -> list[tuple[bytes, Inode[T]]]:
        """With their names, b"" for none, in the order of their numbers."""
        names = {inode.number: name for name, inode in self._names.items()}
        return [(names.get(number, b""), inode) for number, inode in self._inodes.items()]

    def names_behind(self, number: int) -> list[tuple[bytes, Inode[T]]]:
        """The names of inodes above that number, in the order of their numbers: a place to go on that stays
        one whatever is made, removed or renamed meanwhile."""
        names = [(name, inode) for name, inode in self._names.items() if inode.number > number]
        return sorted(names, key=lambda named: named[1].number)

    def allocate(self, mode: int, uid: int, gid: int) -> Inode[T]:
        """A fresh regular file without a name. ENOSPC at the limit, and what make refuses with."""
        if len(self._inodes) >= self._most:
            raise UringError(errno.ENOSPC, f"all {self._most} rings of this mount are in use (--max-rings)")
        number = next(self._numbers)
        inode = Inode(number, stat.S_IFREG | stat.S_IMODE(mode), uid, gid, self._make(number, uid))
        self._inodes[inode.number] = inode
        return inode

    def find(self, name: bytes) -> Inode[T]:
        """ENOENT, ENAMETOOLONG."""
        if len(name) > MAX_NAME:
            raise UringError(errno.ENAMETOOLONG)
        try:
            return self._names[name]
        except KeyError:
            raise UringError(errno.ENOENT) from None

    def create(self, name: bytes, mode: int, uid: int, gid: int) -> Inode[T]:
        """A named file. EEXIST, ENOSPC, ENAMETOOLONG."""
        if name in self._names or name == NEW:
            raise UringError(errno.EEXIST)
        if len(name) > MAX_NAME:
            raise UringError(errno.ENAMETOOLONG)
        inode = self.allocate(mode, uid, gid)
        self._names[name] = inode
        inode.names = 1
        self._changed()
        return inode

    def unlink(self, name: bytes) -> None:
        """ENOENT; EPERM for `new`, which is not a name but a door."""
        if name == NEW:
            raise UringError(errno.EPERM, "`new` cannot be removed")
        self._drop_name(name, self.find(name))

    def rename(self, old: bytes, new: bytes, *, noreplace: bool = False, exchange: bool = False) -> None:
        """rename(2), renameat2(2). ENOENT, EEXIST, EPERM for `new`."""
        if NEW in (old, new):
            raise UringError(errno.EPERM, "`new` cannot be renamed")
        inode = self.find(old)
        if len(new) > MAX_NAME:
            raise UringError(errno.ENAMETOOLONG)
        if exchange:
            other = self.find(new)
            self._names[old], self._names[new] = other, inode
            self._changed(inode, other)
            return
        replaced = self._names.get(new)
        if replaced is inode:
            return
        if replaced is not None:
            if noreplace:
                raise UringError(errno.EEXIST)
            self._drop_name(new, replaced)
        del self._names[old]
        self._names[new] = inode
        self._changed(inode)

    def looked_up(self, inode: Inode[T]) -> None:
        inode.lookups += 1

    def forget(self, number: int, lookups: int) -> None:
        """FORGET. Numbers that are gone are no error: the kernel may be late."""
        inode = self._inodes.get(number)
        if inode is not None:
            inode.lookups = max(0, inode.lookups - lookups)
            self.release(inode)

    def release(self, inode: Inode[T]) -> None:
        """Drop the inode if nothing refers to it any more."""
        if not inode.referenced and self._inodes.pop(inode.number, None) is not None:
            self._dropped(inode.payload)

    def clear(self) -> None:
        """Unmounted: everything goes."""
        self._names.clear()
        while self._inodes:
            self._dropped(self._inodes.popitem()[1].payload)

    def _drop_name(self, name: bytes, inode: Inode[T]) -> None:
        del self._names[name]
        inode.names = 0
        self._changed(inode)
        self.release(inode)

    def _changed(self, *inodes: Inode[T]) -> None:
        """The directory has; so have the inodes whose name it was."""
        now = self.root.mtime_ns = self.root.ctime_ns = time.time_ns()
        for inode in inodes:
            inode.ctime_ns = now
