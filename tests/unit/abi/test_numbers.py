"""Numbers of C, against C's own conversions."""

import ctypes
import mmap

import pytest

from uringfs.abi.numbers import U32, U64, page_align, s32, s64, u32

EDGES = (0, 1, (1 << 31) - 1, 1 << 31, U32, U32 + 1, (1 << 32) + (1 << 31), (1 << 63) - 1, 1 << 63, U64)


@pytest.mark.parametrize("value", EDGES)
def test_a_field_is_the_number_c_makes_of_it(value: int) -> None:
    assert u32(value) == ctypes.c_uint32(value).value
    assert s32(value) == ctypes.c_int32(value).value
    assert s64(value) == ctypes.c_int64(value).value


@pytest.mark.parametrize(("size", "pages"), [(0, 0), (1, 1), (mmap.PAGESIZE, 1), (mmap.PAGESIZE + 1, 2)])
def test_whole_pages(size: int, pages: int) -> None:
    assert page_align(size) == pages * mmap.PAGESIZE
