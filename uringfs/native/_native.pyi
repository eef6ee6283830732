"""What the C files offer. Failures of system calls are OSError with the kernel's errno."""

from collections.abc import Callable, Sequence
from typing import Any, Self, final

from typing_extensions import Buffer

# ---- process.c ----
# tid: any thread of the process. Addresses: 0..2^64-1; whatever is not the process' own memory, kernel
# addresses too, is EFAULT. ESRCH: it is gone; EPERM: ptrace(2) would not be allowed. These calls wait
# (the interpreter lock released) where a page fault of the process would: swap, userfaultfd, its mounts.

def vm_read(tid: int, address: int, size: int, /) -> bytes:
    """Exactly size bytes; EFAULT when not all can be read."""

def vm_readv(tid: int, ranges: Sequence[tuple[int, int]], /) -> bytes:
    """The longest readable prefix of the (address, length) ranges; EFAULT when it is empty and they are
    not. EINVAL: more than 1024 ranges, or lengths beyond ssize_t. Allocates the sum of the lengths first:
    bound it."""

def vm_write(tid: int, address: int, data: Buffer, /) -> None:
    """All of data; EFAULT when not all could be written (a prefix may have been)."""

def vm_writev(tid: int, data: Buffer, ranges: Sequence[tuple[int, int]], /) -> int:
    """Scatter data into the (address, length) ranges in order. Returns the bytes written: the smaller of
    both totals, or less where the memory ends; EFAULT when none could be. EINVAL as in vm_readv."""

def writable_prefix(tid: int, address: int, size: int, /) -> int:
    """How many of the size bytes from address on lie in writable mappings, without a gap. Touches no page.
    ESRCH, EACCES."""

def readable_prefix(tid: int, address: int, size: int, /) -> int:
    """The same for readable mappings."""

def mapped_prefix(maps: int, address: int, size: int, write: bool, /) -> int:
    """Like writable_prefix() or readable_prefix(), for an open /proc/TID/maps: it stays that of one address space,
    whatever becomes of the thread. ESRCH: that has ended."""

def writable_prefix_text(tid: int, address: int, size: int, /) -> int:
    """writable_prefix by parsing /proc/TID/maps: what kernels before 6.11 get (no PROCMAP_QUERY)."""

def pidfd_open(tid: int, flags: int, /) -> int:
    """pidfd_open(2). EINVAL: tid leads no thread group, and flags lacks PIDFD_THREAD (Linux 6.9)."""

def pidfd_getfd(pidfd: int, fd: int, /) -> int:
    """A close-on-exec descriptor for the same open file description. EBADF for any number that is none."""

def epoll_ctl(epoll: int, operation: int, target: int, number: int, event: bytes, /) -> None:
    """epoll_ctl(2) on our descriptors `epoll` and `target`, the latter known to it as `number`. event: a struct
    epoll_event, or empty for NULL. In a thread of its own, with a descriptor table of its own."""

def preadv2(fd: int, buffer: Buffer, offset: int, flags: int, /) -> int:
    """preadv2(2) into one writable buffer. offset is a loff_t, signed or not: -1 (2^64-1) is the file's own
    position. Not retried on EINTR. EAGAIN: RWF_NOWAIT would have had to wait."""

def sock_preadv2(fd: int, buffer: Buffer, offset: int, flags: int, /) -> int:
    """As preadv2, of a socket: of what is thrown away with a message nothing is waited for (close_soon())."""

def pwritev2(fd: int, data: Buffer, offset: int, flags: int, /) -> int:
    """pwritev2(2) from one buffer; as preadv2."""

def close_soon(fd: int, /) -> None:
    """close(2), without an error. The main thread waits for no more than 1 ms or 2, whatever SO_LINGER of that
    socket says, or of those that are in flight in its queue."""

def poll_mask(fd: int, events: int, /) -> int:
    """poll(2) without waiting: which of the events, POLLERR, POLLHUP and POLLNVAL hold."""

def fd_identity(fd: int, /) -> tuple[int, int, int, int, int]:
    """(st_dev, st_ino, st_mode, st_rdev) as os.fstat has them, but never asking a FUSE daemon: the file may be of
    our own mount. Permission bits may be stale, the file type is not. Last the unique id of the mount it is on
    (STATX_MNT_ID_UNIQUE), 0 before Linux 6.8."""

# ---- identity.c ----

