"""WAITID on the fake host, with a client that does its part by hand."""

import errno
import os

import pytest
from trio.testing import MockClock, wait_all_tasks_blocked

from tests.unit.support import Bench
from uringfs.abi.constants import IOSQE_IO_LINK
from uringfs.abi.control import ENTRY, URINGFS_DESCRIPTOR_WAIT, URINGFS_ENTER_FETCHES, URINGFS_ENTER_WAITS
from uringfs.abi.structs import TIMESPEC, Sqe
from uringfs.host.protocols import Caller

INFO, TS = 0x10000, 0x20000
PID = 4711
CLD_EXITED, SIGCHLD = 1, 17


def waitid(
    user_data: int, which: int = os.P_PID, number: int = PID, options: int = os.WEXITED, flags: int = 0
) -> Sqe:
    return Sqe(50, flags, fd=number, len=which, file_index=options, off=INFO, user_data=user_data)


def cancel(user_data: int) -> Sqe:
    return Sqe(14, fd=-1, addr=user_data, user_data=99)


class Client:
    """What contrib/uringfs.h does."""

    def __init__(self, bench: Bench) -> None:
        self.bench = bench
        bench.thread.can = URINGFS_ENTER_FETCHES | URINGFS_ENTER_WAITS
        bench.thread.memory.put(INFO, b"\xee" * 128)
        bench.thread.memory.put(TS, TIMESPEC.pack(1, 0))

    def caller(self) -> Caller:
        return self.bench.host.caller(self.bench.thread.tid, 0, 0)

    async def asked(self) -> list[tuple[int, ...]]:
        """(id, which, number, options) of each WAIT."""
        entries = await self.bench.context.deliveries.fetch(self.caller(), -1, 16)
        found = list(ENTRY.iter_unpack(entries))
        assert all(what == URINGFS_DESCRIPTOR_WAIT for _, _, what, *_ in found)
        return [(number, which, res, options) for number, res, _, which, options, *_ in found]

    async def answer(self, number: int, res: int = 0, pid: int = 0, status: int = 0) -> None:
        code = CLD_EXITED if pid else 0
        entry = ENTRY.pack(number, res, URINGFS_DESCRIPTOR_WAIT, 0, 0, code, pid, 1000 if pid else 0, status)
        await self.bench.context.deliveries.report(self.caller(), entry)

    async def nothing_yet(self) -> None:
        ((number, *_),) = await self.asked()
        await self.answer(number)

    def info(self) -> tuple[int, ...]:
        """si_signo, si_pid, si_status"""
        data = self.bench.thread.memory.read(INFO, 28)
        return tuple(int.from_bytes(data[at : at + 4], "little") for at in (0, 16, 24))

    def quiet(self) -> bool:
        """Nothing is kept for a request any more."""
        deliveries = self.bench.context.deliveries
        kept = (deliveries._all, deliveries._ready, deliveries._awaiting_enter, deliveries._unattended)
        return not self.bench.host.children.watches and not any(kept)


@pytest.fixture
def client(bench: Bench) -> Client:
    return Client(bench)


async def test_a_child_that_has_ended(bench: Bench, client: Client) -> None:
    await bench.submit(waitid(1))
    ((number, which, upid, options),) = await client.asked()
    assert (which, upid, options) == (os.P_PID, PID, os.WEXITED | os.WNOHANG)
    assert bench.client.results() == []
    await client.answer(number, pid=PID, status=7)
    assert bench.client.results() == [(1, 0)]
    assert client.info() == (SIGCHLD, PID, 7)
    assert client.quiet()


async def test_it_waits_for_news_and_asks_again(bench: Bench, client: Client) -> None:
    await bench.submit(waitid(1))
    await client.nothing_yet()
    assert await client.asked() == []
    assert client.info()[0] == 0xEEEEEEEE
    bench.host.children.news()
    await client.nothing_yet()  # in vain
    bench.host.children.news()
    ((number, *_),) = await client.asked()
    await client.answer(number, pid=PID)
    assert bench.client.results() == [(1, 0)]


async def test_while_it_waits_enters_have_nothing_to_fetch(bench: Bench, client: Client) -> None:
    await bench.submit(waitid(1), waitid(2))
    assert bench.context.deliveries.needs_fetch(bench.thread.tid)
    for number, *_ in await client.asked():
        await client.answer(number)
    assert not bench.context.deliveries.needs_fetch(bench.thread.tid)
    bench.host.children.news()
    assert bench.context.deliveries.needs_fetch(bench.thread.tid)


async def test_news_while_the_client_is_at_it(bench: Bench, client: Client) -> None:
    await bench.submit(waitid(1))
    ((number, *_),) = await client.asked()
    bench.host.children.news()
    assert await client.asked() == []
    await client.answer(number)  # it had looked before
    ((number, *_),) = await client.asked()
    await client.answer(number, pid=PID)
    assert bench.client.results() == [(1, 0)]


@pytest.mark.parametrize("when", ["asked", "waiting"])
async def test_cancelled(bench: Bench, client: Client, when: str) -> None:
    await bench.submit(waitid(1))
    if when == "waiting":
        await client.nothing_yet()
    await bench.submit(cancel(1))
    assert bench.client.results() == [(99, 1), (1, -errno.ECANCELED)]
    assert client.info() == (0, 0, 0)
    assert await client.asked() == []
    assert client.quiet()


