"""A socketpair(2) of a client, for descriptors that it is to take into its table."""

import array
import errno
import os
import socket
from collections.abc import Sequence
from contextlib import suppress

import trio

from uringfs import native
from uringfs.abi.net import UCRED
from uringfs.errors import UringError


def own_end(fd: int, group: int) -> socket.socket:
    """A duplicate of the caller's socket, both of whose ends process `group` must have made: another, at the far
    end, might take what we say for root's word. EINVAL, EPERM."""
    ours = socket.socket(fileno=os.dup(fd))
    try:
        if ours.family != socket.AF_UNIX or ours.type != socket.SOCK_SEQPACKET:
            raise OSError(errno.EINVAL, "not a socketpair(2) of AF_UNIX, SOCK_SEQPACKET")
        pid, _, _ = UCRED.unpack(ours.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, UCRED.size))
        if pid != group:
            raise OSError(errno.EPERM, "the socket's other end is not the caller's")
    except OSError:
        close_socket(ours)
        raise
    return ours


def send_message(sock: socket.socket, data: bytes, fds: Sequence[int]) -> None:
    """Never waits, though the client may have changed O_NONBLOCK (send_fds() drops its flags)."""
    rights = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", fds))] if fds else []
    sock.sendmsg([data], rights, socket.MSG_DONTWAIT | socket.MSG_NOSIGNAL)


class LocalChannel:
    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock

    def send(self, data: bytes, fds: Sequence[int]) -> bool:
        try:
            send_message(self._sock, data, fds)
        except BlockingIOError:
            return False
        except OSError as error:
            raise UringError.of(error) from error
        return True

    async def room(self) -> None:
        await trio.lowlevel.wait_writable(self._sock)

    async def receive(self, size: int) -> bytes:
        while True:
            await trio.lowlevel.wait_readable(self._sock)
            with suppress(BlockingIOError):
                return self._received(size)

    def received(self, size: int) -> bytes:
        try:
            return self._received(size)
        except BlockingIOError:
            return b""

    def _received(self, size: int) -> bytes:
        data = bytearray(size)
        try:
            return bytes(data[: native.sock_recvmsg(self._sock.fileno(), data, False, 0, 0)[0]])
        except BlockingIOError:
            raise
        except OSError as error:
            raise UringError.of(error) from error

    def close(self) -> None:
        with suppress(OSError):  # it has come to its end already
            self._sock.shutdown(socket.SHUT_RDWR)
        close_socket(self._sock)


def close_socket(sock: socket.socket) -> None:
    """There may be anything in its queue."""
    if sock.fileno() >= 0:
        native.close_soon(sock.detach())
