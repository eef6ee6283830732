"""The two queues over shared words: any index, any head, any tail; positions that wrap."""

import random
from typing import ClassVar

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.support import Client, nop, start_at
from uringfs.abi.constants import (
    IORING_OFF_CQ_RING,
    IORING_SETUP_CQSIZE,
    IORING_SETUP_NO_SQARRAY,
    IORING_SQ_CQ_OVERFLOW,
)
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
    Params,
    Sqe,
)
from uringfs.memory.mapped import MappedMemory
from uringfs.ring.geometry import Geometry
from uringfs.ring.queues import distance
from uringfs.ring.ring import Ring

U32 = 0xFFFFFFFF
u32 = st.integers(0, U32)
MIRROR = IORING_OFF_CQ_RING


class Rig:
    def __init__(self, entries: int = 8, flags: int = 0, cq: int = 0, start: int = 0) -> None:
        """start: where all positions stand."""
        self.memory = MappedMemory()
        self.geometry = Geometry.of(entries, Params(flags=flags, cq_entries=cq))
        self.ring = Ring(self.memory, self.geometry, (1, 0))
        self.sq, self.cq = self.ring.sq, self.ring.cq
        self.client = Client(self.memory, self.geometry)
        if start:
            start_at(self.ring, start)

    def taken(self) -> list[int | None]:
        """The user_data of all that is queued, None where an index was invalid."""
        found = []
        for _ in range(self.sq.pending()):
            sqe = self.sq.get()
            found.append(None if sqe is None else Sqe._make(SQE.unpack(sqe)).user_data)
        self.sq.commit()
        return found

    def post(self, *user_data: int) -> None:
        for value in user_data:
            self.cq.post(value, value * 2, 0)
        self.cq.publish()

    def mirrored(self) -> list[int]:
        """user_data of the CQEs the mirror shows, and reap them there."""
        head, tail = self.memory.load(MIRROR + CQ_HEAD), self.memory.load(MIRROR + CQ_TAIL)
        mask = self.geometry.cq_entries - 1
        found = [
            CQE.unpack(self.memory.read(MIRROR + CQES + 16 * ((head + n) & mask), 16))[0]
            for n in range((tail - head) & U32)
        ]
        self.memory.store(MIRROR + CQ_HEAD, tail)
        return found


def test_the_header_says_masks_and_sizes_in_both_places() -> None:
    rig = Rig(8, IORING_SETUP_CQSIZE, 32)
    assert [rig.memory.load(word) for word in (SQ_RING_MASK, SQ_RING_ENTRIES)] == [7, 8]
    for base in (0, MIRROR):
        assert [rig.memory.load(base + word) for word in (CQ_RING_MASK, CQ_RING_ENTRIES)] == [31, 32]


# -- submission


def test_sqes_come_in_the_order_of_the_index_array() -> None:
    rig, random_ = Rig(), random.Random(7)
    for turn in range(50):
        order = random_.sample(range(8), 8)
        rig.client.push(*(nop(turn * 100 + n) for n in range(8)), indices=order)
        assert rig.taken() == [turn * 100 + n for n in range(8)]


def test_one_slot_may_be_queued_several_times() -> None:
    rig = Rig()
    rig.client.push(nop(5), nop(5), nop(5), indices=[3, 3, 3])
    assert rig.taken() == [5, 5, 5]


@pytest.mark.parametrize("index", [8, 9, 1 << 31, U32])
def test_an_invalid_index_is_dropped_and_counted(index: int) -> None:
    rig = Rig()
    rig.client.push(nop(1), nop(2), nop(3), indices=[0, index, 1])
    assert rig.taken() == [1, None, 3]
    assert rig.sq.dropped == rig.memory.load(SQ_DROPPED) == 1
    assert rig.memory.load(SQ_HEAD) == 3


def test_without_an_array_the_position_is_the_index() -> None:
    rig = Rig(flags=IORING_SETUP_NO_SQARRAY)
    rig.client.push(*(nop(n) for n in range(8)))
    assert rig.taken() == list(range(8))
    rig.client.push(nop(9))
    assert rig.taken() == [9]


@pytest.mark.parametrize("start", [U32 - 5, U32, 1 << 31, (1 << 31) - 3])
def test_submission_positions_wrap(start: int) -> None:
    rig = Rig(start=start)
    for turn in range(5):
        rig.client.push(*(nop(turn * 10 + n) for n in range(7)), indices=[6, 0, 5, 1, 4, 2, 3])
        assert rig.taken() == [turn * 10 + n for n in range(7)]
    assert rig.sq.head == rig.memory.load(SQ_HEAD) == (start + 35) & U32


