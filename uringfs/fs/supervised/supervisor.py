"""Programs as they are, by seccomp user notification (docs/run.md): the daemon answers io_uring_setup,
io_uring_enter and io_uring_register for the thread that made the call, as if it had been a control write.

A filter with SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV leaves signals to us: nobody announces them, so they are
looked for. Without it the kernel ends the call, and nobody announces that either; after a handler with
SA_RESTART the thread makes the same call again.
"""

import errno
import logging
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import partial

import trio

from uringfs.abi.constants import (
    IORING_ENTER_REGISTERED_RING,
    IORING_REGISTER_USE_REGISTERED_RING,
    IORING_SETUP_NO_MMAP,
)
from uringfs.abi.control import URINGFS_ENTER_FETCHES
from uringfs.abi.machine import MACHINE
from uringfs.abi.numbers import U32, s32
from uringfs.abi.seccomp import (
    AUDIT_ARCH,
    NR_IO_URING_ENTER,
    NR_IO_URING_REGISTER,
    NR_IO_URING_SETUP,
    PROBE_ANSWER,
    PROBE_ARG,
)
from uringfs.engine.context import SUPPORTED_ENTER_FLAGS, Context
from uringfs.engine.entering import Entered
from uringfs.engine.tctx import TaskContexts
from uringfs.engine.wait import CqWait
from uringfs.errors import UringError
from uringfs.fs.inodes import ROOT, Inode
from uringfs.fs.interrupts import Interrupts
from uringfs.fs.ringfile import RingFile, read_params
from uringfs.fs.supervised.placing import Placing
from uringfs.host.protocols import Caller, File, Host, Listener, Notification, Program
from uringfs.host.status import ThreadStatus
from uringfs.register.ringfds import registered_ring
from uringfs.register.table import check_opcode, register, register_blind

log = logging.getLogger(__name__)

MOST_OF_A_USER = 1024
"""Listeners: each costs a thread."""
LOOK = 0.01
"""Seconds between looks for signals to waiting threads."""
RESTARTS = 1.0
"""Seconds within which a call after an interrupted one may be its restart."""
_NATIVE = AUDIT_ARCH.get(MACHINE, 0)
_NAMES = {NR_IO_URING_SETUP: "setup", NR_IO_URING_ENTER: "enter", NR_IO_URING_REGISTER: "register"}

FindInode = Callable[[int], Inode[RingFile]]


class Supervision:
    """All listeners of a mount."""

    def __init__(self, host: Host, nursery: trio.Nursery, tctx: TaskContexts, find_inode: FindInode) -> None:
        self._host = host
        self._nursery = nursery
        self._tctx = tctx
        self._find_inode = find_inode
        self._of_user: Counter[int] = Counter()

    def begin(self, caller: Caller, fd: int, trace: int) -> None:
        """URINGFS_CMD_SUPERVISE: fd is the caller's listener, trace its descriptor for a line a call, or -1.
        EBADF, EINVAL, EAGAIN."""
        if self._of_user[caller.uid] >= MOST_OF_A_USER:
            raise UringError(errno.EAGAIN, f"user {caller.uid} has {MOST_OF_A_USER} programs supervised")
        output = caller.file(trace) if trace >= 0 else None
        try:
            listener = caller.listener(fd)
        except Exception:
            if output is not None:
                output.close()
            raise
        supervisor = Supervisor(self._host, self._tctx, self._find_inode, listener, caller.detached(), output)
        self._of_user[caller.uid] += 1
        self._nursery.start_soon(self._serve, supervisor, caller.uid)

    async def _serve(self, supervisor: "Supervisor", uid: int) -> None:
        try:
            await supervisor.run()
        except Exception:
            log.exception("a supervisor failed: io_uring is not there any more for its programs (ENOSYS)")
        finally:
            self._of_user[uid] -= 1


@dataclass(slots=True, eq=False)
class AnsweredEnter:
    """One io_uring_enter that is being answered."""

    call: Notification
    context: Context
    program: Program
    """That has made it."""
    submitted: int = 0
    wait: CqWait | None = None
    ended: float = 0.0
    """When it was noticed that the kernel has ended it."""
    tail: int = 0
    """The SQ's, then."""
    result: int = 0
    """What the wait came to."""

    def interrupted(self) -> int:
        return self.submitted or (self.wait.interrupted() if self.wait is not None else -errno.EINTR)

    def end(self) -> None:
        self.ended = trio.current_time()
        self.tail = self.context.ring.sq.words()[1]

    def again(self, call: Notification, program: Program) -> bool:
        """That call, on the same ring, is this one restarted: not one that finds new requests."""
        return (
            call[2:] == self.call[2:]
            and program is self.program
            and self.wait is not None
            and self.context.ring.sq.words()[1] == self.tail
            and trio.current_time() - self.ended < RESTARTS
        )


