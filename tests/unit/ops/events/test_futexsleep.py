"""FUTEX_WAIT and FUTEX_WAITV of a client that sleeps in the kernel's queues: what it is asked, what it answers."""

import errno

import pytest
from trio.testing import wait_all_tasks_blocked

from tests.fakehost.host import FakeChannel
from tests.unit.ops.events.test_futex import (
    ALL,
    PRIVATE,
    U32,
    VECTOR,
    WORD,
    fetch,
    store,
    wait,
    waitv,
    wake,
    words,
)
from tests.unit.support import Bench
from uringfs.abi.control import (
    ADVICE,
    ENTRY,
    URINGFS_DESCRIPTOR_AWAKE,
    URINGFS_DESCRIPTOR_SLEEP,
    URINGFS_DESCRIPTOR_WAKE,
    URINGFS_ENTER_FETCHES,
)
from uringfs.abi.structs import Sqe
from uringfs.ops.events.futex import WAKES, futexes
from uringfs.ops.events.futexsleep import SLEEPS

__all__ = ["words"]  # the fixture
ASLEEP = -errno.EINPROGRESS
FLAGS = (U32 | PRIVATE) << 32


def cancel(user_data: int, of: int) -> Sqe:
    return Sqe(14, fd=-1, addr=of, user_data=user_data)


async def report(bench: Bench, number: int, res: int, what: int = URINGFS_DESCRIPTOR_SLEEP) -> None:
    caller = bench.host.caller(bench.thread.tid, 0, 0)
    await bench.context.deliveries.report(caller, ADVICE.pack(number, res, what, 0, 0, 0))
    await wait_all_tasks_blocked()


async def tell(channel: FakeChannel, number: int, res: int) -> None:
    await channel.answers.send(ENTRY.pack(number, res, URINGFS_DESCRIPTOR_SLEEP, *(0,) * 6))
    await wait_all_tasks_blocked()


@pytest.fixture
async def client(words: Bench) -> FakeChannel:
    words.thread.can = URINGFS_ENTER_FETCHES | WAKES | SLEEPS
    channel = FakeChannel()
    words.context.serve_agent(words.thread.tid, channel)
    await wait_all_tasks_blocked()
    return channel


async def falls_asleep(bench: Bench, *sqes: Sqe) -> list[int]:
    await bench.submit(*sqes)
    numbers = [number for number, *_ in await fetch(bench)]
    for number in numbers:
        await report(bench, number, ASLEEP)
    return numbers


async def test_what_it_is_asked(words: Bench, client: FakeChannel) -> None:
    await words.submit(wait(1), waitv(2))
    (_, *one), (_, *several) = await fetch(words)
    assert one == [0, URINGFS_DESCRIPTOR_SLEEP, WORD, FLAGS, 0]
    assert several == [2, URINGFS_DESCRIPTOR_SLEEP, VECTOR, 0, 0]
    assert client.sent == []


async def test_the_agent_tells_who_was_woken(words: Bench, client: FakeChannel) -> None:
    first, second = await falls_asleep(words, wait(1), waitv(2))
    assert not words.context.deliveries.any()  # an enter has nothing to look after
    assert words.client.results() == []
    await tell(client, second, 1)
    await tell(client, first, 0)
    assert words.client.results() == [(2, 1), (1, 0)]
    assert not words.context.pending


async def test_it_is_told_before_it_is_reported(words: Bench, client: FakeChannel) -> None:
    await words.submit(wait(1))
    ((number, *_),) = await fetch(words)
    await tell(client, number, 0)
    await report(words, number, ASLEEP)
    assert words.client.results() == [(1, 0)]


@pytest.mark.parametrize("error", [errno.EAGAIN, errno.EFAULT, errno.EINVAL])
async def test_what_the_kernel_says_at_once(words: Bench, client: FakeChannel, error: int) -> None:
    await words.submit(wait(1))
    ((number, *_),) = await fetch(words)
    await report(words, number, -error)
    assert words.client.results() == [(1, -error)]


async def test_no_thread_for_it(words: Bench, client: FakeChannel) -> None:
    await words.submit(wait(1))
    ((number, *_),) = await fetch(words)
    await report(words, number, -errno.EOPNOTSUPP)
    assert words.client.results() == []
    await words.submit(wake(2))
    assert words.client.results() == [(2, 1), (1, 0)]


