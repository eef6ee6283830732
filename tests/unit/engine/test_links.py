"""Links, hard links, IOSQE_CQE_SKIP_SUCCESS, SUBMIT_ALL: what io_uring.c makes of chains and failures.

Every expectation was taken from a kernel (6.18): the same SQEs, the same CQEs. What follows a completion
(links, and the cancelling of them) comes behind the batch, as task work.
"""

import errno

import pytest
import trio
import trio.testing

from tests.fakehost.files import RegularFile, Stream
from tests.unit.support import Bench, iovecs, nop, readv
from uringfs.abi.constants import (
    IORING_NOP_INJECT_RESULT,
    IORING_SETUP_SUBMIT_ALL,
    IOSQE_CQE_SKIP_SUCCESS,
    IOSQE_IO_HARDLINK,
    IOSQE_IO_LINK,
)
from uringfs.abi.structs import Sqe

LINK, HARDLINK, SKIP = IOSQE_IO_LINK, IOSQE_IO_HARDLINK, IOSQE_CQE_SKIP_SUCCESS
CANCELED = -errno.ECANCELED
BAD = 200  # an opcode no kernel knows


def fails(user_data: int, flags: int = 0) -> Sqe:
    """A request that fails when it runs, not before."""
    return nop(user_data, flags, rw_flags=IORING_NOP_INJECT_RESULT, len=(-errno.EIO) & 0xFFFFFFFF)


def invalid(user_data: int, flags: int = 0) -> Sqe:
    """A request that fails before it runs."""
    return Sqe(BAD, flags, user_data=user_data)


@pytest.mark.parametrize(
    ("sqes", "consumed", "cqes"),
    [
        ([nop(1, LINK), nop(2, LINK), nop(3)], 3, [(1, 0), (2, 0), (3, 0)]),
        ([nop(1, LINK), nop(2, LINK)], 2, [(1, 0), (2, 0)]),
        ([fails(1, LINK), nop(2, LINK), nop(3), nop(4)], 4, [(1, -5), (4, 0), (2, CANCELED), (3, CANCELED)]),
        ([nop(1, LINK), fails(2, LINK), nop(3)], 3, [(1, 0), (2, -5), (3, CANCELED)]),
        ([fails(1, HARDLINK), nop(2, HARDLINK), nop(3)], 3, [(1, -5), (2, 0), (3, 0)]),
        ([fails(1, HARDLINK), fails(2, LINK), nop(3)], 3, [(1, -5), (2, -5), (3, CANCELED)]),
        # one that never began fails its chain from the head on, hard links too
        ([nop(1, LINK), invalid(2, LINK), nop(3), nop(4)], 4, [(1, CANCELED), (4, 0), (2, -22), (3, CANCELED)]),
        ([nop(1, HARDLINK), invalid(2, HARDLINK), nop(3)], 3, [(1, CANCELED), (2, -22), (3, CANCELED)]),
        ([invalid(1, LINK), nop(2)], 2, [(1, -22), (2, CANCELED)]),
        ([invalid(1, HARDLINK), nop(2)], 2, [(1, -22), (2, CANCELED)]),
        # ... and ends the batch only where it also ends the chain
        ([nop(1, LINK), invalid(2), nop(3)], 2, [(1, CANCELED), (2, -22)]),
        ([invalid(1), nop(2)], 1, [(1, -22)]),
        # success is silent; a failure is not, but then what it cancels is
        ([nop(1, SKIP), nop(2)], 2, [(2, 0)]),
        ([fails(1, SKIP), nop(2)], 2, [(1, -5), (2, 0)]),
        ([fails(1, LINK | SKIP), nop(2, LINK), nop(3)], 3, [(1, -5)]),
        ([fails(1, LINK), nop(2, LINK | SKIP), nop(3)], 3, [(1, -5), (2, CANCELED), (3, CANCELED)]),
        ([nop(1, LINK | SKIP), invalid(2, LINK), nop(3)], 3, [(1, CANCELED)]),
        ([nop(1, LINK), invalid(2, LINK | SKIP), nop(3)], 3, [(1, CANCELED), (2, -22), (3, CANCELED)]),
        ([nop(1, LINK | SKIP), fails(2, LINK), nop(3)], 3, [(2, -5), (3, CANCELED)]),
    ],
)  # fmt: skip
async def test_chains(bench: Bench, sqes: list[Sqe], consumed: int, cqes: list[tuple[int, int]]) -> None:
    assert await bench.submit(*sqes) == consumed
    assert bench.client.results() == cqes
    assert not bench.context.pending


