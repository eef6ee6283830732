"""System calls on open files that Python's os lacks or says differently. Each is an object that is called
with the descriptor, in a thread: a test sees what was asked for. Failures are OSError."""

import ctypes
import errno
import fcntl
import os
import stat
from dataclasses import dataclass

from uringfs import native
from uringfs.abi.libc import libc
from uringfs.host.files.limits import check_newsize, within_fsize
from uringfs.host.protocols import INFINITY, File

_OFF = ctypes.c_int64
SPLICE_F_NONBLOCK = 2
FALLOC_FL_KEEP_SIZE = 0x01
FALLOC_FL_RESIZES = FALLOC_FL_KEEP_SIZE | 0x02 | 0x08 | 0x20
"""KEEP_SIZE, PUNCH_HOLE, COLLAPSE_RANGE, INSERT_RANGE: the end is not where offset + length says."""
TMPFS_MAGIC = 0x01021994


def _checked(result: int) -> int:
    if result < 0:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))
    return result


@dataclass(frozen=True)
class Fsync:
    datasync: bool

    def __call__(self, fd: int) -> int:
        os.fdatasync(fd) if self.datasync else os.fsync(fd)
        return 0


@dataclass(frozen=True)
class SyncFileRange:
    offset: int
    length: int
    flags: int

    def __call__(self, fd: int) -> int:
        return _checked(libc.sync_file_range(fd, self.offset, self.length, self.flags))


@dataclass(frozen=True)
class Fallocate:
    mode: int
    offset: int
    length: int
    limit: int
    """RLIMIT_FSIZE"""

    def __call__(self, fd: int) -> int:
        somewhere = self.offset >= 0 and self.length > 0
        if somewhere and self.limit != INFINITY and _writable_file(fd) and self._checks_newsize(fd):
            check_newsize(fd, self.offset + self.length, self.limit)
        return _checked(libc.fallocate(fd, self.mode, self.offset, self.length))

    def _checks_newsize(self, fd: int) -> bool:
        """ext4_fallocate() and others: where the file grows. shmem_fallocate(): with KEEP_SIZE, too."""
        resizes = self.mode & FALLOC_FL_RESIZES
        return not resizes or (resizes == FALLOC_FL_KEEP_SIZE and _magic(fd) == TMPFS_MAGIC)


@dataclass(frozen=True)
class Ftruncate:
    length: int
    limit: int

    def __call__(self, fd: int) -> int:
        if self.limit != INFINITY and self.length > self.limit and _writable_file(fd):
            check_newsize(fd, self.length, self.limit)
        return _checked(libc.ftruncate(fd, self.length))


@dataclass(frozen=True)
class Fadvise:
    offset: int
    length: int
    advice: int

    def __call__(self, fd: int) -> int:
        code = libc.posix_fadvise(fd, self.offset, self.length, self.advice)
        if code:
            raise OSError(code, os.strerror(code))
        return 0


@dataclass(frozen=True)
class Splice:
    """Called with the descriptor to write to. Offsets: -1 is none."""

    source: File
    offset_in: int
    offset_out: int
    length: int
    flags: int
    limit: int
    sender: bytes = b""
    """Control message that names who sends to a Unix socket: splice_to_socket() would put in our own ids."""

    def __call__(self, fd: int) -> int:
        if self.sender:
            return self._to_unix_socket(fd)
        length = self.length
        if self.limit != INFINITY and _writable_file(fd):
            length = within_fsize(fd, length, self.offset_out, False, self.limit)
        offset_in, offset_out = _OFF(self.offset_in), _OFF(self.offset_out)
        return _checked(
            libc.splice(
                self.source.fileno(),
                None if self.offset_in == -1 else ctypes.byref(offset_in),
                fd,
                None if self.offset_out == -1 else ctypes.byref(offset_out),
                length,
                self.flags | SPLICE_F_NONBLOCK,
            )
        )

    def _to_unix_socket(self, fd: int) -> int:
        """The source is a pipe, or splice(2) says EINVAL. What is sent is a copy, and is then taken out of it.
        EAGAIN"""
        source, sent = self.source.fileno(), 0
        if self.source.pipe and self.offset_in != -1:  # do_splice()
            raise OSError(errno.ESPIPE, "a pipe has no offset")
        if not self.source.pipe or self.offset_out != -1:
            raise OSError(errno.EINVAL, "one side must be a pipe, and a socket has no offset")
        while sent < self.length:
            try:
                data = _peek(source, min(self.length - sent, PEEK))
                count = native.sock_sendmsg(fd, data, None, self.sender, 0) if data else 0
            except OSError:
                if not sent:
                    raise
                break
            _drop(source, count)
            sent += count
            if not data or count < len(data):
                break
        return sent


PEEK = 1 << 16
"""What a new pipe holds; bytes."""


def _peek(pipe: int, most: int) -> bytes:
    """What a pipe has, which stays in it. EAGAIN; nothing at its end."""
    read, write = os.pipe2(os.O_CLOEXEC)
    try:
        count = _checked(libc.tee(pipe, write, most, SPLICE_F_NONBLOCK))
        return os.read(read, count) if count else b""
    finally:
        os.close(read)
        os.close(write)


def _drop(pipe: int, count: int) -> None:
    """Drop bytes of a pipe, not by read(2): after a splice(2) it knows no RWF_NOWAIT (pipe_clear_nowait())."""
    null = os.open(os.devnull, os.O_WRONLY | os.O_CLOEXEC)
    try:
        while count > 0:
            gone = _checked(libc.splice(pipe, None, null, None, count, SPLICE_F_NONBLOCK))
            count -= gone or count
    finally:
        os.close(null)


@dataclass(frozen=True)
class Tee:
    """Called with the descriptor to write to."""

    source: File
    length: int
    flags: int

    def __call__(self, fd: int) -> int:
        return _checked(libc.tee(self.source.fileno(), fd, self.length, self.flags | SPLICE_F_NONBLOCK))


def _magic(fd: int) -> int:
    """statfs.f_type"""
    found = (ctypes.c_long * 15)()  # struct statfs
    _checked(libc.fstatfs(fd, found))
    return int(found[0])


def _writable_file(fd: int) -> bool:
    status = fcntl.fcntl(fd, fcntl.F_GETFL)
    return stat.S_ISREG(os.fstat(fd).st_mode) and status & os.O_ACCMODE != os.O_RDONLY
