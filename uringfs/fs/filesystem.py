"""The model of the mount: names, inodes, open files and the calls on them. Knows nothing of FUSE's wire;
operations translates, tests drive it without a mount."""

import errno
import gc
import itertools
import logging
import math
import os
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import suppress
from functools import partial

import trio

from uringfs import __version__
from uringfs.abi import control as abi
from uringfs.abi.control import RESULT
from uringfs.abi.kernels import CURRENT, Kernel
from uringfs.engine.context import Context
from uringfs.engine.entering import Entered, Entering
from uringfs.engine.tctx import TaskContexts
from uringfs.errors import UringError
from uringfs.faults.engine import FaultEngine
from uringfs.faults.given import RuleGiver
from uringfs.faults.kernels import Kernels
from uringfs.fs import faultcontrol, status, watching
from uringfs.fs.codec import control, text
from uringfs.fs.codec.faulttext import FaultCommand
from uringfs.fs.inodes import FIRST, NEW, ROOT, InodeTable
from uringfs.fs.openfile import OpenFile, Reach, RingInode
from uringfs.fs.quota import Quota
from uringfs.fs.ringfile import RingFile
from uringfs.fs.specials import Specials
from uringfs.fs.supervised.supervisor import Supervision
from uringfs.fs.waits import EnterInProgress, Polled
from uringfs.host.protocols import Caller, Host
from uringfs.memory.base import Backend
from uringfs.ring.ring import Counters, Ring
from uringfs.watch import metrics
from uringfs.watch.stats import Stats
from uringfs.watch.tracer import Tracer

log = logging.getLogger(__name__)

Writing = Callable[[], Awaitable[int]]
"""Goes on with a control write, to its end: 0 or -EINPROGRESS."""
NEW_MODE = 0o666
TIDY = 1.0
"""Seconds between two collections, at least."""
LAST_TIDY = 32.0
"""Seconds between the last two after a ring was closed."""


