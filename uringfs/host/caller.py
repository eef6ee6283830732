"""A thread of this machine that is in a call which we answer, or was when it submitted a request."""

import ctypes
import errno
import fcntl
import os
import resource
import socket
from collections.abc import Callable, Hashable, Sequence
from contextlib import AbstractContextManager, suppress
from functools import partial
from typing import Protocol

from uringfs.abi.libc import libc
from uringfs.abi.machine import NR
from uringfs.abi.net import UCRED
from uringfs.errors import UringError
from uringfs.host.events.children import child_number
from uringfs.host.events.eventfd import LocalEventFd
from uringfs.host.files import limits
from uringfs.host.files.closing import close_fd
from uringfs.host.files.file import LocalFile
from uringfs.host.identity.actor import ActorPool, LocalActor
from uringfs.host.identity.credentials import CAP_SETGID, CAP_SETUID, CAP_SYS_ADMIN, Credentials
from uringfs.host.listener import LocalListener
from uringfs.host.net.channel import LocalChannel, close_socket, own_end, send_message
from uringfs.host.process import advise, sharedmem
from uringfs.host.process.memory import VmMemory
from uringfs.host.process.program import LocalProgram, ProgramMemory, Programs
from uringfs.host.protocols import INFINITY, Caller, InCall, Memory, Name
from uringfs.host.status import thread_status
from uringfs.host.threads import Threads, in_thread

AT_FDCWD = -100
IOPRIO_WHO_PROCESS = 1  # linux/ioprio.h


class Keeper(Protocol):
    """What a host keeps for its callers (LocalHost)."""

    own_device: int
    programs: Programs
    actors: ActorPool

    def credentials(self, program: LocalProgram, uid: int, gid: int) -> Credentials:
        """A thread's now: fsuid and fsgid are known."""

    def threads(self, uid: int) -> Threads:
        """The threads for calls made for that user."""

    def adopt(self, fd: int, uid: int = 0, tid: int = 0) -> LocalFile:
        """Take over a descriptor of the daemon's. tid: a thread that has it."""


