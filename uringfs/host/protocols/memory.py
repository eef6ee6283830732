"""A process's memory, as requests see it."""

from collections.abc import Sequence
from typing import Protocol

Iovec = tuple[int, int]
"""(address, length) in the caller's memory."""
Data = bytes | memoryview


class DataToEnd(bytes):
    """What a read with O_DIRECT has found up to the end of the file."""

    behind: bytes = b""
    """What it has stored behind that: file systems fill the last block up, or all of the buffer, with zeros."""


class Memory(Protocol):
    """A process's memory."""

    def read(self, address: int, size: int) -> bytes:
        """copy_from_user(): all of it, or EFAULT."""

    def write(self, address: int, data: bytes) -> None:
        """copy_to_user(): all of it, or EFAULT."""

    def gather(self, iovecs: Sequence[Iovec]) -> Data:
        """The iovecs' bytes in order, up to the first that cannot be read. Never EFAULT."""

    def scatter(self, data: Data, iovecs: Sequence[Iovec]) -> int:
        """Fill the iovecs in order; bytes stored before the first that could not be. Never EFAULT."""

    def writable(self, iovecs: Sequence[Iovec]) -> int:
        """How many bytes of the iovecs, from their start, a write would reach now."""

    def gone(self) -> bool:
        """The thread, or its address space, has ended: exit or exec."""