async def test_submit_all_goes_on_behind_what_never_began(nursery) -> None:
    bench = Bench(nursery, flags=IORING_SETUP_SUBMIT_ALL)
    assert await bench.submit(invalid(1), nop(2), nop(3, LINK), invalid(4), nop(5)) == 5
    assert bench.client.results() == [(1, -22), (2, 0), (3, CANCELED), (5, 0), (4, -22)]


async def test_the_rest_of_an_ended_batch_is_there_for_the_next_enter(bench: Bench) -> None:
    assert await bench.submit(nop(1), invalid(2), nop(3)) == 2
    assert await bench.enter(1) == 1
    assert bench.client.results() == [(1, 0), (2, -22), (3, 0)]


@pytest.mark.parametrize("length", [64, 1024, 4096])
@pytest.mark.parametrize("kind", [LINK, HARDLINK])
async def test_a_chain_may_be_as_long_as_the_ring(nursery, length: int, kind: int) -> None:
    bench = Bench(nursery, entries=length)
    assert await bench.submit(*(nop(n, kind) for n in range(length))) == length
    assert bench.client.results() == [(n, 0) for n in range(length)]


async def test_a_long_chain_is_cancelled_link_by_link(nursery) -> None:
    bench = Bench(nursery, entries=4096)
    await bench.submit(fails(0, LINK), *(nop(n, LINK) for n in range(1, 4096)))
    assert bench.client.results() == [(0, -5), *((n, CANCELED) for n in range(1, 4096))]


async def test_links_wait_for_the_one_before(bench: Bench) -> None:
    stream = bench.thread.fds[3] = Stream()
    bench.thread.memory.map(0x10000, 4096)
    vector = iovecs(bench.thread, 0x20000, [(0x10000, 4)])
    await bench.submit(readv(3, *vector, 1, LINK), nop(2, LINK), nop(3), nop(4))
    assert bench.client.results() == [(4, 0)]
    assert {request.sqe.user_data for request in bench.context.pending} == {1, 2, 3}
    stream.feed(b"data")
    assert await bench.enter(0, wait=3) == 0
    assert bench.client.results() == [(1, 4), (2, 0), (3, 0)]
    assert not bench.context.pending


async def test_what_a_chain_has_let_go_comes_before_the_next_enter(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its CQE seen, a client enters at once: on that unread message the next of the chain waits."""
    stream = bench.thread.fds[3] = Stream()
    bench.thread.memory.map(0x10000, 4096)
    vector = iovecs(bench.thread, 0x20000, [(0x10000, 4)])
    await bench.submit(readv(3, *vector, 1, LINK), nop(2, LINK), nop(3))
    unread = True
    monkeypatch.setattr(bench.host, "unsettled", lambda: unread)
    stream.feed(b"data")
    while not (seen := bench.client.results()):
        await trio.lowlevel.checkpoint()
    assert seen == [(1, 4)]
    await bench.submit(nop(4))
    unread = False
    await trio.testing.wait_all_tasks_blocked()
    assert bench.client.results() == [(2, 0), (3, 0), (4, 0)]
    assert not bench.context.pending


async def test_a_short_read_breaks_its_chain_without_being_negative(bench: Bench) -> None:
    bench.thread.fds[3] = RegularFile(b"12345")
    bench.thread.memory.map(0x10000, 4096)
    vector = iovecs(bench.thread, 0x20000, [(0x10000, 6)])
    await bench.submit(readv(3, *vector, 1, LINK), nop(2), readv(3, *vector, 3, HARDLINK), nop(4))
    assert bench.client.results() == [(1, 5), (3, 5), (2, CANCELED), (4, 0)]


async def test_a_chain_left_open_at_the_end_of_a_batch_ends_there(bench: Bench) -> None:
    bench.client.push(nop(1, LINK), nop(2, LINK), nop(3))
    assert await bench.enter(2) == 2
    assert bench.client.results() == [(1, 0), (2, 0)]
    assert await bench.enter(1) == 1
    assert bench.client.results() == [(3, 0)]
