"""The real host: threads of this machine, by the id FUSE gives."""

import errno
import os
import resource

import trio

from uringfs import native
from uringfs.errors import UringError
from uringfs.host.base import Memory
from uringfs.host.credentials import Credentials, assumed, openat2_in_root
from uringfs.host.eventfd import LocalEventFd
from uringfs.host.files import LocalFile
from uringfs.host.memory import PinnedMemory, VmMemory

PIDFD_THREAD = os.O_EXCL  # Linux >= 6.9: a pidfd of one thread, with that thread's descriptor table
MAX_BLOCKING = 64  # threads that wait in reads no poll can answer


def _pidfd(tid: int) -> int:
    """A pidfd of the thread, or, before Linux 6.9, of its process. ESRCH."""
    try:
        return native.pidfd_open(tid, PIDFD_THREAD)
    except OSError as error:
        if error.errno != errno.EINVAL:
            raise
    with open(f"/proc/{tid}/status") as status:
        tgid = next(int(line.split()[1]) for line in status if line.startswith("Tgid:"))
    return native.pidfd_open(tgid, 0)


class LocalCaller:
    """memory: that of the thread blocked in a control write, or a pinned one when detached."""

    def __init__(
        self, host: "LocalHost", tid: int, uid: int, gid: int, memory: VmMemory | PinnedMemory | None = None
    ) -> None:
        self._host = host
        self._pidfd = -1
        self._detached: LocalCaller | None = None
        self.tid = tid
        self.uid = uid
        self.gid = gid
        self.memory: Memory = memory or VmMemory(tid)

    def file(self, fd: int) -> LocalFile:
        return self._host.adopt(self._getfd(fd))

    def _getfd(self, fd: int) -> int:
        try:
            return native.pidfd_getfd(self._pidfd_now(), fd)
        except OSError as error:
            raise UringError(errno.EBADF if error.errno == errno.ESRCH else error.errno or errno.EBADF) from error

    def detached(self) -> "LocalCaller":
        if isinstance(self.memory, PinnedMemory):
            return self
        if self._detached is None:
            caller = LocalCaller(self._host, self.tid, self.uid, self.gid, PinnedMemory(self.tid))
            try:
                caller._pidfd_now()
            except OSError as error:
                raise UringError.of(error) from error
            self._detached = caller
        return self._detached

    def limit_nofile(self) -> int:
        try:
            return resource.prlimit(self.tid, resource.RLIMIT_NOFILE)[0]
        except OSError as error:
            raise UringError.of(error) from error

    def open_path(self, path: str) -> "LocalOpener":
        return LocalOpener(self._host, self.tid, path)

    def eventfd(self, fd: int) -> LocalEventFd:
        return LocalEventFd(self._getfd(fd))

    def credentials(self) -> object:
        return self.uid, self.gid

    def with_credentials(self, credentials: object) -> "LocalCaller":
        assert isinstance(credentials, tuple) and isinstance(self.memory, VmMemory | PinnedMemory)
        uid, gid = credentials
        return LocalCaller(self._host, self.tid, uid, gid, self.memory)

    def _pidfd_now(self) -> int:
        if self._pidfd < 0:
            self._pidfd = _pidfd(self.tid)
        return self._pidfd

    def __del__(self) -> None:
        if self._pidfd >= 0:
            os.close(self._pidfd)


class LocalOpener:
    """Takes what decides the lookup while the caller is blocked; the open itself may be slow."""

    def __init__(self, host: "LocalHost", tid: int, path: str) -> None:
        self._host = host
        self._root = -1
        try:
            self._credentials = Credentials.of(tid)
            self._root = os.open(f"/proc/{tid}/root", os.O_PATH | os.O_CLOEXEC)
            self._path = os.fsencode(path)
            if not self._path.startswith(b"/"):
                # below the caller's root, as it names its own working directory
                self._path = os.path.join(_cwd_below_root(tid), self._path)
        except FileNotFoundError as error:
            raise UringError(errno.ESRCH, f"thread {tid} is gone") from error
        except OSError as error:
            raise UringError.of(error) from error

    async def open(self) -> LocalFile:
        try:
            fd = await trio.to_thread.run_sync(self._open, abandon_on_cancel=True, limiter=self._host.limiter)
        except OSError as error:
            raise UringError.of(error) from error
        return self._host.adopt(fd)

    def _open(self) -> int:
        with assumed(self._credentials):
            return openat2_in_root(self._root, self._path, os.O_RDONLY | os.O_NOCTTY)

    def __del__(self) -> None:
        if self._root >= 0:
            os.close(self._root)


def _cwd_below_root(tid: int) -> bytes:
    """The caller's working directory as a path below its root. ENOENT if it lies outside, or is deleted."""
    root, cwd = os.readlink(f"/proc/{tid}/root".encode()), os.readlink(f"/proc/{tid}/cwd".encode())
    if root != b"/" and cwd.startswith(root):
        cwd = cwd[len(root) :] or b"/"
    return cwd


class LocalHost:
    """own_device: st_dev of our own mount, whose files no request may block on."""

    def __init__(self, own_device: int = -1) -> None:
        self.own_device = own_device
        self.limiter = trio.CapacityLimiter(MAX_BLOCKING)

    def caller(self, tid: int, uid: int, gid: int) -> LocalCaller:
        return LocalCaller(self, tid, uid, gid)

    def adopt(self, fd: int) -> LocalFile:
        """Take over a descriptor of the daemon's."""
        return LocalFile(fd, self.own_device, self.limiter)

    async def exited(self, tid: int) -> None:
        try:
            pidfd = _pidfd(tid)
        except (OSError, StopIteration):
            return
        try:
            await trio.lowlevel.wait_readable(pidfd)
        finally:
            os.close(pidfd)
