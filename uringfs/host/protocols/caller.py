"""A caller, and what is reached through it: its open files, its identity, its program. One knows the other, so
they stand together."""

from collections.abc import Callable, Hashable, Sequence
from contextlib import AbstractContextManager
from typing import NamedTuple, Protocol

from uringfs.errors import UringError
from uringfs.host.protocols.memory import Data, Iovec, Memory
from uringfs.host.protocols.messages import Channel, Notification

INFINITY = 1 << 63


class Name(bytes):
    """A path to be looked up, as an argument of Actor.call()."""


class Out(NamedTuple):
    """Room for a system call to write to, as an argument of Actor.call()."""

    size: int


class Actor(Protocol):
    """A caller's identity, as it was when taken: ids, groups, capabilities, umask, root, working directory,
    mount and user namespaces."""

    async def call(self, name: str, *args: "int | bytes | File | Out") -> tuple[int, bytes]:
        """A path system call, with that identity: its result and what it wrote to Out. The descriptor of
        an openat or openat2 is ours (Host.adopt()). bytes end where a NUL does. Cancellable: an open is
        ended, of others the result is awaited for a moment."""


class Fault(NamedTuple):
    """The end of a write whose memory could not be read."""

    written: int
    """Bytes that have been all the same: they are the result, if there are any."""
    error: UringError


class File(Protocol):
    """One open file description of the caller, held until close(). offset -1: the current position."""

    nonblock: bool
    """O_NONBLOCK is set and the file cannot be tried without blocking: would-block is a result."""
    nowait: bool
    """try_read() works; False once the file has said that it knows no RWF_NOWAIT."""

    @property
    def streaming(self) -> bool:
        """No position of its own (pipe, socket, tty): data read is gone, an offset is ignored."""

    @property
    def identity(self) -> Hashable:
        """A key of the file itself: the same for all that have it open."""

    refused: int
    """The errno of any read or write of it (a file of our own mount); 0 for none."""
    regular: bool
    """A file, block device or directory: epoll knows nothing of it, and its disk may be slow."""
    pipe: bool
    direct: bool
    """O_DIRECT is set: transfers take the caller's iovecs, for the alignment of its memory counts."""

    def try_read(self, size: int, offset: int, flags: int, caller: "Caller", iovecs: Sequence[Iovec] = ()) -> Data:
        """preadv2(2) with RWF_NOWAIT, with the caller's rights; EAGAIN when it would block. b'' at the end of the
        file."""

    async def read(
        self, size: int, offset: int, flags: int, caller: "Caller", iovecs: Sequence[Iovec] = ()
    ) -> Data:
        """preadv2(2) with the caller's rights, waiting as long as it takes. Cancellable."""

    def try_write(
        self, data: Data, offset: int, flags: int, caller: "Caller", iovecs: Sequence[Iovec] = ()
    ) -> int:
        """pwritev2(2) with RWF_NOWAIT, with the caller's rights and, to a Unix socket, in its name; EAGAIN when it
        would block."""

    def appends(self) -> bool:
        """True if O_APPEND is set now."""

    def synced(self) -> bool:
        """True if O_DSYNC or O_SYNC is set now."""

    def on_disk(self) -> bool:
        """True for a regular file of a file system that is known to have only data in its files: not of a procfs,
        a sysfs, a cgroup, nor of what another process answers for."""

    def timed(self) -> bool:
        """True for a timerfd: it becomes ready because time passes."""

    def signalfd(self) -> bool:
        """True for a signalfd: readiness and data are those of who asks."""

    @property
    def can_poll(self) -> bool:
        """file_can_poll()"""

    def knows_nowait(self) -> bool:
        """FMODE_NOWAIT: without it RWF_NOWAIT is EOPNOTSUPP (kiocb_set_rw_flags())."""

    def bytestream(self) -> bool:
        """A pipe or stream socket: data that cannot be stored stays in it, EPIPE comes with a signal. A message
        or an eventfd's number is gone then (unix_dgram_recvmsg(), eventfd_read())."""

    def discards(self) -> bool:
        """What is written to it is not even looked at (write_null())."""

    def takes(self, count: int) -> int:
        """How much of the first count bytes of a write it takes where the memory behind them cannot be read."""

    def write_fault(
        self, iovecs: Sequence[Iovec], offset: int, flags: int, caller: "Caller", readable: Data = b""
    ) -> "Fault":
        """What comes of a write from memory that cannot be read, but for so much at its beginning that the file
        does not take(): EFAULT, or what it checks before, EAGAIN too. May leave what a file system leaves. A
        regular file may block, unless the flags have RWF_NOWAIT."""

    async def write(
        self,
        source: Callable[[], Data],
        offset: int,
        flags: int,
        caller: "Caller",
        iovecs: Sequence[Iovec] = (),
    ) -> int:
        """pwritev2(2) in a thread, where source() provides the data, with the caller's rights and within its
        RLIMIT_FSIZE: EFBIG. What has begun is not cancelled where it cannot be interrupted."""

    async def call(self, system_call: Callable[[int], int], caller: "Caller") -> int:
        """A system call on the descriptor in a thread, with the caller's rights over files. Not cancelled
        once begun."""

    def available(self) -> int:
        """Bytes that can be read now, where the file says so (FIONREAD), else 0."""

    def ready(self) -> bool:
        """A read would not block now."""

    async def wait(self) -> None:
        """Wait until a read would not block, without reading. Cancellable."""

    def writable(self) -> bool:
        """A write would not block now."""

    async def wait_writable(self) -> None:
        """Wait until a write would not block. Cancellable."""

    async def unread(self, count: int) -> None:
        """Move the current position back by count bytes: they could not be delivered."""

    def name(self) -> str:
        """The file's path, or what the kernel shows instead of one."""

    def readable_mode(self) -> bool:
        """FMODE_READ: the description was opened for reading."""

    def writable_mode(self) -> bool:
        """FMODE_WRITE"""

    def nonblocking(self) -> bool:
        """O_NONBLOCK is set."""

    inode: int
    """The inode number of a file of our own mount; 0 for every other file."""

    def fileno(self) -> int:
        """Our descriptor of it."""

    def same(self, other: "File") -> bool:
        """Both are handles on the same open file description."""

    def hold(self) -> None:
        """Count one more user: as many close() calls are needed. A file starts with one."""

    def close(self) -> None: ...


