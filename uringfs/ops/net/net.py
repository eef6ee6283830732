"""SOCKET, BIND, LISTEN, CONNECT, SHUTDOWN (io_uring/net.c)."""

import errno
import os
import socket
from collections.abc import Callable
from functools import partial

from uringfs import native
from uringfs.abi.constants import IOSQE_FIXED_FILE
from uringfs.abi.control import URINGFS_ENTER_CONNECTS, URINGFS_ENTER_WAITS
from uringfs.abi.events import EPOLLOUT
from uringfs.abi.net import SOCK_CLOEXEC, SOCK_NONBLOCK, SOCK_TYPE_MASK
from uringfs.abi.numbers import s32
from uringfs.clientwork.delivery import Delivery
from uringfs.engine.locks import TicketLock
from uringfs.engine.request import Holds, Outcome, Request
from uringfs.errors import UringError
from uringfs.host.net.sockets import INET, Creator, SocketCredentials, attempt, attempt_in_thread, kind, unix_path
from uringfs.host.protocols import File
from uringfs.ops.events.readiness import Readiness
from uringfs.ops.files.newfile import deliver, file_lock
from uringfs.ops.net.msghdr import address

CONNECTS = URINGFS_ENTER_WAITS | URINGFS_ENTER_CONNECTS


def prep_shutdown(request: Request) -> None:
    """io_shutdown_prep()"""
    sqe = request.sqe
    if sqe.off or sqe.addr or sqe.rw_flags or sqe.buf_index or sqe.file_index:
        raise UringError(errno.EINVAL)


def issue_shutdown(request: Request) -> Outcome:
    """io_shutdown(): io-wq's work, for it may have to wait for the socket's lock"""
    file = request.file()
    kind(file)
    request.lenient = True  # no req_set_fail()

    async def shutdown() -> int:
        await attempt_in_thread(native.sock_shutdown, file.fileno(), s32(request.sqe.len))
        return 0

    return shutdown


def prep_socket(request: Request) -> None:
    """io_socket_prep()"""
    sqe = request.sqe
    if sqe.addr or sqe.rw_flags or sqe.buf_index:
        raise UringError(errno.EINVAL)
    flags = s32(sqe.off) & ~SOCK_TYPE_MASK
    if sqe.file_index and flags & SOCK_CLOEXEC:
        raise UringError(errno.EINVAL, "a registered file is not closed by exec")
    if flags & ~(SOCK_CLOEXEC | SOCK_NONBLOCK):
        raise UringError(errno.EINVAL, f"socket flags {flags:#x}")
    request.data = Creator(request.caller)


def issue_socket(request: Request) -> Outcome:
    """io_socket()"""
    delivery = None if request.sqe.file_index else request.context.deliveries.begin(request.caller)
    lock = file_lock(request)

    async def create() -> int:
        if delivery is None:
            return await _create(request, None, lock)
        with delivery:
            return await _create(request, delivery, lock)

    return create


async def _create(request: Request, delivery: Delivery | None, lock: TicketLock) -> int:
    sqe, creator = request.sqe, request.data
    type_ = s32(sqe.off)
    fd = await creator.socket(sqe.fd, type_ & ~SOCK_CLOEXEC, s32(sqe.len))
    request.lenient = delivery is None  # io_socket() ignores what io_fixed_fd_install() says
    return await deliver(request, fd, bool(type_ & SOCK_CLOEXEC), delivery, lock)


def _prep_address(request: Request) -> None:
    """io_bind_prep(), io_connect_prep()"""
    sqe = request.sqe
    if sqe.len or sqe.buf_index or sqe.rw_flags or sqe.file_index:
        raise UringError(errno.EINVAL)
    request.data = address(request.caller.memory, sqe.addr, sqe.addr2)


prep_bind = _prep_address
prep_connect = _prep_address


