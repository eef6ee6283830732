"""Mappings of a ring's pages for the page-cache backend: of the shadow, and of the file that clients map."""

import ctypes
import errno
import mmap
import os
from contextlib import suppress

from uringfs import native
from uringfs.abi.libc import libc
from uringfs.abi.numbers import U32
from uringfs.errors import UringError
from uringfs.native import Words

MAP_FAILED = ctypes.c_void_p(-1).value


class Pages:
    """A mapping. Not mmap.mmap(), which asks for the file's size first: of ourselves, who would not answer."""

    def __init__(self, fd: int, offset: int, size: int, flags: int) -> None:
        self._size = size
        address = libc.mmap(None, size, self.protection, flags, fd, offset)
        if address == MAP_FAILED:
            code = ctypes.get_errno()
            raise UringError(code, f"mapping a ring's memory: {os.strerror(code)}")
        self._address = address
        self._bytes = memoryview((ctypes.c_char * size).from_address(address)).cast("B")
        self._words = Words(self._bytes)
        self.load, self.fence, self.wake = self._words.load, self._words.fence, self._words.wake

    protection = mmap.PROT_READ | mmap.PROT_WRITE

    def read(self, offset: int, size: int) -> bytes:
        return bytes(self._bytes[offset : offset + size])

    def close(self) -> None:
        del self.load, self.fence, self.wake
        self._words.release()
        self._bytes.release()
        libc.munmap(self._address, self._size)


class ShadowPages(Pages):
    """The daemon's alone: nobody has the file open."""

    def __init__(self, shadow: int, offset: int, size: int) -> None:
        super().__init__(shadow, offset, size, mmap.MAP_SHARED)
        self.store = self._words.store
        self.fetch_or, self.fetch_and = self._words.fetch_or, self._words.fetch_and

    def write(self, offset: int, data: bytes) -> None:
        self._bytes[offset : offset + len(data)] = data

    def close(self) -> None:
        del self.store, self.fetch_or, self.fetch_and
        super().close()


class FilePages(Pages):
    """The clients', too. Read here, privately, stored through the keeper (native/wire/keeper.c says why): by a
    system call each, so in their order, and behind what was read before. The daemon stores to its own words
    alone."""

    protection = mmap.PROT_READ

    def __init__(self, fd: int, offset: int, size: int) -> None:
        super().__init__(fd, offset, size, mmap.MAP_PRIVATE)
        self._keeper = native.keeper_pid()
        try:
            self._there = native.keeper_map(fd, offset, size)
        except OSError as error:
            super().close()
            raise UringError.of(error) from error

    def write(self, offset: int, data: bytes) -> None:
        try:
            native.vm_write(self._keeper, self._there + offset, data)
        except OSError as error:  # EFAULT: the connection has been aborted
            raise UringError(errno.EIO, f"a ring's memory is gone: {error.strerror}") from error

    def store(self, offset: int, value: int) -> None:
        self.write(offset, (value & U32).to_bytes(4, "little"))

    def fetch_or(self, offset: int, bits: int) -> int:
        before = self.load(offset)
        self.store(offset, before | bits)
        return before

    def fetch_and(self, offset: int, bits: int) -> int:
        before = self.load(offset)
        self.store(offset, before & bits)
        return before

    def close(self) -> None:
        super().close()
        with suppress(OSError):  # the keeper is gone, and its mapping with it
            native.keeper_unmap(self._there, self._size)
