"""Numbers of C in Python: a field as the signed or unsigned number of its width that it is."""

import mmap

PAGE = mmap.PAGESIZE
"""Bytes."""
U32 = 0xFFFFFFFF
U64 = 0xFFFFFFFFFFFFFFFF


def u32(value: int) -> int:
    """The low 32 bits, as C's conversion to __u32."""
    return value & U32


def s32(value: int) -> int:
    """The low 32 bits as an int, as C's conversion to __s32."""
    return (value & U32 ^ 0x80000000) - 0x80000000


def page_align(size: int) -> int:
    """PAGE_ALIGN(): size, up to whole pages."""
    return -(-size // PAGE) * PAGE


def s64(value: int) -> int:
    """A __u64 as the __s64 it is."""
    return value - (value >> 63 << 64)


def decimal(text: str) -> int | None:
    """A number of ASCII digits. None for what is none, or longer than any of ours: int() raises of thousands of
    digits."""
    return int(text) if text.isascii() and text.isdecimal() and len(text) <= len(str(U64)) else None
