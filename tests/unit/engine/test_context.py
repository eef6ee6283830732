"""An enter is a plain function: what it can do at once is done when it returns, and what it cannot is returned."""

import errno

import pytest
import trio
import trio.testing

from tests.fakehost.files import Stream
from tests.unit.support import Bench, Client, nop
from uringfs.abi.constants import (
    IORING_ENTER_GETEVENTS,
    IORING_OP_NOP,
    IORING_SETUP_DEFER_TASKRUN,
    IORING_SETUP_SINGLE_ISSUER,
    OPCODES,
)
from uringfs.abi.structs import Params, Sqe
from uringfs.engine.context import Context
from uringfs.engine.entering import Entered
from uringfs.engine.request import Request
from uringfs.engine.submit import BATCH
from uringfs.memory.mapped import MappedMemory
from uringfs.ops.table import OPS
from uringfs.ring.geometry import Geometry
from uringfs.ring.ring import Ring

READ, FD, BUFFER = OPCODES.index("READ"), 3, 0x10000


def begin(bench: Bench, to_submit: int, wait: int = 0, tid: int = 100) -> object:
    flags = IORING_ENTER_GETEVENTS if wait else 0
    return bench.context.enter(bench.host.caller(tid, 0, 0), to_submit, wait, flags, 0, 0)


def reader(bench: Bench) -> Stream:
    stream = bench.thread.fds[FD] = Stream()
    bench.thread.memory.map(BUFFER, 64)
    return stream


async def test_all_of_it_is_done_when_it_returns(bench: Bench) -> None:
    reader(bench)
    bench.client.push(nop(1), Sqe(READ, fd=FD, addr=BUFFER, len=4, user_data=2), nop(3))
    assert begin(bench, 3) == Entered(3)
    assert bench.client.results() == [(1, 0), (3, 0)]
    assert [request.sqe.user_data for request in bench.context.pending] == [2]


async def test_what_waits_for_a_file_waits_when_it_returns(bench: Bench) -> None:
    stream = reader(bench)
    bench.client.push(Sqe(READ, fd=FD, addr=BUFFER, len=4, user_data=1))
    assert begin(bench, 1) == Entered(1)
    assert stream.watchers


async def test_a_wait_is_returned_not_waited_for(bench: Bench) -> None:
    stream = reader(bench)
    bench.client.push(Sqe(READ, fd=FD, addr=BUFFER, len=4, user_data=1))
    entered = begin(bench, 1, wait=1)
    assert isinstance(entered, Entered)
    assert entered.wait is not None
    stream.feed(b"data")
    assert await entered.wait.run() == 0
    assert bench.client.results() == [(1, 4)]


async def test_a_long_submission_goes_on_in_a_task(nursery: trio.Nursery) -> None:
    bench = Bench(nursery, entries=2 * BATCH)
    bench.client.push(*(nop(n) for n in range(BATCH + 1)))
    rest = begin(bench, BATCH + 1)
    assert not isinstance(rest, Entered)
    assert len(bench.client.results()) == BATCH
    bench.client.push(nop(1000))
    behind = begin(bench, 1)
    assert callable(rest)
    assert callable(behind)
    assert bench.client.results() == []
    async with trio.open_nursery() as inner:
        inner.start_soon(behind)
        await trio.testing.wait_all_tasks_blocked()
        assert bench.client.results() == []
        assert await rest() == Entered(BATCH + 1)
    assert [user_data for user_data, _ in bench.client.results()] == [BATCH, 1000]


async def test_what_tasks_are_about_to_complete_is_waited_for(nursery: trio.Nursery) -> None:
    """io_run_local_work() finds it done."""
    bench = Bench(nursery, flags=IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_DEFER_TASKRUN)
    reader(bench)
    await bench.submit(Sqe(READ, fd=FD, addr=BUFFER, len=4, user_data=1))
    await trio.testing.wait_all_tasks_blocked()
    (request,) = bench.context.pending
    bench.context.cancel(request)
    rest = begin(bench, 0, wait=1)
    assert callable(rest)
    assert await rest() == Entered(0)
    assert bench.client.results() == [(1, -errno.ECANCELED)]


async def test_whatever_fails_in_the_middle_the_next_has_its_turn(bench: Bench) -> None:
    def broken(request: Request) -> None:
        if request.sqe.user_data == 2:
            raise ZeroDivisionError

    ops = list(OPS)
    ops[IORING_OP_NOP] = OPS[IORING_OP_NOP]._replace(prep=broken, issue=lambda request: 7)
    geometry, memory = Geometry.of(8, Params()), MappedMemory()
    ring = Ring(memory, geometry, (bench.thread.tid, bench.thread.uid))
    client, context = Client(memory, geometry), Context(ring, bench.nursery, bench.tctx, ops)
    caller = bench.host.caller(bench.thread.tid, 0, 0)
    client.push(nop(1), nop(2), nop(3))
    with pytest.raises(ZeroDivisionError):
        context.enter(caller, 3, 0, 0, 0, 0)
    assert client.results() == [(1, 7)]
    assert context.enter(caller, 1, 0, 0, 0, 0) == Entered(1)
    assert client.results() == [(3, 7)]
