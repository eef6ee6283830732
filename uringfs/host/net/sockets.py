"""Sockets in a caller's name: made in its network namespace, bound, connected and set up with its
capabilities, and what AF_UNIX tells the other end of who sends.

Calls that look at credentials run in a thread of the pool with the caller's (Caller.rights()); those
that resolve a path run as its actor.
"""

import ctypes
import os
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import NamedTuple, TypeVar

import trio

from uringfs import native
from uringfs.abi.libc import libc
from uringfs.errors import UringError
from uringfs.host.net.scm import NAMING
from uringfs.host.protocols import Actor, Caller, File, Name
from uringfs.host.threads import in_thread

MAX_THREADS = 32
CLONE_NEWNET = 0x40000000
AT_FDCWD = -100
O_PATH = os.O_PATH | os.O_CLOEXEC
INET = (socket.AF_INET, socket.AF_INET6)
IPPROTO_TCP = 6
IPPROTO_MPTCP = 262
_limiter = trio.CapacityLimiter(MAX_THREADS)
T = TypeVar("T")


class SocketKind(NamedTuple):
    domain: int
    type: int
    protocol: int

    @property
    def streams(self) -> bool:
        """io_net_retry(): a short transfer can be gone on with."""
        return self.type in (socket.SOCK_STREAM, socket.SOCK_SEQPACKET)

    @property
    def tells_queue(self) -> bool:
        """recvmsg(2) with msg_get_inq says how much is left: TCP and AF_UNIX streams."""
        tcp = self.domain in INET and self.protocol in (IPPROTO_TCP, IPPROTO_MPTCP)
        return self.type == socket.SOCK_STREAM and (tcp or self.domain == socket.AF_UNIX)

    @property
    def zerocopy(self) -> bool:
        """SOCK_SUPPORT_ZC: TCP and UDP"""
        known = ((socket.SOCK_STREAM, IPPROTO_TCP), (socket.SOCK_DGRAM, socket.IPPROTO_UDP))
        return self.domain in INET and (self.type, self.protocol) in known


def kind(file: File) -> SocketKind:
    """sock_from_file(). ENOTSOCK."""
    return SocketKind(*attempt(native.sock_kind, file.fileno()))


def attempt(call: Callable[..., T], *args: object) -> T:
    """A system call: UringError for OSError, again for EINTR."""
    while True:
        try:
            return call(*args)
        except InterruptedError:
            continue
        except OSError as error:
            raise UringError.of(error) from error


async def attempt_in_thread(call: Callable[..., T], *args: object) -> T:
    """Call in a thread, as attempt() does. Not cancelled once begun: what the call has done counts."""
    return await in_thread(attempt, call, *args, limiter=_limiter)


class SocketCredentials:
    """A caller's credentials, for system calls on sockets. naming: of those that send in its name to Unix sockets,
    which takes rights of ours (host.scm). ESRCH."""

    def __init__(self, caller: Caller, naming: bool = False) -> None:
        self._caller = caller.detached()
        self.foreign = caller.foreign
        self._keeping = NAMING if naming else 0

    async def call(self, call: Callable[..., T], *args: object) -> T:
        """Call in a thread, with these credentials. Not cancelled once begun: what it has done counts."""
        return await in_thread(self._acting, call, args, limiter=_limiter)

    def _acting(self, call: Callable[..., T], args: tuple[object, ...]) -> T:
        with self._caller.rights(self._keeping):
            return attempt(call, *args)


class Creator(SocketCredentials):
    """socket(2) in the caller's network namespace."""

    def __init__(self, caller: Caller) -> None:
        super().__init__(caller)
        self._netns = -1
        path = f"/proc/{caller.tid}/ns/net"
        try:
            if os.readlink(path) != os.readlink("/proc/thread-self/ns/net"):
                self._netns = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        except OSError as error:
            raise UringError.of(error) from error

    async def socket(self, domain: int, type_: int, protocol: int) -> int:
        return await in_thread(self._socket, domain, type_, protocol, limiter=_limiter)

    def _socket(self, domain: int, type_: int, protocol: int) -> int:
        try:
            with _in_namespace(self._netns), self._caller.rights():
                return attempt(native.sock_socket, domain, type_, protocol)
        except OSError as error:
            raise UringError.of(error) from error

    def __del__(self) -> None:
        if getattr(self, "_netns", -1) >= 0:
            os.close(self._netns)


@contextmanager
def _in_namespace(netns: int) -> Iterator[None]:
    """This thread alone. A failed return ends the process: a thread must not keep a client's network."""
    if netns < 0:
        yield
        return
    own = os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
    try:
        # Where we are first: a daemon in a user namespace of its own could not come back to the network it has.
        if libc.setns(own, CLONE_NEWNET) or libc.setns(netns, CLONE_NEWNET):
            code = ctypes.get_errno()
            raise OSError(code, os.strerror(code))
        try:
            yield
        finally:
            if libc.setns(own, CLONE_NEWNET):
                os.abort()
    finally:
        os.close(own)


def unix_path(address: bytes) -> bytes | None:
    """The path in an AF_UNIX address that has one: neither abstract nor empty."""
    if len(address) <= 2 or int.from_bytes(address[:2], "little") != socket.AF_UNIX or not address[2]:
        return None
    return address[2:].split(b"\0")[0]


async def reachable(actor: Actor, address: bytes) -> tuple[bytes, int]:
    """An address to send to in place of one with a path: (address, descriptor of ours to be closed)."""
    path = unix_path(address)
    assert path is not None
    fd, _ = await actor.call("openat", AT_FDCWD, Name(path), O_PATH, 0)
    return address[:2] + b"/proc/thread-self/fd/%d" % fd, fd


def queued(file: File, of: SocketKind, hangup: bool) -> int:
    """msghdr.msg_inq: bytes left to read; -1 where the socket does not say. tcp_inq(): 1 at the end."""
    if not of.tells_queue:
        return -1
    count = attempt(native.sock_queue, file.fileno(), False)
    return count or int(hangup and of.domain in INET)
