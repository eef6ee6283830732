"""RECV and RECVMSG, single and multishot (io_uring/net.c)."""

import errno

from uringfs.abi.constants import (
    IORING_CQE_F_BUF_MORE,
    IORING_CQE_F_SOCK_NONEMPTY,
    IOSQE_ASYNC,
    IOSQE_BUFFER_SELECT,
)
from uringfs.abi.events import EPOLLERR, EPOLLIN, EPOLLPRI, EPOLLRDHUP
from uringfs.abi.net import (
    IORING_RECV_MULTISHOT,
    IORING_RECVSEND_BUNDLE,
    IORING_RECVSEND_POLL_FIRST,
    MSG_CTRUNC,
    MSG_ERRQUEUE,
    MSG_OOB,
    MSG_TRUNC,
    MSG_WAITALL,
    RECVMSG_OUT,
)
from uringfs.abi.structs import IOVEC
from uringfs.engine.request import Outcome, Request
from uringfs.errors import UringError
from uringfs.host.net.sockets import SocketKind, kind, queued
from uringfs.host.protocols import File, Iovec
from uringfs.ops.events.readiness import Readiness
from uringfs.ops.net.msghdr import UserMsghdr
from uringfs.ops.net.received import Answer, Found, Passes, Received, Unsettled, pass_on, receive
from uringfs.ops.net.sendrecv import SendRecv
from uringfs.ops.rw.buffers import Buffers
from uringfs.ops.rw.iovec import advanced, import_iovec, import_ubuf, total, truncated

RECV_FLAGS = IORING_RECVSEND_POLL_FIRST | IORING_RECV_MULTISHOT | IORING_RECVSEND_BUNDLE
MULTISHOT_MAX_RETRY = 32
INT_MAX = 0x7FFFFFFF
CQE_F_MASK = IORING_CQE_F_SOCK_NONEMPTY | IORING_CQE_F_BUF_MORE


class RecvMsg:
    """struct io_sr_msg, and what prep has copied."""

    def __init__(self, request: Request) -> None:
        sqe = request.sqe
        self.flags = sqe.ioprio
        self.msg_flags = sqe.msg_flags
        self.header: UserMsghdr | None = None
        self.iovecs: list[Iovec] = []
        self.length = 0
        """How much of a provided buffer is to be used, 0 for all of it."""
        self.limit = 0
        """All that a multishot receives, 0 for no end (IORING_RECV_MSHOT_LIM)."""

    @property
    def multishot(self) -> bool:
        return bool(self.flags & IORING_RECV_MULTISHOT)


def _prep(request: Request, recv: bool) -> RecvMsg:
    """io_recvmsg_prep()"""
    sqe, selects = request.sqe, request.flags & IOSQE_BUFFER_SELECT
    if sqe.addr2 or sqe.len >> 31:
        raise UringError(errno.EINVAL)
    if sqe.ioprio & ~RECV_FLAGS:
        raise UringError(errno.EINVAL, f"receive flags {sqe.ioprio:#x}")
    message = RecvMsg(request)
    if message.multishot:
        if not selects:
            raise UringError(errno.EINVAL, "many receives need provided buffers")
        if message.msg_flags & MSG_WAITALL:
            raise UringError(errno.EINVAL, "each of many is as long as it is")
        if recv:
            message.limit = sqe.optlen
        elif sqe.file_index:
            raise UringError(errno.EINVAL)
    elif sqe.file_index:
        raise UringError(errno.EINVAL)
    if message.flags & IORING_RECVSEND_BUNDLE and not recv:
        raise UringError(errno.EINVAL, "a message is no bundle")
    request.data = message
    return message


def prep_recv(request: Request) -> None:
    message = _prep(request, True)
    if request.flags & IOSQE_BUFFER_SELECT:
        message.length = request.sqe.len
    else:
        message.iovecs = import_ubuf(request.sqe.addr, request.sqe.len)


