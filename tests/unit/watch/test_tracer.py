"""One event of each request, over the fake host: what stands in it, who gets it, what is lost."""

import errno
import json
from collections.abc import Callable

import pytest
import trio

from tests.fakehost.files import RegularFile, Sink, Stream
from tests.unit.support import Bench, iovecs, nop, readv
from uringfs.abi import constants as abi
from uringfs.abi.constants import (
    IOSQE_BUFFER_SELECT,
    IOSQE_CQE_SKIP_SUCCESS,
    IOSQE_IO_HARDLINK,
    IOSQE_IO_LINK,
)
from uringfs.abi.events import EPOLLIN, IORING_POLL_ADD_MULTI
from uringfs.abi.structs import TIMESPEC, Sqe
from uringfs.engine.request import Request
from uringfs.errors import UringError
from uringfs.watch import filters
from uringfs.watch.record import LATE, NO_CQE, TRUNCATED, How, Record, RecordKind, each, pack
from uringfs.watch.strace import Lines
from uringfs.watch.subscription import MOST, Subscription
from uringfs.watch.tracer import Tracer

MEMORY, BUFFER = 0x10000, 0x10400


class Anybody:
    """A viewer of rings of user 1000, and of callers that `refused` does not name."""

    def __init__(self) -> None:
        self.refused: set[int] = set()
        self.asked = 0
        self.is_unlimited = False

    def owns(self, uid: int) -> bool:
        return uid == 1000

    def sees(self, owner: int, caller: object) -> bool:
        self.asked += 1
        return self.owns(owner) and caller.tid not in self.refused  # type: ignore[attr-defined]


class Watched(Bench):
    def __init__(self, nursery: trio.Nursery, wanted: str = "") -> None:
        super().__init__(nursery)
        self.ring.number = 7
        self.thread.memory.map(MEMORY, 4096)
        self.tracer = Tracer(self.tctx)
        self.viewer = Anybody()
        self.woken = 0
        self.reader = self.read(wanted)

    def read(self, wanted: str = "") -> Subscription:
        reader = Subscription(self.viewer, self.wake)
        reader.set_filter(filters.parse(f"format=raw {wanted}", filters.Filter()))
        self.tracer.add(reader)
        return reader

    def wake(self) -> None:
        self.woken += 1

    def events(self, *kinds: RecordKind) -> list[Record]:
        found = list(each(self.reader.take(1 << 30)))
        return [record for record in found if record.kind in (kinds or (RecordKind.REQUEST,))]

    def lines(self) -> list[str]:
        """Without times."""
        shown = [Lines().line(record) for record in self.events(RecordKind.REQUEST, RecordKind.CQE)]
        return [line.partition(" <")[0] + line.partition(">")[2].rstrip("\n") for line in shown]


@pytest.fixture
def bench(nursery: trio.Nursery) -> Watched:
    return Watched(nursery)


async def test_what_stands_in_an_event(bench: Watched) -> None:
    await bench.submit(nop(42, IOSQE_IO_LINK), nop(43))
    first, second = bench.events()
    assert (first.ring, first.uid, first.pid, first.tid) == (7, 1000, 100, 100)
    assert first.sqe == nop(42, IOSQE_IO_LINK)
    assert (first.res, first.how, first.flags, first.position) == (0, How.INLINE, 0, 0)
    assert 0 < first.queued <= first.taken <= first.issued <= first.completed <= second.completed
    assert first.id != second.id
    assert first.chain == second.chain == first.id
    assert second.position == 1


async def test_a_chain_ends(bench: Watched) -> None:
    await bench.submit(nop(1), nop(2, IOSQE_IO_HARDLINK), nop(3), nop(4), nop(5, IOSQE_IO_LINK))
    await bench.submit(nop(6))
    chains = {record.sqe.user_data: record.chain for record in bench.events()}
    ids = {1: 0, 4: 0, 6: 0}
    assert {key: chains[key] for key in ids} == ids
    assert chains[2] == chains[3] != 0
    assert chains[5] not in (0, chains[2])