class Supervisor:
    """One listener, whose processes may be many."""

    def __init__(
        self,
        host: Host,
        tctx: TaskContexts,
        find_inode: FindInode,
        listener: Listener,
        owner: Caller,
        trace: File | None,
    ) -> None:
        """owner: who has handed the listener over. trace: is written to in its name."""
        self._host = host
        self._tctx = tctx
        self._find_inode = find_inode
        self._listener = listener
        self._owner = owner
        self._trace = trace
        self._interrupts = Interrupts()
        self._enters: dict[int, AnsweredEnter] = {}
        """By thread."""
        self._ended: dict[int, AnsweredEnter] = {}
        """By thread: those that the kernel has ended."""
        self._watching = trio.CancelScope()
        self._some = trio.Event()
        self._placing = Placing(host, listener)

    async def run(self) -> None:
        """Until no thread is left under the filter."""
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._watch)
                await self._listener.each(lambda call: nursery.start_soon(self._serve, call))
                # Not by the nursery's scope: tracebacks of what it cancels keep memory of the dead for long.
                self._watching.cancel()
                for enter in self._enters.values():
                    self._interrupts.interrupt(enter.call.id)
        finally:
            self._listener.close()
            if self._trace is not None:
                self._trace.close()

    async def _serve(self, call: Notification) -> None:
        if not self._listener.valid(call.id):  # else that number may be another thread's by now
            return
        if call.nr == NR_IO_URING_ENTER and call.args[5] == PROBE_ARG:
            self._listener.answer(call.id, PROBE_ANSWER)
            return
        before = self._enters.pop(call.tid, None)
        if before is not None:  # a thread makes one call at a time
            self._end(before)
        try:
            result = await self._result(call)
        except UringError as error:
            log.debug("%s of thread %d: %s", _NAMES.get(call.nr, call.nr), call.tid, error)
            result = -error.errno
        except Exception:
            log.exception("system call %d failed in the daemon; thread %d gets EIO", call.nr, call.tid)
            result = -errno.EIO
        if self._trace is not None:
            # In threads of its own: who reads the trace slowly holds up no other client.
            line = trace_line(call, result)
            with suppress(UringError):  # nobody reads it
                await self._trace.write(lambda: line, -1, 0, self._owner)
        if call.nr != NR_IO_URING_SETUP or result < 0 or self._trace is not None:
            self._listener.answer(call.id, result)

    async def _result(self, call: Notification) -> int:
        caller = self._host.supervised(call.tid, partial(self._listener.valid, call.id))
        caller.can = URINGFS_ENTER_FETCHES
        ended = self._ended.pop(call.tid, None)
        if call.arch == _NATIVE:
            if call.nr == NR_IO_URING_ENTER:
                return await self._enter(call, caller, ended)
            if call.nr == NR_IO_URING_REGISTER:
                return self._register(call, caller)
            if call.nr == NR_IO_URING_SETUP:
                return await self._setup(call, caller)
        raise UringError(errno.ENOSYS, f"system call {call.nr} of architecture {call.arch:#x}")

    # -- the three calls

    async def _setup(self, call: Notification, caller: Caller) -> int:
        """The descriptor is a ring file, put into the thread's table together with the answer."""
        entries, params, *_ = call.args
        if read_params(caller, params).flags & IORING_SETUP_NO_MMAP:
            raise UringError(errno.EINVAL, "only the program itself could map a ring over its memory")
        file = await self._host.open_ring()
        try:
            inode = self._find_inode(file.inode)
            inode.uid, inode.gid = caller.uid, caller.gid
            await inode.payload.attach()
            inode.payload.setup(caller, entries & U32, params)
            if inode.payload.context is not None:
                inode.payload.context.deliveries.supervised = True
            inode.payload.opaque = inode.payload.answered = True
            answers = self._trace is None  # else once it has been traced
            return await self._listener.install(call.id, file.fileno(), cloexec=True, answers=answers)
        finally:
            file.close()

    def _register(self, call: Notification, caller: Caller) -> int:
        fd, opcode, arg, nr_args, *_ = call.args
        fd, opcode, nr_args = fd & U32, opcode & U32, nr_args & U32
        registered = bool(opcode & IORING_REGISTER_USE_REGISTERED_RING)
        kernel = self._tctx.kernel_of(caller)
        check_opcode(opcode & ~IORING_REGISTER_USE_REGISTERED_RING, kernel)
        if fd == U32 and not registered:
            return register_blind(self._context_of, caller, opcode, arg, nr_args, kernel)
        with self._ring(caller, fd, registered) as context:
            return register(context, caller, opcode, arg, nr_args)

    async def _enter(self, call: Notification, caller: Caller, ended: AnsweredEnter | None) -> int:
        flags = call.args[3] & U32
        if flags & ~SUPPORTED_ENTER_FLAGS:
            raise UringError(errno.EINVAL, f"enter flags {flags & ~SUPPORTED_ENTER_FLAGS:#x} are not supported")
        with self._ring(caller, call.args[0] & U32, bool(flags & IORING_ENTER_REGISTERED_RING)) as context:
            if ended is not None and ended.context is context and ended.again(call, caller.program):
                return ended.interrupted()
            enter = self._enters[call.tid] = AnsweredEnter(call, context, caller.program)
            self._some.set()
            try:
                entered: Entered | None = await self._begin(enter, caller)
                if entered is not None:
                    enter.submitted, enter.wait = entered
                    if enter.wait is None and not context.deliveries.any():
                        return enter.submitted
                    if await self._interrupts.during(call.id, partial(self._finish, enter, caller)):
                        return enter.submitted or enter.result
                return enter.interrupted()
            finally:
                if self._enters.get(call.tid) is enter:
                    del self._enters[call.tid]

    async def _begin(self, enter: AnsweredEnter, caller: Caller) -> Entered | None:
        """All that comes before its wait. None: interrupted."""
        _, to_submit, min_complete, flags, arg, argsz = enter.call.args
        entered = enter.context.enter(caller, to_submit & U32, min_complete & U32, flags & U32, arg, argsz)
        if isinstance(entered, Entered):
            return entered
        return await self._interrupts.during(enter.call.id, entered)

    async def _finish(self, enter: AnsweredEnter, caller: Caller) -> bool:
        """Wait, if it has to, and put descriptors where its requests, or earlier ones, want them: True then."""
        wait = enter.wait
        while wait is not None:
            with enter.context.deliveries.interrupts(caller.process, wait.interrupt_to_fetch):
                enter.result = await wait.run()
            if not wait.interrupted_to_fetch:
                return True
            await self._placing.deliver(enter.call, enter.context.deliveries, caller)
            wait.resume()
        await self._placing.deliver(enter.call, enter.context.deliveries, caller)
        return True

    # -- which ring

    def _context_of(self, file: File) -> Context | None:
        return self._find_inode(file.inode).payload.context if file.inode not in (0, ROOT) else None

    def _registered(self, program: Program, index: int) -> File | None:
        if not self._tctx.begun(program):
            raise self._tctx.no_index(program)
        return registered_ring(self._tctx.registered_rings(program), index).file

    @contextmanager
    def _ring(self, caller: Caller, fd: int, registered: bool) -> Iterator[Context]:
        """io_uring_ctx_get_file(): its descriptor is held meanwhile. EINVAL, EBADF, EOPNOTSUPP, EBADFD."""
        file = self._registered(caller.program, fd) if registered else None
        if file is not None:
            file.hold()
        else:
            file = caller.file(s32(fd))
        try:
            if file.inode in (0, ROOT):
                raise UringError(errno.EOPNOTSUPP, "not a ring of this mount")
            context = self._context_of(file)
            if context is None:
                raise UringError(errno.EBADFD, "this ring has not been set up")
            yield context
        finally:
            file.close()

    # -- signals

    def _end(self, enter: AnsweredEnter) -> None:
        """The kernel has ended it: killed, or interrupted."""
        enter.end()
        self._ended[enter.call.tid] = enter
        self._interrupts.interrupt(enter.call.id)

    async def _watch(self) -> None:
        with self._watching:
            while True:
                if not self._enters and not self._ended:
                    self._some = trio.Event()
                    await self._some.wait()
                await trio.sleep(LOOK)
                self._look()

    def _look(self) -> None:
        groups: set[int] = set()
        for enter in tuple(self._enters.values()):
            if not self._listener.valid(enter.call.id):
                self._end(enter)
            elif self._signalled(enter, groups):
                self._interrupts.interrupt(enter.call.id)
        oldest = trio.current_time() - RESTARTS
        self._ended = {tid: enter for tid, enter in self._ended.items() if enter.ended > oldest}

    def _signalled(self, enter: AnsweredEnter, groups: set[int]) -> bool:
        """complete_signal(): a signal to the process wakes one thread, the main one if it takes it. groups: those
        of which a thread has been woken."""
        try:
            status = self._host.status(enter.call.tid)
            taken = self._taken(enter.call.tid, status)
            if status.pending & taken:
                return True
            shared = status.shared & taken
            if shared and status.group != enter.call.tid:
                main = self._host.status(status.group)
                shared &= 0 if main.ended else ~self._taken(status.group, main)
        except UringError:  # gone
            return False
        if not shared or status.group in groups:
            return False
        groups.add(status.group)
        return True

    def _taken(self, tid: int, status: ThreadStatus) -> int:
        """The signals that would interrupt the thread now."""
        enter = self._enters.get(tid)
        mask = enter.wait.sigmask if enter is not None and enter.wait is not None else b""
        return ~(int.from_bytes(mask, "little") if mask else status.blocked) & ~status.ignored


def trace_line(call: Notification, result: int) -> bytes:
    """The line of `uringfs run --trace` for a call; contrib/launcher/line.h has it for --mode trap."""
    first, second, third, fourth, fifth, sixth = call.args
    number = s32(first)
    words = f"{number}, {second:#x}"
    if call.nr == NR_IO_URING_ENTER:
        words = f"{number}, {second & U32}, {third & U32}, {fourth & U32:#x}, {fifth:#x}, {sixth}"
    elif call.nr == NR_IO_URING_REGISTER:
        words = f"{number}, {second & U32}, {third:#x}, {fourth & U32}"
    return f"[{call.tid}] io_uring_{_NAMES.get(call.nr, '?')}({words}) = {result}\n".encode()
