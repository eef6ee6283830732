"""What requests need done in this process: descriptors, CLOSE, WAITID, MADVISE, FUTEX_WAKE, READ of a signalfd.

docs/descriptors.md has the protocol; uringfs_fetch() of contrib/uringfs.h is the same in C.
"""

import ctypes
import errno
import fcntl
import os
import select
import socket
from array import array
from dataclasses import astuple, dataclass

from uringfs.abi.control import (
    ADVICE,
    ENTRY,
    FETCH,
    HEADER,
    URINGFS_CMD_FETCH,
    URINGFS_DESCRIPTOR_ADVISE,
    URINGFS_DESCRIPTOR_CLOEXEC,
    URINGFS_DESCRIPTOR_CLOSE,
    URINGFS_DESCRIPTOR_NEW,
    URINGFS_DESCRIPTOR_READ,
    URINGFS_DESCRIPTOR_WAIT,
    URINGFS_DESCRIPTOR_WAKE,
    URINGFS_ENTER_ADVISES,
    URINGFS_ENTER_FETCHES,
    URINGFS_ENTER_READS,
    URINGFS_ENTER_WAITS,
    URINGFS_ENTER_WAKES,
    URINGFS_OFF_CTL,
    URINGFS_RESULT_FETCH,
)
from uringfs.abi.libc import libc
from uringfs.abi.machine import NR
from uringfs.abi.numbers import U32
from uringfs.abi.structs import IOVEC

ROOM = 16
"""Things to do that one message hands out."""
CAN = (
    URINGFS_ENTER_FETCHES | URINGFS_ENTER_WAITS | URINGFS_ENTER_ADVISES | URINGFS_ENTER_READS | URINGFS_ENTER_WAKES
)
"""What this client does for its requests."""
FUTEX_WAKE_BITSET, FUTEX_PRIVATE_FLAG = 10, 128
_SIGINFO_BYTES = 128


class _Siginfo(ctypes.Structure):
    """siginfo_t as waitid(2) fills it in, 128 bytes."""

    _fields_ = (
        *((name, ctypes.c_int) for name in ("si_signo", "si_errno", "si_code", "pad")),
        *(("si_pid", ctypes.c_int), ("si_uid", ctypes.c_uint), ("si_status", ctypes.c_int)),
        ("rest", ctypes.c_char * (_SIGINFO_BYTES - 28)),
    )


@dataclass
class _Entry:
    """struct uringfs_descriptor: one thing to do, then what came of it in res."""

    id: int
    res: int
    what: int
    which: int
    options: int
    code: int
    pid: int
    uid: int
    status: int


def error_of(code: int) -> OSError:
    return OSError(code, os.strerror(code))


def control(fd: int, cmd: int, body: bytes, result: ctypes.c_int64) -> int:
    """One control write; the call's return value."""
    os.pwrite(fd, HEADER.pack(cmd, HEADER.size + len(body)) + body, URINGFS_OFF_CTL)
    if result.value < 0:
        raise error_of(-result.value)
    return result.value


def fetch(fd: int) -> None:
    """Do what requests of this ring need done in this process, until nothing is left. Enters do that when it is
    due; who waits by poll(2) calls it at URINGFS_POLL_FETCH. OSError: EBADFD, or what the daemon answers."""
    due = URINGFS_RESULT_FETCH
    while due & URINGFS_RESULT_FETCH:
        entries = _take(fd)
        if not entries:
            return
        for entry in entries:
            _perform(entry)
        # No descriptor of ours is open now: a request that goes on must not find it under its number.
        done = ctypes.create_string_buffer(b"".join(ENTRY.pack(*astuple(entry)) for entry in entries))
        due = _control(fd, done, len(entries), 0, -1)


def _control(fd: int, entries: "ctypes.Array[ctypes.c_char]", done: int, room: int, sock: int) -> int:
    result = ctypes.c_int64(-errno.EIO)
    body = FETCH.pack(ctypes.addressof(result), ctypes.addressof(entries), done, room, sock, CAN)
    return control(fd, URINGFS_CMD_FETCH, body, result)