@pytest.mark.parametrize("sqe", [wait(1, mask=1), waitv(1, count=128)])
async def test_what_futex_waitv_cannot(words: Bench, client: FakeChannel, sqe: Sqe) -> None:
    """Masks, and as many words as it takes, of which one is the client's own."""
    words.thread.memory.map(VECTOR, 4096)
    entry = words.thread.memory.read(VECTOR, 24) if sqe.len else b""
    words.thread.memory.put(VECTOR, entry * sqe.len)
    await words.submit(sqe)
    assert await fetch(words) == []
    assert futexes(words.host)._waiting


async def test_a_word_that_has_changed_asks_nobody(words: Bench, client: FakeChannel) -> None:
    store(words, WORD, 1)
    await words.submit(wait(1))
    assert await fetch(words) == []
    assert words.client.results() == [(1, -errno.EAGAIN)]


async def test_a_cancelled_one_is_ended(words: Bench, client: FakeChannel) -> None:
    (number,) = await falls_asleep(words, wait(1))
    await words.submit(cancel(2, of=1))
    await wait_all_tasks_blocked()
    assert words.client.results() == [(2, 1), (1, -errno.ECANCELED)]
    ((message, _),) = client.sent
    ended, _, what, address, *_ = ADVICE.unpack(message)
    assert (what, address) == (URINGFS_DESCRIPTOR_AWAKE, number)
    assert words.context.deliveries.needs_fetch(words.thread.tid)  # the enter ends behind it
    await tell(client, ended, 0)
    assert not words.context.deliveries.needs_fetch(words.thread.tid)
    await tell(client, number, 0)  # too late, and harmless
    assert words.client.results() == []


async def test_cancelled_while_it_falls_asleep(words: Bench, client: FakeChannel) -> None:
    await words.submit(wait(1))
    ((number, *_),) = await fetch(words)
    await words.submit(cancel(2, of=1))
    await wait_all_tasks_blocked()
    client.sent.clear()
    await report(words, number, ASLEEP)
    assert [ADVICE.unpack(message)[3] for message, _ in client.sent] == [number]
    assert sorted(words.client.results()) == [(1, -errno.ECANCELED), (2, 1)]


async def test_cancelled_before_it_is_asked(words: Bench, client: FakeChannel) -> None:
    await words.submit(wait(1), cancel(2, of=1))
    assert await fetch(words) == []
    assert client.sent == []
    assert sorted(words.client.results()) == [(1, -errno.ECANCELED), (2, 1)]


async def test_a_wake_up_comes_first_and_those_it_woke_in_their_order(words: Bench, client: FakeChannel) -> None:
    first, second = await falls_asleep(words, wait(1), wait(2))
    await words.submit(wake(3, most=2))
    await wait_all_tasks_blocked()
    ((number, *asked),) = await fetch(words)
    assert asked == [2, URINGFS_DESCRIPTOR_WAKE, WORD, ALL | 1 << 32, 0]
    await tell(client, second, 0)
    assert words.client.results() == []
    await tell(client, first, 0)
    await report(words, number, 2, URINGFS_DESCRIPTOR_WAKE)
    assert words.client.results() == [(3, 2), (1, 0), (2, 0)]


async def test_another_agent_is_asked_anew(words: Bench, client: FakeChannel) -> None:
    """What has changed meanwhile was a wake-up."""
    numbers = await falls_asleep(words, wait(1), wait(2))
    client.answers.close()
    await wait_all_tasks_blocked()
    second = FakeChannel()
    words.context.serve_agent(words.thread.tid, second)
    await wait_all_tasks_blocked()
    assert [ADVICE.unpack(message)[0] for message, _ in second.sent] == numbers
    await tell(second, numbers[0], -errno.EAGAIN)
    await tell(second, numbers[1], ASLEEP)
    assert words.client.results() == [(1, 0)]
    await tell(second, numbers[1], 0)
    assert words.client.results() == [(2, 0)]


async def test_an_agent_that_tells_what_nobody_asked(words: Bench, client: FakeChannel) -> None:
    for number in range(1000, 1200):
        await tell(client, number, 0)
    (agent,) = words.context.deliveries._agents.values()
    assert len(agent._early) == 64


async def test_the_ring_is_closed(words: Bench, client: FakeChannel) -> None:
    await falls_asleep(words, wait(1))
    words.context.close()
    await wait_all_tasks_blocked()
    assert client.closed
    assert not words.context.deliveries._asleep
