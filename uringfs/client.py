"""A ring on a mount, from Python: what contrib/uringfs.h is for C.

    with Ring("/mnt/uring/new", 8) as ring:
        ring.queue(nop(user_data=42))
        ring.submit(wait=1)
        print(ring.reap())                     # [Cqe(user_data=42, res=0, flags=0)]

Failures are OSError with the errno of the system call that is mimicked. One thread uses a Ring at a
time; several threads or processes may each have a Ring on one named file.
"""

import ctypes
import errno
import mmap
import os
import signal
from collections import Counter
from collections.abc import Sequence
from types import TracebackType
from typing import Self

from uringfs._words import Words
from uringfs.abi.constants import (
    IORING_ENTER_EXT_ARG,
    IORING_ENTER_GETEVENTS,
    IORING_OFF_CQ_RING,
    IORING_OFF_SQ_RING,
    IORING_OFF_SQES,
    IORING_OP_NOP,
    IORING_OP_READV,
    IORING_SETUP_CQSIZE,
)
from uringfs.abi.control import (
    ENTER,
    HEADER,
    REGISTER,
    SETUP,
    SUPERVISE,
    URINGFS_CMD_ENTER,
    URINGFS_CMD_REGISTER,
    URINGFS_CMD_SETUP,
    URINGFS_CMD_SUPERVISE,
    URINGFS_OFF_CTL,
    URINGFS_POLL_WAIT,
    URINGFS_XATTR,
)
from uringfs.abi.libc import libc
from uringfs.abi.numbers import U32
from uringfs.abi.structs import (
    CQ_OFF,
    CQE,
    IOVEC,
    KERNEL_SIGSET_SIZE,
    OFFSETS,
    PARAMS,
    PARAMS_SIZE,
    SQ_OFF,
    SQE,
    Cqe,
    Params,
    Sqe,
)

CURRENT_POSITION = (1 << 64) - 1
_UNSET = -(1 << 63)
_SIGSET_BYTES = 128  # glibc's sigset_t
_abandoned: list[list[object]] = []
"""Buffers of reads that pended when their ring was closed. Nobody says when a cancelled read has ended, and
until then it may store there."""


class _PollFd(ctypes.Structure):
    _fields_ = (("fd", ctypes.c_int), ("events", ctypes.c_short), ("revents", ctypes.c_short))


def _error(code: int) -> OSError:
    return OSError(code, os.strerror(code))


def _control(fd: int, cmd: int, body: bytes, result: ctypes.c_int64) -> int:
    """One control write; the call's return value."""
    os.pwrite(fd, HEADER.pack(cmd, HEADER.size + len(body)) + body, URINGFS_OFF_CTL)
    if result.value < 0:
        raise _error(-result.value)
    return result.value


def check(file: int | str) -> None:
    """A descriptor, or a path, of a mount: nothing else may be written to. OSError EOPNOTSUPP for any other file,
    ENOTCONN or ECONNABORTED without a daemon."""
    try:
        os.getxattr(file, URINGFS_XATTR)
    except OSError as error:
        if error.errno in (errno.ENOENT, errno.EBADF, errno.ENOTCONN, errno.ECONNABORTED):
            raise
        what = "not a ring of a mount (is a uringfs mounted there?)"
        raise OSError(errno.EOPNOTSUPP, what, file if isinstance(file, str) else None) from None


def open_ring(path: str | os.PathLike[str]) -> int:
    """A descriptor of a ring file, made if its directory is a mount. OSError: EOPNOTSUPP where none is mounted."""
    name = os.fspath(path)
    try:
        fd = os.open(name, os.O_RDWR | os.O_NOCTTY | os.O_CLOEXEC)
    except FileNotFoundError:
        return _create(name)
    try:
        check(fd)
    except OSError as error:
        os.close(fd)
        raise OSError(error.errno, error.strerror, name) from None
    return fd