def _take(fd: int) -> list[_Entry]:
    """What there is to do; new descriptors are in this process's table, their numbers in res."""
    buffer = ctypes.create_string_buffer(ROOM * ENTRY.size)
    try:
        near, far = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    except OSError:  # no number is free: they complete with EMFILE
        return _listed(buffer, _control(fd, buffer, 0, ROOM, -1))
    with near:
        with far:
            count = _control(fd, buffer, 0, ROOM, far.fileno())
        entries = _listed(buffer, count)
        new = [entry for entry in entries if entry.what & URINGFS_DESCRIPTOR_NEW]
        arrived = _receive(near) if new else []
    for position, entry in enumerate(new):
        if position < len(arrived):
            entry.res = _lowest(arrived[position], bool(entry.what & URINGFS_DESCRIPTOR_CLOEXEC))
        else:
            entry.res = -errno.EMFILE  # the table was full: MSG_CTRUNC
    return entries


def _listed(buffer: "ctypes.Array[ctypes.c_char]", count: int) -> list[_Entry]:
    whole = buffer.raw[: (count & U32) * ENTRY.size]
    return [_Entry(*fields) for fields in ENTRY.iter_unpack(whole)]


def _receive(sock: socket.socket) -> list[int]:
    """The descriptors of the one message that has been sent, in their order; fewer where the table is full."""
    fds = array("i")
    space = socket.CMSG_SPACE(ROOM * fds.itemsize)
    try:
        _, ancillary, _, _ = sock.recvmsg(1, space, socket.MSG_DONTWAIT | socket.MSG_CMSG_CLOEXEC)
    except BlockingIOError:
        return []
    for level, kind, data in ancillary:
        if (level, kind) == (socket.SOL_SOCKET, socket.SCM_RIGHTS):
            fds.frombytes(data[: len(data) // fds.itemsize * fds.itemsize])
    return list(fds)


def _lowest(fd: int, cloexec: bool) -> int:
    """That descriptor under the lowest free number, as open(2) would have it; its own if none is free."""
    try:
        lower = fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC if cloexec else fcntl.F_DUPFD, 0)
    except OSError:
        os.set_inheritable(fd, not cloexec)
        return fd
    os.close(fd)
    return lower


def _perform(entry: _Entry) -> None:
    if entry.what & URINGFS_DESCRIPTOR_CLOSE:
        entry.res = _result(libc.close(entry.res))
    if entry.what & URINGFS_DESCRIPTOR_WAIT:
        _waitid(entry)
    if entry.what & URINGFS_DESCRIPTOR_ADVISE:
        _, advice, _, address, length, _ = ADVICE.unpack(ENTRY.pack(*astuple(entry)))
        entry.res = _result(libc.madvise(ctypes.c_void_p(address), ctypes.c_size_t(length), advice))
    if entry.what & URINGFS_DESCRIPTOR_READ:
        _read(entry)
    if entry.what & URINGFS_DESCRIPTOR_WAKE:
        _wake(entry)


def _wake(entry: _Entry) -> None:
    """futex(2)"""
    _, most, _, address, length, _ = ADVICE.unpack(ENTRY.pack(*astuple(entry)))
    op = FUTEX_WAKE_BITSET | (FUTEX_PRIVATE_FLAG if length >> 32 else 0)
    mask = ctypes.c_uint32(length & U32)
    at = ctypes.c_void_p(address)
    entry.res = _result(libc.syscall(ctypes.c_long(NR["futex"]), at, op, most, None, None, mask))


def _read(entry: _Entry) -> None:
    """read(2), which does not wait. A signalfd knows RWF_NOWAIT since Linux 6.11; before that it is asked."""
    _, fd, _, address, length, _ = ADVICE.unpack(ENTRY.pack(*astuple(entry)))
    iovec = ctypes.create_string_buffer(IOVEC.pack(address, length), IOVEC.size)
    count = libc.preadv2(fd, iovec, 1, ctypes.c_long(-1), os.RWF_NOWAIT)
    if count < 0 and ctypes.get_errno() == errno.EOPNOTSUPP:
        readable = select.poll()
        readable.register(fd, select.POLLIN)
        if not readable.poll(0):
            entry.res = -errno.EAGAIN
            return
        count = libc.read(fd, ctypes.c_void_p(address), ctypes.c_size_t(length))
    entry.res = -ctypes.get_errno() if count < 0 else count


def _waitid(entry: _Entry) -> None:
    """waitid(2), which does not wait: the daemon says when to try again."""
    info = _Siginfo()
    entry.res = _result(libc.waitid(entry.which, entry.res, ctypes.byref(info), entry.options))
    entry.code, entry.pid, entry.uid, entry.status = info.si_code, info.si_pid, info.si_uid, info.si_status


def _result(returned: int) -> int:
    return -ctypes.get_errno() if returned < 0 else 0