class RingFs:
    """One mount. backing ids: what the kernel needs to map a file's memory, see memory.base."""

    def __init__(
        self,
        backend: Backend,
        host: Host,
        nursery: trio.Nursery,
        max_rings: int,
        quota: Quota | None = None,
        seed: str = "",
        kernel: Kernel = CURRENT,
    ) -> None:
        """seed: of whatever chance decides. kernel: what its rings are made to be of."""
        self._backend = backend
        self._host = host
        self._nursery = nursery
        self.tctx = TaskContexts(host, nursery, self._find_ring)
        self.faults = FaultEngine(nursery, self.tctx.hooks, self._name_of, host.lineage, seed, self._ended)
        self._kernels = Kernels(nursery, host.lineage, self._ended, kernel)
        self.tctx.kernel_of = self._kernels.of
        self._tracer = Tracer(self.tctx)
        self._stats = Stats(self.tctx.hooks)
        self.specials = Specials(
            host,
            {
                b".control": faultcontrol.ControlFile(self.faults, self._kernels),
                b".trace": watching.TraceFile(self._tracer),
                b".rings": watching.Rings(self.rings, self.tctx, self._stats, backend.name),
                b".metrics": watching.Metrics(lambda: metrics.text(self._facts), self._stats, nursery),
            },
        )
        self._supervision = Supervision(host, nursery, self.tctx, lambda number: self.inodes[number])
        self._serials = itertools.count(1)
        self._open: dict[int, OpenFile] = {}
        self._missing = errno.EBADF
        self._closings = trio.Event()
        self._quota = quota or Quota()
        self._begun = time.monotonic()
        self._reach = Reach()
        self.max_rings = max_rings
        self.inodes: InodeTable[RingFile] = InodeTable(max_rings, self._make_file, RingFile.close)

    def _make_file(self, number: int, uid: int) -> RingFile:
        return RingFile(number, self._backend, self._nursery, self.tctx, self._quota.account(uid))

    def _find_ring(self, inode: int) -> Context | None:
        return None if inode < FIRST else self.inodes[inode].payload.context

    def rings(self) -> Iterator[tuple[str, Context]]:
        for name, inode in self.inodes.everything():
            if inode.payload.context is not None:
                yield os.fsdecode(name), inode.payload.context

    def _facts(self) -> metrics.Facts:
        counters, rings, in_flight = Counters(), 0, 0
        counters.add(self.tctx.closed)
        for _, context in self.rings():
            counters.add(context.ring.counters)
            rings += 1
            in_flight += len(context.pending)
        return metrics.Facts(
            version=__version__,
            backend=self._backend.name,
            uptime=time.monotonic() - self._begun,
            rings=rings,
            in_flight=in_flight,
            counters=counters,
            tallies=self._stats.total(),
            readers=self._tracer.readers(),
            lost=self._tracer.lost(),
        )

    def _name_of(self, number: int) -> str:
        return os.fsdecode(self.inodes.name_of(number))

    async def _ended(self, tid: int) -> None:
        """A process, whatever it executes meanwhile."""
        with suppress(UringError):
            while True:
                program = self._host.caller(tid, 0, 0).program
                await program.ended()
                if program.exited():
                    return

    def facts(self) -> dict[str, int | str]:
        """What the mount is: for its directory's xattrs. uptime in seconds."""
        return {
            "version": __version__,
            "pid": os.getpid(),
            "backend": self._backend.name,
            "rings": len(self.inodes),
            "max_rings": self.max_rings,
            "uptime": int(time.monotonic() - self._begun),
        }

    # -- names

    def lookup(self, name: bytes, uid: int, gid: int) -> RingInode:
        """Counts as a kernel lookup. `new` is another inode each time. ENOENT, ENAMETOOLONG, ENOSPC, EDQUOT."""
        number = self._backend.looked_up(name)
        if number is not None:
            inode = self.inodes[number]
        else:
            inode = self.inodes.allocate(NEW_MODE, uid, gid) if name == NEW else self.inodes.find(name)
        inode.lookups += 1
        return inode

    def create(self, name: bytes, mode: int, uid: int, gid: int) -> RingInode:
        """A named ring file; counts as a lookup. mode is what open(2) or mknod(2) gave, umask applied."""
        if self.specials.find(name) is not None:
            raise UringError(errno.EEXIST)
        inode = self.inodes.create(name, mode, uid, gid)
        inode.lookups += 1
        return inode

    # -- open files

    async def prepare(self, inode: RingInode, tid: int) -> bool:
        """Before open() of a file that is there. False for the memory backend's own, which has no OpenFile.
        EACCES, EMFILE, ENFILE."""
        if self._backend.opens(tid):
            return False
        await inode.payload.attach(opening=True)
        return True

    def open(self, inode: RingInode, tid: int, flags: int = os.O_RDONLY) -> OpenFile:
        """tid, flags: of the open(2) that is answered. fh: serial << 32 | backing id, as the wire's reply needs it
        (native/wire/fusewire.c). ENOMEM, EMFILE."""
        memory = inode.payload.memory()
        access = flags & os.O_ACCMODE
        opener = self._host.opener(tid) if access != os.O_RDONLY else None
        fh = (next(self._serials) & 0x7FFFFFFF) << 32 | memory.backing_id
        file = OpenFile(fh, inode, access, opener, said=self._reach.refused)
        self._open[file.fh] = file
        inode.opens += 1
        return file

    def opened(self, fh: int) -> OpenFile:
        """EBADF; ENOTCONN when it is unmounted: a message may have been read from the wire before."""
        if (file := self._open.get(fh)) is None:
            raise UringError(self._missing)
        return file

    def release(self, fh: int) -> None:
        file = self._open.pop(fh, None)
        if file is None:
            return
        inode = file.inode
        inode.opens -= 1
        if inode.opens == 0 and inode.names:
            inode.payload.last_close()
        elif inode.opens == 0:
            # At once, whatever lookups the kernel still caches: nobody can come back to it.
            inode.payload.close()
        self.inodes.release(inode)
        if not inode.opens:
            self._closings.set()

    async def tidy(self) -> None:
        """After rings have been closed, let go of threads that are gone and collect what is left of requests in
        cycles (errors and the frames they have come through): it may hold memory and descriptors of clients that
        are gone, and Python's own collector comes with new objects, which an idle daemon does not make. More than
        once, ever later: who has closed a ring may be slow to end, as a request of it that a thread performs."""
        pause = math.inf
        while True:
            with trio.move_on_after(pause):
                await self._closings.wait()
                await trio.sleep(TIDY)
                self._closings = trio.Event()
                pause = TIDY
            self._host.tidy()
            gc.collect()
            pause = 2 * pause if pause < LAST_TIDY else math.inf

    def close(self) -> None:
        """Unmounted."""
        self._missing = errno.ENOTCONN
        self._backend.close()
        self._open.clear()
        self.inodes.clear()

    # -- reading

    def read(self, fh: int, offset: int, size: int) -> bytes:
        """The status text. A read at 0 takes a new snapshot, reads behind it go on in the same. EINVAL."""
        file = self.opened(fh)
        if file.flags != os.O_RDONLY and file.inode.payload.opaque:
            raise UringError(errno.EINVAL, "an io_uring descriptor cannot be read")
        if offset == 0:
            file.snapshot = status.show(file.inode.payload)
        return file.snapshot[offset : offset + size]

    # -- control writes

    def write(self, fh: int, data: bytes, tid: int, uid: int, gid: int) -> int | Writing:
        """One control write: what it comes to, 0 or -EINPROGRESS for an enter that goes on in wait(). What failed
        stands in `cat`. Where it has to wait, an async function that goes on with it."""
        file = self._open.get(fh)
        if file is None and fh in self.specials:
            self.specials.write(fh, data, tid, uid, gid)
            return 0
        file = file or self.opened(fh)
        caller = self._host.caller(tid, uid, gid)
        try:
            if file.inode.payload.memory().attached:
                done = self._perform(file, caller, data)
            else:
                done = partial(self._attach_and_perform, file, caller, data)
        except UringError as error:
            self._failed(file, caller, error)
            raise
        return done if isinstance(done, int) else partial(self._go_on, file, caller, done)

    async def _attach_and_perform(self, file: OpenFile, caller: Caller, data: bytes) -> int:
        await file.inode.payload.attach()
        done = self._perform(file, caller, data)
        return done if isinstance(done, int) else await done()

    async def _go_on(self, file: OpenFile, caller: Caller, writing: Writing) -> int:
        try:
            return await writing()
        except UringError as error:
            self._failed(file, caller, error)
            raise
        except trio.Cancelled:
            file.inode.payload.message = "error EINTR: interrupted by a signal"
            raise

    def _failed(self, file: OpenFile, caller: Caller, error: UringError) -> None:
        if error.errno in (errno.EPERM, errno.EACCES):
            self._reach.explain(error, caller)
        file.inode.payload.message = f"error {error}"
        log.debug("control write of thread %d on inode %d: %s", caller.tid, file.inode.number, error)

    def _perform(self, file: OpenFile, caller: Caller, data: bytes) -> int | Writing:
        if not data:
            return 0
        file.admit(caller)
        file.inode.payload.look()
        if control.is_text(data):
            return partial(self._text, file, caller, data)
        if file.flags == os.O_WRONLY:  # a client maps what it opens: this is a log, or a copy
            file.admit_owner(caller, "a binary message to what is open for writing only")
        return self._message(file, caller, control.decode(data))

    async def _text(self, file: OpenFile, caller: Caller, data: bytes) -> int:
        for command in text.parse(data):
            if text.acts(command):
                file.admit_owner(caller, "a text command that names a path or executes requests")
            if isinstance(command, FaultCommand):
                file.inode.payload.message = self._fault(file, caller, command)
            else:
                await file.inode.payload.command(caller, command)
        return 0

    def _fault(self, file: OpenFile, caller: Caller, command: FaultCommand) -> str:
        """A text command about faults, of the ring that it is written to. EACCES unless the writer owns it, or is
        root."""
        if caller.uid:
            file.admit_owner(caller, "to inject faults")
        who = RuleGiver(caller.uid, self._host.opener(caller.tid))
        return faultcontrol.perform(self.faults, self._kernels, command, who, file.inode.number)

    def _message(self, file: OpenFile, caller: Caller, message: control.Message) -> int | Writing:
        ring_file = file.inode.payload
        match message:
            case abi.Setup():
                caller.memory.write(message.result, RESULT.pack(0))
                caller.can = message.can
                index = ring_file.setup(caller, message.entries, message.params)
                ring_file.opaque = bool(message.can & abi.URINGFS_SETUP_OPAQUE)
                caller.memory.write(message.result, RESULT.pack(index))
            case abi.Enter():
                return self._enter(file, caller, message)
            case abi.Register():
                registered = ring_file.register(caller, message)
                if not isinstance(registered, int):
                    return partial(self._later, caller, message.result, registered)
                caller.memory.write(message.result, RESULT.pack(registered))
            case abi.Fetch():
                return partial(self._later, caller, message.result, partial(ring_file.fetch, caller, message))
            case abi.Supervise():
                caller.memory.write(message.result, bytes(8))
                self._supervision.begin(caller, message.listener, message.trace)
            case abi.Agent() | abi.LaneWake():
                caller.memory.write(message.result, bytes(8))
                ring_file.take(caller, message)
            case abi.LaneAttach() | abi.LanePoll():
                if caller.uid != file.inode.uid:
                    raise UringError(errno.EOPNOTSUPP, "the lane is for the ring's owner alone")
                return partial(self._later, caller, message.result, partial(ring_file.lane, caller, message))
        return 0

    async def _later(self, caller: Caller, result: int, call: Callable[[], Awaitable[int]]) -> int:
        caller.memory.write(result, RESULT.pack(await call()))
        return 0

    def _enter(self, file: OpenFile, caller: Caller, message: abi.Enter) -> int | Writing:
        caller.can = message.can
        asks = message.to_submit or message.min_complete or message.flags
        if message.can & abi.URINGFS_ENTER_KICK and not asks:
            caller.memory.write(message.result, RESULT.pack(0))
            return 0
        entered = file.inode.payload.enter(caller, message)
        if isinstance(entered, Entered):
            return self._entered(file, caller, message, entered)
        return partial(self._enter_on, file, caller, message, entered)

    async def _enter_on(self, file: OpenFile, caller: Caller, message: abi.Enter, entering: Entering) -> int:
        return self._entered(file, caller, message, await entering())

    def _entered(self, file: OpenFile, caller: Caller, message: abi.Enter, entered: Entered) -> int:
        """Answer an enter: its result is stored, now or by wait()."""
        if entered.wait is None:
            result = entered.result | file.inode.payload.fetch_bits(caller)
            caller.memory.write(message.result, RESULT.pack(result))
            return 0
        if message.can & abi.URINGFS_ENTER_MASK and entered.wait.sigmask:
            caller.memory.write(message.result + RESULT.size, entered.wait.sigmask)
        file.waits[caller.tid] = EnterInProgress(message, entered.result, entered.wait, caller.program)
        return -errno.EINPROGRESS

    def wait(self, fh: int, tid: int, uid: int, gid: int) -> Polled:
        """The poll(2) by which an enter of that thread waits. EINVAL: there is none."""
        file = self.opened(fh)
        caller = self._host.caller(tid, uid, gid)
        waiting = file.waits.pop(tid, None)
        if waiting is None or waiting.program is not caller.program:
            raise UringError(errno.EINVAL, "no enter of this thread is waiting")
        caller.can = waiting.message.can
        return Polled(file.inode.payload, caller, waiting, file.waits)

    def fetchable(self, fh: int) -> bool:
        """There are descriptors for somebody to fetch."""
        context = self.opened(fh).inode.payload.context
        return context is not None and context.deliveries.any_ready()

    def ring(self, fh: int) -> Ring | None:
        """The ring of an open file, if it has been set up."""
        context = self.opened(fh).inode.payload.context
        return context.ring if context is not None else None


__all__ = ["ROOT", "OpenFile", "RingFs", "RingInode"]
