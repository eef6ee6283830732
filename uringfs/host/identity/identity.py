"""Who a thread is, for its paths: taken while it is blocked in its control write."""

import array
import ctypes
import errno
import fcntl
import os
from collections.abc import Hashable
from typing import NamedTuple

from uringfs.abi.libc import libc
from uringfs.errors import UringError
from uringfs.host.identity.credentials import NS_GET_OWNER_UID, NS_GET_PARENT, Credentials
from uringfs.host.procfs import status

NAMESPACES = {  # CLONE_NEW*: what a path may depend on. That of users last: who has joined it has no way back
    "mnt": 0x20000,
    "net": 0x40000000,  # /proc/sys/net
    "uts": 0x4000000,
    "ipc": 0x8000000,
    "cgroup": 0x2000000,
    "user": 0x10000000,
}
_AT_EMPTY_PATH, _AT_STATX_DONT_SYNC, _STATX = 0x1000, 0x4000, 0x5100  # INO, MNT_ID, MNT_ID_UNIQUE


class Ids(NamedTuple):
    """As our user namespace knows them; the capabilities are those in the thread's own."""

    uid: int
    gid: int
    groups: tuple[int, ...]
    capabilities: int


class Key(NamedTuple):
    """What a helper process is for good: requests with equal keys can be made by one."""

    ids: Ids
    root: tuple[int, ...]
    namespaces: tuple[str, ...]


class Surroundings:
    """The daemon's own root and namespaces: what is the same need not be joined."""

    def __init__(self) -> None:
        self.namespaces = _namespaces("self")
        root = os.open("/", os.O_PATH | os.O_CLOEXEC)
        try:
            self.root = _object(root)
        finally:
            os.close(root)


class Identity:
    """A thread's credentials, with the root, working directory and namespaces that it has now. Holds descriptors
    until nothing refers to it. UringError: ESRCH."""

    def __init__(self, tid: int, credentials: Credentials, ours: Surroundings) -> None:
        self._fds: list[int] = []
        try:
            fields = status(tid)
            self.root, self.cwd = (self._open(f"/proc/{tid}/{link}", os.O_PATH) for link in ("root", "cwd"))
            names = _namespaces(tid)
            if names[-1] != f"user:[{credentials.namespace.inode}]":
                raise FileNotFoundError  # it has become another's id: capabilities count where they were taken
            self.namespaces = {
                kind: self._open(f"/proc/{tid}/ns/{name}", os.O_RDONLY)
                for (name, kind), own, other in zip(NAMESPACES.items(), ours.namespaces, names, strict=True)
                if own != other
            }
            ids = Ids(credentials.uid.fs, credentials.gid.fs, credentials.groups, credentials.effective)
            self.key = Key(ids, _object(self.root), names)
            self.account = self._account(ours)
        except (FileNotFoundError, ProcessLookupError) as error:
            raise UringError(errno.ESRCH, f"thread {tid} is gone") from error
        except OSError as error:
            raise UringError.of(error) from error
        self.umask = int(fields["Umask"][0], 8)
        group, thread = fields["NStgid"], fields["NSpid"]
        self.numbers = int(group[0]), int(thread[0]), int(group[-1]), int(thread[-1])
        """The process' id and the thread's, in our pid namespace and in the thread's."""
        self.at_home = not self.namespaces and self.key.root == ours.root
        """Nothing of its surroundings is anybody else's to take down."""

    def _open(self, path: str, flags: int) -> int:
        self._fds.append(os.open(path, flags | os.O_CLOEXEC))
        return self._fds[-1]

    def _account(self, ours: Surroundings) -> Hashable:
        """Whose share of the helpers it takes from. An ordinary user's roots and namespaces, and the ids that
        are mapped there, are as many as it likes: they are all its own. Those that root has made, containers,
        are not."""
        users = self.namespaces.get(NAMESPACES["user"])
        owner = _owner(users, ours.namespaces[-1]) if users is not None else 0
        return ("owner", owner) if owner else (self.key.ids.uid, self.key.root, self.key.namespaces)

    def __del__(self) -> None:
        for fd in self._fds:
            os.close(fd)


def _namespaces(thread: int | str) -> tuple[str, ...]:
    return tuple(os.readlink(f"/proc/{thread}/ns/{name}") for name in NAMESPACES)


def _object(fd: int) -> tuple[int, ...]:
    """What a descriptor is of, and by which mount: (device, inode, mount). Its file system's server, which may
    be ourselves, is not asked."""
    statx = ctypes.create_string_buffer(256)
    if libc.statx(fd, b"", _AT_EMPTY_PATH | _AT_STATX_DONT_SYNC, _STATX, statx):
        raise OSError(ctypes.get_errno(), "statx")
    return tuple(int.from_bytes(statx.raw[at : at + 8], "little") for at in (136, 32, 144))


def _owner(users: int, ours: str) -> int:
    """The outermost owner, of the user namespaces from this one up to ours, that is not root; 0 without any."""
    owner, fd = 0, os.dup(users)
    try:
        while True:
            uid = array.array("I", [0])
            fcntl.ioctl(fd, NS_GET_OWNER_UID, uid)
            owner = uid[0] or owner
            above = fcntl.ioctl(fd, NS_GET_PARENT)
            os.close(fd)
            fd = above
            if os.readlink(f"/proc/self/fd/{fd}") == ours:
                return owner
    finally:
        os.close(fd)
