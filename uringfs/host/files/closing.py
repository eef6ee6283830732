"""close(2) of descriptors that a client's file may be behind. It flushes, and where another process answers for
the file system (FUSE, NFS) that may take for ever; a socket may linger. The loop must not wait for these."""

import os
import stat
from functools import partial

import trio

from uringfs import native
from uringfs.host.files.filesystems import closes_promptly


def close_fd(fd: int, own_device: int = -1) -> None:
    """Close a descriptor of the daemon's, which is taken over: at once, or in a thread. own_device: st_dev of our
    own mount, which has no flush. Late is bad, too: a program just written cannot be executed while we have it
    open."""
    device, _, mode, *_ = native.fd_identity(fd)
    close_known(fd, device, mode, own_device)


def close_known(fd: int, device: int, mode: int, own_device: int) -> None:
    """close_fd() of a file whose st_dev and st_mode are known."""
    if not stat.S_ISREG(mode):
        native.close_soon(fd)
    elif device == own_device or closes_promptly(device):
        os.close(fd)
    else:
        trio.lowlevel.start_thread_soon(partial(os.close, fd), lambda outcome: None)