async def test_what_is_cancelled_before_it_begins(bench: Watched) -> None:
    await bench.submit(Sqe(abi.IORING_OP_READ, IOSQE_IO_LINK, fd=99, user_data=1), nop(2))
    assert bench.lines() == [
        "READ(99, NULL, 0, 0, IOSQE_IO_LINK) = -EBADF (Bad file descriptor) inline",
        "NOP() = -ECANCELED (Operation canceled) unissued",
    ]


async def test_what_is_refused(bench: Watched) -> None:
    await bench.submit(nop(1, ioprio=1))
    (record,) = bench.events()
    assert (record.res, record.how, record.issued) == (-errno.EINVAL, How.UNISSUED, 0)


async def test_no_cqe(bench: Watched) -> None:
    await bench.submit(nop(1, IOSQE_CQE_SKIP_SUCCESS))
    (record,) = bench.events()
    assert record.flags == NO_CQE


async def test_data_that_is_read(bench: Watched) -> None:
    bench.thread.fds[3] = RegularFile(b"0123456789" * 10)
    read = Sqe(abi.IORING_OP_READ, fd=3, addr=BUFFER, len=100, user_data=1)
    await bench.submit(read, readv(3, *iovecs(bench.thread, MEMORY, [(BUFFER, 0), (BUFFER, 5)]), off=1))
    first, second = bench.events()
    assert first.data == (b"0123456789" * 4)[:32]
    assert first.flags == TRUNCATED
    assert second.data == b"12345"
    assert second.flags == 0


async def test_data_that_is_written_is_that_of_the_beginning(bench: Watched) -> None:
    sink = bench.thread.fds[3] = Sink(8)
    sink.store(bytes(8), 0)
    bench.thread.memory.put(BUFFER, b"before")
    await bench.submit(Sqe(abi.IORING_OP_WRITE, fd=3, addr=BUFFER, len=6, off=0, user_data=1))
    bench.thread.memory.put(BUFFER, b"after!")
    sink.drain()
    with trio.fail_after(10):
        while not bench.client.reap():
            await trio.lowlevel.checkpoint()
    (record,) = bench.events()
    assert record.data == b"before"
    assert record.how == How.WORKER


async def test_files_of_one_batch_each_have_their_own_name(bench: Watched) -> None:
    """More than the batch remembers, in turns."""
    for fd in range(3, 9):
        file = bench.thread.fds[fd] = RegularFile(b"0123456789")
        file.shown = f"file{fd}"
    order = [*range(3, 9), *range(8, 2, -1), 3, 4]
    for some in (order[:7], order[7:]):
        await bench.submit(*(Sqe(abi.IORING_OP_READ, fd=fd, addr=BUFFER, len=1) for fd in some))
        bench.client.reap()
    assert [record.file for record in bench.events()] == [f"file{fd}".encode() for fd in order]


async def test_who_sees_everybody_is_asked_once(bench: Watched) -> None:
    bench.viewer.is_unlimited = True
    for number in range(3):
        await bench.submit(nop(number))
    assert bench.viewer.asked == 1
    second = bench.read()
    await bench.submit(nop(3))
    await bench.submit(nop(4))
    assert [one.sqe.user_data for one in each(second.take(1 << 20)) if one.kind == RecordKind.REQUEST] == [3, 4]
    second.set_filter(filters.parse("trace=READ", second.filter))
    bench.tracer.changed()
    bench.tracer.remove(second)
    await bench.submit(nop(5))
    assert [one.sqe.user_data for one in bench.events(RecordKind.REQUEST)] == [0, 1, 2, 3, 4, 5]


async def test_who_does_not_is_asked_for_each_call(bench: Watched) -> None:
    for number in range(3):
        await bench.submit(nop(number))
    bench.viewer.refused.add(bench.thread.tid)
    await bench.submit(nop(3))
    assert [one.sqe.user_data for one in bench.events(RecordKind.REQUEST)] == [0, 1, 2]


