"""Requests that native code takes off the queue (engine/inline.py): with it and without it comes the same."""

import errno

import pytest
import trio
import trio.testing
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.support import Bench, TakingMemory, nop
from uringfs.abi.constants import (
    IORING_NOP_INJECT_RESULT,
    IORING_SETUP_CQE32,
    IORING_SETUP_DEFER_TASKRUN,
    IORING_SETUP_NO_SQARRAY,
    IORING_SETUP_SINGLE_ISSUER,
    IORING_SETUP_SQE128,
    IORING_SETUP_SUBMIT_ALL,
    IOSQE_ASYNC,
    IOSQE_CQE_SKIP_SUCCESS,
    IOSQE_IO_DRAIN,
    IOSQE_IO_HARDLINK,
    IOSQE_IO_LINK,
)
from uringfs.abi.structs import CQ_HEAD, Sqe
from uringfs.engine.inline import IN_VAIN, SELDOM
from uringfs.engine.submit import BATCH
from uringfs.host.protocols import Caller
from uringfs.ring.ring import Counters

FLAGS = IOSQE_IO_LINK, IOSQE_IO_HARDLINK, IOSQE_CQE_SKIP_SUCCESS, IOSQE_IO_DRAIN, IOSQE_ASYNC, 0, 0, 0
SETUPS = (
    0,
    IORING_SETUP_SUBMIT_ALL,
    IORING_SETUP_NO_SQARRAY,
    IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_DEFER_TASKRUN,
)
FAILS = (-errno.EIO) & 0xFFFFFFFF


class TakingBench(Bench):
    memory = TakingMemory


@pytest.fixture
async def taking(nursery: trio.Nursery) -> TakingBench:
    return TakingBench(nursery)


requests = st.builds(
    lambda flags, fails, opcode: (flags, fails, opcode),
    st.sampled_from(FLAGS),
    st.booleans(),
    st.sampled_from([0, 0, 0, 0, 200]),
)


def sqes(program: list[tuple[int, bool, int]]) -> list[Sqe]:
    inject = {"rw_flags": IORING_NOP_INJECT_RESULT, "len": FAILS}
    made = [nop(number, flags, **(inject if fails else {})) for number, (flags, fails, _) in enumerate(program)]
    return [sqe._replace(opcode=opcode) for sqe, (_, _, opcode) in zip(made, program, strict=True)]


async def outcome(kind: type[Bench], setup: int, batches: list[list[Sqe]], reap: bool) -> list[object]:
    """What each enter came to, the CQEs, and the counters."""
    seen: list[object] = []
    async with trio.open_nursery() as nursery:
        bench = kind(nursery, entries=16, flags=setup)
        for batch in batches:
            seen.append(await bench.submit(*batch))
            await trio.testing.wait_all_tasks_blocked()
            if setup & IORING_SETUP_DEFER_TASKRUN:
                seen.append(await bench.enter(0, flags=1))
            if reap:
                seen.append(bench.client.reap())
        seen.append(bench.client.reap())
        seen.append(bench.ring.counters)
        seen.append((bench.ring.sq.words(), bench.ring.cq.words(), len(bench.ring.cq.backlog)))
        nursery.cancel_scope.cancel()
    return seen


@given(st.sampled_from(SETUPS), st.lists(st.lists(requests, min_size=1, max_size=16), max_size=4), st.booleans())
def test_any_program_has_the_same_completions(
    setup: int, programs: list[list[tuple[int, bool, int]]], reap: bool
) -> None:
    batches = [sqes(program) for program in programs]
    assert trio.run(outcome, Bench, setup, batches, reap) == trio.run(outcome, TakingBench, setup, batches, reap)


async def test_the_engine_sees_none_of_what_is_taken(taking: TakingBench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(taking.context._submission, "_submit_sqe", None)  # would be a TypeError
    assert await taking.submit(nop(1), nop(2), nop(3)) == 3
    assert taking.client.results() == [(1, 0), (2, 0), (3, 0)]
    assert taking.ring.counters == Counters(enters=1, submitted=3, completed=3)


async def test_it_goes_on_behind_what_the_engine_does(
    taking: TakingBench, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[bytes] = []
    submission = taking.context._submission
    submit = submission._submit_sqe

    def watched(caller: object, data: bytes) -> bool:
        seen.append(data)
        return submit(caller, data)

    monkeypatch.setattr(submission, "_submit_sqe", watched)
    await taking.submit(nop(1), nop(2, IOSQE_ASYNC), nop(3))
    assert sorted(taking.client.results()) == [(1, 0), (2, 0), (3, 0)]
    assert len(seen) == 1


async def test_a_ring_of_which_it_takes_nothing_asks_it_seldom(
    taking: TakingBench, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[bool] = []
    inline = taking.context._submission._inline
    take = inline.take

    def watched(caller: Caller, end: int, *, whole: bool) -> bool:
        asked.append(take(caller, end, whole=whole))
        return asked[-1]

    monkeypatch.setattr(inline, "take", watched)
    for _ in range(IN_VAIN + 3 * SELDOM):
        await taking.submit(nop(0, IOSQE_ASYNC))
        await trio.testing.wait_all_tasks_blocked()
        taking.client.reap()
    assert asked == [False] * (IN_VAIN + 3)
    while not asked[-1]:
        await taking.submit(nop(0))
        taking.client.reap()
    await taking.submit(nop(0))
    assert asked[IN_VAIN + 3 :] == [True, True]


@pytest.mark.parametrize("setup", [IORING_SETUP_SQE128, IORING_SETUP_CQE32])
async def test_wide_entries(nursery: trio.Nursery, setup: int) -> None:
    bench = TakingBench(nursery, flags=setup)
    bench.ring.sq.push(b"".join([bytes(32), (7).to_bytes(8, "little"), bytes(bench.ring.geometry.sqe_size - 40)]))
    assert await bench.enter(1) == 1
    assert bench.client.results() == [(7, 0)]


async def test_others_have_their_turn_behind_each_batch(nursery: trio.Nursery) -> None:
    bench = TakingBench(nursery, entries=2 * BATCH)
    bench.client.push(*(nop(number) for number in range(BATCH + 1)))
    caller = bench.host.caller(bench.thread.tid, bench.thread.uid, bench.thread.gid)
    rest = bench.context.submit(caller, BATCH + 1)
    assert not isinstance(rest, int)
    assert bench.ring.cq.ready() == BATCH
    assert await rest() == BATCH + 1
    assert bench.client.results() == [(number, 0) for number in range(BATCH + 1)]


async def test_a_head_that_lies_makes_no_room(taking: TakingBench) -> None:
    taking.client.memory.store(CQ_HEAD, 0x80000000)
    await taking.submit(*(nop(number) for number in range(8)))
    assert (taking.ring.cq.tail, len(taking.ring.cq.backlog)) == (0, 8)


async def test_an_index_out_of_range_is_dropped_as_before(taking: TakingBench) -> None:
    taking.client.push(nop(1), nop(2), nop(3), indices=[0, 99, 1])
    assert await taking.enter(3) == 1
    assert (taking.client.results(), taking.ring.sq.dropped) == ([(1, 0)], 1)