@final
class ExecWatch:
    """Whether a thread still executes the program that it executes now. Holds a perf event, which the kernel takes
    off the thread when that executes another program or exits (perf_event_remove_on_exec()).

    ESRCH: there is no such thread. EACCES, EPERM: without CAP_PERFMON, another user's thread, or
    perf_event_paranoid > 2. ENOSYS, ENOENT: the kernel has no perf events.
    """

    def __new__(cls, tid: int, /) -> Self: ...
    def ended(self) -> bool:
        """True, and for ever, from before the new program runs."""
    def fileno(self) -> int:
        """A descriptor that is readable (EPOLLHUP) once it has ended."""

class Watcher:
    """Events of files, each noticed as it happens, in a thread that needs no Python. Has an epoll instance and,
    where the kernel gives them, contexts of Linux AIO."""

    def add(self, fd: int, events: int, once: bool, aio: bool, late: bool, /) -> int:
        """Watch a descriptor: the key by which its events are told. events as epoll_ctl(2) takes them; they
        are edges. once: for one event, though it is over before anyone looks, and by AIO alone, so the descriptor
        may be closed; EINVAL, EAGAIN, ENOSYS where that cannot be. aio: events that are over count, too, as well
        as can be. late: it is an eventfd, by whose wake-ups no other is signalled at once: fileno() becomes
        readable once before_wait(True) has been called, and the descriptor is open until it is told of or removed.
        EEXIST: the descriptor is watched already; EPERM: such files cannot be."""
    def remove(self, key: int, /) -> bool:
        """False: there is no such watch, or it was for one event, which has happened and is or will be told."""
    def before_wait(self, sleeps: bool, /) -> None:
        """Make fileno() readable if there is something to collect(). sleeps: and as soon as there is."""
    def settle(self) -> None:
        """Wait until the kernel has let go of the files whose watches were removed; some ms at most."""
    def collect(self, woken: bool, /) -> list[tuple[int, int, int]]:
        """What has happened: the key, the mask of the wake-up or what holds, and the number of the look at which
        it was noticed. woken: fileno() was readable, and is to be no more, though nothing has happened."""
    def fileno(self) -> int:
        """A descriptor that is readable when there is something to collect()."""
    def close(self) -> None: ...

def capabilities(tid: int, /) -> int:
    """capget(2): a thread's effective capabilities, bit N for capability N. ESRCH."""

def user_namespace(tid: int, /) -> int:
    """The inode number of a thread's user namespace. ESRCH, EACCES."""

def act_as(uid: int, gid: int, groups: bytes, capabilities: int, foreign: bool, /) -> None:
    """Let this thread, and no other of the process, have these fsuid, fsgid, supplementary groups (an array of
    gid_t) and, of the capabilities that it has, these as effective ones. foreign: they are of another user
    namespace. Where we may not change ids (no CAP_SETUID), the capabilities alone. EPERM: there is no such id."""

def act_own() -> None:
    """Let it have its own again. Ends the process (abort(3)) where that fails."""

# ---- socket.c ----

def sock_connect(fd: int, address: Buffer, /) -> None:
    """connect(2), waiting for no more than a millisecond: EINPROGRESS then, and call it again once the socket
    is writable, as after an EINPROGRESS of a non-blocking socket."""

def sock_accept(fd: int, flags: int, /) -> tuple[int, bytes]:
    """accept4(2): (a close-on-exec descriptor, the peer's address), waiting for no more than a millisecond:
    EAGAIN then."""

def sock_sendmsg(fd: int, data: Buffer, name: Buffer | None, control: Buffer, flags: int, /) -> int:
    """sendmsg(2) with MSG_DONTWAIT and MSG_NOSIGNAL."""

def sock_recvmsg(
    fd: int, buffer: Buffer, wants_name: bool, room: int, flags: int, /
) -> tuple[int, int, bytes, bytes, int]:
    """recvmsg(2) with MSG_DONTWAIT and MSG_CMSG_CLOEXEC into a writable buffer: (result, msg_namelen, name,
    control messages, msg_flags). room: for control messages."""

def sock_socket(domain: int, type: int, protocol: int, /) -> int: ...
def sock_kind(fd: int, /) -> tuple[int, int, int]:
    """(domain, type, protocol). ENOTSOCK, EBADF; never asks a FUSE daemon."""

def sock_bind(fd: int, address: Buffer, /) -> None: ...
def sock_listen(fd: int, backlog: int, /) -> None: ...
def sock_shutdown(fd: int, how: int, /) -> None: ...
def sock_queue(fd: int, out: bool, /) -> int:
    """SIOCINQ, or SIOCOUTQ."""

def sock_getsockopt(fd: int, level: int, name: int, value: Buffer, size: int, /) -> tuple[int, bytes]:
    """(the length, value as overwritten)."""

def sock_setsockopt(fd: int, level: int, name: int, value: Buffer, size: int, /) -> None: ...

