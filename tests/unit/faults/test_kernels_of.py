"""Rings as of an older kernel: what it had not is refused as by it, and does not show in probe and query."""

import errno
from struct import unpack_from

import pytest
import trio

from tests.unit.faults.conftest import AT
from tests.unit.support import Bench, nop
from uringfs.abi import constants as abi
from uringfs.abi.kernels import CURRENT, kernel
from uringfs.abi.structs import CQ_OFF, OFFSETS, PARAMS, Params, Sqe
from uringfs.engine.context import Context
from uringfs.errors import UringError
from uringfs.faults.given import RuleGiver
from uringfs.faults.kernels import Kernels
from uringfs.memory.mapped import MappedMemory
from uringfs.ops.table import ops_of
from uringfs.register.table import register, register_blind
from uringfs.ring.geometry import Geometry
from uringfs.ring.ring import Ring


def bench_of(nursery: trio.Nursery, version: str, entries: int = 8, flags: int = 0) -> Bench:
    bench = Bench(nursery)
    geometry = Geometry.of(entries, Params(flags=flags), kernel(version))
    memory = MappedMemory()
    ring = Ring(memory, geometry, (bench.thread.tid, bench.thread.uid))
    context = Context(ring, nursery, bench.tctx, ops_of(geometry.kernel))
    bench.client, bench.context = type(bench.client)(memory, geometry), context
    bench.thread.memory.map(AT, 8192)
    return bench


async def result(bench: Bench, sqe: Sqe) -> int:
    await bench.submit(sqe)
    await trio.testing.wait_all_tasks_blocked()
    return bench.client.results()[0][1]


@pytest.mark.parametrize(
    ("version", "res"), [("5.1", -errno.EINVAL), ("5.5", -errno.EINVAL), ("5.6", -errno.EBADF)]
)
async def test_an_opcode_that_was_not_there(nursery: trio.Nursery, version: str, res: int) -> None:
    bench = bench_of(nursery, version)
    assert await result(bench, Sqe(abi.IORING_OP_READ, fd=99, addr=AT, len=4)) == res
    assert await result(bench, nop(1)) == 0


@pytest.mark.parametrize(
    ("version", "flag", "res"),
    [
        ("5.5", abi.IOSQE_ASYNC, -errno.EINVAL),
        ("5.6", abi.IOSQE_ASYNC, 0),
        ("5.2", abi.IOSQE_IO_LINK, -errno.EINVAL),
        ("5.16", abi.IOSQE_CQE_SKIP_SUCCESS, -errno.EINVAL),
    ],
)
async def test_flags_of_requests(nursery: trio.Nursery, version: str, flag: int, res: int) -> None:
    assert await result(bench_of(nursery, version), nop(1, flag)) == res


@pytest.mark.parametrize(
    ("version", "flags"),
    [
        ("5.4", abi.IORING_SETUP_CQSIZE),
        ("5.18", abi.IORING_SETUP_COOP_TASKRUN),
        ("6.0", abi.IORING_SETUP_DEFER_TASKRUN | abi.IORING_SETUP_SINGLE_ISSUER),
        ("6.17", abi.IORING_SETUP_CQE_MIXED),
        ("6.18", abi.IORING_SETUP_SQE_MIXED),
    ],
)
def test_setup_flags(version: str, flags: int) -> None:
    with pytest.raises(UringError) as raised:
        Geometry.of(8, Params(flags=flags, cq_entries=16), kernel(version))
    assert raised.value.errno == errno.EINVAL


def test_features_and_offsets() -> None:
    def shown(version: str) -> tuple[int, int]:
        data = Geometry.of(8, Params(), kernel(version)).params(Params())
        return Params._make(PARAMS.unpack_from(data)).features, OFFSETS.unpack_from(data, CQ_OFF)[6]

    assert shown("5.1") == (0, 0)
    assert shown("5.7")[1] == 0
    assert shown("5.8")[1] > 0
    assert shown("5.11")[0] & abi.IORING_FEAT_EXT_ARG
    assert not shown("5.10")[0] & abi.IORING_FEAT_EXT_ARG


