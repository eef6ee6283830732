"""io_uring_register(2) without a mount: what conformance cannot see, and hostile arguments."""

import errno
import random
from collections.abc import Callable
from struct import Struct

import pytest
import trio
import trio.testing
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.fakehost.files import FakeFile, RegularFile, Stream
from tests.fakehost.host import FakeEventFd
from tests.unit.support import Bench, nop
from uringfs.abi.constants import (
    IORING_CQ_EVENTFD_DISABLED,
    IORING_ENTER_EXT_ARG,
    IORING_ENTER_EXT_ARG_REG,
    IORING_ENTER_REGISTERED_RING,
    IORING_OFF_CQ_RING,
    IORING_SETUP_DEFER_TASKRUN,
    IORING_SETUP_R_DISABLED,
    IORING_SETUP_SINGLE_ISSUER,
    IOSQE_ASYNC,
)
from uringfs.abi.structs import CQ_FLAGS, PARAMS, Params, Sqe
from uringfs.engine.request import RegisteredRing
from uringfs.errors import UringError
from uringfs.register.table import REGISTER, register

ARG = 0x30000
FD = Struct("<i")
DEFER = IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_DEFER_TASKRUN


def call(bench: Bench, opcode: int, arg: int = 0, nr_args: int = 0) -> int:
    return register(bench.context, bench.host.caller(100, 1000, 1000), opcode, arg, nr_args)


def outcome(function: Callable[..., int], *args: object) -> int:
    """-errno, as the system call has it."""
    try:
        return function(*args)
    except UringError as error:
        return -error.errno


def refusal(bench: Bench, opcode: int, arg: int = 0, nr_args: int = 0) -> int:
    with pytest.raises(UringError) as caught:
        call(bench, opcode, arg, nr_args)
    return caught.value.errno


def eventfd(bench: Bench, opcode: int = 4) -> FakeEventFd:
    bench.thread.eventfds[9] = found = FakeEventFd()
    bench.thread.memory.put(ARG, FD.pack(9))
    assert call(bench, opcode, ARG, 1) == 0
    return found


async def test_an_eventfd_hears_once_a_batch(bench: Bench) -> None:
    found = eventfd(bench)
    await bench.submit(nop(1), nop(2), nop(3))
    assert found.count == 1
    await bench.enter(0)
    assert found.count == 1


@pytest.mark.parametrize("base", [0, IORING_OFF_CQ_RING])
async def test_an_eventfd_is_switched_off_in_either_copy(bench: Bench, base: int) -> None:
    found = eventfd(bench)
    bench.ring.memory.store(base + CQ_FLAGS, IORING_CQ_EVENTFD_DISABLED)
    await bench.submit(nop(1))
    assert found.count == 0


async def test_an_asynchronous_eventfd_hears_of_workers_alone(bench: Bench) -> None:
    found = eventfd(bench, 7)
    await bench.submit(nop(1))
    assert found.count == 0
    await bench.submit(nop(2, IOSQE_ASYNC))
    await trio.testing.wait_all_tasks_blocked()
    assert found.count == 1
    await bench.submit(nop(3))
    assert found.count == 1


async def test_a_deferring_ring_signals_its_task_work(nursery: trio.Nursery) -> None:
    bench = Bench(nursery, flags=DEFER)
    found = eventfd(bench)
    bench.thread.fds[3] = stream = Stream()
    bench.thread.memory.map(0x10000, 4096)
    await bench.submit(Sqe(22, fd=3, addr=0x10000, len=8))
    assert found.count == 0
    stream.feed(b"x")
    await trio.testing.wait_all_tasks_blocked()
    assert found.count == 1
    assert bench.client.results() == []


async def test_an_eventfd_goes_with_the_ring(bench: Bench) -> None:
    found = eventfd(bench)
    bench.context.close()
    assert found.closed


async def test_every_personality_is_given_out_in_turn(bench: Bench) -> None:
    for number in range(1, 65536):
        assert call(bench, 9) == number
    assert refusal(bench, 9) == errno.EBUSY
    assert call(bench, 10, 0, 777) == 0
    assert call(bench, 9) == 777


