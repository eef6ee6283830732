"""Events of requests that rules break: what is refused is shown as what is performed."""

import errno

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from tests.unit.ops import test_every_op_real as real
from tests.unit.ops.test_every_op import CASES, FILE, MOVES, NAME, World, a_world, path, sqe
from tests.unit.support import nop
from uringfs.abi.constants import IOSQE_BUFFER_SELECT, IOSQE_FIXED_FILE, IOSQE_IO_LINK, OPCODES
from uringfs.abi.structs import Sqe
from uringfs.faults.engine import FaultEngine
from uringfs.faults.given import RuleGiver
from uringfs.watch import filters
from uringfs.watch.record import FIXED, INJECTED, Record, RecordKind, each
from uringfs.watch.strace import call
from uringfs.watch.subscription import Subscription
from uringfs.watch.tracer import Tracer
from uringfs.watch.viewer import OpenerViewer

READ = sqe("READ", **MOVES)


class Watched:
    """A ring that is watched, and whose requests rules break."""

    def __init__(self, world: World | real.World, nursery: trio.Nursery, rule: str = "") -> None:
        self.world = world
        tid = world.caller().tid if isinstance(world, real.World) else world.thread.tid
        self.reader = Subscription(OpenerViewer(0, world.host.opener(tid)), lambda: None)
        self.reader.set_filter(filters.parse("format=raw", filters.Filter()))
        if rule:
            FaultEngine(nursery, world.tctx.hooks, seed="1").inject(rule, RuleGiver(0))
        Tracer(world.tctx).add(self.reader)

    def requests(self) -> list[Record]:
        """In the order in which they were submitted."""
        found = [record for record in each(self.reader.take(1 << 30)) if record.kind == RecordKind.REQUEST]
        return sorted(found, key=lambda record: record.id)

    async def events(self, *sqes: Sqe) -> list[Record]:
        await self.world.submit(*sqes)
        await trio.sleep(1)
        return self.requests()


async def event(case: Sqe, rule: str = "") -> Record:
    """The event of a request, which is cancelled unless it ends by itself."""
    async with a_world() as world, trio.open_nursery() as nursery:
        watched = Watched(world, nursery, rule)
        await world.begin(case)
        await wait_all_tasks_blocked()
        world.cancel_all()
        await wait_all_tasks_blocked()
        nursery.cancel_scope.cancel()
        return next(record for record in watched.requests() if record.sqe.user_data == case.user_data)


@pytest.mark.parametrize("case", [case for case in CASES if not str(case.id).startswith("LINK_TIMEOUT")])
async def test_what_is_refused_has_the_file_of_what_is_performed(case: Sqe, autojump_clock: MockClock) -> None:
    """All but LINK_TIMEOUT, which is armed, and never issued (io_no_issue())."""
    performed, refused = await event(case), await event(case, f"{OPCODES[case.opcode]}:error=EIO")
    assert (refused.res, refused.flags & ~FIXED) == (-errno.EIO, INJECTED)
    assert refused.file == performed.file
    assert refused.flags & FIXED == performed.flags & FIXED


EFFECTS = (
    ("retval=2", 0, 2),
    ("error=EIO:delay_enter=1ms", 0, -errno.EIO),
    ("error=EIO:delay_exit=1ms", 0, -errno.EIO),
    ("signal=KILL", 0, -errno.ECANCELED),
    ("nobufs", IOSQE_BUFFER_SELECT, -errno.ENOBUFS),
    ("error=EIO", IOSQE_FIXED_FILE, -errno.EIO),
)


@pytest.mark.parametrize(("effect", "flags", "res"), EFFECTS)
async def test_by_whatever_it_is_refused(effect: str, flags: int, res: int, autojump_clock: MockClock) -> None:
    async with a_world() as world, trio.open_nursery() as nursery:
        watched = Watched(world, nursery, f"READ:{effect}")
        fd = 0 if flags == IOSQE_FIXED_FILE else FILE
        (refused,) = await watched.events(READ._replace(flags=flags, fd=fd, buf_index=1 if flags == 32 else 0))
        assert (refused.res, refused.file) == (res, b"fake")
        nursery.cancel_scope.cancel()


async def kind(name: str, number: int, rule: str = "") -> bytes:
    """What kind of file a scenario's request is about: what its event says, up to an inode or an address."""
    async with real.a_host() as host, real.a_world(host) as world, trio.open_nursery() as nursery:
        watched = Watched(world, nursery, rule)
        await world.begin(name, number)
        await wait_all_tasks_blocked()
        world.cancel_all()
        await world.over()
        (record,) = [record for record in watched.requests() if record.sqe.user_data == 1][-1:]
        assert bool(rule) == (record.flags & INJECTED != 0)
        nursery.cancel_scope.cancel()
        return record.file.partition(b"[")[0]


@pytest.mark.parametrize(("name", "number"), real.CASES)
async def test_of_sockets_and_pipes_too(name: str, number: int) -> None:
    assert await kind(name, number, f"{name}:error=EIO") == await kind(name, number)


async def test_what_is_refused_holds_no_file(autojump_clock: MockClock) -> None:
    async with a_world() as world, trio.open_nursery() as nursery:
        watched = Watched(world, nursery, "READ:error=EIO")
        await watched.events(READ, READ._replace(fd=99), READ._replace(flags=IOSQE_FIXED_FILE, fd=99))
        assert [file.opens for file in world.files] == world.opens
        nursery.cancel_scope.cancel()


async def test_what_a_descriptor_is_that_is_no_target(autojump_clock: MockClock) -> None:
    async with a_world() as world, trio.open_nursery() as nursery:
        watched = Watched(world, nursery)
        moved = path("RENAMEAT", fd=FILE, off=NAME, len=FILE)
        found = await watched.events(path("MKDIRAT"), path("MKDIRAT", fd=FILE), moved)
        assert [call(record) for record in found] == [
            'MKDIRAT(AT_FDCWD, "user.name")',
            'MKDIRAT(3<fake>, "user.name")',
            'RENAMEAT(3<fake>, "user.name", 3, "user.name")',
        ]
        nursery.cancel_scope.cancel()
    assert call(await event(sqe("CLOSE"))) == "CLOSE(3<fake>)"
    assert call(await event(sqe("CLOSE", fd=0, file_index=1))) == "CLOSE(0, slot=0)"


async def test_which_request_it_was_where_user_data_repeats(autojump_clock: MockClock) -> None:
    async with a_world() as world, trio.open_nursery() as nursery:
        watched = Watched(world, nursery, "NOP:error=EIO:when=1")
        records = await watched.events(nop(1, IOSQE_IO_LINK), nop(1))
        refused, cancelled = records
        assert (refused.res, refused.flags) == (-errno.EIO, INJECTED)
        assert (cancelled.res, cancelled.flags) == (-errno.ECANCELED, 0)
        nursery.cancel_scope.cancel()
