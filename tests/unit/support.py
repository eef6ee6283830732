"""A client of a ring without a mount: the engine over heap memory and the fake host."""

import os
import socket
from collections.abc import Sequence
from contextlib import suppress
from typing import Self

import trio

from tests.fakehost.host import FakeHost, FakeThread
from uringfs.abi.constants import (
    IORING_ENTER_GETEVENTS,
    IORING_OFF_CQ_RING,
    IORING_OFF_SQ_RING,
    IORING_OFF_SQES,
    IORING_OP_NOP,
    IORING_OP_READV,
)
from uringfs.abi.control import URINGFS_ENTER_FETCHES, URINGFS_ENTER_WAITS
from uringfs.abi.structs import CQ_HEAD, CQ_TAIL, CQE, CQES, IOVEC, SQ_HEAD, SQ_TAIL, SQE, Cqe, Params, Sqe
from uringfs.engine.context import Context
from uringfs.engine.entering import Entered
from uringfs.engine.tctx import TaskContexts
from uringfs.host.local import LocalHost
from uringfs.host.protocols import Caller
from uringfs.memory.mapped import MappedMemory
from uringfs.native import Taker
from uringfs.ops.table import OPS
from uringfs.ring.geometry import Geometry
from uringfs.ring.ring import Ring

U32 = 0xFFFFFFFF
CURRENT_POSITION = (1 << 64) - 1


def nop(user_data: int = 0, flags: int = 0, **fields: int) -> Sqe:
    return Sqe(IORING_OP_NOP, flags, fd=-1, user_data=user_data, **fields)


def readv(fd: int, iovecs: int, count: int, user_data: int = 0, flags: int = 0, **fields: int) -> Sqe:
    return Sqe(IORING_OP_READV, flags, fd=fd, addr=iovecs, len=count, user_data=user_data, **fields)


def iovecs(thread: FakeThread, address: int, vector: Sequence[tuple[int, int]]) -> tuple[int, int]:
    """Store a vector in the thread's memory; (address, count) for readv()."""
    thread.memory.put(address, b"".join(IOVEC.pack(*entry) for entry in vector) or b"\0")
    return address, len(vector)


async def enter(
    ring: Context,
    caller: Caller,
    to_submit: int,
    min_complete: int = 0,
    flags: int = 0,
    arg: int = 0,
    argsz: int = 0,
) -> Entered:
    """An enter as far as its wait."""
    entered = ring.enter(caller, to_submit, min_complete, flags, arg, argsz)
    return entered if isinstance(entered, Entered) else await entered()


class Client:
    """The words and arrays of a ring as a client has them, all through its memory."""

    def __init__(self, memory: MappedMemory, geometry: Geometry) -> None:
        self.memory = memory
        self.geometry = geometry

    def push(self, *sqes: Sqe, indices: Sequence[int] | None = None) -> None:
        """Queue SQEs at the slots `indices`, by default each at its position's own."""
        tail = self.memory.load(SQ_TAIL)
        for number, sqe in enumerate(sqes):
            position = (tail + number) & (self.geometry.sq_entries - 1)
            slot = position if indices is None else indices[number]
            if slot < self.geometry.sq_entries:
                self.memory.write(IORING_OFF_SQES + slot * SQE.size, SQE.pack(*sqe))
            if self.geometry.sq_array:
                self.memory.store(self.geometry.sq_array + 4 * position, slot)
        self.memory.store(SQ_TAIL, (tail + len(sqes)) & U32)

    def reap(self, most: int | None = None) -> list[Cqe]:
        head, tail = self.memory.load(CQ_HEAD), self.memory.load(CQ_TAIL)
        count = (tail - head) & U32
        count = count if most is None else min(count, most)
        mask = self.geometry.cq_entries - 1
        found = [
            Cqe._make(CQE.unpack(self.memory.read(CQES + CQE.size * ((head + n) & mask), CQE.size)))
            for n in range(count)
        ]
        self.memory.store(CQ_HEAD, (head + count) & U32)
        return found

    def results(self) -> list[tuple[int, int]]:
        """(user_data, res) of all CQEs, reaped."""
        return [(cqe.user_data, cqe.res) for cqe in self.reap()]


class TakingMemory(MappedMemory):
    """With the core that takes requests in native code, as the memory of a mount has it."""

    def taker(self, *numbers: int) -> Taker:
        return self._make_taker(*numbers)


