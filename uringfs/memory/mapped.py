"""Ring memory as one mapping in the daemon: what the passthrough backend and the tests share."""

import errno
import mmap
from bisect import bisect
from collections.abc import Callable, Sequence
from functools import partial

from uringfs.errors import UringError
from uringfs.memory.base import Region
from uringfs.native import Taker, Words


class MappedRegion:
    """Lives, as a mapping, as long as somebody has it: a request may, when its owner has closed it."""

    def __init__(self, pages: mmap.mmap, start: int, size: int, release: Callable[[], None]) -> None:
        self._map = pages
        self._start = start
        self._size = size
        self._release = release

    def read(self, offset: int, size: int) -> bytes:
        start = self._start + offset
        return self._map[start : start + size]

    def write(self, offset: int, data: bytes) -> None:
        start = self._start + offset
        self._map[start : start + len(data)] = data

    def close(self) -> None:
        self._map.madvise(mmap.MADV_REMOVE, self._start, self._size)
        self._release()


class Daemons:
    """What backends have to say whose memory is nothing but the daemon's: there is nothing to open."""

    device = 0

    def looked_up(self, name: bytes) -> int | None:
        return None

    def opens(self, tid: int) -> bool:
        return False

    def close(self) -> None:
        pass


class MappedMemory:
    """A writable shared mapping. Subclasses say what it maps."""

    backing_id = 0
    parallel = True
    attached = True
    load: Callable[[int], int]
    store: Callable[[int, int], None]
    fetch_or: Callable[[int, int], int]
    fetch_and: Callable[[int, int], int]
    fence: Callable[[], None]
    wake: Callable[[int], int]
    read: Callable[[int, int], bytes]
    write: Callable[[int, bytes], None]

    def __init__(self) -> None:
        self._map: mmap.mmap | None = None
        self._words: Words | None = None
        self._takers: list[Taker] = []
        self._regions: list[tuple[int, int]] = []  # (offset, size), sorted
        self._windows: dict[tuple[int, int], mmap.mmap] = {}

    def _map_pages(self, offset: int, size: int) -> mmap.mmap:
        return mmap.mmap(-1, size)

    def _window(self, offset: int, size: int) -> tuple[int, int]:
        """(offset, size) of the mapping in which a region lies: a client may have very many of them."""
        return offset, size

    async def attach(self) -> None:
        pass

    def detach(self) -> None:
        pass

    def hold(self, areas: Sequence[tuple[int, int]]) -> None:
        pass

    def region(self, offset: int, size: int) -> Region:
        release = self._claim(offset, size)
        window = self._window(offset, size)
        if window not in self._windows:
            try:
                self._windows[window] = self._map_pages(*window)
            except UringError:
                release()
                raise
        return MappedRegion(self._windows[window], offset - window[0], size, release)

    def _claim(self, offset: int, size: int) -> Callable[[], None]:
        """Take a place that no other region has; what gives it back. ENOMEM."""
        place = bisect(self._regions, (offset, size))
        if place and sum(self._regions[place - 1]) > offset:
            raise UringError(errno.ENOMEM, f"the ring's memory at {offset:#x} is in use")
        if place < len(self._regions) and self._regions[place][0] < offset + size:
            raise UringError(errno.ENOMEM, f"the ring's memory behind {offset:#x} is in use")
        self._regions.insert(place, (offset, size))
        return partial(self._regions.remove, (offset, size))

    def grow(self, size: int) -> None:
        self._map = self._map_pages(0, size)
        self._words = words = Words(self._map)
        # Bound once: these are called for every request.
        self.read, self.write = words.read, words.write
        self.load = words.load
        self.store = words.store
        self.fetch_or = words.fetch_or
        self.fetch_and = words.fetch_and
        self.fence = words.fence
        self.wake = words.wake

    def taker(self, *numbers: int) -> Taker | None:
        return None  # clients need not see what is stored into the mapping, and tests want the engine's own work

    def _make_taker(self, *numbers: int) -> Taker:
        assert self._map is not None
        taker = Taker(self._map, *numbers)
        self._takers.append(taker)
        return taker

    def close(self) -> None:
        while self._takers:
            self._takers.pop().release()
        if self._words is not None:
            del self.load, self.store, self.fetch_or, self.fetch_and, self.fence, self.wake
            del self.read, self.write
            self._words.release()
            self._words = None
        self._windows.clear()  # closed when nobody has a region in them any more
        if self._map is not None:
            self._map.close()
            self._map = None


class HeapBackend(Daemons):
    """Memory no client can map: for tests of what lies above this floor."""

    name = "heap"

    def allocate(self, inode: int) -> MappedMemory:
        return MappedMemory()
