"""What holds for every opcode of the table, whatever becomes of its request: one CQE that is the last, in its
time or out of the backlog, and nothing left open. Cancelled behind every step, the caller gone, the ring closed,
the CQ full."""

import errno
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from struct import Struct

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from tests.fakehost.files import RegularFile, Sink, Stream
from tests.unit.support import Bench, nop
from uringfs.abi.constants import (
    IORING_CQE_F_MORE,
    IORING_ENTER_GETEVENTS,
    IORING_SETUP_SQE_MIXED,
    IOSQE_BUFFER_SELECT,
    IOSQE_IO_LINK,
    OPCODES,
)
from uringfs.abi.structs import IOVEC, TIMESPEC, Cqe, Sqe
from uringfs.ops.events.futex import FUTEX_WAITV
from uringfs.ops.table import TABLE
from uringfs.register.table import register

REGISTER_BUFFERS, REGISTER_FILES = 0, 2
FILE, STREAM, FULL, EMPTY = 3, 4, 5, 7
"""Descriptors: a file, a stream and a sink for which a request has to wait, nothing."""
BUFFER, VECTOR, NAME, FIXED, WORD, FUTEXES, TIME, ARG = range(0x10000, 0x90000, 0x10000)
AT_FDCWD = -100
U32_PRIVATE = 2 | 128
ALL = 0xFFFFFFFF
STEPS = 12
"""More than any request on the fake host takes to its end, if nothing keeps it waiting."""


def sqe(name: str, flags: int = 0, **fields: int) -> Sqe:
    return Sqe(OPCODES.index(name), flags, **{"fd": FILE, "user_data": 1, **fields})


def path(name: str, **fields: int) -> Sqe:
    return sqe(name, **{"fd": AT_FDCWD, "addr": NAME, **fields})


def selecting(request: Sqe) -> Sqe:
    return request._replace(flags=request.flags | IOSQE_BUFFER_SELECT, buf_index=1)


MOVES = {"addr": BUFFER, "len": 8}
SCENARIOS: dict[str, tuple[Sqe, ...]] = {
    "NOP": (sqe("NOP"),),
    "READV": (sqe("READV", addr=VECTOR, len=1), sqe("READV", fd=STREAM, addr=VECTOR, len=1)),
    "WRITEV": (sqe("WRITEV", addr=VECTOR, len=1), sqe("WRITEV", fd=FULL, addr=VECTOR, len=1)),
    "FSYNC": (sqe("FSYNC"),),
    "READ_FIXED": (sqe("READ_FIXED", addr=FIXED, len=8), sqe("READ_FIXED", fd=STREAM, addr=FIXED, len=8)),
    "WRITE_FIXED": (sqe("WRITE_FIXED", addr=FIXED, len=8), sqe("WRITE_FIXED", fd=FULL, addr=FIXED, len=8)),
    "POLL_ADD": (sqe("POLL_ADD", fd=STREAM, rw_flags=1), sqe("POLL_ADD", fd=STREAM, rw_flags=1, len=1)),
    "POLL_REMOVE": (sqe("POLL_REMOVE", fd=-1, addr=99),),
    "SYNC_FILE_RANGE": (sqe("SYNC_FILE_RANGE"),),
    "TIMEOUT": (sqe("TIMEOUT", fd=-1, addr=TIME, len=1), sqe("TIMEOUT", fd=-1, addr=TIME, len=1, off=9)),
    "TIMEOUT_REMOVE": (sqe("TIMEOUT_REMOVE", fd=-1, addr=99),),
    "ASYNC_CANCEL": (sqe("ASYNC_CANCEL", fd=-1, addr=99),),
    "LINK_TIMEOUT": (sqe("LINK_TIMEOUT", fd=-1, addr=TIME, len=1),),
    "FALLOCATE": (sqe("FALLOCATE", addr=8),),
    "OPENAT": (path("OPENAT"), path("OPENAT", file_index=2)),
    "CLOSE": (sqe("CLOSE"), sqe("CLOSE", fd=0, file_index=1)),
    "FILES_UPDATE": (sqe("FILES_UPDATE", fd=-1, addr=ARG, len=1),),
    "STATX": (path("STATX", off=BUFFER),),
    "READ": (sqe("READ", **MOVES), sqe("READ", fd=STREAM, **MOVES), selecting(sqe("READ", fd=STREAM))),
    "WRITE": (sqe("WRITE", **MOVES), sqe("WRITE", fd=FULL, **MOVES)),
    "FADVISE": (sqe("FADVISE"),),
    "MADVISE": (sqe("MADVISE", fd=-1, addr=BUFFER, len=4096, rw_flags=3),),
    "OPENAT2": (path("OPENAT2", off=ARG, len=24), path("OPENAT2", off=ARG, len=24, file_index=2)),
    "PROVIDE_BUFFERS": (sqe("PROVIDE_BUFFERS", fd=2, addr=BUFFER, len=8, buf_index=2),),
    "REMOVE_BUFFERS": (sqe("REMOVE_BUFFERS", fd=1, buf_index=1),),
    "RENAMEAT": (path("RENAMEAT", off=NAME, len=AT_FDCWD & 0xFFFFFFFF),),
    "UNLINKAT": (path("UNLINKAT"),),
    "MKDIRAT": (path("MKDIRAT", len=0o755),),
    "SYMLINKAT": (path("SYMLINKAT", off=NAME),),
    "LINKAT": (path("LINKAT", off=NAME, len=AT_FDCWD & 0xFFFFFFFF),),
    "FSETXATTR": (sqe("FSETXATTR", addr=NAME, off=BUFFER, len=3),),
    "SETXATTR": (path("SETXATTR", addr3=NAME, off=BUFFER, len=3),),
    "FGETXATTR": (sqe("FGETXATTR", addr=NAME, off=BUFFER, len=9),),
    "GETXATTR": (path("GETXATTR", addr3=NAME, off=BUFFER, len=9),),
    "READ_MULTISHOT": (selecting(sqe("READ_MULTISHOT", fd=STREAM)),),
    "FUTEX_WAIT": (sqe("FUTEX_WAIT", fd=U32_PRIVATE, addr=WORD, addr3=ALL),),
    "FUTEX_WAKE": (sqe("FUTEX_WAKE", fd=U32_PRIVATE, addr=WORD, off=1, addr3=ALL),),
    "FUTEX_WAITV": (sqe("FUTEX_WAITV", fd=0, addr=FUTEXES, len=1),),
    "FTRUNCATE": (sqe("FTRUNCATE", off=5),),
    "READV_FIXED": (sqe("READV_FIXED", addr=VECTOR, len=1), sqe("READV_FIXED", fd=STREAM, addr=VECTOR, len=1)),
    "NOP128": (sqe("NOP128"),),
    "WRITEV_FIXED": (sqe("WRITEV_FIXED", addr=VECTOR, len=1), sqe("WRITEV_FIXED", fd=FULL, addr=VECTOR, len=1)),
}
"""By opcode: requests that are taken; each that can has one that waits."""
CASES = [pytest.param(case, id=f"{name}-{n}") for name, cases in SCENARIOS.items() for n, case in enumerate(cases)]