def _create(path: str) -> int:
    directory = os.open(os.path.dirname(path) or ".", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        check(directory)
        flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC
        return os.open(os.path.basename(path), flags, 0o666, dir_fd=directory)
    except OSError as error:
        raise OSError(error.errno, error.strerror, path) from None
    finally:
        os.close(directory)


def setup(fd: int, entries: int, params: "ctypes.Array[ctypes.c_char]") -> int:
    """io_uring_setup(2) on an open ring file. params: struct io_uring_params, read and written. EOPNOTSUPP for
    another file: nothing is written to it."""
    check(fd)
    result = ctypes.c_int64(-errno.EIO)
    body = SETUP.pack(ctypes.addressof(result), entries, 0, ctypes.addressof(params))
    return _control(fd, URINGFS_CMD_SETUP, body, result)


def _ignored() -> set[signal.Signals]:
    """Signals that the process ignores, of those that are ignored by default. Blocked, they would not be
    dropped as they come, but kept, and end the wait."""
    default = (signal.SIGCHLD, signal.SIGCONT, signal.SIGURG, signal.SIGWINCH)
    return {number for number in default if signal.getsignal(number) in (signal.SIG_DFL, signal.SIG_IGN)}


def register(fd: int, opcode: int, arg: int = 0, nr_args: int = 0) -> int:
    """io_uring_register(2); arg is an address."""
    result = ctypes.c_int64(-errno.EIO)
    body = REGISTER.pack(ctypes.addressof(result), opcode, nr_args, arg)
    return _control(fd, URINGFS_CMD_REGISTER, body, result)


def hand_over(mount: str, listener: int, trace: int = -1) -> None:
    """Let the daemon of that mount answer io_uring's system calls of all threads under a seccomp filter.
    listener: the filter's, which may be closed then; trace: a descriptor for a line a call."""
    result = ctypes.c_int64(-errno.EIO)
    body = SUPERVISE.pack(ctypes.addressof(result), listener, trace)
    ring = open_ring(os.path.join(mount, "new"))
    try:
        _control(ring, URINGFS_CMD_SUPERVISE, body, result)
    finally:
        os.close(ring)


def enter(
    fd: int, to_submit: int, min_complete: int = 0, flags: int = 0, arg: int = 0, argsz: int = KERNEL_SIGSET_SIZE
) -> int:
    """io_uring_enter2(2); arg is an address. InterruptedError if a signal ended the wait."""
    result = ctypes.c_int64(_UNSET)
    body = ENTER.pack(ctypes.addressof(result), to_submit, min_complete, flags, 0, arg, argsz)
    if not (flags & IORING_ENTER_GETEVENTS and min_complete):
        return _control(fd, URINGFS_CMD_ENTER, body, result)
    # Signals stay pending from the write to the ppoll, else one in between would be missed.
    old = signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals() - _ignored())
    try:
        try:
            return _control(fd, URINGFS_CMD_ENTER, body, result)
        except OSError as error:
            if error.errno != errno.EINPROGRESS:
                raise
        return _wait(fd, result, _mask(old, arg, flags))
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, old)


def _mask(old: set[signal.Signals] | set[int], arg: int, flags: int) -> bytes:
    """The mask during the wait: the caller's own, or the one enter was given."""
    if arg and flags & IORING_ENTER_EXT_ARG:
        arg = int.from_bytes(ctypes.string_at(arg, 8), "little")  # io_uring_getevents_arg.sigmask
    if arg:
        return ctypes.string_at(arg, KERNEL_SIGSET_SIZE)
    return sum(1 << (number - 1) for number in old).to_bytes(KERNEL_SIGSET_SIZE, "little")


def _wait(fd: int, result: ctypes.c_int64, mask: bytes) -> int:
    """The ppoll(2) by which an enter that answered EINPROGRESS waits."""
    poll = _PollFd(fd, URINGFS_POLL_WAIT, 0)
    sigset = ctypes.create_string_buffer(mask, _SIGSET_BYTES)
    while True:
        ready = libc.ppoll(ctypes.byref(poll), 1, None, sigset)
        # EINTR may come before the daemon has ended the wait: then the wait was not interrupted.
        if result.value != _UNSET or ready >= 0 or ctypes.get_errno() != errno.EINTR:
            break
    if result.value == _UNSET:
        raise _error(errno.EIO if ready >= 0 else ctypes.get_errno())  # the daemon is gone
    if result.value < 0:
        raise _error(-result.value)
    return result.value


def nop(user_data: int = 0, flags: int = 0) -> Sqe:
    return Sqe(IORING_OP_NOP, flags, fd=-1, user_data=user_data)