@given(tail=u32, start=u32)
def test_any_tail_yields_at_most_a_ring_full(tail: int, start: int) -> None:
    rig = Rig(start=start)
    rig.memory.store(SQ_TAIL, tail)
    assert rig.sq.pending() == min((tail - start) & U32, 8)
    assert len(rig.taken()) <= 8


@given(indices=st.lists(u32, min_size=8, max_size=8))
def test_any_index_is_an_sqe_or_a_drop(indices: list[int]) -> None:
    rig = Rig()
    for position, index in enumerate(indices):
        rig.memory.store(rig.geometry.sq_array + 4 * position, index)
    rig.memory.store(SQ_TAIL, 8)
    assert rig.taken() == [0 if index < 8 else None for index in indices]
    assert rig.sq.dropped == sum(index >= 8 for index in indices)


def test_only_the_kernels_words_are_written() -> None:
    """The client's words (sq.tail, cq.head) are left as they are, whatever they say."""
    rig = Rig()
    rig.memory.store(SQ_TAIL, 0xDEADBEEF)
    rig.memory.store(CQ_HEAD, 0xCAFEBABE)
    rig.memory.store(MIRROR + CQ_HEAD, 0xFEEDFACE)
    rig.taken()
    rig.post(*range(40))
    rig.ring.flush()
    assert rig.memory.load(SQ_TAIL) == 0xDEADBEEF
    assert rig.memory.load(CQ_HEAD) == 0xCAFEBABE
    assert rig.memory.load(MIRROR + CQ_HEAD) == 0xFEEDFACE


def test_peeking_takes_nothing() -> None:
    rig = Rig(start=U32 - 1)
    rig.client.push(nop(1), nop(2), nop(3), indices=[5, 99, 2])
    assert [(index, sqe.user_data) for index, sqe in rig.sq.peek(())] == [(5, 1), (2, 3)]
    assert rig.taken() == [1, None, 3]


def test_pushing_as_the_client_stops_at_a_full_queue() -> None:
    rig = Rig(start=U32 - 2)
    assert [rig.sq.push(SQE.pack(*nop(n))) for n in range(9)] == [True] * 8 + [False]
    assert rig.taken() == list(range(8))


# -- completion


@pytest.mark.parametrize("start", [0, U32 - 9, U32, (1 << 31) - 4])
def test_completion_positions_wrap(start: int) -> None:
    rig = Rig(start=start)
    for turn in range(6):
        rig.post(*range(turn * 10, turn * 10 + 7))
        assert rig.client.reap() == [Cqe(n, n * 2, 0) for n in range(turn * 10, turn * 10 + 7)]
    assert rig.cq.tail == rig.memory.load(CQ_TAIL) == (start + 42) & U32


def test_what_is_posted_is_unseen_until_published() -> None:
    rig = Rig()
    rig.cq.post(1, 0, 0)
    assert rig.client.reap() == []
    assert rig.mirrored() == []
    rig.cq.publish()
    assert rig.mirrored() == [1]


def test_a_full_queue_keeps_the_rest_in_order() -> None:
    rig = Rig(4)
    rig.post(*range(20))
    assert rig.memory.load(SQ_FLAGS) & IORING_SQ_CQ_OVERFLOW
    assert len(rig.cq.backlog) == 12
    seen = []
    for _ in range(4):
        seen += [cqe.user_data for cqe in rig.client.reap(3)]
        # room alone does not let newer ones pass older ones
        rig.post(100 + len(seen))
        rig.ring.flush()
    while rig.cq.backlog:
        seen += [cqe.user_data for cqe in rig.client.reap()]
        assert rig.memory.load(SQ_FLAGS) & IORING_SQ_CQ_OVERFLOW
        rig.ring.flush()
    assert not rig.memory.load(SQ_FLAGS) & IORING_SQ_CQ_OVERFLOW
    seen += [cqe.user_data for cqe in rig.client.reap()]
    assert seen == [*range(20), 103, 106, 109, 112]
    assert rig.cq.overflow == 0


def test_the_overflow_flag_leaves_other_flags_alone() -> None:
    rig = Rig(1)
    rig.memory.store(SQ_FLAGS, 0x80)
    rig.post(1, 2, 3)
    assert rig.memory.load(SQ_FLAGS) == 0x80 | IORING_SQ_CQ_OVERFLOW
    rig.client.reap()
    rig.ring.flush()
    assert rig.memory.load(SQ_FLAGS) == 0x80


