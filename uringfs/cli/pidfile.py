"""The file that names the daemon's process."""

import fcntl
import os
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from pathlib import Path

from uringfs.cli.mountpoint import MountFailure

FAILED = 1


def of_this_process(path: Path | None) -> AbstractContextManager[None]:
    """The pid file is there, and locked, for as long as the block lasts. MountError."""
    return nullcontext() if path is None else _held(path.absolute())


@contextmanager
def _held(path: Path) -> Iterator[None]:
    try:
        fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o644)
    except OSError as error:
        raise MountFailure(FAILED, f"the pid file {path}: {error.strerror}") from error
    try:
        _write(fd, path)
        yield
        with suppress(OSError):
            path.unlink()
    finally:
        os.close(fd)


def _write(fd: int, path: Path) -> None:
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise MountFailure(FAILED, f"the pid file {path}: a daemon that runs has it") from None
    try:
        os.ftruncate(fd, 0)
        os.write(fd, b"%d\n" % os.getpid())
    except OSError as error:
        raise MountFailure(FAILED, f"the pid file {path}: {error.strerror}") from error
