"""What test_every_op asks of every opcode, of those that take real sockets, pipes and epoll instances: this
process is the caller."""

import ctypes
import errno
import itertools
import os
import select
import socket
import subprocess
from collections.abc import AsyncIterator
from contextlib import ExitStack, asynccontextmanager
from struct import Struct

import pytest
import trio

from tests.unit.support import Here, fill
from uringfs.abi.constants import (
    IORING_CQE_F_MORE,
    IORING_SETUP_SQE_MIXED,
    IOSQE_BUFFER_SELECT,
    IOSQE_FIXED_FILE,
    OPCODES,
)
from uringfs.abi.net import SOCKET_URING_OP_SIOCINQ, USER_MSGHDR
from uringfs.abi.structs import IOVEC, Sqe
from uringfs.host.local import LocalHost
from uringfs.register.table import register

REGISTER_FILES = 2
STEPS = 6
MULTISHOT = 2  # IORING_RECV_MULTISHOT
ADDRESS = Struct("<H108s")
# Where in the memory of the caller
BUFFER, VECTOR, HEADER, NAME, LENGTH, EVENT, FDS = range(0, 7 * 512, 512)


def sqe(name: str, fd: int, flags: int = 0, **fields: int) -> Sqe:
    return Sqe(OPCODES.index(name), flags, fd=fd, **{"user_data": 1, **fields})


