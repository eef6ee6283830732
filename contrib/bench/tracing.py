"""What watching costs: the engine's own time for one request, 32 in an enter, without a lane, while nobody watches
and while somebody reads raw events (`uringfs trace`). In this process, on real files; medians of processor time,
the two in turns.

    python -m contrib.bench.tracing [ROUNDS]
"""

import os
import statistics
import sys
import tempfile
import time

import trio

from tests.unit.support import Client, enter, nop
from uringfs.abi import constants as abi
from uringfs.abi.structs import Params, Sqe
from uringfs.engine.context import Context
from uringfs.engine.tctx import TaskContexts
from uringfs.host.local import LocalHost
from uringfs.memory.mapped import MappedMemory
from uringfs.ops.table import OPS
from uringfs.ring.geometry import Geometry
from uringfs.ring.ring import Ring
from uringfs.watch import filters
from uringfs.watch.subscription import Subscription
from uringfs.watch.tracer import Tracer
from uringfs.watch.viewer import OpenerViewer

BATCH, ENTERS, ROUNDS = 32, 200, 40
READ_SIZE = 4096
READ_EVERY = 8
"""Enters: a reader lets events come for a while (stream.py: LINGER)."""


class Bench:
    def __init__(self, nursery: trio.Nursery) -> None:
        self.host = LocalHost()
        self.tctx = TaskContexts(self.host, nursery)
        geometry, memory = Geometry.of(BATCH, Params()), MappedMemory()
        self.client = Client(memory, geometry)
        self.context = Context(Ring(memory, geometry, (os.getpid(), os.getuid())), nursery, self.tctx, OPS)
        self.tracer = Tracer(self.tctx)

    async def round(self, sqe: Sqe, reader: Subscription | None) -> float:
        """ns a request. The client's part is not timed."""
        spent = 0
        for number in range(ENTERS):
            self.client.push(*[sqe] * BATCH)
            begin = time.thread_time_ns()
            caller = self.host.caller(os.getpid(), os.getuid(), os.getgid())
            await enter(self.context, caller, BATCH)
            if reader is not None and number % READ_EVERY == 0:
                reader.take(1 << 20)
            spent += time.thread_time_ns() - begin
            assert len(self.client.reap()) == BATCH
        return spent / (ENTERS * BATCH)

    async def compare(self, sqe: Sqe, rounds: int) -> tuple[float, float]:
        """Medians: nobody watches, somebody does."""
        off, on = [], []
        for _ in range(rounds):
            off.append(await self.round(sqe, None))
            reader = Subscription(OpenerViewer(os.getuid(), self.host.opener(os.getpid())), lambda: None)
            reader.set_filter(filters.parse("format=raw", filters.Filter()))
            self.tracer.add(reader)
            on.append(await self.round(sqe, reader))
            self.tracer.remove(reader)
        return statistics.median(off), statistics.median(on)


async def main(rounds: int) -> None:
    with tempfile.TemporaryFile() as file:
        file.write(bytes(READ_SIZE))
        file.flush()
        buffer = bytearray(READ_SIZE)
        address = _address(buffer)
        read = Sqe(abi.IORING_OP_READ, fd=file.fileno(), addr=address, len=READ_SIZE, user_data=1)
        async with trio.open_nursery() as nursery:
            bench = Bench(nursery)
            for name, sqe in (("NOP", nop(1)), ("READ", read)):
                off, on = await bench.compare(sqe, rounds)
                print(f"{name:5} x{BATCH}: {off:6.0f} ns, watched {on:6.0f} ns: {on / off - 1:+.0%}", flush=True)
            nursery.cancel_scope.cancel()


def _address(buffer: bytearray) -> int:
    import ctypes

    return ctypes.addressof(ctypes.c_char.from_buffer(buffer))


if __name__ == "__main__":
    trio.run(main, int(sys.argv[1]) if len(sys.argv) > 1 else ROUNDS)
