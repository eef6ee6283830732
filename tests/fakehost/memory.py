"""Memory of a process that is made of Python objects: FakeHost's."""

from collections.abc import Container

from uringfs.abi.numbers import PAGE
from uringfs.host.process.pieces import PiecewiseMemory
from uringfs.host.protocols import Data


class FakeMemory(PiecewiseMemory):
    """A sparse address space: pages that are mapped, each writable or not."""

    def __init__(self) -> None:
        self._pages: dict[int, bytearray] = {}
        self._may_write: set[int] = set()
        self._gone = False

    def map(self, address: int, size: int, *, writable: bool = True) -> int:
        """Map the pages around [address, address + size), zeroed where they are new. Returns address."""
        for page in range(address // PAGE, -(-(address + size) // PAGE)):
            self._pages.setdefault(page, bytearray(PAGE))
            (self._may_write.add if writable else self._may_write.discard)(page)
        return address

    def unmap(self, address: int, size: int) -> None:
        for page in range(address // PAGE, -(-(address + size) // PAGE)):
            self._pages.pop(page, None)
            self._may_write.discard(page)

    def put(self, address: int, data: bytes) -> int:
        """Map and fill, as the process itself would. Returns address."""
        self.map(address, len(data))
        self._store(address, data)
        return address

    def _readable(self, address: int, length: int) -> int:
        return 0 if self._gone else _reach(address, length, self._pages.keys())

    def _writable(self, address: int, length: int) -> int:
        return 0 if self._gone else _reach(address, length, self._may_write)

    def _load(self, address: int, size: int) -> bytes:
        found = bytearray()
        while len(found) < size:
            page, start = divmod(address + len(found), PAGE)
            found += self._pages[page][start : start + size - len(found)]
        return bytes(found)

    def _store(self, address: int, data: Data) -> int:
        done = 0
        while done < len(data):
            page, start = divmod(address + done, PAGE)
            piece = data[done : done + PAGE - start]
            self._pages[page][start : start + len(piece)] = piece
            done += len(piece)
        return done

    def gone(self) -> bool:
        return self._gone

    def end(self) -> None:
        """exit(2) or execve(2)."""
        self._gone = True


def _reach(address: int, size: int, pages: Container[int]) -> int:
    """How many of size bytes from address on lie in those pages, without a gap."""
    end = address
    while end < address + size and end // PAGE in pages:
        end = (end // PAGE + 1) * PAGE
    return max(0, min(end - address, size))
