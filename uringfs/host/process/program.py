"""The program that a thread executes: what a request is tied to from its submission to its end.

The kernel cancels what a task has submitted before it executes another program (io_uring_task_cancel(), called
by begin_new_exec()), so no request ever meets the next program's descriptors or memory. Here a request may be
looked after later than the call that submitted it. Whatever is then looked up by a thread's id, its descriptors
first of all, is looked up and *then* checked: Program.same() says whether it can only have been of the same
program.

Neither memory nor ids tell: a vfork(2) or CLONE_VM sibling keeps the old memory, exec keeps the ids, and ids are
used again. Two things do. A perf event that the kernel takes off the thread when it executes another program
(native.ExecWatch), exact and 0.3 us a look. Where that is refused (it takes CAP_PERFMON or perf_event_paranoid
<= 2), what exec(2) makes anew: the layout of the memory, random for every program that has more rights than its
caller (setup_arg_pages(); a set-user-ID program loses ADDR_NO_RANDOMIZE), and the executable.
"""

import errno
import logging
import os
import signal
from collections import OrderedDict
from collections.abc import Hashable, Sequence
from contextlib import suppress
from typing import NamedTuple
from weakref import WeakValueDictionary

import trio

from uringfs import native
from uringfs.errors import UringError
from uringfs.host.identity.credentials import Credentials
from uringfs.host.process.memory import PinnedMemory
from uringfs.host.protocols import Iovec

log = logging.getLogger(__name__)

PIDFD_THREAD = os.O_EXCL
PF_EXITING = 0x4
MOST = 64
LOOK = 0.1
"""Seconds between two looks for an exec that nothing announces."""
REFUSED = (errno.EPERM, errno.EACCES, errno.ENOSYS, errno.EOPNOTSUPP, errno.ENOENT, errno.EINVAL)


class Image(NamedTuple):
    """What exec(2) makes anew, for all threads of a process and the children it forks."""

    executable: tuple[int, int]
    """The executable's st_dev and st_ino."""
    layout: tuple[bytes, ...]
    """startcode, endcode, startstack, start_data .. env_end of proc(5), /proc/PID/stat."""

    @classmethod
    def of(cls, tid: int) -> "Image":
        """The image of a thread now. ESRCH."""
        try:
            fields = _stat(tid)
            return cls(_executable(tid), (*fields[23:26], *fields[42:49]))
        except OSError as error:
            raise UringError(errno.ESRCH, f"thread {tid} is gone") from error


def _executable(tid: int) -> tuple[int, int]:
    """Without asking the file system that it is on, which may be one that nobody answers for."""
    fd = os.open(f"/proc/{tid}/exe", os.O_PATH | os.O_CLOEXEC)
    try:
        return native.fd_identity(fd)[:2]
    finally:
        os.close(fd)


def _stat(tid: int) -> list[bytes]:
    """The fields of /proc/TID/stat from the third on: a name may hold blanks and brackets."""
    with open(f"/proc/{tid}/stat", "rb", 0) as file:
        return file.read(4096).rpartition(b")")[2].split()


def thread_group(tid: int) -> int:
    """The process of a thread (proc(5), Tgid). OSError or StopIteration once it is gone."""
    with open(f"/proc/{tid}/status") as status:
        return next(int(line.split()[1]) for line in status if line.startswith("Tgid:"))


def _pidfd(tid: int) -> tuple[int, bool]:
    """(pidfd, it is one of the thread): before Linux 6.9 there are only those of processes."""
    try:
        return native.pidfd_open(tid, PIDFD_THREAD), True
    except OSError as error:
        if error.errno != errno.EINVAL:
            raise
    return native.pidfd_open(thread_group(tid), 0), False


def _watch(tid: int) -> native.ExecWatch | None:
    try:
        return native.ExecWatch(tid)
    except OSError as error:
        if error.errno not in REFUSED:
            raise
        return None


