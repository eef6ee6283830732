"""Provided buffers, and reads into them, over the fake host."""

import errno
from struct import Struct

import pytest
import trio
import trio.testing
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.fakehost.files import RegularFile, Stream
from tests.unit.support import Bench
from uringfs.abi.constants import IOSQE_ASYNC, IOSQE_BUFFER_SELECT
from uringfs.abi.structs import Cqe, Sqe
from uringfs.engine.kbuf import BUF, BufferRing, ProvidedBuffers
from uringfs.register.table import register

PROVIDE, REMOVE, READ, READ_MULTISHOT, CANCEL = 31, 32, 22, 49, 14
REGISTER_PBUF_RING, UNREGISTER_PBUF_RING, PBUF_STATUS = 22, 23, 26
POOL, RING, ARG = 0x10000, 0x20000, 0x30000
BUFFER, MORE, BUF_MORE = 1, 2, 16
BUF_REG = Struct("<QIHHQQQ")


def provide(count: int, bid: int = 0, group: int = 1, size: int = 16) -> Sqe:
    return Sqe(PROVIDE, fd=count, addr=POOL, len=size, off=bid, buf_index=group)


def read(fd: int, size: int = 0, opcode: int = READ, flags: int = 0) -> Sqe:
    return Sqe(opcode, IOSQE_BUFFER_SELECT | flags, fd=fd, len=size, buf_index=1, user_data=9)


async def cqes(bench: Bench, *sqes: Sqe) -> list[Cqe]:
    await bench.submit(*sqes)
    await trio.testing.wait_all_tasks_blocked()
    return bench.client.reap()


async def one(bench: Bench, sqe: Sqe) -> tuple[int, int]:
    (cqe,) = await cqes(bench, sqe)
    return cqe.res, cqe.flags


def buffer_ring(bench: Bench, *buffers: tuple[int, int, int], incremental: bool = False) -> BufferRing:
    """A ring of 4 as group 1, registered, with (address, length, bid) in it."""
    memory = bench.thread.memory
    memory.map(POOL, 4096)
    memory.map(RING, 4096)
    memory.put(ARG, BUF_REG.pack(RING, 4, 1, 2 if incremental else 0, 0, 0, 0))
    caller = bench.host.caller(bench.thread.tid, 0, 0)
    assert register(bench.context, caller, REGISTER_PBUF_RING, ARG, 1) == 0
    for index, (address, length, bid) in enumerate(buffers):
        memory.put(RING + index * BUF.size, BUF.pack(address, length, bid, 0))
    memory.put(RING + 14, len(buffers).to_bytes(2, "little"))
    group = bench.context.resources.buffer_groups[1]
    assert isinstance(group, BufferRing)
    return group


async def test_buffers_go_in_order(bench: Bench) -> None:
    bench.thread.memory.map(POOL, 4096)
    bench.thread.fds[3] = RegularFile(b"abcdef")
    assert await one(bench, provide(2, bid=5)) == (0, 0)
    assert await one(bench, read(3, 4)) == (4, BUFFER | 5 << 16)
    assert await one(bench, read(3)) == (6, BUFFER | 6 << 16)
    assert await one(bench, read(3)) == (-errno.ENOBUFS, 0)
    assert bench.thread.memory.read(POOL, 4) == b"abcd"
    assert bench.thread.memory.read(POOL + 16, 6) == b"abcdef"


async def test_no_group_has_more_than_65535(bench: Bench) -> None:
    assert await one(bench, provide(65536)) == (0, 0)
    group = bench.context.resources.buffer_groups[1]
    assert isinstance(group, ProvidedBuffers)
    assert len(group.buffers) == 65535
    assert await one(bench, provide(1)) == (-errno.EOVERFLOW, 0)


async def test_a_ring_keeps_its_buffer_while_a_read_waits(bench: Bench) -> None:
    ring = buffer_ring(bench, (POOL, 16, 7))
    bench.thread.fds[3] = stream = Stream()
    assert await cqes(bench, read(3)) == []
    assert ring.head == 0
    stream.feed(b"xyz")
    await trio.testing.wait_all_tasks_blocked()
    assert bench.client.reap() == [Cqe(9, 3, BUFFER | 7 << 16)]
    assert ring.head == 1


async def test_cancelled_the_ring_has_it_still(bench: Bench) -> None:
    ring = buffer_ring(bench, (POOL, 16, 7))
    bench.thread.fds[3] = Stream()
    assert await cqes(bench, read(3)) == []
    found = await cqes(bench, Sqe(CANCEL, fd=-1, addr=9, user_data=1))
    assert sorted(found) == [Cqe(1, 0, 0), Cqe(9, -errno.ECANCELED, 0)]
    assert ring.head == 0


async def test_a_provided_one_is_the_reads_for_good(bench: Bench) -> None:
    bench.thread.memory.map(POOL, 4096)
    bench.thread.fds[3] = Stream()
    assert await cqes(bench, provide(1, bid=4), read(3)) == [Cqe(0, 0, 0)]
    found = await cqes(bench, Sqe(CANCEL, fd=-1, addr=9, user_data=1))
    assert sorted(found) == [Cqe(1, 0, 0), Cqe(9, -errno.ECANCELED, BUFFER | 4 << 16)]


