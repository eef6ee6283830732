"""Ops on paths and descriptors over the fake host: what is asked for, in whose name, and every await cancelled."""

import errno
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

import pytest
import trio
import trio.testing

from tests.fakehost.files import RegularFile
from tests.unit.support import Bench
from uringfs.abi.constants import IOSQE_IO_LINK, OPCODES
from uringfs.abi.control import DESCRIPTOR, URINGFS_DESCRIPTOR_CLOSE, URINGFS_DESCRIPTOR_NEW
from uringfs.abi.structs import Sqe
from uringfs.host.protocols import Caller, Out

AT_FDCWD = -100
NAME, SECOND, OUT = 0x10000, 0x20000, 0x30000
SOCK = 7


def sqe(op: str, **fields: int) -> Sqe:
    return Sqe(OPCODES.index(op), **{"fd": AT_FDCWD, "addr": NAME, **fields})


@asynccontextmanager
async def a_bench() -> AsyncIterator[Bench]:
    async with trio.open_nursery() as nursery:
        bench = Bench(nursery)
        bench.thread.memory.put(NAME, b"/some/name\0")
        bench.thread.memory.put(SECOND, b"user.a\0")
        bench.thread.memory.map(OUT, 4096)
        bench.thread.fds[SOCK] = RegularFile(b"")
        yield bench
        bench.context.close()
        bench.thread.exit()


def caller(bench: Bench) -> Caller:
    return bench.host.caller(bench.thread.tid, bench.thread.uid, bench.thread.gid)


def opened() -> int:
    return os.open("/dev/null", os.O_RDONLY | os.O_CLOEXEC)


def is_open(fd: int) -> bool:
    with suppress(OSError):
        os.fstat(fd)
        return True
    return False


CALLS = (
    (sqe("UNLINKAT"), "unlinkat", (AT_FDCWD, b"/some/name", 0)),
    (sqe("MKDIRAT", len=0o1700), "mkdirat", (AT_FDCWD, b"/some/name", 0o1700)),
    (sqe("SYMLINKAT", off=SECOND), "symlinkat", (b"/some/name", AT_FDCWD, b"user.a")),
    (
        sqe("RENAMEAT", off=SECOND, len=AT_FDCWD & 0xFFFFFFFF, rw_flags=1),
        "renameat2",
        (AT_FDCWD, b"/some/name", AT_FDCWD, b"user.a", 1),
    ),
    (
        sqe("LINKAT", off=SECOND, len=AT_FDCWD & 0xFFFFFFFF, rw_flags=0x400),
        "linkat",
        (AT_FDCWD, b"/some/name", AT_FDCWD, b"user.a", 0x400),
    ),
    (sqe("STATX", off=OUT, len=0x7FF), "statx", (AT_FDCWD, b"/some/name", 0, 0x7FF, Out(256))),
    (sqe("GETXATTR", addr=SECOND, addr3=NAME, off=OUT, len=9), "getxattr", (b"/some/name", b"user.a", Out(9), 9)),
    (
        sqe("SETXATTR", addr=SECOND, addr3=NAME, off=NAME, len=3, rw_flags=1),
        "setxattr",
        (b"/some/name", b"user.a", b"/so", 3, 1),
    ),
)
by_name = pytest.mark.parametrize(("entry", "name", "args"), CALLS, ids=[call[1] for call in CALLS])


@by_name
async def test_what_is_called(entry: Sqe, name: str, args: tuple[object, ...]) -> None:
    async with a_bench() as bench:
        bench.thread.answers[name] = (3 if name == "getxattr" else 0, b"val" * 90)
        assert await bench.submit(entry._replace(user_data=1)) == 1
        await trio.testing.wait_all_tasks_blocked()
        assert bench.client.results() == [(1, 3 if name == "getxattr" else 0)]
        assert bench.thread.calls == [(name, *args)]
        if name == "getxattr":
            assert bench.thread.memory.read(OUT, 4) == b"val\0"


@by_name
async def test_a_failure_is_the_result(entry: Sqe, name: str, args: tuple[object, ...]) -> None:
    async with a_bench() as bench:
        bench.thread.answers[name] = errno.EROFS
        await bench.submit(entry._replace(user_data=1))
        await trio.testing.wait_all_tasks_blocked()
        assert bench.client.results() == [(1, -errno.EROFS)]


@by_name
async def test_cancelled_while_it_is_called(entry: Sqe, name: str, args: tuple[object, ...]) -> None:
    async with a_bench() as bench:
        bench.thread.acting = trio.Event()
        await bench.submit(entry._replace(user_data=1))
        await trio.testing.wait_all_tasks_blocked()
        (request,) = bench.context.pending_requests()
        bench.context.cancel(request)
        await trio.testing.wait_all_tasks_blocked()
        assert bench.client.results() == [(1, -errno.ECANCELED)]


@by_name
async def test_the_caller_ends_while_it_is_called(entry: Sqe, name: str, args: tuple[object, ...]) -> None:
    async with a_bench() as bench:
        bench.thread.acting = trio.Event()
        await bench.submit(entry._replace(user_data=1))
        await trio.testing.wait_all_tasks_blocked()
        bench.thread.exit()
        await trio.testing.wait_all_tasks_blocked()
        assert bench.client.results() == [(1, -errno.ECANCELED)]
        assert bench.context.pending_requests() == []


