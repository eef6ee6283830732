"""Memory of a process that is made of Python objects: FakeHost's."""

import errno
from collections.abc import Container, Sequence

from uringfs.abi.numbers import PAGE
from uringfs.errors import UringError
from uringfs.host.protocols import Data, Iovec


class FakeMemory:
    """A sparse address space: pages that are mapped, each writable or not."""

    def __init__(self) -> None:
        self._pages: dict[int, bytearray] = {}
        self._writable: set[int] = set()
        self._gone = False

    def map(self, address: int, size: int, *, writable: bool = True) -> int:
        """Map the pages around [address, address + size), zeroed where they are new. Returns address."""
        for page in range(address // PAGE, -(-(address + size) // PAGE)):
            self._pages.setdefault(page, bytearray(PAGE))
            (self._writable.add if writable else self._writable.discard)(page)
        return address

    def unmap(self, address: int, size: int) -> None:
        for page in range(address // PAGE, -(-(address + size) // PAGE)):
            self._pages.pop(page, None)
            self._writable.discard(page)

    def put(self, address: int, data: bytes) -> int:
        """Map and fill, as the process itself would. Returns address."""
        self.map(address, len(data))
        self._store(address, data)
        return address

    def read(self, address: int, size: int) -> bytes:
        if size and (self._gone or self._reach(address, size, self._pages.keys()) < size):
            raise UringError(errno.EFAULT)
        found = bytearray()
        while len(found) < size:
            page, start = divmod(address + len(found), PAGE)
            found += self._pages[page][start : start + size - len(found)]
        return bytes(found)

    def write(self, address: int, data: bytes) -> None:
        if self.scatter(data, [(address, len(data))]) < len(data):
            raise UringError(errno.EFAULT)

    def gather(self, iovecs: Sequence[Iovec]) -> bytes:
        found = b""
        for address, length in iovecs:
            reach = 0 if self._gone else self._reach(address, length, self._pages.keys())
            found += self.read(address, reach)
            if reach < length:
                break
        return found

    def scatter(self, data: Data, iovecs: Sequence[Iovec]) -> int:
        done = 0
        for address, length in iovecs:
            piece = data[done : done + length]
            reach = self.writable([(address, len(piece))])
            self._store(address, piece[:reach])
            done += reach
            if reach < len(piece):
                break
        return done

    def writable(self, iovecs: Sequence[Iovec]) -> int:
        total = 0
        for address, length in iovecs:
            reach = 0 if self._gone else self._reach(address, length, self._writable)
            total += reach
            if reach < length:
                break
        return total

    def gone(self) -> bool:
        return self._gone

    def end(self) -> None:
        """exit(2) or execve(2)."""
        self._gone = True

    def _reach(self, address: int, size: int, pages: Container[int]) -> int:
        """How many of size bytes from address on lie in those pages, without a gap."""
        end = address
        while end < address + size and end // PAGE in pages:
            end = (end // PAGE + 1) * PAGE
        return max(0, min(end - address, size))

    def _store(self, address: int, data: Data) -> None:
        done = 0
        while done < len(data):
            page, start = divmod(address + done, PAGE)
            piece = data[done : done + PAGE - start]
            self._pages[page][start : start + len(piece)] = piece
            done += len(piece)
