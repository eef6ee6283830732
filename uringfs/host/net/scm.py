"""What goes with a message to a Unix socket: the sender's ids, as SO_PASSCRED shows them to the far end.

The kernel puts in those of who makes the system call (unix_maybe_add_creds()), which would be the daemon's: so
every message that is sent for a caller names the caller.
"""

import errno
import os
import socket
from functools import lru_cache

from uringfs import native
from uringfs.abi.constants import RWF_DONTCACHE
from uringfs.abi.net import CMSGHDR, SCM_CREDENTIALS, UCRED
from uringfs.host.identity.credentials import CAP_SETGID, CAP_SETUID, CAP_SYS_ADMIN
from uringfs.host.protocols import Caller, Data

NAMING = 1 << CAP_SYS_ADMIN | 1 << CAP_SETUID | 1 << CAP_SETGID
"""What it takes to name another (scm_check_creds())."""


@lru_cache(maxsize=1)
def may_name_others() -> bool:
    """scm_check_creds(): another's pid takes CAP_SYS_ADMIN in the user namespace that owns ours of pids. It is
    tried: a daemon in a user namespace of its own has it in that alone. It serves its own user without."""
    data = UCRED.pack(os.getpid() + 1, os.geteuid(), os.getegid())
    sender, receiver = socket.socketpair()
    with sender, receiver:
        try:
            sender.sendmsg([b"?"], [(socket.SOL_SOCKET, SCM_CREDENTIALS, data)])
        except OSError as error:
            return error.errno == errno.ESRCH  # nobody has that pid, but that is asked last
    return True


def credentials(caller: Caller) -> bytes:
    """The control message that names the caller; empty where we may not. ESRCH, ECANCELED: it is gone."""
    if not may_name_others():
        return b""
    data = caller.ucred()
    return CMSGHDR.pack(CMSGHDR.size + len(data), socket.SOL_SOCKET, SCM_CREDENTIALS) + data + bytes(4)


def send_as(fd: int, type_: int, data: Data, flags: int, caller: Caller) -> int:
    """sock_write_iter() of a Unix socket of that type (SOCK_*), in the caller's name, without waiting. With our
    own rights, for it takes them to name another, and nothing else is asked of who sends. OSError; UringError if
    the caller is gone."""
    if flags & RWF_DONTCACHE:  # kiocb_set_rw_flags(): sockets have no FOP_DONTCACHE
        raise OSError(errno.EOPNOTSUPP, "a socket has no cache")
    record = socket.MSG_EOR if type_ == socket.SOCK_SEQPACKET else 0
    return native.sock_sendmsg(fd, data, None, credentials(caller), record)
