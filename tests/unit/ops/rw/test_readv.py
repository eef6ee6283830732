"""READV (io_uring/rw.c) on the fake host: every way a transfer can go."""

import errno
import gc
from collections.abc import Callable

import pytest
from trio.testing import wait_all_tasks_blocked

from tests.fakehost.files import Description, RegularFile, Stream
from tests.unit.support import CURRENT_POSITION, Bench, iovecs, readv
from uringfs.abi.constants import RWF_HIPRI, RWF_NOWAIT
from uringfs.abi.structs import IOVEC
from uringfs.engine.request import Request

FD, BUFFER, VECTOR = 3, 0x10000, 0x40000
PAGE = 4096


async def read(bench: Bench, file: Description, vector: list[tuple[int, int]], **fields: int) -> int:
    """The result of one READV that needs no event."""
    bench.thread.fds[FD] = file
    await bench.submit(readv(FD, *iovecs(bench.thread, VECTOR, vector), 1, **fields))
    await wait_all_tasks_blocked()
    [(_, res)] = bench.client.results()
    assert file.opens == 0
    assert not bench.context.pending
    return res


@pytest.fixture
def memory(bench: Bench):
    bench.thread.memory.map(BUFFER, 2 * PAGE)
    return bench.thread.memory


@pytest.mark.parametrize("cached", [True, False])
async def test_scattered_over_buffers(bench: Bench, memory, cached: bool) -> None:
    file = RegularFile(b"0123456789", cached=cached)
    file.load()
    vector = [(BUFFER + 100, 3), (BUFFER, 0), (BUFFER + PAGE - 1, 4), (BUFFER, 2)]
    assert await read(bench, file, vector) == 9
    assert memory.read(BUFFER + 100, 3) == b"012"
    assert memory.read(BUFFER + PAGE - 1, 4) == b"3456"
    assert memory.read(BUFFER, 2) == b"78"


@pytest.mark.parametrize(("off", "res", "position"), [(0, 4, 0), (8, 2, 0), (10, 0, 0), (CURRENT_POSITION, 4, 4)])
async def test_offsets(bench: Bench, memory, off: int, res: int, position: int) -> None:
    file = RegularFile(b"0123456789")
    assert await read(bench, file, [(BUFFER, 4)], off=off) == res
    assert file.position == position


async def test_nothing_asked_is_nothing_read(bench: Bench, memory) -> None:
    assert await read(bench, RegularFile(b"x"), []) == 0
    assert await read(bench, RegularFile(b"x"), [(BUFFER, 0)]) == 0


async def test_memory_that_ends_half_way(bench: Bench, memory) -> None:
    file = RegularFile(b"x" * 3 * PAGE)
    assert await read(bench, file, [(BUFFER, 3 * PAGE)]) == 2 * PAGE
    assert await read(bench, file, [(BUFFER, 3 * PAGE)], off=CURRENT_POSITION) == 2 * PAGE


@pytest.mark.parametrize("address", [0, 0x900000, 0x7FFF_FFFF_0000])
async def test_memory_that_is_not_there(bench: Bench, memory, address: int) -> None:
    file = RegularFile(b"data")
    assert await read(bench, file, [(address, 4)], off=CURRENT_POSITION) == -errno.EFAULT
    assert file.position == 0


@pytest.mark.parametrize("writable", [False, None])
async def test_a_stream_loses_nothing_to_memory_it_cannot_fill(bench: Bench, memory, writable) -> None:
    memory.map(BUFFER, PAGE, writable=False) if writable is False else memory.unmap(BUFFER, PAGE)
    stream = Stream(b"precious")
    assert await read(bench, stream, [(BUFFER, 8)]) == -errno.EFAULT
    assert stream.data == b"precious"


async def test_a_failed_read_is_freed_at_once(bench: Bench, memory) -> None:
    """It holds descriptors of the daemon's: they must not wait for the collector of cycles."""
    bench.thread.fds[FD] = stream = Stream()

    def requests() -> list[Request]:
        return [one for one in gc.get_objects() if isinstance(one, Request)]

    gc.collect()
    before = len(requests())
    gc.disable()
    try:
        await bench.submit(readv(FD, *iovecs(bench.thread, VECTOR, [(0x900000, 8)]), 1))
        await wait_all_tasks_blocked()
        assert len(requests()) == before + 1
        stream.feed(b"data")
        await wait_all_tasks_blocked()
        assert bench.client.results() == [(1, -errno.EFAULT)]
        assert len(requests()) == before
    finally:
        gc.enable()


async def test_efault_of_an_empty_stream_comes_with_its_data(bench: Bench, memory) -> None:
    stream = bench.thread.fds[FD] = Stream()
    await bench.submit(readv(FD, *iovecs(bench.thread, VECTOR, [(0x900000, 8)]), 1))
    await wait_all_tasks_blocked()
    assert bench.client.results() == []
    stream.feed(b"data")
    await wait_all_tasks_blocked()
    assert bench.client.results() == [(1, -errno.EFAULT)]
    assert stream.data == b"data"
    assert stream.opens == 0


