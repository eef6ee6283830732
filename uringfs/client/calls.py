"""The three system calls on a ring file, and its opening: the functions of contrib/uringfs.h in Python.

May live here: control messages and how an enter waits. May not: queues, mappings, requests.
"""

import ctypes
import errno
import os
import signal

from uringfs.abi.constants import IORING_ENTER_EXT_ARG, IORING_ENTER_GETEVENTS
from uringfs.abi.control import (
    ENTER,
    REGISTER,
    SETUP,
    SUPERVISE,
    URINGFS_CMD_ENTER,
    URINGFS_CMD_REGISTER,
    URINGFS_CMD_SETUP,
    URINGFS_CMD_SUPERVISE,
    URINGFS_POLL_FETCH,
    URINGFS_POLL_WAIT,
    URINGFS_RESULT_FETCH,
    URINGFS_XATTR,
)
from uringfs.abi.libc import libc
from uringfs.abi.numbers import U32
from uringfs.abi.structs import KERNEL_SIGSET_SIZE
from uringfs.client.fetching import CAN, control, error_of, fetch

_UNSET = -(1 << 63)
_SIGSET_BYTES = 128  # glibc's sigset_t


class _PollFd(ctypes.Structure):
    _fields_ = (("fd", ctypes.c_int), ("events", ctypes.c_short), ("revents", ctypes.c_short))


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


def setup(fd: int, entries: int, params: "ctypes.Array[ctypes.c_char]", *, can: int = CAN) -> int:
    """io_uring_setup(2) on an open ring file. params: struct io_uring_params, read and written. can: of CAN, what
    is done for the requests of an SQPOLL ring. EOPNOTSUPP for another file: nothing is written to it."""
    check(fd)
    result = ctypes.c_int64(-errno.EIO)
    body = SETUP.pack(ctypes.addressof(result), entries, can, ctypes.addressof(params))
    return control(fd, URINGFS_CMD_SETUP, body, result)


def register(fd: int, opcode: int, arg: int = 0, nr_args: int = 0) -> int:
    """io_uring_register(2); arg is an address."""
    result = ctypes.c_int64(-errno.EIO)
    body = REGISTER.pack(ctypes.addressof(result), opcode, nr_args, arg)
    return control(fd, URINGFS_CMD_REGISTER, body, result)


def hand_over(mount: str, listener: int, trace: int = -1) -> None:
    """Let the daemon of that mount answer io_uring's system calls of all threads under a seccomp filter.
    listener: the filter's, which may be closed then; trace: a descriptor for a line a call."""
    result = ctypes.c_int64(-errno.EIO)
    body = SUPERVISE.pack(ctypes.addressof(result), listener, trace)
    ring = open_ring(os.path.join(mount, "new"))
    try:
        control(ring, URINGFS_CMD_SUPERVISE, body, result)
    finally:
        os.close(ring)


def enter(
    fd: int,
    to_submit: int,
    min_complete: int = 0,
    flags: int = 0,
    arg: int = 0,
    argsz: int = KERNEL_SIGSET_SIZE,
    *,
    can: int = CAN,
) -> int:
    """io_uring_enter2(2); arg is an address. With can=0 requests that make or close descriptors get EOPNOTSUPP.
    InterruptedError if a signal ended the wait."""
    result = ctypes.c_int64(_UNSET)
    body = ENTER.pack(ctypes.addressof(result), to_submit, min_complete, flags, can, arg, argsz)
    if not (flags & IORING_ENTER_GETEVENTS and min_complete):
        return _fetched(fd, control(fd, URINGFS_CMD_ENTER, body, result))
    # Signals stay pending from the write to the ppoll, else one in between would be missed.
    old = signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals() - _ignored())
    try:
        try:
            return _fetched(fd, control(fd, URINGFS_CMD_ENTER, body, result))
        except OSError as error:
            if error.errno != errno.EINPROGRESS:
                raise
        return _wait(fd, result, _mask(old, arg, flags), URINGFS_POLL_WAIT | (URINGFS_POLL_FETCH if can else 0))
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, old)


def _fetched(fd: int, result: int) -> int:
    """An enter's return value; what it has left for this process to do is done."""
    if result & URINGFS_RESULT_FETCH:
        fetch(fd)
    return result & U32


def _ignored() -> set[signal.Signals]:
    """Signals that the process ignores, of those that are ignored by default. Blocked, they would not be
    dropped as they come, but kept, and end the wait."""
    default = (signal.SIGCHLD, signal.SIGCONT, signal.SIGURG, signal.SIGWINCH)
    return {number for number in default if signal.getsignal(number) in (signal.SIG_DFL, signal.SIG_IGN)}


def _mask(old: set[signal.Signals] | set[int], arg: int, flags: int) -> bytes:
    """The mask during the wait: the caller's own, or the one enter was given."""
    if arg and flags & IORING_ENTER_EXT_ARG:
        arg = int.from_bytes(ctypes.string_at(arg, 8), "little")  # io_uring_getevents_arg.sigmask
    if arg:
        return ctypes.string_at(arg, KERNEL_SIGSET_SIZE)
    return sum(1 << (number - 1) for number in old).to_bytes(KERNEL_SIGSET_SIZE, "little")


def _wait(fd: int, result: ctypes.c_int64, mask: bytes, events: int) -> int:
    """The ppoll(2) by which an enter that answered EINPROGRESS waits."""
    poll = _PollFd(fd, events, 0)
    sigset = ctypes.create_string_buffer(mask, _SIGSET_BYTES)
    while True:
        poll.revents = 0
        ready = libc.ppoll(ctypes.byref(poll), 1, None, sigset)
        code = ctypes.get_errno()
        if result.value != _UNSET:
            break
        if ready > 0 and poll.revents == URINGFS_POLL_FETCH:
            fetch(fd)
        # EINTR may come before the daemon has ended the wait: then the wait was not interrupted.
        elif ready >= 0 or code != errno.EINTR:
            raise error_of(errno.EIO if ready >= 0 else code)  # the daemon is gone
    if result.value < 0:
        raise error_of(-result.value)
    return result.value & U32
