"""SEND, SENDMSG, and SEND_ZC, SENDMSG_ZC, which copy all the same (io_uring/net.c)."""

import errno
import socket

from uringfs import native
from uringfs.abi.constants import (
    IORING_CQE_F_MORE,
    IORING_CQE_F_NOTIF,
    IOSQE_ASYNC,
    IOSQE_BUFFER_SELECT,
    IOSQE_CQE_SKIP_SUCCESS,
)
from uringfs.abi.events import EPOLLOUT
from uringfs.abi.net import (
    IORING_NOTIF_USAGE_ZC_COPIED,
    IORING_RECVSEND_BUNDLE,
    IORING_RECVSEND_FIXED_BUF,
    IORING_RECVSEND_POLL_FIRST,
    IORING_SEND_VECTORIZED,
    IORING_SEND_ZC_REPORT_USAGE,
    MSG_DONTWAIT,
    MSG_WAITALL,
    MSG_ZEROCOPY,
)
from uringfs.abi.numbers import U32
from uringfs.engine.request import Holds, Outcome, Request
from uringfs.errors import UringError
from uringfs.host.files.closing import close_fd
from uringfs.host.net.sockets import INET, SocketCredentials, SocketKind, attempt, kind, reachable, unix_path
from uringfs.host.protocols import Data, File, Iovec, Memory
from uringfs.ops.events.readiness import Readiness
from uringfs.ops.net.msghdr import UserMsghdr, address, copy_control, outgoing
from uringfs.ops.net.sendrecv import SendRecv
from uringfs.ops.rw.buffers import Buffers
from uringfs.ops.rw.iovec import advanced, import_iovec, import_ubuf, total, truncated

SEND_FLAGS = IORING_RECVSEND_POLL_FIRST | IORING_RECVSEND_BUNDLE | IORING_SEND_VECTORIZED
ZC_FLAGS = (
    IORING_RECVSEND_POLL_FIRST | IORING_RECVSEND_FIXED_BUF | IORING_SEND_ZC_REPORT_USAGE | IORING_SEND_VECTORIZED
)
MSG_INTERNAL_SENDMSG_FLAGS = 0x8000000 | 0x10000 | 0x100000
CHUNK = 1 << 20
"""Bytes of a stream gathered at once."""
MAX_DATAGRAM = 1 << 24


class SendMsg:
    """struct io_sr_msg, and what prep has copied."""

    def __init__(self, flags: int, msg_flags: int) -> None:
        self.flags = flags
        self.msg_flags = msg_flags & ~(MSG_INTERNAL_SENDMSG_FLAGS | MSG_ZEROCOPY)
        self.name: bytes | None = None
        self.header: UserMsghdr | None = None
        self.iovecs: list[Iovec] = []
        self.memory: Memory | None = None
        """The memory of the registered buffer that is sent, if it is one."""


class ZeroCopyNotification:
    """struct io_kiocb of io_alloc_notif(): its CQE comes behind the request's own."""

    def __init__(self, request: Request) -> None:
        self._request = request
        self.res = 0

    def close(self) -> None:
        self._request.context.post_cqe(self._request.sqe.user_data, self.res, IORING_CQE_F_NOTIF)


def _prep(request: Request) -> SendMsg:
    """io_sendmsg_prep()"""
    sqe = request.sqe
    if sqe.len >> 31:
        raise UringError(errno.EINVAL, "a negative length")
    if sqe.ioprio & ~SEND_FLAGS:
        raise UringError(errno.EINVAL, f"send flags {sqe.ioprio:#x}")
    request.data = message = SendMsg(sqe.ioprio, sqe.msg_flags)
    return message


def prep_send(request: Request) -> None:
    message = _prep(request)
    if message.flags & IORING_RECVSEND_BUNDLE:
        message.msg_flags |= MSG_WAITALL
    _setup_send(request, message)


def _setup_send(request: Request, message: SendMsg) -> None:
    """io_send_setup()"""
    sqe, caller = request.sqe, request.caller
    if sqe.pad3:
        raise UringError(errno.EINVAL)
    if sqe.addr2:
        message.name = address(caller.memory, sqe.addr2, sqe.addr_len)
    if request.flags & IOSQE_BUFFER_SELECT or message.flags & IORING_RECVSEND_FIXED_BUF:
        return
    if message.flags & IORING_SEND_VECTORIZED:
        message.iovecs = import_iovec(caller, sqe.addr, sqe.len)
    else:
        message.iovecs = import_ubuf(sqe.addr, sqe.len)