async def test_names_and_times(bench: Watched) -> None:
    bench.thread.memory.put(MEMORY, TIMESPEC.pack(5, 6))
    bench.thread.memory.put(MEMORY + 4090, b'/a"b\0')
    timeout = Sqe(abi.IORING_OP_TIMEOUT, fd=-1, addr=MEMORY, len=1, user_data=1)
    remove = Sqe(abi.IORING_OP_TIMEOUT_REMOVE, fd=-1, addr=1, user_data=2)
    unlink = Sqe(abi.IORING_OP_UNLINKAT, fd=-100, addr=MEMORY + 4090, user_data=3)
    await bench.submit(timeout, remove)
    assert bench.lines() == [
        "TIMEOUT_REMOVE(user_data=0x1) = 0 inline",
        "TIMEOUT({tv_sec=5, tv_nsec=6}) = -ECANCELED (Operation canceled) armed",
    ]
    bench.thread.answers["unlinkat"] = (0, b"")
    await bench.submit(unlink)
    with trio.fail_after(10):
        while not (found := bench.events()):
            await trio.lowlevel.checkpoint()
    assert found[0].name == b'/a"b'


async def test_a_multishot_and_its_cqes(bench: Watched) -> None:
    stream = bench.thread.fds[3] = Stream()
    poll = Sqe(abi.IORING_OP_POLL_ADD, fd=3, rw_flags=EPOLLIN, len=IORING_POLL_ADD_MULTI, user_data=1)
    await bench.submit(poll)
    stream.feed(b"x")
    await bench.submit(Sqe(abi.IORING_OP_POLL_REMOVE, fd=-1, addr=1, user_data=2))
    found = bench.events(RecordKind.REQUEST, RecordKind.CQE)
    shots = [record for record in found if record.kind == RecordKind.CQE]
    (last,) = [record for record in found if record.kind == RecordKind.REQUEST and record.sqe.user_data == 1]
    assert shots
    assert {record.id for record in shots} == {last.id}
    assert last.how == How.POLL


async def test_a_cqe_of_no_request(bench: Watched) -> None:
    bench.context.post_cqe(9, 3, 0)
    (record,) = bench.events(RecordKind.CQE)
    assert (record.id, record.sqe.user_data, record.res) == (0, 9, 3)
    assert "CQE(user_data=0x9) = 3" in Lines().line(record)


async def test_what_is_reaped(bench: Watched) -> None:
    await bench.submit(nop(1), nop(2))
    bench.client.reap(1)
    await bench.submit(nop(3))
    heads = [record.position for record in bench.events(RecordKind.REAPED)]
    assert heads == [0, 1]


async def test_one_that_was_under_way(nursery: trio.Nursery) -> None:
    bench = Bench(nursery)
    stream = bench.thread.fds[3] = Stream()
    await bench.submit(Sqe(abi.IORING_OP_POLL_ADD, fd=3, rw_flags=EPOLLIN, user_data=1))
    tracer = Tracer(bench.tctx)
    reader = Subscription(Anybody(), lambda: None)
    reader.set_filter(filters.Filter(format="raw"))
    tracer.add(reader)
    stream.feed(b"x")
    await bench.enter(0, wait=1)
    (record,) = (one for one in each(reader.take(1 << 20)) if one.kind == RecordKind.REQUEST)
    assert record.flags == LATE
    assert record.how == How.ARMED
    assert "<" not in Lines().line(record).partition(" = ")[2]


FILTERS: list[tuple[str, list[int]]] = [
    ("", [1, 2]),
    ("ring=7", [1, 2]),
    ("ring=8", []),
    ("pid=100", [1, 2]),
    ("pid=101", []),
    ("trace=NOP", [1]),
    ("trace=!NOP", [2]),
    ("trace=%read status=failed", [2]),
    ("trace=NOP status=failed", []),
]


@pytest.mark.parametrize(("wanted", "seen"), FILTERS)
async def test_filters(nursery: trio.Nursery, wanted: str, seen: list[int]) -> None:
    bench = Watched(nursery, wanted)
    await bench.submit(nop(1), Sqe(abi.IORING_OP_READ, fd=99, user_data=2))
    assert [record.sqe.user_data for record in bench.events()] == seen


async def test_nobody_sees_what_a_stranger_submits(bench: Watched) -> None:
    bench.viewer.refused.add(101)
    other = bench.host.thread(101)
    await bench.submit(nop(1), thread=other)
    await bench.submit(nop(2))
    assert [record.sqe.user_data for record in bench.events()] == [2]


async def test_nobody_sees_anothers_ring(bench: Watched) -> None:
    bench.ring.owner = 100, 1001
    await bench.submit(nop(1))
    assert bench.events(*RecordKind) == []
    assert not bench.tctx.hooks.watched(bench.ring)


