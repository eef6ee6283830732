"""Clients of a lane that sleep in poll(2): by which eventfd the daemon wakes them, and when."""

import errno

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from tests.fakehost.host import FakeEventFd
from tests.unit.engine.test_lane import attach, two
from tests.unit.laneclient import LaneClient
from tests.unit.support import Bench, nop
from uringfs.abi import lane as abi
from uringfs.errors import UringError

FD = 5


def wake_by(bench: Bench, fd: int = FD) -> FakeEventFd:
    bench.thread.eventfds.setdefault(FD, FakeEventFd())
    bench.context.sharing.wake_by(bench.host.caller(bench.thread.tid, 0, 0), fd)
    return bench.thread.eventfds[FD]


def sleep_until(client: LaneClient, tail: int) -> None:
    client.store(abi.LANE_WAKE_AT, tail)
    client.store(abi.LANE_SLEEPERS, abi.URINGFS_LANE_POLLS | client.number << 16)


async def test_only_who_has_attached(bench: Bench) -> None:
    with pytest.raises(UringError) as caught:
        wake_by(bench)
    assert caught.value.errno == errno.ENOTCONN
    await attach(bench)
    other = bench.host.thread(200)
    with pytest.raises(UringError) as caught:
        bench.context.sharing.wake_by(bench.host.caller(other.tid, 0, 0), FD)
    assert caught.value.errno == errno.ENOTCONN


async def test_no_eventfd(bench: Bench) -> None:
    await attach(bench)
    with pytest.raises(UringError) as caught:
        wake_by(bench, FD + 1)
    assert caught.value.errno == errno.EBADF


async def test_what_the_daemon_posts_wakes(bench: Bench) -> None:
    _, client = await attach(bench)
    eventfd = wake_by(bench)
    sleep_until(client, 2)
    await bench.submit(nop(1))
    assert (eventfd.count, client.load(abi.LANE_SLEEPERS) != 0) == (0, True)
    await bench.submit(nop(2))
    assert (eventfd.count, client.load(abi.LANE_SLEEPERS)) == (1, 0)


async def test_a_reason_to_wait_in_the_daemon_wakes(bench: Bench) -> None:
    _, client = await attach(bench)
    eventfd = wake_by(bench)
    sleep_until(client, 99)
    await bench.context.sharing.switch(False)
    assert (eventfd.count, client.load(abi.LANE_SLEEPERS)) == (1, 0)


async def test_another_process_has_posted_or_recalls_a_claim(bench: Bench) -> None:
    lane, client = await attach(bench)
    eventfd = wake_by(bench)
    sleep_until(client, 0)
    lane.look()
    assert eventfd.count == 1
    sleep_until(client, 99)
    client.store(abi.LANE_CLAIMED, client.number << 16 | 1)
    lane.look()
    assert eventfd.count == 1
    client.store(abi.LANE_CLAIMED, client.number << 16 | 1 | abi.URINGFS_LANE_RECALLED)
    lane.look()
    assert eventfd.count == 2


@pytest.mark.parametrize("queued", [True, False])
async def test_what_a_dead_process_has_claimed_is_cancelled(bench: Bench, queued: bool) -> None:
    _, _, client, thread = await two(bench)
    if queued:
        bench.client.push(nop(7), nop(8))
    sleep_until(client, 1)
    client.store(abi.LANE_CLAIMED, client.number << 16 | 1)
    thread.exit()
    await wait_all_tasks_blocked()
    assert [(cqe.user_data, cqe.res) for cqe in bench.client.reap()] == [(7, -errno.ECANCELED)] * queued
    assert (client.load(abi.LANE_CLAIMED), client.load(abi.LANE_SLEEPERS)) == (0, 0)
    assert await bench.enter(1) == queued
    assert [cqe.user_data for cqe in bench.client.reap()] == [8] * queued


async def test_what_another_has_claimed_is_not(bench: Bench) -> None:
    _, client, _, thread = await two(bench)
    bench.client.push(nop(7))
    word = client.number << 16 | 1
    sleep_until(client, 1)
    client.store(abi.LANE_CLAIMED, word)
    thread.exit()
    await wait_all_tasks_blocked()
    assert bench.client.reap() == []
    assert (client.load(abi.LANE_CLAIMED), client.load(abi.LANE_SLEEPERS) >> 16) == (word, client.number)


def claim(client: LaneClient, more: int = 0) -> None:
    sleep_until(client, 99)
    client.store(abi.LANE_CLAIMED, client.number << 16 | 1 | more)


async def submit_one(bench: Bench, results: list[int]) -> None:
    results.append(await bench.enter(1))


async def test_a_claim_comes_before_what_another_call_submits(bench: Bench) -> None:
    """By its own thread: it is told to."""
    _, client = await attach(bench)
    eventfd, results = wake_by(bench), list[int]()
    bench.client.push(nop(7), nop(8))
    claim(client)
    async with trio.open_nursery() as inner:
        inner.start_soon(submit_one, bench, results)
        await wait_all_tasks_blocked()
        assert (eventfd.count, bench.client.reap()) == (1, [])
        assert client.load(abi.LANE_CLAIMED) & abi.URINGFS_LANE_RECALLED
        assert await bench.enter(1) == 1  # the claimant's
        assert [cqe.user_data for cqe in bench.client.reap()] == [7]
        client.store(abi.LANE_CLAIMED, 0)
    assert results == [1]
    assert [cqe.user_data for cqe in bench.client.reap()] == [8]


async def test_a_claimant_that_does_not_answer(bench: Bench, autojump_clock: object) -> None:
    _, client = await attach(bench)
    bench.client.push(nop(7), nop(8))
    claim(client)
    assert await bench.enter(1) == 1
    assert [cqe.user_data for cqe in bench.client.reap()] == [7, 8]
    assert client.load(abi.LANE_CLAIMED) == 0


async def test_a_claimant_that_dies_meanwhile(bench: Bench) -> None:
    _, _, client, thread = await two(bench)
    results = list[int]()
    bench.client.push(nop(7), nop(8))
    claim(client)
    async with trio.open_nursery() as inner:
        inner.start_soon(submit_one, bench, results)
        await wait_all_tasks_blocked()
        thread.exit()
    assert results == [1]
    cqes = [(cqe.user_data, cqe.res) for cqe in bench.client.reap()]
    assert cqes == [(7, -errno.ECANCELED), (8, 0)]


async def test_a_claim_of_what_is_not_there(bench: Bench) -> None:
    _, client = await attach(bench)
    client.store(abi.LANE_CLAIMED, 5 << 16 | 1)
    assert await bench.enter(1) == 0
    bench.client.push(nop(7))
    assert await bench.enter(1) == 1


async def test_those_in_futex_need_none(bench: Bench) -> None:
    _, client = await attach(bench)
    eventfd = wake_by(bench)
    client.store(abi.LANE_WAKE_AT, 1)
    client.store(abi.LANE_SLEEPERS, 1)
    await bench.submit(nop(1))
    assert eventfd.count == 0


async def test_the_last_one_counts(bench: Bench) -> None:
    await attach(bench)
    first = wake_by(bench)
    bench.thread.eventfds[FD] = FakeEventFd()
    second = wake_by(bench)
    assert (first.closed, second.closed) == (True, False)
    bench.context.close()
    assert second.closed


async def test_it_goes_with_its_process(bench: Bench) -> None:
    await attach(bench)
    eventfd = wake_by(bench)
    bench.thread.exit()
    await wait_all_tasks_blocked()
    assert eventfd.closed
