"""IORING_SETUP_SQE_MIXED, IORING_SETUP_SQ_REWIND: no kernel here has them; what Linux 6.19 does, by its source."""

import errno

import pytest
import trio

from tests.unit.support import Bench, nop
from uringfs.abi.constants import (
    IORING_OFF_SQES,
    IORING_OP_NOP128,
    IORING_SETUP_NO_SQARRAY,
    IORING_SETUP_SQ_REWIND,
    IORING_SETUP_SQE128,
    IORING_SETUP_SQE_MIXED,
    IORING_SETUP_SUBMIT_ALL,
    IOSQE_IO_LINK,
)
from uringfs.abi.structs import SQ_HEAD, SQE, Sqe
from uringfs.engine.submit import BATCH
from uringfs.ops.table import SQE128_OPCODES

EINVAL = -errno.EINVAL
HALF = Sqe(opcode=255, user_data=999)  # a second half: nothing that could run
MIXED = IORING_SETUP_SQE_MIXED


def wide(user_data: int, flags: int = 0, **fields: int) -> Sqe:
    return Sqe(IORING_OP_NOP128, flags, fd=-1, user_data=user_data, **fields)


async def test_one_of_128_bytes_is_two_entries(nursery: trio.Nursery) -> None:
    bench = Bench(nursery, flags=MIXED)
    assert await bench.submit(nop(1), wide(2), HALF, nop(3), wide(4), HALF) == 6
    assert bench.client.results() == [(1, 0), (2, 0), (3, 0), (4, 0)]
    assert bench.ring.memory.load(SQ_HEAD) == 6


async def test_the_second_half_lies_behind_the_first_whatever_the_array_says(nursery: trio.Nursery) -> None:
    bench = Bench(nursery, flags=MIXED)
    bench.client.push(wide(1), nop(7), nop(2), indices=[4, 0, 1])
    assert await bench.enter(3) == 3
    assert bench.client.results() == [(1, 0), (2, 0)]


async def test_with_no_entry_left_it_is_einval_and_takes_one(nursery: trio.Nursery) -> None:
    bench = Bench(nursery, flags=MIXED)
    bench.client.push(wide(1), nop(2))
    assert await bench.enter(1) == 1
    assert await bench.enter(1) == 1
    assert bench.client.results() == [(1, EINVAL), (2, 0)]


async def test_at_the_end_of_the_ring_it_is_einval(nursery: trio.Nursery) -> None:
    bench = Bench(nursery, flags=MIXED | IORING_SETUP_NO_SQARRAY)
    await bench.submit(*[nop(n) for n in range(7)])
    bench.client.reap()
    assert await bench.submit(wide(8), nop(9)) == 1  # what fails before it begins ends the batch
    assert await bench.enter(1) == 1
    assert bench.client.results() == [(8, EINVAL), (9, 0)]


async def test_the_array_may_not_place_it_at_the_last_slot(nursery: trio.Nursery) -> None:
    """CVE-2026-43442: it is the place that counts, not the position."""
    bench = Bench(nursery, flags=MIXED | IORING_SETUP_SUBMIT_ALL)
    bench.client.push(wide(1), nop(2), indices=[7, 0])
    assert await bench.enter(2) == 2
    assert bench.client.results() == [(1, EINVAL), (2, 0)]
    await bench.submit(*[nop(n) for n in range(5)])
    bench.client.reap()
    bench.client.push(wide(3), nop(4), indices=[2, 3])  # the last position, but not the last slot
    assert await bench.enter(2) == 2
    assert bench.client.results() == [(3, 0)]


@pytest.mark.parametrize(("flags", "result"), [(0, EINVAL), (IORING_SETUP_SQE128, 0)])
async def test_in_rings_of_one_size(nursery: trio.Nursery, flags: int, result: int) -> None:
    bench = Bench(nursery, flags=flags)
    assert await bench.submit(wide(1)) == 1
    assert bench.client.results() == [(1, result)]


async def test_links_and_results(nursery: trio.Nursery) -> None:
    bench = Bench(nursery, flags=MIXED)
    failing = wide(1, IOSQE_IO_LINK, rw_flags=1, len=0xFFFFFFFB)  # IORING_NOP_INJECT_RESULT: -5
    assert await bench.submit(failing, HALF, wide(2, IOSQE_IO_LINK), HALF, nop(3), nop(4)) == 6
    assert sorted(bench.client.results()) == [(1, -5), (2, -errno.ECANCELED), (3, -errno.ECANCELED), (4, 0)]


async def test_batches_go_on_behind_a_pause(nursery: trio.Nursery) -> None:
    bench = Bench(nursery, entries=4 * BATCH, flags=MIXED)
    sqes = [half for n in range(BATCH + 10) for half in (wide(n), HALF)] + [nop(5)]
    assert await bench.submit(*sqes) == len(sqes)
    assert [user_data for user_data, _ in bench.client.results()] == [*range(BATCH + 10), 5]


async def test_what_is_queued_is_shown_once(nursery: trio.Nursery) -> None:
    bench = Bench(nursery, flags=MIXED)
    bench.client.push(wide(1), nop(0), nop(2))
    assert [(index, sqe.user_data) for index, sqe in bench.ring.sq.peek(SQE128_OPCODES)] == [(0, 1), (2, 2)]


REWIND = IORING_SETUP_SQ_REWIND | IORING_SETUP_NO_SQARRAY


def place(bench: Bench, *sqes: Sqe) -> None:
    """At the first slots; head and tail stay 0."""
    for slot, sqe in enumerate(sqes):
        bench.ring.memory.write(IORING_OFF_SQES + slot * SQE.size, SQE.pack(*sqe))


async def test_every_submission_begins_at_the_first_sqe(nursery: trio.Nursery) -> None:
    bench = Bench(nursery, flags=REWIND)
    for turn in range(5):
        place(bench, nop(turn), nop(10 + turn), nop(20 + turn))
        assert await bench.enter(2) == 2
        assert bench.client.results() == [(turn, 0), (10 + turn, 0)]
    assert bench.ring.sq.words() == (0, 0)


async def test_no_more_than_the_ring_has(nursery: trio.Nursery) -> None:
    bench = Bench(nursery, entries=4, flags=REWIND)
    place(bench, *[nop(n) for n in range(4)])
    assert await bench.enter(100) == 4
    assert [user_data for user_data, _ in bench.client.results()] == [0, 1, 2, 3]
    assert await bench.enter(0) == 0


async def test_what_was_not_taken_is_not_kept(nursery: trio.Nursery) -> None:
    bench = Bench(nursery, flags=REWIND)
    place(bench, Sqe(opcode=255, user_data=1), nop(2))
    assert await bench.enter(2) == 1
    place(bench, nop(3))
    assert await bench.enter(1) == 1
    assert bench.client.results() == [(1, EINVAL), (3, 0)]


async def test_a_pause_does_not_rewind(nursery: trio.Nursery) -> None:
    bench = Bench(nursery, entries=4 * BATCH, flags=REWIND | MIXED)
    place(bench, *[nop(n) for n in range(3 * BATCH)])
    assert await bench.enter(3 * BATCH) == 3 * BATCH
    assert [user_data for user_data, _ in bench.client.results()] == list(range(3 * BATCH))