async def test_enter_flags(nursery: trio.Nursery) -> None:
    bench = bench_of(nursery, "5.10")
    with pytest.raises(UringError) as raised:
        await bench.enter(0, 0, abi.IORING_ENTER_EXT_ARG | abi.IORING_ENTER_GETEVENTS)
    assert raised.value.errno == errno.EINVAL


async def test_a_full_cq_drops_before_nodrop(nursery: trio.Nursery) -> None:
    for version, lost in (("5.4", 2), ("5.5", 0)):
        bench = bench_of(nursery, version, entries=2)
        for _ in range(3):
            await bench.submit(nop(), nop())
        assert bench.ring.cq.overflow == lost
        assert len(bench.ring.cq.backlog) == 2 - lost


def registered(bench: Bench, opcode: int, arg: int = AT, nr_args: int = 0) -> int:
    """What it returns, or -errno."""
    caller = bench.host.caller(bench.thread.tid, bench.thread.uid, bench.thread.gid)
    try:
        return register(bench.context, caller, opcode, arg, nr_args)
    except UringError as error:
        return -error.errno


async def test_register_codes(nursery: trio.Nursery) -> None:
    old, new = bench_of(nursery, "5.5"), bench_of(nursery, "5.6")
    assert registered(old, abi.IORING_REGISTER_PERSONALITY, 0) == -errno.EINVAL
    assert registered(new, abi.IORING_REGISTER_PERSONALITY, 0) > 0


async def test_the_probe(nursery: trio.Nursery) -> None:
    assert registered(bench_of(nursery, "5.5"), abi.IORING_REGISTER_PROBE, AT, 256) == -errno.EINVAL
    for version, last in (("5.6", abi.IORING_OP_EPOLL_CTL), ("5.11", abi.IORING_OP_UNLINKAT)):
        bench = bench_of(nursery, version)
        assert registered(bench, abi.IORING_REGISTER_PROBE, AT, 256) == 0
        data = bench.thread.memory.read(AT, 16 + 256 * 8)
        assert (data[0], data[1]) == (last, last + 1)
        flags = [data[16 + 8 * number + 2] for number in range(256)]
        assert flags == [int(number <= last) for number in range(256)]


async def test_the_query(nursery: trio.Nursery) -> None:
    def asked(bench: Bench) -> bytes:
        header = b"".join(word.to_bytes(size, "little") for word, size in ((0, 8), (AT + 64, 8), (0, 4), (48, 4)))
        bench.thread.memory.put(AT, header.ljust(40, b"\0"))
        assert registered(bench, abi.IORING_REGISTER_QUERY) == 0
        return bench.thread.memory.read(AT + 64, 48)

    of = kernel("6.18")
    found = unpack_from("<IIQQQQ", asked(bench_of(nursery, "6.18")))
    assert found == (len(of.opcodes), len(of.register), of.features, of.setup_flags, of.enter_flags, of.sqe_flags)
    old = bench_of(nursery, "6.17")
    assert registered(old, abi.IORING_REGISTER_QUERY) == -errno.EINVAL
    caller = old.host.caller(100, 1000, 1000)
    with pytest.raises(UringError):
        register_blind(lambda file: None, caller, abi.IORING_REGISTER_QUERY, AT, 0, kernel("6.17"))


async def test_kernels_of_processes(nursery: trio.Nursery) -> None:
    bench = Bench(nursery)
    over: dict[int, trio.Event] = {7: trio.Event(), 100: trio.Event()}
    kernels = Kernels(nursery, lambda tid: (tid, 7, 1), lambda pid: over[pid].wait(), kernel("6.1"))
    opener = bench.host.opener(100)
    caller = bench.host.caller(100, 1000, 1000)
    assert kernels.of(caller) is kernel("6.1")
    kernels.set(7, kernel("5.10"), RuleGiver(1001, opener))  # somebody else's
    assert kernels.of(caller) is kernel("6.1")
    kernels.set(7, kernel("5.4"), RuleGiver(1000, opener))
    assert kernels.of(caller) is kernel("5.4")
    kernels.set(100, CURRENT, RuleGiver(0, opener))
    assert kernels.of(caller) is CURRENT
    over[100].set()
    await trio.testing.wait_all_tasks_blocked()
    assert kernels.of(caller) is kernel("5.4")
    over[7].set()
    await trio.testing.wait_all_tasks_blocked()
    assert kernels.of(caller) is kernel("6.1")
