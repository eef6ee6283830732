"""A thread that executes another program: what it has submitted ends, as io_uring_task_cancel() has it, and
nothing of it meets the next program."""

import errno

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from tests.fakehost.files import FakeFile, RegularFile, Stream
from tests.unit.support import Bench, nop, readv
from uringfs.abi.constants import IOSQE_IO_DRAIN, IOSQE_IO_LINK, OPCODES
from uringfs.abi.structs import Sqe
from uringfs.engine.request import RegisteredRing
from uringfs.errors import UringError

ADDRESS, DATA = 0x1000, 0x2000
TIMEOUT, POLL_ADD = OPCODES.index("TIMEOUT"), OPCODES.index("POLL_ADD")
POLLIN = 1


@pytest.fixture
def reading(bench: Bench) -> Sqe:
    """A read of an empty pipe."""
    bench.thread.fds[0] = Stream()
    bench.thread.memory.map(ADDRESS, 0x2000)
    bench.thread.memory.put(ADDRESS, DATA.to_bytes(8, "little") + (16).to_bytes(8, "little"))
    return readv(0, ADDRESS, 1, user_data=1)


async def test_what_waits_is_cancelled(bench: Bench, reading: Sqe) -> None:
    poll = Sqe(POLL_ADD, fd=0, user_data=2, rw_flags=POLLIN)
    timeout = Sqe(TIMEOUT, addr=DATA, len=1, user_data=3)
    bench.thread.memory.put(DATA, (3600).to_bytes(8, "little") + bytes(8))
    await bench.submit(reading, poll, timeout)
    await wait_all_tasks_blocked()
    bench.thread.exec()
    await wait_all_tasks_blocked()
    assert sorted(bench.client.results()) == [(n, -errno.ECANCELED) for n in (1, 2, 3)]
    assert not bench.context.pending


async def test_what_is_behind_is_cancelled_with_it(bench: Bench, reading: Sqe) -> None:
    await bench.submit(reading._replace(flags=IOSQE_IO_LINK), nop(2), nop(3, IOSQE_IO_DRAIN))
    bench.thread.exec()
    await wait_all_tasks_blocked()
    assert sorted(bench.client.results()) == [(n, -errno.ECANCELED) for n in (1, 2, 3)]


async def test_a_link_does_not_find_the_next_programs_descriptors(bench: Bench, reading: Sqe) -> None:
    """The head completes before anybody has heard of the exec."""
    secret = bench.thread.fds[5] = RegularFile(b"secret")
    pipe = bench.thread.fds[0]
    assert isinstance(pipe, Stream)
    await bench.submit(reading._replace(flags=IOSQE_IO_LINK), readv(5, ADDRESS, 1, user_data=2))
    await wait_all_tasks_blocked()
    pipe.feed(b"x")
    bench.thread.exec()
    await wait_all_tasks_blocked()
    assert bench.client.results()[-1] == (2, -errno.ECANCELED)
    assert secret.position == 0


async def test_registered_rings_go(bench: Bench) -> None:
    caller = bench.host.caller(100, 1000, 1000)
    bench.context.registered_rings(caller)[0] = RegisteredRing(bench.context, FakeFile(RegularFile(b"")))
    bench.context.check_registered(caller)
    bench.thread.exec()
    with pytest.raises(UringError) as caught:
        bench.context.check_registered(bench.host.caller(100, 1000, 1000))
    assert caught.value.errno == errno.EINVAL
    await wait_all_tasks_blocked()


async def test_others_go_on(bench: Bench, reading: Sqe) -> None:
    other = bench.host.thread(101)
    other.fds, other.memory = bench.thread.fds, bench.thread.memory
    await bench.submit(reading, thread=other)
    await bench.submit(reading._replace(user_data=2))
    await wait_all_tasks_blocked()
    bench.thread.exec()
    with trio.fail_after(5):
        await wait_all_tasks_blocked()
    assert bench.client.results() == [(2, -errno.ECANCELED)]
    assert len(bench.context.pending) == 1