async def test_who_asks_whether_a_ring_is_watched(bench: Watched) -> None:
    assert bench.tctx.hooks.watched(bench.ring)
    bench.reader.set_filter(filters.Filter(rings=frozenset({8})))
    bench.tracer.changed()
    assert not bench.tctx.hooks.watched(bench.ring)
    bench.tracer.remove(bench.reader)
    assert not bench.tctx.hooks


async def test_a_slow_reader_loses_events_and_no_request(nursery: trio.Nursery) -> None:
    bench = Watched(nursery, "data=4096")
    quick = bench.read("data=0")
    bench.thread.fds[3] = RegularFile(bytes(4096))
    read = Sqe(abi.IORING_OP_READ, fd=3, addr=MEMORY, len=4096)
    total = MOST // 4096 + 200
    for _ in range(total):
        await bench.submit(read)
        assert bench.client.results() == [(0, 4096)]
        quick.take(1 << 20)
    found = bench.events(*RecordKind)
    lost = [record.id for record in found if record.kind == RecordKind.LOST]
    seen = [record for record in found if record.kind in (RecordKind.REQUEST, RecordKind.REAPED)]
    assert len(lost) == 1
    assert lost[0] == bench.reader.total_lost > 0
    requests = sum(record.kind == RecordKind.REQUEST for record in seen)
    assert requests + lost[0] >= total
    assert quick.total_lost == 0
    await bench.submit(nop(5))
    assert [record.sqe.user_data for record in bench.events()] == [5]


async def test_a_reader_is_woken_once(bench: Watched) -> None:
    await bench.submit(nop(1), nop(2), nop(3))
    assert bench.woken == 1
    bench.events()
    await bench.submit(nop(4))
    assert bench.woken == 2


async def test_lines_come_whole_or_go_on(bench: Watched) -> None:
    bench.reader.set_filter(filters.Filter())
    await bench.submit(nop(1), nop(2))
    pieces = b""
    while piece := bench.reader.take(7):
        assert len(piece) <= 7
        pieces += piece
    assert pieces.count(b"NOP() = 0 <") == 2
    assert not bench.reader.readable()


async def test_json(bench: Watched) -> None:
    bench.reader.set_filter(filters.Filter(format="json"))
    await bench.submit(nop(1))
    bench.client.reap()
    await bench.enter(1)
    events = [json.loads(line) for line in bench.reader.take(1 << 20).splitlines()]
    kinds = [event["event"] for event in events]
    assert kinds.count("request") == 1
    (request,) = (event for event in events if event["event"] == "request")
    assert [event["ids"] for event in events if event["event"] == "reaped"] == [[], [request["id"]]]
    assert request["op"] == "NOP"


async def test_what_the_ring_leaves_when_it_is_closed(bench: Watched) -> None:
    bench.thread.fds[3] = Stream()
    await bench.submit(Sqe(abi.IORING_OP_POLL_ADD, fd=3, rw_flags=EPOLLIN, user_data=1))
    bench.context.close()
    assert [record.kind for record in bench.events(RecordKind.CLOSED, RecordKind.REQUEST)] == [RecordKind.CLOSED]
    assert not bench.tracer._live


Parse = Callable[[str, filters.Filter], filters.Filter]


@pytest.mark.parametrize(
    "text", ["x=1", "ring", "ring=a", "data=4097", "format=xml", "status=no", "trace=RAED", 'a"']
)
def test_words_that_are_none(text: str) -> None:
    with pytest.raises(filters.UringError) as caught:
        filters.parse(text, filters.Filter())
    assert caught.value.errno == errno.EINVAL
    assert caught.value.message


def test_words_add_up() -> None:
    wanted = filters.parse("ring=1,0x2 pid=3\ntrace=READ,setup data=0", filters.Filter())
    wanted = filters.parse("# a comment\nstatus=failed", wanted)
    assert wanted == filters.Filter(
        rings=frozenset({1, 2}),
        pids=frozenset({3}),
        opcodes=frozenset({abi.IORING_OP_READ}),
        calls=True,
        failed=True,
        data=0,
    )