class World(Here):
    """A ring and all that the scenarios use, and are closed with."""

    def __init__(self, nursery: trio.Nursery, stack: ExitStack, host: LocalHost) -> None:
        super().__init__(nursery, IORING_SETUP_SQE_MIXED, host)
        self.stack = stack
        self.memory = ctypes.create_string_buffer(8 * 512)
        self.quiet, self.full = self.pair()
        fill(self.full)
        self.inet = stack.enter_context(socket.create_server(("127.0.0.1", 0)))
        self.server = self.unix()
        self.server.bind(b"")  # a name of the kernel's choice
        self.server.listen(8)
        name = bytes(self.server.getsockname())
        self.reader, self.writer = self.pipe()[0], self.pipe()[1]
        self.epoll = stack.enter_context(select.epoll())
        self.put(NAME, ADDRESS.pack(socket.AF_UNIX, name))
        self.name_length = 2 + len(name)
        self.put(VECTOR, IOVEC.pack(self.at(BUFFER), 8))
        self.put(HEADER, USER_MSGHDR.pack(0, 0, 0, self.at(VECTOR), 1, 0, 0, 0))
        self.put(LENGTH, (110).to_bytes(4, "little"))
        self.put(EVENT, Struct("<IQ").pack(select.EPOLLIN, 7))
        self.put(FDS, Struct("<3i").pack(self.quiet.fileno(), -1, -1))
        caller = self.caller()
        assert register(self.context, caller, REGISTER_FILES, self.at(FDS), 3) == 0

    def unix(self) -> socket.socket:
        return self.stack.enter_context(socket.socket(socket.AF_UNIX))

    def pair(self) -> tuple[socket.socket, socket.socket]:
        ours, theirs = socket.socketpair()
        return self.stack.enter_context(ours), self.stack.enter_context(theirs)

    def pipe(self) -> tuple[int, int]:
        ends = os.pipe()
        for fd in ends:
            self.stack.callback(os.close, fd)
        return ends

    def child(self) -> "subprocess.Popen[bytes]":
        child = self.stack.enter_context(subprocess.Popen(["sleep", "60"]))
        self.stack.callback(child.kill)
        return child

    def at(self, offset: int) -> int:
        return ctypes.addressof(self.memory) + offset

    def put(self, offset: int, data: bytes) -> None:
        ctypes.memmove(self.at(offset), data, len(data))

    def scenarios(self) -> dict[str, tuple[Sqe, ...]]:
        """By opcode; each that can has one that waits."""
        quiet, full, server = self.quiet.fileno(), self.full.fileno(), self.server.fileno()
        buffer, header = {"addr": self.at(BUFFER), "len": 8}, {"addr": self.at(HEADER), "len": 1}
        connect = {"addr": self.at(NAME), "off": self.name_length}
        # the pair's far end has been filled, this one has nothing to be read but room
        spare = self.pair()[0].fileno()
        return {
            "SENDMSG": (sqe("SENDMSG", spare, **header), sqe("SENDMSG", full, **header)),
            "RECVMSG": (sqe("RECVMSG", spare, **header),),
            "ACCEPT": (sqe("ACCEPT", server), sqe("ACCEPT", server, file_index=2)),
            "CONNECT": (sqe("CONNECT", self.unix().fileno(), **connect),),
            "SEND": (sqe("SEND", spare, **buffer), sqe("SEND", full, **buffer)),
            "RECV": (
                sqe("RECV", spare, **buffer),
                sqe("RECV", spare, IOSQE_BUFFER_SELECT, ioprio=MULTISHOT, buf_index=1),
            ),
            "EPOLL_CTL": (sqe("EPOLL_CTL", self.epoll.fileno(), len=1, off=quiet, addr=self.at(EVENT)),),
            "SPLICE": (sqe("SPLICE", self.writer, file_index=self.reader, len=8, addr=ALL_ONES, off=ALL_ONES),),
            "TEE": (sqe("TEE", self.writer, file_index=self.reader, len=8),),
            "SHUTDOWN": (sqe("SHUTDOWN", spare, len=socket.SHUT_WR),),
            "MSG_RING": (sqe("MSG_RING", quiet),),
            "SOCKET": (
                sqe("SOCKET", socket.AF_UNIX, off=socket.SOCK_STREAM),
                sqe("SOCKET", socket.AF_UNIX, off=socket.SOCK_STREAM, file_index=2),
            ),
            "URING_CMD": (sqe("URING_CMD", self.inet.fileno(), off=SOCKET_URING_OP_SIOCINQ),),
            "SEND_ZC": (
                sqe("SEND_ZC", self.connected().fileno(), **buffer),
                sqe("SEND_ZC", self.connected(full=True).fileno(), **buffer),
            ),
            "SENDMSG_ZC": (
                sqe("SENDMSG_ZC", self.connected().fileno(), **header),
                sqe("SENDMSG_ZC", self.connected(full=True).fileno(), **header),
            ),
            "WAITID": (sqe("WAITID", self.child().pid, len=os.P_PID, file_index=os.WEXITED),),
            "FIXED_FD_INSTALL": (sqe("FIXED_FD_INSTALL", 0, IOSQE_FIXED_FILE),),
            "BIND": (sqe("BIND", self.unix().fileno(), addr=self.at(NAME), off=2),),
            "LISTEN": (sqe("LISTEN", self.unix().fileno(), len=1),),
            "EPOLL_WAIT": (sqe("EPOLL_WAIT", self.epoll.fileno(), addr=self.at(EVENT), len=1),),
            "PIPE": (sqe("PIPE", 0, addr=self.at(BUFFER)), sqe("PIPE", 0, addr=self.at(BUFFER), file_index=2)),
            "URING_CMD128": (sqe("URING_CMD128", self.inet.fileno(), off=SOCKET_URING_OP_SIOCINQ),),
        }

    def connected(self, full: bool = False) -> socket.socket:
        """A TCP socket: others have no zero-copy."""
        ours = self.stack.enter_context(socket.create_connection(self.inet.getsockname()))
        self.stack.enter_context(self.inet.accept()[0])
        if full:
            fill(ours)
        return ours

    async def begin(self, name: str, number: int) -> None:
        await self.submit(sqe("PROVIDE_BUFFERS", 4, addr=self.at(BUFFER), len=8, buf_index=1))
        self.client.reap()
        case = self.scenarios()[name][number]
        await self.submit(case, *([Sqe(0)] if name.endswith("128") else []))

    def cancel_all(self) -> None:
        for request in self.context.pending_requests():
            self.context.cancel(request)

    async def over(self) -> list[tuple[int, int]]:
        """(res, flags) up to the last, which nothing may follow."""
        found = [await self.cqe()]
        while found[-1][1] & IORING_CQE_F_MORE:
            found.append(await self.cqe())
        with trio.fail_after(10):
            while self.context.pending:
                await trio.lowlevel.checkpoint()
        assert self.client.reap() == []
        return found


