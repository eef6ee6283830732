"""POLL_ADD and READ of a signalfd on the fake host."""

import errno

import pytest

from tests.fakehost.files import FakeFile, Signalfd
from tests.unit.support import Bench
from uringfs.abi.constants import IORING_CQE_F_MORE, IOSQE_FIXED_FILE, RWF_NOWAIT
from uringfs.abi.control import (
    ADVICE,
    URINGFS_DESCRIPTOR_READ,
    URINGFS_ENTER_FETCHES,
    URINGFS_ENTER_READS,
    URINGFS_ENTER_WAITS,
)
from uringfs.abi.events import EPOLLIN, EPOLLOUT, IORING_POLL_ADD_MULTI
from uringfs.abi.structs import Sqe
from uringfs.engine.resources import Node

AT, SIZE = 0x10000, 128
CANCELED, AGAIN = -errno.ECANCELED, -errno.EAGAIN


@pytest.fixture
def signals(bench: Bench) -> Signalfd:
    bench.thread.can = URINGFS_ENTER_FETCHES | URINGFS_ENTER_WAITS | URINGFS_ENTER_READS
    bench.thread.fds[5] = signals = Signalfd()
    return signals


def read(user_data: int, length: int = SIZE, **fields: int) -> Sqe:
    return Sqe(22, fd=5, addr=AT, len=length, user_data=user_data, **fields)


def poll(user_data: int, events: int = EPOLLIN, how: int = 0) -> Sqe:
    return Sqe(6, fd=5, rw_flags=events, len=how, user_data=user_data)


def cancel(target: int, user_data: int) -> Sqe:
    return Sqe(14, fd=-1, addr=target, user_data=user_data)


async def fetch(bench: Bench) -> list[tuple[int, ...]]:
    caller = bench.host.caller(bench.thread.tid, 0, 0)
    return list(ADVICE.iter_unpack(await bench.context.deliveries.fetch(caller, -1, 16)))


async def report(bench: Bench, number: int, res: int) -> None:
    caller = bench.host.caller(bench.thread.tid, 0, 0)
    entry = ADVICE.pack(number, res, URINGFS_DESCRIPTOR_READ, 0, 0, 0)
    await bench.context.deliveries.report(caller, entry)


async def test_the_client_reads_what_is_pending(bench: Bench, signals: Signalfd) -> None:
    signals.pending = True
    await bench.submit(read(1))
    ((number, *asked),) = await fetch(bench)
    assert asked == [5, URINGFS_DESCRIPTOR_READ, AT, SIZE, 0]
    await report(bench, number, SIZE)
    assert bench.client.results() == [(1, SIZE)]
    assert signals.opens == 0
    assert signals.watchers == []


async def test_it_is_asked_again_until_it_has_some(bench: Bench, signals: Signalfd) -> None:
    await bench.submit(read(1))
    assert await fetch(bench) == []
    signals.come()
    ((number, *_),) = await fetch(bench)
    signals.come()
    await report(bench, number, AGAIN)
    ((number, *_),) = await fetch(bench)
    await report(bench, number, AGAIN)
    assert await fetch(bench) == []
    signals.come()
    ((number, *_),) = await fetch(bench)
    await report(bench, number, SIZE)
    assert bench.client.results() == [(1, SIZE)]


async def test_one_that_does_not_wait(bench: Bench, signals: Signalfd) -> None:
    await bench.submit(read(1, rw_flags=RWF_NOWAIT))
    ((number, *_),) = await fetch(bench)
    await report(bench, number, AGAIN)
    assert bench.client.results() == [(1, AGAIN)]


async def test_cancelled_while_it_waits_and_while_the_client_is_at_it(bench: Bench, signals: Signalfd) -> None:
    await bench.submit(read(1))
    await bench.submit(cancel(1, 2))
    assert sorted(bench.client.results()) == [(1, CANCELED), (2, 0)]
    await bench.submit(read(3))
    signals.come()
    ((number, *_),) = await fetch(bench)
    await bench.submit(cancel(3, 4))
    assert bench.client.results() == [(4, 0)]
    await report(bench, number, AGAIN)
    assert bench.client.results() == [(3, CANCELED)]
    assert signals.watchers == []


@pytest.mark.parametrize("length", [0, SIZE - 1])
async def test_too_little_room(bench: Bench, signals: Signalfd, length: int) -> None:
    await bench.submit(read(1, length))
    assert bench.client.results() == [(1, -errno.EINVAL)]


async def test_who_reads_for_nobody(bench: Bench, signals: Signalfd) -> None:
    bench.thread.can = URINGFS_ENTER_FETCHES | URINGFS_ENTER_WAITS
    await bench.submit(read(1))
    assert bench.client.results() == [(1, -errno.EOPNOTSUPP)]


async def test_polls_tell_of_the_submitters(bench: Bench, signals: Signalfd) -> None:
    await bench.submit(poll(1), poll(2, EPOLLOUT), poll(3, how=IORING_POLL_ADD_MULTI))
    assert bench.client.results() == []
    signals.come()
    cqes = [(cqe.user_data, cqe.res, cqe.flags) for cqe in bench.client.reap()]
    assert cqes == [(1, EPOLLIN, 0), (3, EPOLLIN, IORING_CQE_F_MORE)]
    await bench.submit(poll(4))
    assert bench.client.results() == [(4, EPOLLIN)]
    await bench.submit(cancel(2, 5), cancel(3, 6))
    assert sorted(bench.client.results()) == [(2, CANCELED), (3, CANCELED), (5, 0), (6, 0)]
    assert signals.watchers == []


async def test_a_registered_one_has_no_number_for_the_client(bench: Bench, signals: Signalfd) -> None:
    bench.context.resources.files.nodes = [Node(FakeFile(signals), lambda file: file.close())]
    await bench.submit(Sqe(22, IOSQE_FIXED_FILE, fd=0, addr=AT, len=SIZE, user_data=1))
    assert bench.client.results() == [(1, -errno.EOPNOTSUPP)]
