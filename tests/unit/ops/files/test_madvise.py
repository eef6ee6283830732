"""MADVISE on the fake host: by the client, or, for one that does no such thing, by the host."""

import errno

import pytest
from trio.testing import wait_all_tasks_blocked

from tests.unit.support import Bench, nop
from uringfs.abi.constants import IOSQE_IO_LINK
from uringfs.abi.control import (
    ADVICE,
    ENTRY,
    URINGFS_DESCRIPTOR_ADVISE,
    URINGFS_ENTER_ADVISES,
    URINGFS_ENTER_FETCHES,
    URINGFS_ENTER_WAITS,
)
from uringfs.abi.structs import Sqe
from uringfs.host.process.advise import MADV_COLD, MADV_DONTNEED

ALL = URINGFS_ENTER_FETCHES | URINGFS_ENTER_WAITS | URINGFS_ENTER_ADVISES
HIGH = 0x7FFF_FFFF_F000


def madvise(user_data: int, advice: int = MADV_DONTNEED, flags: int = 0, **fields: int) -> Sqe:
    return Sqe(25, flags, fd=-1, **({"addr": HIGH, "len": 4096} | fields), rw_flags=advice, user_data=user_data)


async def fetch(bench: Bench) -> list[tuple[int, ...]]:
    caller = bench.host.caller(bench.thread.tid, 0, 0)
    return list(ADVICE.iter_unpack(await bench.context.deliveries.fetch(caller, -1, 16)))


async def report(bench: Bench, number: int, res: int) -> None:
    caller = bench.host.caller(bench.thread.tid, 0, 0)
    entry = ADVICE.pack(number, res, URINGFS_DESCRIPTOR_ADVISE, 0, 0, 0)
    await bench.context.deliveries.report(caller, entry)
    await wait_all_tasks_blocked()


@pytest.fixture
def client(bench: Bench) -> Bench:
    """What contrib/uringfs.h says it does."""
    bench.thread.can = ALL
    return bench


async def test_the_client_does_it(client: Bench) -> None:
    assert ADVICE.size == ENTRY.size
    await client.submit(madvise(1, off=1 << 40), madvise(2, 77, IOSQE_IO_LINK), nop(3))
    await wait_all_tasks_blocked()
    first, second = sorted(await fetch(client), key=lambda entry: entry[1])
    assert first[1:] == (MADV_DONTNEED, URINGFS_DESCRIPTOR_ADVISE, HIGH, 1 << 40, 0)
    assert second[1:] == (77, URINGFS_DESCRIPTOR_ADVISE, HIGH, 4096, 0)
    assert client.client.results() == []
    await report(client, first[0], 0)
    await report(client, second[0], -errno.EINVAL)  # which breaks no link: io_madvise() sets no REQ_F_FAIL
    assert client.client.results() == [(1, 0), (2, -errno.EINVAL), (3, 0)]
    assert client.thread.advice == []


async def test_what_another_process_may_advise(client: Bench) -> None:
    await client.submit(madvise(1, MADV_COLD))
    await wait_all_tasks_blocked()
    assert await fetch(client) == []
    assert client.client.results() == [(1, 0)]
    assert client.thread.advice == [(HIGH, 4096, MADV_COLD)]


async def test_cancelled_before_it_is_fetched(client: Bench) -> None:
    await client.submit(madvise(1))
    await wait_all_tasks_blocked()
    await client.submit(Sqe(14, fd=-1, addr=1, user_data=2))
    await wait_all_tasks_blocked()
    assert sorted(client.client.results()) == [(1, -errno.ECANCELED), (2, 0)]
    assert await fetch(client) == []


async def test_clients_that_know_half_an_entry(bench: Bench) -> None:
    bench.thread.can = URINGFS_ENTER_FETCHES | URINGFS_ENTER_ADVISES
    await bench.submit(madvise(1))
    await wait_all_tasks_blocked()
    assert await fetch(bench) == []
    await wait_all_tasks_blocked()
    assert bench.client.results() == [(1, -errno.EOPNOTSUPP)]


async def test_the_ring_is_closed_before_it_is_fetched(client: Bench) -> None:
    await client.submit(madvise(1))
    await wait_all_tasks_blocked()
    client.context.close()
    await wait_all_tasks_blocked()
    assert not client.context.deliveries.any()
