"""ACCEPT (io_uring/net.c): single and multishot, direct descriptors and those of the caller's table."""

import errno
import os
from contextlib import nullcontext
from functools import partial
from socket import SO_ACCEPTCONN

from uringfs import native
from uringfs.abi.constants import IORING_CQE_F_SOCK_NONEMPTY
from uringfs.abi.events import EPOLLIN
from uringfs.abi.net import (
    IORING_ACCEPT_DONTWAIT,
    IORING_ACCEPT_MULTISHOT,
    IORING_ACCEPT_POLL_FIRST,
    SOCK_CLOEXEC,
    SOCK_NONBLOCK,
    SOL_SOCKET,
)
from uringfs.clientwork.delivery import Delivery
from uringfs.engine.request import Outcome, Request
from uringfs.errors import UringError
from uringfs.host.net.sockets import INET, attempt, kind
from uringfs.host.protocols import File
from uringfs.ops.events.readiness import Readiness
from uringfs.ops.files.newfile import IORING_FILE_INDEX_ALLOC, install_fixed
from uringfs.ops.net.msghdr import store_address

ACCEPT_FLAGS = IORING_ACCEPT_MULTISHOT | IORING_ACCEPT_DONTWAIT | IORING_ACCEPT_POLL_FIRST


def prep(request: Request) -> None:
    """io_accept_prep()"""
    sqe = request.sqe
    if sqe.len or sqe.buf_index:
        raise UringError(errno.EINVAL)
    if sqe.ioprio & ~ACCEPT_FLAGS:
        raise UringError(errno.EINVAL, f"accept flags {sqe.ioprio:#x}")
    if sqe.file_index:
        if sqe.accept_flags & SOCK_CLOEXEC:
            raise UringError(errno.EINVAL, "a registered file is not closed by exec")
        if sqe.ioprio & IORING_ACCEPT_MULTISHOT and sqe.file_index != IORING_FILE_INDEX_ALLOC:
            raise UringError(errno.EINVAL, "many sockets do not fit one slot")
    if sqe.accept_flags & ~(SOCK_CLOEXEC | SOCK_NONBLOCK):
        raise UringError(errno.EINVAL, f"socket flags {sqe.accept_flags:#x}")


def issue(request: Request) -> Outcome:
    """io_accept()"""
    return Accept(request, request.file()).issue()


class Accept:
    def __init__(self, request: Request, file: File) -> None:
        self._request = request
        self._file = file
        self._multishot = bool(request.sqe.ioprio & IORING_ACCEPT_MULTISHOT)
        self._direct = bool(request.sqe.file_index)
        self._counts = kind(file).domain in INET
        """Whether it is known that more wait (proto_accept_arg.is_empty)."""

    def issue(self) -> Outcome:
        sqe = self._request.sqe
        first = None if self._direct else self._request.context.deliveries.begin(self._request.caller)
        try:
            if sqe.ioprio & IORING_ACCEPT_POLL_FIRST:
                raise UringError(errno.EAGAIN)
            if not self._file.ready():
                self._probe()
                raise UringError(errno.EAGAIN)
            if first is not None:
                return partial(self._run, first, self._readiness())
            return self._direct_ones()
        except UringError as error:
            if error.errno != errno.EAGAIN or sqe.ioprio & IORING_ACCEPT_DONTWAIT:
                if first is not None:
                    self._request.context.deliveries.forget(first)
                raise
        if first is not None:
            first.expect_no_enter()  # who connects, and when? No fetch waits for that
        return partial(self._run, first, self._readiness())

    def _readiness(self) -> Readiness:
        return self._request.arm(Readiness(self._request, self._file, EPOLLIN, False))

    def _probe(self) -> None:
        """A socket that nobody connects to says so, rather than that it would block. One that listens is not
        asked: it might accept after all."""
        _, listens = attempt(native.sock_getsockopt, self._file.fileno(), SOL_SOCKET, SO_ACCEPTCONN, bytes(4), 4)
        if not any(listens):
            os.close(self._accept()[0])

    def _accept(self) -> tuple[int, bytes]:
        """do_accept(). The address is stored, or the connection is gone."""
        sqe, memory = self._request.sqe, self._request.caller.memory
        with self._request.caller.rights():  # whose socket it will be (sock_alloc())
            fd, name = attempt(native.sock_accept, self._file.fileno(), sqe.accept_flags & SOCK_NONBLOCK)
        try:
            if sqe.addr:
                store_address(memory, name, len(name), sqe.addr, sqe.addr2)
        except UringError:
            os.close(fd)
            raise
        return fd, name

    def _flags(self) -> int:
        return IORING_CQE_F_SOCK_NONEMPTY if self._counts and self._file.ready() else 0

    def _done(self, res: int) -> bool:
        """True if this result is the request's last."""
        flags = self._flags() if res >= 0 else 0
        if res >= 0 and self._multishot and self._request.post_more(res, flags):
            return False
        self._request.cqe_flags = flags
        return True

    def _direct_ones(self) -> int:
        """EAGAIN when none is left and it goes on."""
        while True:
            fd, _ = self._accept()
            res = install_fixed(self._request.context, fd, self._request.sqe.file_index)
            if self._done(res):
                return res
            if not self._file.ready():
                raise UringError(errno.EAGAIN)

    async def _run(self, first: Delivery | None, ready: Readiness) -> int:
        with first or nullcontext(), ready:
            while True:
                await ready.wait()
                try:
                    if self._direct:
                        return self._direct_ones()
                    res = await self._plain_one(first)
                    first = None
                    if self._done(res):
                        return res
                    ready.again()
                except UringError as error:
                    if error.errno != errno.EAGAIN:
                        raise

    async def _plain_one(self, first: Delivery | None) -> int:
        fd, _ = self._accept()
        with first or self._request.context.deliveries.begin(self._request.caller) as delivery:
            return await delivery.new(fd, bool(self._request.sqe.accept_flags & SOCK_CLOEXEC))
