"""What SEND and RECV have in common (io_uring/net.c): how far they have come, that they wait, how they end."""

import errno
from typing import Generic, Protocol, TypeVar

import trio

from uringfs.abi.constants import IOSQE_BUFFER_SELECT
from uringfs.abi.net import MSG_DONTWAIT
from uringfs.engine.request import Outcome, Request
from uringfs.errors import UringError
from uringfs.host.net.sockets import SocketKind
from uringfs.host.protocols import File, Iovec
from uringfs.ops.events.readiness import Readiness
from uringfs.ops.rw.buffers import Buffers


class Prepared(Protocol):
    """What prep has copied (struct io_sr_msg)."""

    msg_flags: int
    iovecs: list[Iovec]


M = TypeVar("M", bound=Prepared)


class SendRecv(Generic[M]):
    """One request. issue() and _rest() are a direction's."""

    _names_null = True
    """A CQE names a buffer of PROVIDE_BUFFERS at NULL (Buffers)."""

    def __init__(self, request: Request, file: File, of: SocketKind) -> None:
        self._request = request
        self._message: M = request.data
        self._file = file
        self._kind = of
        self._iovecs = self._message.iovecs
        self._buffers = Buffers(request, self._names_null) if request.flags & IOSQE_BUFFER_SELECT else None
        self._ready: Readiness | None = None
        """Armed when it was issued."""
        self._done = 0
        """Bytes of this request, or of this CQE of a multishot, that have been transferred."""

    def _blocked(self) -> Outcome:
        """Wait for the socket, or fail with EAGAIN where MSG_DONTWAIT is set."""
        if self._message.msg_flags & MSG_DONTWAIT:
            return self._failed(UringError(errno.EAGAIN))
        self._ready = self._request.arm(self._readiness())
        return self._run

    def _readiness(self) -> Readiness:
        """What it waits for, armed."""
        raise NotImplementedError

    def _failed(self, error: UringError) -> int:
        """io_sendrecv_fail(): what was transferred counts."""
        if not self._done:
            raise error.again() from error
        self._request.failed = True
        if self._buffers is not None:
            self._request.cqe_flags |= self._buffers.put(self._done)
        return self._done

    async def _run(self) -> int:
        try:
            return await self._rest()
        except trio.Cancelled:
            if not self._done:
                raise
            return self._failed(UringError(errno.ECANCELED))

    async def _rest(self) -> int:
        """Wait until the file is ready and try, until it is done."""
        raise NotImplementedError
