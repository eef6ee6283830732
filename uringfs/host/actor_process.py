"""The process that performs path system calls in a caller's name. A program of its own: imports nothing of
uringfs, and is run by host.actor with a socket as its standard input.

A process and not a thread of the daemon: for /proc/self (and any link to it) is whoever resolves a path,
and of itself the kernel hides nothing. This one has nothing to hide: no other client's descriptors are
open in it, no other client's memory is mapped. It has one thread, so it can join a user namespace; from
there is no way back, so it serves the same identity from then on. Any failure to take or put back an
identity ends it.
"""

import ctypes
import errno
import marshal
import os
import signal
import socket
from typing import Any

libc = ctypes.CDLL(None, use_errno=True)
ARM = os.uname().machine == "aarch64"
SYS_SETGROUPS, SYS_SETFSUID, SYS_SETFSGID = (159, 151, 152) if ARM else (116, 122, 123)
SYS_SETRESUID, SYS_SETRESGID = (147, 149) if ARM else (117, 119)
SYS_CAPGET, SYS_CAPSET = (90, 91) if ARM else (125, 126)
LINUX_CAPABILITY_VERSION_3 = 0x20080522
CLONE_NEWUSER = 0x10000000
PR_SET_PDEATHSIG, PR_SET_DUMPABLE = 1, 4
ALL = (1 << 64) - 1
MAX_MESSAGE = 1 << 18
MAX_FDS = 8
HEADER = (ctypes.c_uint32 * 2)(LINUX_CAPABILITY_VERSION_3, 0)
CapData = ctypes.c_uint32 * 6  # effective, permitted, inheritable of capabilities 0..31, then of 32..63


def checked(result: int) -> int:
    if result < 0:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))
    return result


def setgroups(groups: tuple[int, ...]) -> None:
    checked(libc.syscall(SYS_SETGROUPS, len(groups), (ctypes.c_uint32 * len(groups))(*groups)))


def capget() -> Any:
    data = CapData()
    checked(libc.syscall(SYS_CAPGET, HEADER, data))
    return data


def set_effective(capabilities: int) -> None:
    data = capget()
    for word in (0, 1):
        data[3 * word] = data[3 * word + 1] & (capabilities >> 32 * word & 0xFFFFFFFF)
    checked(libc.syscall(SYS_CAPSET, HEADER, data))


def die_with_parent() -> None:
    """Changed credentials clear it."""
    checked(libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0))


class Actor:
    """Keeps what it was born with, to put it back."""

    def __init__(self) -> None:
        checked(libc.prctl(PR_SET_DUMPABLE, 0, 0, 0, 0))
        self._groups = tuple(os.getgroups())
        self._uid, self._gid = os.geteuid(), os.getegid()
        self._own = capget()
        self.joined = False

    def assume(self, identity: tuple[Any, ...], fds: list[int]) -> None:
        """fds: root, working directory, and the user namespace to join, if any."""
        uid, gid, groups, capabilities, umask, joins = identity
        self.enter(fds[0])
        os.fchdir(fds[1])
        os.umask(umask)
        if self.joined:
            set_effective(capabilities)
            return
        setgroups(groups)
        # The effective ones, too: SO_PEERCRED shows them to the other end of an AF_UNIX socket. The real and
        # the saved ones stay: they lead back, and keep the caller from sending signals here.
        checked(libc.syscall(SYS_SETRESGID, -1, gid, -1))
        checked(libc.syscall(SYS_SETRESUID, -1, uid, -1))
        checked(libc.syscall(SYS_CAPSET, HEADER, self._own))  # a new effective user has none
        if joins:
            # The ids stay what they are, the capabilities become those within the namespace
            checked(libc.setns(fds[2], CLONE_NEWUSER))
            self.joined = True
        set_effective(capabilities)
        # setfsuid(2) does not fail: it is asked
        if libc.syscall(SYS_SETFSUID, -1) != uid and not joins:
            raise PermissionError
        die_with_parent()

    def enter(self, root: int) -> None:
        """Change the root. What has joined a user namespace has all capabilities there to take again."""
        if self.joined:
            set_effective(ALL)
        os.fchdir(root)
        os.chroot(".")

    def put_back(self) -> None:
        checked(libc.syscall(SYS_CAPSET, HEADER, self._own))
        checked(libc.syscall(SYS_SETRESUID, -1, self._uid, -1))
        checked(libc.syscall(SYS_SETRESGID, -1, self._gid, -1))
        setgroups(self._groups)
        checked(libc.syscall(SYS_CAPSET, HEADER, self._own))  # setfsuid(2) touches them on the way
        die_with_parent()


def perform(number: int, args: tuple[Any, ...], fds: list[int]) -> tuple[int, bytes]:
    """One system call: an int is itself, bytes a pointer to them, ("file", i) a descriptor, ("out", n) a
    pointer to n bytes that are handed back."""
    out: Any = None
    values: list[Any] = [ctypes.c_long(number)]
    for arg in args:
        if isinstance(arg, int):
            values.append(ctypes.c_long(arg - (arg >> 63 << 64)))
        elif isinstance(arg, bytes):
            values.append(ctypes.c_char_p(arg))
        elif arg[0] == "file":
            values.append(ctypes.c_long(fds[arg[1]]))
        else:
            out = ctypes.create_string_buffer(arg[1])
            values.append(out if arg[1] else ctypes.c_void_p(None))
    while True:
        result = libc.syscall(*values)
        if result >= 0:
            return result, out.raw if out is not None else b""
        code = ctypes.get_errno()
        if code != errno.EINTR:
            return -code, b""


def close(fds: list[int]) -> None:
    for fd in fds:
        os.close(fd)


def serve(sock: socket.socket) -> None:
    actor = Actor()
    while True:
        data, fds, _, _ = socket.recv_fds(sock, MAX_MESSAGE, MAX_FDS)
        if not data:
            return
        request = marshal.loads(data)
        if request is None:  # back to the daemon's root: nothing of a client's stays pinned
            actor.enter(fds[0])
            close(fds)
            continue
        identity, number, args, makes_fd = request
        try:
            actor.assume(identity, fds)
        except OSError:
            socket.send_fds(sock, [marshal.dumps(None)], [])
            return
        result, out = perform(number, args, fds[3 if identity[-1] else 2 :])
        if not actor.joined:
            actor.put_back()
        close(fds)
        passed = [result] if makes_fd and result >= 0 else []
        socket.send_fds(sock, [marshal.dumps((result, out))], passed)
        close(passed)


if __name__ == "__main__":
    libc.syscall.restype = ctypes.c_long
    die_with_parent()
    serve(socket.socket(fileno=0))
