"""A ring's queues in shared memory, the client's side of them: SQEs put in, CQEs taken out.

Knows the layouts: SQEs of 64 and 128 bytes and both in one ring, CQEs of 16 and 32, with and without the index
array. Source: liburing's src/include/liburing.h. May not live here: system calls but mmap(2).
"""

import ctypes
import errno
import mmap
import os
from collections.abc import Iterator

from uringfs._words import Words
from uringfs.abi.constants import (
    IORING_CQE_F_32,
    IORING_CQE_F_SKIP,
    IORING_OFF_CQ_RING,
    IORING_OFF_SQ_RING,
    IORING_OFF_SQES,
    IORING_OP_NOP,
    IORING_SETUP_CQE32,
    IORING_SETUP_CQE_MIXED,
    IORING_SETUP_SQ_REWIND,
    IORING_SETUP_SQE128,
    IORING_SETUP_SQE_MIXED,
    IOSQE_CQE_SKIP_SUCCESS,
    OPCODES,
)
from uringfs.abi.numbers import U32
from uringfs.abi.structs import CQ_OFF, CQE, OFFSETS, PARAMS, SQ_OFF, SQE, Cqe, Params, Sqe
from uringfs.client.request import BigCqe

COMMAND = 48
"""Where sqe->cmd begins in an SQE, bytes."""
EXTRA = SQE.size * 2 - COMMAND

SQE128_OPCODES = frozenset(number for number, name in enumerate(OPCODES) if name.endswith("128"))
"""Opcodes whose SQE has 128 bytes (io_issue_def.is_128)."""


MAP_FIXED = 0x10
MAP_FAILED = ctypes.c_void_p(-1).value
_held = ctypes.PyDLL(None, use_errno=True)  # with the interpreter's lock held, as in mmap.mmap(): see map_ring()
_held.mmap.restype = ctypes.c_void_p
_held.mmap.argtypes = (ctypes.c_void_p, ctypes.c_size_t, *[ctypes.c_int] * 3, ctypes.c_int64)


def map_ring(fd: int, size: int, offset: int, flags: int = mmap.MAP_POPULATE) -> mmap.mmap:
    """mmap(2) of a ring file, shared. mmap.mmap() asks for the file's size first, and stat(2) says 0 of a ring
    that has a name: so the ring takes the place of memory that has no file. OSError.

    A daemon that tries a ring of its own is a client, too: none of its threads may read from the wire while this
    one has the address space locked and waits for a page, or both wait for ever."""
    mapping = mmap.mmap(-1, size)
    address = ctypes.addressof(ctypes.c_char.from_buffer(mapping))
    protection, flags = mmap.PROT_READ | mmap.PROT_WRITE, flags | mmap.MAP_SHARED | MAP_FIXED
    if _held.mmap(address, size, protection, flags, fd, offset) == MAP_FAILED:
        mapping.close()
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    return mapping


