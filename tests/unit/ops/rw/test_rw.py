"""Writes and their waits, over the fake host; what READV does is in test_readv."""

import ctypes
import errno
import os
import select
import signal

import pytest
import trio
import trio.testing
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.fakehost.files import RegularFile, Sink, Stream
from tests.unit.support import Bench, Here, nop
from uringfs.abi.constants import (
    IORING_SETUP_IOPOLL,
    IOSQE_ASYNC,
    IOSQE_IO_LINK,
    RWF_APPEND,
    RWF_ATOMIC,
    RWF_NOAPPEND,
    RWF_NOSIGNAL,
    RWF_NOWAIT,
)
from uringfs.abi.structs import IOVEC, Sqe
from uringfs.ops.rw.io import CHUNK

WRITEV, READ_FIXED, WRITE_FIXED, READ, WRITE, READV_FIXED, WRITEV_FIXED = 2, 4, 5, 22, 23, 60, 61
ADDRESS = 0x10000
LAST = (1 << 64) - 1


def rw(opcode: int, fd: int, size: int, **fields: int) -> Sqe:
    return Sqe(opcode, fd=fd, len=size, **{"addr": ADDRESS, "user_data": 1, **fields})


def writable_file(data: bytes = b"") -> RegularFile:
    file = RegularFile(data)
    file.writable = True
    return file


async def result(bench: Bench, *sqes: Sqe) -> list[tuple[int, int]]:
    await bench.submit(*sqes)
    await bench.enter(0, wait=len(sqes))
    return bench.client.results()


async def test_a_write_to_a_file(bench: Bench) -> None:
    bench.thread.fds[3] = file = writable_file(b"0123456789")
    bench.thread.memory.put(ADDRESS, b"abcd")
    assert await result(bench, rw(WRITE, 3, 4, off=3)) == [(1, 4)]
    assert file.data == b"012abcd789"
    assert file.opens == 0


async def test_a_write_at_the_current_position(bench: Bench) -> None:
    bench.thread.fds[3] = file = writable_file(b"0123456789")
    file.position = 8
    bench.thread.memory.put(ADDRESS, b"abcd")
    assert await result(bench, rw(WRITE, 3, 4, off=LAST)) == [(1, 4)]
    assert (file.data, file.position) == (b"01234567abcd", 12)


async def test_writev_gathers(bench: Bench) -> None:
    bench.thread.fds[3] = file = writable_file()
    memory = bench.thread.memory
    memory.put(0x5000, b"one")
    memory.put(0x9000, b"two")
    memory.put(ADDRESS, IOVEC.pack(0x5000, 3) + IOVEC.pack(0x9000, 3))
    assert await result(bench, rw(WRITEV, 3, 2)) == [(1, 6)]
    assert file.data == b"onetwo"


