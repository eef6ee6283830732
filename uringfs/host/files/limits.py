"""RLIMIT_FSIZE: the caller's counts, the daemon's must not."""

import errno
import os
import resource
from contextlib import suppress

from uringfs.errors import UringError
from uringfs.host.protocols import INFINITY

_NAMES = {resource.RLIMIT_FSIZE: "Max file size", resource.RLIMIT_NOFILE: "Max open files"}


def soft_limit(tid: int, which: int) -> int:
    """A thread's soft limit, INFINITY for none. ECANCELED: it is gone, and what it asked for goes with it."""
    try:
        soft = resource.prlimit(tid, which)[0]
    except PermissionError:  # another user's, and we lack CAP_SYS_RESOURCE
        soft = _listed(tid, which)
    except ProcessLookupError as error:
        raise UringError(errno.ECANCELED, f"thread {tid} is gone") from error
    except OSError as error:
        raise UringError.of(error) from error
    return INFINITY if soft == resource.RLIM_INFINITY else soft


def _listed(tid: int, which: int) -> int:
    """/proc/TID/limits, which anybody may read."""
    try:
        with open(f"/proc/{tid}/limits") as limits:
            soft = next(line[26:].split()[0] for line in limits if line.startswith(_NAMES[which]))
    except OSError as error:
        raise UringError(errno.ECANCELED, f"thread {tid} is gone") from error
    return resource.RLIM_INFINITY if soft == "unlimited" else int(soft)


def lift_own() -> None:
    """As high as allowed: what the daemon writes for others is theirs. Python ignores SIGXFSZ."""
    with suppress(OSError, ValueError):
        hard = resource.getrlimit(resource.RLIMIT_FSIZE)[1]
        resource.setrlimit(resource.RLIMIT_FSIZE, (hard, hard))
        resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))


def within_fsize(fd: int, size: int, offset: int, append: bool, limit: int) -> int:
    """generic_write_checks_count(): how much of a write fits. EFBIG when nothing does."""
    if append:
        offset = os.fstat(fd).st_size
    elif offset < 0:
        offset = os.lseek(fd, 0, os.SEEK_CUR)
    if offset >= limit:
        raise UringError(errno.EFBIG, f"RLIMIT_FSIZE is {limit}")
    return min(size, limit - offset)


def check_newsize(fd: int, size: int, limit: int) -> None:
    """inode_newsize_ok(): a file may be as large as the limit, or stay as large as it is."""
    if size > limit and size > os.fstat(fd).st_size:
        raise UringError(errno.EFBIG, f"RLIMIT_FSIZE is {limit}")
