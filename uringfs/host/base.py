"""The interfaces between requests and the process that entered the ring.

Every method raises UringError with the errno the kernel would give. Addresses and sizes are bytes.
"""

from collections.abc import Sequence
from typing import Protocol

Iovec = tuple[int, int]
"""(address, length) in the caller's memory."""


class Memory(Protocol):
    """A process's memory."""

    def read(self, address: int, size: int) -> bytes:
        """copy_from_user(): all of it, or EFAULT."""

    def write(self, address: int, data: bytes) -> None:
        """copy_to_user(): all of it, or EFAULT."""

    def scatter(self, data: bytes, iovecs: Sequence[Iovec]) -> int:
        """Fill the iovecs in order; bytes stored before the first that could not be. Never EFAULT."""

    def writable(self, iovecs: Sequence[Iovec]) -> int:
        """How many bytes of the iovecs, from their start, a write would reach now."""

    def gone(self) -> bool:
        """The address space has ended: exit or exec."""


class File(Protocol):
    """One open file description of the caller, held until close(). offset -1: the current position."""

    streaming: bool
    """No position of its own (pipe, socket, tty): data read is gone, an offset is ignored."""
    nonblock: bool
    """O_NONBLOCK is set and the file cannot be tried without blocking: would-block is a result."""
    refused: int
    """The errno of any read or write of it (a file of our own mount); 0 for none."""

    def try_read(self, size: int, offset: int, flags: int) -> bytes:
        """preadv2(2) with RWF_NOWAIT; EAGAIN when it would block. b'' at the end of the file."""

    async def read(self, size: int, offset: int, flags: int) -> bytes:
        """The same, waiting as long as it takes. Cancellable."""

    def available(self) -> int:
        """Bytes that can be read now, where the file says so (FIONREAD), else 0."""

    def ready(self) -> bool:
        """A read would not block now."""

    async def wait(self) -> None:
        """Wait until a read would not block, without reading. Cancellable."""

    def unread(self, count: int) -> None:
        """Move the current position back by count bytes: they could not be delivered."""

    def readable_mode(self) -> bool:
        """FMODE_READ: the description was opened for reading."""

    def hold(self) -> None:
        """One more user: as many close() calls are needed. A file starts with one."""

    def close(self) -> None: ...


class EventFd(Protocol):
    def signal(self) -> None:
        """eventfd_signal(): add 1, or stay at the end. Never blocks."""

    def close(self) -> None: ...


class Caller(Protocol):
    """A thread in a control write. Its ids are trustworthy while that write lasts."""

    tid: int
    uid: int
    gid: int
    memory: Memory

    def file(self, fd: int) -> File:
        """The file behind the caller's descriptor. EBADF."""

    def detached(self) -> "Caller":
        """The same caller for use after the control write has been answered: its memory is that of one
        address space, its descriptors are those of one thread, however long a request takes. EFAULT and
        EBADF once they are gone. Holds descriptors of ours until nothing refers to it."""

    def eventfd(self, fd: int) -> EventFd:
        """A duplicate of the caller's eventfd. EBADF; EINVAL if it is something else."""

    def credentials(self) -> object:
        """What paths are looked up and files opened with: its own now, or those it was given."""

    def with_credentials(self, credentials: object) -> "Caller":
        """The same caller with credentials that were registered (IORING_REGISTER_PERSONALITY)."""

    def limit_nofile(self) -> int:
        """Its soft RLIMIT_NOFILE."""

    def open_path(self, path: str) -> "PathOpener":
        """The opening of a file for reading with the caller's rights, root and working directory."""

class PathOpener(Protocol):
    async def open(self) -> File:
        """Wait for the open(2). ENOENT, EACCES ..."""


class Host(Protocol):
    """Finds callers, and watches them."""

    def caller(self, tid: int, uid: int, gid: int) -> Caller:
        """The thread a control write came from."""

    async def exited(self, tid: int) -> None:
        """Wait until that thread is gone."""