@pytest.mark.parametrize("found", [0, PID])
async def test_cancelled_while_the_client_is_at_it(bench: Bench, client: Client, found: int) -> None:
    """It may have reaped the child: that is not lost."""
    await bench.submit(waitid(1))
    ((number, *_),) = await client.asked()
    await bench.submit(cancel(1))
    assert bench.client.results() == [(99, -errno.ENOENT)]
    await client.answer(number, pid=found)
    assert bench.client.results() == [(1, 0 if found else -errno.ECANCELED)]
    assert client.quiet()


async def test_the_link_timeout_wins(bench: Bench, client: Client, mock_clock: MockClock) -> None:
    await bench.submit(waitid(1, flags=IOSQE_IO_LINK), Sqe(15, fd=-1, addr=TS, len=1, user_data=2))
    await client.nothing_yet()
    mock_clock.jump(1.1)
    await wait_all_tasks_blocked()
    assert bench.client.results() == [(2, 1), (1, -errno.ECANCELED)]
    assert client.quiet()


@pytest.mark.parametrize("when", ["asked", "taken", "waiting"])
@pytest.mark.parametrize("how", ["exit", "close"])
async def test_the_caller_or_the_ring_goes(bench: Bench, client: Client, when: str, how: str) -> None:
    await bench.submit(waitid(1))
    if when == "taken":
        await client.asked()
    if when == "waiting":
        await client.nothing_yet()
    if how == "close":
        bench.context.close()
    else:
        bench.thread.exit()
        await wait_all_tasks_blocked()
        # what of it could be stored is stored: nothing
        assert bench.client.results() == [(1, -errno.ECANCELED)]
    assert client.quiet()


async def test_wnohang(bench: Bench, client: Client) -> None:
    await bench.submit(waitid(1, options=os.WEXITED | os.WNOHANG))
    await client.nothing_yet()
    assert bench.client.results() == [(1, 0)]
    assert client.info() == (0, 0, 0)


async def test_errors_of_the_client(bench: Bench, client: Client) -> None:
    await bench.submit(waitid(1))
    ((number, *_),) = await client.asked()
    await client.answer(number, -errno.ECHILD)
    assert bench.client.results() == [(1, -errno.ECHILD)]
    assert client.info() == (0, 0, 0)


async def test_infop_that_cannot_be_stored_to(bench: Bench, client: Client) -> None:
    bench.thread.memory.unmap(INFO, 128)
    await bench.submit(waitid(1))
    ((number, *_),) = await client.asked()
    await client.answer(number, pid=PID)
    assert bench.client.results() == [(1, -errno.EFAULT)]


async def test_a_pidfd_is_looked_at_once(bench: Bench, client: Client) -> None:
    bench.thread.pidfds = {3: (PID, False), 4: (0, False), 5: (PID, True)}
    await bench.submit(waitid(1, os.P_PIDFD, 3))
    bench.thread.pidfds.clear()
    ((number, which, upid, _),) = await client.asked()
    assert (which, upid) == (os.P_PID, PID)
    await client.answer(number, pid=PID)
    bench.thread.pidfds = {4: (0, False), 5: (PID, True)}
    await bench.submit(waitid(2, os.P_PIDFD, 4), waitid(3, os.P_PIDFD, 5), waitid(4, os.P_PIDFD, 6))
    await client.nothing_yet()
    assert bench.client.results() == [(1, 0), (2, -errno.ECHILD), (4, -errno.EBADF), (3, 0)]
    assert client.quiet()


async def test_clients_that_do_not_wait(bench: Bench, client: Client) -> None:
    bench.thread.can = URINGFS_ENTER_FETCHES
    await bench.submit(waitid(1), waitid(2, options=0))
    assert bench.client.results() == [(1, -errno.EOPNOTSUPP), (2, -errno.EINVAL)]
    bench.thread.can |= URINGFS_ENTER_WAITS
    await bench.submit(waitid(3))
    bench.thread.can = URINGFS_ENTER_FETCHES  # it says one thing here and another there
    assert await bench.context.deliveries.fetch(client.caller(), -1, 4) == b""
    assert bench.client.results() == [(3, -errno.EOPNOTSUPP)]
    assert client.quiet()


async def test_hostile_answers(bench: Bench, client: Client) -> None:
    for res, pid in ((5, 0), (1 << 30, 7), (-(1 << 31), 1), (0, -1)):
        await bench.submit(waitid(1))
        ((number, *_),) = await client.asked()
        await client.answer(number, res, pid)
    assert [res for _, res in bench.client.results()] == [-(1 << 31), 0]
    bench.context.close()
    assert client.quiet()


async def test_hostile_fields(bench: Bench, client: Client) -> None:
    sizes = {"ioprio": 16, "fd": 31, "off": 64, "addr": 64, "len": 32, "rw_flags": 32, "buf_index": 16,
             "file_index": 32, "addr3": 64}  # fmt: skip
    for field, size in sizes.items():
        for bit in range(size):
            await bench.submit(waitid(1)._replace(**{field: 1 << bit}))
            for number, *_ in await client.asked():
                await client.answer(number, -errno.ECHILD)
    assert client.quiet()
