"""What this process must not do itself, done by one just forked off.

Of its own /proc directory the kernel hides nothing from a process: not its memory, not where its descriptors
lead. Links lead there, a descriptor of the caller's may stand for it, a mount may. But nobody has been in a
place to get hold of the directory of a process that did not exist then: so whoever follows a magic link, or
opens something on a procfs, was not there yet when that was found. It has the same rights otherwise, and is
to the helper what any other process of the caller's user is: not allowed to look into it.
"""

import array
import errno
import os
import socket
from collections.abc import Callable
from struct import Struct
from typing import NoReturn

from uringfs.host.helper.identity import die_with
from uringfs.host.helper.kernel import failure

_RESULT = Struct("<q?")  # the result or -errno, and whether it is a descriptor
MAX_RESULT = 1 << 17
Act = Callable[[], tuple[int, bytes]]


def by_stranger(act: Act, opens: bool = False) -> tuple[int, bytes]:
    """act() in a process of its own: what it returns, or the OSError it raises. opens: its result is a
    descriptor. ECANCELED if it is killed."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with ours:
        with theirs:
            parent = os.getpid()
            pid = os.fork()
            if not pid:
                _perform(theirs, parent, act, opens)
        try:
            return _result(ours)
        finally:
            os.waitpid(pid, 0)


def _perform(sock: socket.socket, parent: int, act: Act, opens: bool) -> NoReturn:
    try:
        die_with(parent)
        try:
            result, out = act()
        except OSError as error:
            sock.send(_RESULT.pack(-(error.errno or errno.EIO), False))
        else:
            rights = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [result]))] if opens else []
            sock.sendmsg([_RESULT.pack(result, opens), out], rights)
    finally:
        os._exit(0)


def _result(sock: socket.socket) -> tuple[int, bytes]:
    data, fds, _, _ = socket.recv_fds(sock, MAX_RESULT, 1)
    if not data:
        raise failure(errno.ECANCELED)
    result, opens = _RESULT.unpack_from(data)
    if result < 0:
        raise failure(-result)
    return fds[0] if opens else result, data[_RESULT.size :]