def test_a_wrong_opcode_says_what_fits_once() -> None:
    with pytest.raises(UringError, match="'NOSUCH' is no opcode") as caught:
        filters.parse("trace=NOSUCH", filters.Filter())
    fits = caught.value.message.partition("what fits: ")[2].split()
    assert sorted(set(fits)) == sorted(fits)
    assert {"%read", "setup", "register"} <= set(fits)
    assert "enter" not in fits


async def test_what_was_injected_says_so(bench: Watched) -> None:
    class Rule:
        def issue(self, request: Request, perform: Callable[[Request], int]) -> int:
            bench.tctx.hooks.call("uringfs_inject", bench.ring, request, 3, "NOP:error=EIO")
            return -errno.EIO

        def complete(self, request: Request, res: int, failed: bool | None) -> tuple[int, bool | None]:
            return res, failed

        def posts(self, ring: object, cqe: object, big: bytes) -> bool:
            return False

        def enter(self, ring: object, caller: object, to_submit: int) -> int:
            return to_submit

    bench.tctx.hooks.breaker = Rule()  # type: ignore[assignment]
    await bench.submit(nop(1))
    injected, request = bench.events(RecordKind.INJECTED, RecordKind.REQUEST)
    assert (injected.id, injected.name, injected.sqe.user_data) == (3, b"NOP:error=EIO", 1)
    assert "NOP() = -EIO (Input/output error) (INJECTED) <" in Lines().line(request)


async def test_events_have_the_layout_of_record(bench: Watched) -> None:
    """What C writes (native/watch) is what Python packs, byte for byte."""
    bench.thread.fds[3] = RegularFile(b"0123456789" * 10)
    bench.thread.memory.put(MEMORY, b"/a/name\0")
    bench.thread.answers["unlinkat"] = (0, b"")
    fields = {"off": 3, "buf_index": 5, "personality": 0, "file_index": 0, "user_data": (1 << 64) - 2}
    await bench.submit(
        Sqe(abi.IORING_OP_READ, IOSQE_IO_LINK, fd=3, addr=BUFFER, len=90, **fields),
        Sqe(abi.IORING_OP_UNLINKAT, fd=-100, addr=MEMORY, addr3=7, user_data=2),
        nop(3, ioprio=0xFFFF),
    )
    data = bench.reader.take(1 << 30)
    records = list(each(data))
    assert {record.kind for record in records} == {RecordKind.REAPED, RecordKind.REQUEST}
    assert b"".join(map(pack, records)) == data


async def test_what_is_read_into_a_provided_buffer(bench: Watched) -> None:
    bench.thread.fds[3] = RegularFile(b"0123456789")
    provide = Sqe(abi.IORING_OP_PROVIDE_BUFFERS, fd=1, addr=BUFFER, len=64, off=7, buf_index=1, user_data=1)
    await bench.submit(provide)
    read = Sqe(abi.IORING_OP_READ, IOSQE_BUFFER_SELECT, fd=3, len=8, buf_index=1, user_data=2)
    await bench.submit(read)
    record = bench.events()[-1]
    assert (record.data, record.res, record.cflags >> 16) == (b"01234567", 8, 7)


async def test_what_a_multishot_reads_into_provided_buffers(bench: Watched) -> None:
    stream = bench.thread.fds[3] = Stream()
    provide = Sqe(abi.IORING_OP_PROVIDE_BUFFERS, fd=4, addr=BUFFER, len=64, buf_index=1, user_data=1)
    await bench.submit(
        provide, Sqe(abi.IORING_OP_READ_MULTISHOT, IOSQE_BUFFER_SELECT, fd=3, buf_index=1, user_data=2)
    )
    found: list[bytes] = []
    with trio.fail_after(60):
        for sent in (b"first", b"second"):
            stream.feed(sent)
            while sent not in found:
                await trio.lowlevel.checkpoint()
                found += [record.data for record in bench.events(RecordKind.CQE)]
    assert found == [b"first", b"second"]


async def test_many_readers(bench: Watched) -> None:
    readers = [bench.read() for _ in range(100)]
    await bench.submit(nop(1))
    found = [reader.take(1 << 20) for reader in readers]
    assert [record.kind for record in each(found[-1])] == [RecordKind.REAPED, RecordKind.REQUEST]
    assert len(set(found)) == 1