async def test_a_buffer_that_is_gone_when_the_answer_comes() -> None:
    async with a_bench() as bench:
        bench.thread.acting = trio.Event()
        bench.thread.answers["statx"] = (0, bytes(256))
        await bench.submit(sqe("STATX", off=OUT, user_data=1))
        await trio.testing.wait_all_tasks_blocked()
        bench.thread.memory.unmap(OUT, 4096)
        bench.thread.acting.set()
        await trio.testing.wait_all_tasks_blocked()
        assert bench.client.results() == [(1, -errno.EFAULT)]


async def test_an_open_is_delivered() -> None:
    async with a_bench() as bench:
        fd = opened()
        bench.thread.answers["openat2"] = (fd, b"")
        await bench.submit(sqe("OPENAT", user_data=1))
        deliveries = bench.context.deliveries
        entries = await deliveries.fetch(caller(bench), SOCK, 4)
        ((number, res, what),) = DESCRIPTOR.iter_unpack(entries)
        assert (res, what) == (-1, URINGFS_DESCRIPTOR_NEW)
        assert bench.thread.sent == [fd]
        assert bench.client.results() == []
        await deliveries.report(caller(bench), DESCRIPTOR.pack(number, 42, 0))
        assert bench.client.results() == [(1, 42)]
        assert not is_open(fd)


async def test_an_open_is_cancelled_before_it_is_fetched() -> None:
    async with a_bench() as bench:
        fd = opened()
        bench.thread.answers["openat2"] = (fd, b"")
        await bench.submit(sqe("OPENAT", user_data=1))
        await trio.testing.wait_all_tasks_blocked()
        assert bench.context.deliveries.any_ready()
        (request,) = bench.context.pending_requests()
        bench.context.cancel(request)
        await trio.testing.wait_all_tasks_blocked()
        assert bench.client.results() == [(1, -errno.ECANCELED)]
        assert not is_open(fd)
        assert not bench.context.deliveries.any_ready()


async def test_an_open_is_cancelled_behind_its_fetch() -> None:
    async with a_bench() as bench:
        fd = opened()
        bench.thread.answers["openat2"] = (fd, b"")
        await bench.submit(sqe("OPENAT", user_data=1))
        entries = await bench.context.deliveries.fetch(caller(bench), SOCK, 4)
        bench.thread.exit()
        await trio.testing.wait_all_tasks_blocked()
        assert bench.client.results() == [(1, -errno.ECANCELED)]
        assert not is_open(fd)
        await bench.context.deliveries.report(caller(bench), entries)  # too late, and harmless


async def test_a_client_that_does_not_fetch_changes_nothing() -> None:
    async with a_bench() as bench:
        bench.thread.can = 0
        bench.thread.fds[5] = RegularFile(b"")
        await bench.submit(sqe("OPENAT", user_data=1), sqe("CLOSE", fd=5, addr=0, user_data=2))
        assert bench.client.results() == [(1, -errno.EOPNOTSUPP), (2, -errno.EOPNOTSUPP)]
        assert bench.thread.calls == []


async def test_a_close_is_asked_for() -> None:
    async with a_bench() as bench:
        bench.thread.fds[5] = RegularFile(b"")
        await bench.submit(sqe("CLOSE", fd=5, addr=0, user_data=2), sqe("CLOSE", fd=6, addr=0, user_data=3))
        entries = await bench.context.deliveries.fetch(caller(bench), -1, 4)
        ((number, res, what),) = DESCRIPTOR.iter_unpack(entries)
        assert (res, what) == (5, URINGFS_DESCRIPTOR_CLOSE)
        await bench.context.deliveries.report(caller(bench), DESCRIPTOR.pack(number, 0, 0))
        assert sorted(bench.client.results()) == [(2, 0), (3, -errno.EBADF)]


async def test_an_open_that_would_wait_is_tried_again() -> None:
    async with a_bench() as bench:
        fd = opened()
        bench.thread.answers |= {"openat2": errno.EAGAIN, "openat": (fd, b"")}
        await bench.submit(sqe("OPENAT"))
        await trio.testing.wait_all_tasks_blocked()
        assert [call[0] for call in bench.thread.calls] == ["openat2", "openat"]


async def test_a_fetch_waits_for_what_was_submitted_but_not_for_ever() -> None:
    async with a_bench() as bench:
        bench.thread.acting = trio.Event()
        await bench.submit(sqe("OPENAT"))
        deliveries = bench.context.deliveries
        assert deliveries.needs_fetch(bench.thread.tid)
        assert await deliveries.fetch(caller(bench), SOCK, 4) == b""
        assert not deliveries.needs_fetch(bench.thread.tid)


async def test_the_next_of_a_chain_is_for_the_same_fetch() -> None:
    async with a_bench() as bench:
        bench.thread.answers["openat2"] = (opened(), b"")
        await bench.submit(sqe("OPENAT", flags=IOSQE_IO_LINK, user_data=1), sqe("OPENAT", user_data=2))
        deliveries, group = bench.context.deliveries, bench.thread.tid
        ((number, _, _),) = DESCRIPTOR.iter_unpack(await deliveries.fetch(caller(bench), SOCK, 4))
        bench.thread.acting = trio.Event()  # the second takes its time
        bench.thread.answers["openat2"] = (opened(), b"")
        await deliveries.report(caller(bench), DESCRIPTOR.pack(number, 42, 0))
        assert deliveries.needs_fetch(group)
        assert not deliveries.unattended(group)
        bench.thread.acting.set()
        assert await deliveries.fetch(caller(bench), SOCK, 4) != b""
