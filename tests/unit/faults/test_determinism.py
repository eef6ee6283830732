"""All chance is a function of the seed and of what is submitted (docs/determinism.md)."""

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from tests.fakehost.files import RegularFile, Stream
from tests.unit.support import Bench, nop
from uringfs.abi import constants as abi
from uringfs.abi.structs import Sqe
from uringfs.faults.engine import FaultEngine
from uringfs.faults.given import RuleGiver

SEEDS = 100
"""As many as CI tries: more by hand."""
MEMORY = 0x10000
RULES = (
    "NOP:error=EIO:probability=30%",
    "READ:corrupt=2:probability=50%",
    "all:short=3:probability=20%",
    "NOP:reorder=3",
)


async def program(
    nursery: trio.Nursery, seed: int, rules: tuple[str, ...] = RULES
) -> list[tuple[int, int, bytes]]:
    """(user_data, result, the memory it reads into) of each completion, in their order."""
    bench = Bench(nursery)
    faults = FaultEngine(nursery, bench.tctx.hooks, seed=str(seed))
    bench.thread.memory.map(MEMORY, 4096)
    bench.thread.fds[3] = RegularFile(b"0123456789" * 10)
    for rule in rules:
        faults.inject(rule, RuleGiver(0))
    done: list[tuple[int, int, bytes]] = []
    for number in range(6):
        read = Sqe(abi.IORING_OP_READ, fd=3, addr=MEMORY, len=8, user_data=100 + number)
        await bench.submit(nop(3 * number), nop(3 * number + 1), nop(3 * number + 2), read)
        with trio.fail_after(60):
            while bench.context.pending_requests():
                await trio.lowlevel.checkpoint()
        memory = bench.thread.memory.read(MEMORY, 8)
        done += [(user_data, res, memory) for user_data, res in bench.client.results()]
    faults.remove_all(RuleGiver(0))
    return done


async def test_a_seed_is_a_trace(nursery: trio.Nursery) -> None:
    traces = []
    for seed in range(SEEDS):
        first = await program(nursery, seed)
        assert len(first) == 24
        assert await program(nursery, seed) == first
        traces.append(tuple(first))
    assert len(set(traces)) > SEEDS // 2


@pytest.mark.parametrize("arrivals", [(0, 1, 2, 3), (3, 2, 1, 0), (2, 0, 3, 1)])
async def test_the_order_of_a_window_is_not_that_of_the_arrivals(
    nursery: trio.Nursery, mock_clock: MockClock, arrivals: tuple[int, ...]
) -> None:
    """The seed alone, whoever was the quickest."""
    bench = Bench(nursery)
    bench.thread.memory.map(MEMORY, 4096)
    streams = [Stream() for _ in arrivals]
    bench.thread.fds |= dict(enumerate(streams, 3))
    FaultEngine(nursery, bench.tctx.hooks, seed="7").inject("READ:reorder=4", RuleGiver(0))
    reads = [Sqe(abi.IORING_OP_READ, fd=3 + n, addr=MEMORY, len=1, user_data=n) for n in range(4)]
    await bench.submit(*reads)
    for number in arrivals:
        streams[number].feed(b"x")
        await wait_all_tasks_blocked()
    assert [user_data for user_data, _ in bench.client.results()] == [0, 1, 3, 2]


@pytest.mark.parametrize("seed", range(5))
async def test_a_fault_is_the_same_without_the_others(nursery: trio.Nursery, seed: int) -> None:
    """What is left when some are taken out does what it did: which bytes are corrupt."""
    bench = Bench(nursery)
    bench.thread.memory.map(MEMORY, 4096)
    bench.thread.fds[3] = RegularFile(b"0123456789" * 10)
    found = []
    for when in ("1..4", "1,3", "3"):
        faults = FaultEngine(nursery, bench.tctx.hooks, seed=str(seed))
        given = faults.inject(f"READ:corrupt=2:when={when}", RuleGiver(0))
        for _ in range(4):
            await bench.submit(Sqe(abi.IORING_OP_READ, fd=3, addr=MEMORY, len=8))
            found += [bench.thread.memory.read(MEMORY, 8)] if given.matched == 3 else []
        assert given.hits == [number for number in range(1, 5) if number in given.rule.when]
        faults.remove_all(RuleGiver(0))
        bench.client.reap()
    assert found[0] == found[1] == found[2] != b"01234567"
