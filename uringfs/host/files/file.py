"""An open file description of the caller in the daemon's hands.

The descriptor is a duplicate (pidfd_getfd(2)): position and status flags are the caller's too, so
O_NONBLOCK is never touched. The order is the kernel's own: try without blocking, then wait for
readiness where the file can be polled, then a thread.
"""

import errno
import fcntl
import os
import socket
import stat
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AbstractContextManager, nullcontext, suppress
from dataclasses import replace
from functools import cached_property

import trio

from uringfs import native
from uringfs.abi.constants import RWF_APPEND, RWF_NOWAIT
from uringfs.abi.libc import libc
from uringfs.abi.machine import NR
from uringfs.abi.numbers import PAGE
from uringfs.errors import UringError
from uringfs.host.files.blind import Blind, blind
from uringfs.host.files.calls import SPLICE_F_NONBLOCK, Splice
from uringfs.host.files.descriptor import Descriptor
from uringfs.host.files.filesystems import polls_at_once
from uringfs.host.files.limits import within_fsize
from uringfs.host.files.transfers import (
    aligned,
    positioned,
    read_aligned,
    send_nothing,
    write_from_nowhere,
    write_until_fault,
)
from uringfs.host.net.scm import NAMING, credentials, send_as
from uringfs.host.protocols import INFINITY, Caller, Data, Fault, File, Iovec, Out
from uringfs.host.threads import Threads

CURRENT_POSITION = -1
INET = socket.AF_INET, socket.AF_INET6
_KCMP_FILE = 0
STRANGERS = 1 << 16
"""Bytes that one call of a helper moves."""
_OWN = nullcontext()


def same_description(fd: int, other: int) -> bool:
    """Both descriptors of ours are of one open file description."""
    pid = os.getpid()
    return bool(libc.syscall(NR["kcmp"], pid, pid, _KCMP_FILE, fd, other) == 0)


DISCARDING = frozenset((os.makedev(1, 3), os.makedev(1, 5)))  # /dev/null, /dev/zero
UNPOLLED = frozenset(os.makedev(1, minor) for minor in (1, 3, 4, 5, 7))
"""/dev/mem, null, port, zero, full (drivers/char/mem.c)."""


