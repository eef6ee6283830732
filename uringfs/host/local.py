"""The real host: threads of this machine, by the id FUSE gives."""

import os
from collections.abc import Callable
from functools import partial

from uringfs import native
from uringfs.errors import UringError
from uringfs.host.admission import LocalAdmission
from uringfs.host.caller import LocalCaller, local
from uringfs.host.events.children import LocalChildren
from uringfs.host.events.poller import LocalPoller
from uringfs.host.events.signals import LocalSignals
from uringfs.host.events.timers import LocalTimers
from uringfs.host.files import closings, limits
from uringfs.host.files.file import LocalFile
from uringfs.host.identity.actor import ActorPool
from uringfs.host.identity.credentials import Credentials
from uringfs.host.process import sharedmem
from uringfs.host.process.lineage import lineage
from uringfs.host.process.program import LocalProgram, Programs
from uringfs.host.protocols import Caller
from uringfs.host.protocols.host import never
from uringfs.host.status import ThreadStatus, thread_status
from uringfs.host.threads import Threads, in_thread


class LocalHost:
    """own_device: st_dev of our own mount, whose files no request may block on."""

    def __init__(self, own_device: int = -1) -> None:
        limits.lift_own()
        self.own_device = own_device
        self.own_mount = ""
        self._threads: dict[int, Threads] = {}
        self.timers = LocalTimers()
        self.pauses = LocalTimers()
        self.poller = LocalPoller()
        self.children = LocalChildren(self.pauses, self.poller, self.adopt)
        self.signals = LocalSignals(self.pauses)
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

    def credentials(self, program: LocalProgram, uid: int, gid: int) -> Credentials:
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
        """The threads for calls made for that user."""
        if uid not in self._threads:
            self._threads[uid] = Threads()
        return self._threads[uid]

    def adopt(self, fd: int, uid: int = 0, tid: int = 0) -> LocalFile:
        """Take over a descriptor of the daemon's. tid: a thread that has it."""
        return LocalFile(fd, self.own_device, self.threads(uid), tid)

    def shared_word(self, caller: Caller, address: int) -> sharedmem.SharedWord | None:
        found = sharedmem.find(caller.tid, address)
        local(caller).still()
        return found[0] if found is not None else None

    async def futex_wake(self, caller: Caller, address: int, most: int, mask: int) -> int:
        wake = partial(sharedmem.wake, caller.tid, address, most, mask, local(caller).still)
        return await in_thread(wake, abandon_on_cancel=True, limiter=self.threads(caller.uid).limiter)

    def unsettled(self) -> bool:
        return closings.unsettled()

    async def settled(self, unless: Callable[[], bool] = never, *, first: bool = False) -> None:
        await closings.settled(unless, first=first)
