"""Iovecs, piece by piece: what every process memory does with them that has no vectored system call for it."""

import errno
from collections.abc import Callable, Sequence

from uringfs.errors import UringError
from uringfs.host.protocols import Data, Iovec


def reach(iovecs: Sequence[Iovec], prefix: Callable[[int, int], int]) -> int:
    """Bytes of the iovecs up to the first that prefix(address, length) does not reach whole."""
    total = 0
    for address, length in iovecs:
        found = prefix(address, length) if length else 0
        total += found
        if found < length:
            break
    return total


class PiecewiseMemory:
    """host.protocols.Memory but for gone(). A subclass says how far memory reaches, and moves one piece of it."""

    def _readable(self, address: int, length: int) -> int:
        """Bytes from address on, of length, that can be read."""
        raise NotImplementedError

    def _writable(self, address: int, length: int) -> int:
        """Bytes from address on, of length, that can be written."""
        raise NotImplementedError

    def _load(self, address: int, size: int) -> bytes:
        """Bytes that can be read; fewer of them if that has changed meanwhile."""
        raise NotImplementedError

    def _store(self, address: int, data: Data) -> int:
        """Store what can be written: how much it was, for that may have changed meanwhile."""
        raise NotImplementedError

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
            size = self._readable(address, length) if length else 0
            found.append(self._load(address, size) if size else b"")
            if len(found[-1]) < length:
                break
        return found[0] if len(found) == 1 else b"".join(found)

    def scatter(self, data: Data, iovecs: Sequence[Iovec]) -> int:
        done = 0
        for address, length in iovecs:
            piece = data[done : done + length]
            size = self._writable(address, len(piece)) if piece else 0
            stored = self._store(address, piece[:size]) if size else 0
            done += stored
            if stored < len(piece):
                break
        return done

    def writable(self, iovecs: Sequence[Iovec]) -> int:
        return reach(iovecs, self._writable)