# ---- wirecalls.c, shortcut.c: call from the thread that runs pyfuse3 ----

def want_passthrough(wanted: bool, /) -> None:
    """Whether sessions mounted from now on ask for FUSE_PASSTHROUGH. Not by default."""

def hooks_taken() -> bool:
    """Whether a session is mounted and its messages go through us. False after a mount: pyfuse3 is linked
    past our hooks."""

def passthrough_granted() -> bool:
    """Whether the session got FUSE_PASSTHROUGH. Known once the kernel's INIT is answered, so ask in the
    first handler. Needs Linux 6.9, and no writeback cache."""

def want_pagecache(shadow: int, /) -> None:
    """A memfd: sessions mounted from now on ask for FUSE_DIRECT_IO_ALLOW_MMAP, and have a pager (pager.c), a
    process that keeps in it, at (inode number mod 2^30) << 33, what stands in pages that leave the page cache:
    where the memfd has pages, that is. -1, as by default: no such thing."""

def pagecache_granted() -> bool:
    """Whether the session got FUSE_DIRECT_IO_ALLOW_MMAP (Linux 6.6), like passthrough_granted()."""

def pager_pid() -> int:
    """The pager's process, a child; 0 without one. It ends with the connection, with status 0, or is killed by
    the unmount."""

def keeper_pid() -> int:
    """The process that maps ring files for writing (keeper.c), a child; 0 without one. It ends as we do."""

def keeper_map(fd: int, offset: int, size: int, /) -> int:
    """mmap(2) by the keeper, shared, to read and write: the address there. ENOMEM, ENODEV; EIO if it is gone."""

def keeper_unmap(address: int, size: int, /) -> None:
    """munmap(2) by the keeper: what was stored is written back when it returns. EIO if it is gone."""

def current() -> tuple[int, int, int, int, int, int]:
    """(unique, opcode, tid, uid, gid, detail) of the request being dispatched. Ask before the handler's
    first await: then it is another's. detail: the events of a poll(2), getattr_flags of a GETATTR, 0 for any other
    request."""

def interrupt_fd() -> int:
    """An eventfd, readable while interrupted requests wait in take_interrupts(). One for the process'
    life, non-blocking."""

def take_interrupts() -> list[int]:
    """The uniques the kernel has asked to interrupt since the last call, in order; interrupt_fd() is
    unreadable then. Unknown ones have been answered already: ignore them. The kernel asks only once, and
    the caller waits for the answer, even with SIGKILL."""

def shortcut_set(
    handler: Callable[[int, bytes, int, int, int], int | None] | None,
    poll_handler: Callable[[int, int, int, int, int], int | None] | None,
    /,
) -> None:
    """From now on every FUSE_WRITE is offered to handler(fh, data, tid, uid, gid) from within the wire's read
    hook: the task is that which pyfuse3 would dispatch it in, current() tells of it. It answers the number of
    bytes written or -errno; None: pyfuse3's Operations.write() gets it, next of all. Must not raise, nor wait.

    Polls for URINGFS_POLL_WAIT are poll_handler(unique, fh, tid, uid, gid)'s, which answers events or -errno;
    None: poll_answer() comes later."""

def poll_answer(unique: int, events: int, /) -> None:
    """The answer of such a poll: events or -errno. Nothing happens if nobody waits for it any more."""

def emptied() -> int:
    """How often a read of the session's descriptor has found no message."""

def unread(since: int, /) -> bool:
    """Whether messages wait to be read, and emptied() still is what it was. False without a session."""

def session_fd() -> int:
    """The mounted session's /dev/fuse descriptor, set O_NONBLOCK. ENOTCONN: none is mounted."""

def backing_open(fd: int, /) -> int:
    """FUSE_DEV_IOC_BACKING_OPEN: a backing id for fd, > 0. A file whose FileInfo.fh has it in the low 32
    bits is opened as passthrough (mmap of the backing file) with direct I/O, parallel writes and no FLUSH;
    every open of one inode must use the same id. FileInfo.keep_cache and the like are ignored then.
    EPERM: no CAP_SYS_ADMIN, or passthrough not granted. ENOTCONN, EBADF."""

def backing_close(backing_id: int, /) -> None:
    """FUSE_DEV_IOC_BACKING_CLOSE; open files and mappings keep the backing file. ENOENT, ENOTCONN."""

# ---- watch/ ----

class HookTable(dict[str, Any]):
    """The table of engine/hooks.py. Derive from it, and define failed(name, subscriber, exception)."""

    def call(self, name: str, /, *args: object) -> None:
        """Tell the subscribers of a point."""

