"""One helper: becomes somebody, then makes one call after the other for the daemon until the socket ends.

Between calls nothing but that socket is open, and what libffi keeps of its own file.
"""

import array
import ctypes
import errno
import marshal
import os
import socket
from contextlib import suppress
from struct import Struct
from typing import Any, NoReturn

from uringfs.host.helper.caller import HelperCaller
from uringfs.host.helper.calls import CALLS
from uringfs.host.helper.identity import Persona, assume, die_with
from uringfs.host.helper.walk import Numbers

MAX_MESSAGE = 1 << 18
MAX_FDS = 8
REPLY = Struct("<qB")  # a result or -errno, and what has become of the helper: DONE, LAST, UNABLE
DONE, LAST, UNABLE = 0, 1, 2
"""LAST: it has made the call and ends. UNABLE: it has not become who it has to be."""
OPENS = ("openat", "openat2")


def live(sock: socket.socket, parent: int, identity: Persona, fds: list[int]) -> NoReturn:
    """fds: the root directory, and the namespaces to join. First of all the daemon gets a pidfd."""
    try:
        die_with(parent)
        _introduce(sock)
        try:
            assume(identity, fds[0], fds[1:], parent)
        except OSError as error:
            sock.recv(MAX_MESSAGE)  # a call left unread would be told instead (ECONNRESET)
            sock.send(REPLY.pack(-(error.errno or errno.EPERM), UNABLE))
            os._exit(1)
        for fd in fds:
            os.close(fd)
        _serve(sock)
    finally:
        os._exit(0)


def _introduce(sock: socket.socket) -> None:
    pidfd = os.pidfd_open(os.getpid())
    socket.send_fds(sock, [b"pidfd"], [pidfd])
    os.close(pidfd)


def _serve(sock: socket.socket) -> None:
    more = True
    while more:
        data, fds, _, _ = socket.recv_fds(sock, MAX_MESSAGE, MAX_FDS)
        if not data:
            return
        umask, numbers, name, args = marshal.loads(data)
        os.umask(umask)
        result, out = _perform(HelperCaller(Numbers(*numbers), fds[0]), name, args, fds)
        more = _go_home()
        _close(fds)
        opened = [result] if name in OPENS and result >= 0 else []
        rights = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", opened))] if opened else []
        sock.sendmsg([REPLY.pack(result, DONE if more else LAST), out], rights)
        _close(opened)


def _perform(caller: HelperCaller, name: str, args: tuple[Any, ...], fds: list[int]) -> tuple[int, bytes]:
    """An argument is an int, bytes, ("file", i): a descriptor, or ("out", n): a pointer to n bytes that are
    handed back."""
    try:
        return CALLS[name](caller, *[_argument(arg, fds) for arg in args])
    except OSError as error:
        return -(error.errno or errno.EIO), b""
    finally:
        caller.close()


def _argument(arg: Any, fds: list[int]) -> Any:
    if isinstance(arg, int | bytes):
        return arg
    kind, number = arg
    if kind == "file":
        return fds[number]
    return ctypes.create_string_buffer(number)


def _go_home() -> bool:
    """A working directory keeps a mount busy. False: the root is not searchable for its user."""
    with suppress(OSError):
        os.chdir("/")
        return True
    return False


def _close(fds: list[int]) -> None:
    for fd in fds:
        os.close(fd)
