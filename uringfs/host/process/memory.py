"""The caller's memory through process_vm_readv(2) and process_vm_writev(2), and through /proc/TID/mem."""

import errno
import logging
import os
from collections.abc import Sequence
from functools import partial

from uringfs import native
from uringfs.errors import UringError
from uringfs.host.process.pieces import PiecewiseMemory, reach
from uringfs.host.protocols import Data, Iovec

log = logging.getLogger(__name__)


class VmMemory:
    """Memory of a thread that is blocked in a control write: its id cannot be reused meanwhile."""

    def __init__(self, tid: int) -> None:
        self._tid = tid

    def read(self, address: int, size: int) -> bytes:
        try:
            return native.vm_read(self._tid, address, size)
        except OSError as error:
            raise _fault(error) from error

    def write(self, address: int, data: bytes) -> None:
        try:
            native.vm_write(self._tid, address, data)
        except OSError as error:
            raise _fault(error) from error

    def gather(self, iovecs: Sequence[Iovec]) -> Data:
        try:
            return native.vm_readv(self._tid, list(iovecs))
        except OSError:
            return b""

    def scatter(self, data: Data, iovecs: Sequence[Iovec]) -> int:
        if not data:
            return 0
        try:
            return native.vm_writev(self._tid, data, list(iovecs))
        except OSError:
            return 0

    def writable(self, iovecs: Sequence[Iovec]) -> int:
        return reach(iovecs, partial(_prefix, self._tid))

    def gone(self) -> bool:
        return False


class PinnedMemory(PiecewiseMemory):
    """One address space, held by the open /proc/TID/mem and /proc/TID/maps of a thread: after exec or exit they
    read as empty, they never become another process's. Others of its threads may live on when the one that asked
    has ended. What goes through mem would pass page protections (FOLL_FORCE), so each is checked against maps
    first."""

    def __init__(self, tid: int) -> None:
        self._mem = self._maps = -1
        try:
            self._mem = os.open(f"/proc/{tid}/mem", os.O_RDWR | os.O_CLOEXEC)
            self._maps = os.open(f"/proc/{tid}/maps", os.O_RDONLY | os.O_CLOEXEC)
        except OSError as error:
            raise UringError(errno.ESRCH, f"thread {tid} is gone") from error

    def _load(self, address: int, size: int) -> bytes:
        try:
            return os.pread(self._mem, size, address)
        except (OSError, OverflowError):
            return b""

    def _store(self, address: int, data: Data) -> int:
        try:
            return os.pwrite(self._mem, data, address)
        except (OSError, OverflowError):
            return 0

    def _readable(self, address: int, length: int) -> int:
        return self._prefix(address, length, write=False)

    def _writable(self, address: int, length: int) -> int:
        return self._prefix(address, length, write=True)

    def gone(self) -> bool:
        try:
            return not os.pread(self._mem, 1, 0)
        except OSError:  # EIO: nothing is mapped at 0, in an address space that lives
            return False

    def _prefix(self, address: int, length: int, *, write: bool) -> int:
        """Whatever else keeps us from asking is not the caller's fault: said, since its request gets EFAULT."""
        try:
            return native.mapped_prefix(self._maps, address, length, write)
        except OSError as error:
            if error.errno != errno.ESRCH:
                log.warning("the mappings of a client cannot be read: %s", error)
            return 0

    def __del__(self) -> None:
        for fd in (self._mem, self._maps):
            if fd >= 0:
                os.close(fd)


def _prefix(tid: int, address: int, length: int) -> int:
    """Whatever else keeps us from asking is not the caller's fault: said, since its request gets EFAULT."""
    try:
        return native.writable_prefix(tid, address, length)
    except OSError as error:
        if error.errno != errno.ESRCH:
            log.warning("the mappings of thread %d cannot be read: %s", tid, error)
        return 0


def _fault(error: OSError) -> UringError:
    """A caller that is gone has no memory either: EFAULT is all a request can say."""
    return UringError(errno.EFAULT if error.errno in (errno.ESRCH, errno.EFAULT) else error.errno or errno.EIO)
