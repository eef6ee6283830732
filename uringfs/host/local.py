"""The real host: threads of this machine, by the id FUSE gives."""

import errno
import fcntl
import os
import resource
import socket
from collections.abc import Callable, Hashable, Sequence
from contextlib import AbstractContextManager, suppress
from functools import partial
from typing import NamedTuple

from uringfs import native
from uringfs.abi.net import UCRED
from uringfs.errors import UringError
from uringfs.host.events.children import LocalChildren, child_number
from uringfs.host.events.eventfd import LocalEventFd
from uringfs.host.events.poller import LocalPoller
from uringfs.host.events.signals import LocalSignals
from uringfs.host.events.timers import LocalTimers
from uringfs.host.files import closings, limits
from uringfs.host.files.closing import close_fd
from uringfs.host.files.file import LocalFile
from uringfs.host.identity.actor import ActorPool, LocalActor
from uringfs.host.identity.credentials import CAP_SETGID, CAP_SETUID, CAP_SYS_ADMIN, Credentials, dumpable
from uringfs.host.listener import LocalListener
from uringfs.host.net.channel import LocalChannel, own_end, send_message
from uringfs.host.process import advise, sharedmem
from uringfs.host.process.lineage import lineage
from uringfs.host.process.memory import VmMemory
from uringfs.host.process.program import Program, ProgramMemory, Programs
from uringfs.host.protocols import INFINITY, Caller, Memory, Name
from uringfs.host.status import ThreadStatus, thread_status
from uringfs.host.threads import Threads, in_thread

AT_FDCWD = -100


class LocalCaller:
    """One thread in a call that we answer; detached() makes one for later, tied to its program."""

    def __init__(
        self, host: "LocalHost", tid: int, uid: int, gid: int, valid: Callable[[], bool] | None = None
    ) -> None:
        """uid, gid: fsuid and fsgid, -1 if nobody has said. valid: of a call that may end without us."""
        self._host = host
        self._valid = valid
        self._late = False
        self._program: Program | None = None
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
    def program(self) -> Program:
        if self._program is None:
            try:
                self._program = self._host.programs.of(self.tid)
            except StopIteration as error:
                raise UringError(errno.ESRCH, f"thread {self.tid} is gone") from error
            except OSError as error:
                raise UringError.of(error) from error
            self.still()
        return self._program

    def known(self, program: Program) -> None:
        """It has just been seen to be the same."""
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
            self._detached = self._later(credentials, self._actor)
            self.still()
        return self._detached

    def _later(self, credentials: Credentials, actor: LocalActor | None) -> "LocalCaller":
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
        return self.detached()._later(registered, actor)

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


def _local(caller: Caller) -> LocalCaller:
    assert isinstance(caller, LocalCaller)
    return caller


class Writer(NamedTuple):
    program: Program
    ids: tuple[int, int]
    """fsuid, fsgid"""
    capabilities: int


class LocalAdmission:
    """base.Opener: who has opened a ring file, and whom of those who write to it that admits."""

    def __init__(self, programs: Programs, tid: int) -> None:
        self._opener: Credentials | None = None
        self._program: Program | None = None
        self._admitted: Writer | None = None
        """The last one, if it stays admitted as long as these are what they are: there is nothing put aside that
        it might take other groups with, or the opener might have taken any, too."""
        with suppress(UringError, OSError, StopIteration):  # one that is gone, or not to be seen, admits nobody
            self._opener = Credentials.of(tid)
            if not self._opener.unlimited:
                self._program = programs.of(tid)
                self._program.process  # noqa: B018  to be known when it is gone

    def admits(self, caller: Caller) -> bool:
        if self._opener is None:
            return False
        if self._opener.unlimited:
            return True
        local = _local(caller)
        return self._again(local) or self._admit(local)

    def _again(self, caller: "LocalCaller") -> bool:
        """It is the last writer, as it was."""
        last = self._admitted
        if last is None or last.program.tid != caller.tid or last.ids != (caller.uid, caller.gid):
            return False
        try:
            same = last.program.same() and native.capabilities(caller.tid) == last.capabilities
        except OSError:
            return False
        if same:
            caller.known(last.program)
        return same

    def _admit(self, caller: "LocalCaller") -> bool:
        try:
            writer = Writer(caller.program, (caller.uid, caller.gid), native.capabilities(caller.tid))
            opener, credentials = self._opener, Credentials.of(caller.tid)
            admitted = opener is not None and opener.admits(credentials) and self._same_image(caller)
            lasts = credentials.settled or (opener is not None and opener.becomes_others)
        except (OSError, UringError):  # gone
            return False
        self._admitted = writer if admitted and lasts else None
        return admitted

    def _same_image(self, caller: LocalCaller) -> bool:
        """A program that its own user may not trace has more than its ids tell: descriptors from before it dropped
        its rights, or memory that it hides (commit_creds(), would_dump()). It may write only if it is the program
        that has opened, or a child of that which goes on with the same."""
        if dumpable(caller.tid):
            return True
        return self._program is not None and caller.program.image == self._program.image


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
        self.poller = LocalPoller()
        self.children = LocalChildren(self.timers, self.poller, self.adopt)
        self.signals = LocalSignals(self.timers)
        self.actors = ActorPool()
        self.programs = Programs()

    def caller(self, tid: int, uid: int, gid: int) -> LocalCaller:
        return LocalCaller(self, tid, uid, gid)

    def supervised(self, tid: int, valid: Callable[[], bool]) -> LocalCaller:
        # Most calls need no ids, and reading them costs as much as the rest of a NOP.
        return LocalCaller(self, tid, -1, -1, valid)

    def tidy(self) -> None:
        self.programs.tidy()

    def opener(self, tid: int) -> LocalAdmission:
        return LocalAdmission(self.programs, tid)

    def credentials(self, program: Program, uid: int, gid: int) -> Credentials:
        """A thread's now. fsuid and fsgid are known; of who has no capability, no other id to change to and is
        in no other user namespace, the rest cannot have changed while it executes the same program."""
        kept = program.credentials
        if kept is not None and kept.settled and (kept.uid.fs, kept.gid.fs) == (uid, gid):
            try:
                bare = not native.capabilities(program.tid)
                if bare and native.user_namespace(program.tid) == kept.namespace.inode:
                    return kept
            except OSError as error:
                raise UringError.of(error) from error
        program.credentials = Credentials.of(program.tid)
        return program.credentials

    def status(self, tid: int) -> ThreadStatus:
        return thread_status(tid)

    def lineage(self, tid: int) -> tuple[int, ...]:
        return lineage(tid)

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

    def adopt(self, fd: int, uid: int = 0, tid: int = 0) -> LocalFile:
        """Take over a descriptor of the daemon's. tid: a thread that has it."""
        return LocalFile(fd, self.own_device, self.threads(uid), tid)

    def shared_word(self, caller: Caller, address: int) -> sharedmem.SharedWord | None:
        found = sharedmem.find(caller.tid, address)
        _local(caller).still()
        return found[0] if found is not None else None

    async def futex_wake(self, caller: Caller, address: int, most: int, mask: int) -> int:
        wake = partial(sharedmem.wake, caller.tid, address, most, mask, _local(caller).still)
        return await in_thread(wake, abandon_on_cancel=True, limiter=self.threads(caller.uid).limiter)

    def unsettled(self) -> bool:
        return closings.unsettled()

    async def settled(self) -> None:
        await closings.settled()