class World(Bench):
    """A bench with all that the scenarios use."""

    def __init__(self, nursery: trio.Nursery) -> None:
        super().__init__(nursery, flags=IORING_SETUP_SQE_MIXED)
        thread, memory = self.thread, self.thread.memory
        self.files = RegularFile(b"0123456789"), Stream(), Sink(0)
        self.files[0].writable = True
        thread.fds.update(zip((FILE, STREAM, FULL), self.files, strict=True))
        for address in (BUFFER, FIXED, WORD):
            memory.map(address, 4096)
        memory.put(NAME, b"user.name\0")
        memory.put(TIME, TIMESPEC.pack(3600, 0))
        memory.put(FUTEXES, FUTEX_WAITV.pack(0, WORD, U32_PRIVATE, 0))
        memory.put(ARG, bytes(24))
        thread.answers = {name: (0, bytes(256)) for name in PATH_CALLS} | dict.fromkeys(OPENS, errno.ENOENT)
        self.register(REGISTER_FILES, memory.put(VECTOR, Struct("<3i").pack(FILE, FILE, -1)), 3)
        self.register(REGISTER_BUFFERS, memory.put(VECTOR, IOVEC.pack(FIXED, 4096)), 1)
        memory.put(VECTOR, IOVEC.pack(FIXED, 8))  # within the registered buffer, too
        self.opens = [file.opens for file in self.files]

    def register(self, opcode: int, arg: int, nr_args: int) -> None:
        caller = self.host.caller(self.thread.tid, self.thread.uid, self.thread.gid)
        assert register(self.context, caller, opcode, arg, nr_args) >= 0

    async def begin(self, case: Sqe) -> int:
        """Submit it, with what it cannot do without: how many final CQEs are due."""
        name = OPCODES[case.opcode]
        if name == "LINK_TIMEOUT":
            return await self.submit(sqe("READ", IOSQE_IO_LINK, fd=STREAM, user_data=2, **MOVES), case)
        if name.endswith("128"):
            return await self.submit(case, Sqe(0)) // 2
        return await self.submit(case)

    def cancel_all(self) -> None:
        for request in self.context.pending_requests():
            if request in self.context.pending_requests():  # the last one's end may have been its end, too
                self.context.cancel(request)

    def assert_over(self, cqes: list[Cqe], due: int) -> None:
        final = [cqe.user_data for cqe in cqes if not cqe.flags & IORING_CQE_F_MORE]
        assert sorted(final) == list(range(1, due + 1))
        self.assert_nothing_left()

    def assert_nothing_left(self) -> None:
        assert not self.context.pending
        assert [file.opens for file in self.files] <= self.opens  # CLOSE may have emptied a slot


