"""Ring memory as one mapping in the daemon: what the passthrough backend and the tests share."""

import errno
import mmap
from collections.abc import Callable
from functools import partial

from uringfs.errors import UringError
from uringfs.native import Words


class MappedRegion:
    """Lives, as a mapping, as long as somebody has it: a request may, when its owner has closed it."""

    def __init__(self, pages: mmap.mmap, release: Callable[[], object]) -> None:
        self._map = pages
        self._release = release

    def read(self, offset: int, size: int) -> bytes:
        return self._map[offset : offset + size]

    def write(self, offset: int, data: bytes) -> None:
        self._map[offset : offset + len(data)] = data

    def close(self) -> None:
        self._map.madvise(mmap.MADV_REMOVE)
        self._release()


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
        self._regions: dict[int, int] = {}  # offset: size

    def _map_pages(self, offset: int, size: int) -> mmap.mmap:
        return mmap.mmap(-1, size)

    def region(self, offset: int, size: int) -> MappedRegion:
        for start, length in self._regions.items():
            if offset < start + length and start < offset + size:
                raise UringError(errno.ENOMEM, f"the ring's memory at {offset:#x} is in use")
        pages = self._map_pages(offset, size)
        self._regions[offset] = size
        return MappedRegion(pages, partial(self._regions.pop, offset, None))

    def grow(self, size: int) -> None:
        self._map = self._map_pages(0, size)
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
