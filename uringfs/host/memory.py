"""The caller's memory through process_vm_readv(2) and process_vm_writev(2), and through /proc/TID/mem."""

import errno
import logging
import os
from collections.abc import Callable, Sequence

from uringfs import native
from uringfs.errors import UringError
from uringfs.host.base import Data, Iovec

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
        return _writable(self._tid, iovecs)

    def gone(self) -> bool:
        return False


class PinnedMemory:
    """One address space, held by an open /proc/TID/mem: after exec or exit it reads as empty, it never
    becomes another process's. Others of its threads may live on when the one that asked has ended. What goes
    through it would pass page protections (FOLL_FORCE), so each is checked against the mappings first."""

    def __init__(self, tid: int, group: int) -> None:
        self._ids = tid, group  # the thread, and its process: it may live on
        self._fd = -1
        try:
            self._fd = os.open(f"/proc/{tid}/mem", os.O_RDWR | os.O_CLOEXEC)
        except OSError as error:
            raise UringError(errno.ESRCH, f"thread {tid} is gone") from error

    def read(self, address: int, size: int) -> bytes:
        data = self.gather([(address, size)])
        if len(data) < size:
            raise UringError(errno.EFAULT)
        return bytes(data)

    def write(self, address: int, data: bytes) -> None:
        if self.scatter(data, [(address, len(data))]) < len(data):
            raise UringError(errno.EFAULT)

    def gather(self, iovecs: Sequence[Iovec]) -> Data:
        found = []
        for address, length in iovecs:
            reach = _prefix(native.readable_prefix, self._ids, address, length)
            try:
                found.append(os.pread(self._fd, reach, address) if reach else b"")
            except (OSError, OverflowError):
                break
            if len(found[-1]) < length:
                break
        return found[0] if len(found) == 1 else b"".join(found)

    def scatter(self, data: Data, iovecs: Sequence[Iovec]) -> int:
        done = 0
        for address, length in iovecs:
            piece = data[done : done + length]
            reach = _prefix(native.writable_prefix, self._ids, address, len(piece))
            try:
                stored = os.pwrite(self._fd, piece[:reach], address) if reach else 0
            except (OSError, OverflowError):
                stored = 0
            done += stored
            if stored < len(piece):
                break
        return done

    def writable(self, iovecs: Sequence[Iovec]) -> int:
        # After exec(2) the thread's mappings are another program's: nothing of ours can be stored.
        return 0 if self.gone() else _writable(self._ids[0], iovecs)

    def gone(self) -> bool:
        try:
            return not os.pread(self._fd, 1, 0)
        except OSError:  # EIO: nothing is mapped at 0, in an address space that lives
            return not os.path.exists(f"/proc/{self._ids[0]}")

    def __del__(self) -> None:
        if self._fd >= 0:
            os.close(self._fd)


def _writable(tid: int, iovecs: Sequence[Iovec]) -> int:
    total = 0
    for address, length in iovecs:
        reach = _prefix(native.writable_prefix, (tid,), address, length)
        total += reach
        if reach < length:
            break
    return total


def _prefix(prefix: Callable[[int, int, int], int], tasks: Sequence[int], address: int, length: int) -> int:
    """By the first of the tasks that lives, 0 if none does. Whatever else keeps us from asking is not the
    caller's fault: said, since its request gets EFAULT."""
    for task in tasks if length else ():
        try:
            return prefix(task, address, length)
        except OSError as error:
            if error.errno != errno.ESRCH:
                log.warning("the mappings of thread %d cannot be read: %s", task, error)
                break
    return 0


def _fault(error: OSError) -> UringError:
    """A caller that is gone has no memory either: EFAULT is all a request can say."""
    return UringError(errno.EFAULT if error.errno in (errno.ESRCH, errno.EFAULT) else error.errno or errno.EIO)
