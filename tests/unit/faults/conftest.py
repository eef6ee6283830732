from collections.abc import Callable, Sequence

import pytest
import trio

from tests.fakehost.files import RegularFile
from tests.unit.support import Bench, Here
from uringfs.abi import constants as abi
from uringfs.abi.structs import Sqe
from uringfs.faults.engine import FaultEngine
from uringfs.faults.given import Given, RuleGiver

ROOT = RuleGiver(0)
AT = 0x10000
"""Where the test's thread has its buffers."""

Inject = Callable[[str], Given]


def rw(opcode: int, fd: int, size: int, off: int = 0, user_data: int = 0, flags: int = 0, addr: int = AT) -> Sqe:
    return Sqe(opcode, flags, fd=fd, addr=addr, len=size, off=off, user_data=user_data)


def read(size: int, off: int = 0, user_data: int = 0, flags: int = 0) -> Sqe:
    return rw(abi.IORING_OP_READ, 3, size, off, user_data, flags)


def write(size: int, off: int = 0, user_data: int = 0, flags: int = 0) -> Sqe:
    return rw(abi.IORING_OP_WRITE, 3, size, off, user_data, flags)


@pytest.fixture
def faults(bench: Bench, nursery: trio.Nursery) -> FaultEngine:
    return FaultEngine(nursery, bench.tctx.hooks, lambda number: f"ring{number}", lambda tid: (tid, 7, 1), "seed")


@pytest.fixture
def inject(faults: FaultEngine) -> Inject:
    return lambda text: faults.inject(text, ROOT)


@pytest.fixture
def file(bench: Bench) -> RegularFile:
    """Descriptor 3: 64 bytes, open for both. The buffer has 'A's."""
    found = bench.thread.fds[3] = RegularFile(bytes(range(64)))
    found.writable = True
    bench.thread.memory.map(AT, 4096)
    bench.thread.memory.put(AT, b"A" * 64)
    return found


async def run(bench: Bench, *sqes: Sqe) -> list[tuple[int, int]]:
    """Submit, and (user_data, res) of all CQEs once nothing goes on by itself."""
    await bench.submit(*sqes)
    await trio.testing.wait_all_tasks_blocked()
    return bench.client.results()


@pytest.fixture
async def broken(here: Here, nursery: trio.Nursery) -> FaultEngine:
    """Rules for the ring of this process."""
    return FaultEngine(nursery, here.context.hooks, seed="1")


def differences(one: Sequence[int], other: Sequence[int]) -> list[int]:
    return [place for place, (a, b) in enumerate(zip(one, other, strict=True)) if a != b]