def prep_sendmsg(request: Request) -> None:
    if request.sqe.addr2 or request.sqe.file_index:
        raise UringError(errno.EINVAL)
    message = _prep(request)
    if message.flags & IORING_RECVSEND_BUNDLE:
        raise UringError(errno.EINVAL, "a message is no bundle")
    _setup_sendmsg(request, message)


def _setup_sendmsg(request: Request, message: SendMsg) -> None:
    """io_sendmsg_copy_hdr()"""
    memory = request.caller.memory
    message.header = header = UserMsghdr.copy(memory, request.sqe.addr)
    if header.namelen:
        message.name = address(memory, header.name, header.namelen)
    header.check_iovlen()
    message.iovecs = import_iovec(request.caller, header.iov, header.iovlen)


def _prep_zc(request: Request) -> SendMsg:
    """io_send_zc_prep()"""
    sqe = request.sqe
    if sqe.pad2 or sqe.addr3:
        raise UringError(errno.EINVAL)
    if request.flags & IOSQE_CQE_SKIP_SUCCESS:
        raise UringError(errno.EINVAL, "a notification cannot be skipped")
    notification = ZeroCopyNotification(request)
    request.held.append(notification)
    request.cqe_flags = IORING_CQE_F_MORE
    if sqe.ioprio & ~ZC_FLAGS:
        raise UringError(errno.EINVAL, f"send flags {sqe.ioprio:#x}")
    if sqe.ioprio & IORING_SEND_ZC_REPORT_USAGE:
        notification.res = IORING_NOTIF_USAGE_ZC_COPIED
    request.data = message = SendMsg(sqe.ioprio, sqe.msg_flags)
    return message


def prep_send_zc(request: Request) -> None:
    _setup_send(request, _prep_zc(request))


def prep_sendmsg_zc(request: Request) -> None:
    message = _prep_zc(request)
    if request.sqe.addr2 or request.sqe.file_index:
        raise UringError(errno.EINVAL)
    _setup_sendmsg(request, message)


def issue_zc(request: Request) -> Outcome:
    """io_send_zc(), io_sendmsg_zc()"""
    file, message = request.file(), request.data
    of = kind(file)
    if not of.zerocopy:
        raise UringError(errno.EOPNOTSUPP, "the protocol sends no pages")
    if message.flags & IORING_RECVSEND_FIXED_BUF:
        buffer = request.buffer()
        if message.header is None:
            message.iovecs = [(request.sqe.addr, request.sqe.len)]
        for start, length in message.iovecs:
            buffer.validate(start, length)
        message.memory = buffer.memory
    return Send(request, file, of).issue()


def issue(request: Request) -> Outcome:
    """io_send(), io_sendmsg()"""
    file = request.file()
    if request.flags & IOSQE_ASYNC and request.data.flags & IORING_RECVSEND_BUNDLE:
        return _multishot_of_a_worker(file)
    return Send(request, file, kind(file)).issue()


def _multishot_of_a_worker(file: File) -> Outcome:
    """io_wq_submit_work(): a worker leaves a multishot to the poll, and cancels what is ready by then. Behind the
    poll io_req_task_submit() gives it to a worker again."""
    if file.regular:
        raise UringError(errno.EBADFD, "a multishot needs a file that can be polled")

    async def wait() -> int:
        await file.wait_writable()
        raise UringError(errno.ECANCELED)

    if file.writable():
        raise UringError(errno.ECANCELED)
    return wait