def prep_recvmsg(request: Request) -> None:
    """io_recvmsg_copy_hdr()"""
    message, caller = _prep(request, False), request.caller
    message.header = header = UserMsghdr.copy(caller.memory, request.sqe.addr)
    header.check_iovlen()
    if not request.flags & IOSQE_BUFFER_SELECT:
        message.iovecs = import_iovec(caller, header.iov, header.iovlen)
        return
    if header.iovlen > 1:
        raise UringError(errno.EINVAL, "provided buffers take the place of one iovec")
    if header.iovlen:
        message.length = IOVEC.unpack(caller.memory.read(header.iov, IOVEC.size))[1]
    if message.multishot:
        _prep_out(message, header)


def _prep_out(message: "RecvMsg", header: UserMsghdr) -> None:
    """io_recvmsg_mshot_prep(): room for a name although msg_name is not looked at. EOVERFLOW."""
    if header.name_room < 0 or RECVMSG_OUT.size + header.name_room + header.controllen > INT_MAX:
        raise UringError(errno.EOVERFLOW)
    message.header = header._replace(namelen=header.name_room)


def issue(request: Request) -> Outcome:
    """io_recv(), io_recvmsg()"""
    file = request.file()
    return Receive(request, file, kind(file)).issue()


class Receive(SendRecv[RecvMsg]):
    _names_null = False

    def __init__(self, request: Request, file: File, of: SocketKind) -> None:
        super().__init__(request, file, of)
        self._bundle = bool(self._message.flags & IORING_RECVSEND_BUNDLE) and self._buffers is not None
        self._left = self._message.limit
        self._shots = 0
        self._before: Found | None = None
        self._unsettled = False
        self._inq = -1  # behind the last receive
        self._capped = False  # a bundle of a multishot had all it asks for at once
        self._retry_flags: int | None = None
        self._passes: Received | None = None  # of which descriptors have to be installed

    def issue(self) -> Outcome:
        if not self._message.flags & IORING_RECVSEND_POLL_FIRST:
            try:
                answer = self._receive()
            except Passes as passes:
                self._passes = passes.got
                return self._run
            except UringError as error:
                if error.errno != errno.EAGAIN:
                    return self._failed(error)
            else:
                return answer.res if not answer.passed else lambda: answer.deliver(self._request)
        return self._blocked()

    def _readiness(self) -> Readiness:
        flags = self._message.msg_flags
        events = 0 if flags & MSG_ERRQUEUE else EPOLLPRI if flags & MSG_OOB else EPOLLIN | EPOLLRDHUP
        return Readiness(self._request, self._file, events, not self._message.multishot)

    async def _rest(self) -> int:
        with self._ready or self._readiness() as ready:
            while True:
                passed = await self._installed()
                if passed is None and self._unsettled:
                    await ready.once_more(taken=self._before is not None)
                elif passed is None:
                    await ready.wait()
                self._unsettled = False
                try:
                    answer = self._receive(passed)
                except Passes as passes:
                    self._passes = passes.got
                    continue
                except UringError as error:
                    if error.errno != errno.EAGAIN:
                        return self._failed(error)
                    capped, self._capped = self._capped and self._inq != 0, False
                    if capped or self._shots > MULTISHOT_MAX_RETRY:
                        ready.again()
                    self._shots = 0
                    continue
                return await answer.deliver(self._request) if answer.passed else answer.res

    async def _installed(self) -> Received | None:
        """What has been received already, once the descriptors of it are installed."""
        got, self._passes = self._passes, None
        return None if got is None else await pass_on(self._request, got)

    def _receive(self, first: Received | None = None) -> Answer:
        """Until it is done, or EAGAIN. Passes."""
        while True:
            got, first = first or self._once(), None
            if got.passed and self._message.multishot:
                raise Passes(got)
            res = got.res + self._done if got.res > 0 else self._done or got.res
            if not res and self._buffers is not None:
                self._buffers.recycle()
            if self._finish(res, got):
                return Answer(res, got)

    def _finish(self, res: int, got: Received) -> bool:
        """io_recv_finish(). EAGAIN if a multishot has to wait for its next."""
        mask = self._request.context.host.poller.mask(self._file, EPOLLRDHUP) or 0
        hung_up = bool(mask & EPOLLRDHUP)
        inq = queued(self._file, self._kind, hung_up and not mask & EPOLLERR)
        self._inq = inq
        flags = IORING_CQE_F_SOCK_NONEMPTY if inq > 0 else 0
        limited = self._limit_reached(res)
        empty = goes_on = False
        if self._buffers is not None and (selection := self._buffers.selection) is not None:
            goes_on = self._bundle and not selection.partial and got.res == total(self._iovecs)
            flags |= self._buffers.put(got.res if self._bundle else res)
            empty = self._bundle and selection.empty
        self._capped = self._bundle and self._message.multishot and 0 < self._message.length <= res
        if self._retry_flags is not None:
            flags, self._retry_flags = self._retry_flags | flags & CQE_F_MASK, None
        elif goes_on and not (empty or limited or self._capped) and inq > 1 and got.res > 0:
            self._retry_flags, self._done = flags & ~CQE_F_MASK, res
            return False
        finished = got.res <= 0 or got.last or empty or limited
        if not self._message.multishot or finished or not self._request.post_more(res, flags):
            self._request.cqe_flags |= flags
            return True
        self._done = 0
        if self._message.header is not None:
            self._message.length = 0  # io_mshot_prep_retry(): the iovec was about the first
        # an end that came with the data has no edge of its own any more (io_poll_check_events())
        if (inq == 0 and not hung_up) or self._shots >= MULTISHOT_MAX_RETRY or self._capped:
            self._shots += 1
            raise UringError(errno.EAGAIN)
        self._shots += 1
        return False

    def _limit_reached(self, res: int) -> bool:
        if not self._message.limit or res <= 0:
            return False
        self._left -= min(res, self._left)
        return not self._left

    def _once(self) -> Received:
        """One try, or what MSG_WAITALL makes of it. EAGAIN."""
        message, request = self._message, self._request
        if self._buffers is not None and self._buffers.selection is None:
            self._select(self._buffers)
        try:
            before, self._before = self._before, None
            got = receive(request, self._file, self._kind, message.header, self._iovecs, message.multishot, before)
        except Unsettled as unsettled:
            self._before, self._unsettled = unsettled.found, True
            raise
        except UringError as error:
            if self._retry_flags is None:
                self._inq, self._capped = -1, False
            if error.errno != errno.EAGAIN and self._retry_flags is not None:
                got = Received(0)
            else:
                if not self._done and self._buffers is not None:
                    self._buffers.recycle()
                raise
        waitall = message.msg_flags & MSG_WAITALL and not (message.header and message.header.controllen)
        if waitall and got.res < total(self._iovecs):
            if got.res > 0 and self._kind.streams:
                self._done += got.res
                self._iovecs = advanced(self._iovecs, got.res)
                raise UringError(errno.EAGAIN)
            request.failed = True
        elif message.msg_flags & MSG_WAITALL and got.flags & (MSG_TRUNC | MSG_CTRUNC):
            request.failed = True
        return got

    def _select(self, buffers: Buffers) -> None:
        """io_recv_buf_select(): a worker takes one buffer, of a bundle too."""
        message = self._message
        worker = self._request.flags & IOSQE_ASYNC and not message.multishot
        length = self._bundled(message.length) if self._bundle else message.length
        try:
            if self._bundle and not worker:
                selection = buffers.peek(length)
            else:
                selection = buffers.select(length, multishot=message.multishot)
        except UringError:
            self._request.failed = True
            raise
        self._iovecs = selection.iovecs if self._bundle or not length else truncated(selection.iovecs, length)

    def _bundled(self, length: int) -> int:
        """min_not_zero() of what is asked for, or is there, and what a multishot may still receive. What goes on
        with a bundle asks for all that is there (io_recv_finish())."""
        asked = self._inq if self._retry_flags is not None else length
        if not asked and self._inq > 1:
            asked = self._inq
        return min((limit for limit in (asked, self._left) if limit), default=0)