@final
class EventQueue:
    """One reader's events (watch/record.py) as bytes, bounded. wake: there is something and was nothing."""

    def __new__(cls, most: int, wake: Callable[[], None], /) -> Self: ...
    @property
    def size(self) -> int: ...
    @property
    def lost(self) -> int:
        """Events, since the last that was kept."""
    @property
    def total_lost(self) -> int: ...
    def push(self, event: bytes, /) -> None: ...
    def next(self) -> bytes:
        """One event; of those lost, too. IndexError: there is none."""
    def take(self, most: int, /) -> bytes:
        """Whole events, as many as fit; of those lost only what is behind them."""
    def want(self, opcodes: bytes, failed: bool, /) -> None:
        """Of requests: a mask of 256 bits, the first the lowest of the first byte; failures alone."""

class EventBatch:
    """What holds for all requests of one call on a ring. Derive from it, and define file(number, target) and
    described(fd)."""

    def __new__(
        cls,
        ring: int,
        uid: int,
        pid: int,
        tid: int,
        comm: bytes,
        queues: tuple[EventQueue, ...],
        opcodes: bytes,
        data: int,
        /,
    ) -> Self: ...
    def again(self) -> None:
        """Another call begins, for which the same holds."""

@final
class EventNote:
    """A request under way."""

    batch: EventBatch
    how: int
    flags: int
    file: bytes | None
    """What its descriptor is, where that is not the request's target."""
    name: bytes | None
    name2: bytes | None
    data: bytes | None

class EventRecorder:
    """What watch/tracer.py does for every request; see recorder.c for what it has to define."""

    def __init__(
        self,
        batches: dict[Any, Any],
        live: dict[Any, EventNote],
        earlier: set[Any],
        look: bytes,
        /,
    ) -> None: ...
    def io_uring_submit_req(self, request: Any, /) -> None: ...
    def io_uring_req_failed(self, request: Any, error: int, /) -> None: ...
    def io_issue_sqe(self, request: Any, /) -> None: ...
    def io_issue_skip_complete(self, request: Any, /) -> None: ...
    def io_uring_queue_async_work(self, request: Any, /) -> None: ...
    def io_uring_poll_arm(self, request: Any, events: int, /) -> None: ...
    def io_uring_complete(self, ring: Any, request: Any, user_data: int, res: int, cflags: int, /) -> None: ...
    def emit(self, kind: int, note: EventNote, request: Any, res: int, cflags: int, position: int, /) -> None:
        """Make its event, for those of its batch who want it."""
    def reaped(self, ring: int, head: int, queues: tuple[EventQueue, ...], /) -> None:
        """An event of that kind."""
    def late_note(self, batch: EventBatch, /) -> EventNote:
        """Of a request that was under way when watching began."""

# ---- lane/taker.c ----

@final
class Taker:
    """Takes requests that need not wait off one ring, and performs and completes them: NOP, READ and READV of
    cached files, WRITE and WRITEV to pipes, POLL_ADD of pipes and sockets that are ready."""

    def __new__(
        cls,
        memory: Buffer,
        setup_flags: int,
        mirror: int,
        sqes: int,
        sq_entries: int,
        cq_entries: int,
        sq_array: int,
        sqe_size: int,
        cqe_size: int,
        /,
    ) -> Self:
        """memory: of the ring, the rings at its start; offsets and sizes in bytes. ValueError: the queues do not
        lie in it."""
    def take(
        self,
        tid: int,
        caller: object | None,
        entries: int,
        whole: bool,
        sq_head: int,
        cq_tail: int,
        room: int,
        cq_head: int,
        head_sq: int,
        head_cq: int,
        recorder: EventRecorder | None = None,
        batch: EventBatch | None = None,
        /,
    ) -> tuple[int, int, int, int, int, int, bool] | None:
        """Take as many as can be of the next `entries` SQEs, up to the first that is not sure to be done as the
        kernel would. whole: the submission ends with them. tid: the submitter, blocked in its control write.
        caller: as host.protocols.InCall; None if the thread may be gone, so NOPs alone. room: CQEs that fit
        before the client's head has to be looked at again. recorder, batch: makes an event of each.

        None: none was taken. Else the new sq_head, cq_tail (nothing is published) and room, the client's CQ head
        and the words of its two copies, and whether a request had IOSQE_CQE_SKIP_SUCCESS."""
    def release(self) -> None:
        """Give the memory back. Another take() is a ValueError."""

def know_mount(mount: int, /) -> None:
    """Reads of the regular files on this mount (STATX_MNT_ID_UNIQUE) ask nobody for credentials. 0: none is known
    any more."""
