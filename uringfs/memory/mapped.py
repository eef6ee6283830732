"""Ring memory as one mapping in the daemon: what the passthrough backend and the tests share."""

import mmap
from collections.abc import Callable

from uringfs.native import Words


class MappedMemory:
    """A writable shared mapping. Subclasses say what it maps."""

    backing_id = 0
    load: Callable[[int], int]
    store: Callable[[int, int], None]
    fetch_or: Callable[[int, int], int]
    fetch_and: Callable[[int, int], int]

    def __init__(self) -> None:
        self._map: mmap.mmap | None = None
        self._words: Words | None = None

    def _map_pages(self, size: int) -> mmap.mmap:
        return mmap.mmap(-1, size)

    def grow(self, size: int) -> None:
        self._map = self._map_pages(size)
        self._words = words = Words(self._map)
        # Bound once: these four are called for every request.
        self.load = words.load
        self.store = words.store
        self.fetch_or = words.fetch_or
        self.fetch_and = words.fetch_and

    def read(self, offset: int, size: int) -> bytes:
        assert self._map is not None
        return self._map[offset : offset + size]

    def write(self, offset: int, data: bytes) -> None:
        assert self._map is not None
        self._map[offset : offset + len(data)] = data

    def close(self) -> None:
        if self._words is not None:
            del self.load, self.store, self.fetch_or, self.fetch_and
            self._words.release()
            self._words = None
        if self._map is not None:
            self._map.close()
            self._map = None


class HeapBackend:
    """Memory no client can map: for tests of what lies above this floor."""

    name = "heap"

    def allocate(self) -> MappedMemory:
        return MappedMemory()