async def test_registered_rings_go_with_the_thread(bench: Bench) -> None:
    caller = bench.host.caller(100, 0, 0)
    description = RegularFile(b"")
    bench.context.registered_rings(caller)[0] = RegisteredRing(bench.context, FakeFile(description))
    assert await bench.enter(0, flags=IORING_ENTER_REGISTERED_RING) == 0
    await trio.testing.wait_all_tasks_blocked()
    bench.thread.exit()
    await trio.testing.wait_all_tasks_blocked()
    with pytest.raises(UringError) as caught:
        bench.context.check_registered(caller)
    assert caught.value.errno == errno.EBADF


async def test_a_wait_region_whose_memory_has_gone(nursery: trio.Nursery) -> None:
    bench = Bench(nursery, flags=IORING_SETUP_R_DISABLED)
    memory = bench.thread.memory
    memory.map(0x50000, 4096)
    memory.put(ARG, Struct("<QQQQ").pack(ARG + 64, 1, 0, 0))
    memory.put(ARG + 64, Struct("<QQIIQ32x").pack(0x50000, 4096, 1, 0, 0))
    assert call(bench, 34, ARG, 1) == 0
    assert call(bench, 12) == 0
    memory.unmap(0x50000, 4096)
    with pytest.raises(UringError) as caught:
        await bench.enter(0, 1, IORING_ENTER_EXT_ARG | IORING_ENTER_EXT_ARG_REG, 0, 64)
    assert caught.value.errno == errno.EFAULT


def resize(bench: Bench, entries: int, cq: int = 0) -> int:
    flags = 8 if cq else 0  # IORING_SETUP_CQSIZE
    bench.thread.memory.put(ARG, PARAMS.pack(*Params(entries, cq, flags)))
    result = call(bench, 33, ARG, 1)
    bench.client.geometry = bench.ring.geometry
    return result


async def test_sizes_at_random_keep_what_is_queued(nursery: trio.Nursery) -> None:
    bench = Bench(nursery, flags=DEFER)
    rng, expected, number = random.Random(5), [], 0
    for _ in range(300):
        batch = rng.randrange(bench.ring.geometry.sq_entries + 1)
        await bench.submit(*(nop(number + i) for i in range(batch)))
        expected += range(number, number + batch)
        number += batch
        assert outcome(resize, bench, 1 << rng.randrange(6), 1 << rng.randrange(6, 8)) in (0, -errno.EOVERFLOW)
        got = [cqe.user_data for cqe in bench.client.reap(rng.randrange(100))]
        assert got == expected[: len(got)]
        del expected[: len(got)]
        await bench.enter(0, 0)
        bench.ring.flush()
    assert number > 1000


async def test_a_head_that_lies_is_no_reason_to_resize(nursery: trio.Nursery) -> None:
    bench = Bench(nursery, flags=DEFER)
    bench.ring.memory.store(8, 12345)  # cq.head
    with pytest.raises(UringError) as caught:
        resize(bench, 16)
    assert caught.value.errno == errno.EOVERFLOW
    bench.ring.memory.store(8, 0)
    await bench.submit(nop(1))
    assert bench.client.results() == [(1, 0)]


@settings(max_examples=300, deadline=None)
@given(
    opcode=st.sampled_from(sorted(REGISTER)) | st.integers(0, (1 << 32) - 1),
    arg=st.sampled_from([0, 8, ARG, ARG + 4096 - 4, 1 << 47, (1 << 64) - 1]),
    nr_args=st.integers(0, 70) | st.integers(0, (1 << 32) - 1),
    data=st.binary(min_size=256, max_size=256) | st.just(bytes(256)),
)
async def test_hostile_arguments(opcode: int, arg: int, nr_args: int, data: bytes) -> None:
    async with trio.open_nursery() as nursery:
        bench = Bench(nursery)
        bench.thread.memory.put(ARG, data * 16)
        assert outcome(call, bench, opcode, arg, nr_args) > -134
        bench.thread.exit()