class LocalCaller:
    """One thread in a call that we answer; detached() makes one for later, tied to its program."""

    def __init__(
        self, host: Keeper, tid: int, uid: int, gid: int, valid: Callable[[], bool] | None = None
    ) -> None:
        """uid, gid: fsuid and fsgid, -1 if nobody has said. valid: of a call that may end without us."""
        self._host = host
        self._valid = valid
        self._late = False
        self._program: LocalProgram | None = None
        self._detached: LocalCaller | None = None
        self._credentials: Credentials | None = None
        self._actor: LocalActor | None = None
        self._ids = (uid, gid) if uid >= 0 else None
        self._fsize = INFINITY
        self.tid = tid
        self.can = 0
        self.memory: Memory = VmMemory(tid)
        if valid is not None:  # its id may be another thread's before we write to it
            self.memory = ProgramMemory(self.program)
            self.still()

    # -- who it is

    @property
    def program(self) -> LocalProgram:
        if self._program is None:
            try:
                self._program = self._host.programs.of(self.tid)
            except StopIteration as error:
                raise UringError(errno.ESRCH, f"thread {self.tid} is gone") from error
            except OSError as error:
                raise UringError.of(error) from error
            self.still()
        return self._program

    def known(self, program: LocalProgram) -> None:
        """Say that the thread has just been seen to execute this program."""
        self._program = program

    def still(self) -> None:
        """To be asked behind each look-up by the thread's id, or it may be about another program. ECANCELED."""
        late = self._late and self._program is not None and not self._program.same()
        if late or (self._valid is not None and not self._valid()):
            raise UringError(errno.ECANCELED, f"thread {self.tid} is gone, or executes another program")

    @property
    def uid(self) -> int:
        return self._own_ids()[0]

    @property
    def gid(self) -> int:
        return self._own_ids()[1]

    def _own_ids(self) -> tuple[int, int]:
        if self._ids is None:
            status = thread_status(self.tid)
            self.still()
            self._ids = status.uid, status.gid
        return self._ids

    @property
    def group(self) -> int:
        """Asked first while the thread is in its control write."""
        try:
            return self.program.group
        except (OSError, StopIteration) as error:
            raise UringError(errno.ESRCH, f"thread {self.tid} is gone") from error

    @property
    def process(self) -> Hashable:
        try:
            return self.program.process
        except (OSError, StopIteration) as error:
            raise UringError(errno.ESRCH, f"thread {self.tid} is gone") from error

    @property
    def space(self) -> Memory:
        space = self.program.memory
        self.still()
        return space

    def detached(self) -> "LocalCaller":
        if self._late:
            return self
        if self._detached is None:
            self.group  # noqa: B018  known from now on
            credentials = self._submitter()
            self._detached = self.later(credentials, self._actor)
            self.still()
        return self._detached

    def later(self, credentials: Credentials, actor: LocalActor | None) -> "LocalCaller":
        """One for use when the call has been answered, with these credentials."""
        caller = LocalCaller(self._host, self.tid, credentials.uid.fs, credentials.gid.fs)
        caller._program, caller._late, caller.can = self.program, True, self.can
        caller.memory = ProgramMemory(self.program)
        caller._credentials, caller._actor = credentials, actor
        caller._fsize = self.limit_fsize()
        return caller

    # -- its rights

    def _submitter(self) -> Credentials:
        """req->creds: those of the time at which this was asked first, which a detached caller does before."""
        if self._credentials is None:
            self._credentials = self._host.credentials(self.program, *self._own_ids())
            self.still()
        return self._credentials

    @property
    def foreign(self) -> bool:
        return self._submitter().foreign

    def rights(self, keeping: int = 0) -> AbstractContextManager[None]:
        return self._submitter().acting(keeping)

    def check_ioprio(self, ioprio: int) -> None:
        """ioprio_set(2) of a process that cannot be: it asks the capability first."""
        with self._submitter().acting():
            libc.syscall(NR["ioprio_set"], IOPRIO_WHO_PROCESS, -1, ioprio)
            code = ctypes.get_errno()
        if code != errno.ESRCH:
            raise UringError(code, f"ioprio {ioprio:#x}")

    def ucred(self) -> bytes:
        credentials = self._submitter()
        return UCRED.pack(self.group, credentials.uid.real, credentials.gid.real)

    def may_claim(self, ucred: bytes) -> bool:
        pid, uid, gid = UCRED.unpack(ucred)
        own = self._submitter()
        return (
            (pid == self.group or own.can(CAP_SYS_ADMIN))
            and (uid in own.uid[:3] or own.can(CAP_SETUID))
            and (gid in own.gid[:3] or own.can(CAP_SETGID))
        )

    def actor(self) -> LocalActor:
        if self._actor is not None:
            return self._actor
        actor = LocalActor(self._host.actors, self.tid, self._submitter())
        self.still()
        if not self._late:  # a poller's caller lasts, its working directory may change
            self._actor = actor
        return actor

    def credentials(self) -> object:
        return self.actor(), self._submitter()

    def with_credentials(self, credentials: object) -> "LocalCaller":
        assert isinstance(credentials, tuple)
        actor, registered = credentials
        return self.detached().later(registered, actor)

    # -- its descriptors

    def file(self, fd: int) -> LocalFile:
        return self._host.adopt(self._getfd(fd), self.uid, self.tid)

    def _getfd(self, fd: int) -> int:
        try:
            ours = self.program.getfd(fd)
        except OSError as error:
            raise UringError(errno.EBADF if error.errno == errno.ESRCH else error.errno or errno.EBADF) from error
        try:
            self.still()
        except UringError:
            close_fd(ours)
            raise
        return ours

    def unpinnable(self) -> list[tuple[int, int]]:
        found = sharedmem.written_back(self.tid, self._host.own_device)
        self.still()
        return found

    def in_call(self) -> InCall | None:
        return None if self._late or self._valid is not None else self

    def process_fd(self) -> int | None:
        try:
            return self.program.fileno()
        except UringError:
            return None

    def let_go(self, fd: int, /) -> None:
        close_fd(fd, self._host.own_device)

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
            close_fd(ours)

    def send_descriptors(self, sock: int, fds: Sequence[int]) -> None:
        try:
            ours = self._socket(sock)
            try:
                send_message(ours, b"\0", fds)
            finally:
                close_socket(ours)
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
            close_fd(fd)

    def open_path(self, path: str) -> "LocalOpener":
        return LocalOpener(self._host, self.actor(), path)

    def eventfd(self, fd: int) -> LocalEventFd:
        return LocalEventFd(self._getfd(fd))

    def listener(self, fd: int) -> LocalListener:
        return LocalListener(self._getfd(fd))

    # -- the rest

    def limit_nofile(self) -> int:
        return self._limit(resource.RLIMIT_NOFILE)

    def limit_fsize(self) -> int:
        return self._fsize if self._late else self._limit(resource.RLIMIT_FSIZE)

    def _limit(self, which: int) -> int:
        limit = limits.soft_limit(self.tid, which)
        self.still()
        return limit

    async def madvise(self, address: int, length: int, advice: int) -> int:
        call = partial(advise.madvise, self.tid, self.memory, address, length, advice, self.still)
        return await in_thread(call, limiter=self._host.threads(self.uid).limiter)

    def signal(self, number: int) -> None:
        with suppress(OSError, UringError):  # it may be gone
            self.still()
            self.program.signal(number)


class LocalOpener:
    """Takes who opens while the caller is blocked; the open itself may be slow."""

    def __init__(self, host: Keeper, actor: LocalActor, path: str) -> None:
        self._host = host
        self._actor = actor
        self._path = Name(os.fsencode(path))

    async def open(self) -> LocalFile:
        flags = os.O_RDONLY | os.O_NOCTTY | os.O_CLOEXEC
        fd, _ = await self._actor.call("openat", AT_FDCWD, self._path, flags, 0)
        return self._host.adopt(fd)


def local(caller: Caller) -> LocalCaller:
    """Narrow a caller to what this host makes."""
    assert isinstance(caller, LocalCaller)
    return caller
