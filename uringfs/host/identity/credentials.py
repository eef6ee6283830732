"""Who asks: a thread's credentials as they were when it submitted, what they let it do that another could not,
and system calls made with them. Nothing that looks up a path: that is what host.actor is for.

The one rule (docs/security.md): a request acts with exactly the rights that its submitter had when it submitted
it, as req->creds has them in the kernel, and never with the daemon's.
"""

import errno
import fcntl
import logging
import os
import re
from array import array
from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import cached_property, lru_cache
from typing import NamedTuple

from uringfs import native
from uringfs.errors import UringError

log = logging.getLogger(__name__)

CAP_SETGID, CAP_SETUID, CAP_SYS_ADMIN = 6, 7, 21
NS_GET_PARENT, NS_GET_OWNER_UID = 0xB702, 0xB704
PAGE, MOST_STATUS = 4096, 1 << 20  # bytes
_FIELDS = re.compile(
    rb"\nUid:\t([^\n]*)\nGid:\t([^\n]*)\n.*?\nGroups:\t([^\n]*)\n.*?\nCapPrm:\t(\w+)\nCapEff:\t(\w+)\n",
    re.DOTALL,
)


class StatusIds(NamedTuple):
    """As Uid and Gid of /proc/PID/status have them, in our user namespace."""

    real: int
    effective: int
    saved: int
    fs: int


class Namespace(NamedTuple):
    """A user namespace, by the inode number that /proc/PID/ns/user has. The rest is known of foreign ones
    alone."""

    inode: int
    parent: int = 0
    owner: int = -1
    """Who has made it, and may do everything in it."""
    uids: tuple[range, ...] = ()
    gids: tuple[range, ...] = ()
    """The ids of ours that it has."""

    @classmethod
    def of(cls, tid: int) -> "Namespace":
        """The user namespace of a thread now. OSError."""
        inode = native.user_namespace(tid)
        return cls(inode) if inode == home() else cls._foreign(tid, inode)

    @classmethod
    def _foreign(cls, tid: int, inode: int) -> "Namespace":
        fd = os.open(f"/proc/{tid}/ns/user", os.O_RDONLY | os.O_CLOEXEC)
        try:
            owner = array("I", [0])
            fcntl.ioctl(fd, NS_GET_OWNER_UID, owner)
            return cls(inode, _parent(fd), owner[0], _map(tid, "uid_map"), _map(tid, "gid_map"))
        finally:
            os.close(fd)


def _parent(namespace: int) -> int:
    try:
        parent = fcntl.ioctl(namespace, NS_GET_PARENT)
    except PermissionError:  # none of ours, nor below one
        return 0
    try:
        return os.fstat(parent).st_ino
    finally:
        os.close(parent)


def _map(tid: int, name: str) -> tuple[range, ...]:
    """user_namespaces(7): the second number is an id as we know it."""
    with open(f"/proc/{tid}/{name}") as lines:
        extents = [tuple(map(int, line.split())) for line in lines]
    return tuple(range(outside, outside + count) for _, outside, count in extents)


def _fields(tid: int) -> re.Match[bytes] | None:
    """OSError. Without a file object and its megabyte: this is done for each call of a privileged client."""
    fd = os.open(f"/proc/{tid}/status", os.O_RDONLY | os.O_CLOEXEC)
    try:
        status = os.read(fd, PAGE)
        while (found := _FIELDS.search(status)) is None and (more := os.read(fd, MOST_STATUS)):
            status += more  # there are many groups
        return found
    finally:
        os.close(fd)


