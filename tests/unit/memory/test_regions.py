"""Regions of ring memory, over both backends' mappings."""

import errno
import mmap
import random

import pytest

from uringfs.errors import UringError
from uringfs.memory.mapped import MappedMemory

PAGE = mmap.PAGESIZE


@pytest.fixture
def memory() -> MappedMemory:
    memory = MappedMemory()
    memory.grow(PAGE)
    return memory


def test_a_region_is_zeroed_and_keeps_what_is_written(memory: MappedMemory) -> None:
    region = memory.region(0x80000000, 2 * PAGE)
    assert region.read(0, 2 * PAGE) == bytes(2 * PAGE)
    region.write(2 * PAGE - 4, b"abcd")
    assert region.read(2 * PAGE - 6, 6) == b"\0\0abcd"
    assert memory.read(0, PAGE) == bytes(PAGE)


def test_one_that_overlaps_another_is_enomem(memory: MappedMemory) -> None:
    memory.region(4 * PAGE, 2 * PAGE)
    for offset, size in ((3 * PAGE, 2 * PAGE), (4 * PAGE, PAGE), (5 * PAGE, PAGE), (PAGE, 8 * PAGE)):
        with pytest.raises(UringError) as caught:
            memory.region(offset, size)
        assert caught.value.errno == errno.ENOMEM
    memory.region(3 * PAGE, PAGE)
    memory.region(6 * PAGE, PAGE)


def test_a_closed_region_is_zeros_for_who_still_has_it(memory: MappedMemory) -> None:
    region = memory.region(4 * PAGE, PAGE)
    region.write(0, b"data")
    region.close()
    assert region.read(0, 4) == bytes(4)
    region.write(0, b"late")  # a request that has taken a buffer may still put it
    memory.close()
    assert region.read(0, 4) == b"late"


def test_its_place_is_free_again(memory: MappedMemory) -> None:
    memory.region(4 * PAGE, PAGE).close()
    assert memory.region(4 * PAGE, 3 * PAGE).read(0, 3 * PAGE) == bytes(3 * PAGE)


def test_any_order_and_size(memory: MappedMemory) -> None:
    """Against the plain rule: no two share a page."""
    chance, held = random.Random(7), {}
    for _ in range(2000):
        offset, size = chance.randrange(64) * PAGE, chance.randrange(1, 9) * PAGE
        clash = any(offset < start + region[1] and start < offset + size for start, region in held.items())
        try:
            region = memory.region(offset, size)
        except UringError:
            assert clash
            start = chance.choice(list(held))
            held.pop(start)[0].close()
        else:
            assert not clash
            held[offset] = region, size
