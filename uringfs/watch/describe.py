"""What is behind a descriptor, as strace -yy says it: a path, or the addresses of a socket."""

import os
import socket
from collections.abc import Callable
from contextlib import suppress

from uringfs.errors import UringError
from uringfs.host.protocols import File

_PROTOCOLS = {socket.SOCK_STREAM: "TCP", socket.SOCK_DGRAM: "UDP"}
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
            name = _socket(fileno()) or name
    return name.encode("utf-8", "surrogateescape")


def _socket(fd: int) -> str:
    with socket.socket(fileno=os.dup(fd)) as sock:
        family, kind = sock.family, sock.type
        if family == socket.AF_UNIX:
            return f"UNIX:[{_path(sock.getsockname())}{_peer(sock, _path)}]"
        if family not in _INET or kind not in _PROTOCOLS:
            return ""
        return f"{_PROTOCOLS[kind]}{_INET[family]}:[{_address(sock.getsockname())}{_peer(sock, _address)}]"


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