class Bench:
    """A ring, its worker, its client and one thread that enters it."""

    memory = MappedMemory

    def __init__(self, nursery: trio.Nursery, entries: int = 8, flags: int = 0, cq: int = 0) -> None:
        self.nursery = nursery
        self.host = FakeHost()
        self.tctx = TaskContexts(self.host, nursery)
        self.thread = self.host.thread(100)
        self.client, self.context = self.another(entries, flags, cq)

    def another(self, entries: int = 8, flags: int = 0, cq: int = 0) -> tuple[Client, Context]:
        geometry = Geometry.of(entries, Params(flags=flags, cq_entries=cq))
        memory = self.memory()
        ring = Ring(memory, geometry, (self.thread.tid, self.thread.uid))
        return Client(memory, geometry), Context(ring, self.nursery, self.tctx, OPS)

    @property
    def ring(self) -> Ring:
        return self.context.ring

    async def submit(self, *sqes: Sqe, thread: FakeThread | None = None) -> int:
        """Queue and enter without waiting."""
        self.client.push(*sqes)
        return await self.enter(len(sqes), thread=thread)

    async def enter(
        self,
        to_submit: int,
        wait: int = 0,
        flags: int = 0,
        arg: int = 0,
        argsz: int = 0,
        thread: FakeThread | None = None,
    ) -> int:
        """An enter to its end: the SQEs submitted, or the wait's result."""
        thread = thread or self.thread
        caller = self.host.caller(thread.tid, thread.uid, thread.gid)
        flags |= IORING_ENTER_GETEVENTS if wait else 0
        entered = await enter(self.context, caller, to_submit, wait, flags, arg, argsz)
        if entered.wait is None:
            return entered.result
        waited = await entered.wait.run()
        return entered.result or waited


class Here:
    """A ring whose caller is this process."""

    memory = MappedMemory

    def __init__(self, nursery: trio.Nursery, flags: int = 0, host: LocalHost | None = None) -> None:
        self.host = host or LocalHost()
        geometry, memory = Geometry.of(8, Params(flags=flags)), self.memory()
        tid = os.getpid()
        self.client = Client(memory, geometry)
        ring = Ring(memory, geometry, (tid, os.getuid()))
        self.tctx = TaskContexts(self.host, nursery)
        self.context = Context(ring, nursery, self.tctx, OPS)

    def caller(self) -> Caller:
        caller = self.host.caller(os.getpid(), os.getuid(), os.getgid())
        caller.can = URINGFS_ENTER_FETCHES | URINGFS_ENTER_WAITS
        return caller

    async def submit(self, *sqes: Sqe) -> None:
        self.client.push(*sqes)
        assert (await enter(self.context, self.caller(), len(sqes))).result == len(sqes)

    async def cqe(self) -> tuple[int, int]:
        """(res, flags) of the next."""
        with trio.fail_after(10):
            while not (found := self.client.reap(1)):
                await trio.lowlevel.checkpoint()
        return found[0].res, found[0].flags

    def cancel(self) -> None:
        (request,) = self.context.pending_requests()
        self.context.cancel(request)


def fill(sock: socket.socket) -> None:
    """Send until it takes no more."""
    with suppress(BlockingIOError):
        while True:
            sock.send(bytes(4096), socket.MSG_DONTWAIT)


def start_at(ring: Ring, position: int) -> None:
    """A ring that has got so far: both queues empty, all heads and tails there."""
    ring.sq.head = ring.cq.tail = ring.cq._published = position
    for base in (IORING_OFF_SQ_RING, IORING_OFF_CQ_RING):
        for word in (CQ_HEAD, CQ_TAIL):
            ring.memory.store(base + word, position)
    for word in (SQ_HEAD, SQ_TAIL):
        ring.memory.store(word, position)
    ring.cq.head()


class Spawned(trio.abc.Instrument):
    """Counts new tasks."""

    def __init__(self) -> None:
        self.count = 0

    def task_spawned(self, task: trio.lowlevel.Task) -> None:
        self.count += 1

    def __enter__(self) -> Self:
        trio.lowlevel.add_instrument(self)
        return self

    def __exit__(self, *_: object) -> None:
        trio.lowlevel.remove_instrument(self)
