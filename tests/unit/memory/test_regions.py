"""Regions of ring memory, over both backends' mappings."""

import errno
import mmap

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
    assert memory.region(4 * PAGE, PAGE).read(0, PAGE) == bytes(PAGE)