class EventFd(Protocol):
    def signal(self) -> None:
        """eventfd_signal(): add 1, or stay at the end. Never blocks."""

    def same(self, file: File) -> bool:
        """True if both are the same open file."""

    def close(self) -> None: ...


class Listener(Protocol):
    async def each(self, fire: Callable[[Notification], None]) -> None:
        """Call fire from the loop for every system call, until no thread is left under the filter."""

    def valid(self, number: int) -> bool:
        """The thread still waits for this answer: it was not killed, and no signal has ended its call."""

    def answer(self, number: int, result: int) -> None:
        """The call's result, or -errno. A thread that no longer waits for it gets none."""

    async def install(
        self, number: int, fd: int, *, cloexec: bool, at: int | None = None, answers: bool = False
    ) -> int:
        """Put ours into the thread's table: its number there, the lowest free one or `at`, or -errno; ENOENT
        if it no longer waits, EOPNOTSUPP for O_PATH. answers: that number is the call's result. Not cancelled
        once begun."""

    def blank(self) -> int:
        """A descriptor of ours that can be neither read nor written."""

    def is_blank(self, file: File) -> bool: ...

    def close(self) -> None: ...


class InCall(Protocol):
    """A caller that is blocked in its control write, for native code."""

    def process_fd(self) -> int | None:
        """Give our pidfd of the process; None: there is none for us."""

    def let_go(self, fd: int, /) -> None:
        """Close a descriptor of ours that was the caller's, whoever answers for its file system."""