async def test_a_stream_gives_what_it_has(bench: Bench, memory) -> None:
    stream = Stream(b"12345")
    assert await read(bench, stream, [(BUFFER, 3)], off=77) == 3
    assert await read(bench, stream, [(BUFFER, 3)]) == 2
    stream.hang_up()
    assert await read(bench, stream, [(BUFFER, 3)]) == 0


@pytest.mark.parametrize(
    ("file", "fields", "res"),
    [
        (lambda: Stream(), {"rw_flags": RWF_NOWAIT}, -errno.EAGAIN),
        (lambda: Stream(nonblock=True), {"rw_flags": RWF_NOWAIT}, -errno.EAGAIN),
        (lambda: RegularFile(b"x", cached=False), {"rw_flags": RWF_NOWAIT}, -errno.EAGAIN),
        (lambda: RegularFile(b"x", readable=False), {}, -errno.EBADF),
        (lambda: RegularFile(b"x", refused=errno.EINVAL), {}, -errno.EINVAL),
        (lambda: RegularFile(b"x"), {"rw_flags": RWF_HIPRI}, -errno.EINVAL),
        (lambda: RegularFile(b"x"), {"off": 1 << 63}, -errno.EINVAL),
        (lambda: RegularFile(b"x"), {"pad2": 2}, -errno.EINVAL),
        (lambda: RegularFile(b"x"), {"ioprio": 0xFFFF}, -errno.EINVAL),
        (lambda: RegularFile(b"x"), {"ioprio": 1 << 13}, -errno.EPERM),
        (lambda: RegularFile(b"x"), {"ioprio": 2 << 13 | 7}, 1),
    ],
)  # fmt: skip
async def test_what_is_refused(
    bench: Bench, memory, file: Callable[[], Description], fields: dict[str, int], res: int
) -> None:
    assert await read(bench, file(), [(BUFFER, 4)], **fields) == res


async def test_a_nonblocking_stream_is_waited_for(bench: Bench, memory) -> None:
    stream = bench.thread.fds[FD] = Stream(nonblock=True)
    await bench.submit(readv(FD, *iovecs(bench.thread, VECTOR, [(BUFFER, 8)]), 1))
    await wait_all_tasks_blocked()
    assert bench.client.results() == []
    stream.feed(b"data")
    await wait_all_tasks_blocked()
    assert bench.client.results() == [(1, 4)]


async def test_bad_vectors(bench: Bench, memory) -> None:
    bench.thread.fds[FD] = RegularFile(b"x")
    memory.put(VECTOR, IOVEC.pack(BUFFER, 1 << 63))
    for address, count, res in (
        (VECTOR, 1, -errno.EINVAL),
        (VECTOR, 1025, -errno.EINVAL),
        (0x900000, 1, -errno.EFAULT),
        ((1 << 64) - 16, 1, -errno.EFAULT),
    ):
        await bench.submit(readv(FD, address, count, 1))
        assert bench.client.results() == [(1, res)]
    await bench.submit(readv(-1, VECTOR, 0, 1))
    assert bench.client.results() == [(1, -errno.EBADF)]


@pytest.mark.parametrize("file", [lambda: Stream(), lambda: RegularFile(b"x", cached=False)])
@pytest.mark.parametrize("end", ["cancel", "exit", "close"])
@pytest.mark.parametrize("vector", [[(BUFFER, 4)], [(0x900000, 4)]])
async def test_the_end_of_a_read_that_waits(
    bench: Bench, memory, file: Callable[[], Description], end: str, vector: list[tuple[int, int]]
) -> None:
    """Wherever it waits, it ends with one completion and nothing held. A file that is at it when its submitter
    exits is left to finish."""
    bench.thread.fds[FD] = description = file()
    await bench.submit(readv(FD, *iovecs(bench.thread, VECTOR, vector), 1))
    await wait_all_tasks_blocked()
    assert description.opens == 1
    match end:
        case "cancel":
            bench.context.cancel(next(iter(bench.context.pending)))
        case "exit":
            bench.thread.exit()
        case "close":
            bench.context.close()
    await wait_all_tasks_blocked()
    if end == "exit" and isinstance(description, RegularFile):
        assert (description.opens, bench.client.results()) == (1, [])
        return
    assert description.opens == 0
    assert bench.client.results() == ([] if end == "close" else [(1, -errno.ECANCELED)])


async def test_a_caller_whose_memory_goes_while_it_waits(bench: Bench, memory) -> None:
    stream = bench.thread.fds[FD] = Stream()
    await bench.submit(readv(FD, *iovecs(bench.thread, VECTOR, [(BUFFER, 4)]), 1))
    await wait_all_tasks_blocked()
    memory.end()
    stream.feed(b"data")
    await wait_all_tasks_blocked()
    assert bench.client.results() == [(1, -errno.ECANCELED)]
    assert stream.opens == 0
