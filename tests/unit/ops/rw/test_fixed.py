"""Registered buffers over the fake host: the table, its tags, the requests that use it."""

import errno
from struct import Struct

import pytest
import trio

from tests.fakehost.files import RegularFile, Stream
from tests.unit.support import Bench
from uringfs.abi.structs import IOVEC, Sqe
from uringfs.errors import UringError
from uringfs.register.table import register

BUFFERS, UNREGISTER_BUFFERS, BUFFERS2, BUFFERS_UPDATE = 0, 1, 15, 16
NOP, READ_FIXED = 0, 4
RSRC_REGISTER, RSRC_UPDATE2 = Struct("<IIQQQ"), Struct("<IIQQII")
ARG, VECTOR, TAGS, MEMORY = 0x1000, 0x2000, 0x3000, 0x10000


class Ring:
    """A bench, and io_uring_register(2)."""

    def __init__(self, bench: Bench) -> None:
        self.bench = bench
        bench.thread.memory.map(MEMORY, 8192)
        bench.thread.fds[3] = RegularFile(b"0123456789" * 100)

    def call(self, opcode: int, arg: int = 0, nr_args: int = 0) -> int:
        thread = self.bench.thread
        caller = self.bench.host.caller(thread.tid, thread.uid, thread.gid)
        try:
            return register(self.bench.context, caller, opcode, arg, nr_args)
        except UringError as error:
            return -error.errno

    def vector(self, *iovecs: tuple[int, int]) -> int:
        return self.bench.thread.memory.put(VECTOR, b"".join(IOVEC.pack(*iovec) for iovec in iovecs))

    def tagged(self, tags: list[int], *iovecs: tuple[int, int]) -> int:
        memory = self.bench.thread.memory
        memory.put(TAGS, b"".join(tag.to_bytes(8, "little") for tag in tags))
        memory.put(ARG, RSRC_REGISTER.pack(len(iovecs), 0, 0, self.vector(*iovecs), TAGS))
        return self.call(BUFFERS2, ARG, RSRC_REGISTER.size)

    def update(self, offset: int, *iovecs: tuple[int, int]) -> int:
        data = self.vector(*iovecs)
        self.bench.thread.memory.put(ARG, RSRC_UPDATE2.pack(offset, 0, data, 0, len(iovecs), 0))
        return self.call(BUFFERS_UPDATE, ARG, RSRC_UPDATE2.size)

    async def read(self, address: int, size: int, index: int = 0, fd: int = 3) -> int:
        await self.bench.submit(Sqe(READ_FIXED, fd=fd, addr=address, len=size, buf_index=index, user_data=1))
        ((_, res),) = self.bench.client.results()
        return res


@pytest.fixture
def ring(bench: Bench) -> Ring:
    return Ring(bench)


async def test_reading_into_a_part_of_a_buffer(ring: Ring) -> None:
    assert ring.call(BUFFERS, ring.vector((MEMORY, 100), (MEMORY + 100, 50)), 2) == 0
    assert await ring.read(MEMORY + 110, 20, 1) == 20
    assert ring.bench.thread.memory.read(MEMORY + 110, 20) == b"01234567890123456789"
    assert await ring.read(MEMORY + 99, 20, 1) == -errno.EFAULT
    assert await ring.read(MEMORY + 140, 11, 1) == -errno.EFAULT
    assert await ring.read(MEMORY, 10, 2) == -errno.EFAULT


async def test_the_memory_stays_the_registering_threads(ring: Ring) -> None:
    assert ring.call(BUFFERS, ring.vector((MEMORY, 100)), 1) == 0
    other = ring.bench.host.thread(200)
    other.fds[3] = RegularFile(b"from the other")
    await ring.bench.submit(Sqe(READ_FIXED, fd=3, addr=MEMORY, len=14, user_data=1), thread=other)
    assert ring.bench.client.results() == [(1, 14)]
    assert ring.bench.thread.memory.read(MEMORY, 14) == b"from the other"


@pytest.mark.parametrize(
    ("iovec", "expected"),
    [
        ((0, 5), errno.EFAULT),
        ((MEMORY, 0), errno.EFAULT),
        ((MEMORY, (1 << 30) + 1), errno.EFAULT),
        ((MEMORY, 8193), errno.EFAULT),
        ((MEMORY, 1 << 63), errno.EINVAL),
        (((1 << 64) - 10, 20), errno.EOVERFLOW),
    ],
)
async def test_what_cannot_be_registered(ring: Ring, iovec: tuple[int, int], expected: int) -> None:
    assert ring.tagged([7, 8], (MEMORY, 10), iovec) == -expected
    assert ring.bench.client.results() == []  # no tag of what never was
    assert ring.call(UNREGISTER_BUFFERS) == -errno.ENXIO


async def test_tags_come_when_nothing_uses_the_buffer(ring: Ring) -> None:
    ring.bench.thread.fds[4] = stream = Stream()
    assert ring.tagged([7, 8], (MEMORY, 10), (MEMORY, 20)) == 0
    await ring.bench.submit(Sqe(READ_FIXED, fd=4, addr=MEMORY, len=5, buf_index=1, user_data=1))
    assert ring.call(UNREGISTER_BUFFERS) == 0
    assert ring.bench.client.results() == [(7, 0)]
    stream.feed(b"data")
    await ring.bench.enter(0, wait=2)
    assert ring.bench.client.results() == [(1, 4), (8, 0)]


async def test_a_cancelled_request_lets_its_buffer_go(ring: Ring) -> None:
    ring.bench.thread.fds[4] = Stream()
    assert ring.tagged([7], (MEMORY, 10)) == 0
    await ring.bench.submit(Sqe(READ_FIXED, fd=4, addr=MEMORY, len=5, user_data=1))
    await trio.testing.wait_all_tasks_blocked()
    assert ring.call(UNREGISTER_BUFFERS) == 0
    (request,) = ring.bench.context.pending_requests()
    ring.bench.context.cancel(request)
    await ring.bench.enter(0, wait=2)
    assert ring.bench.client.results() == [(1, -errno.ECANCELED), (7, 0)]


async def test_updates_stop_at_the_first_that_fails(ring: Ring) -> None:
    assert ring.tagged([7, 8], (MEMORY, 10), (MEMORY, 20)) == 0
    assert ring.update(0, (MEMORY + 50, 10), (8, 8)) == 1
    assert ring.bench.client.results() == [(7, 0)]
    assert await ring.read(MEMORY + 50, 10) == 10
    assert await ring.read(MEMORY, 10, 1) == 10
    assert ring.update(1, (8, 8)) == -errno.EFAULT
    assert ring.update(1, (MEMORY, 1), (MEMORY, 1)) == -errno.EINVAL
    assert ring.update(0, (0, 0)) == 1
    assert await ring.read(MEMORY + 50, 10) == -errno.EFAULT


async def test_nops_look_for_files_and_buffers(ring: Ring) -> None:
    assert ring.call(BUFFERS, ring.vector((MEMORY, 100)), 1) == 0
    cases = [(2, 3, 0), (2, 9, -errno.EBADF), (6, 0, -errno.EBADF), (8, -1, 0), (9, -1, 42)]
    for flags, fd, expected in cases:
        await ring.bench.submit(Sqe(NOP, fd=fd, len=42, rw_flags=flags, user_data=1))
        assert ring.bench.client.results() == [(1, expected)]
    await ring.bench.submit(Sqe(NOP, fd=-1, rw_flags=8, buf_index=1, user_data=1))
    assert ring.bench.client.results() == [(1, -errno.EFAULT)]
    assert ring.bench.thread.fds[3].opens == 0