class Queues:
    """The mapped queues of one ring file. close() before its descriptor is."""

    def __init__(self, fd: int, params: bytes, *, separate_cq: bool = False) -> None:
        """params: struct io_uring_params as the setup returned it."""
        self.params = Params._make(PARAMS.unpack_from(params))
        self._maps: list[mmap.mmap] = []
        self._words: list[Words] = []
        flags = self.params.flags
        self.wide = bool(flags & IORING_SETUP_SQE128)
        self.sqe_size = SQE.size * (2 if self.wide else 1)
        self.cqe_size = CQE.size * (2 if flags & IORING_SETUP_CQE32 else 1)
        self._rewinds = bool(flags & IORING_SETUP_SQ_REWIND)
        self._rewound = 0
        sq = OFFSETS.unpack_from(params, SQ_OFF)
        cq = OFFSETS.unpack_from(params, CQ_OFF)
        self.sq_head, self.sq_tail, _, _, self.sq_flags, self.sq_dropped, self.array, *_ = sq
        self.cq_head, self.cq_tail, _, _, self.cq_overflow, self.cqes, *_ = cq
        cq_size = self.cqes + self.params.cq_entries * self.cqe_size
        size = max(cq_size, self.array + 4 * self.params.sq_entries)
        self.sqes = self._mmap(fd, self.params.sq_entries * self.sqe_size, IORING_OFF_SQES)
        self.rings = self.cq_rings = self._mmap(fd, size, IORING_OFF_SQ_RING)
        self.sq = self.cq = self._words_of(self.rings)
        if separate_cq:
            self.cq_rings = self._mmap(fd, cq_size, IORING_OFF_CQ_RING)
            self.cq = self._words_of(self.cq_rings)

    def _mmap(self, fd: int, size: int, offset: int) -> mmap.mmap:
        mapping = map_ring(fd, size, offset)
        self._maps.append(mapping)
        return mapping

    def _words_of(self, mapping: mmap.mmap) -> Words:
        words = Words(mapping)
        self._words.append(words)
        return words

    def close(self) -> None:
        for words in self._words:
            words.release()
        for mapping in self._maps:
            mapping.close()

    # -- submission

    def queued(self) -> int:
        """Entries the daemon has not taken."""
        if self._rewinds:
            return self._rewound
        return (self.sq.load(self.sq_tail) - self.sq.load(self.sq_head)) & U32

    def room(self) -> int:
        """Entries that are free; an SQE of 128 bytes among those of 64 takes two, and never the last and the
        first."""
        return self.params.sq_entries - self.queued()

    def sq_flags_now(self) -> int:
        """IORING_SQ_*: what the daemon says beside the queue."""
        return self.sq.load(self.sq_flags)

    def push(self, sqe: Sqe, command: bytes = b"") -> None:
        """Put an SQE behind the tail. command: what stands from addr3 on. BlockingIOError: no room. OSError
        EINVAL: the ring has no SQEs of that size."""
        whole = self._encoded(sqe, command)
        mixed = not self.wide and len(whole) > SQE.size
        if mixed and not self.params.flags & IORING_SETUP_SQE_MIXED:
            raise OSError(errno.EINVAL, "an SQE of 128 bytes needs a ring with SQE128 or SQE_MIXED")
        tail = self._rewound if self._rewinds else self.sq.load(self.sq_tail)
        fill = mixed and not (tail + 1) & (self.params.sq_entries - 1)  # io_uring_get_sqe128()
        if self.room() < 1 + mixed + fill:
            raise BlockingIOError(
                errno.EAGAIN, f"the SQ is full ({self.params.sq_entries} entries): submit() first"
            )
        if fill:
            filler = Sqe(IORING_OP_NOP, IOSQE_CQE_SKIP_SUCCESS, fd=-1)
            self._store(tail, SQE.pack(*filler))
            tail += 1
        self._store(tail, whole)
        if mixed:
            self._index(tail + 1)
        self._publish(tail + 1 + mixed)

    def _encoded(self, sqe: Sqe, command: bytes) -> bytes:
        """The SQE with what belongs behind it, 64 or 128 bytes."""
        wide = self.wide or sqe.opcode in SQE128_OPCODES
        if len(command) > (EXTRA if wide else SQE.size - COMMAND):
            raise OSError(errno.EINVAL, f"{len(command)} bytes of command are too many for an SQE of this ring")
        data = SQE.pack(*sqe)
        if command:
            data = data[:COMMAND] + command
        return data.ljust(SQE.size * (2 if wide else 1), b"\0") if wide or command else data

    def _store(self, position: int, data: bytes) -> None:
        start = (position & (self.params.sq_entries - 1)) * self.sqe_size
        self.sqes[start : start + len(data)] = data
        self._index(position)

    def _index(self, position: int) -> None:
        if self.array:
            index = position & (self.params.sq_entries - 1)
            self.sq.store(self.array + 4 * index, index)

    def _publish(self, tail: int) -> None:
        if self._rewinds:
            self._rewound = tail
        else:
            self.sq.store(self.sq_tail, tail & U32)

    def taken(self, count: int) -> None:
        """An enter has taken so many entries: with IORING_SETUP_SQ_REWIND the rest moves to the front."""
        if self._rewinds:
            left = max(self._rewound - count, 0)
            start = count * self.sqe_size
            self.sqes[: left * self.sqe_size] = self.sqes[start : start + left * self.sqe_size]
            self._rewound = left

    # -- completion

    def ready(self) -> int:
        """CQ entries that can be reaped; with CQE_MIXED a CQE of 32 bytes is two."""
        return min((self.cq.load(self.cq_tail) - self.cq.load(self.cq_head)) & U32, self.params.cq_entries)

    def reap(self, most: int | None) -> list[Cqe]:
        """Take up to so many CQEs, all for None, and all fillers (IORING_CQE_F_SKIP) before the next."""
        head = end = self.cq.load(self.cq_head)
        taken: list[Cqe] = []
        for position, cqe in self._cqes(head, head + self.ready()):
            if cqe is not None:
                if len(taken) == most:
                    break
                taken.append(cqe)
            end = position
        if end != head:
            self.cq.store(self.cq_head, end & U32)
        return taken

    def _cqes(self, position: int, tail: int) -> Iterator[tuple[int, Cqe | None]]:
        """(position behind it, CQE); None for a filler."""
        mixed = self.params.flags & IORING_SETUP_CQE_MIXED
        while position < tail:
            start = self.cqes + (position & (self.params.cq_entries - 1)) * self.cqe_size
            cqe = Cqe._make(CQE.unpack_from(self.cq_rings, start))
            big = self.cqe_size > CQE.size or (mixed and cqe.flags & IORING_CQE_F_32)
            if big:
                halves = self.cq_rings[start + CQE.size : start + 2 * CQE.size]
                cqe = BigCqe(*cqe, (int.from_bytes(halves[:8], "little"), int.from_bytes(halves[8:], "little")))
            position += 2 if big and mixed else 1
            yield position, None if mixed and cqe.flags & IORING_CQE_F_SKIP else cqe
