"""IOSQE_IO_DRAIN (io_uring.c: io_init_drain(), io_drain_req(), __io_queue_deferred()).

Every expectation was taken from a kernel (6.18): the same SQEs, the same CQEs.
"""

import errno

import pytest

from tests.fakehost.files import Stream
from tests.unit.support import Bench, iovecs, nop, readv
from uringfs.abi.constants import IOSQE_CQE_SKIP_SUCCESS, IOSQE_IO_DRAIN, IOSQE_IO_HARDLINK, IOSQE_IO_LINK
from uringfs.abi.structs import Sqe

DRAIN, LINK, HARDLINK = IOSQE_IO_DRAIN, IOSQE_IO_LINK, IOSQE_IO_HARDLINK


class Blocking:
    """A bench with reads that wait until let go, one by one. fd: 3, 4, 5."""

    def __init__(self, bench: Bench) -> None:
        self.bench = bench
        self.streams = {fd: Stream() for fd in (3, 4, 5)}
        bench.thread.fds.update(self.streams)
        bench.thread.memory.map(0x10000, 4096)
        self._vector = iovecs(bench.thread, 0x20000, [(0x10000, 1)])

    def read(self, fd: int, flags: int = 0) -> Sqe:
        """Its user_data is its fd."""
        return readv(fd, *self._vector, fd, flags)

    async def let_go(self, fd: int, completions: int) -> list[int]:
        """The user_data of what completes then."""
        self.streams[fd].feed(b"x")
        await self.bench.enter(0, wait=completions)
        return self.seen()

    def seen(self) -> list[int]:
        return [user_data for user_data, _ in self.bench.client.results()]


@pytest.fixture
async def blocking(bench: Bench) -> Blocking:
    return Blocking(bench)


async def test_a_drain_waits_for_all_before_it_and_all_behind_wait_for_it(blocking: Blocking) -> None:
    await blocking.bench.submit(blocking.read(3), blocking.read(4), nop(10, DRAIN), nop(11))
    assert blocking.seen() == []
    assert await blocking.let_go(4, 1) == [4]
    assert await blocking.let_go(3, 3) == [3, 10, 11]


async def test_what_comes_behind_a_running_drain_waits_too(blocking: Blocking) -> None:
    await blocking.bench.submit(blocking.read(3, DRAIN), nop(10), nop(11))
    await blocking.bench.submit(nop(12))
    assert blocking.seen() == []
    assert await blocking.let_go(3, 4) == [3, 10, 11, 12]


async def test_a_drain_behind_others_that_waits_itself(blocking: Blocking) -> None:
    await blocking.bench.submit(blocking.read(3), blocking.read(4, DRAIN), nop(10), nop(11, DRAIN), nop(12))
    assert await blocking.let_go(3, 1) == [3]
    assert await blocking.let_go(4, 4) == [4, 10, 11, 12]


async def test_requests_behind_a_drain_run_beside_each_other(blocking: Blocking) -> None:
    await blocking.bench.submit(blocking.read(3, DRAIN), blocking.read(4), blocking.read(5), nop(10))
    assert await blocking.let_go(3, 2) == [3, 10]
    assert await blocking.let_go(5, 1) == [5]
    assert await blocking.let_go(4, 1) == [4]


async def test_a_drain_with_nothing_before_it_is_as_any_request(bench: Bench) -> None:
    await bench.submit(nop(1, DRAIN), nop(2), nop(3, DRAIN), nop(4))
    assert bench.client.results() == [(1, 0), (2, 0), (3, 0), (4, 0)]


async def test_a_drain_within_a_chain_drains_the_chain(blocking: Blocking) -> None:
    """... and what comes behind it waits for the whole chain."""
    await blocking.bench.submit(blocking.read(3))
    await blocking.bench.submit(nop(10, LINK), blocking.read(4, DRAIN | LINK), nop(11), nop(12))
    assert blocking.seen() == []
    assert await blocking.let_go(3, 2) == [3, 10]
    assert await blocking.let_go(4, 3) == [4, 11, 12]


async def test_a_chain_counts_until_its_last_link(blocking: Blocking) -> None:
    await blocking.bench.submit(blocking.read(3, LINK), blocking.read(4), nop(10, DRAIN))
    assert await blocking.let_go(3, 1) == [3]
    assert await blocking.let_go(4, 2) == [4, 10]


async def test_cancelling_what_a_drain_holds_back_lets_the_rest_go(blocking: Blocking) -> None:
    worker = blocking.bench.context
    await blocking.bench.submit(blocking.read(3), nop(10, DRAIN | HARDLINK), nop(11), nop(12))
    drained = next(request for request in worker.pending if request.sqe.user_data == 10)
    worker.cancel(drained)
    assert blocking.bench.client.results() == [(10, -errno.ECANCELED), (11, -errno.ECANCELED), (12, 0)]
    assert await blocking.let_go(3, 1) == [3]
    assert not worker.pending


async def test_thousands_of_drains_behind_one_read(nursery) -> None:
    blocking = Blocking(Bench(nursery, entries=4096))
    await blocking.bench.submit(blocking.read(3), *(nop(n, DRAIN) for n in range(10, 4000)))
    assert await blocking.let_go(3, 3991) == [3, *range(10, 4000)]


@pytest.mark.parametrize("flags", [DRAIN, DRAIN | IOSQE_CQE_SKIP_SUCCESS])
async def test_a_ring_that_skips_cqes_cannot_drain(bench: Bench, flags: int) -> None:
    await bench.submit(nop(1, IOSQE_CQE_SKIP_SUCCESS), nop(2, flags))
    assert bench.client.results() == [(2, -errno.EOPNOTSUPP)]
