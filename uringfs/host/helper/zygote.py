"""The zygote: forks a helper for each message of the daemon. It acts for nobody, opens nothing of anybody's,
and keeps the daemon's rights, which no helper does.

python -I -S, with a socket as its standard input.
"""

import gc
import marshal
import os
import signal
import socket
import sys

from uringfs.host.helper.identity import PR_SET_DUMPABLE, Persona, prctl
from uringfs.host.helper.serve import MAX_FDS, MAX_MESSAGE, live

IGNORED = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT)
"""Signals that a terminal or a service manager sends to all: the daemon's end is the zygote's, by its socket."""


def seal() -> None:
    """Nobody but root traces this process and its children or sees their descriptors, nothing is written to
    descriptors that may be a client's, and nothing is imported any more: the files would be a client's."""
    prctl(PR_SET_DUMPABLE, 0)
    sys.stdin = sys.stdout = sys.stderr = None
    for fd in (1, 2):
        os.close(fd)
    sys.meta_path.clear()
    sys.path.clear()
    sys.path_importer_cache.clear()


def reap(*_: object) -> None:
    try:
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass
    except ChildProcessError:
        pass


def fork(sock: socket.socket, identity: Persona, fds: list[int]) -> None:
    """fds: the helper's socket, the root directory, namespaces."""
    parent = os.getpid()
    if not os.fork():
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        sock.close()
        live(socket.socket(fileno=fds[0]), parent, identity, fds[1:])


def main() -> None:
    sock = socket.socket(fileno=0)
    seal()
    for number in IGNORED:
        signal.signal(number, signal.SIG_IGN)
    signal.signal(signal.SIGCHLD, reap)
    gc.freeze()  # or a collection would copy each child's pages
    while True:
        data, fds, _, _ = socket.recv_fds(sock, MAX_MESSAGE, MAX_FDS)
        if not data:
            return
        try:
            fork(sock, Persona(*marshal.loads(data)), fds)
        except OSError:
            pass  # the daemon sees the socket's end
        finally:
            for fd in fds:
                os.close(fd)
