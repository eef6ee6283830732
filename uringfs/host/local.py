"""The real host: threads of this machine, by the id FUSE gives."""

import errno
import fcntl
import os
import resource
import signal
import socket
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext, suppress
from functools import partial

import trio

from uringfs.errors import UringError
from uringfs.host import advise, limits, sharedmem
from uringfs.host.actor import ActorPool, LocalActor
from uringfs.host.base import Memory, Name
from uringfs.host.channel import LocalChannel, own_end, send_message
from uringfs.host.children import LocalChildren, child_number
from uringfs.host.credentials import unprivileged
from uringfs.host.eventfd import LocalEventFd
from uringfs.host.files import LocalFile
from uringfs.host.listener import LocalListener
from uringfs.host.memory import PinnedMemory, VmMemory
from uringfs.host.pidfd import Pidfd, Pidfds
from uringfs.host.poller import LocalPoller
from uringfs.host.status import ThreadStatus, thread_status
from uringfs.host.threads import Threads, in_thread
from uringfs.host.timers import LocalTimers

AT_FDCWD = -100


class LocalCaller:
    """memory: that of the thread blocked in a control write, or a pinned one when detached."""

    def __init__(
        self, host: "LocalHost", tid: int, uid: int, gid: int, memory: VmMemory | PinnedMemory | None = None
    ) -> None:
        self._host = host
        self._pidfd: Pidfd | None = None
        self._detached: LocalCaller | None = None
        self.tid = tid
        self._ids = (uid, gid) if uid >= 0 else None
        self.memory: Memory = memory or VmMemory(tid)
        self.can = 0
        self._actor: LocalActor | None = None

    @property
    def uid(self) -> int:
        return self._own_ids()[0]

    @property
    def gid(self) -> int:
        return self._own_ids()[1]

    def _own_ids(self) -> tuple[int, int]:
        if self._ids is None:
            status = thread_status(self.tid)
            self._ids = status.uid, status.gid
        return self._ids

    @property
    def group(self) -> int:
        """Asked first while the thread is in its control write."""
        try:
            return self._pidfd_now().group
        except (OSError, StopIteration) as error:
            raise UringError(errno.ESRCH, f"thread {self.tid} is gone") from error

    def actor(self) -> LocalActor:
        if self._actor is not None:
            return self._actor
        actor = LocalActor(self._host.actors, self.tid)
        if not isinstance(self.memory, PinnedMemory):  # a poller's caller lasts, its working directory may change
            self._actor = actor
        return actor

    def file(self, fd: int) -> LocalFile:
        return self._host.adopt(self._getfd(fd), self.uid)

    def _getfd(self, fd: int) -> int:
        try:
            if self._pidfd is not None:
                return self._pidfd.getfd(fd)
            return self._host.pidfds.getfd(self.tid, fd)
        except OSError as error:
            raise UringError(errno.EBADF if error.errno == errno.ESRCH else error.errno or errno.EBADF) from error

    def detached(self) -> "LocalCaller":
        if isinstance(self.memory, PinnedMemory):
            return self
        if self._detached is None:
            memory = PinnedMemory(self.tid, self.group)
            caller = LocalCaller(self._host, self.tid, self.uid, self.gid, memory)
            caller.can, caller._pidfd, caller._actor = self.can, self._pidfd, self._actor
            self._detached = caller
        return self._detached

    def pidfd(self, fd: int) -> tuple[int, bool]:
        ours = self._getfd(fd)
        try:
            with open(f"/proc/self/fdinfo/{ours}") as fdinfo:
                pid = next((int(line.split()[1]) for line in fdinfo if line.startswith("Pid:")), None)
            if pid is None:
                raise UringError(errno.EBADF, f"descriptor {fd} is no pidfd")
            nonblock = bool(fcntl.fcntl(ours, fcntl.F_GETFL) & os.O_NONBLOCK)
            return child_number(self.group, pid) if pid > 0 else 0, nonblock
        finally:
            os.close(ours)

    def limit_nofile(self) -> int:
        return limits.soft_limit(self._process(), resource.RLIMIT_NOFILE)

    def limit_fsize(self) -> int:
        return limits.soft_limit(self._process(), resource.RLIMIT_FSIZE)

    def _process(self) -> int:
        """The id of a thread whose limits are the caller's: it may be gone before its process is."""
        return self.tid if self._pidfd is None else self.group

    def rights(self) -> AbstractContextManager[None]:
        return unprivileged() if self.uid else nullcontext()

    async def madvise(self, address: int, length: int, advice: int) -> int:
        call = partial(advise.madvise, self.tid, self.memory, address, length, advice)
        return await in_thread(call, limiter=self._host.threads(self.uid).limiter)

    def signal(self, number: int) -> None:
        with suppress(OSError):  # it may be gone
            signal.pidfd_send_signal(self._pidfd_now().fd, number)

    def send_descriptors(self, sock: int, fds: Sequence[int]) -> None:
        try:
            with self._socket(sock) as ours:
                send_message(ours, b"\0", fds)
        except OSError as error:
            raise UringError.of(error) from error

    def channel(self, sock: int) -> LocalChannel:
        try:
            return LocalChannel(self._socket(sock))
        except OSError as error:
            raise UringError.of(error) from error

    def _socket(self, sock: int) -> socket.socket:
        fd = self._getfd(sock)
        try:
            return own_end(fd, self.group)
        finally:
            os.close(fd)

    def open_path(self, path: str) -> "LocalOpener":
        return LocalOpener(self._host, self.actor(), path)

    def eventfd(self, fd: int) -> LocalEventFd:
        return LocalEventFd(self._getfd(fd))

    def listener(self, fd: int) -> LocalListener:
        return LocalListener(self._getfd(fd))

    def credentials(self) -> object:
        return self.actor(), self.uid, self.gid

    def with_credentials(self, credentials: object) -> "LocalCaller":
        assert isinstance(credentials, tuple)
        assert isinstance(self.memory, VmMemory | PinnedMemory)
        actor, uid, gid = credentials
        caller = LocalCaller(self._host, self.tid, uid, gid, self.memory)
        caller.can, caller._pidfd, caller._actor = self.can, self._pidfd, actor
        return caller

    def _pidfd_now(self) -> Pidfd:
        if self._pidfd is None:
            self._pidfd = self._host.pidfds.of(self.tid)
        return self._pidfd