PATH_CALLS = (
    *("statx", "renameat2", "unlinkat", "mkdirat", "symlinkat", "linkat"),
    *("setxattr", "getxattr", "fsetxattr", "fgetxattr"),
)
OPENS = "openat", "openat2"


@asynccontextmanager
async def a_world() -> AsyncIterator[World]:
    async with trio.open_nursery() as nursery:
        world = World(nursery)
        await world.submit(sqe("PROVIDE_BUFFERS", fd=4, addr=BUFFER, len=8, buf_index=1))
        world.client.reap()
        yield world
        world.context.close()
        world.thread.exit()


def test_every_opcode_has_a_scenario() -> None:
    """Opcodes on sockets, pipes and epoll instances take real ones: test_every_op_real."""
    from tests.unit.ops.test_every_op_real import SCENARIOS as REAL

    there = {op.name for op in TABLE if op.support in ("full", "partial")}
    assert there == set(SCENARIOS) | set(REAL)


@pytest.mark.parametrize("case", CASES)
async def test_cancelled_behind_every_step(case: Sqe, autojump_clock: MockClock) -> None:
    for steps in range(STEPS):
        async with a_world() as world:
            due = await world.begin(case)
            for _ in range(steps):
                await trio.lowlevel.checkpoint()
            world.cancel_all()
            await wait_all_tasks_blocked()
            world.assert_over(world.client.reap(), due)


@pytest.mark.parametrize("case", CASES)
async def test_the_caller_goes_behind_every_step(case: Sqe, autojump_clock: MockClock) -> None:
    for steps in range(STEPS):
        async with a_world() as world:
            due = await world.begin(case)
            for _ in range(steps):
                await trio.lowlevel.checkpoint()
            world.thread.exit()
            await wait_all_tasks_blocked()
            assert all(request.outlives for request in world.context.pending_requests())
            world.cancel_all()
            await wait_all_tasks_blocked()
            world.assert_over(world.client.reap(), due)


@pytest.mark.parametrize("case", CASES)
async def test_the_ring_is_closed_behind_every_step(case: Sqe, autojump_clock: MockClock) -> None:
    for steps in range(STEPS):
        async with a_world() as world:
            await world.begin(case)
            for _ in range(steps):
                await trio.lowlevel.checkpoint()
            before = world.client.reap()
            world.context.close()
            await wait_all_tasks_blocked()
            assert world.client.reap() == []
            assert len(before) <= 2
            assert all(file.opens == 0 for file in world.files)


@pytest.mark.parametrize("case", CASES)
async def test_a_full_cq_loses_nothing(case: Sqe, autojump_clock: MockClock) -> None:
    async with a_world() as world:
        for _ in range(world.ring.cq.entries // 8):
            await world.submit(*(nop(99) for _ in range(8)))
        due = await world.begin(case)
        await wait_all_tasks_blocked()
        world.cancel_all()
        await wait_all_tasks_blocked()
        assert {cqe.user_data for cqe in world.client.reap()} == {99}
        await world.enter(0, flags=IORING_ENTER_GETEVENTS)
        world.assert_over(world.client.reap(), due)


WAITS: tuple[tuple[Sqe, Callable[[World], object]], ...] = tuple(
    (case, end)
    for name, fd, end in (
        ("READV", STREAM, lambda world: world.files[1].feed(b"12345678")),
        ("READ", STREAM, lambda world: world.files[1].feed(b"12345678")),
        ("READ_FIXED", STREAM, lambda world: world.files[1].feed(b"12345678")),
        ("POLL_ADD", STREAM, lambda world: world.files[1].feed(b"12345678")),
    )
    for case in SCENARIOS[name]
    if case.fd == fd and not case.flags and not (name == "POLL_ADD" and case.len)
)


@pytest.mark.parametrize(("case", "end"), WAITS)
async def test_what_it_waits_for_and_its_cancellation_at_once(
    case: Sqe, end: Callable[[World], object], autojump_clock: MockClock
) -> None:
    for steps in range(STEPS):
        async with a_world() as world:
            due = await world.begin(case)
            await wait_all_tasks_blocked()
            assert world.context.pending
            end(world)
            for _ in range(steps):
                await trio.lowlevel.checkpoint()
            world.cancel_all()
            await wait_all_tasks_blocked()
            cqes = world.client.reap()
            world.assert_over(cqes, due)
            assert cqes[0].res != 0