class LocalFile(Descriptor):
    """host.protocols.File"""

    def __init__(self, fd: int, own_device: int, threads: Threads, tid: int = 0) -> None:
        """tid: a thread that has it, or may know the mount it is on."""
        super().__init__(fd, own_device, threads)
        self._status = fcntl.fcntl(fd, fcntl.F_GETFL)
        self._tid = tid
        device, inode, mode, _, _ = self._stat
        self.identity = device, inode
        self.inode = inode if device == own_device else 0
        self._limited = stat.S_ISREG(mode)  # generic_write_checks(): by RLIMIT_FSIZE
        self.regular = self._limited or stat.S_ISBLK(mode) or stat.S_ISDIR(mode)
        self.pipe = stat.S_ISFIFO(mode)
        self.direct = bool(self._status & os.O_DIRECT) and self.regular
        # A read of our own mount would be answered by ourselves, who wait for it.
        no_read = errno.EISDIR if stat.S_ISDIR(mode) else errno.EINVAL
        self.refused = no_read if device == own_device else 0
        self._socket = stat.S_ISSOCK(mode)
        self._socket_kind: tuple[int, int, int] | None = None
        if self.regular or self.refused or self.pipe or self._socket:
            self.streaming = not (self.regular or self.refused)
        self._blind: Blind | None = None
        self._anonymous: str | None = None
        self._polls_at_once: bool | None = None
        self.nonblock, self.nowait = False, True

    @cached_property
    def streaming(self) -> bool:
        return not positioned(self.fd)

    def _kind(self) -> Blind:
        """Asked of what is read or written, for it costs as much as a small read."""
        if self._blind is None:
            self._blind = blind(self.fd, self._stat, self._tid)
        return self._blind

    def _socket_type(self) -> tuple[int, int]:
        """SO_DOMAIN and SO_TYPE of what is a socket, asked once: no more of them changes than AF_INET6 to AF_INET
        (IPV6_ADDRFORM)."""
        if self._socket_kind is None:
            self._socket_kind = native.sock_kind(self.fd)
        return self._socket_kind[:2]

    def _is_unix(self) -> bool:
        return self._socket and self._socket_type()[0] == socket.AF_UNIX

    def anonymous(self) -> str:
        """The name of an anonymous inode, asked once; empty for all that has a type."""
        if self._anonymous is None:
            self._anonymous = "" if stat.S_IFMT(self._stat[2]) else self.name()
        return self._anonymous

    def signalfd(self) -> bool:
        return self.anonymous() == "anon_inode:[signalfd]"

    def is_eventfd(self) -> bool:
        return self.anonymous() == "anon_inode:[eventfd]"

    def timed(self) -> bool:
        return self.anonymous() == "anon_inode:[timerfd]"

    def polls_at_once(self) -> bool:
        """Polling it asks the kernel alone."""
        if self._polls_at_once is None:
            self._polls_at_once = polls_at_once(self.fd, self._stat[2], self._stat[3], self.anonymous())
        return self._polls_at_once

    @property
    def can_poll(self) -> bool:
        """Nothing on a disk, nor memory as a device."""
        return not self.regular and self._stat[3] not in UNPOLLED

    def on_procfs(self) -> bool:
        """True if a read asks who reads: a helper that is the caller has to do it."""
        return self._kind().itself

    def _reading(self, caller: Caller) -> AbstractContextManager[None]:
        kind = self._kind()
        if kind.installs:
            raise UringError(errno.EOPNOTSUPP, "a read of this file makes descriptors in the reader's table")
        return _OWN if kind.reads else caller.rights()

    def _writing(self, caller: Caller) -> AbstractContextManager[None]:
        return _OWN if self._kind().writes else caller.rights()

    def name(self) -> str:
        return os.readlink(f"/proc/self/fd/{self.fd}")

    def readable_mode(self) -> bool:
        return self._status & os.O_ACCMODE != os.O_WRONLY and not self._status & os.O_PATH

    def writable_mode(self) -> bool:
        return self._status & os.O_ACCMODE != os.O_RDONLY and not self._status & os.O_PATH

    def appends(self) -> bool:
        return bool(fcntl.fcntl(self.fd, fcntl.F_GETFL) & os.O_APPEND)

    def synced(self) -> bool:
        return bool(fcntl.fcntl(self.fd, fcntl.F_GETFL) & (os.O_DSYNC | os.O_SYNC))

    def on_disk(self) -> bool:
        return self._limited and not self.refused and self._kind().reads

    def nonblocking(self) -> bool:
        return bool(fcntl.fcntl(self.fd, fcntl.F_GETFL) & os.O_NONBLOCK)

    def try_read(self, size: int, offset: int, flags: int, caller: Caller, iovecs: Sequence[Iovec] = ()) -> Data:
        try:
            if self._kind().itself:
                raise OSError(errno.EOPNOTSUPP, "a procfs knows no RWF_NOWAIT")
            with self._reading(caller):
                return self._preadv2(size, offset, flags | RWF_NOWAIT, iovecs)
        except OSError as error:
            if error.errno != errno.EOPNOTSUPP:
                raise UringError.of(error) from error
        self.nowait = False
        # The file knows no NOWAIT (io_file_supports_nowait()): with O_NONBLOCK a plain read is safe.
        if self._status & os.O_NONBLOCK and not self.regular:
            self.nonblock = True
            return self._read_or_raise(size, offset, flags, caller, iovecs)
        raise UringError(errno.EAGAIN)

    async def read(self, size: int, offset: int, flags: int, caller: Caller, iovecs: Sequence[Iovec] = ()) -> Data:
        if self._kind().itself:
            return (await caller.actor().call("preadv2", self, offset, flags, Out(min(size, STRANGERS))))[1]
        if not self.regular:
            await self.wait()
            if self.nowait:
                try:
                    return self.try_read(size, offset, flags, caller, iovecs)
                except UringError as error:
                    if error.errno != errno.EAGAIN:
                        raise
        return await self.in_thread(lambda: self._read_or_raise(size, offset, flags, caller, iovecs))

    def try_write(self, data: Data, offset: int, flags: int, caller: Caller, iovecs: Sequence[Iovec] = ()) -> int:
        try:
            if self._kind().itself:
                raise OSError(errno.EOPNOTSUPP, "a procfs knows no RWF_NOWAIT")
            with self._writing(caller):
                return self._pwritev2(data, offset, flags | RWF_NOWAIT, caller, iovecs)
        except OSError as error:
            refusal = self._nowait_refusal(error)
            if refusal.errno != errno.EOPNOTSUPP:
                raise refusal from error
        self.nowait = False
        if self._status & os.O_NONBLOCK and not self.regular:
            self.nonblock = True
            with self._writing(caller):
                return self._write_or_raise(data, offset, flags, caller, iovecs)
        raise UringError(errno.EAGAIN)

    def knows_nowait(self) -> bool:
        # asked by a read behind the end
        try:
            os.preadv(self.fd, [bytearray(1)], 1 << 62, RWF_NOWAIT)
        except OSError as error:
            return error.errno != errno.EOPNOTSUPP
        return True

    def bytestream(self) -> bool:
        return self.pipe or (self._socket and self._socket_type()[1] == socket.SOCK_STREAM)

    def discards(self) -> bool:
        return stat.S_ISCHR(self._stat[2]) and os.fstat(self.fd).st_rdev in DISCARDING

    def takes(self, count: int) -> int:
        if self.pipe:  # anon_pipe_write() takes nothing of a page it cannot copy whole
            return count & ~(PAGE - 1)
        if self._socket:  # skb_do_copy_data_nocache() of TCP; others copy a message or nothing
            domain, type_ = self._socket_type()
            return count if domain in INET and type_ == socket.SOCK_STREAM else 0
        return 0 if self.streaming or self.direct else count

    def write_fault(
        self, iovecs: Sequence[Iovec], offset: int, flags: int, caller: Caller, readable: Data = b""
    ) -> Fault:
        written = 0
        try:
            with self._writing(caller):
                written = self._write_until_fault(iovecs, offset, flags, caller, readable)
        except OSError as error:
            refusal = self._nowait_refusal(error) if flags & RWF_NOWAIT else UringError.of(error)
            if flags & RWF_NOWAIT and refusal.errno == errno.EOPNOTSUPP:
                self.nowait = False
                return Fault(0, UringError(errno.EAGAIN))
            return Fault(0, refusal)
        return Fault(written, UringError(errno.EFAULT))

    def _write_until_fault(
        self, iovecs: Sequence[Iovec], offset: int, flags: int, caller: Caller, readable: Data
    ) -> int:
        if self.pipe or self._socket:
            return write_from_nowhere(self.fd, iovecs, CURRENT_POSITION, flags | RWF_NOWAIT)
        if self.streaming:
            if not self.is_eventfd():
                return 0
            return write_from_nowhere(self.fd, iovecs, CURRENT_POSITION, flags & ~RWF_NOWAIT)
        if not readable:
            return write_from_nowhere(self.fd, iovecs, offset, flags)
        size = sum(length for _, length in iovecs)
        fits = self._within_limit(size, offset, flags, caller.limit_fsize())
        return write_until_fault(self.fd, iovecs, readable[:fits], fits, offset, flags)

    def _within_limit(self, size: int, offset: int, flags: int, limit: int) -> int:
        append = bool(self._status & os.O_APPEND or flags & RWF_APPEND)
        return within_fsize(self.fd, size, offset, append, limit) if self._limited and limit != INFINITY else size

    async def write(
        self,
        source: Callable[[], Data],
        offset: int,
        flags: int,
        caller: Caller,
        iovecs: Sequence[Iovec] = (),
    ) -> int:
        if self._kind().itself:
            data = bytes(source()[:STRANGERS])
            return (await caller.actor().call("pwritev2", self, offset, flags, data))[0]
        limit = caller.limit_fsize() if self._limited else INFINITY

        def run() -> int:
            data = source()  # of the caller's memory, which takes our own rights
            if data:
                data = data[: self._within_limit(len(data), offset, flags, limit)]
            with self._writing(caller):
                return self._write_or_raise(data, offset, flags, caller, iovecs)

        return await self.in_thread(run, serial=self.identity if self.regular else None)

    async def call(self, system_call: Callable[[int], int], caller: Caller) -> int:
        if isinstance(system_call, Splice) and (self._kind().itself or _on_procfs(system_call.source)):
            return await self._spliced(system_call, caller)
        keeping = 0
        if isinstance(system_call, Splice) and self._is_unix():
            system_call, keeping = replace(system_call, sender=credentials(caller)), NAMING

        def run() -> int:
            while True:
                try:
                    with caller.rights(keeping):
                        return system_call(self.fd)
                except InterruptedError:
                    continue
                except OSError as error:
                    raise UringError.of(error) from error

        return await self.in_thread(run, abandon=False)

    async def _spliced(self, call: Splice, caller: Caller) -> int:
        offsets = call.offset_in, self, call.offset_out
        flags = call.flags | SPLICE_F_NONBLOCK
        return (await caller.actor().call("splice", call.source, *offsets, call.length, flags))[0]

    async def wait(self) -> None:
        await self._until(trio.lowlevel.wait_readable)

    async def wait_writable(self) -> None:
        await self._until(trio.lowlevel.wait_writable)

    async def _until(self, ready: Callable[[int], Awaitable[None]]) -> None:
        with suppress(PermissionError):  # a file that cannot be polled never blocks for long
            try:
                await ready(self.fd)
            except trio.BusyResourceError:  # another request of a registered file waits: one task a descriptor
                own = os.dup(self.fd)
                try:
                    await ready(own)
                finally:
                    native.close_soon(own)

    async def unread(self, count: int) -> None:
        await self.in_thread(lambda: os.lseek(self.fd, -count, os.SEEK_CUR))

    def same(self, other: File) -> bool:
        return isinstance(other, LocalFile) and same_description(self.fd, other.fileno())

    def _preadv2(self, size: int, offset: int, flags: int, iovecs: Sequence[Iovec] = ()) -> Data:
        if self._socket and offset > 0:  # sock_read_iter()
            raise OSError(errno.ESPIPE, "a socket has no offset")
        offset = CURRENT_POSITION if self.streaming else offset
        if iovecs:
            return read_aligned(self.fd, iovecs, offset, flags)
        data = bytearray(size)
        read = native.sock_preadv2 if self._socket else native.preadv2
        return memoryview(data)[: read(self.fd, data, offset, flags)]

    def _pwritev2(self, data: Data, offset: int, flags: int, caller: Caller, iovecs: Sequence[Iovec]) -> int:
        if self._socket and offset > 0:  # sock_write_iter()
            raise OSError(errno.ESPIPE, "a socket has no offset")
        if self._is_unix():
            return send_as(self.fd, self._socket_type()[1], data, flags, caller)
        if self._socket and not data:
            return send_nothing(self.fd)
        offset = CURRENT_POSITION if self.streaming else offset
        if not iovecs:
            return native.pwritev2(self.fd, data, offset, flags)
        views, start = aligned(iovecs), 0
        for number, view in enumerate(views):
            piece = data[start : start + len(view)]
            view[: len(piece)] = piece
            views[number] = view[: len(piece)]
            start += len(piece)
        return os.pwritev(self.fd, views, offset, flags)

    def _nowait_refusal(self, error: OSError) -> UringError:
        """io_write(): EAGAIN where the file system has no FOP_BUFFER_WASYNC."""
        buffered = self.regular and not self.direct
        if buffered and error.errno in (errno.EOPNOTSUPP, errno.EINVAL) and self.knows_nowait():
            return UringError(errno.EAGAIN)
        return UringError.of(error)

    def _write_or_raise(self, data: Data, offset: int, flags: int, caller: Caller, iovecs: Sequence[Iovec]) -> int:
        while True:
            try:
                return self._pwritev2(data, offset, flags, caller, iovecs)
            except InterruptedError:
                continue
            except OSError as error:
                raise (self._nowait_refusal(error) if flags & RWF_NOWAIT else UringError.of(error)) from error

    def _read_or_raise(self, size: int, offset: int, flags: int, caller: Caller, iovecs: Sequence[Iovec]) -> Data:
        while True:
            try:
                with self._reading(caller):
                    return self._preadv2(size, offset, flags, iovecs)
            except InterruptedError:
                continue
            except OSError as error:
                raise UringError.of(error) from error


def _on_procfs(file: File) -> bool:
    return isinstance(file, LocalFile) and file.on_procfs()