def test_beyond_the_backlog_completions_are_counted() -> None:
    rig = Rig(1)  # CQ of 2
    assert rig.cq.max_backlog >= 1 << 16
    rig.cq.max_backlog = 3
    rig.post(*range(9))
    assert len(rig.cq.backlog) == 3
    assert rig.cq.overflow == 4
    assert [rig.memory.load(base + CQ_OVERFLOW) for base in (0, MIRROR)] == [4, 4]
    seen = []
    for _ in range(3):
        seen += [cqe.user_data for cqe in rig.client.reap()]
        rig.ring.flush()
    assert seen == [0, 1, 2, 3, 4]


def test_the_overflow_count_is_the_clients_to_reset() -> None:
    rig = Rig(1)
    rig.cq.max_backlog = 0
    rig.post(1, 2, 3, 4)
    assert rig.cq.overflow == 2
    rig.memory.store(CQ_OVERFLOW, 0)
    rig.memory.store(MIRROR + CQ_OVERFLOW, 0)
    rig.post(5)
    assert [rig.memory.load(base + CQ_OVERFLOW) for base in (0, MIRROR)] == [1, 1]


@pytest.mark.parametrize("other", [0, 2, U32 - 20])
@pytest.mark.parametrize("start", [0, U32 - 20])
def test_a_client_that_maps_the_cq_by_itself(start: int, other: int) -> None:
    """Its head is in the mirror; the other copy never moves, wherever it stands."""
    rig = Rig(4, start=start)
    rig.memory.store(CQ_HEAD, other)
    rig.cq.head()
    rig.memory.store(MIRROR + CQ_HEAD, start - 1 & U32)  # moved, and back
    rig.cq.head()
    rig.memory.store(MIRROR + CQ_HEAD, start)
    for turn in range(12):
        rig.post(turn * 10, turn * 10 + 1, turn * 10 + 2)
        assert rig.mirrored() == [turn * 10, turn * 10 + 1, turn * 10 + 2]
        assert rig.cq.ready() == 0
    assert not rig.cq.backlog


def test_two_clients_of_one_ring_each_with_its_copy() -> None:
    rig = Rig(4)
    rig.post(1, 2)
    assert rig.mirrored() == [1, 2]
    rig.post(3)
    rig.memory.store(CQ_HEAD, 2)  # the other client catches up
    assert [cqe.user_data for cqe in rig.client.reap()] == [3]
    assert rig.cq.ready() == 0
    assert rig.cq.head() == 3


@given(heads=st.lists(st.tuples(u32, u32), max_size=8), start=u32)
def test_any_head_costs_the_client_at_most_its_completions(heads: list[tuple[int, int]], start: int) -> None:
    rig = Rig(2, start=start)
    posted = 0
    for head, mirror in heads:
        rig.memory.store(CQ_HEAD, head)
        rig.memory.store(MIRROR + CQ_HEAD, mirror)
        rig.post(*range(posted, posted + 3))
        posted += 3
        rig.ring.flush()
        assert len(rig.cq.peek()) <= 4
        assert rig.cq.ready() <= U32
        # every one is in the ring or in the backlog
        assert ((rig.cq.tail - start) & U32) + len(rig.cq.backlog) == posted
        assert rig.memory.load(CQ_TAIL) == rig.memory.load(MIRROR + CQ_TAIL) == rig.cq.tail


def test_reaping_as_the_client_moves_both_heads() -> None:
    rig = Rig(start=U32)
    rig.post(1, 2, 3)
    assert [cqe.user_data for cqe in rig.cq.reap(2)] == [1, 2]
    assert rig.memory.load(CQ_HEAD) == rig.memory.load(MIRROR + CQ_HEAD) == 1
    assert [cqe.user_data for cqe in rig.cq.reap(99)] == [3]
    assert rig.cq.reap(99) == []


@given(behind=u32, steps=st.integers(-(1 << 31), (1 << 31) - 1))
def test_distance_is_that_of_s32(behind: int, steps: int) -> None:
    assert distance((behind + steps) & U32, behind) == steps


def test_flushing_tells_the_waiters_only_if_there_was_a_backlog() -> None:
    rig, told = Rig(1), []

    class Listener:
        waits: ClassVar[bool] = True

        def completions(self) -> None:
            told.append(rig.memory.load(CQ_TAIL))

        def closed(self) -> None:
            raise AssertionError

    rig.ring.waiters.append(Listener())
    rig.post(1, 2)
    rig.ring.flush()
    assert told == []
    rig.post(3)
    rig.client.reap()
    rig.ring.flush()
    assert told == [3]
