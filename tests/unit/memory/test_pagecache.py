"""The page-cache backend without a mount: memory that rests in the shadow, and what is kept there."""

import errno
import mmap
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from uringfs.abi.constants import IORING_OFF_PBUF_RING, IORING_OFF_SQES
from uringfs.abi.control import RING_FILE_SIZE
from uringfs.errors import UringError
from uringfs.fs.inodes import FIRST
from uringfs.memory.pagecache import SLOT, SLOTS, PageCacheBackend, PageCacheMemory, RingOpening

PAGE = mmap.PAGESIZE
INODE = 17


@pytest.fixture
def backend() -> Iterator[PageCacheBackend]:
    backend = PageCacheBackend("/nowhere")
    yield backend
    os.close(backend.shadow)


@pytest.fixture
def memory(backend: PageCacheBackend) -> Iterator[PageCacheMemory]:
    memory = backend.allocate(INODE)
    memory.grow(IORING_OFF_SQES + 512)
    memory.hold([(0, PAGE + 1), (IORING_OFF_SQES, 512)])
    yield memory
    memory.close()


def kept(backend: PageCacheBackend) -> list[tuple[int, int]]:
    """(offset, size) of the inode's pages in the shadow."""
    found, at = [], INODE * SLOT
    while True:
        try:
            at = os.lseek(backend.shadow, at, os.SEEK_DATA)
        except OSError:
            return found
        end = os.lseek(backend.shadow, at, os.SEEK_HOLE)
        found.append((at - INODE * SLOT, end - at))
        at = end


def test_at_rest_it_is_memory(memory: PageCacheMemory) -> None:
    assert not memory.attached
    memory.store(8, 0x1_0000_0007)
    assert memory.load(8) == 7
    assert memory.fetch_or(8, 8) == 7
    assert memory.fetch_and(8, 12) == 15
    assert memory.read(8, 4) == b"\x0c\0\0\0"
    memory.write(IORING_OFF_SQES + 500, b"twelve bytes")
    assert memory.read(IORING_OFF_SQES + 498, 14) == b"\0\0twelve bytes"


def test_whole_pages_are_kept_of_what_is_in_use_and_no_others(
    backend: PageCacheBackend, memory: PageCacheMemory
) -> None:
    assert kept(backend) == [(0, 2 * PAGE), (IORING_OFF_SQES, PAGE)]


def test_more_may_be_in_use_later_and_what_stands_there_stays(
    backend: PageCacheBackend, memory: PageCacheMemory
) -> None:
    memory.write(0, b"kept")
    memory.hold([(0, 5 * PAGE)])
    assert memory.read(0, 4) == b"kept"
    assert kept(backend)[0] == (0, 5 * PAGE)


def test_closed_it_leaves_nothing_behind(backend: PageCacheBackend, memory: PageCacheMemory) -> None:
    region = memory.region(IORING_OFF_PBUF_RING, PAGE)
    region.write(0, b"data")
    memory.close()
    memory.close()
    assert kept(backend) == []
    region.write(0, b"late")  # a request that has taken a buffer may still put it
    assert region.read(0, 4) == bytes(4)
    assert kept(backend) == []


def test_a_closed_region_gives_its_pages_back(backend: PageCacheBackend, memory: PageCacheMemory) -> None:
    region = memory.region(IORING_OFF_PBUF_RING, 2 * PAGE)
    region.write(0, b"data")
    assert kept(backend)[2:] == [(IORING_OFF_PBUF_RING, 2 * PAGE)]
    region.close()
    assert kept(backend)[2:] == []
    assert memory.region(IORING_OFF_PBUF_RING, PAGE).read(0, 4) == bytes(4)


def test_buffer_rings_that_clients_cannot_map(memory: PageCacheMemory) -> None:
    behind = memory.region(RING_FILE_SIZE, PAGE)
    behind.write(0, b"ours")
    assert behind.read(0, 4) == b"ours"
    with pytest.raises(UringError) as caught:
        memory.region(RING_FILE_SIZE - PAGE, 2 * PAGE)
    assert caught.value.errno == errno.ENOMEM
    memory.region(RING_FILE_SIZE - PAGE, PAGE)


def test_no_two_living_inodes_share_a_place(backend: PageCacheBackend, memory: PageCacheMemory) -> None:
    with pytest.raises(UringError) as caught:
        backend.allocate(INODE + SLOTS)
    assert caught.value.errno == errno.ENOMEM
    memory.close()
    backend.allocate(INODE + SLOTS).close()


def test_no_ring_stands_where_the_pages_of_files_that_all_may_map_would(backend: PageCacheBackend) -> None:
    for number in range(FIRST):
        with pytest.raises(UringError) as caught:
            backend.allocate(SLOTS + number)
        assert caught.value.errno == errno.ENOMEM
    backend.allocate(SLOTS + FIRST).close()


def test_names_and_threads_of_others_are_none_of_ours(backend: PageCacheBackend) -> None:
    assert backend.looked_up(b"new") is None
    assert not backend.opens(os.getpid())


@pytest.mark.parametrize(("name", "code"), [("file", errno.EXDEV), ("link", errno.ELOOP), ("fifo", errno.EXDEV)])
def test_a_path_that_leads_elsewhere_by_now(tmp_path: Path, name: str, code: int) -> None:
    """Somebody has renamed what is above the mountpoint: nothing is stored into a file of his, or of root's."""
    (tmp_path / "file").write_bytes(b"as it was")
    (tmp_path / "link").symlink_to("file")
    os.mkfifo(tmp_path / "fifo")
    openers: set[int] = set()
    before = os.listdir("/proc/self/fd")
    opening = RingOpening(os.fsencode(tmp_path / name), openers, (tmp_path.stat().st_dev, INODE))
    with pytest.raises(OSError) as caught:  # noqa: PT011  the number says which
        opening.run()
    assert caught.value.errno == code
    assert not openers
    assert len(os.listdir("/proc/self/fd")) == len(before)