class Caller(Protocol):
    """A thread in a control write, or in a system call that is answered for it. Its ids are trustworthy while
    that lasts."""

    tid: int
    memory: Memory
    can: int
    """What its process does for requests, or has done: URINGFS_ENTER_FETCHES, _WAITS, _ADVISES, _READS."""

    @property
    def uid(self) -> int: ...

    @property
    def gid(self) -> int: ...

    @property
    def group(self) -> int:
        """The process it is a thread of. ESRCH."""

    def unpinnable(self) -> Sequence[tuple[int, int]]:
        """(start, end) of memory that cannot be pinned for long."""

    def in_call(self) -> InCall | None:
        """The thread while it is blocked in its control write, so that its ids and memory are its own. None: it
        may be gone."""

    def pidfd(self, fd: int) -> tuple[int, bool]:
        """The child whose pidfd that is, by its number in the caller's pid namespace (0: no child of the
        caller's), and whether O_NONBLOCK is set. EBADF if it is no pidfd."""

    def actor(self) -> Actor:
        """The caller's identity, to be taken while it is blocked in its control write. ESRCH."""

    def send_descriptors(self, sock: int, fds: Sequence[int]) -> None:
        """SCM_RIGHTS over its own socketpair, which another process must not hold the end of. EBADF, EPERM,
        EINVAL for any other socket."""

    def channel(self, sock: int) -> Channel:
        """One end of a socketpair(2) of the caller's, to talk with the process at the other. EBADF; EPERM or
        EINVAL for any other socket."""

    def file(self, fd: int) -> File:
        """The file behind the caller's descriptor. EBADF."""

    @property
    def program(self) -> "Program":
        """What the thread executes. ESRCH."""

    @property
    def process(self) -> Hashable:
        """A key of the process it is a thread of: the same for all threads of the process while they execute this
        program. ESRCH."""

    @property
    def space(self) -> Memory:
        """The caller's address space, though the thread may end and others of its process live on. ESRCH."""

    def detached(self) -> "Caller":
        """The caller for use after the control write has been answered, tied to its program: credentials are
        those of now, memory is that of this address space (EFAULT once it is gone), descriptors are those of the
        thread as long as it executes the program (ECANCELED after that). Holds descriptors of ours until nothing
        refers to it. ESRCH."""

    def eventfd(self, fd: int) -> EventFd:
        """A duplicate of the caller's eventfd. EBADF; EINVAL if it is something else."""

    def listener(self, fd: int) -> "Listener":
        """A duplicate of the caller's seccomp listener. EBADF; EINVAL if it is something else."""

    def credentials(self) -> object:
        """What paths are looked up and files opened with: its own now, or those it was given."""

    def with_credentials(self, credentials: object) -> "Caller":
        """A caller like this with credentials that were registered (IORING_REGISTER_PERSONALITY)."""

    def limit_nofile(self) -> int:
        """The caller's soft RLIMIT_NOFILE."""

    def limit_fsize(self) -> int:
        """The caller's soft RLIMIT_FSIZE in bytes, or INFINITY for none. ECANCELED once it is gone."""

    def rights(self, keeping: int = 0) -> AbstractContextManager[None]:
        """Let this thread, and it alone, make system calls on open files with the caller's credentials, as they
        were when it submitted. keeping: capabilities of ours that the call takes besides. EPERM."""

    def check_ioprio(self, ioprio: int) -> None:
        """ioprio_check_cap() (block/ioprio.c), by the caller's credentials: EPERM, EINVAL."""

    @property
    def foreign(self) -> bool:
        """True if the caller is of a user namespace that is not ours."""

    def ucred(self) -> bytes:
        """struct ucred: how the far end of a Unix socket sees it. ESRCH."""

    def may_claim(self, ucred: bytes) -> bool:
        """scm_check_creds(): whether it may say that it is that one."""

    async def madvise(self, address: int, length: int, advice: int) -> int:
        """madvise(2) on its memory, as far as another process may (see host.process.advise)."""

    def signal(self, number: int) -> None:
        """A signal the kernel would send to the submitting thread."""

    def open_path(self, path: str) -> "PathOpener":
        """The opening of a file for reading with the caller's rights, root and working directory."""


class Program(Protocol):
    """A thread, as the program that it executes: see host.process.program."""

    tid: int

    def same(self) -> bool:
        """The thread lives, and has executed nothing else since. False for ever once it was."""

    def lives(self) -> bool:
        """The thread's id is its own still."""

    def exited(self) -> bool:
        """The thread is gone, or on its way: what is not same() has executed another program, or this."""

    async def ended(self) -> None:
        """Wait until it is not same() any more. Cancellable."""


class PathOpener(Protocol):
    async def open(self) -> File:
        """Wait for the open(2). ENOENT, EACCES ..."""