class Credentials:
    """struct cred of a thread. Compared by what it holds."""

    def __init__(
        self,
        uid: StatusIds,
        gid: StatusIds,
        groups: tuple[int, ...],
        permitted: int,
        effective: int,
        namespace: Namespace,
    ) -> None:
        self.uid = uid
        self.gid = gid
        self.groups = groups
        self.permitted = permitted
        self.effective = effective
        """Capabilities: bit sets."""
        self.namespace = namespace
        """In which they count."""

    @classmethod
    def of(cls, tid: int) -> "Credentials":
        """The credentials of a thread now. ESRCH."""
        try:
            found = _fields(tid)
            namespace = Namespace.of(tid)
        except OSError as error:
            raise UringError(errno.ESRCH, f"thread {tid} is gone") from error
        if found is None:
            raise UringError(errno.ESRCH, f"thread {tid} is gone")
        uid, gid, groups, permitted, effective = found.groups()
        return cls(
            StatusIds(*map(int, uid.split())),
            StatusIds(*map(int, gid.split())),
            tuple(map(int, groups.split())),
            int(permitted, 16),
            int(effective, 16),
            namespace,
        )

    def _key(self) -> tuple[object, ...]:
        return self.uid, self.gid, self.groups, self.permitted, self.effective, self.namespace

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Credentials) and self._key() == other._key()

    def __hash__(self) -> int:
        return hash(self._key())

    def __repr__(self) -> str:
        caps = f"{self.effective:#x} of {self.permitted:#x}"
        ids = f"uid {self.uid.fs} gid {self.gid.fs} groups {self.groups}"
        return f"{ids} capabilities {caps} in {self.namespace.inode}"

    @property
    def foreign(self) -> bool:
        """True for those of a user namespace that is not ours: their capabilities count for nothing here."""
        return self.namespace.inode != home()

    @cached_property
    def unlimited(self) -> bool:
        """Whatever the daemon may, they may: nothing is gained by acting for them."""
        mine = own()
        return not self.foreign and self.uid.fs == mine.uid.fs and not mine.permitted & ~self.effective

    @property
    def settled(self) -> bool:
        """Nothing is put aside that they may change to (setresuid(2), setresgid(2), capset(2))."""
        return len(set(self.uid)) == len(set(self.gid)) == 1 and not self.permitted

    @property
    def becomes_others(self) -> bool:
        """True if who has these may take any ids of their user namespace."""
        return bool(self.effective >> CAP_SETUID & self.effective >> CAP_SETGID & 1)

    def can(self, capability: int) -> bool:
        """capable(), in our user namespace."""
        return not self.foreign and bool(self.effective >> capability & 1)

    def acting(self, keeping: int = 0) -> AbstractContextManager[None]:
        """Let this thread, and it alone, make system calls with them, but for those that look up paths. keeping:
        capabilities of ours that the call takes besides. A failed return ends the process: a thread of ours must
        never keep a client's. EPERM."""
        return nullcontext() if self.unlimited else self._acting(keeping)

    @contextmanager
    def _acting(self, keeping: int) -> Iterator[None]:
        effective = keeping | (0 if self.foreign else self.effective)
        try:
            native.act_as(self.uid.fs, self.gid.fs, array("I", self.groups).tobytes(), effective, self.foreign)
        except OSError as error:
            log.warning("acting as user %d: %s", self.uid.fs, error)
            raise UringError.of(error) from error
        try:
            yield
        finally:
            native.act_own()

    def admits(self, other: "Credentials") -> bool:
        """True if an opener with these lets somebody with the other ones write through what it has opened:
        not with a right that the opener had not, or the opener could borrow it by having its file written to.
        As the kernel where a write has side effects: f_cred against current_cred() (sg_check_file_access(),
        ib_safe_file_access())."""
        if self == other or self.unlimited:
            return True
        return self._has_powers_of(other) and self._has_users_of(other) and self._has_groups_of(other)

    def _has_powers_of(self, other: "Credentials") -> bool:
        """True if these have the other's capabilities, and those put aside (the permitted ones). Those in a
        namespace which the opener itself has made are its own."""
        powers, there = other.permitted | other.effective, other.namespace
        if there.inode == self.namespace.inode:
            return not powers & ~self.effective
        return not powers or (there.parent == self.namespace.inode and there.owner == self.uid.fs)

    def _has_users_of(self, other: "Credentials") -> bool:
        """True if these have all users of the other: one put aside (the saved one) has left descriptors behind."""
        return set(other.uid) <= {self.uid.fs, self.uid.real} or (
            self._may_become(CAP_SETUID, other) and _all_in(other.uid, self.namespace.uids, self.foreign)
        )

    def _has_groups_of(self, other: "Credentials") -> bool:
        ids = (*other.gid, *other.groups)
        if set(ids) <= {self.gid.fs, self.gid.real, *self.groups}:
            return True
        return self._may_become(CAP_SETGID, other) and _all_in(ids, self.namespace.gids, self.foreign)

    def _may_become(self, capability: int, other: "Credentials") -> bool:
        """setuid(2), setgroups(2): to any id of its user namespace."""
        return bool(self.effective >> capability & 1) and other.namespace.inode == self.namespace.inode


def _all_in(ids: Iterable[int], mapped: tuple[range, ...], foreign: bool) -> bool:
    return not foreign or all(any(number in extent for extent in mapped) for number in ids)


def dumpable(tid: int) -> bool:
    """get_dumpable() of a thread's memory: its files in /proc are its own then (task_dump_owner()), and root's
    otherwise. True of root's, whom nobody else may trace anyway. ESRCH."""
    try:
        file, thread = os.stat(f"/proc/{tid}/stat"), os.stat(f"/proc/{tid}")
    except OSError as error:
        raise UringError(errno.ESRCH, f"thread {tid} is gone") from error
    return file.st_uid == thread.st_uid


@lru_cache(maxsize=1)
def home() -> int:
    """The inode number of our own user namespace."""
    return native.user_namespace(os.getpid())


@lru_cache(maxsize=1)
def own() -> Credentials:
    """The daemon's."""
    return Credentials.of(os.getpid())