def issue_bind(request: Request) -> Outcome:
    """io_bind(): a path is looked up, and a port may need a capability."""
    file, name = request.file(), request.data
    if kind(file).domain == socket.AF_UNIX and unix_path(name) is not None:
        return _acting(request, "bind", file, name, len(name))
    identity = SocketCredentials(request.caller)
    if identity.foreign:  # with its capabilities there, which an actor can have
        return _acting(request, "bind", file, name, len(name))

    request.holds = Holds.ALL

    async def bind() -> int:
        await identity.call(native.sock_bind, file.fileno(), name)
        return 0

    return bind


def prep_listen(request: Request) -> None:
    """io_listen_prep()"""
    sqe = request.sqe
    if sqe.addr or sqe.buf_index or sqe.rw_flags or sqe.file_index or sqe.off:
        raise UringError(errno.EINVAL)


def issue_listen(request: Request) -> Outcome:
    """io_listen(): of AF_UNIX as the caller, whom who connects finds in SO_PEERCRED"""
    file, backlog = request.file(), s32(request.sqe.len)
    if kind(file).domain == socket.AF_UNIX:
        delivery = _client_calls(request)
        if delivery is None:
            return _acting(request, "listen", file, backlog)
        request.holds = Holds.ALL
        return partial(_listen, delivery, request.sqe.fd, request.sqe.len)
    attempt(native.sock_listen, file.fileno(), backlog)
    return 0


def _acting(request: Request, name: str, *args: int | bytes | File) -> Outcome:
    actor = request.caller.actor()
    request.holds = Holds.ALL

    async def call() -> int:
        result, _ = await actor.call(name, *args)
        return result

    return call


def _client_calls(request: Request) -> Delivery | None:
    """The client's turn to make the call on a descriptor of its own, so that the other end sees it. None: it makes
    no calls, has no number for the file, has other credentials, or may have let go what the request points to."""
    if request.flags & IOSQE_FIXED_FILE or request.sqe.personality or request.caller.can & CONNECTS != CONNECTS:
        return None
    delivery = request.context.deliveries.begin(request.caller, URINGFS_ENTER_CONNECTS)
    if delivery.awaits_enter:
        return delivery
    delivery.forget()
    return None


async def _listen(delivery: Delivery, fd: int, backlog: int) -> int:
    with delivery:
        return await delivery.listen(fd, backlog)


def _connect_unix(request: Request, file: File, name: bytes) -> Outcome:
    """unix_stream_connect(): the client does not wait for room in the other's queue, a helper does."""
    delivery = _client_calls(request)
    if delivery is None:
        return _acting(request, "connect", file, name, len(name))
    actor, sqe = request.caller.actor(), request.sqe
    request.holds = Holds.ALL

    async def connect() -> int:
        with delivery:
            result = await delivery.connect(sqe.fd, sqe.addr, len(name))
        if result == -errno.EAGAIN:
            result, _ = await actor.call("connect", file, name, len(name))
        return result

    return connect


def issue_connect(request: Request) -> Outcome:
    """io_connect(): of AF_UNIX as the caller, whom the other end finds in SO_PEERCRED"""
    file, name = request.file(), request.data
    domain = kind(file).domain
    if domain == socket.AF_UNIX:
        return _connect_unix(request, file, name)
    identity = None if domain in INET else SocketCredentials(request.caller)

    async def once() -> None:
        call: Callable[[int, bytes], None] = native.sock_connect
        if identity is not None:
            await identity.call(call, file.fileno(), name)
        else:
            await attempt_in_thread(call, file.fileno(), name)

    request.holds = Holds.ALL

    async def connect() -> int:
        with Readiness(request, file, EPOLLOUT) as ready:
            try:
                await once()
                return 0
            except UringError as error:
                if error.errno != errno.EINPROGRESS:
                    raise
            request.taken_effect()
            while True:
                await ready.wait()
                try:
                    await once()
                    return 0
                except UringError as error:
                    if error.errno == errno.EISCONN:
                        return -_sock_error(file)
                    if error.errno not in (errno.EINPROGRESS, errno.EALREADY):
                        raise

    return connect


def _sock_error(file: File) -> int:
    with socket.socket(fileno=os.dup(file.fileno())) as ours:
        return ours.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
