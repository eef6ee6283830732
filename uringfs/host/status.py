"""A thread as /proc/TID/status shows it."""

import errno
import re
from typing import NamedTuple

from uringfs.errors import UringError

_FIELDS = re.compile(
    rb"State:\t(.).*?\nTgid:\t(\d+).*?\nUid:\t\d+\t\d+\t\d+\t(\d+)\nGid:\t\d+\t\d+\t\d+\t(\d+)"
    rb".*?\nSigPnd:\t(\w+)\nShdPnd:\t(\w+)\nSigBlk:\t(\w+)\nSigIgn:\t(\w+)",
    re.DOTALL,
)


class ThreadStatus(NamedTuple):
    """Sets of signals have bit N - 1 for signal N."""

    ended: bool
    """A zombie, or dead."""
    group: int
    uid: int
    gid: int
    """fsuid, fsgid: what FUSE says of who calls."""
    pending: int
    shared: int
    """Pending for the process."""
    blocked: int
    ignored: int


def thread_status(tid: int) -> ThreadStatus:
    """ESRCH"""
    try:
        with open(f"/proc/{tid}/status", "rb", 0) as file:
            found = _FIELDS.search(file.read(8192))
    except OSError as error:
        raise UringError(errno.ESRCH, f"thread {tid} is gone") from error
    if found is None:
        raise UringError(errno.ESRCH, f"thread {tid} is gone")
    state, group, uid, gid, *signals = found.groups()
    pending, shared, blocked, ignored = (int(word, 16) for word in signals)
    return ThreadStatus(state in b"ZX", int(group), int(uid), int(gid), pending, shared, blocked, ignored)