class LocalProgram:
    """One thread, as the program that it executes while this is made: it must be in a call that we answer.

    Holds descriptors until nothing refers to it. OSError or StopIteration: the thread is gone, or there are no
    descriptors left.
    """

    def __init__(self, tid: int) -> None:
        self.tid = tid
        self._fd = -1
        self._fd, self.of_thread = _pidfd(tid)
        self._watch = _watch(tid)
        self._group = 0
        self._image: Image | None = None if self._watch is not None else Image.of(tid)
        self._memory: PinnedMemory | None = None
        self._process: Hashable = None
        self.credentials: Credentials | None = None
        """The credentials that were read of it last."""

    def same(self) -> bool:
        """The thread lives, and has executed nothing else since. False for ever once it was."""
        if self._watch is not None:
            return not self._watch.ended()
        if not self.lives():
            return False
        with suppress(UringError):
            return Image.of(self.tid) == self._image
        return False

    def fileno(self) -> int:
        """The program's pidfd."""
        return self._fd

    def lives(self) -> bool:
        """The thread's id is its own still; of a kernel before 6.9: its process's."""
        try:
            signal.pidfd_send_signal(self._fd, 0)
        except ProcessLookupError:
            return False
        return True

    def exited(self) -> bool:
        """The thread is gone, or on its way: do_exit() takes the event off it before exit_notify() is called."""
        with suppress(OSError, IndexError):
            return bool(int(_stat(self.tid)[6]) & PF_EXITING) or not self.lives()
        return True

    async def ended(self) -> None:
        """Wait until it is not same() any more. Cancellable."""
        fd = os.dup(self._fd if self._watch is None else self._watch.fileno())  # trio: one task a descriptor
        try:
            if self._watch is not None:
                await trio.lowlevel.wait_readable(fd)
            while self.same():
                with trio.move_on_after(LOOK):
                    await trio.lowlevel.wait_readable(fd)
        finally:
            os.close(fd)

    @property
    def group(self) -> int:
        """The thread's process: asked while it lives, it is known for good. OSError or StopIteration."""
        if not self._group:
            self._group = thread_group(self.tid)
        return self._group

    @property
    def image(self) -> Image:
        """ESRCH"""
        if self._image is None:
            self._image = Image.of(self.tid)
        return self._image

    @property
    def process(self) -> Hashable:
        """A key that is the same for all threads of one process as long as they execute this program, and for
        nothing else."""
        if self._process is None:
            self._process = self.group, _stat(self.group)[19], self.image  # with its start time
        return self._process

    @property
    def memory(self) -> PinnedMemory:
        """The program's address space, whatever becomes of the thread. ESRCH."""
        if self._memory is None:
            self._memory = PinnedMemory(self.tid)
        return self._memory

    def getfd(self, fd: int) -> int:
        """pidfd_getfd(2): a duplicate of the thread's descriptor. EBADF, ESRCH. To be checked by same() where the
        thread is not known to be in a call that we answer."""
        return native.pidfd_getfd(self._fd, fd)

    def signal(self, number: int) -> None:
        """pidfd_send_signal(2). ESRCH."""
        signal.pidfd_send_signal(self._fd, number)

    def __del__(self) -> None:
        if self._fd >= 0:
            os.close(self._fd)


class ProgramMemory:
    """The memory of one program's thread, for use after the call that was answered: base.Memory."""

    def __init__(self, program: LocalProgram) -> None:
        memory = program.memory
        self._program = program
        self._space = memory
        self.read, self.write = memory.read, memory.write
        self.gather, self.scatter = memory.gather, memory.scatter

    def writable(self, iovecs: Sequence[Iovec]) -> int:
        """Nothing of a stream may be read for a thread that is gone: it would be lost."""
        return self._space.writable(iovecs) if self._program.same() else 0

    def gone(self) -> bool:
        return self._space.gone() or not self._program.same()


class Programs:
    """By thread. There is one object for one thread and program as long as anybody refers to it, so they may be
    compared by `is`. The newest are kept, for making one costs more than using it. Raises OSError: ESRCH,
    EMFILE."""

    def __init__(self) -> None:
        self._known: WeakValueDictionary[int, LocalProgram] = WeakValueDictionary()
        self._kept: OrderedDict[int, LocalProgram] = OrderedDict()

    def of(self, tid: int) -> LocalProgram:
        """The program of a thread that is in a call which we answer."""
        known = self._known.get(tid)
        if known is not None and known.same():
            return known
        opened = self._known[tid] = self._kept[tid] = LocalProgram(tid)
        self._kept.move_to_end(tid)
        if len(self._kept) > MOST:
            self._kept.popitem(last=False)
        return opened

    def tidy(self) -> None:
        """Let go of those that are over."""
        for tid in [tid for tid, kept in self._kept.items() if not kept.same()]:
            del self._kept[tid]
