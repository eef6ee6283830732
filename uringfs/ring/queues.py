"""The submission and the completion queue over shared memory.

Everything the client can write is taken as hostile: indices are masked, the client's head and tail are
only ever compared, and of the shared words this module writes the kernel's side alone (sq.head, cq.tail,
flags, counters). Positions are u32 that wrap. Source: io_uring/io_uring.c.
"""

from collections import deque
from collections.abc import Container

from uringfs.abi.constants import (
    IORING_CQE_F_32,
    IORING_CQE_F_SKIP,
    IORING_OFF_CQ_RING,
    IORING_OFF_SQ_RING,
    IORING_OFF_SQES,
    IORING_SETUP_CQE_MIXED,
    IORING_SETUP_SQ_REWIND,
    IORING_SETUP_SQE_MIXED,
    IORING_SQ_CQ_OVERFLOW,
)
from uringfs.abi.numbers import U32
from uringfs.abi.structs import (
    CQ_HEAD,
    CQ_OVERFLOW,
    CQ_RING_ENTRIES,
    CQ_RING_MASK,
    CQ_TAIL,
    CQE,
    CQES,
    SQ_DROPPED,
    SQ_FLAGS,
    SQ_HEAD,
    SQ_RING_ENTRIES,
    SQ_RING_MASK,
    SQ_TAIL,
    SQE,
    Cqe,
    Sqe,
)
from uringfs.memory.base import RingMemory
from uringfs.ring.geometry import Geometry

# A client that never reaps must not eat the daemon: beyond this, completions are counted in cq.overflow,
# as the kernel does when it gets no memory for the backlog (io_cqring_add_overflow).
MAX_BACKLOG = 1 << 20


def distance(ahead: int, behind: int) -> int:
    """How far u32 position `ahead` is in front of `behind`; negative when it is behind (as (s32)(a - b))."""
    return ((ahead - behind + 0x80000000) & U32) - 0x80000000


class SubmissionQueue:
    """io_get_sqe() and its state. `head` is the kernel's cached_sq_head."""

    def __init__(self, memory: RingMemory, geometry: Geometry) -> None:
        self._memory = memory
        self._mixed = bool(geometry.flags & IORING_SETUP_SQE_MIXED)
        self.rewinds = bool(geometry.flags & IORING_SETUP_SQ_REWIND)
        """Each submission begins at the first SQE; the words head and tail are not used."""
        self._index = 0  # of the SQE taken last
        self._mask = geometry.sq_entries - 1
        self._array = geometry.sq_array
        self._size = geometry.sqe_size
        self.entries = geometry.sq_entries
        self.head = 0
        memory.store(SQ_RING_MASK, self._mask)
        memory.store(SQ_RING_ENTRIES, self.entries)

    def resized(self, geometry: Geometry) -> None:
        """Other sizes (ring/resize.py); the positions stay."""
        self._mask = geometry.sq_entries - 1
        self._array = geometry.sq_array
        self.entries = geometry.sq_entries

    @property
    def dropped(self) -> int:
        """SQEs whose index was out of range; the client's to reset, as in the kernel."""
        return self._memory.load(SQ_DROPPED)

    def pending(self) -> int:
        """io_sqring_entries(): SQEs the client has queued, at most the ring's size."""
        if self.rewinds:
            return 0
        return min((self._memory.load(SQ_TAIL) - self.head) & U32, self.entries)

    def available(self) -> int:
        """SQEs that a submission may take."""
        return self.entries if self.rewinds else self.pending()

    def get(self) -> bytes | None:
        """A copy of the next SQE, 64 or 128 bytes; None if its index is out of range, which counts as dropped."""
        index = self.head & self._mask
        self.head = (self.head + 1) & U32
        if self._array:
            index = self._memory.load(self._array + 4 * index)
            if index >= self.entries:
                self._memory.store(SQ_DROPPED, (self.dropped + 1) & U32)
                return None
        self._index = index
        return self._memory.read(IORING_OFF_SQES + index * self._size, self._size)

    def take_second(self, end: int) -> bool:
        """io_init_req(): the SQE taken last is one of 128 bytes among those of 64, so the next entry is its
        second half, up to position `end`. False if the ring has no such, or it would not lie in one piece."""
        if not self._mixed or self.head == end or self._index >= self.entries - 1:
            return False
        self.head = (self.head + 1) & U32
        return True

    def peek(self, sqe128_opcodes: Container[int]) -> list[tuple[int, Sqe]]:
        """(index, SQE) of those queued and not taken yet, for people to look at. sqe128_opcodes: whose SQEs
        take two entries of a ring with SQE_MIXED."""
        found = []
        positions = iter(range(self.head, self.head + self.pending()))
        for position in positions:
            index = position & self._mask
            if self._array:
                index = self._memory.load(self._array + 4 * index)
            if index < self.entries:
                data = self._memory.read(IORING_OFF_SQES + index * self._size, SQE.size)
                found.append((index, Sqe._make(SQE.unpack(data))))
                if self._mixed and data[0] in sqe128_opcodes:
                    next(positions, None)
        return found

    def commit(self) -> None:
        """io_commit_sqring(): the client may reuse the SQEs taken so far."""
        if not self.rewinds:
            self._memory.store(SQ_HEAD, self.head)

    def rewind(self) -> None:
        """The submission is over: with IORING_SETUP_SQ_REWIND the next one begins at the first SQE again."""
        if self.rewinds:
            self.head = 0

    def words(self) -> tuple[int, int]:
        """(head, tail) as they stand in memory."""
        return self._memory.load(SQ_HEAD), self._memory.load(SQ_TAIL)

    def push(self, sqe: bytes) -> bool:
        """The client's side, for text requests: queue one SQE; False if the SQ is full."""
        if self.pending() == self.entries:
            return False
        tail = self._memory.load(SQ_TAIL)
        index = tail & self._mask
        self._memory.write(IORING_OFF_SQES + index * self._size, sqe)
        if self._array:
            self._memory.store(self._array + 4 * index, index)
        self._memory.store(SQ_TAIL, (tail + 1) & U32)
        return True

    def set_flags(self, bits: int) -> None:
        self._memory.fetch_or(SQ_FLAGS, bits)

    def clear_flags(self, bits: int) -> None:
        self._memory.fetch_and(SQ_FLAGS, ~bits & U32)


