"""FUTEX_WAIT, FUTEX_WAKE and FUTEX_WAITV on the fake host."""

import errno

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from tests.unit.support import Bench, enter
from uringfs.abi.control import ADVICE, URINGFS_DESCRIPTOR_WAKE, URINGFS_ENTER_FETCHES
from uringfs.abi.structs import Sqe
from uringfs.ops.events.futex import FUTEX_WAITV, LAST_LOOK, WAKES, futexes

U32, PRIVATE = 2, 128
ALL = 0xFFFFFFFF
WORD, SECOND, VECTOR = 0x10000, 0x10004, 0x20000


def wait(user_data: int, value: int = 0, mask: int = ALL, at: int = WORD) -> Sqe:
    return Sqe(51, fd=U32 | PRIVATE, addr=at, off=value, addr3=mask, user_data=user_data)


def wake(user_data: int, most: int = 1, mask: int = ALL, at: int = WORD) -> Sqe:
    return Sqe(52, fd=U32 | PRIVATE, addr=at, off=most, addr3=mask, user_data=user_data)


def waitv(user_data: int, count: int = 2) -> Sqe:
    return Sqe(53, addr=VECTOR, len=count, user_data=user_data)


@pytest.fixture
def words(bench: Bench) -> Bench:
    bench.thread.memory.map(WORD, 4096)
    entries = [FUTEX_WAITV.pack(0, at, U32 | PRIVATE, 0) for at in (WORD, SECOND)]
    bench.thread.memory.put(VECTOR, b"".join(entries))
    return bench


def store(bench: Bench, at: int, value: int) -> None:
    bench.thread.memory.put(at, value.to_bytes(4, "little"))


async def test_first_come_first_woken(words: Bench) -> None:
    await words.submit(wait(1), wait(2), wait(3))
    await words.submit(wake(9, most=2))
    assert words.client.results() == [(9, 2), (1, 0), (2, 0)]
    await words.submit(wake(9, most=5))
    assert words.client.results() == [(9, 1), (3, 0)]


async def test_a_changed_word_ends_the_wait(words: Bench, mock_clock: MockClock) -> None:
    await words.submit(wait(1), wait(2, at=SECOND))
    for _ in range(20):
        mock_clock.jump(1)
        await wait_all_tasks_blocked()
    assert words.client.results() == []
    store(words, SECOND, 1)
    mock_clock.jump(LAST_LOOK / 1e9 * 1.01)
    await wait_all_tasks_blocked()
    assert words.client.results() == [(2, 0)]


async def test_nothing_is_looked_at_when_nobody_waits(words: Bench, mock_clock: MockClock) -> None:
    await words.submit(wait(1))
    await words.submit(wake(2))
    for _ in range(3):
        mock_clock.jump(1)
        await wait_all_tasks_blocked()
    assert words.host.timers._heap.first() is None


async def test_memory_that_goes(words: Bench, mock_clock: MockClock) -> None:
    await words.submit(wait(1))
    words.thread.memory.unmap(WORD, 4096)
    mock_clock.jump(1)
    await wait_all_tasks_blocked()
    assert words.client.results() == [(1, -errno.EFAULT)]


async def test_one_of_several(words: Bench, mock_clock: MockClock) -> None:
    await words.submit(waitv(1))
    await words.submit(wake(2, at=SECOND))
    assert words.client.results() == [(2, 1), (1, 1)]
    await words.submit(waitv(1))
    store(words, SECOND, 3)
    mock_clock.jump(1)
    await wait_all_tasks_blocked()
    assert words.client.results() == [(1, 1)]
    await words.submit(waitv(1))
    assert words.client.results() == [(1, -errno.EAGAIN)]


async def test_who_is_woken_leaves_all_queues(words: Bench) -> None:
    await words.submit(waitv(1))
    await words.submit(wake(2, at=SECOND), wake(3, at=WORD))
    assert words.client.results() == [(2, 1), (3, 0), (1, 1)]
    table = futexes(words.host)
    assert not table._queues
    assert not table._waiting


