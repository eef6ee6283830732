"""An agent over the fake host: what it is asked, what it answers, and its end at any point."""

import errno
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

import trio
import trio.testing

from tests.fakehost.files import RegularFile
from tests.fakehost.host import FakeChannel
from tests.unit.support import Bench
from uringfs.abi.constants import IOSQE_ASYNC, OPCODES
from uringfs.abi.control import (
    ENTRY,
    URINGFS_DESCRIPTOR_CLOEXEC,
    URINGFS_DESCRIPTOR_CLOSE,
    URINGFS_DESCRIPTOR_NEW,
)
from uringfs.abi.structs import Sqe

NAME = 0x10000
OPEN = Sqe(OPCODES.index("OPENAT"), IOSQE_ASYNC, fd=-100, addr=NAME, rw_flags=os.O_CLOEXEC, user_data=1)
CLOSE = Sqe(OPCODES.index("CLOSE"), fd=5, user_data=2)
NEW = URINGFS_DESCRIPTOR_NEW | URINGFS_DESCRIPTOR_CLOEXEC


@asynccontextmanager
async def a_bench() -> AsyncIterator[tuple[Bench, FakeChannel]]:
    """With what an enter has left behind: an open that lasts, and no enter that looks after it."""
    async with trio.open_nursery() as nursery:
        bench = Bench(nursery)
        bench.thread.memory.put(NAME, b"/some/name\0")
        bench.thread.fds[5] = RegularFile(b"")
        bench.thread.acting = trio.Event()
        bench.thread.answers["openat"] = (os.open("/dev/null", os.O_RDONLY), b"")
        await bench.submit(OPEN)
        bench.context.deliveries.enters_ended(bench.thread.tid)
        assert bench.context.deliveries.unattended(bench.thread.tid)
        yield bench, FakeChannel()
        bench.context.close()
        bench.thread.exit()


async def serve(bench: Bench, channel: FakeChannel) -> None:
    bench.context.serve_agent(bench.thread.tid, channel)
    await trio.testing.wait_all_tasks_blocked()


async def opened(bench: Bench) -> None:
    assert bench.thread.acting is not None
    bench.thread.acting.set()
    await trio.testing.wait_all_tasks_blocked()


def is_open(fd: int) -> bool:
    with suppress(OSError):
        os.fstat(fd)
        return True
    return False


async def answer(channel: FakeChannel, number: int, result: int) -> None:
    await channel.answers.send(ENTRY.pack(number, result, *(0,) * 7))
    await trio.testing.wait_all_tasks_blocked()


async def test_it_is_asked_and_answers() -> None:
    async with a_bench() as (bench, channel):
        await serve(bench, channel)
        assert not bench.context.deliveries.unattended(bench.thread.tid)
        assert channel.sent == []
        await opened(bench)
        ((message, (fd,)),) = channel.sent
        number, res, what, *_ = ENTRY.unpack(message)
        assert (res, what) == (-1, NEW)
        assert is_open(fd)
        assert bench.client.results() == []
        await answer(channel, number, 42)
        assert bench.client.results() == [(1, 42)]
        assert not is_open(fd)


async def test_what_was_ready_before_it_came() -> None:
    async with a_bench() as (bench, channel):
        await opened(bench)
        assert bench.context.deliveries.ready(bench.thread.tid)
        await serve(bench, channel)
        assert not bench.context.deliveries.ready(bench.thread.tid)
        await answer(channel, ENTRY.unpack(channel.sent[0][0])[0], -errno.EMFILE)
        assert bench.client.results() == [(1, -errno.EMFILE)]


async def test_what_an_enter_looks_after_is_the_enters() -> None:
    async with a_bench() as (bench, channel):
        await serve(bench, channel)
        await bench.submit(CLOSE)
        await trio.testing.wait_all_tasks_blocked()
        assert channel.sent == []
        deliveries = bench.context.deliveries
        assert deliveries.needs_fetch(bench.thread.tid)
        deliveries.enters_ended(bench.thread.tid)  # it did not: a wait that has ended
        await trio.testing.wait_all_tasks_blocked()
        ((message, fds),) = channel.sent
        number, res, what, *_ = ENTRY.unpack(message)
        assert (res, what, fds) == (5, URINGFS_DESCRIPTOR_CLOSE, [])
        await answer(channel, number, 0)
        assert bench.client.results() == [(2, 0)]


async def test_its_end_leaves_what_it_was_asked_to_the_next() -> None:
    async with a_bench() as (bench, channel):
        await serve(bench, channel)
        await opened(bench)
        channel.answers.close()
        await trio.testing.wait_all_tasks_blocked()
        assert channel.closed
        assert bench.context.deliveries.unattended(bench.thread.tid)
        second, third = FakeChannel(), FakeChannel()
        await serve(bench, second)
        await serve(bench, third)  # instead of the second
        assert second.closed
        assert [len(each.sent) for each in (channel, second, third)] == [1, 1, 1]
        await answer(third, ENTRY.unpack(third.sent[0][0])[0], 7)
        assert bench.client.results() == [(1, 7)]


async def test_nonsense_ends_it() -> None:
    async with a_bench() as (bench, channel):
        await serve(bench, channel)
        await answer(channel, 4711, 1)  # nobody asked
        assert not channel.closed
        await channel.answers.send(b"short")
        await trio.testing.wait_all_tasks_blocked()
        assert channel.closed
        await opened(bench)
        assert bench.client.results() == []
        assert bench.context.deliveries.ready(bench.thread.tid)


async def test_a_request_cancelled_before_and_behind_its_question() -> None:
    async with a_bench() as (bench, channel):
        channel.full = trio.Event()
        await serve(bench, channel)
        await opened(bench)
        (request,) = bench.context.pending_requests()
        bench.context.cancel(request)
        await trio.testing.wait_all_tasks_blocked()
        assert bench.client.results() == [(1, -errno.ECANCELED)]
        channel.full.set()
        await trio.testing.wait_all_tasks_blocked()
        assert channel.sent == []  # the descriptor is closed, and may be another by now
        await answer(channel, 1, 42)  # too late, and harmless
        assert bench.client.results() == []


async def test_the_end_of_the_ring_is_its_end() -> None:
    async with a_bench() as (bench, channel):
        await serve(bench, channel)
        await opened(bench)
        ((_, (fd,)),) = channel.sent
        bench.context.close()
        await trio.testing.wait_all_tasks_blocked()
        assert channel.closed
        assert not is_open(fd)