class Send(SendRecv[SendMsg]):
    def __init__(self, request: Request, file: File, of: SocketKind) -> None:
        super().__init__(request, file, of)
        self._control = b""
        self._identity: SocketCredentials | None = None
        self._bundle = bool(self._message.flags & IORING_RECVSEND_BUNDLE)
        self._flags = request.cqe_flags
        """The flags of a CQE that names no buffer."""
        self._length = request.sqe.len
        """Bytes to take of a buffer ring; 0: what is there."""

    def issue(self) -> Outcome:
        message, domain = self._message, self._kind.domain
        if message.flags & IORING_RECVSEND_POLL_FIRST:
            return self._blocked()
        self._copy_control()
        unix = domain == socket.AF_UNIX
        if unix and unix_path(message.name or b"") is not None:
            self._request.holds = Holds.ALL
            return lambda: self._to_path()
        if not unix and (self._control or domain not in INET):
            # what is asked for may take a capability
            self._identity, self._bundle = SocketCredentials(self._request.caller), False
            self._request.holds = Holds.ALL
            return self._run
        try:
            return self._send()
        except UringError as error:
            if error.errno != errno.EAGAIN:
                return self._failed(error)
        return self._blocked()

    def _copy_control(self) -> None:
        header, domain = self._message.header, self._kind.domain
        if header is not None:
            self._control = copy_control(self._request.caller.memory, header)
        if domain not in INET:
            self._control = outgoing(self._request, self._control, domain == socket.AF_UNIX)

    async def _to_path(self) -> int:
        """A path is looked up as the caller, and may have to be writable to it."""
        request = self._request
        assert self._message.name is not None
        self._identity, self._bundle = SocketCredentials(request.caller, naming=True), False
        self._message.name, fd = await reachable(request.caller.actor(), self._message.name)
        try:
            return await self._run()
        finally:
            close_fd(fd)

    def _readiness(self) -> Readiness:
        return Readiness(self._request, self._file, EPOLLOUT)

    async def _rest(self) -> int:
        first = not self._message.flags & IORING_RECVSEND_POLL_FIRST and self._identity is not None
        with self._ready or self._readiness() as ready:
            while True:
                if not first:
                    await ready.wait()
                if self._message.flags & IORING_RECVSEND_POLL_FIRST and self._message.header is not None:
                    self._message.flags &= ~IORING_RECVSEND_POLL_FIRST
                    self._copy_control()
                first = False
                try:
                    if self._identity is not None:
                        return await self._identity.call(self._send)
                    return self._send()
                except UringError as error:
                    if error.errno != errno.EAGAIN or self._message.msg_flags & MSG_DONTWAIT:
                        return self._failed(error)
                    self._request.taken_effect()

    @property
    def _memory(self) -> Memory:
        return self._message.memory or self._request.caller.memory

    def _send(self) -> int:
        """One try. EAGAIN."""
        while True:
            if self._buffers is not None and self._buffers.selection is None:
                self._select(self._buffers)
            sent, whole = self._once()
            if sent < whole and (self._message.msg_flags & MSG_WAITALL or self._bundle):
                if sent > 0 and self._message.msg_flags & MSG_WAITALL and self._kind.streams:
                    self._go_on(sent)
                    raise UringError(errno.EAGAIN)
                self._request.failed = True
            result = sent + self._done
            if self._finish(result):
                return result

    def _select(self, buffers: Buffers) -> None:
        """io_send_select_buffer()"""
        selection = buffers.select_committed(self._length, self._bundle)
        self._request.cqe_flags = self._flags | selection.put(0)
        self._iovecs = selection.iovecs

    def _finish(self, result: int) -> bool:
        """io_send_finish(): False if a bundle goes on."""
        selection = None if self._buffers is None else self._buffers.selection
        if self._buffers is None or selection is None:
            # A bundle without provided buffers goes on with nothing, once
            if not (self._bundle and result > 0 and self._request.post_more(result, 0)):
                return True
            self._done, self._iovecs = 0, []
            return False
        flags = self._buffers.put(result)
        if self._bundle and result > 0 and not selection.empty and self._request.post_more(result, flags):
            self._done, self._request.cqe_flags = 0, self._flags
            self._length = 0  # io_mshot_prep_retry()
            return False
        return True

    def _go_on(self, sent: int) -> None:
        self._done += sent
        self._iovecs = advanced(self._iovecs, sent)
        self._control = b""

    def _once(self) -> tuple[int, int]:
        """(sent, asked for)"""
        whole, sent, iovecs = total(self._iovecs), 0, self._iovecs
        streaming = self._kind.type == socket.SOCK_STREAM
        while True:
            size = min(whole - sent, CHUNK if streaming else MAX_DATAGRAM)
            try:
                count = self._sendmsg(self._gather(iovecs, size), b"" if sent else self._control)
            except UringError:
                if not sent:
                    raise
                return sent, whole
            sent += count
            if count < size or sent == whole or not streaming:
                return sent, whole
            iovecs = advanced(iovecs, count)

    def _gather(self, iovecs: list[Iovec], size: int) -> Data:
        """EFAULT where nothing, or not a whole message, can be copied."""
        data = self._memory.gather(truncated(iovecs, size))
        if len(data) < size:
            streaming = self._kind.type == socket.SOCK_STREAM
            if not data or not streaming or self._kind.domain not in INET:
                if streaming:
                    self._sendmsg(b"", b"")  # what is wrong with the socket comes first
                raise UringError(errno.EFAULT)
        return data

    def _sendmsg(self, data: Data, control: bytes) -> int:
        return attempt(
            native.sock_sendmsg,
            self._file.fileno(),
            data,
            self._message.name,
            control,
            self._message.msg_flags & U32,
        )
