"""What is behind a descriptor, as strace -yy says it: a path, or the addresses of a socket."""

import os
import socket
import time
from collections.abc import Callable
from contextlib import suppress

from uringfs.errors import UringError
from uringfs.host.protocols import File

_PROTOCOLS = {socket.SOCK_STREAM: "TCP", socket.SOCK_DGRAM: "UDP"}
LASTS = 1_000_000_000
"""ns that the addresses of a connected socket are taken to be the same: asking for them costs as much as the
request that is shown."""
MOST_SOCKETS = 1024
_sockets: dict[str, tuple[int, str]] = {}
"""socket:[INODE] -> until when (CLOCK_MONOTONIC, ns), and what it is."""
_INET = {socket.AF_INET: "", socket.AF_INET6: "v6"}


def describe(file: File) -> bytes:
    """Asks the open file alone, through our own descriptor of it."""
    try:
        return _described(file.name(), file.fileno)
    except (UringError, OSError):
        return b""


def describe_own(fd: int) -> bytes:
    """describe() of what this descriptor of our own is."""
    try:
        return _described(os.readlink(f"/proc/self/fd/{fd}"), lambda: fd)
    except OSError:
        return b""


def _described(name: str, fileno: Callable[[], int]) -> bytes:
    if name.startswith("socket:"):
        with suppress(OSError):
            name = _known_socket(name, fileno) or name
    return name.encode("utf-8", "surrogateescape")


def _known_socket(inode: str, fileno: Callable[[], int]) -> str:
    now = time.monotonic_ns()
    until, found = _sockets.get(inode, (0, ""))
    if now >= until:
        found, lasts = _socket(fileno())
        if lasts:
            if len(_sockets) >= MOST_SOCKETS:
                _sockets.clear()
            _sockets[inode] = now + LASTS, found
    return found


def _socket(fd: int) -> tuple[str, bool]:
    """(what it is, whether it goes on being that): not before it is connected, nor with datagrams, whose other end
    may be another at any time."""
    with socket.socket(fileno=os.dup(fd)) as sock:
        family, kind = sock.family, sock.type
        show: Callable[..., str] = _address
        if family == socket.AF_UNIX:
            name, show = "UNIX", _path
        elif family in _INET and kind in _PROTOCOLS:
            name = f"{_PROTOCOLS[kind]}{_INET[family]}"
        else:
            return "", False
        peer = _peer(sock, show)
        return f"{name}:[{show(sock.getsockname())}{peer}]", bool(peer) and kind != socket.SOCK_DGRAM


def _peer(sock: socket.socket, show: Callable[..., str]) -> str:
    with suppress(OSError):
        return f"->{show(sock.getpeername())}"
    return ""


def _path(address: str | bytes) -> str:
    if isinstance(address, bytes):
        return "@" + address[1:].decode("utf-8", "surrogateescape")
    return address


def _address(address: tuple[str, int]) -> str:
    host, port = address[:2]
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