class Ring:
    """An open ring file, set up and mapped.

    entries None: the file has been set up by another; then params must be what that setup returned.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        entries: int | None = 8,
        *,
        flags: int = 0,
        cq_entries: int | None = None,
        params: bytes = bytes(PARAMS_SIZE),
        separate_cq: bool = False,
    ) -> None:
        """separate_cq: map the CQ at its own offset, as clients do that ignore IORING_FEAT_SINGLE_MMAP."""
        self.fd = open_ring(path)
        self._held: dict[int, list[object]] = {}
        self._unreaped: Counter[int] = Counter()
        self._maps: list[mmap.mmap] = []
        self._words: list[Words] = []
        try:
            if entries is not None:
                if cq_entries is not None:
                    flags |= IORING_SETUP_CQSIZE
                buffer = ctypes.create_string_buffer(
                    PARAMS.pack(*Params(flags=flags, cq_entries=cq_entries or 0)), PARAMS_SIZE
                )
                setup(self.fd, entries, buffer)
                params = buffer.raw
            self.raw_params = params
            self.params = Params._make(PARAMS.unpack_from(params))
            self._map(params, separate_cq)
        except BaseException:
            self.close()
            raise

    def _map(self, params: bytes, separate_cq: bool) -> None:
        sq = OFFSETS.unpack_from(params, SQ_OFF)
        cq = OFFSETS.unpack_from(params, CQ_OFF)
        self._sq_head, self._sq_tail, _, _, self._sq_flags, self._sq_dropped, self._array, *_ = sq
        self._cq_head, self._cq_tail, _, _, self._cq_overflow, self._cqes, *_ = cq
        cq_size = self._cqes + self.params.cq_entries * CQE.size
        size = max(cq_size, self._array + 4 * self.params.sq_entries)
        self.sqes = self._mmap(self.params.sq_entries * SQE.size, IORING_OFF_SQES)
        self.rings = self.cq_rings = self._mmap(size, IORING_OFF_SQ_RING)
        self.sq = self.cq = self._words_of(self.rings)
        if separate_cq:
            self.cq_rings = self._mmap(cq_size, IORING_OFF_CQ_RING)
            self.cq = self._words_of(self.cq_rings)

    def _mmap(self, size: int, offset: int) -> mmap.mmap:
        mapping = mmap.mmap(self.fd, size, mmap.MAP_SHARED | mmap.MAP_POPULATE, offset=offset)
        self._maps.append(mapping)
        return mapping

    def _words_of(self, mapping: mmap.mmap) -> Words:
        words = Words(mapping)
        self._words.append(words)
        return words

    # -- submission

    def queue(self, sqe: Sqe) -> None:
        """Put an SQE behind the tail. BlockingIOError: the SQ is full."""
        tail = self.sq.load(self._sq_tail)
        if (tail - self.sq.load(self._sq_head)) & U32 >= self.params.sq_entries:
            raise BlockingIOError(errno.EAGAIN, "the SQ is full")
        index = tail & (self.params.sq_entries - 1)
        self.sqes[index * SQE.size : (index + 1) * SQE.size] = SQE.pack(*sqe)
        if self._array:
            self.sq.store(self._array + 4 * index, index)
        self.sq.store(self._sq_tail, (tail + 1) & U32)

    def readv(
        self,
        fd: int,
        buffers: Sequence[bytearray | mmap.mmap],
        offset: int = CURRENT_POSITION,
        user_data: int = 0,
        flags: int = 0,
    ) -> None:
        """Queue a READV. The buffers are held until what has this user_data is reaped."""
        views = [(ctypes.c_char * len(buffer)).from_buffer(buffer) for buffer in buffers]
        packed = b"".join(IOVEC.pack(ctypes.addressof(view), len(view)) for view in views)
        iovecs = ctypes.create_string_buffer(packed, len(packed) or 1)
        sqe = Sqe(IORING_OP_READV, flags, 0, fd, offset, ctypes.addressof(iovecs), len(views), user_data=user_data)
        self.queue(sqe)
        self._held.setdefault(user_data, []).append((views, iovecs))
        self._unreaped[user_data] += 1

    def queued(self) -> int:
        """SQEs the daemon has not taken."""
        return (self.sq.load(self._sq_tail) - self.sq.load(self._sq_head)) & U32

    def submit(self, wait: int = 0) -> int:
        """Enter with all that is queued; wait for so many completions. Returns the number taken."""
        return self.enter(self.queued(), wait)

    def enter(self, to_submit: int, min_complete: int = 0, flags: int = 0, arg: int = 0) -> int:
        """io_uring_enter(2). InterruptedError if a signal ended the wait."""
        if min_complete:
            flags |= IORING_ENTER_GETEVENTS
        return enter(self.fd, to_submit, min_complete, flags, arg)

    def register(self, opcode: int, arg: int = 0, nr_args: int = 0) -> int:
        """io_uring_register(2)"""
        return register(self.fd, opcode, arg, nr_args)

    # -- completion

    def ready(self) -> int:
        """CQEs that can be reaped."""
        return (self.cq.load(self._cq_tail) - self.cq.load(self._cq_head)) & U32

    def reap(self, most: int | None = None) -> list[Cqe]:
        """Take up to `most` CQEs, by default all there are; never waits."""
        head = self.cq.load(self._cq_head)
        count = min(self.ready(), self.params.cq_entries, U32 if most is None else most)
        found = []
        for position in range(head, head + count):
            offset = self._cqes + (position & (self.params.cq_entries - 1)) * CQE.size
            found.append(Cqe._make(CQE.unpack_from(self.cq_rings, offset)))
        self.cq.store(self._cq_head, (head + count) & U32)
        for cqe in found:
            self._let_go(cqe.user_data)
        return found

    def _let_go(self, user_data: int) -> None:
        """Buffers go when all requests with their user_data are complete: which was which nobody knows."""
        if user_data in self._held:
            self._unreaped[user_data] -= 1
            if not self._unreaped[user_data]:
                del self._held[user_data], self._unreaped[user_data]

    def wait(self) -> Cqe:
        """The next CQE, waiting for it."""
        while True:
            found = self.reap(1)
            if found:
                return found[0]
            self.enter(0, 1)

    # -- the end

    def close(self) -> None:
        """Unmap and close; what pends is cancelled if nobody else has the file open."""
        for words in self._words:
            words.release()
        for mapping in self._maps:
            mapping.close()
        self._words, self._maps = [], []
        if self.fd >= 0:
            os.close(self.fd)
            self.fd = -1
        _abandoned.extend(self._held.values())
        self._held = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