async def test_the_caller_vanishes(words: Bench) -> None:
    await words.submit(wait(1), waitv(2))
    words.thread.exit()
    await wait_all_tasks_blocked()
    assert sorted(words.client.results()) == [(1, -errno.ECANCELED), (2, -errno.ECANCELED)]
    assert not futexes(words.host)._waiting


async def test_the_ring_is_closed(words: Bench) -> None:
    await words.submit(wait(1))
    words.context.close()
    assert not futexes(words.host)._waiting


async def test_another_ring_of_the_same_process(nursery: trio.Nursery, words: Bench) -> None:
    client, worker = words.another()
    client.push(wake(5))
    await words.submit(wait(1))
    caller = words.host.caller(words.thread.tid, 0, 0)
    await enter(worker, caller, 1, 0, 0, 0, 0)
    assert client.results() == [(5, 1)]
    assert words.client.results() == [(1, 0)]


async def test_another_process_has_other_words(words: Bench) -> None:
    other = words.host.thread(200)
    other.memory.map(WORD, 4096)
    await words.submit(wait(1))
    await words.submit(wake(2), thread=other)
    assert words.client.results() == [(2, 0)]


async def fetch(bench: Bench) -> list[tuple[int, ...]]:
    caller = bench.host.caller(bench.thread.tid, 0, 0)
    return list(ADVICE.iter_unpack(await bench.context.deliveries.fetch(caller, -1, 16)))


async def report(bench: Bench, number: int, res: int) -> None:
    caller = bench.host.caller(bench.thread.tid, 0, 0)
    await bench.context.deliveries.report(caller, ADVICE.pack(number, res, URINGFS_DESCRIPTOR_WAKE, 0, 0, 0))
    await wait_all_tasks_blocked()


async def test_the_client_wakes_its_threads(words: Bench) -> None:
    words.thread.can = URINGFS_ENTER_FETCHES | WAKES
    await words.submit(wait(1), wake(2, most=3))
    await wait_all_tasks_blocked()
    ((number, *asked),) = await fetch(words)
    assert asked == [2, URINGFS_DESCRIPTOR_WAKE, WORD, ALL | 1 << 32, 0]  # one is in our queue
    assert words.client.results() == []
    await report(words, number, 1)
    assert words.client.results() == [(2, 2), (1, 0)]


async def test_the_client_is_not_asked_where_rings_wait(words: Bench) -> None:
    words.thread.can = URINGFS_ENTER_FETCHES | WAKES
    await words.submit(wait(1), wake(2, most=1))
    assert await fetch(words) == []
    assert words.client.results() == [(2, 1), (1, 0)]


async def test_the_client_cannot_wake(words: Bench) -> None:
    words.thread.can = URINGFS_ENTER_FETCHES | WAKES
    await words.submit(wake(2))
    await wait_all_tasks_blocked()
    ((number, *_),) = await fetch(words)
    await report(words, number, -errno.ENOSYS)
    assert words.client.results() == [(2, -errno.ENOSYS)]


@pytest.mark.parametrize("opcode", [51, 52, 53])
async def test_hostile_fields(words: Bench, opcode: int) -> None:
    sizes = {"ioprio": 16, "fd": 31, "off": 64, "addr": 64, "len": 32, "rw_flags": 32, "buf_index": 16,
             "file_index": 32, "addr3": 64}  # fmt: skip
    base = waitv(1) if opcode == 53 else wait(1)._replace(opcode=opcode)
    for field, size in sizes.items():
        for bit in range(size):
            await words.submit(base._replace(**{field: 1 << bit}))
            await words.submit(Sqe(14, fd=-1, rw_flags=4, user_data=2))
            assert sum(user_data == 1 for user_data, _ in words.client.results()) == 1
            assert not words.context.pending