ALL_ONES = (1 << 64) - 1
SCENARIOS = {
    **dict.fromkeys(("RECVMSG", "CONNECT", "EPOLL_CTL", "SPLICE", "TEE", "SHUTDOWN", "MSG_RING", "URING_CMD"), 1),
    **dict.fromkeys(("WAITID", "FIXED_FD_INSTALL", "BIND", "LISTEN", "EPOLL_WAIT", "URING_CMD128"), 1),
    **dict.fromkeys(("SENDMSG", "ACCEPT", "SEND", "RECV", "SOCKET", "SEND_ZC", "SENDMSG_ZC", "PIPE"), 2),
}
"""How many of World.scenarios() each opcode has."""
CASES = [pytest.param(name, n, id=f"{name}-{n}") for name, count in SCENARIOS.items() for n in range(count)]
WAITING = {
    *(("SENDMSG", 1), ("RECVMSG", 0), ("ACCEPT", 0), ("ACCEPT", 1), ("SEND", 1), ("RECV", 0), ("RECV", 1)),
    *(("SPLICE", 0), ("TEE", 0), ("EPOLL_WAIT", 0), ("WAITID", 0)),
}
"""Not those that send by TCP: a connection that is full may have room again before they are cancelled."""


@asynccontextmanager
async def a_world(host: LocalHost) -> AsyncIterator[World]:
    with ExitStack() as stack:
        async with trio.open_nursery() as nursery:
            world = World(nursery, stack, host)
            yield world
            world.context.close()
            nursery.cancel_scope.cancel()


@asynccontextmanager
async def a_host() -> AsyncIterator[LocalHost]:
    host = LocalHost()
    yield host
    host.actors.close()
    with trio.fail_after(10):
        while not host.actors.reap():
            await trio.lowlevel.checkpoint()


@pytest.fixture
async def host() -> AsyncIterator[LocalHost]:
    async with a_host() as host:
        yield host


async def test_the_scenarios_are_those_that_are_counted(host: LocalHost) -> None:
    async with a_world(host) as world:
        assert {name: len(cases) for name, cases in world.scenarios().items()} == SCENARIOS


@pytest.mark.parametrize(("name", "number"), CASES)
async def test_cancelled_behind_every_step(host: LocalHost, name: str, number: int) -> None:
    for steps in range(STEPS):
        async with a_world(host) as world:
            await world.begin(name, number)
            for _ in range(steps):
                await trio.lowlevel.checkpoint()
            world.cancel_all()
            found = await world.over()
            if (name, number) in WAITING:
                assert found[0][0] == -errno.ECANCELED


@pytest.mark.parametrize(("name", "number"), CASES)
async def test_the_ring_is_closed_behind_every_step(host: LocalHost, name: str, number: int) -> None:
    for steps in range(STEPS):
        async with a_world(host) as world:
            await world.begin(name, number)
            for _ in range(steps):
                await trio.lowlevel.checkpoint()
            world.client.reap()
            world.context.close()
            with trio.fail_after(10):  # those that have a task
                while any(request.scope is not None for request in world.context.pending):
                    await trio.lowlevel.checkpoint()
            assert world.client.reap() == []


def descriptors() -> int:
    return len(os.listdir("/proc/self/fd"))


@pytest.mark.parametrize(("name", "number"), CASES)
async def test_no_descriptor_is_left_open(host: LocalHost, name: str, number: int) -> None:
    """One that is would be in every turn. What the host keeps for the next is made once, in whichever turn needs
    it."""
    counts: list[int] = []
    for _ in range(4):
        async with a_world(host) as world:
            await world.begin(name, number)
            await trio.testing.wait_all_tasks_blocked()
            world.cancel_all()
            await world.over()
            world.context.close()
        with trio.move_on_after(1):  # a thread in splice(2) sees only now that its pipe has ended
            while counts and descriptors() > counts[-1]:
                await trio.lowlevel.checkpoint()
        counts.append(descriptors())
    assert any(after <= before for before, after in itertools.pairwise(counts[1:])), counts