class LocalOpener:
    """Takes who opens while the caller is blocked; the open itself may be slow."""

    def __init__(self, host: "LocalHost", actor: LocalActor, path: str) -> None:
        self._host = host
        self._actor = actor
        self._path = Name(os.fsencode(path))

    async def open(self) -> LocalFile:
        flags = os.O_RDONLY | os.O_NOCTTY | os.O_CLOEXEC
        fd, _ = await self._actor.call("openat", AT_FDCWD, self._path, flags, 0)
        return self._host.adopt(fd)


class LocalHost:
    """own_device: st_dev of our own mount, whose files no request may block on."""

    def __init__(self, own_device: int = -1) -> None:
        limits.lift_own()
        self.own_device = own_device
        self.own_mount = ""
        self._threads: dict[int, Threads] = {}
        self.timers = LocalTimers()
        self._wakers = trio.CapacityLimiter(sharedmem.MAX_WAKERS)
        self.poller = LocalPoller()
        self.children = LocalChildren(self.timers, self.poller, self.adopt)
        self.actors = ActorPool()
        self.pidfds = Pidfds()

    def caller(self, tid: int, uid: int, gid: int) -> LocalCaller:
        return LocalCaller(self, tid, uid, gid)

    def supervised(self, tid: int) -> LocalCaller:
        # Most calls need no ids, and reading them costs as much as the rest of a NOP.
        return LocalCaller(self, tid, -1, -1)

    def status(self, tid: int) -> ThreadStatus:
        return thread_status(tid)

    def file_of(self, tid: int, fd: int) -> LocalFile:
        try:
            return self.adopt(self.pidfds.getfd(tid, fd))
        except OSError as error:
            raise UringError(errno.EBADF) from error

    async def open_ring(self) -> LocalFile:
        path = os.path.join(self.own_mount, "new")
        try:
            fd = await in_thread(os.open, path, os.O_RDWR | os.O_CLOEXEC)
        except OSError as error:
            raise UringError.of(error) from error
        return self.adopt(fd)

    def threads(self, uid: int) -> Threads:
        """For calls made for that user."""
        if uid not in self._threads:
            self._threads[uid] = Threads()
        return self._threads[uid]

    def adopt(self, fd: int, uid: int = 0) -> LocalFile:
        """Take over a descriptor of the daemon's."""
        return LocalFile(fd, self.own_device, self.threads(uid))

    def shared_word(self, tid: int, address: int) -> sharedmem.SharedWord | None:
        found = sharedmem.find(tid, address)
        return found[0] if found is not None else None

    async def futex_wake(self, tid: int, address: int, most: int, mask: int) -> int:
        return await sharedmem.wake_in_thread(tid, address, most, mask, self._wakers)

    async def exited(self, tid: int) -> None:
        try:
            pidfd = Pidfd(tid)  # of its own: trio lets one task wait for a descriptor
        except (OSError, StopIteration):
            return
        await trio.lowlevel.wait_readable(pidfd.fd)
