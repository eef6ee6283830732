"""Groups of provided buffers (io_uring/kbuf.c): what requests with IOSQE_BUFFER_SELECT take from."""

from collections import deque
from struct import Struct
from typing import NamedTuple

from uringfs.memory.base import Region

USHRT_MAX = 0xFFFF
BUF = Struct("<QIHH")  # struct io_uring_buf: addr, len, bid, resv
TAIL = Struct("<H")  # struct io_uring_buf_ring.tail: in place of the first entry's resv
TAIL_OFFSET = 14


class ProvidedBuffer(NamedTuple):
    addr: int
    len: int
    bid: int


class ProvidedBuffers:
    """A group filled by PROVIDE_BUFFERS: each buffer is used once, in order."""

    def __init__(self) -> None:
        self.buffers: deque[ProvidedBuffer] = deque()


class BufferRing:
    """A group registered with IORING_REGISTER_PBUF_RING: the client moves the tail, we the head."""

    def __init__(self, memory: Region, entries: int, incremental: bool, min_left: int = 0) -> None:
        """min_left: bytes; an incremental buffer with less left is used up."""
        self._memory = memory
        self._mask = entries - 1
        self.incremental = incremental
        self._min_left = max(min_left, 1)
        self.head = 0

    def close(self) -> None:
        """The group is no more; requests that have taken buffers of it may still put them."""
        self._memory.close()

    def available(self) -> int:
        (tail,) = TAIL.unpack(self._memory.read(TAIL_OFFSET, TAIL.size))
        return int(tail - self.head & USHRT_MAX)

    def at(self, ahead: int = 0) -> ProvidedBuffer:
        """io_ring_head_to_buf()"""
        data = self._memory.read((self.head + ahead & self._mask) * BUF.size, BUF.size)
        return ProvidedBuffer(*BUF.unpack(data)[:3])

    def commit(self, length: int, count: int) -> bool:
        """io_kbuf_commit(): length bytes in count buffers are used. False if the last is not used up."""
        if length < 0:
            return True
        if not self.incremental:
            self.head = self.head + count & USHRT_MAX
            return True
        if not length:
            return False
        while length:
            addr, size, _ = self.at()
            used = min(length, size)
            offset = (self.head & self._mask) * BUF.size
            if size - used >= self._min_left or not used:  # a length of 0, all around: io_kbuf_inc_commit() stops
                entry = (addr + used).to_bytes(8, "little") + (size - used).to_bytes(4, "little")
                self._memory.write(offset, entry)
                return False
            self._memory.write(offset + 8, bytes(4))
            self.head = self.head + 1 & USHRT_MAX
            length -= used
        return True


Group = ProvidedBuffers | BufferRing