async def test_more_than_a_chunk(bench: Bench) -> None:
    bench.thread.fds[3] = file = writable_file()
    bench.thread.memory.put(0x1000000, bytes(range(256)) * (CHUNK // 256) + b"end")
    assert await result(bench, rw(WRITE, 3, CHUNK + 3, addr=0x1000000)) == [(1, CHUNK + 3)]
    assert len(file.data) == CHUNK + 3
    assert file.data.endswith(b"\xffend")


async def test_memory_that_ends_in_between(bench: Bench) -> None:
    bench.thread.fds[3] = file = writable_file()
    bench.thread.memory.map(0x4000, 4096)
    file.position = 5
    first = rw(WRITE, 3, 4096, addr=0x4800, flags=IOSQE_IO_LINK, off=LAST)
    await bench.submit(first, nop(2), rw(WRITE, 3, 1, addr=8, user_data=3))
    await bench.enter(0, wait=3)
    assert sorted(bench.client.results()) == [(1, 0x800), (2, -errno.ECANCELED), (3, -errno.EFAULT)]
    assert file.position == 5  # it moves for a whole success only


async def test_the_callers_file_size_limit(bench: Bench) -> None:
    bench.thread.fds[3] = file = writable_file()
    bench.thread.fsize = 10
    bench.thread.memory.put(ADDRESS, b"0123456789abcdef")
    assert await result(bench, rw(WRITE, 3, 16)) == [(1, 10)]
    assert await result(bench, rw(WRITE, 3, 1, off=10)) == [(1, -errno.EFBIG)]
    assert file.data == b"0123456789"


async def test_a_full_pipe_is_waited_for(bench: Bench) -> None:
    bench.thread.fds[3] = sink = Sink(4)
    sink.data += b"full"
    bench.thread.memory.put(ADDRESS, b"abcdef")
    await bench.submit(rw(WRITE, 3, 6), nop(2))
    assert bench.client.results() == [(2, 0)]
    await trio.testing.wait_all_tasks_blocked()
    bench.thread.memory.put(ADDRESS, b"ABCDEF")  # read when there is room
    assert sink.drain() == b"full"
    await bench.enter(0, wait=1)
    assert bench.client.results() == [(1, 4)]
    assert sink.drain() == b"ABCD"
    assert sink.opens == 0


async def test_a_waiting_write_is_cancelled(bench: Bench) -> None:
    bench.thread.fds[3] = sink = Sink(0)
    bench.thread.memory.put(ADDRESS, b"abc")
    await bench.submit(rw(WRITE, 3, 3))
    await trio.testing.wait_all_tasks_blocked()
    (request,) = bench.context.pending_requests()
    bench.context.cancel(request)
    await bench.enter(0, wait=1)
    assert bench.client.results() == [(1, -errno.ECANCELED)]
    sink.capacity = 10
    sink.drain()
    await trio.testing.wait_all_tasks_blocked()
    assert sink.data == b""
    assert sink.opens == 0


async def test_a_caller_that_exits_while_it_waits(bench: Bench) -> None:
    bench.thread.fds[3] = sink = Sink(0)
    bench.thread.memory.put(ADDRESS, b"abc")
    await bench.submit(rw(WRITE, 3, 3))
    await trio.testing.wait_all_tasks_blocked()
    bench.thread.exit()
    await trio.testing.wait_all_tasks_blocked()
    assert bench.client.results() == [(1, -errno.ECANCELED)]
    assert sink.opens == 0


async def test_bad_memory_waits_for_room_too(bench: Bench) -> None:
    bench.thread.fds[3] = sink = Sink(1)
    sink.data += b"x"
    await bench.submit(rw(WRITE, 3, 3, addr=8))
    await trio.testing.wait_all_tasks_blocked()
    assert bench.client.results() == []
    sink.drain()
    await bench.enter(0, wait=1)
    assert bench.client.results() == [(1, -errno.EFAULT)]


@pytest.mark.parametrize(
    ("flags", "rw_flags", "signals"), [(0, 0, [signal.SIGPIPE]), (IOSQE_ASYNC, 0, []), (0, RWF_NOSIGNAL, [])]
)
async def test_a_broken_pipe_and_its_signal(bench: Bench, flags: int, rw_flags: int, signals: list[int]) -> None:
    bench.thread.fds[3] = sink = Sink(1)
    sink.break_()
    bench.thread.memory.put(ADDRESS, b"abc")
    assert await result(bench, rw(WRITE, 3, 3, flags=flags, rw_flags=rw_flags)) == [(1, -errno.EPIPE)]
    assert bench.thread.signals == signals


@pytest.mark.parametrize(
    ("opcode", "rw_flags", "expected"),
    [
        (READ, RWF_ATOMIC, errno.EOPNOTSUPP),
        (READ, 1 << 9, errno.EOPNOTSUPP),
        (WRITE, RWF_APPEND | RWF_NOAPPEND, errno.EINVAL),
        (WRITE, 1, errno.EINVAL),
        (WRITE, 1 << 31, errno.EOPNOTSUPP),
    ],
)
async def test_rw_flags(bench: Bench, opcode: int, rw_flags: int, expected: int) -> None:
    bench.thread.fds[3] = writable_file(b"0123")
    bench.thread.memory.put(ADDRESS, b"abc")
    assert await result(bench, rw(opcode, 3, 3, rw_flags=rw_flags)) == [(1, -expected)]


async def test_nowait_of_a_full_and_an_empty_pipe(bench: Bench) -> None:
    bench.thread.fds.update({3: Sink(0), 4: Stream()})
    bench.thread.memory.put(ADDRESS, b"abc")
    sqes = rw(WRITE, 3, 3, rw_flags=RWF_NOWAIT), rw(READ, 4, 3, rw_flags=RWF_NOWAIT, user_data=2)
    assert await result(bench, *sqes) == [(1, -errno.EAGAIN), (2, -errno.EAGAIN)]


@pytest.mark.parametrize("flags", [0, IOSQE_ASYNC])
@pytest.mark.parametrize("mapped", [True, False])
async def test_nowait_of_a_full_file_that_does_not_know_it(bench: Bench, mapped: bool, flags: int) -> None:
    """Whatever its memory: the file is asked in place of a write of memory that is not there (write_fault())."""
    bench.thread.fds[3] = full = Sink(0)
    full.nowait = False
    if mapped:
        bench.thread.memory.put(ADDRESS, b"abc")
    assert await result(bench, rw(WRITE, 3, 3, flags=flags, rw_flags=RWF_NOWAIT)) == [(1, -errno.EOPNOTSUPP)]


async def test_a_polled_ring_takes_direct_files_only(nursery: trio.Nursery) -> None:
    bench = Bench(nursery, flags=IORING_SETUP_IOPOLL)
    bench.thread.fds[3] = writable_file(b"0123")
    bench.thread.memory.put(ADDRESS, b"abc")
    assert await result(bench, rw(READ, 3, 3)) == [(1, -errno.EOPNOTSUPP)]


FIELDS = {
    "flags": st.sampled_from([0, 0, 4, 16]),
    "ioprio": st.sampled_from([0, 0, 1, 0xE000]),
    "fd": st.sampled_from([3, 4, 5, 6, -1, 2**31 - 1, -(2**31)]),
    "off": st.sampled_from([0, 1, 2**31, 2**63 - 1, 2**63, LAST - 1, LAST]),
    "addr": st.sampled_from([0, 8, ADDRESS, ADDRESS + 4000, 0x7FFFFFFFE000, 2**63, LAST]),
    "len": st.sampled_from([0, 1, 100, 1024, 1025, 2**31, 2**32 - 1]),
    "rw_flags": st.sampled_from([0, 0, 8, 16, 2**32 - 1]),
    "buf_index": st.sampled_from([0, 1, 0xFFFF]),
    "addr3": st.sampled_from([0, 8, ADDRESS, LAST]),
    "pad2": st.sampled_from([0, 0, 1, LAST]),
}


@given(st.lists(st.tuples(st.sampled_from([2, 4, 5, 22, 23, 60, 61]), st.fixed_dictionaries(FIELDS)), max_size=8))
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_fields_give_one_completion_each(program: list[tuple[int, dict[str, int]]]) -> None:
    async def run() -> None:
        async with trio.open_nursery() as nursery:
            bench = Bench(nursery, entries=64)
            files = {3: writable_file(b"file" * 100), 4: Stream(b"stream" * 50), 5: Sink(1000)}
            bench.thread.fds.update(files)
            bench.thread.memory.map(ADDRESS, 4096)
            files[4].hang_up()
            for number, (opcode, fields) in enumerate(program):
                await bench.submit(Sqe(opcode, user_data=number, **fields))
            await trio.testing.wait_all_tasks_blocked()
            files[5].break_()
            await trio.testing.wait_all_tasks_blocked()
            seen = sorted(bench.client.results())
            assert [number for number, _ in seen] == list(range(len(program)))
            assert all(res > -200 for _, res in seen)
            assert not [fd for fd, file in files.items() if file.opens]
            nursery.cancel_scope.cancel()

    trio.run(run)


async def test_the_memory_of_a_read_is_looked_at_once_there_is_data(bench: Bench, monkeypatch) -> None:
    looked = []
    writable = bench.thread.memory.writable
    monkeypatch.setattr(bench.thread.memory, "writable", lambda iovecs: looked.append(iovecs) or writable(iovecs))
    bench.thread.fds[3] = stream = Stream()
    bench.thread.memory.map(ADDRESS, 4)
    await bench.submit(rw(READ, 3, 4))
    await trio.testing.wait_all_tasks_blocked()
    assert looked == []
    stream.feed(b"data")
    await bench.enter(0, wait=1)
    assert bench.client.results() == [(1, 4)]
    assert looked == [[(ADDRESS, 4)]]


async def test_a_read_of_an_epoll_is_refused_without_asking_what_is_in_it(here: Here) -> None:
    epoll, (reader, writer) = select.epoll(), os.pipe()
    epoll.register(reader, select.EPOLLIN)
    memory = ctypes.create_string_buffer(8)
    await here.submit(rw(READ, epoll.fileno(), 8, addr=ctypes.addressof(memory)))
    assert here.client.results() == [(1, -errno.EINVAL)]
    epoll.close()
    os.close(reader)
    os.close(writer)