class CompletionQueue:
    """io_fill_cqe_aux() and friends. `tail` is the kernel's cached_cq_tail.

    A file has one page per offset, so the CQ ring stands twice: beside the SQ ring, and as a mirror at
    IORING_OFF_CQ_RING for clients that map it by itself. We write both; the client's head is in one.
    """

    def __init__(self, memory: RingMemory, geometry: Geometry, sq: SubmissionQueue) -> None:
        self._memory = memory
        self._sq = sq
        self._size = geometry.cqe_size
        self._mixed = bool(geometry.flags & IORING_SETUP_CQE_MIXED)
        self._mask = geometry.cq_entries - 1
        self.entries = geometry.cq_entries
        self.tail = 0
        self._published = 0
        self.backlog: deque[tuple[Cqe, bytes]] = deque()
        """What did not fit: the CQE and, on CQE32 rings, its second half."""
        self.max_backlog = MAX_BACKLOG
        self._head = 0
        self._copies = (0, 0)
        self._free = 0  # CQEs that fit before the client's head has to be looked at again
        for base in (IORING_OFF_SQ_RING, IORING_OFF_CQ_RING):
            memory.store(base + CQ_RING_MASK, self._mask)
            memory.store(base + CQ_RING_ENTRIES, self.entries)

    def resized(self, geometry: Geometry) -> None:
        """Other sizes (ring/resize.py); the positions stay."""
        self._mask = geometry.cq_entries - 1
        self.entries = geometry.cq_entries
        self._head = self.head()
        self._copies = (self._head, self._head)
        self._free = 0

    @property
    def overflow(self) -> int:
        """CQEs lost for want of memory; the client's to reset, as in the kernel."""
        return self._memory.load(CQ_OVERFLOW)

    def head(self) -> int:
        """The client's head: of the two copies the one that moved; if both did, the one further ahead."""
        copies = one, two = self._memory.load(CQ_HEAD), self._memory.load(IORING_OFF_CQ_RING + CQ_HEAD)
        if copies != self._copies:
            moved_one, moved_two = one != self._copies[0], two != self._copies[1]
            self._copies = copies
            self._head = two if moved_two and (not moved_one or self._behind(one, two)) else one
        return self._head

    def looked_at(self) -> tuple[int, tuple[int, int]]:
        """The head, and the words of both copies it was found from, as of the last look."""
        return self._head, self._copies

    @property
    def room(self) -> int:
        """CQEs that fit before the client's head has to be looked at again (ctx->cqe_cached)."""
        return self._free

    def took(self, tail: int, room: int, head: int, copies: tuple[int, int]) -> None:
        """CQEs were written up to the position `tail` behind our back; room and looked_at() are this now."""
        self.tail, self._free, self._head, self._copies = tail, room, head, copies

    def _behind(self, one: int, two: int) -> bool:
        """two is the further of both among those that can be, which are up to the tail."""
        room = (self.tail - self._head) & U32
        steps_one, steps_two = (one - self._head) & U32, (two - self._head) & U32
        return steps_two <= room and (steps_one > room or steps_two > steps_one)

    def ready(self) -> int:
        """__io_cqring_events_user(): CQEs posted and not reaped, as the client's head says."""
        return (self.tail - self.head()) & U32

    def post(self, user_data: int, res: int, flags: int, big: bytes = b"") -> None:
        """Write one CQE behind the tail, or keep it in the backlog; publish() makes it seen. big: the
        second half of a 32-byte CQE, zeros if not given."""
        if flags & IORING_CQE_F_32 and self._mixed:
            self._post_wide(user_data, res, flags, big)
            return
        if self._free == 0 and not self.backlog:
            self._refill()
        if self._free == 0 or self.backlog:
            self._overflow(Cqe(user_data, res, flags), big)
            return
        self._free -= 1
        data = CQE.pack(user_data, res, flags)
        if self._size != CQE.size:
            data += big.ljust(CQE.size, b"\0")
        self._memory.write(CQES + (self.tail & self._mask) * self._size, data)
        self.tail = (self.tail + 1) & U32

    def _post_wide(self, user_data: int, res: int, flags: int, big: bytes) -> None:
        """A 32-byte CQE among those of 16 takes two places."""
        if self.backlog or not self._room(flags):
            self._overflow(Cqe(user_data, res, flags), big)
            return
        self._free -= 2
        offset = CQES + (self.tail & self._mask) * self._size
        self._memory.write(offset, CQE.pack(user_data, res, flags) + big.ljust(CQE.size, b"\0"))
        self.tail = (self.tail + 2) & U32

    def _room(self, flags: int) -> bool:
        """io_get_cqe_overflow(): there is room for a CQE with these flags. One that would not lie in one
        piece has another to be skipped before it."""
        need = 1
        if flags & IORING_CQE_F_32 and self._mixed:
            need = 2
            if self.tail & self._mask == self._mask and self.ready() < self.entries:
                self._memory.write(CQES + self._mask * self._size, CQE.pack(0, 0, IORING_CQE_F_SKIP))
                self.tail = (self.tail + 1) & U32
                self._free = 0
        if self._free < need:
            self._refill()
        return self._free >= need

    def _refill(self) -> None:
        """io_cqe_cache_refill(): a head that lies counts as a full queue; looked at again at each wrap."""
        free = self.entries - min(self.ready(), self.entries)
        self._free = min(free, self.entries - (self.tail & self._mask))

    def full(self) -> bool:
        """io_get_cqe() finds no room: what is posted now goes to the backlog."""
        if self._free == 0 and not self.backlog:
            self._refill()
        return self._free == 0 or bool(self.backlog)

    def spill(self, cqe: Cqe, big: bytes = b"") -> None:
        """Post one as if the CQ were full."""
        self._overflow(cqe, big)

    def lose(self) -> None:
        """Count one as if it were full, and there were no memory for the backlog."""
        count = (self.overflow + 1) & U32
        for base in (IORING_OFF_SQ_RING, IORING_OFF_CQ_RING):
            self._memory.store(base + CQ_OVERFLOW, count)

    def _overflow(self, cqe: Cqe, big: bytes) -> None:
        """io_cqring_add_overflow()"""
        if len(self.backlog) >= self.max_backlog:
            self.lose()
            return
        if not self.backlog:
            self._sq.set_flags(IORING_SQ_CQ_OVERFLOW)
        self.backlog.append((cqe, big))

    def flush(self) -> None:
        """__io_cqring_overflow_flush(): move what fits from the backlog, in order."""
        if not self.backlog:
            return
        pending, self.backlog = self.backlog, deque()
        self._refill()
        while pending and self._room(pending[0][0].flags):
            cqe, big = pending.popleft()
            self.post(*cqe, big)
        self.backlog = pending
        if not pending:
            self._sq.clear_flags(IORING_SQ_CQ_OVERFLOW)
        self.publish()

    def publish(self) -> bool:
        """io_commit_cqring(): let the client see what was posted, in the mirror as a copy of the batch. False if
        that has to wait."""
        memory, first = self._memory, self._published & self._mask
        count = min((self.tail - self._published) & U32, self.entries)
        while count:
            run = min(count, self.entries - first)
            offset = CQES + first * self._size
            memory.write(IORING_OFF_CQ_RING + offset, memory.read(offset, run * self._size))
            first, count = 0, count - run
        self._published = self.tail
        memory.store(CQ_TAIL, self.tail)
        memory.store(IORING_OFF_CQ_RING + CQ_TAIL, self.tail)
        return True

    def peek(self) -> list[tuple[int, Cqe]]:
        """(index, CQE) of those the client has not reaped, for people to look at."""
        head, found = self.head(), []
        for position in range(head, head + min(self.ready(), self.entries)):
            index = position & self._mask
            data = self._memory.read(CQES + index * self._size, CQE.size)
            found.append((index, Cqe._make(CQE.unpack(data))))
        return found

    def reap(self, most: int) -> list[Cqe]:
        """The client's side, for text requests: take up to `most` CQEs and move the head past them."""
        taken = [cqe for _, cqe in self.peek()[:most]]
        head = (self.head() + len(taken)) & U32
        self._memory.store(CQ_HEAD, head)
        self._memory.store(IORING_OFF_CQ_RING + CQ_HEAD, head)
        return taken

    def words(self) -> tuple[int, int]:
        """(head, tail) as they stand in memory."""
        return self.head(), self._memory.load(CQ_TAIL)