async def test_asynchronous_the_ring_gives_it_away_at_once(bench: Bench) -> None:
    ring = buffer_ring(bench, (POOL, 16, 7))
    bench.thread.fds[3] = stream = Stream()
    assert await cqes(bench, read(3, flags=IOSQE_ASYNC)) == []
    assert ring.head == 1
    stream.feed(b"ab")
    await trio.testing.wait_all_tasks_blocked()
    assert bench.client.reap() == [Cqe(9, 2, BUFFER | 7 << 16)]
    assert ring.head == 1


async def test_incremental_consumption(bench: Bench) -> None:
    ring = buffer_ring(bench, (POOL, 10, 7), (POOL + 64, 10, 8), incremental=True)
    bench.thread.fds[3] = stream = Stream()
    stream.feed(b"abcd")
    assert await one(bench, read(3)) == (4, BUFFER | BUF_MORE | 7 << 16)
    assert ring.at() == (POOL + 4, 6, 7)
    stream.feed(b"efghij")
    assert await one(bench, read(3)) == (6, BUFFER | 7 << 16)
    assert bench.thread.memory.read(POOL, 10) == b"abcdefghij"
    assert ring.head == 1


async def test_multishot(bench: Bench) -> None:
    buffer_ring(bench, (POOL, 4, 1), (POOL + 16, 4, 2))
    bench.thread.fds[3] = stream = Stream()
    assert await cqes(bench, read(3, opcode=READ_MULTISHOT)) == []
    for data, bid in ((b"abcd", 1), (b"ef", 2)):
        stream.feed(data)
        await trio.testing.wait_all_tasks_blocked()
        assert bench.client.reap() == [Cqe(9, len(data), BUFFER | MORE | bid << 16)]
    stream.feed(b"g")
    await trio.testing.wait_all_tasks_blocked()
    assert bench.client.reap() == [Cqe(9, -errno.ENOBUFS, 0)]
    assert stream.opens == 0


async def test_multishot_cancelled(bench: Bench) -> None:
    ring = buffer_ring(bench, (POOL, 4, 1))
    bench.thread.fds[3] = stream = Stream()
    assert await cqes(bench, read(3, opcode=READ_MULTISHOT)) == []
    found = await cqes(bench, Sqe(CANCEL, fd=-1, addr=9, user_data=1))
    assert sorted(found) == [Cqe(1, 0, 0), Cqe(9, -errno.ECANCELED, 0)]
    assert (ring.head, stream.opens) == (0, 0)


async def test_a_ring_whose_memory_has_gone_is_empty(bench: Bench) -> None:
    buffer_ring(bench, (POOL, 16, 7))
    bench.thread.memory.unmap(RING, 4096)
    bench.thread.fds[3] = RegularFile(b"abc")
    assert await one(bench, read(3)) == (-errno.ENOBUFS, 0)


async def test_unregistered_while_a_read_waits(bench: Bench) -> None:
    buffer_ring(bench, (POOL, 16, 7))
    bench.thread.fds[3] = stream = Stream()
    assert await cqes(bench, read(3)) == []
    bench.thread.memory.put(ARG, BUF_REG.pack(0, 0, 1, 0, 0, 0, 0))
    register(bench.context, bench.host.caller(100, 0, 0), UNREGISTER_PBUF_RING, ARG, 1)
    stream.feed(b"xyz")
    await trio.testing.wait_all_tasks_blocked()
    assert bench.client.reap() == [Cqe(9, -errno.ENOBUFS, 0)]


@settings(max_examples=60, deadline=None)
@given(entries=st.binary(min_size=64, max_size=64), sizes=st.lists(st.integers(0, 1 << 32 - 1), max_size=4))
async def test_whatever_the_ring_holds(entries: bytes, sizes: list[int]) -> None:
    """Hostile entries, tails and lengths: each read ends, in one CQE."""
    async with trio.open_nursery() as nursery:
        bench = Bench(nursery)
        buffer_ring(bench, incremental=bool(entries[0] & 1))
        bench.thread.memory.put(RING, entries)
        bench.thread.fds[3] = RegularFile(b"abc")
        for size in sizes:
            (cqe,) = await cqes(bench, read(3, size & 0xFFFFFFFF))
            assert cqe.res in (0, 1, 2, 3, -errno.ENOBUFS, -errno.EFAULT)
        bench.thread.exit()


@pytest.mark.parametrize(
    ("fields", "error"),
    [
        ({"fd": 0}, errno.E2BIG),
        ({"fd": -1}, errno.E2BIG),
        ({"fd": 65537}, errno.E2BIG),
        ({"len": 0}, errno.EINVAL),
        ({"off": 65536}, errno.E2BIG),
        ({"off": 65535, "fd": 2}, errno.EINVAL),
        ({"addr": (1 << 64) - 8}, errno.EOVERFLOW),
        ({"addr": 1 << 47}, errno.EFAULT),
        ({"rw_flags": 1}, errno.EINVAL),
        ({"file_index": 1}, errno.EINVAL),
    ],
)
async def test_provide_checks_its_fields(bench: Bench, fields: dict[str, int], error: int) -> None:
    assert await one(bench, provide(1)._replace(**fields)) == (-error, 0)


@pytest.mark.parametrize("field", ["rw_flags", "addr", "len", "off", "file_index"])
async def test_remove_checks_its_fields(bench: Bench, field: str) -> None:
    assert await one(bench, Sqe(REMOVE, fd=1, **{field: 1})) == (-errno.EINVAL, 0)
